//! What can be wrong with a payload.

use super::h264::H264Error;

/// What can be wrong with a payload, by the codec that it should have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// H.264.
    #[error(transparent)]
    H264(#[from] H264Error),
    /// Opus: so many bytes are not a packet by the rules of RFC 6716, section 3.4.
    #[error("{0} bytes are not an Opus packet")]
    Opus(usize),
}
