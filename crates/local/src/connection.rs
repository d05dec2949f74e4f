//! [`Connection`] and [`Abort`]: what a handler knows of the socket under its request.

use std::net::SocketAddr;

use tokio_util::sync::CancellationToken;

/// Where a request came in; an extension of every request.
#[derive(Debug, Clone, Copy)]
pub struct Connection {
    /// The address that the caller reached.
    pub local: SocketAddr,
    /// The caller's address.
    pub peer: SocketAddr,
    /// Whether it is TLS.
    pub secure: bool,
}

impl Default for Connection {
    fn default() -> Self {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { local: nowhere, peer: nowhere, secure: false }
    }
}

impl Connection {
    /// Whether the caller is on this machine.
    pub(crate) fn is_local(&self) -> bool {
        self.peer.ip().to_canonical().is_loopback()
    }

    /// The port that a URL of this scheme does not spell out.
    pub fn default_port(&self) -> u16 {
        if self.secure { 443 } else { 80 }
    }
}

/// Resets the connection of a request, as a broken network does; an extension of every request.
#[derive(Debug, Clone, Default)]
pub struct Abort(CancellationToken);

impl Abort {
    /// Resets it: what is on its way in either direction is lost.
    pub fn reset(&self) {
        self.0.cancel();
    }

    /// Whether it was reset.
    pub(crate) fn is_reset(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Ends when it is reset.
    pub(crate) async fn wait(&self) {
        self.0.cancelled().await;
    }
}
