//! The UDP sockets of one connection.

use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSockRef, UdpSocketState};
use socket2::SockRef;
use std::future::poll_fn;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::os::fd::AsRawFd;
use std::task::{Context, Poll, ready};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tokio::io::Interest;

/// Asked for per socket: two key frames of 1.5 MB, as the kernel counts them. Nodes often cap it at `net.core.rmem_max`.
pub(super) const RECEIVE_BUFFER: usize = 8 << 20;

/// Interfaces beyond these are not offered: candidates have to fit into one message.
const MAX_SOCKETS: usize = 12;

/// Bytes of the longest datagram.
const DATAGRAM: usize = 65_535;

pub(super) struct Socket {
    pub(super) local: SocketAddr,
    socket: UdpSocket,
    state: UdpSocketState,
    /// The same socket as the runtime watches it, while datagrams are waited for.
    watch: Option<tokio::net::UdpSocket>,
    /// Bytes that the kernel gave, as it counts them (twice what was asked for).
    pub(super) receive_buffer: usize,
    inode: Option<u64>,
    /// There may be something to read.
    pub(super) ready: bool,
    /// What is read next has arrived since.
    since: Instant,
}

/// Binds what was asked for: `ip` or `ip:port`; a wildcard stands for every interface except loopback. Where no port is named,
/// one of `ports` is taken.
///
/// # Errors
///
/// When none can be bound.
pub(super) fn bind(
    asked: &[String],
    ports: Option<&RangeInclusive<u16>>,
    receive_buffer: usize,
) -> io::Result<Vec<Socket>> {
    let mut sockets = Vec::new();
    let mut failure = None;
    for address in asked.iter().flat_map(|asked| expand(asked)) {
        if sockets.len() == MAX_SOCKETS {
            tracing::debug!(%address, "more interfaces than are offered");
            break;
        }
        match bind_within(address, ports, receive_buffer) {
            Ok(socket) => sockets.push(socket),
            Err(error) => {
                tracing::debug!(%error, %address, "cannot bind");
                failure = Some(io::Error::new(error.kind(), format!("{address}: {error}")));
            }
        }
    }
    if sockets.is_empty() {
        return Err(failure.unwrap_or_else(|| {
            io::Error::new(
                io::ErrorKind::AddrNotAvailable,
                format!("no interface has an address for {}", asked.join(", ")),
            )
        }));
    }
    Ok(sockets)
}

/// Binds one address; without a port to the first of `ports` that is free, from a random one on: what was closed just now is
/// not taken by another connection, to which what still comes to it would be a stranger's.
fn bind_within(
    address: SocketAddr,
    ports: Option<&RangeInclusive<u16>>,
    receive_buffer: usize,
) -> io::Result<Socket> {
    let Some(ports) = ports.filter(|_| address.port() == 0) else {
        return Socket::bind(address, receive_buffer);
    };
    let first = rand::random_range(ports.clone());
    for port in (first..=*ports.end()).chain(*ports.start()..first) {
        match Socket::bind(SocketAddr::new(address.ip(), port), receive_buffer) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            bound => return bound,
        }
    }
    let (min, max) = (ports.start(), ports.end());
    let reason = format!("no port of {min} to {max} is free: make spec.ice.portRange larger");
    Err(io::Error::new(io::ErrorKind::AddrInUse, reason))
}

