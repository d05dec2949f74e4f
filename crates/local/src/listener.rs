//! [`Listener`]: accepts connections and serves HTTP on them.

use std::{
    collections::{HashMap, hash_map::Entry},
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::Router;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::server::TlsStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

use crate::connection::{Abort, Connection};

/// Connections at one time. When full, new ones wait in the backlog of the operating system.
const MAX_CONNECTIONS: usize = 4096;
/// Of these, connections of one address: nobody keeps all others out. When full, new ones of it are closed at once.
const MAX_OF_PEER: usize = 1024;
/// How long the head of a request may take, and how long a connection may wait for its next request. The heads that clients
/// send come in one piece.
const HEAD: Duration = Duration::from_secs(20);
/// How long a running request gets to finish when the server ends.
const DRAIN: Duration = Duration::from_secs(1);
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// What a connection runs over.
trait Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    fn tcp(&self) -> &TcpStream;
}

impl Socket for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Socket for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// A socket that is reset instead of closed once its connection is aborted.
struct Resettable<S: Socket> {
    socket: S,
    abort: Abort,
}

impl<S: Socket> Drop for Resettable<S> {
    fn drop(&mut self) {
        if self.abort.is_reset()
            && let Err(error) = self.socket.tcp().set_zero_linger()
        {
            tracing::warn!(%error, "a connection is closed, because it cannot be reset");
        }
    }
}

impl<S: Socket> AsyncRead for Resettable<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl<S: Socket> AsyncWrite for Resettable<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

/// Binds an address; where there is no IPv6, `[::]` is every address of IPv4. (Elsewhere it is both families, by Linux's
/// default.)
pub(crate) async fn with_fallback<T, F: Future<Output = io::Result<T>>>(
    address: SocketAddr,
    bind: impl Fn(SocketAddr) -> F,
) -> io::Result<T> {
    match bind(address).await {
        Err(error) if address.is_ipv6() && address.ip().is_unspecified() && has_no_ipv6(&error) => {
            let every = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
            tracing::warn!(asked = %address, "this machine has no IPv6: listening on every address of IPv4");
            bind(every).await
        }
        bound => bound,
    }
}

/// The kernel has no such family (EAFNOSUPPORT), or it is switched off.
fn has_no_ipv6(error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = 97;
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(EAFNOSUPPORT)
}

/// How many connections each address has.
#[derive(Debug, Clone, Default)]
struct Peers(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A connection of an address; it counts until it is dropped.
struct Counted {
    peers: Peers,
    address: IpAddr,
}

impl Peers {
    /// `None`: it has too many.
    fn count(&self, address: IpAddr) -> Option<Counted> {
        let mut peers = self.0.lock();
        let open = peers.entry(address).or_default();
        if *open >= MAX_OF_PEER {
            return None;
        }
        *open += 1;
        Some(Counted { peers: self.clone(), address })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut peers = self.peers.0.lock();
        if let Entry::Occupied(mut open) = peers.entry(self.address) {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
    }
}

/// Serves the connections of all listening sockets. Clones share one limit of connections.
#[derive(Clone)]
pub(crate) struct Listener {
    router: Router,
    permits: Arc<Semaphore>,
    peers: Peers,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Listener {
    /// `stop` ends it; `tasks` has a task for each connection.
    pub(crate) fn new(router: Router, stop: CancellationToken, tasks: TaskTracker) -> Self {
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        Self { router, permits, peers: Peers::default(), stop, tasks }
    }

    /// Accepts until the server ends; with TLS where there is an acceptor.
    pub(crate) async fn accept(self, listener: TcpListener, tls: Option<tokio_rustls::TlsAcceptor>) {
        loop {
            let Ok(permit) = self.permits.clone().acquire_owned().await else { return };
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let (socket, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // out of file descriptors, or the peer has gone: waiting is the only cure for the first
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let Some(counted) = self.peers.count(peer.ip()) else {
                tracing::warn!(%peer, "a connection too many of this address is closed");
                continue;
            };
            let _ = socket.set_nodelay(true);
            let local = socket.local_addr().unwrap_or_else(|_| Connection::default().local);
            let connection = Connection { local, peer, secure: tls.is_some() };
            let serving = self.clone();
            let tls = tls.clone();
            self.tasks.spawn(async move {
                match tls {
                    None => serving.serve(socket, connection).await,
                    Some(tls) => match tokio::time::timeout(HANDSHAKE, tls.accept(socket)).await {
                        Ok(Ok(socket)) => serving.serve(socket, connection).await,
                        Ok(Err(error)) => tracing::warn!(%peer, %error, "TLS handshake failed"),
                        Err(_) => tracing::warn!(%peer, "TLS handshake took too long"),
                    },
                }
                drop((permit, counted));
            });
        }
    }

    async fn serve(&self, socket: impl Socket, connection: Connection) {
        let abort = Abort::default();
        let extension = abort.clone();
        let socket = Resettable { socket, abort: abort.clone() };
        let service =
            self.router.clone().map_request(move |request: http::Request<hyper::body::Incoming>| {
                let mut request = request.map(axum::body::Body::new);
                request.extensions_mut().insert(connection);
                request.extensions_mut().insert(extension.clone());
                request
            });
        let served = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .serve_connection(TokioIo::new(socket), TowerToHyperService::new(service))
            .with_upgrades();
        tokio::pin!(served);
        let result = tokio::select! {
            result = served.as_mut() => result,
            () = abort.wait() => return,
            () = self.stop.cancelled() => {
                served.as_mut().graceful_shutdown();
                // media and events have no end of their own; producers replay what was not acknowledged
                let Ok(result) = tokio::time::timeout(DRAIN, served).await else { return };
                result
            }
        };
        if let Err(error) = result {
            tracing::debug!(peer = %connection.peer, %error, "connection ended");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_connections_and_others_have_theirs() {
        let peers = Peers::default();
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let mut open: Vec<_> = (0..MAX_OF_PEER).map(|_| peers.count(one).unwrap()).collect();
        assert!(peers.count(one).is_none() && peers.count(other).is_some());
        open.pop();
        assert!(peers.count(one).is_some());
        drop(open);
        assert!(peers.0.lock().is_empty(), "who has gone is forgotten");
    }

    #[tokio::test]
    async fn without_ipv6_every_address_is_every_address_of_ipv4() {
        let refusing = |error: fn() -> io::Error| {
            move |address: SocketAddr| {
                std::future::ready(if address.is_ipv6() { Err(error()) } else { Ok(address) })
            }
        };
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        for missing in
            [|| io::Error::from_raw_os_error(97), || io::Error::from(io::ErrorKind::AddrNotAvailable)]
        {
            assert_eq!(with_fallback(at("[::]:8440"), refusing(missing)).await.unwrap(), at("0.0.0.0:8440"));
            // who asks for one address of IPv6 does not get all of IPv4
            assert!(with_fallback(at("[::1]:8440"), refusing(missing)).await.is_err());
        }
        let taken = || io::Error::from(io::ErrorKind::AddrInUse);
        assert!(with_fallback(at("[::]:8440"), refusing(taken)).await.is_err());
    }
}
