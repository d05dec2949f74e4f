//! H.265: what its NAL units are, and which of its pictures can be decoded (RFC 7798, ITU-T H.265).

mod kinds;
mod parameters;
mod profile;
mod slice;
mod sps;

use bytes::{BufMut, Bytes, BytesMut};

pub(super) use profile::profile_name;
pub use sps::H265Sps;

use self::parameters::ParameterSets;
pub use self::slice::SliceStart;
use super::format::VideoParameters;
use super::nal::bits::BitReader;
use super::nal::{NalCodec, ParameterError, Role, recovery_point};

/// What of a stream is remembered.
#[derive(Default)]
pub struct H265 {
    parameters: ParameterSets,
}

impl NalCodec for H265 {
    const HEADER: usize = 2;
    /// AP.
    const AGGREGATE: u8 = 48;
    /// FU.
    const FRAGMENT: u8 = 49;
    const FRAGMENT_KIND: u8 = 0x3f;

    type Slice = SliceStart;

    fn kind(header: &[u8]) -> u8 {
        kinds::of(header)
    }

    fn is_unit(kind: u8) -> bool {
        kind < Self::AGGREGATE
    }

    fn put_header(payload: &[u8], kind: u8, out: &mut BytesMut) {
        let [first, second] = payload.first_chunk().copied().unwrap_or_default();
        out.put_u8(first & 0x81 | kind << 1);
        out.put_u8(second);
    }

    fn role(unit: &[u8]) -> Role {
        // Layers beside the base have parameter sets of another syntax, under the numbers of its own.
        if kinds::layer(unit) > 0 {
            return Role::Other;
        }
        match kinds::of(unit) {
            kinds::DELIMITER | kinds::END_OF_SEQUENCE | kinds::END_OF_BITSTREAM | kinds::FILLER => {
                Role::Skipped
            }
            kinds::SPS => Role::SequenceParameters,
            kinds::VPS | kinds::PPS => Role::Parameters,
            kind if kinds::SLICES.contains(&kind) => Role::Slice,
            _ => Role::Other,
        }
    }

    fn is_key(kind: u8) -> bool {
        kinds::RANDOM_ACCESS.contains(&kind)
    }

    fn precedes_key(kind: u8) -> bool {
        matches!(kind, kinds::VPS | kinds::SPS)
    }

    fn is_skipped_at_start(kind: u8) -> bool {
        kinds::SKIPPED_LEADING.contains(&kind)
    }

    /// `recovery_poc_cnt` (section D.2.8), a distance in the order of presentation. Of what is right from the picture itself
    /// on, its type tells.
    fn recovery(unit: &[u8]) -> Option<u32> {
        let body =
            unit.get(2..).filter(|_| kinds::of(unit) == kinds::PREFIX_SEI && kinds::layer(unit) == 0)?;
        let count = BitReader::new(&recovery_point(body)?).se().ok()?;
        u32::try_from(count).ok().filter(|count| *count > 0)
    }

    /// Encoders make random access points of such pictures.
    const RECOVERY: &[u8] = &[];

    fn update(&mut self, unit: &Bytes) -> Result<bool, ParameterError> {
        self.parameters.update(unit)
    }

    fn slice(&self, unit: &[u8]) -> Option<SliceStart> {
        SliceStart::parse(unit).ok()
    }

    /// That stands behind what a picture parameter set decides.
    fn refers_to_none(_slice: &SliceStart) -> bool {
        false
    }

    fn begins_picture(slice: &SliceStart) -> bool {
        slice.is_first
    }

    /// Pictures are not numbered one by one: what was lost may have been one of them.
    fn nothing_needed_is_lost(&self, _slice: &SliceStart, _packets: u64) -> bool {
        false
    }

    fn parameters(&self, slice: &SliceStart) -> Option<VideoParameters> {
        self.parameters.of(slice.pps_id)
    }

    fn handed_on(&mut self, _unit: &[u8], _slice: &SliceStart) {}

    fn interrupted(&mut self) {}
}

#[cfg(test)]
mod tests;
