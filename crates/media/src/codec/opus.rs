//! What an Opus packet says of itself in its table-of-contents byte (RFC 6716 section 3.1).

use std::time::Duration;

/// Duration of an Opus packet, from its table-of-contents byte; `None` when it is not an Opus packet: empty, with 0
/// frames, or longer than the 120 ms that the format allows.
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
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u64::from(rest.first()? & 0x3f),
    };
    let duration = Duration::from_micros(frame * frames);
    (!duration.is_zero() && duration <= Duration::from_millis(120)).then_some(duration)
}

/// The bit `s` of the table-of-contents byte.
pub(super) fn is_stereo(packet: &[u8]) -> bool {
    packet.first().is_some_and(|toc| toc & 0x04 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations() {
        let micros = |packet: &[u8]| opus_duration(packet).map(|duration| duration.as_micros());
        assert_eq!(micros(&[0x78, 1]), Some(20_000), "hybrid full band, what browsers send");
        assert_eq!(micros(&[0xf8]), Some(20_000), "CELT");
        assert_eq!(micros(&[0x80]), Some(2_500));
        assert_eq!(micros(&[0x18]), Some(60_000));
        assert_eq!(micros(&[0xf9, 0]), Some(40_000), "two frames");
        assert_eq!(micros(&[0xfb, 3]), Some(60_000), "three frames");
        assert_eq!(micros(&[0xfb, 0x80 | 6]), Some(120_000));
        assert_eq!(micros(&[0xfb, 7]), None, "140 ms");
        assert_eq!(micros(&[0xfb, 0]), None);
        assert_eq!(micros(&[0xfb]), None);
        assert_eq!(micros(&[]), None);
    }

    proptest! {
        #[test]
        fn never_panics(packet in prop::collection::vec(any::<u8>(), 0..4)) {
            if let Some(duration) = opus_duration(&packet) {
                prop_assert!(duration >= Duration::from_micros(2_500));
            }
        }
    }
}
