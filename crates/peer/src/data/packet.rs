//! What an SCTP packet says of itself in front of its association (RFC 9260, section 3).

const COMMON_HEADER: usize = 12;
const CHUNK_HEADER: usize = 4;

const DATA: u8 = 0;
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;

/// What a packet begins with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Begins {
    /// The peer begins an association, and will be called by this tag.
    Init { tag: u32 },
    /// The peer has heard that we begin one.
    InitAck,
    /// Anything else.
    Other,
}

/// What a packet begins with; `None`: it is none.
pub(super) fn begins(packet: &[u8]) -> Option<Begins> {
    let chunk = packet.get(COMMON_HEADER..).filter(|chunk| chunk.len() >= CHUNK_HEADER)?;
    Some(match chunk {
        [INIT, _, _, _, a, b, c, d, ..] => Begins::Init { tag: u32::from_be_bytes([*a, *b, *c, *d]) },
        [INIT, ..] => return None,
        [INIT_ACK, ..] => Begins::InitAck,
        _ => Begins::Other,
    })
}

/// How many chunks of data it has.
pub(super) fn data_chunks(packet: &[u8]) -> u32 {
    let mut rest = packet.get(COMMON_HEADER..).unwrap_or_default();
    let mut count = 0;
    while let [kind, _, long, short, ..] = rest {
        count += u32::from(*kind == DATA);
        let length = usize::from(u16::from_be_bytes([*long, *short])).max(CHUNK_HEADER);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn chunks_are_counted_with_their_padding() {
        let header = [0; COMMON_HEADER];
        let data = |length: u8| {
            [vec![0, 3, 0, 16 + length], vec![1; usize::from(12 + length.next_multiple_of(4))]].concat()
        };
        let sack = vec![3, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let packet = [header.to_vec(), data(1), sack.clone(), data(4), data(3)].concat();
        assert_eq!((begins(&packet), data_chunks(&packet)), (Some(Begins::Other), 3));
        let packet = [header.to_vec(), vec![1, 0, 0, 20, 0, 0, 1, 2], vec![0; 12]].concat();
        assert_eq!((begins(&packet), data_chunks(&packet)), (Some(Begins::Init { tag: 258 }), 0));
        assert_eq!(begins(&packet[..15]), None);
    }

    proptest! {
        #[test]
        fn anything_has_a_number_of_chunks(packet in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(data_chunks(&packet) as usize <= packet.len() / CHUNK_HEADER);
            let _ = begins(&packet);
        }
    }
}
