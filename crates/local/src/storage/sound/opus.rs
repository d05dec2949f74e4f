//! What an Opus packet says of itself (RFC 6716 section 3): how long it is, and whether its lengths add up.

/// Samples a second. Whatever was recorded, a decoder gives this rate.
pub(crate) const RATE: u32 = 48_000;
/// The longest packet, 120 ms.
const LONGEST: u32 = RATE * 120 / 1000;
/// A packet that has 20 ms and nothing in them: a decoder conceals them, and falls silent when there are more.
pub(super) const CONCEALED: &[u8] = &[31 << 3 | 1 << 2];
/// Samples of [`CONCEALED`].
pub(super) const CONCEALED_SAMPLES: u32 = RATE / 50;

/// Samples of a packet, at [`RATE`]. `None`: it breaks the rules of section 3.4, and no decoder would take it.
pub(super) fn samples(packet: &[u8]) -> Option<u32> {
    let (toc, rest) = packet.split_first()?;
    let frame = frame_samples(toc >> 3);
    let frames = match toc & 3 {
        0 => {
            fits(rest.len())?;
            1
        }
        1 => {
            (rest.len() % 2 == 0).then_some(())?;
            fits(rest.len() / 2)?;
            2
        }
        2 => {
            let (first, rest) = length(rest)?;
            fits(rest.len().checked_sub(first)?)?;
            2
        }
        _ => many(rest)?,
    };
    let samples = frame * frames;
    (samples <= LONGEST).then_some(samples)
}

/// Section 3.1: the configuration says the length of a frame.
fn frame_samples(config: u8) -> u32 {
    match config {
        // SILK: 10, 20, 40, 60 ms
        0..=11 => [480, 960, 1920, 2880][usize::from(config % 4)],
        // hybrid: 10, 20 ms
        12..=15 => [480, 960][usize::from(config % 2)],
        // CELT: 2.5, 5, 10, 20 ms
        _ => [120, 240, 480, 960][usize::from(config % 4)],
    }
}

/// Section 3.2.5, code 3: a count, padding, and frames of one length or of a length each.
fn many(rest: &[u8]) -> Option<u32> {
    let (count, mut rest) = rest.split_first()?;
    let frames = count & 0x3F;
    (frames > 0).then_some(())?;
    if count & 0x40 != 0 {
        let mut padding = 0;
        loop {
            let (more, behind) = rest.split_first()?;
            rest = behind;
            padding += usize::from(*more).min(254);
            if *more < 255 {
                break;
            }
        }
        rest = rest.get(..rest.len().checked_sub(padding)?)?;
    }
    if count & 0x80 == 0 {
        (rest.len() % usize::from(frames) == 0).then_some(())?;
        fits(rest.len() / usize::from(frames))?;
    } else {
        let mut all = 0;
        for _ in 1..frames {
            let (one, behind) = length(rest)?;
            (all, rest) = (all + one, behind);
        }
        fits(rest.len().checked_sub(all)?)?;
    }
    Some(u32::from(frames))
}

/// Section 3.2.1: a length of one or two bytes.
fn length(data: &[u8]) -> Option<(usize, &[u8])> {
    match data {
        [short @ 0..=251, rest @ ..] => Some((usize::from(*short), rest)),
        [first, second, rest @ ..] => Some((usize::from(*second) * 4 + usize::from(*first), rest)),
        _ => None,
    }
}

/// No frame is longer than 1275 bytes (R2).
fn fits(length: usize) -> Option<()> {
    (length <= 1275).then_some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn packets_are_as_long_as_their_first_byte_says() {
        for (packet, expected) in [
            (&[31 << 3, 1, 2][..], Some(960)),
            (&[31 << 3 | 1, 1, 2], Some(1920)),
            (&[31 << 3 | 1, 1, 2, 3], None),
            (&[31 << 3 | 2, 1, 2, 3], Some(1920)),
            (&[31 << 3 | 2, 9, 2, 3], None),
            (&[16 << 3 | 3, 48, 0, 0], None),
            (&[16 << 3 | 3, 48], Some(5760)),
            (&[16 << 3 | 3, 49], None),
            (&[16 << 3 | 3, 0], None),
            // two frames of 60 ms, one byte of padding
            (&[3 << 3 | 3, 0x40 | 2, 1, 7, 8, 0], Some(5760)),
            (&[3 << 3 | 3, 3, 1, 1, 1], None),
            // a length each
            (&[31 << 3 | 3, 0x80 | 2, 1, 9, 9, 9], Some(1920)),
            (&[31 << 3 | 3, 0x80 | 2, 9, 9], None),
            (&[], None),
            (CONCEALED, Some(CONCEALED_SAMPLES)),
        ] {
            assert_eq!(samples(packet), expected, "{packet:?}");
        }
    }

    proptest! {
        #[test]
        fn no_packet_makes_it_panic(packet in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Some(samples) = samples(&packet) {
                prop_assert!((120..=LONGEST).contains(&samples));
            }
        }
    }
}
