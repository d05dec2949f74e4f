//! Access units as the codecs put them together.

use bytes::{BufMut, Bytes, BytesMut};

use super::format::VideoParameters;

/// A complete access unit that has no capture time yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UntimedAccessUnit {
    /// As in [`crate::AccessUnit`].
    pub(crate) data: Bytes,
    /// RTP timestamp, extended.
    pub(crate) timestamp: u64,
    /// Of a picture with which decoding may start.
    pub(crate) start: Option<Start>,
    /// Packets in front of it were lost: what follows cannot count on any picture before it.
    pub(crate) is_behind_gap: bool,
    /// It may refer to what lies in front of the key frame that it follows, and no picture that is presented after that
    /// key frame refers to it.
    pub(crate) is_skipped_at_start: bool,
}

/// What is known of a picture with which decoding may start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) kind: StartKind,
    /// What a decoder needs first.
    pub(crate) parameters: VideoParameters,
}

/// Why decoding may start at a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StartKind {
    /// Its type says so. Pictures behind it that may refer to what lies in front of it have a type of their own.
    KeyFrame,
    /// The stream says so. What is presented before it may refer to what lies in front of it.
    RecoveryPoint,
    /// It refers to no other picture, and the stream does not say whether those behind it do without what lies in front of
    /// it. This unit would say it.
    Intra(&'static [u8]),
}

impl UntimedAccessUnit {
    /// Decoding starts here, and a picture of which the stream does not say that it may gets the unit that does: then true.
    pub(crate) fn announce_start(&mut self) -> bool {
        let Some(Start { kind: StartKind::Intra(unit), .. }) = self.start else { return false };
        self.data = length_prefixed(std::iter::once(unit), &self.data);
        true
    }
}

/// NAL units as ISO/IEC 14496-15 has them, section 5.3.4.2, with lengths of four bytes, and what is so already behind them.
/// No unit is longer than an access unit that is believed.
pub(super) fn length_prefixed<'a>(units: impl Iterator<Item = &'a [u8]> + Clone, behind: &[u8]) -> Bytes {
    let length = units.clone().map(|unit| unit.len() + 4).sum::<usize>() + behind.len();
    let mut data = BytesMut::with_capacity(length);
    for unit in units {
        data.put_u32(u32::try_from(unit.len()).unwrap_or(u32::MAX));
        data.put_slice(unit);
    }
    data.put_slice(behind);
    data.freeze()
}

/// An access unit whose last packet came, and whether it can be decoded.
pub(crate) type Completed = Result<UntimedAccessUnit, AccessUnitError>;

/// Why an access unit cannot be handed on, nor what follows until decoding can start again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessUnitError {
    /// Packets of it, or whole access units in front of it, are missing.
    #[error("packets are missing")]
    Missing,
    /// A packet of it was malformed.
    #[error("a packet was malformed")]
    Malformed,
    /// A key frame or recovery point whose SPS or PPS never came.
    #[error("the key frame refers to parameter sets that never came")]
    NoParameterSets,
    /// More than 16 MiB, or than 4096 NAL units.
    #[error("the access unit is too large")]
    TooLarge,
    /// The marker bit came before the last packet of it.
    #[error("the marker bit does not end access units")]
    Marker,
}
