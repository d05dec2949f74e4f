//! [`TurnServer`]: the sockets of [`Turn`]. One port has all: STUN and TURN over UDP, over TCP, and over TLS, as the
//! service's port 443. What is in a connection is known by its first byte.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::net::{TcpListener, UdpSocket};
use tokio_rustls::TlsAcceptor;

use super::{
    address::{TurnAddress, check_advertise, external_address},
    credentials::TurnCredentials,
    relay::RelaySockets,
    shared::{DATAGRAM, Shared},
    stream::accept,
    turn::{Client, Figures, Link, Settings, Turn},
};
use crate::{RelayPorts, StartError, listener::with_fallback};

/// How often what is over is looked for. Nothing waits for it: what is over counts no more at once.
const SWEEP: Duration = Duration::from_secs(1);
/// What the service grants a channel ("Kinesis Video Streams with WebRTC service quotas", TURN).
const QUOTA_ALLOCATIONS: usize = 50;
const QUOTA_BYTES_PER_SECOND: u64 = 5_000_000 / 8;
/// How often a port is drawn that is free for UDP and for TCP.
const ATTEMPTS: usize = 20;

/// What a TURN server is started with.
pub(crate) struct TurnOptions {
    pub(crate) listen: SocketAddr,
    pub(crate) advertise: Option<IpAddr>,
    pub(crate) ports: Option<RelayPorts>,
    pub(crate) ttl: Duration,
    /// Whether the service's limits hold.
    pub(crate) quotas: bool,
}

pub(crate) struct TurnServer {
    shared: Arc<Shared>,
    address: TurnAddress,
}

/// What the server counts.
#[derive(Clone)]
pub(crate) struct TurnFigures(Arc<Shared>);

impl TurnFigures {
    /// What is counted, and datagrams that there was no room for.
    pub(crate) fn read(&self) -> (Figures, u64) {
        self.0.figures()
    }
}

impl TurnServer {
    /// `tls` makes the acceptor for clients over TLS, whose certificate must be for this address.
    pub(crate) async fn start(
        options: TurnOptions,
        tls: impl FnOnce(&TurnAddress) -> Result<TlsAcceptor, StartError>,
    ) -> Result<(Self, TurnCredentials), StartError> {
        let TurnOptions { listen, advertise, ports, ttl, quotas } = options;
        advertise.map_or(Ok(()), |advertise| check_advertise(listen, advertise))?;
        let (udp, tcp) = bind(listen).await.map_err(|error| StartError::Listen {
            flag: "--turn-listen",
            address: listen,
            error,
        })?;
        let failed = |error: io::Error| StartError::Turn(listen, error.to_string());
        let at = udp.local_addr().map_err(failed)?;
        // A socket on every address has none of its own that it could be reached by.
        let ip = at.ip();
        let own = advertise.unwrap_or_else(|| if ip.is_unspecified() { external_address(ip) } else { ip });
        let address = TurnAddress { listen: at, advertise, own };
        let acceptor = tls(&address)?;
        let credentials = TurnCredentials::new(ttl);
        let settings = Settings {
            relays: own,
            loopback: ip.is_loopback() || own.is_loopback(),
            per_channel: quotas.then_some(QUOTA_ALLOCATIONS),
            bytes_per_second: quotas.then_some(QUOTA_BYTES_PER_SECOND),
        };
        let sending = udp.into_std().map_err(failed)?;
        let receiving = UdpSocket::from_std(sending.try_clone().map_err(failed)?).map_err(failed)?;
        let turn = Turn::new(settings, credentials.clone(), Instant::now());
        let shared = Arc::new(Shared::new(turn, sending, RelaySockets::new(ip, own, ports)));
        shared.tasks.spawn(receive(shared.clone(), receiving));
        shared.tasks.spawn(accept(shared.clone(), tcp, acceptor));
        shared.tasks.spawn(sweep(shared.clone()));
        Ok((Self { shared, address }, credentials))
    }

    pub(crate) fn address(&self) -> TurnAddress {
        self.address
    }

    pub(crate) fn figures(&self) -> TurnFigures {
        TurnFigures(self.shared.clone())
    }

    pub(crate) async fn close(&self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

/// One port for UDP and TCP; where any will do, one that is free for both.
async fn bind(listen: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..ATTEMPTS {
        let udp = with_fallback(listen, UdpSocket::bind).await?;
        match TcpListener::bind(udp.local_addr()?).await {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(error) if listen.port() != 0 => return Err(error),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn receive(shared: Arc<Shared>, socket: UdpSocket) {
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let received = tokio::select! {
            () = shared.stop.cancelled() => return,
            received = socket.recv_from(&mut buffer) => received,
        };
        // an error is of a datagram that was sent before, to somebody who has gone
        if let Ok((length, address)) = received {
            shared.handle_client(Client { link: Link::Datagram, address }, &buffer[..length]);
        }
    }
}

async fn sweep(shared: Arc<Shared>) {
    let mut every = tokio::time::interval(SWEEP);
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            _ = every.tick() => shared.sweep(),
        }
    }
}
