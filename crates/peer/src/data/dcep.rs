//! The Data Channel Establishment Protocol (RFC 8832).

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

const ACK: u8 = 2;
const OPEN: u8 = 3;

/// Longest label that is taken, bytes: no name of a tag is as long.
const MAX_LABEL: usize = 1024;

/// What one side tells the other of a channel.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Dcep {
    /// The sender has opened a channel.
    Open { label: Arc<str> },
    /// The channel that we opened is taken.
    Ack,
}

/// Reads a message. How reliable a channel is to be, its priority and its protocol are the sender's matter.
///
/// # Errors
///
/// What is wrong with it, in words.
pub(super) fn read(message: &[u8]) -> Result<Dcep, String> {
    match message {
        [ACK, ..] => Ok(Dcep::Ack),
        [OPEN, _, _, _, _, _, _, _, long, short, _, _, rest @ ..] => {
            let length = usize::from(u16::from_be_bytes([*long, *short]));
            let label = rest.get(..length).ok_or("its label is longer than the message")?;
            if length > MAX_LABEL {
                return Err(format!("its label has {length} bytes, more than {MAX_LABEL}"));
            }
            let label = std::str::from_utf8(label).map_err(|_| "its label is no UTF-8")?;
            Ok(Dcep::Open { label: label.into() })
        }
        [OPEN, ..] => Err("it is too short".to_owned()),
        [kind, ..] => Err(format!("nobody knows its type {kind}")),
        [] => Err("it is empty".to_owned()),
    }
}

/// The answer to an open.
pub(super) fn ack() -> Bytes {
    Bytes::from_static(&[ACK])
}

/// Opens an ordered, reliable channel of normal priority, without a protocol.
pub(super) fn open(label: &str) -> Bytes {
    let length = u16::try_from(label.len()).unwrap_or(u16::MAX);
    let mut message = BytesMut::with_capacity(12 + label.len());
    message.put_slice(&[OPEN, 0]);
    message.put_u16(256);
    message.put_u32(0);
    message.put_u16(length);
    message.put_u16(0);
    message.put_slice(&label.as_bytes()[..usize::from(length)]);
    message.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_wrong_with_a_message_is_said() {
        let cut = |length: usize| read(&open("door")[..length]).unwrap_err();
        assert_eq!(cut(0), "it is empty");
        assert_eq!(cut(11), "it is too short");
        assert_eq!(cut(15), "its label is longer than the message");
        assert_eq!(read(&[9]).unwrap_err(), "nobody knows its type 9");
        let mut latin = open("door").to_vec();
        latin[12] = 0xe4;
        assert_eq!(read(&latin).unwrap_err(), "its label is no UTF-8");
        assert!(read(&open(&"x".repeat(1025))).unwrap_err().contains("1025 bytes"));
    }

    #[test]
    fn it_is_on_the_wire_what_rfc_8832_says() {
        assert_eq!(&open("ab")[..], [3, 0, 1, 0, 0, 0, 0, 0, 0, 2, 0, 0, b'a', b'b']);
        // Partially reliable, with a protocol behind the label.
        let partial = [3, 0x82, 0, 0, 0, 0, 0, 9, 0, 1, 0, 1, b'a', b'p'];
        assert_eq!(read(&partial), Ok(Dcep::Open { label: "a".into() }));
        assert_eq!(read(&ack()), Ok(Dcep::Ack));
    }

    proptest! {
        #[test]
        fn anything_is_read_without_a_panic(message in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = read(&message);
        }

        #[test]
        fn what_is_written_is_read(label in ".{0,80}") {
            prop_assert_eq!(read(&open(&label)), Ok(Dcep::Open { label: label.as_str().into() }));
        }
    }
}
