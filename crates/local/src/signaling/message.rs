//! [`Inbound`]: a message from a client, read as liberally as the service reads it.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::{Map, Value};

use crate::names::is_name;

/// The longest `messagePayload`, in characters of base64 (KVS quotas, "message payload size").
const MAX_PAYLOAD: usize = 10_000;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// `SDP_OFFER`, which viewers send.
    Offer,
    /// `SDP_ANSWER`, which the master sends.
    Answer,
    /// `ICE_CANDIDATE`, which both send.
    Candidate,
}

impl Action {
    /// The word on the wire, as `action` and as `messageType`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Offer => "SDP_OFFER",
            Self::Answer => "SDP_ANSWER",
            Self::Candidate => "ICE_CANDIDATE",
        }
    }
}

/// A message from a client that keeps to the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbound {
    /// What it is.
    pub action: Action,
    /// The base64 text as sent; it is passed on byte for byte.
    pub payload: String,
    /// Whom a master means.
    pub recipient: Option<String>,
    /// Wanted in error reports.
    pub correlation_id: Option<String>,
}

/// Why a message was refused; reported to the sender only when it gave a correlation id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct MessageError {
    /// The sender's correlation id, when that much could be read.
    pub correlation_id: Option<String>,
    /// The rule that is broken, for people.
    pub reason: String,
}

impl Inbound {
    /// Reads a text frame. Keys match in any case, unknown keys and empty strings count as absent, the base64 may be of
    /// either alphabet, padded or not.
    ///
    /// # Errors
    /// [`MessageError`] says which rule is broken.
    pub fn parse(text: &str) -> Result<Self, MessageError> {
        let refuse = |correlation_id: Option<&String>, reason: &str| MessageError {
            correlation_id: correlation_id.cloned(),
            reason: reason.to_owned(),
        };
        let map: Map<String, Value> =
            serde_json::from_str(text).map_err(|_| refuse(None, "the message is not a JSON object"))?;
        let find = |name: &str| {
            map.iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .and_then(|(_, value)| value.as_str())
                .filter(|value| !value.is_empty())
                .map(str::to_owned)
        };
        let correlation_id = match find("correlationId") {
            Some(id) if !is_name(&id) => {
                return Err(refuse(None, "correlationId must be 1 to 256 of [a-zA-Z0-9_.-]"));
            }
            id => id,
        };
        let id = correlation_id.as_ref();
        let action = match find("action").as_deref() {
            Some("SDP_OFFER") => Action::Offer,
            Some("SDP_ANSWER") => Action::Answer,
            Some("ICE_CANDIDATE") => Action::Candidate,
            _ => return Err(refuse(id, "action must be SDP_OFFER, SDP_ANSWER or ICE_CANDIDATE")),
        };
        let payload = find("messagePayload").ok_or_else(|| refuse(id, "messagePayload is required"))?;
        if payload.len() > MAX_PAYLOAD {
            let length = payload.len();
            let reason =
                format!("messagePayload is {length} characters long; at most {MAX_PAYLOAD} are allowed");
            return Err(refuse(id, &reason));
        }
        if decode(&payload).is_none() {
            return Err(refuse(id, "messagePayload is not base64"));
        }
        let recipient = find("recipientClientId");
        if recipient.as_deref().is_some_and(|recipient| !is_name(recipient)) {
            return Err(refuse(id, "recipientClientId must be 1 to 256 of [a-zA-Z0-9_.-]"));
        }
        Ok(Self { action, payload, recipient, correlation_id })
    }
}

/// What is in a payload, whose base64 may be of either alphabet, padded or not.
pub(crate) fn decode(payload: &str) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    LENIENT.decode(payload.replace('-', "+").replace('_', "/")).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn keys_match_in_any_case_and_the_payload_stays() {
        let message =
            Inbound::parse(r#"{"action":"SDP_OFFER","RecipientClientId":"","MessagePayload":"e30","CorrelationId":"7","x":[1]}"#)
                .unwrap();
        assert_eq!(message.action, Action::Offer);
        assert_eq!(message.payload, "e30");
        assert_eq!(message.recipient, None);
        assert_eq!(message.correlation_id.as_deref(), Some("7"));
        assert!(Inbound::parse(r#"{"action":"SDP_OFFER","messagePayload":"-_8="}"#).is_ok());
    }

    #[test]
    fn refusals_keep_the_correlation_id() {
        let error = Inbound::parse(r#"{"action":"NO","correlationId":"c-1"}"#).unwrap_err();
        assert_eq!(error.correlation_id.as_deref(), Some("c-1"));
        let long = format!(
            r#"{{"action":"SDP_OFFER","messagePayload":"{}","correlationId":"c"}}"#,
            "A".repeat(10_004)
        );
        assert!(Inbound::parse(&long).unwrap_err().reason.contains("10004"));
        for bad in [
            "",
            "null",
            "[]",
            "{",
            r#"{"action":"SDP_OFFER"}"#,
            r#"{"action":"SDP_OFFER","messagePayload":"%"}"#,
        ] {
            assert!(Inbound::parse(bad).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in ".*") {
            let _ = Inbound::parse(&text);
        }
    }
}
