//! What goes to a connection at once: heads, which are written here, and between them the payload of frames, which is not
//! copied.

use bytes::{Bytes, BytesMut};

/// A payload that is shorter is copied: a slice of its own would cost more, in every layer below.
const SHARED: usize = 2048;

/// Room for some heads.
const HEADS: usize = 256;

/// Slices that follow each other.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    slices: Vec<Bytes>,
    /// Behind them.
    written: BytesMut,
    /// In `slices`.
    bytes: usize,
}

impl Outgoing {
    /// Bytes so far.
    pub(crate) fn len(&self) -> usize {
        self.bytes + self.written.len()
    }

    /// To write at the end.
    pub(crate) fn end(&mut self) -> &mut BytesMut {
        &mut self.written
    }

    /// Puts a payload at the end.
    pub(crate) fn push(&mut self, payload: &Bytes) {
        if payload.len() < SHARED {
            self.written.extend_from_slice(payload);
            return;
        }
        self.end_slice();
        self.bytes += payload.len();
        self.slices.push(payload.clone());
        self.written.reserve(HEADS);
    }

    fn end_slice(&mut self) {
        if !self.written.is_empty() {
            self.bytes += self.written.len();
            self.slices.push(self.written.split().freeze());
        }
    }

    /// All of it, in order; none is empty.
    pub(crate) fn into_slices(mut self) -> Vec<Bytes> {
        self.end_slice();
        self.slices
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn everything_is_there_in_order(parts in prop::collection::vec((any::<bool>(), 0..3 * SHARED), 0..20)) {
            let (mut outgoing, mut expected) = (Outgoing::default(), Vec::new());
            for (number, (is_payload, length)) in parts.into_iter().enumerate() {
                let part = Bytes::from(vec![number as u8; length]);
                expected.extend_from_slice(&part);
                if is_payload {
                    outgoing.push(&part);
                } else {
                    outgoing.end().extend_from_slice(&part);
                }
                prop_assert_eq!(outgoing.len(), expected.len());
            }
            let slices = outgoing.into_slices();
            prop_assert!(slices.iter().all(|slice| !slice.is_empty()));
            prop_assert_eq!(slices.concat(), expected);
        }
    }

    #[test]
    fn a_long_payload_is_not_copied() {
        let (mut outgoing, payload) = (Outgoing::default(), Bytes::from(vec![7; SHARED]));
        outgoing.end().extend_from_slice(&[1, 2]);
        outgoing.push(&payload);
        outgoing.push(&Bytes::from_static(&[3]));
        let slices = outgoing.into_slices();
        assert_eq!(slices.len(), 3);
        assert_eq!(slices[1].as_ptr(), payload.as_ptr());
    }
}
