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

/// Whether decoding can start at this access unit: H.264 IDR (`nal_unit_type` 5), H.265 IRAP (16 to 21: BLA, IDR, CRA), or
/// either with a recovery point SEI, by which encoders announce an open group of pictures and intra refresh. An I picture of
/// which nothing says so, as encoders put at scene cuts, does not count.
///
/// A malformed access unit is no random-access point.
pub fn is_random_access(codec: NalCodec, length_size: usize, access_unit: &[u8]) -> bool {
    let mut found = false;
    for unit in units(length_size, access_unit) {
        let Some(unit) = unit else { return false };
        found |= is_key(codec, unit) || is_recovery_point(codec, unit);
    }
    found
}

/// Whether this access unit, at which decoding can start, may be followed by pictures that are presented before it. Not after
/// an IDR of H.264.
pub(crate) fn may_be_led(codec: NalCodec, record: &[u8], access_unit: &[u8]) -> bool {
    match (codec, nal_length_size(codec, record)) {
        (NalCodec::H265, _) => true,
        (NalCodec::H264, Some(size)) => {
            !units(size, access_unit).any(|unit| unit.is_none_or(|unit| is_key(codec, unit)))
        }
        (NalCodec::H264, None) => false,
    }
}

/// The NAL units; `None` in the place of one whose length is wrong, the last.
fn units(length_size: usize, mut rest: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    std::iter::from_fn(move || {
        let (prefix, behind) = rest.split_at_checked(length_size).filter(|(_, behind)| !behind.is_empty())?;
        let length = prefix.iter().fold(0usize, |value, byte| (value << 8) | usize::from(*byte));
        let unit = behind.get(..length);
        rest = behind.get(length..).unwrap_or_default();
        Some(unit)
    })
}

fn kind(codec: NalCodec, unit: &[u8]) -> Option<u8> {
    let first = unit.first()?;
    Some(match codec {
        NalCodec::H264 => first & 0x1f,
        NalCodec::H265 => (first >> 1) & 0x3f,
    })
}

fn is_key(codec: NalCodec, unit: &[u8]) -> bool {
    kind(codec, unit).is_some_and(|kind| match codec {
        NalCodec::H264 => kind == 5,
        NalCodec::H265 => (16..=21).contains(&kind),
    })
}

/// A SEI unit with a message of payload type 6 (ITU-T H.264 and H.265, D.1).
fn is_recovery_point(codec: NalCodec, unit: &[u8]) -> bool {
    let (sei, header) = match codec {
        NalCodec::H264 => (6, 1),
        NalCodec::H265 => (39, 2),
    };
    if kind(codec, unit) != Some(sei) {
        return false;
    }
    let mut body = unescaped(unit.get(header..).unwrap_or_default());
    // Behind the last message there is one byte more.
    while let Some((message, length)) = number(&mut body).zip(number(&mut body)) {
        let payload = body.by_ref().take(length).count();
        if message == 6 {
            return payload == length && length > 0;
        }
    }
    false
}

/// Without the emulation prevention bytes (ITU-T H.264 and H.265, 7.3.1.1).
fn unescaped(payload: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let mut zeros = 0;
    payload.iter().copied().filter(move |byte| {
        let is_inserted = zeros >= 2 && *byte == 3;
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        !is_inserted
    })
}

/// A sum of bytes, up to and with the first that is not 255.
fn number(bytes: &mut impl Iterator<Item = u8>) -> Option<usize> {
    let mut sum = 0;
    for byte in bytes {
        sum += usize::from(byte);
        if byte != 255 {
            return Some(sum);
        }
    }
    None
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

    /// Units behind their lengths of four bytes.
    fn access_unit(units: &[&[u8]]) -> Vec<u8> {
        units.iter().flat_map(|unit| [&(unit.len() as u32).to_be_bytes()[..], unit].concat()).collect()
    }

    #[test]
    fn a_recovery_point_counts_and_other_sei_does_not() {
        let record = [1, 100, 0, 31, 0xff];
        // As x264 writes them: an open group of pictures, intra refresh; its own name; behind other messages.
        for (sei, counts) in [
            (&[6, 6, 1, 0xc4, 0x80][..], true),
            (&[6, 6, 2, 0x09, 0xc4, 0x80], true),
            (&[6, 5, 3, 6, 1, 0xc4, 0x80], false),
            (&[6, 1, 3, 0, 0, 3, 1, 6, 1, 0xc4, 0x80], true),
            (&[6, 6, 5, 0xc4, 0x80], false),
            (&[6, 6], false),
            (&[6], false),
        ] {
            let unit = access_unit(&[sei, &[0x41, 0x88]]);
            assert_eq!(is_random_access(NalCodec::H264, 4, &unit), counts, "{sei:?}");
            assert!(may_be_led(NalCodec::H264, &record, &unit));
        }
        let refresh = access_unit(&[&[39 << 1, 1, 6, 1, 0x2c, 0x80], &[2, 1, 0xd0]]);
        assert!(is_random_access(NalCodec::H265, 4, &refresh));
        let idr = access_unit(&[&[6, 6, 1, 0xc4, 0x80], &[0x65, 0x88]]);
        assert!(is_random_access(NalCodec::H264, 4, &idr) && !may_be_led(NalCodec::H264, &record, &idr));
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
