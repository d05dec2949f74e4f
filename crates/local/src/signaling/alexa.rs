//! `POST /v1/send-alexa-offer-to-master`: an offer by HTTP, and the master's answer to it.

use std::{sync::Arc, time::Duration};

use axum::extract::State;
use serde_json::json;

use super::service::Outgoing;
use crate::{
    App,
    answer::{Answer, Json},
    auth::Signed,
    control::find_channel_by_arn,
    error::ServiceError,
    names::{NAME_PATTERN, name_char},
};

/// Waits for the master's answer as long as the channel keeps messages; without one, the answer is empty, as its model allows.
pub(crate) async fn send_alexa_offer_to_master(
    State(app): State<Arc<App>>,
    Signed { members, .. }: Signed,
) -> Answer {
    let sender = members.text("SenderClientId", 1..=256, name_char, NAME_PATTERN)?;
    let sender = members.required("SenderClientId", sender)?;
    let base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    let offer = members.text("MessagePayload", 1..=10_000, base64, "[a-zA-Z0-9+/=]+")?;
    let offer = members.required("MessagePayload", offer)?;
    let channel = find_channel_by_arn(&app, &members)?.serving()?;
    let ttl = Duration::from_secs(channel.message_ttl_seconds.into());
    let (id, mut answers) = app.signaling.call(&channel.arn, ttl, sender, offer)?;
    let answered = tokio::select! {
        answer = answers.recv() => answer,
        () = tokio::time::sleep(ttl) => None,
        () = app.stop.cancelled() => None,
    };
    app.signaling.hang_up(&channel.arn, id);
    match answered {
        Some(Outgoing::Text(answer)) => Ok(Json(json!({ "Answer": answer }))),
        Some(Outgoing::Close(..)) => Err(ServiceError::channel_not_found()),
        None => Ok(Json(json!({}))),
    }
}
