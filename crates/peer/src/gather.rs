//! Reflexive and relayed candidates: STUN and TURN servers asked from every socket (RFC 8445, section 5.1.1; RFC 8656).

use crate::config::IceServer;
use crate::transmit::Transmit;
use bytes::BytesMut;
use rtc_crypto::RTCCryptoProvider;
use rtc_shared::error::Error;
use rtc_shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use rtc_turn::client::{Client, ClientConfig, Event};
use sansio::Protocol;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Checks that wait for the relay's permission, per relay; ICE sends them again.
const MAX_WAITING: usize = 32;

/// Channels that are remembered, per relay.
const MAX_CHANNELS: usize = 256;

/// A request is repeated after 200 ms, 400 ms, …
const RETRANSMIT_MS: u64 = 200;

/// A NAT forgets a mapping that is silent, many after 30 s (RFC 8445, section 11): a relay and a reflexive address that
/// wait for a master are spoken for so often.
const REFRESH_CAP: Duration = Duration::from_secs(25);

/// Requests of a server's that are made again after it refused them.
const MAX_RETRIES: u32 = 16;

/// An address found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The socket `base` is seen as `address`.
    Reflexive { base: SocketAddr, address: SocketAddr },
    /// What is sent to `address` arrives at the socket `base` through a server.
    Relayed { base: SocketAddr, address: SocketAddr },
}

/// What a peer sent through a relay.
pub(crate) struct Relayed {
    /// The address on the relay that it was sent to.
    pub(crate) to: SocketAddr,
    pub(crate) peer: SocketAddr,
    pub(crate) data: BytesMut,
}

struct Server {
    base: SocketAddr,
    address: SocketAddr,
    client: Client,
    turn: bool,
    relayed: Option<SocketAddr>,
    /// Peers that may send through the relay, or are being let in.
    permitted: Vec<SocketAddr>,
    waiting: VecDeque<(SocketAddr, Vec<u8>)>,
    /// Peers by the number of their channel: one that has to be bound again meanwhile is still used by the server.
    channels: BTreeMap<u16, SocketAddr>,
    retries: u32,
}

/// The servers of one connection.
#[derive(Default)]
pub(crate) struct Gatherer {
    servers: Vec<Server>,
    found: VecDeque<Found>,
    /// To be sent before anything else.
    first: VecDeque<Transmit>,
    /// What failed, in words.
    pub(crate) failures: Vec<String>,
    /// When reflexive addresses are asked for again, so that they last; `None` once there is a path.
    again_at: Option<Instant>,
}

impl Gatherer {
    /// Asks every server from every socket that can reach it.
    pub(crate) fn new(
        servers: &[IceServer],
        sockets: &[SocketAddr],
        relay_only: bool,
        provider: &Arc<dyn RTCCryptoProvider>,
        now: Instant,
    ) -> Self {
        let mut gatherer = Self { again_at: Some(now + REFRESH_CAP), ..Self::default() };
        for server in servers {
            let turn = server.credentials.is_some();
            if relay_only && !turn {
                continue;
            }
            for &base in sockets {
                let known = |known: &Server| {
                    known.base == base && known.address == server.address && known.turn == turn
                };
                if !reaches(base, server.address, sockets) || gatherer.servers.iter().any(known) {
                    continue;
                }
                let begun = Self::ask(server, base, turn, provider, now);
                match begun {
                    Ok(server) => gatherer.servers.push(server),
                    Err(error) => gatherer.failures.push(format!("{}: {error}", server.address)),
                }
            }
        }
        gatherer
    }

    fn ask(
        server: &IceServer,
        base: SocketAddr,
        turn: bool,
        provider: &Arc<dyn RTCCryptoProvider>,
        now: Instant,
    ) -> Result<Server, Error> {
        let (username, password) = server.credentials.clone().unwrap_or_default();
        let address = server.address.to_string();
        let config = ClientConfig {
            stun_serv_addr: address.clone(),
            turn_serv_addr: if turn { address } else { String::new() },
            local_addr: base,
            transport_protocol: TransportProtocol::UDP,
            username,
            password,
            rto_in_ms: RETRANSMIT_MS,
            allocation_refresh_interval_cap: Some(REFRESH_CAP),
            ..ClientConfig::default()
        };
        let mut client = Client::new(config, Arc::clone(provider))?;
        if turn {
            client.allocate(now)?;
        } else {
            client.send_binding_request(now)?;
        }
        Ok(Server {
            base,
            address: server.address,
            client,
            turn,
            relayed: None,
            permitted: Vec::new(),
            waiting: VecDeque::new(),
            channels: BTreeMap::new(),
            retries: 0,
        })
    }

