//! NAL unit types (ITU-T H.265, table 7-1).

use std::ops::RangeInclusive;

/// Slices of pictures; 10 to 15 and 22 to 31 are reserved for such.
pub(super) const SLICES: RangeInclusive<u8> = 0..=31;
/// Random access points, at which decoding can start: BLA, IDR, CRA.
pub(super) const RANDOM_ACCESS: RangeInclusive<u8> = 16..=21;
/// BLA, IDR, CRA, and two that are reserved for such: their slice headers have a field more (section 7.3.6.1).
pub(super) const IRAP: RangeInclusive<u8> = 16..=23;
/// RASL: pictures that are left out where decoding starts at the random access point that they follow (section 8.1.3).
pub(super) const SKIPPED_LEADING: RangeInclusive<u8> = 8..=9;
pub(super) const VPS: u8 = 32;
pub(super) const SPS: u8 = 33;
pub(super) const PPS: u8 = 34;
pub(super) const DELIMITER: u8 = 35;
pub(super) const END_OF_SEQUENCE: u8 = 36;
pub(super) const END_OF_BITSTREAM: u8 = 37;
pub(super) const FILLER: u8 = 38;
pub(super) const PREFIX_SEI: u8 = 39;

/// `nal_unit_type`, and the type of a packet, which stands in the same place; 0, which is a slice's, for nothing.
pub(super) fn of(header: &[u8]) -> u8 {
    header.first().map_or(0, |first| first >> 1 & 0x3f)
}

/// `nuh_layer_id`: of the base layer 0.
pub(super) fn layer(header: &[u8]) -> u8 {
    match header {
        [first, second, ..] => (first & 1) << 5 | second >> 3,
        _ => 0,
    }
}
