//! STUN messages and ChannelData out of a stream of bytes (RFC 8656, sections 3.1 and 12.5): what UDP delivers in datagrams
//! lies end to end over TCP and TLS, each padded to a multiple of four.

use bytes::{Buf, BytesMut};
use thiserror::Error;

/// Of both kinds: type or channel number, and length.
const PREFIX: usize = 4;

/// Of a STUN message (RFC 8489, section 5).
const STUN_HEADER: usize = 20;

const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// The stream is no TURN server's, or not at the beginning of a message: nothing after that can be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum FramingError {
    /// RFC 7983 gives these first bytes to other protocols.
    #[error("it sent something that is neither STUN nor ChannelData (first byte {0:#04x})")]
    Neither(u8),
    #[error("it sent a STUN message of {0} bytes, which is not a multiple of four")]
    Length(usize),
    #[error("it sent a STUN message without the magic cookie")]
    Cookie,
}

/// Takes a stream apart. It holds less than one message (some 64 KiB) beside what it was just given.
#[derive(Debug, Default)]
pub(crate) struct Deframer {
    buffer: BytesMut,
    /// A message has come. The first one answers a request: a server that speaks HTTP, whose letters would make long messages of
    /// ChannelData, is told by that.
    begun: bool,
}

impl Deframer {
    /// More of the stream, in whatever pieces it comes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message, without the padding of ChannelData.
    ///
    /// # Errors
    ///
    /// [`FramingError`]: the stream is of no use any more.
    pub(crate) fn next(&mut self) -> Result<Option<BytesMut>, FramingError> {
        let Some(&[first, _, high, low]) = self.buffer.first_chunk::<PREFIX>() else {
            return match self.buffer.first() {
                Some(first) if *first >= self.limit() => Err(FramingError::Neither(*first)),
                _ => Ok(None),
            };
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (whole, padded) = match first >> 6 {
            0 if !length.is_multiple_of(4) => return Err(FramingError::Length(length)),
            0 => {
                if self.buffer.get(PREFIX..PREFIX + 4).is_some_and(|cookie| cookie != MAGIC_COOKIE) {
                    return Err(FramingError::Cookie);
                }
                (STUN_HEADER + length, STUN_HEADER + length)
            }
            1 if self.begun => (PREFIX + length, PREFIX + length.next_multiple_of(4)),
            _ => return Err(FramingError::Neither(first)),
        };
        if self.buffer.len() < padded {
            return Ok(None);
        }
        let message = self.buffer.split_to(whole);
        self.buffer.advance(padded - whole);
        self.begun = true;
        Ok(Some(message))
    }

    /// No message begins with this byte, or a higher one.
    fn limit(&self) -> u8 {
        if self.begun { 0x80 } else { 0x40 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stun(body: &[u8]) -> Vec<u8> {
        let padded = body.len().next_multiple_of(4);
        let mut message = vec![0x00, 0x17];
        message.extend((padded as u16).to_be_bytes());
        message.extend(MAGIC_COOKIE);
        message.extend([7; 12]);
        message.extend(body);
        message.resize(STUN_HEADER + padded, 0);
        message
    }

    fn channel_data(number: u16, body: &[u8]) -> Vec<u8> {
        let mut message = (0x4000 | number & 0x0fff).to_be_bytes().to_vec();
        message.extend((body.len() as u16).to_be_bytes());
        message.extend(body);
        message
    }

    fn message() -> impl Strategy<Value = Vec<u8>> {
        let body = || proptest::collection::vec(any::<u8>(), 0..200);
        prop_oneof![
            body().prop_map(|body| stun(&body)),
            (any::<u16>(), body()).prop_map(|(number, body)| channel_data(number, &body)),
        ]
    }

    fn all(deframer: &mut Deframer) -> Result<Vec<Vec<u8>>, FramingError> {
        let mut found = Vec::new();
        while let Some(message) = deframer.next()? {
            found.push(message.to_vec());
        }
        Ok(found)
    }

    proptest! {
        /// However TCP cuts the stream, the messages are those that were sent.
        #[test]
        fn messages_survive_any_split(
            messages in proptest::collection::vec(message(), 0..12),
            cuts in proptest::collection::vec(1..300_usize, 1..40),
        ) {
            let messages: Vec<_> = [stun(&[])].into_iter().chain(messages).collect();
            let mut stream = Vec::new();
            for message in &messages {
                stream.extend(message);
                stream.resize(stream.len().next_multiple_of(4), 0xee);
            }
            let (mut deframer, mut found, mut rest) = (Deframer::default(), Vec::new(), &stream[..]);
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, more) = rest.split_at((*cut).min(rest.len()));
                rest = more;
                deframer.push(piece);
                found.extend(all(&mut deframer).unwrap());
            }
            prop_assert_eq!(found, messages);
            prop_assert!(deframer.buffer.is_empty());
        }

        /// Whatever is sent, what is kept stays below one message, and an end is an end.
        #[test]
        fn garbage_is_bounded(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..400), 0..20)) {
            let mut deframer = Deframer::default();
            deframer.push(&stun(&[]));
            for piece in pieces {
                // Long enough for whatever length it says.
                let piece = piece.repeat(50);
                deframer.push(&piece);
                let found = all(&mut deframer);
                if found.is_err() {
                    prop_assert_eq!(deframer.next().err(), found.err());
                    break;
                }
                prop_assert!(deframer.buffer.len() < STUN_HEADER + usize::from(u16::MAX));
            }
        }
    }

    #[test]
    fn what_is_not_turn_is_told_at_once() {
        for (bytes, error) in [
            (&b"\x80"[..], FramingError::Neither(0x80)),
            (b"H", FramingError::Neither(b'H')),
            (b"\x16\x03\x01\x02", FramingError::Length(0x102)),
            (b"\x00\x01\x00\x00HTTP", FramingError::Cookie),
        ] {
            let mut deframer = Deframer::default();
            deframer.push(bytes);
            assert_eq!(deframer.next(), Err(error));
        }
    }
}
