//! [`ErrorId`]: the numbers of PutMedia's error acknowledgements.

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

    /// Its `ErrorCode` on the wire.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_find_their_errors() {
        assert_eq!(ErrorId::from_number(4500), Some(ErrorId::KmsKeyAccessDenied));
        assert_eq!(ErrorId::from_number(4013), None);
    }
}
