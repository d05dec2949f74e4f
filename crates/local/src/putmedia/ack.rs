//! Acknowledgements as they are sent: JSON objects, one a line.

use serde_json::json;

/// Why a fragment or a session is refused (PutMedia API reference, "Error Ack"; names as seen on the wire or in the
/// producer SDK). This server itself gives no 4000, 4005 or KMS errors; faults do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
#[allow(missing_docs, reason = "each is named by the service")]
pub enum ErrorId {
    StreamReadError = 4000,
    MaxFragmentSizeReached = 4001,
    MaxFragmentDurationReached = 4002,
    MaxConnectionDurationReached = 4003,
    FragmentTimecodeLesserThanPrevious = 4004,
    MoreThanOneTrackFound = 4005,
    InvalidMkvData = 4006,
    InvalidProducerTimestamp = 4007,
    StreamNotActive = 4008,
    FragmentMetadataLimitReached = 4009,
    TrackNumberMismatch = 4010,
    FramesMissingForTrack = 4011,
    MoreThanAllowedTracksFound = 4012,
    KmsKeyAccessDenied = 4500,
    KmsKeyDisabled = 4501,
    KmsKeyValidationError = 4502,
    KmsKeyUnavailable = 4503,
    KmsKeyInvalidUsage = 4504,
    KmsKeyInvalidState = 4505,
    KmsKeyNotFound = 4506,
    StreamDeleted = 4507,
    InternalError = 5000,
    ArchivalError = 5001,
}

impl ErrorId {
    /// All of them.
    pub const ALL: [ErrorId; 23] = [
        ErrorId::StreamReadError,
        ErrorId::MaxFragmentSizeReached,
        ErrorId::MaxFragmentDurationReached,
        ErrorId::MaxConnectionDurationReached,
        ErrorId::FragmentTimecodeLesserThanPrevious,
        ErrorId::MoreThanOneTrackFound,
        ErrorId::InvalidMkvData,
        ErrorId::InvalidProducerTimestamp,
        ErrorId::StreamNotActive,
        ErrorId::FragmentMetadataLimitReached,
        ErrorId::TrackNumberMismatch,
        ErrorId::FramesMissingForTrack,
        ErrorId::MoreThanAllowedTracksFound,
        ErrorId::KmsKeyAccessDenied,
        ErrorId::KmsKeyDisabled,
        ErrorId::KmsKeyValidationError,
        ErrorId::KmsKeyUnavailable,
        ErrorId::KmsKeyInvalidUsage,
        ErrorId::KmsKeyInvalidState,
        ErrorId::KmsKeyNotFound,
        ErrorId::StreamDeleted,
        ErrorId::InternalError,
        ErrorId::ArchivalError,
    ];

    /// The one with this number.
    #[must_use]
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|id| *id as u16 == number)
    }

    /// `ErrorCode`.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            ErrorId::StreamReadError => "STREAM_READ_ERROR",
            ErrorId::MaxFragmentSizeReached => "MAX_FRAGMENT_SIZE_REACHED",
            ErrorId::MaxFragmentDurationReached => "MAX_FRAGMENT_DURATION_REACHED",
            ErrorId::MaxConnectionDurationReached => "MAX_CONNECTION_DURATION_REACHED",
            ErrorId::FragmentTimecodeLesserThanPrevious => "FRAGMENT_TIMECODE_LESSER_THAN_PREVIOUS",
            ErrorId::MoreThanOneTrackFound => "MORE_THAN_ONE_TRACK_FOUND",
            ErrorId::InvalidMkvData => "INVALID_MKV_DATA",
            ErrorId::InvalidProducerTimestamp => "INVALID_PRODUCER_TIMESTAMP",
            ErrorId::StreamNotActive => "STREAM_NOT_ACTIVE",
            ErrorId::FragmentMetadataLimitReached => "FRAGMENT_METADATA_LIMIT_REACHED",
            ErrorId::TrackNumberMismatch => "TRACK_NUMBER_MISMATCH",
            ErrorId::FramesMissingForTrack => "FRAMES_MISSING_FOR_TRACK",
            ErrorId::MoreThanAllowedTracksFound => "MORE_THAN_ALLOWED_TRACKS_FOUND",
            ErrorId::KmsKeyAccessDenied => "KMS_KEY_ACCESS_DENIED",
            ErrorId::KmsKeyDisabled => "KMS_KEY_DISABLED",
            ErrorId::KmsKeyValidationError => "KMS_KEY_VALIDATION_ERROR",
            ErrorId::KmsKeyUnavailable => "KMS_KEY_UNAVAILABLE",
            ErrorId::KmsKeyInvalidUsage => "KMS_KEY_INVALID_USAGE",
            ErrorId::KmsKeyInvalidState => "KMS_KEY_INVALID_STATE",
            ErrorId::KmsKeyNotFound => "KMS_KEY_NOT_FOUND",
            ErrorId::StreamDeleted => "STREAM_DELETED",
            ErrorId::InternalError => "INTERNAL_ERROR",
            ErrorId::ArchivalError => "ARCHIVAL_ERROR",
        }
    }
}

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

    #[test]
    fn numbers_find_their_errors() {
        assert_eq!(ErrorId::from_number(4500), Some(ErrorId::KmsKeyAccessDenied));
        assert_eq!(ErrorId::from_number(4013), None);
    }
}
