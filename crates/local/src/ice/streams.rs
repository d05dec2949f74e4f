//! [`Streams`]: the queues of the clients that are connected by TCP or TLS.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;
use tokio::sync::mpsc;

/// Connections at one time, and of one address. Full: new ones are closed at once.
const MAX_STREAMS: usize = 1024;
const MAX_OF_ADDRESS: usize = 256;
/// Messages that a client has not read. Full: what comes for it is dropped and counted, as a network would.
const UNREAD: usize = 256;
/// Whose it is, and what waits for it.
type Open = (IpAddr, mpsc::Sender<Vec<u8>>);

/// The connections of clients, by their numbers.
#[derive(Default)]
pub(super) struct Streams {
    next: AtomicU64,
    open: Mutex<HashMap<u64, Open>>,
}

impl Streams {
    /// Takes one in; `None`: there are too many.
    pub(super) fn open(&self, address: IpAddr) -> Option<(u64, mpsc::Receiver<Vec<u8>>)> {
        let mut open = self.open.lock();
        let of_address = open.values().filter(|(other, _)| *other == address).count();
        if open.len() >= MAX_STREAMS || of_address >= MAX_OF_ADDRESS {
            return None;
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = mpsc::channel(UNREAD);
        open.insert(id, (address, sender));
        Some((id, receiver))
    }

    pub(super) fn close(&self, id: u64) {
        self.open.lock().remove(&id);
    }

    /// `false`: it has gone, or does not read.
    pub(super) fn send(&self, id: u64, packet: Vec<u8>) -> bool {
        self.open.lock().get(&id).is_some_and(|(_, queue)| queue.try_send(packet).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_connections_and_who_does_not_read_loses() {
        let streams = Streams::default();
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let mut open: Vec<_> = (0..MAX_OF_ADDRESS).map(|_| streams.open(one).unwrap()).collect();
        assert!(streams.open(one).is_none());
        let (id, mut queue) = streams.open(other).unwrap();
        let sent = (0..UNREAD + 5).filter(|_| streams.send(id, vec![1])).count();
        assert_eq!(sent, UNREAD);
        assert!(queue.try_recv().is_ok() && streams.send(id, vec![2]));
        streams.close(open.pop().unwrap().0);
        assert!(streams.open(one).is_some());
        streams.close(id);
        assert!(!streams.send(id, vec![3]));
    }
}
