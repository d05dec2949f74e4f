//! [`next_frame`]: where a message ends in a stream of bytes (RFC 8656 section 12.5, RFC 8489 section 6.2.2).

/// What stands at the front of what has been read from a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ice) enum Frame {
    /// A whole message: its bytes, and with its padding.
    Whole {
        /// Bytes of the message itself.
        length: usize,
        /// Bytes that it takes in the stream.
        padded: usize,
    },
    /// The rest is still to come.
    Partial,
    /// Neither STUN nor ChannelData: nothing after it can be read.
    Broken(&'static str),
}

/// The magic cookie of RFC 8489 section 5.
const COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
const STUN_HEADER: usize = 20;
const CHANNEL_HEADER: usize = 4;

/// Looks at the front of `bytes`. A message has at most 65,555 of them: its length has 16 bits.
pub(in crate::ice) fn next_frame(bytes: &[u8]) -> Frame {
    let Some(&[first, _, high, low]) = bytes.first_chunk::<4>() else {
        return match bytes.first() {
            Some(first) if first >> 6 > 1 => Frame::Broken("neither STUN nor ChannelData"),
            _ => Frame::Partial,
        };
    };
    let content = usize::from(u16::from_be_bytes([high, low]));
    let (length, padded) = match first {
        0x00..=0x3F => {
            // what is not there yet counts as right
            if bytes.get(4..).unwrap_or_default().iter().zip(COOKIE).any(|(byte, cookie)| *byte != cookie) {
                return Frame::Broken("a STUN message without the magic cookie");
            }
            if content % 4 != 0 {
                return Frame::Broken("a STUN message whose length is no multiple of four");
            }
            (STUN_HEADER + content, STUN_HEADER + content)
        }
        // RFC 8656 ends at 0x4F; clients of RFC 5766 go on to 0x7F
        0x40..=0x7F => (CHANNEL_HEADER + content, CHANNEL_HEADER + content.next_multiple_of(4)),
        _ => return Frame::Broken("neither STUN nor ChannelData"),
    };
    if bytes.len() < padded { Frame::Partial } else { Frame::Whole { length, padded } }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stun(content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[0, 1], &length[..], &COOKIE, &[7; 12], content].concat()
    }

    fn channel_data(content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        let mut frame = [&[0x40, 1], &length[..], content].concat();
        frame.resize(frame.len().next_multiple_of(4), 0);
        frame
    }

    proptest! {
        /// However a stream is cut, the same messages come out of it.
        #[test]
        fn messages_are_found_wherever_the_stream_is_cut(
            parts in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..40)), 1..6),
            cut in 1_usize..17,
        ) {
            let frames: Vec<Vec<u8>> = parts
                .iter()
                .map(|(stun_message, content)| match stun_message {
                    true => stun(&content[..content.len() / 4 * 4]),
                    false => channel_data(content),
                })
                .collect();
            let (mut read, mut found) = (Vec::new(), Vec::new());
            for piece in frames.concat().chunks(cut) {
                read.extend_from_slice(piece);
                loop {
                    match next_frame(&read) {
                        Frame::Whole { padded, .. } => found.push(read.drain(..padded).collect::<Vec<u8>>()),
                        Frame::Partial => break,
                        Frame::Broken(why) => panic!("{why}"),
                    }
                }
            }
            prop_assert!(read.is_empty());
            prop_assert_eq!(found, frames);
        }

        #[test]
        fn any_bytes_make_progress_or_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            match next_frame(&bytes) {
                Frame::Whole { length, padded } => prop_assert!(0 < length && length <= padded && padded <= bytes.len()),
                Frame::Partial => prop_assert!(bytes.len() < 65_555),
                Frame::Broken(_) => prop_assert!(!bytes.is_empty()),
            }
        }
    }

    #[test]
    fn what_can_be_no_message_is_known_by_its_first_bytes() {
        for bytes in [
            &[0x80][..],
            &[0xFF, 0, 0, 0],
            b"\x16\x03\x01\x02\x00\x01",
            &[0, 1, 0, 0, 0x21, 0x13],
            &[0, 1, 0, 3],
        ] {
            assert!(matches!(next_frame(bytes), Frame::Broken(_)), "{bytes:?}");
        }
    }
}
