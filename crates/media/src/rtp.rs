//! One RTP packet (RFC 3550 section 5.1) and the one RTCP packet that media needs (section 6.4.1).

use bytes::Bytes;

/// A parsed RTP packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtpPacket {
    /// Synchronization source, 32 random bits.
    pub ssrc: u32,
    /// Payload type, 0–127.
    pub payload_type: u8,
    /// Sequence number as on the wire.
    pub sequence: u16,
    /// Media timestamp as on the wire, in units of the codec's clock (90 kHz video, 48 kHz Opus).
    pub timestamp: u32,
    /// For video: the last packet of an access unit.
    pub marker: bool,
    /// Bytes of padding that the packet had; they are **not** in `payload` any more. 0 when there was none. Only
    /// informative: what makes a packet a probe is its empty payload.
    pub padding: u8,
    /// The payload without header, CSRC list, header extension and padding. Empty in packets that probe for bandwidth.
    pub payload: Bytes,
}

/// What an RTCP sender report says about the relation between a sender's clock and one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderReport {
    /// SSRC of the stream it is about.
    pub ssrc: u32,
    /// The sender's wall clock, seconds since 1900 as 32.32 fixed point.
    pub ntp: u64,
    /// The media timestamp at that moment.
    pub rtp_timestamp: u32,
}

/// Why bytes are not an RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RtpError {
    /// Fewer bytes than the header announces.
    #[error("RTP packet of {length} bytes is shorter than its {what}, which needs {needed}")]
    TooShort {
        /// Which part did not fit.
        what: &'static str,
        /// Bytes the part needs, counted from the start of the packet.
        needed: usize,
        /// Bytes of the packet.
        length: usize,
    },
    /// The two version bits are not 2.
    #[error("RTP version {0}, not 2")]
    Version(u8),
    /// The padding count is 0 or reaches into the header.
    #[error("SSRC {ssrc} sequence {sequence}: padding of {padding} bytes in {available} bytes of payload")]
    Padding {
        /// SSRC of the packet.
        ssrc: u32,
        /// Its number, as on the wire.
        sequence: u16,
        /// The last byte of the packet.
        padding: u8,
        /// Bytes behind the header.
        available: usize,
    },
}

const FIXED_HEADER: usize = 12;

/// Bytes around a payload that may be kept in memory with it, beside as many as it has itself: more is somebody's attempt
/// to have much kept for little.
const AROUND: usize = 256;

