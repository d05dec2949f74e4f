//! To which addresses a master may have datagrams sent.
//!
//! A remote candidate is a request to send STUN to an address that somebody else chose, and in answer to a check that he
//! sent himself we would send there, too. So what no camera has, and what must not hear from an agent, gets nothing: not
//! directly, and not through a relay, which may stand in the same network. Private addresses are where cameras are.

use ipnet::IpNet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Which addresses get nothing. What is never denied: the STUN and TURN servers, which are not the master's to choose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destinations {
    /// The master may be on this machine.
    pub loopback: bool,
    /// Networks that get nothing, beside those that never do.
    pub denied: Vec<IpNet>,
}

/// Why an address gets nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forbidden {
    NoHost,
    Loopback,
    LinkLocal,
    Metadata,
    Denied(IpNet),
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHost => f.write_str("it is no host's"),
            Self::Loopback => f.write_str("it is this machine"),
            Self::LinkLocal => f.write_str("it is link-local"),
            Self::Metadata => f.write_str("it is a service of the cloud's for its own machines"),
            Self::Denied(network) => write!(f, "{network} is denied"),
        }
    }
}

/// Services of clouds for the machine that asks, which are not link-local: of AWS (metadata, pod identity, DNS, time),
/// Google Cloud, Azure and Alibaba Cloud.
const METADATA_V6: [(Ipv6Addr, u8); 2] = [
    (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254), 128),
];
const METADATA_V4: [Ipv4Addr; 2] = [Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(100, 100, 100, 200)];

impl Destinations {
    /// Whether datagrams may be sent there.
    pub(crate) fn check(&self, address: SocketAddr) -> Result<(), Forbidden> {
        if address.port() == 0 {
            return Err(Forbidden::NoHost);
        }
        self.check_ip(address.ip())
    }

    fn check_ip(&self, ip: IpAddr) -> Result<(), Forbidden> {
        let ip = ip.to_canonical();
        match ip {
            IpAddr::V4(v4) => self.check_v4(v4)?,
            IpAddr::V6(v6) => {
                self.check_v6(v6)?;
                // What a translator or a tunnel on the way makes of it.
                for v4 in embedded(v6) {
                    self.check_ip(v4.into())?;
                }
            }
        }
        match self.denied.iter().find(|network| network.contains(&ip)) {
            Some(network) => Err(Forbidden::Denied(*network)),
            None => Ok(()),
        }
    }

    fn check_v4(&self, ip: Ipv4Addr) -> Result<(), Forbidden> {
        let [first, ..] = ip.octets();
        if ip.is_loopback() {
            return if self.loopback { Ok(()) } else { Err(Forbidden::Loopback) };
        }
        if first == 0 || first >= 240 || ip.is_multicast() {
            return Err(Forbidden::NoHost);
        }
        if ip.is_link_local() {
            return Err(Forbidden::LinkLocal);
        }
        if METADATA_V4.contains(&ip) { Err(Forbidden::Metadata) } else { Ok(()) }
    }

    fn check_v6(&self, ip: Ipv6Addr) -> Result<(), Forbidden> {
        if ip.is_loopback() {
            return if self.loopback { Ok(()) } else { Err(Forbidden::Loopback) };
        }
        if ip.is_unspecified() || ip.is_multicast() {
            return Err(Forbidden::NoHost);
        }
        if ip.is_unicast_link_local() {
            return Err(Forbidden::LinkLocal);
        }
        let same = |(network, bits): &(Ipv6Addr, u8)| {
            let shift = 128 - u32::from(*bits);
            u128::from(*network) >> shift == u128::from(ip) >> shift
        };
        if METADATA_V6.iter().any(same) { Err(Forbidden::Metadata) } else { Ok(()) }
    }
}

