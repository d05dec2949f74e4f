//! The JSON of the signaling channel, both ways. Sans-IO: strict in what it sends, liberal in what it takes.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The service refuses a message whose base64 text is longer.
pub const MAX_PAYLOAD: usize = 10_000;
/// The C SDK copies a candidate into a buffer of this many bytes without looking at its length.
const MAX_CANDIDATE: usize = 255;

/// An ICE candidate as browsers write it (`RTCIceCandidateInit`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IceCandidate {
    /// `candidate:…`; never empty in what this crate gives or sends.
    pub candidate: String,
    /// Masters differ in what they put here: match by [`IceCandidate::sdp_mline_index`].
    pub sdp_mid: Option<String>,
    /// Index of the media section in the SDP, from 0.
    pub sdp_mline_index: Option<u16>,
    /// ICE user name fragment; browsers alone give it.
    pub username_fragment: Option<String>,
}

/// The service's word on a message that it could not deliver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusResponse {
    /// The `correlationId` of that message.
    pub correlation_id: String,
    /// `InvalidArgumentException` and the like.
    pub error_type: String,
    /// An HTTP status, as text.
    pub status_code: String,
    /// A sentence for people, or empty.
    pub description: String,
    /// The message was delivered after all; rarely sent.
    pub success: bool,
}

/// What came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignalingEvent {
    /// An offer; `sender` is `None` from the master or the service.
    Offer {
        /// Session description, CRLF at the end of each line.
        sdp: String,
        /// A viewer's client id.
        sender: Option<String>,
    },
    /// An answer to an offer of ours; `sender` as above.
    Answer {
        /// Session description, CRLF at the end of each line.
        sdp: String,
        /// A viewer's client id.
        sender: Option<String>,
    },
    /// A candidate; may come before the answer.
    Candidate {
        /// Never empty: the end of candidates is not told.
        candidate: IceCandidate,
        /// A viewer's client id.
        sender: Option<String>,
    },
    /// A message of ours was refused.
    Status(StatusResponse),
    /// The service closes this connection within a minute: connect again. Media goes on.
    GoAway,
    /// Fetch ICE servers again.
    ReconnectIceServer,
    /// A frame that is no message. It is skipped.
    Malformed {
        /// The message type, or `frame`.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The connection is gone. Always the last.
    Closed {
        /// WebSocket close code, if one came.
        code: Option<u16>,
        /// What could not be read, in words.
        reason: String,
    },
}

/// Why a message cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Longer than the service takes.
    #[error("{action} of {length} base64 characters: the service takes at most {MAX_PAYLOAD}")]
    TooLong {
        /// `SDP_OFFER`, `SDP_ANSWER` or `ICE_CANDIDATE`.
        action: &'static str,
        /// Characters of its base64 text.
        length: usize,
    },
    /// No master could use it, or it would crash one.
    #[error("the candidate {candidate:?} {reason}")]
    Candidate {
        /// As it was given.
        candidate: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The C SDK could not read it.
    #[error("the SDP {reason}")]
    Sdp {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The service would refuse it.
    #[error("the {what} {value:?} is not 1 to 256 of a-z A-Z 0-9 _ . -")]
    Id {
        /// `recipientClientId` or `correlationId`.
        what: &'static str,
        /// What was given.
        value: String,
    },
}

// The order of the keys is the one that all SDKs use.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Outgoing<'a> {
    action: &'static str,
    message_payload: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    recipient_client_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
}

fn encode(
    action: &'static str,
    payload: &impl Serialize,
    recipient: Option<&str>,
    correlation_id: Option<&str>,
) -> Result<String, WireError> {
    for (what, value) in [("recipientClientId", recipient), ("correlationId", correlation_id)] {
        if let Some(value) = value.filter(|value| !crate::id::is_name(value)) {
            return Err(WireError::Id { what, value: value.to_owned() });
        }
    }
    // Plain structs of strings and numbers: this cannot fail.
    let text = serde_json::to_string(payload).unwrap_or_default();
    let message_payload = STANDARD.encode(text);
    if message_payload.len() > MAX_PAYLOAD {
        return Err(WireError::TooLong { action, length: message_payload.len() });
    }
    let message = Outgoing { action, message_payload, recipient_client_id: recipient, correlation_id };
    Ok(serde_json::to_string(&message).unwrap_or_default())
}

