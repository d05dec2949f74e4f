//! Access units as the codecs put them together.

use bytes::Bytes;

use super::format::VideoParameters;

/// A complete access unit that has no capture time yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UntimedAccessUnit {
    /// As in [`crate::AccessUnit`].
    pub(crate) data: Bytes,
    /// RTP timestamp, extended.
    pub(crate) timestamp: u64,
    /// Of an IDR only.
    pub(crate) parameters: Option<VideoParameters>,
}

impl UntimedAccessUnit {
    /// Decoding can start here.
    pub(crate) fn is_idr(&self) -> bool {
        self.parameters.is_some()
    }
}

/// An access unit whose last packet came, and whether it can be decoded.
pub(crate) type Completed = Result<UntimedAccessUnit, AccessUnitError>;

/// Why an access unit cannot be handed on, or nothing after it until the next IDR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessUnitError {
    /// Packets of it, or whole access units in front of it, are missing.
    #[error("packets are missing")]
    Missing,
    /// A packet of it was malformed.
    #[error("a packet was malformed")]
    Malformed,
    /// An IDR whose SPS or PPS never came.
    #[error("the IDR refers to parameter sets that never came")]
    NoParameterSets,
    /// More than 16 MiB, or than 4096 NAL units.
    #[error("the access unit is too large")]
    TooLarge,
    /// The marker bit came before the last packet of it.
    #[error("the marker bit does not end access units")]
    Marker,
}
