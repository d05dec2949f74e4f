//! What each `ErrorId` of an ERROR acknowledgement asks for.

/// What to do about a failed fragment or session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// The fragment will never be accepted: drop it, go on with the next in a new session.
    SkipFragment,
    /// Nothing is wrong with the fragment: send it again in a new session.
    Resend,
    /// As `Resend`, but ask the control plane for the stream and its endpoint first.
    RefreshStream,
    /// Nothing is wrong with the fragment, and a person has to mend what is: as `RefreshStream`, for as long as there is room.
    AwaitRepair,
}

/// The remedy for an `ErrorId`. An unknown id is taken as passing: resend, with growing backoff.
pub(crate) fn remedy(id: u32) -> Remedy {
    match id {
        // Too large, too long, not monotonic, tracks that are not those of the header, not Matroska, of a time that cannot be
        // (the clock was wrong, and is right by now), too many tags, a track without frames.
        4001 | 4002 | 4004..=4007 | 4009..=4012 => Remedy::SkipFragment,
        // Read failed, session too old, not archived.
        4000 | 4003 | 5001 => Remedy::Resend,
        // Not active (it may be UPDATING for a moment: the control plane knows), key store away, internal.
        4008 | 4503 | 4507 | 5000 => Remedy::RefreshStream,
        // The KMS key is unusable until someone acts.
        4500..=4506 => Remedy::AwaitRepair,
        _ => Remedy::Resend,
    }
}

/// The documented name of an `ErrorId`, for messages.
pub(crate) fn error_name(id: u32) -> &'static str {
    match id {
        4000 => "STREAM_READ_ERROR",
        4001 => "MAX_FRAGMENT_SIZE_REACHED",
        4002 => "MAX_FRAGMENT_DURATION_REACHED",
        4003 => "MAX_CONNECTION_DURATION_REACHED",
        4004 => "FRAGMENT_TIMECODE_LESSER_THAN_PREVIOUS",
        4005 => "MORE_THAN_ONE_TRACK_FOUND",
        4006 => "INVALID_MKV_DATA",
        4007 => "INVALID_PRODUCER_TIMESTAMP",
        4008 => "STREAM_NOT_ACTIVE",
        4009 => "FRAGMENT_METADATA_LIMIT_REACHED",
        4010 => "TRACK_NUMBER_MISMATCH",
        4011 => "FRAMES_MISSING_FOR_TRACK",
        4012 => "MORE_THAN_ALLOWED_TRACKS_FOUND",
        4500 => "KMS_KEY_ACCESS_DENIED",
        4501 => "KMS_KEY_DISABLED",
        4502 => "KMS_KEY_VALIDATION_ERROR",
        4503 => "KMS_KEY_UNAVAILABLE",
        4504 => "KMS_KEY_INVALID_USAGE",
        4505 => "KMS_KEY_INVALID_STATE",
        4506 => "KMS_KEY_NOT_FOUND",
        4507 => "STREAM_DELETED",
        5000 => "INTERNAL_ERROR",
        5001 => "ARCHIVAL_ERROR",
        _ => "UNKNOWN_ERROR",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_id_has_a_remedy_by_its_meaning() {
        let ids = (4000..=4012).chain(4500..=4507).chain(5000..=5001);
        let skipped: Vec<u32> = ids.filter(|id| remedy(*id) == Remedy::SkipFragment).collect();
        assert_eq!(skipped, [4001, 4002, 4004, 4005, 4006, 4007, 4009, 4010, 4011, 4012]);
        assert_eq!(remedy(4500), Remedy::AwaitRepair);
        assert_eq!(remedy(5000), Remedy::RefreshStream);
        assert_eq!(remedy(9999), Remedy::Resend);
    }
}
