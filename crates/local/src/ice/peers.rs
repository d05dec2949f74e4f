//! [`may_reach`]: whom a relay may reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether a relay may reach this peer; if not, the client is told 403. Nothing that is a peer has such an address, and what listens on some of them trusts
/// whoever reaches it: metadata services with a role's credentials, and services of this machine, unless the TURN server is
/// for this machine alone.
pub(super) fn may_reach(peer: IpAddr, loopback: bool) -> bool {
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

#[cfg(test)]
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
}