    /// The next address that was found.
    pub(crate) fn poll_found(&mut self) -> Option<Found> {
        self.found.pop_front()
    }

    /// Whether datagrams from `remote` to the socket `local` are a server's.
    pub(crate) fn is_server(&self, local: SocketAddr, remote: SocketAddr) -> bool {
        self.servers.iter().any(|server| server.base == local && server.address == remote)
    }

    /// Takes a datagram of a server's.
    pub(crate) fn read(
        &mut self,
        local: SocketAddr,
        remote: SocketAddr,
        data: &[u8],
        now: Instant,
    ) -> Vec<Relayed> {
        let mut arrived = Vec::new();
        for index in 0..self.servers.len() {
            let server = &mut self.servers[index];
            if server.base != local || server.address != remote {
                continue;
            }
            let message = TaggedBytesMut {
                now,
                transport: TransportContext {
                    local_addr: local,
                    peer_addr: remote,
                    transport_protocol: TransportProtocol::UDP,
                    ecn: None,
                },
                message: BytesMut::from(data),
            };
            match server.client.handle_read(message) {
                Ok(()) => {}
                Err(Error::ErrChannelBindNotFound) => arrived.extend(channel_data(server, data)),
                Err(error) => {
                    tracing::debug!(%error, server = %remote, "datagram of a STUN or TURN server not understood");
                }
            }
            self.events(index, now, &mut arrived);
        }
        arrived
    }

    fn events(&mut self, index: usize, now: Instant, arrived: &mut Vec<Relayed>) {
        let server = &mut self.servers[index];
        while let Some(event) = server.client.poll_event() {
            match event {
                Event::BindingResponse(_, address) if !server.turn => {
                    self.found.push_back(Found::Reflexive { base: server.base, address });
                }
                Event::AllocateResponse(_, address) => {
                    server.relayed = Some(address);
                    self.found.push_back(Found::Relayed { base: server.base, address });
                    for peer in server.permitted.clone() {
                        Self::permit(server, peer, now);
                    }
                }
                Event::AllocateError(_, error) | Event::BindingError(_, error) => {
                    self.failures.push(format!("{}: {error}", server.address));
                }
                Event::TransactionTimeout(_) if server.turn && server.relayed.is_none() => {
                    self.failures.push(format!("{}: no answer", server.address));
                }
                Event::CreatePermissionResponse(_, peer) => {
                    let (now_permitted, rest): (VecDeque<_>, VecDeque<_>) =
                        std::mem::take(&mut server.waiting)
                            .into_iter()
                            .partition(|(to, _)| to.ip() == peer.ip());
                    server.waiting = rest;
                    for (to, data) in now_permitted {
                        Self::send_through(server, to, &data, now);
                    }
                }
                Event::CreatePermissionError(_, error) => {
                    tracing::debug!(%error, server = %server.address, "no permission through the relay");
                    if server.retries < MAX_RETRIES {
                        server.retries += 1;
                        if error.to_string().contains("437") {
                            // The server does not know the relay any more, or not behind this mapping.
                            server.relayed = None;
                            if let Err(error) = server.client.allocate(now) {
                                tracing::debug!(%error, "relay not asked for again");
                            }
                        }
                        // With the nonce that came with the refusal.
                        for peer in server.permitted.clone() {
                            Self::permit(server, peer, now);
                        }
                    }
                }
                Event::TransactionTimeout(_) if server.turn && server.retries < MAX_RETRIES => {
                    server.retries += 1;
                    for peer in server.permitted.clone() {
                        Self::permit(server, peer, now);
                    }
                }
                Event::DataIndicationOrChannelData(channel, peer, data) => {
                    if let Some(channel) = channel
                        && server.channels.len() < MAX_CHANNELS
                    {
                        server.channels.insert(channel.0, peer);
                    }
                    if let Some(relayed) = server.relayed {
                        arrived.push(Relayed { to: relayed, peer, data });
                    }
                }
                _ => {}
            }
        }
    }

    /// Lets a peer send through every relay, those that are still being made included.
    pub(crate) fn permit_all(&mut self, peer: SocketAddr, now: Instant) {
        for server in &mut self.servers {
            if !server.turn || server.permitted.contains(&peer) {
                continue;
            }
            if let Some(relayed) = server.relayed
                && relayed.is_ipv4() != peer.is_ipv4()
            {
                continue;
            }
            server.permitted.push(peer);
            Self::permit(server, peer, now);
        }
    }

