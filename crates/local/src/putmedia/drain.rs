//! [`drain`]: reads what nobody wants any more.

use std::time::Duration;

use axum::body::BodyDataStream;
use futures::StreamExt;

/// Reads a body to its end, for a while. Closing a socket with unread data resets it, and the peer may lose an answer that
/// it has not read yet.
pub(super) async fn drain(mut body: BodyDataStream, limit: Duration) {
    let _ = tokio::time::timeout(limit, async { while let Some(Ok(_)) = body.next().await {} }).await;
}
