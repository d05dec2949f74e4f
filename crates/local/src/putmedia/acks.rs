//! [`Acks`]: the acknowledgements of one session, on their way to its producer.

use std::convert::Infallible;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::Ack;
use crate::faults::Modes;

/// The body of the answer: lines.
pub(super) type Lines = mpsc::Receiver<Result<Bytes, Infallible>>;

/// Acknowledgements that the producer has not read. Full: the body is not read on, and TCP tells the producer.
const UNREAD: usize = 256;

/// Where acknowledgements are sent. The answer ends with the last clone.
#[derive(Debug, Clone)]
pub(super) struct Acks {
    lines: mpsc::Sender<Result<Bytes, Infallible>>,
    /// Whether the producer wants others than errors.
    wanted: bool,
}

impl Acks {
    /// With the body of the answer that they are sent in.
    pub(super) fn new(wanted: bool) -> (Self, Lines) {
        let (lines, body) = mpsc::channel(UNREAD);
        (Self { lines, wanted }, body)
    }

    /// Sends an acknowledgement, unless the producer wants none or a fault holds it back.
    pub(super) async fn send(&self, modes: Modes, ack: &Ack) {
        let held = match ack {
            Ack::Error { .. } => modes.no_acks,
            Ack::Persisted { .. } => modes.no_persisted || !self.wanted,
            Ack::Buffering { .. } | Ack::Received { .. } | Ack::Idle => modes.no_acks || !self.wanted,
        };
        if !held {
            // A producer that has left reads no acknowledgement; what it sent is stored all the same.
            let _ = self.lines.send(Ok(Bytes::from(ack.line()))).await;
        }
    }

    /// Ends when the producer has left.
    pub(super) async fn closed(&self) {
        self.lines.closed().await;
    }
}
