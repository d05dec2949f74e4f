//! [`listen`]: the socket of an HTTP server, also on machines without IPv6.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// A socket that listens, not blocking.
#[derive(Debug)]
pub struct Listening {
    /// The socket.
    pub socket: TcpListener,
    /// `[::]` was asked for where there is no IPv6: this is `0.0.0.0`.
    pub without_ipv6: bool,
}

/// Listens on `address`. `[::]` is every address of both families, whatever the machine's default is (`IPV6_V6ONLY`, RFC
/// 3493 section 5.3); on a machine without IPv6 it is every address of IPv4.
///
/// # Errors
/// As the operating system has them: the port is taken, the address is not of this machine, and so on.
pub fn listen(address: SocketAddr) -> io::Result<Listening> {
    with_fallback(address, bind).map(|(socket, without_ipv6)| Listening { socket, without_ipv6 })
}

fn with_fallback<T>(
    address: SocketAddr,
    bind: impl Fn(SocketAddr) -> io::Result<T>,
) -> io::Result<(T, bool)> {
    match bind(address) {
        Err(error) if address.is_ipv6() && address.ip().is_unspecified() && no_ipv6(&error) => {
            let every = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
            bind(every).map(|socket| (socket, true))
        }
        bound => bound.map(|socket| (socket, false)),
    }
}

/// The kernel has no such family, or it is switched off.
fn no_ipv6(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw);
    matches!(code, Some(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL | Errno::EPFNOSUPPORT))
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    // A port whose connections of before are not yet forgotten (TIME_WAIT) is free.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;
    use std::net::TcpStream;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// A kernel without IPv6, which refuses with this.
    fn refusing(code: Errno) -> impl Fn(SocketAddr) -> io::Result<SocketAddr> {
        move |address| {
            if address.is_ipv6() { Err(io::Error::from_raw_os_error(code as i32)) } else { Ok(address) }
        }
    }

    #[test]
    fn without_ipv6_every_address_is_every_address_of_ipv4() {
        for code in [Errno::EAFNOSUPPORT, Errno::EADDRNOTAVAIL, Errno::EPFNOSUPPORT] {
            let bound = with_fallback(address("[::]:8080"), refusing(code)).unwrap();
            assert_eq!(bound, (address("0.0.0.0:8080"), true));
            // Who asks for one address of IPv6 does not get all of IPv4.
            assert!(with_fallback(address("[::1]:8080"), refusing(code)).is_err());
            let bound = with_fallback(address("127.0.0.1:8080"), refusing(code)).unwrap();
            assert_eq!(bound, (address("127.0.0.1:8080"), false));
        }
        for code in [Errno::EADDRINUSE, Errno::EACCES] {
            let error = with_fallback(address("[::]:8080"), refusing(code)).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(code as i32), "a taken port is no missing IPv6");
        }
    }

    #[test]
    fn every_address_is_of_both_families() {
        let listening = listen(address("[::]:0")).unwrap();
        let port = listening.socket.local_addr().unwrap().port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let taken = listen(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse, "{taken}");
    }
}
