//! Between the thread that receives and the task that makes frames of it: bounded in bytes.

use super::MediaEvent;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tokio::sync::mpsc;

/// Bytes of packets that wait for the media task: 16 s of 8 Mbit/s.
const MAX_BYTES: usize = 16 << 20;

/// What an event costs beside its payload.
const EVENT: usize = 128;

/// Events that are taken together, beyond one batch, when the media task does not keep up.
const TOGETHER: usize = 256;

/// An event, and when it arrived.
#[derive(Debug)]
pub struct Arrival {
    pub at: Instant,
    pub event: MediaEvent,
}

/// A queue of what arrives on one connection.
pub(super) fn media_queue() -> (MediaSender, MediaQueue) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let bytes = Arc::new(AtomicUsize::new(0));
    let sender = MediaSender { sender, batch: Vec::new(), bytes: Arc::clone(&bytes), discarded: 0 };
    (sender, MediaQueue { receiver, bytes })
}

/// The end that receives from the network.
pub(super) struct MediaSender {
    sender: mpsc::UnboundedSender<Vec<Arrival>>,
    /// To be sent.
    batch: Vec<Arrival>,
    bytes: Arc<AtomicUsize>,
    discarded: u64,
}

impl MediaSender {
    /// Puts an event into the batch. When the queue is full the event is dropped and counted: loss repair asks for it again.
    pub(super) fn push(&mut self, event: MediaEvent, at: Instant) {
        let size = size(&event);
        if self.bytes.load(Ordering::Relaxed) + size > MAX_BYTES {
            self.discarded += 1;
            return;
        }
        self.bytes.fetch_add(size, Ordering::Relaxed);
        self.batch.push(Arrival { at, event });
    }

    /// Puts the batch into the queue: who reads it is woken once.
    pub(super) fn flush(&mut self) {
        if !self.batch.is_empty() {
            // The media task is gone: nobody wants it.
            let _ = self.sender.send(std::mem::take(&mut self.batch));
        }
    }

    /// Events that were dropped.
    pub(super) fn discarded(&self) -> u64 {
        self.discarded
    }
}

/// The end that the media task reads.
pub struct MediaQueue {
    receiver: mpsc::UnboundedReceiver<Vec<Arrival>>,
    bytes: Arc<AtomicUsize>,
}

impl MediaQueue {
    /// What came next, together; `None` when the connection is gone and everything was taken. Cancel safe.
    pub async fn recv(&mut self) -> Option<Vec<Arrival>> {
        let mut batch = self.receiver.recv().await?;
        while batch.len() < TOGETHER
            && let Ok(more) = self.receiver.try_recv()
        {
            batch.extend(more);
        }
        self.bytes.fetch_sub(batch.iter().map(|arrival| size(&arrival.event)).sum(), Ordering::Relaxed);
        Some(batch)
    }
}

fn size(event: &MediaEvent) -> usize {
    match event {
        MediaEvent::Rtp { packet, .. } => EVENT + packet.payload.len(),
        MediaEvent::Message(message) => EVENT + message.data.len(),
        MediaEvent::SenderReport(_) => EVENT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::{MediaKind, RtpPacket};
    use bytes::Bytes;

    #[tokio::test]
    async fn it_is_bounded_in_bytes_and_counts_what_does_not_fit() {
        let (mut sender, mut queue) = media_queue();
        let now = Instant::now();
        let event = |payload: usize| MediaEvent::Rtp {
            kind: MediaKind::Video,
            packet: RtpPacket {
                ssrc: 1,
                payload_type: 102,
                sequence: 0,
                timestamp: 0,
                marker: false,
                padding: 0,
                payload: Bytes::from(vec![0; payload]),
            },
        };
        for _ in 0..17 {
            sender.push(event((1 << 20) - EVENT), now);
        }
        assert_eq!(sender.discarded(), 1);
        // What was not sent yet counts, too.
        sender.flush();
        sender.push(event(1), now);
        assert_eq!(sender.discarded(), 2);
        assert_eq!(queue.recv().await.map(|batch| batch.len()), Some(16));
        sender.push(event((1 << 20) - EVENT), now);
        assert_eq!(sender.discarded(), 2);
        sender.flush();
        sender.flush();
        drop(sender);
        assert_eq!(queue.recv().await.map(|batch| batch.len()), Some(1));
        assert!(queue.recv().await.is_none());
        assert_eq!(queue.bytes.load(Ordering::Relaxed), 0);
    }
}
