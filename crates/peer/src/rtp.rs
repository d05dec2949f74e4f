//! What a demultiplexer reads of an RTP packet (RFC 3550, section 5.1; RFC 8285; RFC 4588).

use kvs_media::RtpPacket;

/// The values of header extensions, found in the bytes of a packet by id.
#[derive(Clone, Copy)]
pub(crate) struct Extensions<'a> {
    /// Behind the four bytes that say which form and how long.
    data: &'a [u8],
    two_bytes: bool,
}

impl<'a> Extensions<'a> {
    /// Of a whole packet; none where there are none or the form is not known.
    pub(crate) fn of(packet: &'a [u8]) -> Self {
        Self::find(packet).unwrap_or(Self { data: &[], two_bytes: false })
    }

    fn find(packet: &'a [u8]) -> Option<Self> {
        let first = *packet.first()?;
        if first & 0x10 == 0 {
            return None;
        }
        let start = 12 + 4 * usize::from(first & 0x0f);
        let head = packet.get(start..start + 4)?;
        let profile = u16::from_be_bytes([head[0], head[1]]);
        let length = 4 * usize::from(u16::from_be_bytes([head[2], head[3]]));
        let data = packet.get(start + 4..start + 4 + length)?;
        match profile {
            0xbede => Some(Self { data, two_bytes: false }),
            profile if profile & 0xfff0 == 0x1000 => Some(Self { data, two_bytes: true }),
            _ => None,
        }
    }

    /// The value of extension `id`; nothing after a mark that ends the list (RFC 8285, section 4.2).
    pub(crate) fn get(self, id: u8) -> Option<&'a [u8]> {
        let mut rest = self.data;
        while let [first, tail @ ..] = rest {
            if *first == 0 {
                rest = tail;
                continue;
            }
            let (found, length, tail) = if self.two_bytes {
                let [length, tail @ ..] = tail else { return None };
                (*first, usize::from(*length), tail)
            } else {
                if first >> 4 == 15 {
                    return None;
                }
                (first >> 4, usize::from(first & 0x0f) + 1, tail)
            };
            let value = tail.get(..length)?;
            if found == id {
                return Some(value);
            }
            rest = &tail[length..];
        }
        None
    }
}

/// Turns a retransmission into the packet that it repeats (RFC 4588, section 4). `None`: a probe, with nothing in it.
pub(crate) fn unwrap_rtx(mut packet: RtpPacket, payload_type: u8, ssrc: u32) -> Option<RtpPacket> {
    let sequence = u16::from_be_bytes([*packet.payload.first()?, *packet.payload.get(1)?]);
    packet.payload = packet.payload.slice(2..);
    if packet.payload.is_empty() {
        return None;
    }
    Some(RtpPacket { sequence, payload_type, ssrc, ..packet })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn packet(profile: u16, data: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x91, 102, 0, 1, 0, 0, 0, 9, 0, 0, 0, 7, 1, 2, 3, 4];
        packet.extend(profile.to_be_bytes());
        packet.extend(u16::try_from(data.len() / 4).unwrap().to_be_bytes());
        packet.extend(data);
        packet.extend([9, 9, 9]);
        packet
    }

    #[test]
    fn one_byte_form() {
        let bytes = packet(0xbede, &[0x10, b'1', 0, 0x21, 0xab, 0xcd, 0xf0, 0x30]);
        let extensions = Extensions::of(&bytes);
        assert_eq!(extensions.get(1), Some(&b"1"[..]));
        assert_eq!(extensions.get(2), Some(&[0xab, 0xcd][..]));
        assert_eq!(extensions.get(3), None, "15 ends the list");
    }

    #[test]
    fn two_byte_form() {
        let bytes = packet(0x1000, &[1, 3, b'v', b'i', b'd', 0, 200, 0]);
        let extensions = Extensions::of(&bytes);
        assert_eq!(extensions.get(1), Some(&b"vid"[..]));
        assert_eq!(extensions.get(200), Some(&[][..]));
    }

    #[test]
    fn retransmissions_are_unwrapped() {
        let packet = RtpPacket {
            ssrc: 2,
            payload_type: 103,
            sequence: 5,
            timestamp: 9,
            marker: true,
            padding: 0,
            payload: Bytes::from_static(&[0x12, 0x34, 0x65]),
        };
        let repaired = unwrap_rtx(packet.clone(), 102, 1).unwrap();
        assert_eq!((repaired.ssrc, repaired.payload_type, repaired.sequence), (1, 102, 0x1234));
        assert_eq!(&repaired.payload[..], [0x65]);
        assert_eq!(unwrap_rtx(RtpPacket { payload: Bytes::new(), ..packet }, 102, 1), None);
    }

    proptest! {
        #[test]
        fn anything(bytes in proptest::collection::vec(any::<u8>(), 0..80), id in any::<u8>()) {
            let _ = Extensions::of(&bytes).get(id);
        }
    }
}