    fn permit(server: &mut Server, peer: SocketAddr, now: Instant) {
        let Some(relayed) = server.relayed.filter(|relayed| relayed.is_ipv4() == peer.is_ipv4()) else {
            return;
        };
        let asked = server.client.relay(relayed).and_then(|mut relay| relay.create_permission(now, peer));
        if let Err(error) = asked {
            tracing::debug!(%error, %peer, "permission not asked for");
        }
    }

    /// Whether `local` is an address on a relay of ours.
    pub(crate) fn is_relayed(&self, local: SocketAddr) -> bool {
        self.servers.iter().any(|server| server.relayed == Some(local))
    }

    /// Sends to `peer` from the relayed address `relayed`.
    pub(crate) fn send(&mut self, relayed: SocketAddr, peer: SocketAddr, data: &[u8], now: Instant) {
        let Some(server) = self.servers.iter_mut().find(|server| server.relayed == Some(relayed)) else {
            return;
        };
        if !server.permitted.contains(&peer) {
            server.permitted.push(peer);
            Self::permit(server, peer, now);
        }
        Self::send_through(server, peer, data, now);
    }

    fn send_through(server: &mut Server, peer: SocketAddr, data: &[u8], now: Instant) {
        let Some(relayed) = server.relayed else {
            return;
        };
        match server.client.relay(relayed).and_then(|mut relay| relay.send_to(now, data, peer)) {
            Ok(()) => {}
            Err(Error::ErrNoPermission) => {
                if server.waiting.len() < MAX_WAITING {
                    server.waiting.push_back((peer, data.to_vec()));
                }
            }
            Err(error) => tracing::debug!(%error, %peer, "not sent through the relay"),
        }
    }

    /// Has these sent before anything of its own.
    pub(crate) fn put_first(&mut self, transmits: Vec<Transmit>) {
        self.first.extend(transmits);
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<Transmit> {
        if let Some(transmit) = self.first.pop_front() {
            return Some(transmit);
        }
        self.servers.iter_mut().find_map(|server| {
            server.client.poll_write().map(|message| Transmit {
                local: server.base,
                remote: message.transport.peer_addr,
                data: message.message,
            })
        })
    }

    pub(crate) fn poll_timeout(&mut self) -> Option<Instant> {
        let servers = self.servers.iter_mut().filter_map(|server| server.client.poll_timeout()).min();
        [servers, self.again_at].into_iter().flatten().min()
    }

    /// There is a path: what else was gathered may be forgotten.
    pub(crate) fn settled(&mut self) {
        self.again_at = None;
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.again_at.is_some_and(|at| at <= now) {
            self.again_at = Some(now + REFRESH_CAP);
            for server in self.servers.iter_mut().filter(|server| !server.turn) {
                if let Err(error) = server.client.send_binding_request(now) {
                    tracing::debug!(%error, "reflexive address not asked for again");
                }
            }
        }
        for index in 0..self.servers.len() {
            if let Err(error) = self.servers[index].client.handle_timeout(now) {
                tracing::debug!(%error, "TURN client");
            }
            self.events(index, now, &mut Vec::new());
        }
    }

    /// Gives the relays back.
    pub(crate) fn close(&mut self, now: Instant) {
        for server in &mut self.servers {
            if let Some(relayed) = server.relayed.take()
                && let Ok(mut relay) = server.client.relay(relayed)
                && let Err(error) = relay.close(now)
            {
                tracing::debug!(%error, "relay not given back");
            }
        }
    }
}

/// ChannelData (RFC 8656, section 12.4) of a channel that was bound before.
fn channel_data(server: &Server, data: &[u8]) -> Option<Relayed> {
    let [first, second, high, low, ..] = *data else {
        return None;
    };
    let peer = *server.channels.get(&u16::from_be_bytes([first, second]))?;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let data = BytesMut::from(data.get(4..4 + length)?);
    Some(Relayed { to: server.relayed?, peer, data })
}

/// Whether a server can be asked from a socket: of its family, and loopback only where there is nothing else.
fn reaches(socket: SocketAddr, server: SocketAddr, sockets: &[SocketAddr]) -> bool {
    if socket.is_ipv4() != server.is_ipv4() {
        return false;
    }
    let loopback = |address: SocketAddr| address.ip().is_loopback();
    if loopback(server) {
        // From loopback, if there is such a socket.
        loopback(socket)
            || !sockets.iter().any(|socket| loopback(*socket) && socket.is_ipv4() == server.is_ipv4())
    } else {
        !loopback(socket)
    }
}
