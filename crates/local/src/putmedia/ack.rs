//! Acknowledgements as they are sent: JSON objects, one a line.

use serde_json::json;

use crate::model::ErrorId;

/// An acknowledgement. Timecodes are those of the cluster as it came, in units of its
/// `TimecodeScale`; numbers are those of the fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are named as on the wire")]
pub enum Ack {
    /// The first bytes of a fragment are here.
    Buffering { timecode: u64, number: String },
    /// All of it is here.
    Received { timecode: u64, number: String },
    /// It is on disk.
    Persisted { timecode: u64, number: String },
    /// Nothing has come for a while.
    Idle,
    /// It is refused, and the session with it.
    Error { timecode: Option<u64>, number: Option<String>, id: ErrorId },
}

impl Ack {
    /// The line that is sent, with its end.
    #[must_use]
    pub fn line(&self) -> String {
        let fragment = |kind: &str, timecode: u64, number: &str| json!({"EventType": kind, "FragmentTimecode": timecode, "FragmentNumber": number});
        let object = match self {
            Ack::Buffering { timecode, number } => fragment("BUFFERING", *timecode, number),
            Ack::Received { timecode, number } => fragment("RECEIVED", *timecode, number),
            Ack::Persisted { timecode, number } => fragment("PERSISTED", *timecode, number),
            Ack::Idle => json!({"EventType": "IDLE"}),
            Ack::Error { timecode, number, id } => {
                let mut object = json!({"EventType": "ERROR", "ErrorId": *id as u16, "ErrorCode": id.code()});
                if let (Some(timecode), Some(number)) = (timecode, number) {
                    object["FragmentTimecode"] = json!(timecode);
                    object["FragmentNumber"] = json!(number);
                }
                object
            }
        };
        format!("{object}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements_are_lines_of_json_with_the_names_of_the_wire() {
        let line = Ack::Persisted { timecode: 1_584_409_968_909, number: "91".to_owned() }.line();
        assert_eq!(
            line,
            "{\"EventType\":\"PERSISTED\",\"FragmentNumber\":\"91\",\"FragmentTimecode\":1584409968909}\n"
        );
        let error = Ack::Error { timecode: None, number: None, id: ErrorId::InvalidMkvData }.line();
        assert_eq!(error, "{\"ErrorCode\":\"INVALID_MKV_DATA\",\"ErrorId\":4006,\"EventType\":\"ERROR\"}\n");
        assert_eq!(Ack::Idle.line(), "{\"EventType\":\"IDLE\"}\n");
    }
}
