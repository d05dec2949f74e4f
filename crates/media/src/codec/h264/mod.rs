//! H.264: what its NAL units are, and which of its pictures can be decoded (RFC 6184, ITU-T H.264).

mod kinds;
mod parameters;
mod profile;
mod slice;
mod sps;

use bytes::{BufMut, Bytes, BytesMut};

pub(super) use profile::profile_name;
pub use sps::Sps;

use self::parameters::ParameterSets;
use self::slice::{SliceStart, frame_num};
use super::format::VideoParameters;
use super::nal::bits::BitReader;
use super::nal::{NalCodec, ParameterError, Role, recovery_point};

/// `frame_num` has at least 4 bits, so fewer lost packets than this cannot hide a whole turn of it.
const FRAME_NUM_TURN: u64 = 16;

/// What of a stream is remembered.
#[derive(Default)]
pub struct H264 {
    parameters: ParameterSets,
    /// `frame_num` of the last reference picture that was handed on.
    reference: Option<u32>,
}

/// The front of a slice.
pub struct Slice {
    start: SliceStart,
    /// The SPS that it refers to, if it came.
    sps: Option<Sps>,
    frame_num: Option<u32>,
}

impl NalCodec for H264 {
    const HEADER: usize = 1;
    /// STAP-A.
    const AGGREGATE: u8 = 24;
    /// FU-A.
    const FRAGMENT: u8 = 28;
    const FRAGMENT_KIND: u8 = 0x1f;

    type Slice = Slice;

    fn kind(header: &[u8]) -> u8 {
        kinds::of(header)
    }

    fn is_unit(kind: u8) -> bool {
        (1..=23).contains(&kind)
    }

    fn put_header(payload: &[u8], kind: u8, out: &mut BytesMut) {
        out.put_u8(payload.first().map_or(0, |indicator| indicator & 0x60) | kind);
    }

    fn role(unit: &[u8]) -> Role {
        match kinds::of(unit) {
            kinds::DELIMITER | kinds::END_OF_SEQUENCE | kinds::END_OF_STREAM | kinds::FILLER => Role::Skipped,
            kinds::SPS => Role::SequenceParameters,
            kinds::PPS => Role::Parameters,
            // Of a primary coded picture.
            1..=5 => Role::Slice,
            _ => Role::Other,
        }
    }

    fn is_key(kind: u8) -> bool {
        kind == kinds::IDR
    }

    fn precedes_key(kind: u8) -> bool {
        kind == kinds::SPS
    }

    /// Nothing in a unit's type tells.
    fn is_skipped_at_start(_kind: u8) -> bool {
        false
    }

    /// `recovery_frame_cnt` (section D.2.8).
    fn recovery(unit: &[u8]) -> Option<u32> {
        let body = unit.get(1..).filter(|_| kinds::of(unit) == kinds::SEI)?;
        BitReader::new(&recovery_point(body)?).ue().ok()
    }

    /// `recovery_frame_cnt` 0, no `exact_match_flag`, no `broken_link_flag`, `changing_slice_group_idc` 0.
    const RECOVERY: &[u8] = &[kinds::SEI, 6, 1, 0b1000_0100, 0x80];

    fn update(&mut self, unit: &Bytes) -> Result<bool, ParameterError> {
        self.parameters.update(unit)
    }

    fn slice(&self, unit: &[u8]) -> Option<Slice> {
        let start = SliceStart::parse(unit).ok()?;
        let sps = self.parameters.sps_of(start.pps_id).copied();
        let frame_num =
            sps.and_then(|sps| frame_num(unit, sps.frame_num_bits, sps.separate_colour_planes).ok());
        Some(Slice { start, sps, frame_num })
    }

    fn refers_to_none(slice: &Slice) -> bool {
        slice.start.is_intra
    }

    fn begins_picture(slice: &Slice) -> bool {
        slice.start.first_macroblock == 0
    }

    /// Lost may be padding, or pictures that nothing refers to: `frame_num` counts those that are referred to.
    fn nothing_needed_is_lost(&self, slice: &Slice, packets: u64) -> bool {
        let next = slice.sps.zip(self.reference).map(|(sps, it)| (it + 1) % (1 << sps.frame_num_bits));
        packets < FRAME_NUM_TURN && slice.frame_num.is_some() && slice.frame_num == next
    }

    fn parameters(&self, slice: &Slice) -> Option<VideoParameters> {
        let sps = slice.sps?;
        let configuration_record = self.parameters.configuration_record(sps.id)?;
        Some(VideoParameters { format: sps.format, configuration_record })
    }

    fn handed_on(&mut self, unit: &[u8], slice: &Slice) {
        let is_reference = unit.first().is_some_and(|header| header & 0x60 != 0);
        if is_reference || Self::is_key(kinds::of(unit)) {
            self.reference = slice.frame_num;
        }
    }

    fn interrupted(&mut self) {
        self.reference = None;
    }
}
