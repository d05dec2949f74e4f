//! Codecs whose pictures are NAL units: RTP payloads to access units (RFC 6184, RFC 7798), the same for H.264 and H.265 but
//! for what [`NalCodec`] asks of each.

mod annex_b;
mod assemble;
pub(crate) mod bits;
mod depacketize;
mod error;
mod sei;
mod stream;

use bytes::{Bytes, BytesMut};

pub use depacketize::{Depacketizer, NalError};
pub(super) use error::check_length;
pub use error::{ParameterError, SpsError};
pub(super) use sei::recovery_point;
pub(super) use stream::{NalStream, announces_key_frame, is_of_key_frame};

use super::format::VideoParameters;

/// What a NAL unit is to an access unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Delimiters, ends of sequences, filler: nothing is lost without it.
    Skipped,
    /// Of a sequence: without one that it knows nobody decodes anything.
    SequenceParameters,
    /// Other parameter sets.
    Parameters,
    /// A part of a picture.
    Slice,
    /// What comes with pictures and is kept: SEI and what is not known here.
    Other,
}

/// What is different from codec to codec, and what of the stream must be remembered to judge its pictures.
pub trait NalCodec: Default {
    /// Bytes of a NAL unit's header.
    const HEADER: usize;
    /// Packet type of several NAL units, each behind its length.
    const AGGREGATE: u8;
    /// Packet type of a part of a NAL unit.
    const FRAGMENT: u8;
    /// Where the NAL unit type stands in the header of such a part, and how many types there are.
    const FRAGMENT_KIND: u8;

    /// What stands in the front of a slice.
    type Slice;

    /// `nal_unit_type`, or the packet type of a payload, which stands in the same place. 0 for nothing.
    fn kind(header: &[u8]) -> u8;

    /// There are NAL units of this type, rather than packets.
    fn is_unit(kind: u8) -> bool;

    /// Writes the header of the NAL unit of type `kind` that a fragment with this payload belongs to.
    fn put_header(payload: &[u8], kind: u8, out: &mut BytesMut);

    /// What a whole NAL unit is.
    fn role(unit: &[u8]) -> Role;

    /// A unit of this type is in the picture of a key frame.
    fn is_key(kind: u8) -> bool;

    /// A unit of this type comes in front of key frames alone.
    fn precedes_key(kind: u8) -> bool;

    /// A unit of this type is in a picture that may refer to what lies in front of the key frame that it follows.
    fn is_skipped_at_start(kind: u8) -> bool;

    /// Of a unit that says that a decoder which begins here will show the right pictures: how many pictures later.
    fn recovery(unit: &[u8]) -> Option<u32>;

    /// A unit to put in front of a picture of which [`Self::refers_to_none`] holds: that a decoder may begin here. Empty: there
    /// is no need of it.
    const RECOVERY: &[u8];

    /// Takes over a parameter set. True when it differs from the one of that number before.
    fn update(&mut self, unit: &Bytes) -> Result<bool, ParameterError>;

    /// Reads the front of a slice; `None`: it makes no sense.
    fn slice(&self, unit: &[u8]) -> Option<Self::Slice>;

    /// It refers to no other picture.
    fn refers_to_none(slice: &Self::Slice) -> bool;

    /// It is the first of its picture.
    fn begins_picture(slice: &Self::Slice) -> bool;

    /// So many packets were lost in front of a picture, which is no key frame: none of them is one that it needs.
    fn nothing_needed_is_lost(&self, slice: &Self::Slice, packets: u64) -> bool;

    /// What a decoder needs for the picture; `None`: its parameter sets never came.
    fn parameters(&self, slice: &Self::Slice) -> Option<VideoParameters>;

    /// A picture was handed on, of which this is the first slice.
    fn handed_on(&mut self, unit: &[u8], slice: &Self::Slice);

    /// Pictures are missing here.
    fn interrupted(&mut self);
}
