//! The RTCP that a receiver reads and writes (RFC 3550, section 6; RFC 4585, section 6).

use kvs_media::SenderReport;

/// Sender SSRC of our feedback: we send no media, and masters match only the media SSRC.
pub(crate) const FEEDBACK_SSRC: u32 = 1;

/// What a master says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Inbound {
    /// A sender report.
    Report(SenderReport),
    /// These sources send nothing more.
    Bye(Vec<u32>),
}

/// Reads a compound packet; what is not known or malformed is passed over, together with what follows it when its
/// length cannot be trusted.
pub(crate) fn read(mut compound: &[u8]) -> Vec<Inbound> {
    let mut found = Vec::new();
    while let [first, packet_type, high, low, ..] = *compound {
        if first >> 6 != 2 {
            break;
        }
        let length = 4 * (usize::from(u16::from_be_bytes([high, low])) + 1);
        let Some((packet, rest)) = compound.split_at_checked(length) else {
            break;
        };
        let word = |index: usize| {
            packet.get(4 * index..4 * index + 4).map(|word| {
                let mut bytes = [0; 4];
                bytes.copy_from_slice(word);
                u32::from_be_bytes(bytes)
            })
        };
        match packet_type {
            200 => {
                if let (Some(ssrc), Some(high), Some(low), Some(rtp_timestamp)) =
                    (word(1), word(2), word(3), word(4))
                {
                    let ntp = u64::from(high) << 32 | u64::from(low);
                    found.push(Inbound::Report(SenderReport { ssrc, ntp, rtp_timestamp }));
                }
            }
            203 => found.push(Inbound::Bye((1..=usize::from(first & 0x1f)).map_while(word).collect())),
            _ => {}
        }
        compound = rest;
    }
    found
}

/// One report block of a receiver report (RFC 3550, section 6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReportBlock {
    /// SSRC of the stream it is about.
    pub(crate) ssrc: u32,
    /// Lost since the last report, in 256ths.
    pub(crate) fraction_lost: u8,
    /// Lost in all, 24 bits, signed.
    pub(crate) cumulative_lost: i32,
    /// The highest sequence number, with how often it wrapped.
    pub(crate) highest_sequence: u32,
    /// In units of the media clock.
    pub(crate) jitter: u32,
    /// The middle 32 bits of the newest sender report's time.
    pub(crate) last_report: u32,
    /// Since that report arrived, in 65536ths of a second.
    pub(crate) delay: u32,
}

/// A receiver report.
pub(crate) fn receiver_report(blocks: &[ReportBlock]) -> Vec<u8> {
    let blocks = &blocks[..blocks.len().min(31)];
    let mut packet = header(blocks.len() as u8, 201, 1 + 6 * blocks.len());
    packet.extend(FEEDBACK_SSRC.to_be_bytes());
    for block in blocks {
        packet.extend(block.ssrc.to_be_bytes());
        let lost = block.cumulative_lost.clamp(-0x80_0000, 0x7f_ffff) & 0xff_ffff;
        packet.extend((u32::from(block.fraction_lost) << 24 | lost.cast_unsigned()).to_be_bytes());
        for word in [block.highest_sequence, block.jitter, block.last_report, block.delay] {
            packet.extend(word.to_be_bytes());
        }
    }
    packet
}

/// Picture loss indication (RFC 4585, section 6.3.1).
pub(crate) fn picture_loss(media_ssrc: u32) -> Vec<u8> {
    feedback(1, 206, media_ssrc, &[])
}

/// Generic NACK (RFC 4585, section 6.2.1) of sequence numbers in any order. Several packets when they are very many.
pub(crate) fn nacks(media_ssrc: u32, sequences: &[u16]) -> Vec<Vec<u8>> {
    let mut pairs: Vec<(u16, u16)> = Vec::new();
    for &sequence in sequences {
        if let Some((first, mask)) = pairs.last_mut() {
            let ahead = sequence.wrapping_sub(*first);
            if ahead == 0 {
                continue;
            }
            if ahead <= 16 {
                *mask |= 1 << (ahead - 1);
                continue;
            }
        }
        pairs.push((sequence, 0));
    }
    let packet = |pairs: &[(u16, u16)]| {
        let words: Vec<_> =
            pairs.iter().map(|(first, mask)| u32::from(*first) << 16 | u32::from(*mask)).collect();
        feedback(1, 205, media_ssrc, &words)
    };
    pairs.chunks(250).map(packet).collect()
}