/// The addresses that `ip` or `ip:port` stands for.
fn expand(asked: &str) -> Vec<SocketAddr> {
    let address = asked
        .parse::<SocketAddr>()
        .or_else(|_| asked.trim_matches(['[', ']']).parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0)));
    let Ok(address) = address else {
        tracing::warn!(asked, "not an address to bind");
        return Vec::new();
    };
    if !address.ip().is_unspecified() {
        return vec![address];
    }
    let interfaces = match nix::ifaddrs::getifaddrs() {
        Ok(interfaces) => interfaces,
        Err(error) => {
            tracing::warn!(%error, "the interfaces of this machine cannot be listed");
            return Vec::new();
        }
    };
    let mut found: Vec<SocketAddr> = Vec::new();
    for interface in interfaces {
        let Some(storage) = interface.address else {
            continue;
        };
        let ip = match (storage.as_sockaddr_in(), storage.as_sockaddr_in6()) {
            (Some(v4), _) => IpAddr::from(v4.ip()),
            (_, Some(v6)) => IpAddr::from(v6.ip()),
            _ => continue,
        };
        let usable = match ip {
            IpAddr::V4(ip) => !ip.is_link_local(),
            // What begins with fe80 needs a zone that means nothing to another machine.
            IpAddr::V6(ip) => !ip.is_unicast_link_local(),
        };
        let address = SocketAddr::new(ip, address.port());
        if ip.is_ipv4() == asked_is_v4(asked) && usable && !ip.is_loopback() && !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

fn asked_is_v4(asked: &str) -> bool {
    asked.contains('.')
}

impl Socket {
    fn bind(address: SocketAddr, receive_buffer: usize) -> io::Result<Self> {
        let socket = UdpSocket::bind(address)?;
        socket.set_nonblocking(true)?;
        let options = SockRef::from(&socket);
        if let Err(error) = options.set_recv_buffer_size(receive_buffer) {
            tracing::debug!(%error, "SO_RCVBUF");
        }
        let receive_buffer = options.recv_buffer_size().unwrap_or_default();
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let inode = std::fs::metadata(format!("/proc/self/fd/{}", socket.as_raw_fd())).ok().map(|metadata| {
            use std::os::unix::fs::MetadataExt;
            metadata.ino()
        });
        Ok(Self {
            local: socket.local_addr()?,
            socket,
            state,
            watch: None,
            receive_buffer,
            inode,
            ready: true,
            since: Instant::now(),
        })
    }

    /// Datagrams are waited for: each wakes the runtime from now on.
    ///
    /// # Errors
    ///
    /// The process has no file descriptor left, or the runtime cannot watch it.
    pub(super) fn watch(&mut self) -> io::Result<()> {
        if self.watch.is_none() {
            self.watch = Some(tokio::net::UdpSocket::from_std(self.socket.try_clone()?)?);
        }
        Ok(())
    }

    /// Nobody is woken by datagrams any more, and there may be some afterwards.
    pub(super) fn rest(&mut self) {
        (self.watch, self.ready) = (None, true);
    }

    /// Whether there may be something to read, of which the runtime has told.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(watch) = &self.watch else { return Poll::Pending };
        ready!(watch.poll_recv_ready(context)).unwrap_or_default();
        // Forgotten before it is read: what comes in between is told anew.
        let _ = watch.try_io(Interest::READABLE, || io::Result::<()>::Err(io::ErrorKind::WouldBlock.into()));
        self.ready = true;
        Poll::Ready(())
    }

    /// Reads what is there, at most one batch; each datagram goes to `take` with the time of its arrival. Not ready any more:
    /// there is nothing, unless an error hides it (an ICMP message, say), and the next datagram is told of.
    pub(super) fn read(&mut self, buffers: &mut Buffers, mut take: impl FnMut(SocketAddr, Instant, &[u8])) {
        let mut meta = [RecvMeta::default(); BATCH];
        let began = Instant::now();
        let count = {
            let mut slices: Vec<_> = buffers.0.chunks_mut(DATAGRAM).map(IoSliceMut::new).collect();
            match self.state.recv(UdpSockRef::from(&self.socket), &mut slices, &mut meta) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    (self.ready, self.since) = (false, began);
                    return;
                }
                Err(error) => {
                    // An ICMP error of an earlier datagram: the next read goes on.
                    tracing::trace!(%error, "read");
                    return;
                }
            }
        };
        let (now, wall) = (Instant::now(), SystemTime::now());
        for (buffer, meta) in buffers.0.chunks(DATAGRAM).zip(&meta[..count]) {
            let at = meta.timestamp.and_then(|since_epoch| UNIX_EPOCH.checked_add(since_epoch));
            let age = at.and_then(|at| wall.duration_since(at).ok()).unwrap_or_default();
            // The kernel goes by the wall clock, which may have been set meanwhile.
            self.since = now.checked_sub(age).map_or(self.since, |arrived| arrived.max(self.since));
            // The kernel may give several datagrams of a sender in one piece.
            for datagram in buffer[..meta.len].chunks(meta.stride.max(1)) {
                take(meta.addr, self.since, datagram);
            }
        }
        if count < BATCH {
            (self.ready, self.since) = (false, self.since.max(began));
        }
    }

    /// Sends a datagram; one that cannot be sent is lost, as datagrams are.
    pub(super) fn send(&self, remote: SocketAddr, data: &[u8]) {
        if let Err(error) = self.socket.send_to(data, remote) {
            tracing::trace!(%error, %remote, local = %self.local, "not sent");
        }
    }
}

