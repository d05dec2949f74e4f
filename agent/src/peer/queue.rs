//! Between the thread that receives and the task that makes frames of it: bounded in bytes.

use super::MediaEvent;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::sync::mpsc;

/// Bytes of packets that wait for the media task: 16 s of 8 Mbit/s.
const MAX_BYTES: usize = 16 << 20;

/// What an event costs beside its payload.
const EVENT: usize = 128;

/// A queue of what arrives on one connection.
pub(super) fn media_queue() -> (MediaSender, MediaQueue) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let bytes = Arc::new(AtomicUsize::new(0));
    let sender = MediaSender { sender, bytes: Arc::clone(&bytes), discarded: Arc::default() };
    (sender, MediaQueue { receiver, bytes })
}

/// The end that receives from the network.
#[derive(Clone)]
pub(super) struct MediaSender {
    sender: mpsc::UnboundedSender<MediaEvent>,
    bytes: Arc<AtomicUsize>,
    discarded: Arc<AtomicU64>,
}

impl MediaSender {
    /// Puts an event into the queue. When it is full the event is dropped and counted: loss repair asks for it again.
    pub(super) fn send(&self, event: MediaEvent) {
        let size = size(&event);
        if self.bytes.load(Ordering::Relaxed) + size > MAX_BYTES {
            self.discarded.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.bytes.fetch_add(size, Ordering::Relaxed);
        // The media task is gone: nobody wants it.
        let _ = self.sender.send(event);
    }

    /// Events that were dropped.
    pub(super) fn discarded(&self) -> u64 {
        self.discarded.load(Ordering::Relaxed)
    }
}

/// The end that the media task reads.
pub struct MediaQueue {
    receiver: mpsc::UnboundedReceiver<MediaEvent>,
    bytes: Arc<AtomicUsize>,
}

impl MediaQueue {
    /// The next event; `None` when the connection is gone and everything was taken.
    pub async fn recv(&mut self) -> Option<MediaEvent> {
        let event = self.receiver.recv().await?;
        self.release(std::slice::from_ref(&event));
        Some(event)
    }

    /// Appends up to `limit` events to `burst`; 0 when the connection is gone and everything was taken. Cancel safe.
    pub async fn recv_many(&mut self, burst: &mut Vec<MediaEvent>, limit: usize) -> usize {
        let before = burst.len();
        let count = self.receiver.recv_many(burst, limit).await;
        self.release(&burst[before..]);
        count
    }

    fn release(&self, events: &[MediaEvent]) {
        self.bytes.fetch_sub(events.iter().map(size).sum(), Ordering::Relaxed);
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
        let (sender, mut queue) = media_queue();
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
            sender.send(event((1 << 20) - EVENT));
        }
        assert_eq!(sender.discarded(), 1);
        assert!(queue.recv().await.is_some());
        sender.send(event((1 << 20) - EVENT));
        assert_eq!(sender.discarded(), 1);
        drop(sender);
        while queue.recv().await.is_some() {}
        assert_eq!(queue.bytes.load(Ordering::Relaxed), 0);
    }
}
