//! [`TurnServer`]: TURN over UDP (RFC 8656) by the `turn` crate.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use tokio::net::UdpSocket;
use turn::{
    auth::{AuthHandler, generate_auth_key},
    server::{
        Server,
        config::{ConnConfig, ServerConfig},
    },
};

use super::{TurnCredentials, challenge::Challenging, relay::Relay};
use crate::{RelayPorts, StartError, listener::with_fallback};

const REALM: &str = "kvs-local";
/// Clients whose credentials were good once. When full, all are forgotten: their allocations then end with their
/// credentials, which makes clients allocate anew.
const MAX_SEEN: usize = 10_000;

pub(crate) struct TurnServer {
    server: Server,
    address: TurnAddress,
}

/// By which addresses the TURN server and its relays are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TurnAddress {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What it was told to say.
    advertise: Option<IpAddr>,
    /// The address of the relays.
    own: IpAddr,
}

impl TurnAddress {
    /// `host:port` for a client that calls us by this authority (`host` or `host:port`). What one was told to say goes
    /// first, then the address that is listened on. One that listens everywhere is where the client found the rest.
    pub fn for_caller(&self, authority: &str) -> String {
        let port = self.listen.port();
        let listen = self.listen.ip();
        if self.advertise.is_some() || !listen.is_unspecified() {
            return SocketAddr::new(self.own, port).to_string();
        }
        let host = match authority.rsplit_once(':') {
            Some((host, digits)) if digits.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => authority,
        };
        let ip: Option<IpAddr> = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
        match ip {
            Some(ip) if ip.is_unspecified() || ip.is_ipv4() != listen.is_ipv4() => {
                SocketAddr::new(self.own, port).to_string()
            }
            Some(ip) => SocketAddr::new(ip, port).to_string(),
            // It may also stand for an address of the other family.
            None if host.eq_ignore_ascii_case("localhost") => match listen {
                IpAddr::V4(_) => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port).to_string(),
                IpAddr::V6(_) => SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port).to_string(),
            },
            None => format!("{host}:{port}"),
        }
    }
}

