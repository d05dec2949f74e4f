//! The signaling of a viewer that is not ours: it gives its offer, and gets the answer.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::master::channel::{Access, ensure_channel, open};

/// A master of the tests answers at once; an offer is sent once.
const PATIENCE: Duration = Duration::from_secs(20);

/// Sends an offer (SDP) to the master of `channel`; the SDP of its answer. What comes besides is left out: the masters of the tests
/// have their candidates in the answer.
///
/// # Errors
/// The channel cannot be joined, or no answer comes.
pub async fn answer(access: &Access, channel: &str, offer: &str) -> Result<String> {
    let arn = ensure_channel(access, channel).await?;
    let mut socket = open(access, &arn, Some("another-viewer")).await?;
    let payload = STANDARD.encode(json!({"type": "offer", "sdp": offer}).to_string());
    let message = json!({"action": "SDP_OFFER", "messagePayload": payload});
    socket.send(Message::text(message.to_string())).await.context("send SDP_OFFER")?;
    let read = async {
        while let Some(message) = socket.next().await {
            let Message::Text(text) = message.context("read from the channel")? else { continue };
            let message: Value = serde_json::from_str(&text).with_context(|| format!("no JSON: {text}"))?;
            if message["messageType"] != "SDP_ANSWER" {
                continue;
            }
            let payload = message["messagePayload"].as_str().context("an answer without a payload")?;
            let payload: Value = serde_json::from_slice(&STANDARD.decode(payload)?)?;
            return Ok(payload["sdp"].as_str().context("an answer without SDP")?.to_owned());
        }
        bail!("the channel was closed before an answer came")
    };
    timeout(PATIENCE, read).await.with_context(|| format!("no answer within {PATIENCE:?}"))?
}
