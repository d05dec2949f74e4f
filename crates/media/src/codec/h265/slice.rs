//! The first fields of a slice segment header (ITU-T H.265 section 7.3.6.1).

use super::kinds;
use crate::codec::nal::bits::{BitReader, EndOfData, unescape};

/// The fields in front of those that need a parameter set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SliceStart {
    /// `first_slice_segment_in_pic_flag`.
    pub(super) is_first: bool,
    pub(super) pps_id: u32,
}

impl SliceStart {
    /// Of a NAL unit with a slice segment, its header of two bytes included.
    pub(super) fn parse(unit: &[u8]) -> Result<Self, EndOfData> {
        let payload = unescape(unit.get(2..).unwrap_or_default(), 16);
        let mut reader = BitReader::new(&payload);
        let is_first = reader.flag()?;
        if kinds::IRAP.contains(&kinds::of(unit)) {
            let _no_output_of_prior_pics = reader.flag()?;
        }
        Ok(Self { is_first, pps_id: reader.ue()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields() {
        // A trailing picture: first, PPS 0. An IDR: first, a flag, PPS 2 (011).
        assert_eq!(SliceStart::parse(&[0x02, 1, 0b1100_0000]), Ok(SliceStart { is_first: true, pps_id: 0 }));
        assert_eq!(SliceStart::parse(&[0x26, 1, 0b1001_1000]), Ok(SliceStart { is_first: true, pps_id: 2 }));
        assert_eq!(SliceStart::parse(&[0x02, 1, 0b0100_0000]), Ok(SliceStart { is_first: false, pps_id: 0 }));
        assert_eq!(SliceStart::parse(&[0x02, 1]), Err(EndOfData));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = SliceStart::parse(&bytes);
        }
    }
}
