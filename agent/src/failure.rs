//! From the errors of the other crates to the session's failures.

use crate::peer::{AnswerError, PeerError};
use crate::session::{Failure, FailureKind};
use kvs::signaling::SignalingError;
use kvs_aws::ErrorClass;

fn kind(class: ErrorClass) -> FailureKind {
    match class {
        ErrorClass::Throttled | ErrorClass::LimitExceeded => FailureKind::Throttled,
        ErrorClass::AccessDenied => FailureKind::AccessDenied,
        ErrorClass::CredentialsExpired => FailureKind::CredentialsExpired,
        ErrorClass::ClockSkew => FailureKind::ClockSkew,
        ErrorClass::NotFound => FailureKind::ChannelNotFound,
        ErrorClass::InvalidRequest => FailureKind::InvalidRequest,
        ErrorClass::Network => FailureKind::Network,
        ErrorClass::Timeout => FailureKind::Timeout,
        ErrorClass::Conflict | ErrorClass::Service | ErrorClass::Unknown => FailureKind::Service,
    }
}

/// A failed call of the control plane.
pub(crate) fn call(error: &kvs::Error) -> Failure {
    let remedy = match error.class {
        ErrorClass::AccessDenied => {
            "; check the credentials, and that their policy allows this action on this resource"
        }
        ErrorClass::NotFound => "; create it, or correct its name and region",
        _ => "",
    };
    Failure::new(kind(error.class), format!("{error}{remedy}"))
}

/// A signaling socket that could not be opened.
pub(crate) fn signaling(error: &SignalingError) -> Failure {
    Failure::new(kind(error.class()), error.to_string())
}

/// What a peer could not do.
pub(crate) fn peer(error: &PeerError) -> Failure {
    let kind = match error {
        PeerError::Answer(AnswerError::CodecMismatch { .. }) => FailureKind::CodecMismatch,
        PeerError::Build(_) => FailureKind::PeerBuild,
        _ => FailureKind::PeerFailed,
    };
    Failure::new(kind, error.to_string())
}