#[derive(Serialize)]
struct Description<'a> {
    r#type: &'static str,
    sdp: Cow<'a, str>,
}

impl<'a> Description<'a> {
    /// What the C SDK can read: of JSON's escapes it knows only `\r` and `\n`, and a last line without an end is lost.
    fn new(r#type: &'static str, sdp: &'a str) -> Result<Self, WireError> {
        if sdp.is_empty() {
            return Err(WireError::Sdp { reason: "is empty" });
        }
        let readable =
            |c: char| matches!(c, '\r' | '\n') || (matches!(c, ' '..='~') && c != '"' && c != '\\');
        if !sdp.chars().all(readable) {
            return Err(WireError::Sdp {
                reason: "holds a quote, a backslash, a control character or no ASCII",
            });
        }
        let sdp = if sdp.ends_with('\n') { Cow::Borrowed(sdp) } else { Cow::Owned(format!("{sdp}\r\n")) };
        Ok(Self { r#type, sdp })
    }
}

/// An `SDP_OFFER` frame. A last line without CRLF is given one.
///
/// # Errors
/// [`WireError::TooLong`], [`WireError::Sdp`], [`WireError::Id`].
pub fn offer(sdp: &str, recipient: Option<&str>, correlation_id: Option<&str>) -> Result<String, WireError> {
    encode("SDP_OFFER", &Description::new("offer", sdp)?, recipient, correlation_id)
}

/// An `SDP_ANSWER` frame. A last line without CRLF is given one.
///
/// # Errors
/// [`WireError::TooLong`], [`WireError::Sdp`], [`WireError::Id`].
pub fn answer(sdp: &str, recipient: Option<&str>, correlation_id: Option<&str>) -> Result<String, WireError> {
    encode("SDP_ANSWER", &Description::new("answer", sdp)?, recipient, correlation_id)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CandidateOut<'a> {
    candidate: &'a str,
    sdp_mid: &'a str,
    sdp_m_line_index: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    username_fragment: Option<&'a str>,
}

/// An `ICE_CANDIDATE` frame. `sdpMid` and `sdpMLineIndex` are always written: GStreamer's master drops a candidate
/// without them.
///
/// # Errors
/// [`WireError::Candidate`] for one that is empty, too long for the C SDK, TCP, or mDNS.
pub fn candidate(
    candidate: &IceCandidate,
    recipient: Option<&str>,
    correlation_id: Option<&str>,
) -> Result<String, WireError> {
    let text = candidate.candidate.trim();
    let text = if text.split_ascii_whitespace().rev().nth(1) == Some("typ") {
        // The C SDK sees the type only if something follows it.
        Cow::Owned(format!("{text} generation 0"))
    } else {
        Cow::Borrowed(text)
    };
    let refuse = |reason| Err(WireError::Candidate { candidate: candidate.candidate.clone(), reason });
    if text.is_empty() {
        return refuse("is empty");
    }
    if text.len() > MAX_CANDIDATE {
        return refuse("is longer than 255 characters");
    }
    let mut words = text.split_ascii_whitespace();
    if words.nth(2).is_none_or(|protocol| !protocol.eq_ignore_ascii_case("udp")) {
        return refuse("is not UDP");
    }
    if words.nth(1).is_none_or(|address| address.ends_with(".local")) {
        return refuse("has no numeric address");
    }
    let index = candidate.sdp_mline_index.unwrap_or(0);
    let mid = candidate.sdp_mid.clone().filter(|mid| !mid.is_empty()).unwrap_or_else(|| index.to_string());
    let out = CandidateOut {
        candidate: &text,
        sdp_mid: &mid,
        sdp_m_line_index: index,
        username_fragment: candidate.username_fragment.as_deref(),
    };
    encode("ICE_CANDIDATE", &out, recipient, correlation_id)
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Incoming {
    message_type: Option<String>,
    message_payload: Option<String>,
    sender_client_id: Option<String>,
    status_response: Option<StatusIn>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct StatusIn {
    correlation_id: Option<String>,
    error_type: Option<String>,
    // Documented as text; a number is taken too.
    status_code: Value,
    description: Option<String>,
    success: Option<bool>,
}

/// Reads one binary frame. The service sends text; a gateway between may not.
#[must_use]
pub fn decode_bytes(bytes: &[u8]) -> Option<SignalingEvent> {
    match std::str::from_utf8(bytes) {
        Ok(text) => decode(text),
        Err(_) => Some(malformed("frame", format!("it is {} bytes that are no text", bytes.len()))),
    }
}

/// Reads one text frame. `None` for what carries nothing: an empty frame, a `null` candidate, the gateway's own JSON.
#[must_use]
pub fn decode(text: &str) -> Option<SignalingEvent> {
    if text.trim().is_empty() {
        return None;
    }
    let incoming: Incoming = match serde_json::from_str(text) {
        Ok(incoming) => incoming,
        Err(error) => return Some(malformed("frame", format!("it is not a JSON message: {error}"))),
    };
    let kind = incoming.message_type.unwrap_or_default().to_ascii_uppercase();
    let sender = incoming.sender_client_id.filter(|sender| !sender.is_empty());
    match kind.as_str() {
        "SDP_OFFER" | "SDP_ANSWER" | "ICE_CANDIDATE" => {
            match payload(incoming.message_payload.as_deref().unwrap_or_default()) {
                Ok(payload) => description(&kind, &payload, sender),
                Err(reason) => Some(malformed(&kind, reason)),
            }
        }
        "GO_AWAY" => Some(SignalingEvent::GoAway),
        "RECONNECT_ICE_SERVER" => Some(SignalingEvent::ReconnectIceServer),
        "STATUS_RESPONSE" | "STATUS" => Some(status(incoming.status_response.unwrap_or_default())),
        // Like `{"message": "Endpoint request timed out", …}`, which the service's gateway sends now and then.
        "" => incoming.status_response.map(status),
        _ => Some(malformed(&kind, "its type is unknown".to_owned())),
    }
}

fn malformed(what: &str, reason: String) -> SignalingEvent {
    SignalingEvent::Malformed { what: what.to_owned(), reason }
}

fn status(status: StatusIn) -> SignalingEvent {
    SignalingEvent::Status(StatusResponse {
        correlation_id: status.correlation_id.unwrap_or_default(),
        error_type: status.error_type.unwrap_or_default(),
        status_code: match status.status_code {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            _ => String::new(),
        },
        description: status.description.unwrap_or_default(),
        success: status.success.unwrap_or(false),
    })
}

/// Base64 of JSON: either alphabet (the Android SDK sends the URL-safe one), with or without padding.
fn payload(text: &str) -> Result<Value, String> {
    const ANY_PADDING: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const LIBERAL: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, ANY_PADDING);
    if text.is_empty() {
        return Err("it has no messagePayload".to_owned());
    }
    let text = text.replace('-', "+").replace('_', "/");
    let bytes = LIBERAL.decode(text).map_err(|error| format!("its payload is not base64: {error}"))?;
    serde_json::from_slice(&bytes).map_err(|error| format!("its payload is not JSON: {error}"))
}

fn description(kind: &str, payload: &Value, sender: Option<String>) -> Option<SignalingEvent> {
    if kind == "ICE_CANDIDATE" {
        // End of candidates is `null`, or an empty text.
        let text = payload["candidate"].as_str().unwrap_or_default().trim();
        let text = text.strip_prefix("a=").unwrap_or(text);
        if text.is_empty() {
            return None;
        }
        let candidate =
            if text.starts_with("candidate:") { text.to_owned() } else { format!("candidate:{text}") };
        return Some(SignalingEvent::Candidate {
            candidate: IceCandidate {
                candidate,
                sdp_mid: payload["sdpMid"].as_str().map(str::to_owned),
                sdp_mline_index: payload["sdpMLineIndex"]
                    .as_u64()
                    .and_then(|index| u16::try_from(index).ok()),
                username_fragment: payload["usernameFragment"].as_str().map(str::to_owned),
            },
            sender,
        });
    }
    let Some(sdp) = payload["sdp"].as_str().filter(|sdp| !sdp.is_empty()) else {
        return Some(malformed(kind, "its payload has no sdp".to_owned()));
    };
    let sdp = sdp.to_owned();
    Some(if kind == "SDP_OFFER" {
        SignalingEvent::Offer { sdp, sender }
    } else {
        SignalingEvent::Answer { sdp, sender }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(kind: &str, payload: &str) -> Option<SignalingEvent> {
        let payload = STANDARD.encode(payload);
        decode(&format!(r#"{{"messagePayload":"{payload}","messageType":"{kind}"}}"#))
    }

    #[test]
    fn an_offer_is_what_the_strictest_decoder_takes() {
        let frame = offer("v=0\r\ns=-\r\n", None, Some("c1")).unwrap();
        let payload = STANDARD.encode(r#"{"type":"offer","sdp":"v=0\r\ns=-\r\n"}"#);
        assert_eq!(
            frame,
            format!(r#"{{"action":"SDP_OFFER","messagePayload":"{payload}","correlationId":"c1"}}"#)
        );
    }

    #[test]
    fn what_no_master_can_use_is_refused_by_name() {
        let with = |text: &str| IceCandidate { candidate: text.to_owned(), ..IceCandidate::default() };
        let good = "candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host generation 0";
        let frame = candidate(&with(good), None, None).unwrap();
        let sent: Value = serde_json::from_str(&frame).unwrap();
        let payload = STANDARD.decode(sent["messagePayload"].as_str().unwrap()).unwrap();
        assert_eq!(
            String::from_utf8(payload).unwrap(),
            format!(r#"{{"candidate":"{good}","sdpMid":"0","sdpMLineIndex":0}}"#)
        );
        for (text, reason) in [
            (String::new(), "is empty"),
            (good.replace("udp", "tcp"), "is not UDP"),
            (good.replace("192.0.2.1", "3f2a.local"), "has no numeric address"),
            (format!("{good}{}", "x".repeat(255)), "is longer than 255 characters"),
        ] {
            let error = candidate(&with(&text), None, None).unwrap_err();
            assert_eq!(error, WireError::Candidate { candidate: text, reason });
        }
        let bare = good.strip_suffix(" generation 0").unwrap();
        assert_eq!(candidate(&with(bare), None, None).unwrap(), frame);
        for sdp in ["", "s=\"\"\r\n", "s=\\\r\n", "s=ü\r\n", "s=\t\r\n"] {
            assert!(matches!(offer(sdp, None, None), Err(WireError::Sdp { .. })), "{sdp:?}");
        }
        assert_eq!(offer("v=0", None, None), offer("v=0\r\n", None, None));
        for id in ["", "a b", &"x".repeat(257)] {
            for (recipient, correlation) in [(Some(id), None), (None, Some(id))] {
                let error = answer("v=0\r\n", recipient, correlation).unwrap_err();
                assert!(matches!(error, WireError::Id { .. }), "{error}");
            }
        }
        let error = offer(&"x".repeat(8_000), None, None).unwrap_err();
        assert!(matches!(error, WireError::TooLong { action: "SDP_OFFER", length } if length > 10_000));
    }

    #[test]
    fn real_frames_are_read() {
        let candidate = "candidate:1 1 udp 1 192.0.2.1 5 typ host";
        for written in
            [candidate.to_owned(), candidate["candidate:".len()..].to_owned(), format!("a={candidate}")]
        {
            let Some(SignalingEvent::Candidate { candidate: found, sender: None }) = event(
                "ICE_CANDIDATE",
                &format!(r#"{{"candidate":"{written}","sdpMid":"0","sdpMLineIndex":0}}"#),
            ) else {
                panic!("{written}")
            };
            assert_eq!((found.candidate.as_str(), found.sdp_mline_index), (candidate, Some(0)));
        }
        for nothing in ["null", r#"{"candidate":""}"#, "{}"] {
            assert_eq!(event("ICE_CANDIDATE", nothing), None);
        }
        assert_eq!(
            event("sdp_answer", r#"{"type":"answer","sdp":"v=0"}"#),
            Some(SignalingEvent::Answer { sdp: "v=0".to_owned(), sender: None })
        );
        assert_eq!(decode(r#"{"messageType":"GO_AWAY"}"#), Some(SignalingEvent::GoAway));
        assert_eq!(decode(""), None);
        assert_eq!(decode(r#"{"message":"Endpoint request timed out","connectionId":"x"}"#), None);
        for code in [r#""400""#, "400"] {
            let frame = format!(
                r#"{{"messageType":"STATUS_RESPONSE","statusResponse":{{"correlationId":"1","errorType":"InvalidArgumentException","statusCode":{code},"success":false}}}}"#
            );
            let Some(SignalingEvent::Status(status)) = decode(&frame) else { panic!("{frame}") };
            assert_eq!((status.status_code.as_str(), status.correlation_id.as_str()), ("400", "1"));
        }
    }

    #[test]
    fn both_alphabets_and_any_padding_are_read() {
        // `>>>` and `???` make the characters in which the alphabets differ.
        let json = r#"{"type":"answer","sdp":">>>???~~~"}"#;
        let standard = STANDARD.encode(json);
        for text in [
            standard.clone(),
            standard.trim_end_matches('=').to_owned(),
            standard.replace('+', "-").replace('/', "_"),
        ] {
            let frame = format!(r#"{{"messageType":"SDP_ANSWER","messagePayload":"{text}"}}"#);
            assert!(matches!(decode(&frame), Some(SignalingEvent::Answer { .. })), "{frame}");
        }
    }

    #[test]
    fn nonsense_is_named() {
        for (frame, what) in [
            ("hello", "frame"),
            ("[1]", "frame"),
            (r#"{"messageType":"SDP_ANSWER"}"#, "SDP_ANSWER"),
            (r#"{"messageType":"SDP_ANSWER","messagePayload":"%%%"}"#, "SDP_ANSWER"),
            (r#"{"messageType":"SDP_ANSWER","messagePayload":"aGVsbG8="}"#, "SDP_ANSWER"),
            (r#"{"messageType":"SDP_ANSWER","messagePayload":"e30="}"#, "SDP_ANSWER"),
            (r#"{"messageType":"WAVE"}"#, "WAVE"),
        ] {
            let Some(SignalingEvent::Malformed { what: found, .. }) = decode(frame) else {
                panic!("{frame}")
            };
            assert_eq!(found, what, "{frame}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}") {
            let _ = decode(&text);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_bytes(&bytes);
        }

        #[test]
        fn no_payload_makes_it_panic(kind in "SDP_OFFER|SDP_ANSWER|ICE_CANDIDATE", payload in ".{0,100}") {
            let _ = event(&kind, &payload);
        }

        #[test]
        fn an_sdp_comes_back_as_it_went(sdp in "([ !#-\\[\\]-~]{0,60}\r\n){1,8}") {
            let frame = answer(&sdp, Some("v"), None).unwrap();
            let sent: Value = serde_json::from_str(&frame).unwrap();
            let text = serde_json::json!({
                "messageType": "SDP_ANSWER", "messagePayload": sent["messagePayload"], "senderClientId": "v",
            });
            prop_assert_eq!(
                decode(&text.to_string()),
                Some(SignalingEvent::Answer { sdp, sender: Some("v".to_owned()) })
            );
        }
    }
}