/// The IPv4 addresses that an IPv6 address may stand for: IPv4-compatible (RFC 4291, section 2.5.5.1), NAT64 (RFC 6052, RFC
/// 8215) and 6to4 (RFC 3056).
fn embedded(ip: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = ip.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    let is_compatible = [a, b, c, d, e, f] == [0; 6] && g != 0;
    let is_nat64 = [a, b, c, d, e, f] == [0x64, 0xff9b, 0, 0, 0, 0] || [a, b, c] == [0x64, 0xff9b, 1];
    let last = (is_compatible || is_nat64).then(|| v4(g, h));
    let first = (a == 0x2002).then(|| v4(b, c));
    [last, first].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(destinations: &Destinations, address: &str) -> Result<(), Forbidden> {
        destinations.check(SocketAddr::new(address.parse().unwrap(), 5000))
    }

    #[test]
    fn what_no_camera_has_gets_nothing() {
        let destinations = Destinations::default();
        for address in [
            "127.0.0.1",
            "127.8.9.10",
            "::1",
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "255.255.255.255",
            "240.0.0.1",
            "224.0.0.251",
            "239.255.255.250",
            "ff02::fb",
            "169.254.1.1",
            "169.254.169.254",
            "169.254.170.23",
            "169.254.170.2",
            "fe80::1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "168.63.129.16",
            "100.100.100.200",
            // The same, as a socket of IPv6 or a translator has them.
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::169.254.169.254",
            "64:ff9b::127.0.0.1",
            "64:ff9b:1::169.254.169.254",
            "2002:a9fe:a9fe::1",
        ] {
            assert!(check(&destinations, address).is_err(), "{address}");
        }
        for address in [
            "192.168.1.20",
            "10.1.2.3",
            "172.16.0.9",
            "100.64.3.4",
            "203.0.113.7",
            "fd12:3456::1",
            "2001:db8::1",
            "64:ff9b::203.0.113.7",
            "2002:cb00:7107::1",
        ] {
            assert_eq!(check(&destinations, address), Ok(()), "{address}");
        }
        assert!(destinations.check("192.0.2.1:0".parse().unwrap()).is_err());
    }

    #[test]
    fn this_machine_gets_something_where_masters_are_on_it() {
        let destinations = Destinations { loopback: true, denied: Vec::new() };
        for address in ["127.0.0.1", "::1"] {
            assert_eq!(check(&destinations, address), Ok(()), "{address}");
        }
        for address in ["0.0.0.0", "169.254.169.254", "fe80::1"] {
            assert!(check(&destinations, address).is_err(), "{address}");
        }
    }

    #[test]
    fn denied_networks_get_nothing_however_they_are_written() {
        let denied = vec!["10.96.0.0/12".parse().unwrap(), "fd12::/16".parse().unwrap()];
        let destinations = Destinations { loopback: false, denied };
        for address in
            ["10.96.0.1", "10.111.255.255", "fd12:3::4", "::ffff:10.100.0.1", "64:ff9b::10.100.0.1"]
        {
            assert!(matches!(check(&destinations, address), Err(Forbidden::Denied(_))), "{address}");
        }
        for address in ["10.95.255.255", "10.112.0.0", "fd13::1"] {
            assert_eq!(check(&destinations, address), Ok(()), "{address}");
        }
    }

    proptest! {
        /// No spelling of an address gets round a network that is denied.
        #[test]
        fn denied_is_denied(network in any::<u32>(), bits in 0..=32_u8, host in any::<u32>()) {
            let network = ipnet::Ipv4Net::new(network.into(), bits).unwrap();
            let mask = u32::from(network.hostmask());
            let ip = Ipv4Addr::from(u32::from(network.network()) | host & mask);
            let destinations = Destinations { loopback: true, denied: vec![network.into()] };
            let [a, b] = [(ip.to_bits() >> 16) as u16, ip.to_bits() as u16];
            for ip in [
                IpAddr::V4(ip),
                IpAddr::V6(ip.to_ipv6_mapped()),
                IpAddr::V6(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, a, b)),
                IpAddr::V6(Ipv6Addr::new(0x2002, a, b, 0, 0, 0, 0, 1)),
            ] {
                prop_assert!(destinations.check(SocketAddr::new(ip, 1)).is_err());
            }
        }
    }
}