impl RtpPacket {
    /// Parses a whole RTP packet as it comes from SRTP. The payload shares the memory of `packet`, unless that is much larger:
    /// whoever keeps it keeps at most twice its bytes and 256 more.
    pub fn parse(packet: &Bytes) -> Result<Self, RtpError> {
        let length = packet.len();
        let need = |what, needed| {
            if length < needed { Err(RtpError::TooShort { what, needed, length }) } else { Ok(needed) }
        };
        need("fixed header", FIXED_HEADER)?;
        let version = packet[0] >> 6;
        if version != 2 {
            return Err(RtpError::Version(version));
        }
        let u16_at = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
        let u32_at =
            |at: usize| u32::from_be_bytes([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]]);
        let (sequence, timestamp, ssrc) = (u16_at(2), u32_at(4), u32_at(8));
        let mut start = need("CSRC list", FIXED_HEADER + 4 * usize::from(packet[0] & 0x0f))?;
        if packet[0] & 0x10 != 0 {
            let words = {
                need("header extension", start + 4)?;
                usize::from(u16_at(start + 2))
            };
            start = need("header extension", start + 4 + 4 * words)?;
        }
        let mut end = length;
        let mut padding = 0;
        if packet[0] & 0x20 != 0 {
            padding = packet[length - 1];
            let available = length - start;
            if padding == 0 || usize::from(padding) > available {
                return Err(RtpError::Padding { ssrc, sequence, padding, available });
            }
            end -= usize::from(padding);
        }
        let payload = if length > 2 * (end - start) + AROUND {
            Bytes::copy_from_slice(&packet[start..end])
        } else {
            packet.slice(start..end)
        };
        Ok(Self {
            ssrc,
            payload_type: packet[1] & 0x7f,
            sequence,
            timestamp,
            marker: packet[1] & 0x80 != 0,
            padding,
            payload,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(first: u8) -> Vec<u8> {
        vec![first, 0x80 | 102, 0x12, 0x34, 0, 0, 0, 9, 0xde, 0xad, 0xbe, 0xef]
    }

    fn parse(bytes: Vec<u8>) -> Result<RtpPacket, RtpError> {
        RtpPacket::parse(&Bytes::from(bytes))
    }

    /// A header extension of 60 KB in front of one byte must not be kept with it.
    #[test]
    fn a_payload_keeps_little_beside_itself() {
        for (words, payload, shares) in
            [(15_000, 1, false), (3, 1, true), (20, 1_100, true), (400, 1_100, false)]
        {
            let mut bytes = header(0x90);
            bytes.extend([0xbe, 0xde]);
            bytes.extend(u16::try_from(words).unwrap().to_be_bytes());
            bytes.extend(vec![0; 4 * words + payload]);
            let packet = Bytes::from(bytes);
            let parsed = RtpPacket::parse(&packet).unwrap();
            assert_eq!(parsed.payload.len(), payload);
            let within = packet.as_ptr_range().contains(&parsed.payload.as_ptr());
            assert_eq!(within, shares, "{words} words, {payload} bytes");
        }
    }

    #[test]
    fn plain() {
        let packet = parse([header(0x80), vec![1, 2, 3]].concat()).unwrap();
        let expected = RtpPacket {
            ssrc: 0xdead_beef,
            payload_type: 102,
            sequence: 0x1234,
            timestamp: 9,
            marker: true,
            padding: 0,
            payload: Bytes::from_static(&[1, 2, 3]),
        };
        assert_eq!(packet, expected);
    }

    #[test]
    fn csrc_extension_and_padding_are_cut() {
        let csrc = vec![0; 8];
        let extension = vec![0xbe, 0xde, 0, 1, 1, 2, 3, 4];
        let packet = parse([header(0xb2), csrc, extension, vec![7, 8, 0, 0, 3]].concat()).unwrap();
        assert_eq!((&packet.payload[..], packet.padding), (&[7, 8][..], 3));
    }

    #[test]
    fn a_probe_is_all_padding() {
        let packet = parse([header(0xa0), vec![0; 254], vec![255]].concat()).unwrap();
        assert!(packet.payload.is_empty());
        assert_eq!(packet.padding, 255);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        assert_eq!(parse(vec![0x80; 5]).unwrap_err().to_string(), {
            "RTP packet of 5 bytes is shorter than its fixed header, which needs 12"
        });
        assert!(matches!(parse(header(0x81)), Err(RtpError::TooShort { what: "CSRC list", .. })));
        assert!(matches!(parse(header(0x90)), Err(RtpError::TooShort { what: "header extension", .. })));
        let long = [header(0x90), vec![0, 0, 0xff, 0xff, 0]].concat();
        assert!(matches!(parse(long), Err(RtpError::TooShort { needed: 262_156, .. })));
        assert!(matches!(parse(header(0x40)), Err(RtpError::Version(1))));
        for padding in [0, 3] {
            let error = parse([header(0xa0), vec![1, padding]].concat()).unwrap_err();
            assert!(matches!(error, RtpError::Padding { available: 2, sequence: 0x1234, .. }), "{error}");
        }
        // The padding bit of a packet without payload must not count header bytes.
        assert!(matches!(parse(header(0xa0)), Err(RtpError::Padding { available: 0, .. })));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(bytes);
        }

        #[test]
        fn never_panics_on_version_2(mut bytes in prop::collection::vec(any::<u8>(), 12..80)) {
            bytes[0] = 0x80 | bytes[0] & 0x3f;
            if let Ok(packet) = parse(bytes.clone()) {
                prop_assert!(packet.payload.len() + usize::from(packet.padding) + 12 <= bytes.len());
            }
        }
    }
}
