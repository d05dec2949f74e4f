//! What went wrong, sorted by what follows from it.

use std::time::Duration;

/// The kinds of failure that the session tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The credentials lack a permission, or there are none.
    AccessDenied,
    /// The credentials ran out; the next attempt takes fresh ones.
    CredentialsExpired,
    /// The local clock was off; the next attempt is signed with the corrected one.
    ClockSkew,
    /// The channel is not there (yet, or any more).
    ChannelNotFound,
    /// AWS asked for fewer requests, or the channel's viewers are all taken.
    Throttled,
    /// AWS refused the request as malformed.
    InvalidRequest,
    /// No connection, or it broke.
    Network,
    /// Nothing came in time.
    Timeout,
    /// A fault on the AWS side, or one that nobody classified.
    Service,
    /// Media storage is enabled on the channel: its viewers get no media peer to peer.
    MediaStorageEnabled,
    /// The master has no codec that the agent receives.
    CodecMismatch,
    /// The peer connection could not be built.
    PeerBuild,
    /// ICE or DTLS did not come up, or broke.
    PeerFailed,
    /// Connected, but no media for too long.
    MediaTimeout,
    /// The TURN server ends the relay that media comes over.
    RelayEnds,
    /// The offer was answered a second time, by another connection: the first answer's may be dead.
    AnsweredTwice,
}

impl FailureKind {
    /// The reason as it appears in status, logs and metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::AccessDenied => "AccessDenied",
            Self::CredentialsExpired => "CredentialsExpired",
            Self::ClockSkew => "ClockSkew",
            Self::ChannelNotFound => "ChannelNotFound",
            Self::Throttled => "Throttled",
            Self::InvalidRequest => "InvalidRequest",
            Self::Network => "NetworkError",
            Self::Timeout => "Timeout",
            Self::Service => "ServiceError",
            Self::MediaStorageEnabled => "MediaStorageEnabled",
            Self::CodecMismatch => "CodecMismatch",
            Self::PeerBuild => "PeerBuildFailed",
            Self::PeerFailed => "PeerConnectionFailed",
            Self::MediaTimeout => "MediaTimeout",
            Self::RelayEnds => "RelayEnds",
            Self::AnsweredTwice => "AnsweredTwice",
        }
    }

    /// Nothing gets better until a person changes something (in AWS, or on the master).
    pub fn needs_a_person(self) -> bool {
        matches!(
            self,
            Self::AccessDenied
                | Self::ChannelNotFound
                | Self::InvalidRequest
                | Self::MediaStorageEnabled
                | Self::CodecMismatch
        )
    }

    /// Shortest wait before the next attempt, on top of which comes the jittered backoff.
    pub(super) fn floor(self) -> Duration {
        match self {
            Self::MediaStorageEnabled => Duration::from_secs(30),
            Self::CodecMismatch => Duration::from_secs(15),
            Self::AccessDenied | Self::ChannelNotFound | Self::InvalidRequest => Duration::from_secs(3),
            Self::Throttled => Duration::from_secs(1),
            _ => Duration::ZERO,
        }
    }
}

/// One failure with words for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub kind: FailureKind,
    /// What failed, naming the thing, and the remedy where there is one.
    pub message: String,
}

impl Failure {
    /// A failure of `kind` described by `message`.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}
