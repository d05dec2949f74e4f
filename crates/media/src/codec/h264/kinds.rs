//! NAL unit types (ITU-T H.264, table 7-1).

pub(super) const IDR: u8 = 5;
pub(super) const SEI: u8 = 6;
pub(super) const SPS: u8 = 7;
pub(super) const PPS: u8 = 8;
pub(super) const DELIMITER: u8 = 9;
pub(super) const END_OF_SEQUENCE: u8 = 10;
pub(super) const END_OF_STREAM: u8 = 11;
pub(super) const FILLER: u8 = 12;

/// `nal_unit_type`, and the type of a packet, which stands in the same place; 0 for nothing.
pub(super) fn of(header: &[u8]) -> u8 {
    header.first().map_or(0, |header| header & 0x1f)
}
