//! Which local addresses WebRTC binds.

use std::net::UdpSocket;

/// The addresses asked for, else: every IPv4 interface, every IPv6 interface where IPv6 leads
/// anywhere, and loopback when `local` (an emulator's master may be on this machine without any
/// other interface).
pub fn addresses(asked: &[String], local: bool) -> Vec<String> {
    if !asked.is_empty() {
        return asked.to_vec();
    }
    let mut addresses = vec!["0.0.0.0".to_owned()];
    if has_ipv6() {
        addresses.push("::".to_owned());
    }
    if local {
        addresses.push("127.0.0.1".to_owned());
    }
    addresses
}

/// Whether there is a route for IPv6. Connecting a UDP socket sends nothing.
fn has_ipv6() -> bool {
    UdpSocket::bind("[::]:0").and_then(|socket| socket.connect("[2001:db8::1]:9")).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_all_there_is() {
        let asked = vec!["192.0.2.1".to_owned()];
        assert_eq!(addresses(&asked, true), asked);
        assert!(addresses(&[], true).contains(&"127.0.0.1".to_owned()));
        assert!(!addresses(&[], false).contains(&"127.0.0.1".to_owned()));
    }
}
