//! Messages of clients, as liberally as the service reads them (C sends its keys capitalized, Android empty strings).

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Value, json};

/// What a client wants to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Offer,
    Answer,
    Candidate,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Offer => "SDP_OFFER",
            Kind::Answer => "SDP_ANSWER",
            Kind::Candidate => "ICE_CANDIDATE",
        }
    }
}

/// A message of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Incoming {
    pub(super) kind: Kind,
    /// Passed on byte for byte.
    pub(super) payload: String,
    pub(super) recipient: Option<String>,
    pub(super) correlation_id: Option<String>,
}

/// The longest `messagePayload`.
const MAX_PAYLOAD: usize = 10_000;

/// Reads a frame; a refusal carries the correlation id, if there was one to read.
pub(super) fn parse(text: &str) -> Result<Incoming, (Option<String>, String)> {
    let Ok(Value::Object(object)) = serde_json::from_str::<Value>(text) else {
        return Err((None, "the frame is not a JSON object".to_owned()));
    };
    let field = |name: &str| {
        object
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .and_then(|(_, value)| value.as_str())
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let correlation_id = field("correlationId");
    let refuse = |why: &str| Err((correlation_id.clone(), why.to_owned()));
    let kind = match field("action").as_deref() {
        Some("SDP_OFFER") => Kind::Offer,
        Some("SDP_ANSWER") => Kind::Answer,
        Some("ICE_CANDIDATE") => Kind::Candidate,
        _ => return refuse("action: must be one of SDP_OFFER, SDP_ANSWER, ICE_CANDIDATE"),
    };
    let Some(payload) = field("messagePayload") else { return refuse("messagePayload: is required") };
    if payload.len() > MAX_PAYLOAD {
        return refuse("messagePayload: must be at most 10000 characters");
    }
    let plain = payload.trim_end_matches('=').replace('-', "+").replace('_', "/");
    if STANDARD_NO_PAD.decode(plain).is_err() {
        return refuse("messagePayload: must be base64");
    }
    Ok(Incoming { kind, payload, recipient: field("recipientClientId"), correlation_id })
}

/// A message as its recipient gets it. A viewer is not told a sender: the master is the only one.
pub(super) fn deliver(kind: Kind, payload: &str, sender: Option<&str>) -> String {
    let mut object = json!({"messagePayload": payload, "messageType": kind.name()});
    if let Some(sender) = sender {
        object["senderClientId"] = json!(sender);
    }
    object.to_string()
}

/// `STATUS_RESPONSE` for a refused message.
pub(super) fn status(correlation_id: &str, error_type: &str, description: &str) -> String {
    json!({
        "messageType": "STATUS_RESPONSE",
        "statusResponse": {
            "correlationId": correlation_id,
            "errorType": error_type,
            "statusCode": "400",
            "description": description,
            "success": false,
        },
    })
    .to_string()
}

/// A message without content: `GO_AWAY`, `RECONNECT_ICE_SERVER`.
pub(super) fn control(kind: &str) -> String {
    json!({"messageType": kind}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_every_sdk_are_read() {
        let c =
            r#"{"action":"SDP_ANSWER","RecipientClientId":"v","MessagePayload":"e30=","CorrelationId":"1"}"#;
        let android =
            r#"{"action":"SDP_ANSWER","recipientClientId":"v","senderClientId":"","messagePayload":"e30="}"#;
        for text in [c, android] {
            let found = parse(text).unwrap();
            assert_eq!(
                (found.kind, found.recipient.as_deref(), found.payload.as_str()),
                (Kind::Answer, Some("v"), "e30=")
            );
        }
    }

    #[test]
    fn a_refusal_names_the_member_and_keeps_the_correlation_id() {
        for (text, words) in [
            ("x", "JSON"),
            (r#"{"action":"WAVE","correlationId":"7"}"#, "action"),
            (r#"{"action":"SDP_OFFER","correlationId":"7"}"#, "messagePayload"),
            (r#"{"action":"SDP_OFFER","correlationId":"7","messagePayload":"%"}"#, "base64"),
        ] {
            let (id, why) = parse(text).unwrap_err();
            assert!(why.contains(words), "{why}");
            assert_eq!(id.as_deref(), Some("7").filter(|_| text != "x"));
        }
    }
}
