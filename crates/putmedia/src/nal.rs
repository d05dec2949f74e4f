//! Looking into length-prefixed NAL units, to cut fragments where decoding can start and nowhere else.

/// The codecs whose access units are made of NAL units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NalCodec {
    /// ITU-T H.264.
    H264,
    /// ITU-T H.265.
    H265,
}

/// The size in bytes of the length in front of each NAL unit, from an avcC or hvcC record.
///
/// avcC keeps it in the low two bits of byte 4 (ISO/IEC 14496-15, 5.3.3.1), hvcC in those of byte 21
/// (8.3.3.1). `None` when the record is too short or gives 3, which the standard forbids.
pub fn nal_length_size(codec: NalCodec, record: &[u8]) -> Option<usize> {
    let at = match codec {
        NalCodec::H264 => 4,
        NalCodec::H265 => 21,
    };
    match (record.get(at)? & 0b11) + 1 {
        3 => None,
        size => Some(usize::from(size)),
    }
}

/// Whether decoding can start at this access unit: H.264 IDR (`nal_unit_type` 5), H.265 IRAP (16 to 21: BLA,
/// IDR, CRA). An I picture that is no IDR, as encoders put at scene cuts, does not count.
///
/// A malformed access unit is no random-access point.
pub fn is_random_access(codec: NalCodec, length_size: usize, mut access_unit: &[u8]) -> bool {
    while access_unit.len() > length_size {
        let (prefix, rest) = access_unit.split_at(length_size);
        let length = prefix.iter().fold(0usize, |value, byte| (value << 8) | usize::from(*byte));
        let Some(nal) = rest.get(..length) else { return false };
        if let Some(first) = nal.first() {
            let found = match codec {
                NalCodec::H264 => first & 0x1f == 5,
                NalCodec::H265 => (16..=21).contains(&((first >> 1) & 0x3f)),
            };
            if found {
                return true;
            }
        }
        access_unit = &rest[length..];
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_idr_behind_delimiter_and_parameter_sets() {
        let idr = [0, 0, 0, 2, 0x09, 0x10, 0, 0, 0, 1, 0x67, 0, 0, 0, 2, 0x65, 0x88];
        assert!(is_random_access(NalCodec::H264, 4, &idr));
        let intra_only = [0, 0, 0, 2, 0x09, 0x10, 0, 0, 0, 2, 0x41, 0x88];
        assert!(!is_random_access(NalCodec::H264, 4, &intra_only));
    }

    #[test]
    fn h265_irap_range() {
        for nal_type in 0u8..64 {
            let unit = [0, 0, 0, 2, nal_type << 1, 1];
            assert_eq!(is_random_access(NalCodec::H265, 4, &unit), (16..=21).contains(&nal_type));
        }
    }

    #[test]
    fn malformed_units_do_not_panic() {
        assert!(!is_random_access(NalCodec::H264, 4, &[0xff, 0xff, 0xff, 0xff, 0x65]));
        assert!(!is_random_access(NalCodec::H264, 4, &[0, 0]));
        assert!(!is_random_access(NalCodec::H264, 4, &[0, 0, 0, 0, 0, 0, 0, 0]));
        assert_eq!(nal_length_size(NalCodec::H264, &[1, 2, 3]), None);
        assert_eq!(nal_length_size(NalCodec::H264, &[1, 100, 0, 31, 0xff, 0xe1]), Some(4));
        assert_eq!(nal_length_size(NalCodec::H264, &[1, 100, 0, 31, 0xfe]), None);
    }
}