/// Waits until one of them that is watched may have something to read.
pub(super) async fn ready(sockets: &mut [Socket]) {
    poll_fn(|context| {
        // All are asked: each is to tell of itself later.
        let ready =
            sockets.iter_mut().filter_map(|socket| socket.poll_ready(context).is_ready().then_some(()));
        if ready.count() > 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

const BATCH: usize = if BATCH_SIZE < 16 { BATCH_SIZE } else { 16 };

/// Memory for one batch. Pages are touched as datagrams fill them.
pub(super) struct Buffers(Vec<u8>);

impl Buffers {
    pub(super) fn new() -> Self {
        Self(vec![0; BATCH * DATAGRAM])
    }
}

/// Datagrams that the kernel dropped for want of room in these sockets, since they were bound.
pub(super) fn dropped(sockets: &[Socket]) -> u64 {
    let mut sum = 0;
    for path in ["/proc/net/udp", "/proc/net/udp6"] {
        let Ok(table) = std::fs::read_to_string(path) else {
            continue;
        };
        sum += table
            .lines()
            .skip(1)
            .filter_map(row)
            .filter(|(inode, _)| sockets.iter().any(|socket| socket.inode == Some(*inode)))
            .map(|(_, drops)| drops)
            .sum::<u64>();
    }
    sum
}

/// Inode and drops of a row of `/proc/net/udp`.
fn row(line: &str) -> Option<(u64, u64)> {
    let fields: Vec<_> = line.split_ascii_whitespace().collect();
    Some((fields.get(9)?.parse().ok()?, fields.last()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_for_interfaces_and_ports_are_kept() {
        let expanded = |asked| expand(asked).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(expanded("127.0.0.1"), ["127.0.0.1:0"]);
        assert_eq!(expanded("127.0.0.1:7000"), ["127.0.0.1:7000"]);
        assert_eq!(expanded("::1"), ["[::1]:0"]);
        assert_eq!(expanded("nonsense"), Vec::<String>::new());
        for address in expand("0.0.0.0:7000") {
            assert!(address.is_ipv4() && !address.ip().is_loopback() && address.port() == 7000);
        }
    }

    #[test]
    fn what_the_kernel_drops_is_counted_for_the_socket_alone() {
        let mut sockets = bind(&["127.0.0.1".to_owned()], None, 4096).unwrap();
        let to = sockets[0].local;
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..200 {
            sender.send_to(&[0; 1200], to).unwrap();
        }
        let mut buffers = Buffers::new();
        let mut read = 0;
        while sockets[0].ready {
            sockets[0].read(&mut buffers, |_, _, datagram| {
                assert_eq!(datagram.len(), 1200);
                read += 1;
            });
        }
        assert!(read > 0 && read < 200, "{read}");
        assert_eq!(dropped(&sockets), 200 - read);
    }

    /// However long they have waited for somebody to read them, and in whatever pieces they are read.
    #[test]
    fn datagrams_have_arrived_when_they_were_sent() {
        let mut sockets = bind(&["127.0.0.1".to_owned()], None, RECEIVE_BUFFER).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (mut sent, mut arrived) = (Vec::new(), Vec::new());
        let mut buffers = Buffers::new();
        for burst in [1, BATCH, 1, BATCH + 3] {
            for _ in 0..burst {
                let before = Instant::now();
                sender.send_to(&[0; 1200], sockets[0].local).unwrap();
                sent.push(before..=Instant::now());
            }
            sockets[0].ready = true;
            while sockets[0].ready {
                sockets[0].read(&mut buffers, |_, at, _| arrived.push(at));
            }
        }
        assert_eq!(arrived.len(), sent.len());
        assert!(arrived.is_sorted());
        // The clocks are read one after the other.
        let slack = std::time::Duration::from_millis(5);
        for (at, sent) in arrived.iter().zip(&sent) {
            assert!(*at + slack >= *sent.start() && *at <= *sent.end() + slack, "{at:?} {sent:?}");
        }
    }

    #[test]
    fn ports_are_of_the_range_and_its_end_is_named() {
        let asked = ["127.0.0.1".to_owned()];
        // Four in a row that are free, as good as nobody takes meanwhile.
        let mut bound = Vec::new();
        let ports = loop {
            let first = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let ports = first..=first.saturating_add(3);
            bound.clear();
            bound.extend((0..4).map_while(|_| bind(&asked, Some(&ports), 4096).ok()?.into_iter().next()));
            if bound.len() == 4 {
                break ports;
            }
        };
        let mut taken: Vec<_> = bound.iter().map(|socket| socket.local.port()).collect();
        taken.sort_unstable();
        assert_eq!(taken, ports.clone().collect::<Vec<_>>());
        let error = bind(&asked, Some(&ports), 4096).err().unwrap().to_string();
        assert!(error.contains("portRange") && error.contains(&ports.end().to_string()), "{error}");
        // Who names a port gets that.
        assert!(bind(&[format!("127.0.0.1:{}", ports.start())], Some(&(1..=2)), 4096).is_err());
    }

    #[test]
    fn what_cannot_be_bound_is_named() {
        let error = bind(&["192.0.2.1".to_owned()], None, 4096).err().unwrap();
        assert!(error.to_string().starts_with("192.0.2.1:0: "), "{error}");
    }
}
