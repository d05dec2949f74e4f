//! H.264: RTP payloads to access units (RFC 6184, ITU-T H.264).

mod assemble;
pub(crate) mod bits;
mod depacketize;
pub(crate) mod nal;
mod parameters;
mod slice;
mod sps;

pub use assemble::Broken;
pub(crate) use assemble::{Assembler, Unit};
pub use depacketize::{H264Depacketizer, H264Error};
pub use parameters::ParameterError;
pub use sps::{Sps, SpsError, VideoFormat};

/// True when the payload of a packet holds an IDR slice, a beginning of one, or an SPS: a key frame is on its way.
pub(crate) fn announces_key_frame(payload: &[u8]) -> bool {
    let is_key = |kind: u8| matches!(kind, nal::IDR | nal::SPS);
    match payload {
        [first, ..] if is_key(first & 0x1f) => true,
        [first, fu, ..] if first & 0x1f == 28 => is_key(fu & 0x1f),
        [first, _, _, inner, ..] if first & 0x1f == 24 => is_key(inner & 0x1f),
        _ => false,
    }
}

/// Whether the payload is a slice of an IDR or a fragment of one. Aggregates arrive whole or not at all.
pub(crate) fn is_of_idr(payload: &[u8]) -> bool {
    match payload {
        [first, fu, ..] if first & 0x1f == 28 => fu & 0x1f == nal::IDR,
        _ => nal::kind(payload) == nal::IDR,
    }
}