/// A feedback message of `words` behind the two SSRCs.
pub(crate) fn feedback(format: u8, packet_type: u8, media_ssrc: u32, words: &[u32]) -> Vec<u8> {
    let mut packet = header(format, packet_type, 2 + words.len());
    packet.extend(FEEDBACK_SSRC.to_be_bytes());
    packet.extend(media_ssrc.to_be_bytes());
    for word in words {
        packet.extend(word.to_be_bytes());
    }
    packet
}

/// The header of a packet of `words` words behind it.
fn header(count: u8, packet_type: u8, words: usize) -> Vec<u8> {
    let mut packet = Vec::with_capacity(4 + 4 * words);
    packet.extend([0x80 | count & 0x1f, packet_type]);
    packet.extend(u16::try_from(words).unwrap_or(u16::MAX).to_be_bytes());
    packet
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn reports_and_goodbyes_are_found_in_a_compound() {
        let mut compound = vec![0x80, 200, 0, 6];
        for word in [7_u32, 0xe000_0000, 0x8000_0000, 90_000, 10, 1000] {
            compound.extend(word.to_be_bytes());
        }
        compound.extend([0x81, 202, 0, 2, 0, 0, 0, 7, 1, 2, b'a', b'b']);
        compound.extend([0x82, 203, 0, 2, 0, 0, 0, 7, 0, 0, 0, 9]);
        assert_eq!(
            read(&compound),
            [
                Inbound::Report(SenderReport { ssrc: 7, ntp: 0xe000_0000_8000_0000, rtp_timestamp: 90_000 }),
                Inbound::Bye(vec![7, 9]),
            ]
        );
        assert_eq!(read(&compound[..compound.len() - 1]).len(), 1, "a part cut off costs only itself");
    }

    #[test]
    fn a_picture_loss_is_twelve_bytes() {
        assert_eq!(picture_loss(0x0102_0304), [0x81, 206, 0, 2, 0, 0, 0, 1, 1, 2, 3, 4]);
    }

    #[test]
    fn a_report_says_what_is_lost() {
        let block =
            ReportBlock { ssrc: 3, fraction_lost: 128, cumulative_lost: -1, ..ReportBlock::default() };
        let report = receiver_report(&[block]);
        assert_eq!(report[..4], [0x81, 201, 0, 7]);
        assert_eq!(report[12..16], [128, 0xff, 0xff, 0xff]);
        assert_eq!(report.len(), 32);
        assert_eq!(receiver_report(&[]), [0x80, 201, 0, 1, 0, 0, 0, 1]);
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }

        #[test]
        fn a_nack_names_what_is_asked_for(sequences in proptest::collection::btree_set(any::<u16>(), 0..600)) {
            let sequences: Vec<_> = sequences.into_iter().collect();
            let mut named = BTreeSet::new();
            for packet in nacks(5, &sequences) {
                prop_assert!(packet.len() <= 1200);
                prop_assert_eq!(packet.len(), 4 * (usize::from(u16::from_be_bytes([packet[2], packet[3]])) + 1));
                for pair in packet[12..].chunks(4) {
                    let first = u16::from_be_bytes([pair[0], pair[1]]);
                    let mask = u16::from_be_bytes([pair[2], pair[3]]);
                    named.insert(first);
                    named.extend((0..16).filter(|bit| mask & 1 << bit != 0).map(|bit| first.wrapping_add(bit + 1)));
                }
            }
            prop_assert_eq!(named.into_iter().collect::<Vec<_>>(), sequences);
        }
    }
}
