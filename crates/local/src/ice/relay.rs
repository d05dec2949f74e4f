//! [`Relay`]: the sockets through which the TURN server reaches peers.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use rand::Rng;
use tokio::net::UdpSocket;
use turn::relay::RelayAddressGenerator;
use webrtc_util::Conn;

use crate::RelayPorts;

/// Relays listen where the server does, and are known by the address that others see.
pub(super) struct Relay {
    pub(super) listen: IpAddr,
    pub(super) advertise: IpAddr,
    pub(super) ports: Option<RelayPorts>,
}

#[async_trait]
impl RelayAddressGenerator for Relay {
    fn validate(&self) -> Result<(), turn::Error> {
        Ok(())
    }

    async fn allocate_conn(
        &self,
        _use_ipv4: bool,
        requested_port: u16,
    ) -> Result<(Arc<dyn Conn + Send + Sync>, SocketAddr), turn::Error> {
        let refused = |error: io::Error| turn::Error::Other(error.to_string());
        let socket = match self.ports.filter(|_| requested_port == 0) {
            None => UdpSocket::bind((self.listen, requested_port)).await.map_err(refused)?,
            Some(ports) => {
                let first = rand::rng().random_range(0..ports.count());
                let mut bound = Err(io::Error::from(io::ErrorKind::AddrInUse));
                for port in ports.from(first) {
                    bound = UdpSocket::bind((self.listen, port)).await;
                    if bound.is_ok() {
                        break;
                    }
                }
                bound
                    .inspect_err(|error| {
                        tracing::warn!(%error, "no relay: --turn-relay-ports has no port that is free");
                    })
                    .map_err(refused)?
            }
        };
        let port = socket.local_addr().map_err(refused)?.port();
        let loopback = self.listen.is_loopback() || self.advertise.is_loopback();
        let fenced = Fenced { socket, loopback, told: AtomicBool::new(false) };
        Ok((Arc::new(fenced), SocketAddr::new(self.advertise, port)))
    }
}

/// Whether a relay may send there. Nothing that is a peer has such an address, and what listens on some of them trusts
/// whoever reaches it: metadata services with a role's credentials, and services of this machine, unless the TURN server is
/// for this machine alone.
fn may_reach(peer: IpAddr, loopback: bool) -> bool {
    /// Of the instance metadata service and of EKS Pod Identity; over IPv4 theirs are link-local.
    const METADATA: [Ipv6Addr; 2] = [
        Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
        Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    ];
    match peer.to_canonical() {
        peer if peer.is_loopback() => loopback,
        peer if peer.is_unspecified() || peer.is_multicast() => false,
        IpAddr::V4(peer) => !peer.is_link_local() && peer != Ipv4Addr::BROADCAST,
        IpAddr::V6(peer) => !peer.is_unicast_link_local() && !METADATA.contains(&peer),
    }
}

/// A relay's socket, which sends to peers only.
struct Fenced {
    socket: UdpSocket,
    /// Whether loopback is among them.
    loopback: bool,
    /// What is not sent is said once.
    told: AtomicBool,
}

#[async_trait]
impl Conn for Fenced {
    async fn connect(&self, address: SocketAddr) -> webrtc_util::Result<()> {
        Conn::connect(&self.socket, address).await
    }

    async fn recv(&self, buffer: &mut [u8]) -> webrtc_util::Result<usize> {
        Conn::recv(&self.socket, buffer).await
    }

    async fn recv_from(&self, buffer: &mut [u8]) -> webrtc_util::Result<(usize, SocketAddr)> {
        Conn::recv_from(&self.socket, buffer).await
    }

    async fn send(&self, buffer: &[u8]) -> webrtc_util::Result<usize> {
        Conn::send(&self.socket, buffer).await
    }

    async fn send_to(&self, buffer: &[u8], target: SocketAddr) -> webrtc_util::Result<usize> {
        if may_reach(target.ip(), self.loopback) {
            return Conn::send_to(&self.socket, buffer, target).await;
        }
        if !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!(%target, "a TURN client has a peer that nothing is relayed to");
        }
        // as if it had been lost on the way
        Ok(buffer.len())
    }

    fn local_addr(&self) -> webrtc_util::Result<SocketAddr> {
        Conn::local_addr(&self.socket)
    }

    fn remote_addr(&self) -> Option<SocketAddr> {
        Conn::remote_addr(&self.socket)
    }

    async fn close(&self) -> webrtc_util::Result<()> {
        Conn::close(&self.socket).await
    }

    fn as_any(&self) -> &(dyn std::any::Any + Send + Sync) {
        self
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_reached_and_nothing_else() {
        for (peer, reached) in [
            ("192.168.1.5", true),
            ("10.0.0.1", true),
            ("203.0.113.9", true),
            ("2001:db8::1", true),
            ("fd00::1", true),
            ("169.254.169.254", false),
            ("169.254.170.2", false),
            ("::ffff:169.254.169.254", false),
            ("fe80::1", false),
            ("fd00:ec2::254", false),
            ("fd00:ec2::23", false),
            ("224.0.0.251", false),
            ("ff02::1", false),
            ("255.255.255.255", false),
            ("0.0.0.0", false),
            ("::", false),
        ] {
            assert_eq!(may_reach(peer.parse().unwrap(), true), reached, "{peer}");
            assert_eq!(may_reach(peer.parse().unwrap(), false), reached, "{peer}");
        }
        for peer in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert!(may_reach(peer.parse().unwrap(), true), "{peer}");
            assert!(!may_reach(peer.parse().unwrap(), false), "{peer}");
        }
    }

    #[tokio::test]
    async fn a_fenced_socket_sends_to_a_peer_and_swallows_the_rest() {
        let listen = IpAddr::from(Ipv4Addr::LOCALHOST);
        let target = UdpSocket::bind((listen, 0)).await.unwrap();
        let address = target.local_addr().unwrap();
        let socket = |loopback| async move {
            let socket = UdpSocket::bind((listen, 0)).await.unwrap();
            Fenced { socket, loopback, told: AtomicBool::new(false) }
        };
        let closed = socket(false).await;
        assert_eq!(Conn::send_to(&closed, b"no", address).await.unwrap(), 2);
        assert!(closed.told.load(Ordering::Relaxed));
        Conn::send_to(&socket(true).await, b"yes", address).await.unwrap();
        let mut buffer = [0; 16];
        let (length, _) = target.recv_from(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..length], b"yes", "the first datagram that came is the second that was sent");
    }

    #[tokio::test]
    async fn relays_take_the_ports_that_they_are_given() {
        let listen = IpAddr::from(Ipv4Addr::LOCALHOST);
        // two neighbours that are free now
        let ports = loop {
            let first = UdpSocket::bind((listen, 0)).await.unwrap().local_addr().unwrap().port();
            let Some(second) = first.checked_add(1) else { continue };
            if UdpSocket::bind((listen, second)).await.is_ok() {
                break format!("{first}-{second}").parse::<RelayPorts>().unwrap();
            }
        };
        let relay = Relay { listen, advertise: "203.0.113.7".parse().unwrap(), ports: Some(ports) };
        let (one, told) = relay.allocate_conn(true, 0).await.unwrap();
        let (two, _) = relay.allocate_conn(true, 0).await.unwrap();
        assert_eq!(told.ip().to_string(), "203.0.113.7");
        let mut taken = [one.local_addr().unwrap().port(), two.local_addr().unwrap().port()];
        taken.sort_unstable();
        assert_eq!(taken.to_vec(), ports.from(0).collect::<Vec<_>>());
        assert!(relay.allocate_conn(true, 0).await.is_err());
    }
}
