//! What an Opus packet says of itself without being decoded (RFC 6716 section 3).

use std::time::Duration;

/// The longest that a packet may last (section 3.2.5).
const LONGEST: Duration = Duration::from_millis(120);
/// Bytes of a frame at most (section 3.2.1).
const MAX_FRAME: usize = 1275;

/// Duration of an Opus packet; `None` when it is none: it breaks a rule of RFC 6716, section 3.4, so that no decoder takes it.
/// What is in its frames is not looked at.
pub fn opus_duration(packet: &[u8]) -> Option<Duration> {
    let (&toc, rest) = packet.split_first()?;
    let config = toc >> 3;
    let frame: u64 = match config {
        // SILK
        0..=11 => [10_000, 20_000, 40_000, 60_000][usize::from(config & 3)],
        // hybrid
        12..=15 => [10_000, 20_000][usize::from(config & 1)],
        // CELT
        _ => [2_500, 5_000, 10_000, 20_000][usize::from(config & 3)],
    };
    let frames = frame_count(toc & 3, rest)?;
    let duration = Duration::from_micros(frame * u64::from(frames));
    (duration <= LONGEST).then_some(duration)
}

/// How many frames are behind a table-of-contents byte with this code (section 3.2). `None`: they do not fit into `rest`.
fn frame_count(code: u8, rest: &[u8]) -> Option<u8> {
    match code {
        0 => (rest.len() <= MAX_FRAME).then_some(1),
        1 => are_equal(rest.len(), 2).then_some(2),
        2 => {
            let (first, rest) = frame_length(rest)?;
            (rest.len().checked_sub(first)? <= MAX_FRAME).then_some(2)
        }
        _ => {
            let (&header, mut rest) = rest.split_first()?;
            let (is_variable, is_padded, count) = (header & 0x80 != 0, header & 0x40 != 0, header & 0x3f);
            if count == 0 {
                return None;
            }
            let mut padding = 0;
            let mut more = is_padded;
            while more {
                let (&length, behind) = rest.split_first()?;
                // 255 stands for 254 bytes, and another length behind it.
                more = length == 255;
                padding += usize::from(length.min(254));
                rest = behind;
            }
            rest = rest.get(..rest.len().checked_sub(padding)?)?;
            if !is_variable {
                return are_equal(rest.len(), usize::from(count)).then_some(count);
            }
            let mut told = 0;
            for _ in 1..count {
                let (length, behind) = frame_length(rest)?;
                told += length;
                rest = behind;
            }
            (rest.len().checked_sub(told)? <= MAX_FRAME).then_some(count)
        }
    }
}

/// So many bytes are `count` frames of one length.
fn are_equal(bytes: usize, count: usize) -> bool {
    bytes.is_multiple_of(count) && bytes / count <= MAX_FRAME
}

/// The length of a frame, of one byte or two, and what is behind it (section 3.2.1).
fn frame_length(data: &[u8]) -> Option<(usize, &[u8])> {
    match data {
        [first @ 0..=251, rest @ ..] => Some((usize::from(*first), rest)),
        [first, second, rest @ ..] => Some((usize::from(*second) * 4 + usize::from(*first), rest)),
        _ => None,
    }
}

/// The bit `s` of the table-of-contents byte.
pub(super) fn is_stereo(packet: &[u8]) -> bool {
    packet.first().is_some_and(|toc| toc & 0x04 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn micros(packet: &[u8]) -> Option<u128> {
        opus_duration(packet).map(|duration| duration.as_micros())
    }

    #[test]
    fn durations() {
        assert_eq!(micros(&[0x78, 1]), Some(20_000), "hybrid full band, what browsers send");
        assert_eq!(micros(&[0xf8]), Some(20_000), "CELT, and nothing in it: DTX");
        assert_eq!(micros(&[0x80]), Some(2_500));
        assert_eq!(micros(&[0x18]), Some(60_000));
        assert_eq!(micros(&[0xf9, 0, 0]), Some(40_000), "two frames");
        assert_eq!(micros(&[0xfa, 1, 9, 9, 9]), Some(40_000), "two frames of one byte and two");
        assert_eq!(micros(&[0xfb, 3]), Some(60_000), "three frames");
        assert_eq!(micros(&[0xfb, 0x80 | 6, 0, 0, 0, 0, 0]), Some(120_000));
        assert_eq!(micros(&[0xfb, 7]), None, "140 ms");
        assert_eq!(micros(&[0xfb, 0]), None);
        assert_eq!(micros(&[0xfb]), None);
        assert_eq!(micros(&[]), None);
    }

    #[test]
    fn what_breaks_a_rule_of_the_format_is_no_packet() {
        let filled = |head: &[u8], length: usize| [head, &vec![7; length]].concat();
        // Each code with a frame of the largest size, and of one byte more.
        assert_eq!(micros(&filled(&[0xf8], 1275)), Some(20_000));
        assert_eq!(micros(&filled(&[0xf8], 1276)), None);
        assert_eq!(micros(&filled(&[0xf9], 2550)), Some(40_000));
        assert_eq!(micros(&filled(&[0xf9], 2552)), None);
        assert_eq!(
            micros(&filled(&[0xf9], 3)),
            None,
            "two frames of one length have an even number of bytes"
        );
        assert_eq!(micros(&[0xfa]), None, "the first length is missing");
        assert_eq!(micros(&[0xfa, 252]), None, "half of it is");
        assert_eq!(micros(&filled(&[0xfa, 5], 4)), None, "it is longer than the packet");
        assert_eq!(micros(&filled(&[0xfa, 255, 255], 1275)), Some(40_000));
        assert_eq!(micros(&filled(&[0xfa, 0], 1276)), None);
        // Constant bit rate: so many frames of one length; variable: all lengths but the last.
        assert_eq!(micros(&filled(&[0xfb, 3], 9)), Some(60_000));
        assert_eq!(micros(&filled(&[0xfb, 3], 10)), None);
        assert_eq!(micros(&filled(&[0xfb, 0x83, 2, 3], 6)), Some(60_000));
        assert_eq!(micros(&filled(&[0xfb, 0x83, 2, 3], 4)), None);
        assert_eq!(micros(&[0xfb, 0x83, 2]), None);
        // Padding: one byte that tells how much, or several.
        assert_eq!(micros(&filled(&[0xfb, 0x41, 4], 4)), Some(20_000));
        assert_eq!(micros(&filled(&[0xfb, 0x41, 4], 3)), None);
        assert_eq!(micros(&filled(&[0xfb, 0x41, 255, 1], 255)), Some(20_000));
        assert_eq!(micros(&filled(&[0xfb, 0x41, 255, 1], 254)), None);
        assert_eq!(micros(&[0xfb, 0x41]), None);
        assert_eq!(micros(&[0xfb, 0x41, 255]), None);
        // The headers of an Ogg file, which `opusdec` would take for its own at the beginning.
        assert_eq!(micros(b"OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00"), None);
        assert_eq!(micros(b"OpusTags\x00\x00\x00\x00\x00\x00\x00\x00"), None);
    }

    proptest! {
        #[test]
        fn never_panics(packet in prop::collection::vec(any::<u8>(), 0..600)) {
            if let Some(duration) = opus_duration(&packet) {
                prop_assert!(duration >= Duration::from_micros(2_500) && duration <= LONGEST);
            }
        }
    }
}
