//! What can be wrong with a payload.

use super::nal::NalError;
use super::name::{AudioCodec, VideoCodec};

/// What can be wrong with a payload, by the codec that it should have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// Video in NAL units: H.264, H.265.
    #[error("{codec}: {error}")]
    Nal {
        /// What it should have been.
        codec: VideoCodec,
        /// What is wrong with it.
        error: NalError,
    },
    /// Opus: so many bytes are not a packet by the rules of RFC 6716, section 3.4.
    #[error("{0} bytes are not an Opus packet")]
    Opus(usize),
    /// There is nothing behind the header.
    #[error("{0}: the payload is empty")]
    Empty(AudioCodec),
}