/// The address of this machine that others see, of the same family: that of the default route (connecting a UDP socket
/// sends nothing), else that of any interface, else loopback.
fn external_address(any: IpAddr) -> IpAddr {
    let (somewhere, loopback): (IpAddr, IpAddr) = match any {
        IpAddr::V4(_) => (Ipv4Addr::new(192, 0, 2, 1).into(), Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(_) => (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(), Ipv6Addr::LOCALHOST.into()),
    };
    let routed = std::net::UdpSocket::bind((any, 0))
        .and_then(|socket| socket.connect((somewhere, 9)).and_then(|()| socket.local_addr()))
        .map(|address| address.ip());
    let link_local = |ip: &IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    let usable = |ip: &IpAddr| {
        ip.is_ipv4() == any.is_ipv4() && !ip.is_loopback() && !ip.is_unspecified() && !link_local(ip)
    };
    let interfaces = || {
        let all = webrtc_util::ifaces::ifaces().unwrap_or_default();
        all.into_iter().filter_map(|interface| Some(interface.addr?.ip())).find(&usable)
    };
    routed.ok().filter(&usable).or_else(interfaces).unwrap_or(loopback)
}

/// Whether clients that are told `advertise` can come to `listen`.
fn check_advertise(listen: SocketAddr, advertise: IpAddr) -> Result<(), StartError> {
    let why = if advertise.is_unspecified() {
        "an address by which clients reach the TURN server is needed, and this one stands for all"
    } else if advertise.is_ipv4() != listen.is_ipv4() {
        "one is an IPv4 and the other an IPv6 address; they must be of the same family"
    } else {
        return Ok(());
    };
    Err(StartError::TurnAdvertise { advertise, listen, why })
}

impl TurnServer {
    pub(crate) async fn start(
        listen: SocketAddr,
        advertise: Option<IpAddr>,
        ports: Option<RelayPorts>,
        ttl: Duration,
    ) -> Result<(Self, TurnCredentials), StartError> {
        advertise.map_or(Ok(()), |advertise| check_advertise(listen, advertise))?;
        let socket = with_fallback(listen, UdpSocket::bind).await.map_err(|error| StartError::Listen {
            flag: "--turn-listen",
            address: listen,
            error,
        })?;
        let failed = |error: &dyn std::fmt::Display| StartError::Turn(listen, error.to_string());
        let address = socket.local_addr().map_err(|error| failed(&error))?;
        let credentials = TurnCredentials::new(ttl);
        // A socket on every address has none of its own that it could be reached by.
        let ip = address.ip();
        let own = advertise.unwrap_or_else(|| if ip.is_unspecified() { external_address(ip) } else { ip });
        let auth = Arc::new(Auth { credentials: credentials.clone(), seen: Mutex::default() });
        let config = ServerConfig {
            conn_configs: vec![ConnConfig {
                conn: Arc::new(Challenging::new(socket, REALM, auth.clone())),
                relay_addr_generator: Box::new(Relay { listen: ip, advertise: own, ports }),
            }],
            realm: REALM.to_owned(),
            auth_handler: auth,
            channel_bind_timeout: Duration::ZERO,
            alloc_close_notify: None,
        };
        let server = Server::new(config).await.map_err(|error| failed(&error))?;
        Ok((Self { server, address: TurnAddress { listen: address, advertise, own } }, credentials))
    }

    pub(crate) fn address(&self) -> TurnAddress {
        self.address
    }

    pub(crate) async fn close(&self) {
        if let Err(error) = self.server.close().await {
            tracing::debug!(%error, "closing the TURN server");
        }
    }
}

/// Checks credentials. They must be current when a client first uses them; its allocation then lives on, because the
/// permissions and refreshes of a running session carry the same username.
struct Auth {
    credentials: TurnCredentials,
    seen: Mutex<HashSet<(SocketAddr, String)>>,
}

impl AuthHandler for Auth {
    fn auth_handle(&self, username: &str, realm: &str, peer: SocketAddr) -> Result<Vec<u8>, turn::Error> {
        let client = (peer, username.to_owned());
        let mut seen = self.seen.lock();
        match self.credentials.is_current(username, SystemTime::now()) {
            Some(true) => {
                if seen.len() >= MAX_SEEN {
                    seen.clear();
                }
                seen.insert(client);
            }
            Some(false) if seen.contains(&client) => {}
            expired => {
                tracing::warn!(%peer, expired = expired.is_some(), "TURN credential refused");
                return Err(turn::Error::ErrNoSuchUser);
            }
        }
        Ok(generate_auth_key(username, realm, &self.credentials.password(username)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_client_finds_turn_where_it_found_the_rest() {
        let at = |listen: &str, advertise: Option<&str>| {
            let listen: SocketAddr = listen.parse().unwrap();
            let advertise: Option<IpAddr> = advertise.map(|ip| ip.parse().unwrap());
            let own = if listen.is_ipv4() { "10.0.0.5" } else { "2001:db8::5" };
            let own = if listen.ip().is_unspecified() { own.parse().unwrap() } else { listen.ip() };
            TurnAddress { listen, advertise, own: advertise.unwrap_or(own) }
        };
        for (turn, authority, expected) in [
            (at("127.0.0.1:3478", None), "kvs.test:8440", "127.0.0.1:3478"),
            (at("0.0.0.0:3478", None), "kvs.test:8440", "kvs.test:3478"),
            (at("0.0.0.0:3478", None), "kvs.test", "kvs.test:3478"),
            (at("0.0.0.0:3478", None), "172.17.0.2:8440", "172.17.0.2:3478"),
            (at("0.0.0.0:3478", None), "localhost:8440", "127.0.0.1:3478"),
            (at("0.0.0.0:3478", None), "0.0.0.0:8440", "10.0.0.5:3478"),
            (at("0.0.0.0:3478", None), "[2001:db8::9]:8440", "10.0.0.5:3478"),
            (at("[::]:3478", None), "[2001:db8::9]:8440", "[2001:db8::9]:3478"),
            (at("[::]:3478", None), "[2001:db8::9]", "[2001:db8::9]:3478"),
            (at("0.0.0.0:3478", Some("203.0.113.7")), "localhost:8440", "203.0.113.7:3478"),
            (at("10.1.1.1:3478", Some("203.0.113.7")), "10.1.1.1:8440", "203.0.113.7:3478"),
        ] {
            assert_eq!(turn.for_caller(authority), expected, "{turn:?} {authority}");
        }
    }

    #[tokio::test]
    async fn an_address_that_leads_nowhere_is_not_advertised() {
        for (listen, advertise, words) in [
            ("127.0.0.1:0", "0.0.0.0", Some("stands for all")),
            ("[::1]:0", "::", Some("stands for all")),
            ("0.0.0.0:0", "2001:db8::5", Some("same family")),
            ("[::]:0", "203.0.113.7", Some("same family")),
            ("127.0.0.1:0", "203.0.113.7", None),
        ] {
            let (listen, advertise) = (listen.parse().unwrap(), advertise.parse().unwrap());
            let started = TurnServer::start(listen, Some(advertise), None, Duration::from_secs(300)).await;
            match (started.map(drop), words) {
                (Ok(()), None) => {}
                (Err(error), Some(words)) => {
                    let error = error.to_string();
                    assert!(error.contains(&format!("--turn-advertise {advertise}")), "{error}");
                    assert!(error.contains(words), "{error}");
                }
                (result, _) => panic!("{listen} {advertise}: {result:?}"),
            }
        }
    }

    #[test]
    fn the_external_address_is_one_of_this_machine() {
        let ip = external_address(Ipv4Addr::UNSPECIFIED.into());
        assert!(ip.is_ipv4() && !ip.is_unspecified());
        std::net::UdpSocket::bind((ip, 0)).unwrap();
    }
}
