//! What a connection sends.

use bytes::BytesMut;
use std::net::SocketAddr;

/// A datagram to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// The address of the socket to send from, one of [`crate::Config::sockets`].
    pub local: SocketAddr,
    /// The master or a server.
    pub remote: SocketAddr,
    /// All of its payload.
    pub data: BytesMut,
}
