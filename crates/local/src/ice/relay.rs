//! [`RelaySockets`]: the sockets through which the TURN server reaches peers, by the ports that are given.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use rand::Rng;
use tokio_util::sync::CancellationToken;

use super::turn::{Opened, RelayId, Relays};
use crate::RelayPorts;

/// How often two ports beside each other are looked for where any will do.
const ATTEMPTS: usize = 100;

/// The sockets of all relays. They listen where the server does, and are known by the address that others see.
pub(super) struct RelaySockets {
    listen: IpAddr,
    advertise: IpAddr,
    ports: Option<RelayPorts>,
    next: AtomicU64,
    open: Mutex<HashMap<RelayId, (Arc<UdpSocket>, CancellationToken)>>,
}

impl RelaySockets {
    pub(super) fn new(listen: IpAddr, advertise: IpAddr, ports: Option<RelayPorts>) -> Self {
        Self { listen, advertise, ports, next: AtomicU64::new(0), open: Mutex::default() }
    }

    /// Opens relays; `serve` gets the sockets to read from until their tokens are cancelled.
    pub(super) fn opener<'a>(&'a self, serve: &'a Serve<'a>) -> Opener<'a> {
        Opener { sockets: self, serve }
    }

    /// `false`: the operating system does not take it, or the relay is closed.
    pub(super) fn send(&self, relay: RelayId, peer: SocketAddr, data: &[u8]) -> bool {
        let socket = self.open.lock().get(&relay).map(|(socket, _)| socket.clone());
        socket.is_some_and(|socket| socket.send_to(data, peer).is_ok())
    }

    pub(super) fn close(&self, relay: RelayId) {
        if let Some((_, stop)) = self.open.lock().remove(&relay) {
            stop.cancel();
        }
    }

    /// A socket with a port that fits, and where it is wanted one with the next port.
    fn bind(&self, even: bool, pair: bool) -> io::Result<(UdpSocket, Option<UdpSocket>)> {
        let bind = |port| UdpSocket::bind((self.listen, port));
        if !even && self.ports.is_none() {
            return Ok((bind(0)?, None));
        }
        // a port that is free now; the one below it is as likely to be free as any
        let any = || bind(0).and_then(|socket| socket.local_addr()).map(|address| address.port() & !1).ok();
        let candidates: Box<dyn Iterator<Item = u16>> = match self.ports {
            Some(ports) => Box::new(ports.from(rand::rng().random_range(0..ports.count()))),
            None => Box::new(std::iter::repeat_with(any).take(ATTEMPTS).flatten()),
        };
        let is_ours = |port: u16| self.ports.is_none_or(|ports| ports.contains(port));
        let mut last = io::Error::from(io::ErrorKind::AddrInUse);
        for port in candidates.filter(|port| !even || port % 2 == 0).filter(|port| !pair || is_ours(port | 1))
        {
            match bind(port).and_then(|socket| Ok((socket, pair.then(|| bind(port | 1)).transpose()?))) {
                Ok(bound) => return Ok(bound),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// A socket of this server's own, on one of the ports of relays where some are given: they are those that others reach.
pub(crate) fn bind(listen: IpAddr, ports: Option<RelayPorts>) -> io::Result<UdpSocket> {
    let (socket, _) = RelaySockets::new(listen, listen, ports).bind(false, false)?;
    Ok(socket)
}

/// Reads what peers send to a relay, in a task of its own.
pub(super) type Serve<'a> = dyn Fn(RelayId, tokio::net::UdpSocket, CancellationToken) + 'a;

pub(super) struct Opener<'a> {
    sockets: &'a RelaySockets,
    serve: &'a Serve<'a>,
}

/// A socket that lacks nothing to become a relay.
struct Ready {
    sending: UdpSocket,
    receiving: tokio::net::UdpSocket,
    port: u16,
}

impl Ready {
    fn new(sending: UdpSocket) -> io::Result<Self> {
        let port = sending.local_addr()?.port();
        sending.set_nonblocking(true)?;
        let receiving = tokio::net::UdpSocket::from_std(sending.try_clone()?)?;
        Ok(Self { sending, receiving, port })
    }
}

impl Opener<'_> {
    fn start(&self, Ready { sending, receiving, port }: Ready) -> (RelayId, SocketAddr) {
        let id = RelayId(self.sockets.next.fetch_add(1, Ordering::Relaxed));
        let stop = CancellationToken::new();
        self.sockets.open.lock().insert(id, (Arc::new(sending), stop.clone()));
        (self.serve)(id, receiving, stop);
        (id, SocketAddr::new(self.sockets.advertise, port))
    }
}

impl Relays for Opener<'_> {
    fn open(&mut self, even: bool, pair: bool) -> io::Result<Opened> {
        let (socket, next) = self.sockets.bind(even, pair)?;
        // Whatever can fail does before the first of the two is a relay: nobody would ever close that one.
        let (ready, next) = (Ready::new(socket)?, next.map(Ready::new).transpose()?);
        Ok(Opened { relay: self.start(ready), next: next.map(|next| self.start(next)) })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    /// Some neighbours that are free now, the first of them even.
    fn neighbours(listen: IpAddr, count: u16) -> u16 {
        loop {
            let first = UdpSocket::bind((listen, 0)).unwrap().local_addr().unwrap().port() & !1;
            let free = |port: u16| UdpSocket::bind((listen, port)).is_ok();
            if first.checked_add(count).is_some() && (first..first + count).all(free) {
                return first;
            }
        }
    }

    #[test]
    fn relays_take_the_ports_that_they_are_given() {
        let listen = IpAddr::from(Ipv4Addr::LOCALHOST);
        let first = neighbours(listen, 4);
        let ports: RelayPorts = format!("{first}-{}", first + 3).parse().unwrap();
        let relays = RelaySockets::new(listen, listen, Some(ports));
        let port = |socket: &UdpSocket| socket.local_addr().unwrap().port();
        let (even, next) = relays.bind(true, true).unwrap();
        assert_eq!((port(&even) % 2, port(&even) + 1), (0, port(next.as_ref().unwrap())));
        let (third, none) = relays.bind(false, false).unwrap();
        assert!(none.is_none());
        assert!(relays.bind(true, true).is_err(), "no pair is left");
        let (fourth, _) = relays.bind(false, false).unwrap();
        let mut taken = [&even, next.as_ref().unwrap(), &third, &fourth].map(port);
        taken.sort_unstable();
        assert_eq!(taken.to_vec(), ports.from(0).collect::<Vec<_>>());
        assert!(relays.bind(false, false).is_err());
    }

    #[test]
    fn a_pair_is_found_where_any_port_will_do() {
        let relays = RelaySockets::new(Ipv4Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into(), None);
        let (even, next) = relays.bind(true, true).unwrap();
        let port = even.local_addr().unwrap().port();
        assert_eq!((port % 2, next.unwrap().local_addr().unwrap().port()), (0, port + 1));
    }
}
