//! What goes into [`Turn`](super::Turn) and comes out of it.

use std::{
    io,
    net::SocketAddr,
    time::{Instant, SystemTime},
};

/// Now, by both clocks: lifetimes go by the first, credentials by the second.
#[derive(Debug, Clone, Copy)]
pub(in crate::ice) struct At {
    pub instant: Instant,
    pub wall: SystemTime,
}

impl At {
    pub(in crate::ice) fn now() -> Self {
        Self { instant: Instant::now(), wall: SystemTime::now() }
    }
}

/// How a client is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::ice) enum Link {
    /// By UDP: its address is all there is.
    Datagram,
    /// By the connection with this number, TCP or TLS.
    Stream(u64),
}

/// A client: the 5-tuple of RFC 8656, of which our own side is always the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::ice) struct Client {
    pub link: Link,
    pub address: SocketAddr,
}

/// A socket that peers send to; the number is never given again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::ice) struct RelayId(pub u64);

/// Sockets that were opened.
#[derive(Debug, Clone, Copy)]
pub(in crate::ice) struct Opened {
    pub relay: (RelayId, SocketAddr),
    /// The one with the next port, if it was asked for.
    pub next: Option<(RelayId, SocketAddr)>,
}

/// Where relays come from.
pub(in crate::ice) trait Relays {
    /// Opens a socket; `even`: with an even port; `pair`: and one with the port after it.
    ///
    /// # Errors
    /// No port is free, or no file descriptor.
    fn open(&mut self, even: bool, pair: bool) -> io::Result<Opened>;
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ice) enum Output {
    /// Send this to a client: a whole message, padded for a stream.
    ToClient(Client, Vec<u8>),
    /// Send this from a relay to a peer.
    ToPeer(RelayId, SocketAddr, Vec<u8>),
    /// Close a relay.
    Close(RelayId),
}
