//! [`dropped_by_kernel`]: datagrams of a socket that came faster than they were read.

use std::{fs, net::SocketAddr};

/// Of the socket that is bound to this address (`proc_net(5)`). `None`: that cannot be read, as where there is no Linux.
pub(super) fn dropped_by_kernel(local: SocketAddr) -> Option<u64> {
    let table = if local.is_ipv4() { "/proc/self/net/udp" } else { "/proc/self/net/udp6" };
    dropped(&fs::read_to_string(table).ok()?, local.port())
}

/// The last number of the line whose second word is an address with this port. A port is of one socket here.
fn dropped(table: &str, port: u16) -> Option<u64> {
    let line = table.lines().find(|line| {
        let (_, found) = line.split_whitespace().nth(1).and_then(|local| local.rsplit_once(':')).unzip();
        found.is_some_and(|found| u16::from_str_radix(found, 16) == Ok(port))
    })?;
    line.split_whitespace().last()?.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn the_line_of_the_port_is_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
 3245: 0100007F:1F90 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0000000000000000 17
 3246: 00000000000000000000000001000000:1F91 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4712 2 0000000000000000 0
";
        assert_eq!(dropped(table, 8080), Some(17));
        assert_eq!(dropped(table, 8081), Some(0));
        assert_eq!(dropped(table, 8082), None);
    }

    /// As the kernel of this machine writes it.
    #[test]
    #[cfg(target_os = "linux")]
    fn what_nobody_reads_is_counted() {
        for (listen, send) in [("127.0.0.1:0", "127.0.0.1:0"), ("[::1]:0", "[::1]:0")] {
            let Ok(receiver) = UdpSocket::bind(listen) else { continue };
            let local = receiver.local_addr().unwrap();
            assert_eq!(dropped_by_kernel(local), Some(0));
            socket2::SockRef::from(&receiver).set_recv_buffer_size(1).unwrap();
            let sender = UdpSocket::bind(send).unwrap();
            for _ in 0..100 {
                sender.send_to(&[0; 1200], local).unwrap();
            }
            assert!(dropped_by_kernel(local).is_some_and(|dropped| dropped > 50));
        }
    }
}
