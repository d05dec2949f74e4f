//! Removes what is older than its stream's retention.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{App, archive::now_ms};

const EVERY: Duration = Duration::from_secs(60);

pub(crate) async fn expire(app: Arc<App>, stop: CancellationToken) {
    let mut every = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = every.tick() => {}
        }
        let app = app.clone();
        let swept = tokio::task::spawn_blocking(move || {
            for stream in app.control.streams() {
                let kept_ms = u64::from(stream.retention_hours) * 3_600_000;
                if let Err(error) = app.archive.expire(&stream.folder(), now_ms().saturating_sub(kept_ms)) {
                    tracing::error!(stream = stream.name, %error, "old fragments could not be removed");
                }
            }
        });
        if let Err(error) = swept.await {
            tracing::error!(%error, "the sweep of old fragments failed");
        }
    }
}
