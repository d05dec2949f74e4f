//! The acknowledgements that the service streams back while the body of PutMedia is still open.
//!
//! They are JSON objects, one per line, but nothing here depends on lines or on how the bytes were cut:
//! objects are found by their braces. Keys as seen on the wire (`EventType`, `FragmentTimecode`) and as
//! printed in the API page (`AckEventType`, `FragmentTimeCode`, wrapped in `Acknowledgement`) are accepted.

use serde_json::Value;

/// Longest object that is kept. The service's own SDK stops at 1024 characters; what is longer is skipped.
const MAX_OBJECT: usize = 4096;

/// One acknowledgement of the answer's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Its EventType.
    pub kind: AckKind,
    /// Timecode of the fragment, as it was sent in its cluster. Missing on `IDLE` and some errors.
    pub timecode: Option<u64>,
    /// The service's number of the fragment.
    pub fragment_number: Option<String>,
}

/// What an acknowledgement says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AckKind {
    /// The first bytes of the fragment arrived.
    Buffering,
    /// The whole fragment arrived.
    Received,
    /// The fragment is stored.
    Persisted,
    /// The fragment or the session failed.
    Error {
        /// Numeric id, 4000 to 5001 are documented. 0 when there was none.
        id: u32,
        /// The service's name of the error, possibly empty.
        code: String,
    },
    /// Nothing arrived for a while.
    Idle,
}

/// A streaming parser of acknowledgements.
#[derive(Debug, Default)]
pub struct AckParser {
    /// The object being collected. Bounded by `MAX_OBJECT`: a longer one is thrown away to its end.
    object: Vec<u8>,
    depth: usize,
    in_string: bool,
    escaped: bool,
    overlong: bool,
    skipped: u64,
}

impl AckParser {
    /// Takes the next bytes of the response body and returns the acknowledgements that they complete.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Ack> {
        let mut acks = Vec::new();
        for &byte in bytes {
            if self.depth == 0 && byte != b'{' {
                continue;
            }
            if self.object.len() < MAX_OBJECT {
                self.object.push(byte);
            } else {
                self.overlong = true;
            }
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    // A raw line break ends no valid JSON string: resynchronise on it.
                    b'\n' => self.reset(true),
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' => self.depth += 1,
                b'}' => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        let parsed = if self.overlong { None } else { parse(&self.object) };
                        self.reset(parsed.is_none());
                        acks.extend(parsed);
                    }
                }
                _ => {}
            }
        }
        acks
    }

    /// Objects that were no acknowledgements, since the start.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    fn reset(&mut self, skipped: bool) {
        self.skipped += u64::from(skipped);
        self.object.clear();
        self.depth = 0;
        self.in_string = false;
        self.escaped = false;
        self.overlong = false;
    }
}

fn parse(object: &[u8]) -> Option<Ack> {
    let value: Value = serde_json::from_slice(object).ok()?;
    let value = value.get("Acknowledgement").unwrap_or(&value);
    let field = |names: [&str; 2]| names.iter().find_map(|name| value.get(name));
    let event = field(["EventType", "AckEventType"])?.as_str()?;
    let kind = match event.to_ascii_uppercase().as_str() {
        "BUFFERING" => AckKind::Buffering,
        "RECEIVED" => AckKind::Received,
        "PERSISTED" => AckKind::Persisted,
        "IDLE" => AckKind::Idle,
        "ERROR" => AckKind::Error {
            id: field(["ErrorId", "ErrorID"]).and_then(number).and_then(|id| id.try_into().ok()).unwrap_or(0),
            code: value.get("ErrorCode").and_then(Value::as_str).unwrap_or_default().to_owned(),
        },
        _ => return None,
    };
    Some(Ack {
        kind,
        timecode: field(["FragmentTimecode", "FragmentTimeCode"]).and_then(number),
        fragment_number: value.get("FragmentNumber").and_then(|number| match number {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }),
    })
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SAMPLE: &str = concat!(
        r#"{"EventType":"BUFFERING","FragmentTimecode":1584409968909,"FragmentNumber":"9134"}"#,
        "\n",
        r#"{"EventType":"PERSISTED","FragmentTimecode":1584409968909,"FragmentNumber":"9134"}"#,
        r#"{"EventType":"ERROR","ErrorCode":"INVALID_MKV_DATA","ErrorId":4006}"#,
        "\r\n",
        r#"{"Acknowledgement":{"AckEventType":"RECEIVED","FragmentTimeCode":"7","Other":{"a":"}"}}}"#,
        r#"{"EventType":"IDLE"}"#,
    );

    fn expected() -> Vec<Ack> {
        let ack = |kind, timecode, number: Option<&str>| Ack {
            kind,
            timecode,
            fragment_number: number.map(str::to_owned),
        };
        vec![
            ack(AckKind::Buffering, Some(1_584_409_968_909), Some("9134")),
            ack(AckKind::Persisted, Some(1_584_409_968_909), Some("9134")),
            ack(AckKind::Error { id: 4006, code: "INVALID_MKV_DATA".into() }, None, None),
            ack(AckKind::Received, Some(7), None),
            ack(AckKind::Idle, None, None),
        ]
    }

    #[test]
    fn real_samples() {
        assert_eq!(AckParser::default().push(SAMPLE.as_bytes()), expected());
    }

    #[test]
    fn an_overlong_object_is_skipped_and_the_next_one_found() {
        let mut parser = AckParser::default();
        let long = format!("{{\"x\":\"{}\"}}", "y".repeat(3 * MAX_OBJECT));
        assert!(parser.push(long.as_bytes()).is_empty());
        assert_eq!(parser.push(SAMPLE.as_bytes()).len(), 5);
        assert_eq!(parser.skipped(), 1);
    }

    #[test]
    fn a_broken_string_does_not_swallow_the_next_line() {
        let mut parser = AckParser::default();
        assert_eq!(parser.push(b"{\"EventType\":\"ID\n{\"EventType\":\"IDLE\"}\n").len(), 1);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(cuts in prop::collection::vec(0usize..400, 0..20)) {
            let bytes = SAMPLE.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let mut parser = AckParser::default();
            let acks: Vec<Ack> = cuts.windows(2).flat_map(|w| parser.push(&bytes[w[0]..w[1]])).collect();
            prop_assert_eq!(acks, expected());
        }

        #[test]
        fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            AckParser::default().push(&bytes);
        }
    }
}
