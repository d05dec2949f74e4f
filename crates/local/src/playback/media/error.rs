//! [`MediaError`]: why stored media cannot be played, in the service's words.

use crate::error::{ErrorKind, ServiceError};

/// PutMedia stores any codec and looks into no frame; players are pickier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MediaError {
    /// The codecs, or their places among the tracks, are not those of the operation.
    #[error("{0}")]
    Unsupported(String),
    /// A track has no `CodecPrivate`.
    #[error("{0}")]
    MissingCodecPrivate(String),
    /// A track's `CodecPrivate` is not what its codec wants, or it changed where it may not.
    #[error("{0}")]
    InvalidCodecPrivate(String),
    /// A frame is not what its codec says.
    #[error("{0}")]
    InvalidFrame(String),
    /// What is on disk is not what was stored.
    #[error("{0}")]
    Unreadable(String),
}

impl MediaError {
    /// The same, of this fragment.
    pub(crate) fn of_fragment(self, number: &str) -> Self {
        let of = |reason| format!("Fragment {number}: {reason}");
        match self {
            Self::Unsupported(reason) => Self::Unsupported(of(reason)),
            Self::MissingCodecPrivate(reason) => Self::MissingCodecPrivate(of(reason)),
            Self::InvalidCodecPrivate(reason) => Self::InvalidCodecPrivate(of(reason)),
            Self::InvalidFrame(reason) => Self::InvalidFrame(of(reason)),
            Self::Unreadable(reason) => Self::Unreadable(of(reason)),
        }
    }
}

impl From<MediaError> for ServiceError {
    fn from(error: MediaError) -> Self {
        let kind = match &error {
            MediaError::Unsupported(_) => ErrorKind::UnsupportedStreamMediaType,
            MediaError::MissingCodecPrivate(_) => ErrorKind::MissingCodecPrivateData,
            MediaError::InvalidCodecPrivate(_) => ErrorKind::InvalidCodecPrivateData,
            MediaError::InvalidFrame(_) => ErrorKind::InvalidMediaFrame,
            MediaError::Unreadable(_) => return Self::internal(error),
        };
        Self::new(kind, error.to_string())
    }
}
