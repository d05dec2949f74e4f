//! The first fields of a slice header (ITU-T H.264 section 7.3.3).

use crate::codec::nal::bits::{BitReader, EndOfData, unescape};

/// The fields in front of those that need a parameter set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SliceStart {
    pub(crate) first_macroblock: u32,
    /// Of type I or SI.
    pub(crate) is_intra: bool,
    pub(crate) pps_id: u32,
}

impl SliceStart {
    /// Of a NAL unit of type 1, 2 or 5, its header byte included.
    pub(crate) fn parse(nal: &[u8]) -> Result<Self, EndOfData> {
        let payload = unescape(nal.get(1..).unwrap_or_default(), 24);
        Self::read(&mut BitReader::new(&payload))
    }

    fn read(reader: &mut BitReader<'_>) -> Result<Self, EndOfData> {
        let first_macroblock = reader.ue()?;
        let slice_type = reader.ue()?;
        // Above 4 all slices of the picture are of the type that is 5 less (table 7-6).
        let is_intra = matches!(slice_type, 2 | 4 | 7 | 9);
        Ok(Self { first_macroblock, is_intra, pps_id: reader.ue()? })
    }
}

/// `frame_num`, which has `bits` bits, behind a colour plane id or not.
pub(crate) fn frame_num(nal: &[u8], bits: u32, separate_colour_planes: bool) -> Result<u32, EndOfData> {
    let payload = unescape(nal.get(1..).unwrap_or_default(), 24);
    let mut reader = BitReader::new(&payload);
    SliceStart::read(&mut reader)?;
    if separate_colour_planes {
        reader.bits(2)?;
    }
    reader.bits(bits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields() {
        // first_mb 0, slice_type 5, pps 1, frame_num 9 of 4 bits: 1 00110 010 1001 …
        let nal = [0x61, 0b1001_1001, 0b0100_1100];
        assert_eq!(
            SliceStart::parse(&nal),
            Ok(SliceStart { first_macroblock: 0, is_intra: false, pps_id: 1 })
        );
        assert_eq!(frame_num(&nal, 4, false), Ok(9));
        assert_eq!(SliceStart::parse(&[0x61]), Err(EndOfData));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..40), bits in 4u32..17, planes: bool) {
            let _ = SliceStart::parse(&bytes);
            let _ = frame_num(&bytes, bits, planes);
        }
    }
}
