//! [`TurnAddress`]: where clients find the TURN server, and peers its relays.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::StartError;

/// By which addresses the TURN server and its relays are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TurnAddress {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What it was told to say.
    pub(super) advertise: Option<IpAddr>,
    /// The address of the relays.
    pub(super) own: IpAddr,
}

impl TurnAddress {
    /// The IPs by which it is reached, for its certificate.
    pub(crate) fn ips(&self) -> [IpAddr; 2] {
        [self.listen.ip(), self.own]
    }

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
pub(super) fn external_address(any: IpAddr) -> IpAddr {
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
pub(super) fn check_advertise(listen: SocketAddr, advertise: IpAddr) -> Result<(), StartError> {
    let why = if advertise.is_unspecified() {
        "an address by which clients reach the TURN server is needed, and this one stands for all"
    } else if advertise.is_ipv4() != listen.is_ipv4() {
        "one is an IPv4 and the other an IPv6 address; they must be of the same family"
    } else {
        return Ok(());
    };
    Err(StartError::TurnAdvertise { advertise, listen, why })
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

    #[test]
    fn an_address_that_leads_nowhere_is_not_advertised() {
        for (listen, advertise, words) in [
            ("127.0.0.1:0", "0.0.0.0", Some("stands for all")),
            ("[::1]:0", "::", Some("stands for all")),
            ("0.0.0.0:0", "2001:db8::5", Some("same family")),
            ("[::]:0", "203.0.113.7", Some("same family")),
            ("127.0.0.1:0", "203.0.113.7", None),
        ] {
            let (listen, advertise) = (listen.parse().unwrap(), advertise.parse().unwrap());
            match (check_advertise(listen, advertise), words) {
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
