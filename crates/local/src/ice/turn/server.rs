//! [`Turn`]: requests and data of clients, data of peers.

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use rand::Rng;
use stun::{
    agent::TransactionId,
    attributes::{
        ATTR_CHANNEL_NUMBER, ATTR_DATA, ATTR_EVEN_PORT, ATTR_LIFETIME, ATTR_MESSAGE_INTEGRITY, ATTR_NONCE,
        ATTR_REALM, ATTR_REQUESTED_ADDRESS_FAMILY, ATTR_REQUESTED_TRANSPORT, ATTR_RESERVATION_TOKEN,
        ATTR_SOFTWARE, ATTR_UNKNOWN_ATTRIBUTES, ATTR_USERNAME, ATTR_XOR_RELAYED_ADDRESS,
        ATTR_XORMAPPED_ADDRESS,
    },
    error_code::{
        CODE_ADDR_FAMILY_NOT_SUPPORTED, CODE_ALLOC_MISMATCH, CODE_ALLOC_QUOTA_REACHED, CODE_BAD_REQUEST,
        CODE_FORBIDDEN, CODE_INSUFFICIENT_CAPACITY, CODE_PEER_ADDR_FAMILY_MISMATCH, CODE_STALE_NONCE,
        CODE_UNAUTHORIZED, CODE_UNKNOWN_ATTRIBUTE, CODE_UNSUPPORTED_TRANS_PROTO, CODE_WRONG_CREDENTIALS,
        ErrorCode,
    },
    integrity::MessageIntegrity,
    message::{
        CLASS_INDICATION, CLASS_REQUEST, METHOD_ALLOCATE, METHOD_BINDING, METHOD_CHANNEL_BIND,
        METHOD_CREATE_PERMISSION, METHOD_REFRESH, METHOD_SEND, Message, Setter,
    },
};

use super::{
    allocation::{Allocation, NotBound},
    budget::Budget,
    io::{At, Client, Link, Output, RelayId, Relays},
    message::{self, Address, Raw, text_attribute},
    nonce::Nonces,
};
use crate::ice::{credentials::TurnCredentials, peers::may_reach};

const REALM: &str = "kvs-local";
const SOFTWARE: &str = concat!("kvs-local ", env!("CARGO_PKG_VERSION"));
/// Life of an allocation that asks for none (RFC 8656 section 7.2), and the longest.
const LIFETIME: Duration = Duration::from_secs(600);
const LONGEST_LIFETIME: Duration = Duration::from_secs(3600);
/// How long a port that was asked for in a pair is kept (RFC 8656 section 7.2).
const RESERVATION: Duration = Duration::from_secs(30);
/// Allocations of all channels together, reserved ports included. Full: 508.
const MAX_ALLOCATIONS: usize = 1000;
/// UDP, as IP numbers it.
const UDP: u8 = 17;
/// The longest datagram that is relayed: what UDP over IPv4 can carry.
const MAX_DATA: usize = 65_507;

/// What is counted since the start, and what there is now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Allocations that are there.
    pub allocations: usize,
    /// Allocations that were made.
    pub allocated: u64,
    /// Requests that were answered with an error, challenges aside.
    pub refused: u64,
    /// Bytes from clients to peers.
    pub to_peers: u64,
    /// Bytes from peers to clients.
    pub to_clients: u64,
    /// Datagrams of strangers, without permission, or that cannot be read.
    pub unwanted: u64,
    /// Datagrams beyond the channel's bitrate.
    pub over_bitrate: u64,
    /// Data of clients over TCP or TLS that is longer than a datagram can be.
    pub too_long: u64,
}

/// What a [`Turn`] is told at its start.
#[derive(Debug, Clone, Copy)]
pub(in crate::ice) struct Settings {
    /// The address family of relays is that of this address.
    pub relays: IpAddr,
    /// Whether peers on loopback are reached.
    pub loopback: bool,
    /// Allocations of a channel.
    pub per_channel: Option<usize>,
    /// What a channel may relay, both ways together.
    pub bytes_per_second: Option<u64>,
}

struct Reserved {
    relay: (RelayId, SocketAddr),
    username: String,
    ends: Instant,
}

/// A refusal.
struct Refused {
    code: ErrorCode,
    reason: &'static str,
    more: Vec<Box<dyn Setter>>,
}

impl Refused {
    fn new(code: ErrorCode, reason: &'static str) -> Self {
        Self { code, reason, more: Vec::new() }
    }
}

/// Who has signed a request.
struct User {
    username: String,
    channel: String,
    key: Vec<u8>,
}

type Answer = Result<Vec<Box<dyn Setter>>, Refused>;

pub(in crate::ice) struct Turn {
    settings: Settings,
    credentials: TurnCredentials,
    nonces: Nonces,
    allocations: HashMap<Client, Allocation>,
    relays: HashMap<RelayId, Client>,
    reserved: HashMap<[u8; 8], Reserved>,
    /// Of channels that relay, or did a moment ago.
    budgets: HashMap<String, Budget>,
    /// Drained after each input, so it holds what one input causes.
    outputs: VecDeque<Output>,
    figures: Figures,
}

impl Turn {
    pub(in crate::ice) fn new(settings: Settings, credentials: TurnCredentials, now: Instant) -> Self {
        Self {
            settings,
            credentials,
            nonces: Nonces::new(rand::rng().random(), now),
            allocations: HashMap::new(),
            relays: HashMap::new(),
            reserved: HashMap::new(),
            budgets: HashMap::new(),
            outputs: VecDeque::new(),
            figures: Figures::default(),
        }
    }

    pub(in crate::ice) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub(in crate::ice) fn figures(&self) -> Figures {
        Figures { allocations: self.allocations.len(), ..self.figures }
    }

    /// Whether this client has a relay.
    pub(in crate::ice) fn has_allocation(&self, client: Client) -> bool {
        self.allocations.contains_key(&client)
    }

    /// A datagram of a client, or a whole message of a stream without its padding.
    pub(in crate::ice) fn handle_client(
        &mut self,
        client: Client,
        data: &[u8],
        at: At,
        relays: &mut dyn Relays,
    ) {
        match data {
            [0x40..=0x7F, ..] => self.channel_data(client, data, at.instant),
            _ => match message::decode(data) {
                Some(request) if request.typ.class == CLASS_REQUEST => {
                    self.request(client, &request, at, relays)
                }
                Some(sent) if sent.typ.class == CLASS_INDICATION && sent.typ.method == METHOD_SEND => {
                    self.send(client, &sent, at.instant);
                }
                _ => self.figures.unwanted += 1,
            },
        }
    }

    /// The connection of a client has ended, and its allocation with it (RFC 8656 section 7).
    pub(in crate::ice) fn client_gone(&mut self, client: Client) {
        if let Some(allocation) = self.allocations.remove(&client) {
            self.close(&allocation);
        }
    }

    fn close(&mut self, allocation: &Allocation) {
        self.relays.remove(&allocation.relay);
        self.outputs.push_back(Output::Close(allocation.relay));
    }

    /// Ends what is over: to be called once in a while, and before ports are asked for.
    pub(in crate::ice) fn handle_timeout(&mut self, now: Instant) {
        let over: Vec<Client> = self
            .allocations
            .iter_mut()
            .filter_map(|(client, allocation)| {
                allocation.sweep(now);
                (allocation.ends <= now).then_some(*client)
            })
            .collect();
        over.into_iter().for_each(|client| self.client_gone(client));
        let outputs = &mut self.outputs;
        self.reserved.retain(|_, reserved| {
            let kept = reserved.ends > now;
            if !kept {
                outputs.push_back(Output::Close(reserved.relay.0));
            }
            kept
        });
        let allocations = &self.allocations;
        self.budgets
            .retain(|channel, _| allocations.values().any(|allocation| allocation.channel == *channel));
    }

    /// A datagram of a peer.
    pub(in crate::ice) fn handle_peer(
        &mut self,
        relay: RelayId,
        peer: SocketAddr,
        data: &[u8],
        now: Instant,
    ) {
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let Some((client, allocation)) =
            self.relays.get(&relay).and_then(|client| Some((*client, self.allocations.get(client)?)))
        else {
            return;
        };
        if allocation.ends <= now || !allocation.permits(peer.ip(), now) {
            self.figures.unwanted += 1;
            return;
        }
        let number = allocation.channel_of(peer, now);
        let channel = allocation.channel.clone();
        if !self.may_relay(&channel, data.len(), now) {
            return;
        }
        self.figures.to_clients += data.len() as u64;
        let packet = match number.zip(u16::try_from(data.len()).ok()) {
            Some((number, length)) => {
                let mut packet = Vec::with_capacity(4 + data.len().next_multiple_of(4));
                packet.extend_from_slice(&number.to_be_bytes());
                packet.extend_from_slice(&length.to_be_bytes());
                packet.extend_from_slice(data);
                if client.link != Link::Datagram {
                    packet.resize(packet.len().next_multiple_of(4), 0);
                }
                packet
            }
            None => message::data_indication(peer, data, TransactionId(rand::rng().random())),
        };
        self.outputs.push_back(Output::ToClient(client, packet));
    }

    /// Whether so much may be relayed for a channel; counts what may not.
    fn may_relay(&mut self, channel: &str, bytes: usize, now: Instant) -> bool {
        let Some(rate) = self.settings.bytes_per_second else { return true };
        if !self.budgets.contains_key(channel) {
            self.budgets.insert(channel.to_owned(), Budget::new(rate, now));
        }
        let may = self.budgets.get_mut(channel).is_none_or(|budget| budget.take(bytes, now));
        if !may {
            if self.figures.over_bitrate == 0 {
                tracing::warn!(
                    channel,
                    "a channel relays more than its quota; what is too much is dropped and counted"
                );
            }
            self.figures.over_bitrate += 1;
        }
        may
    }

    fn channel_data(&mut self, client: Client, frame: &[u8], now: Instant) {
        let (number, length, data) = match frame.split_first_chunk() {
            Some((&[a, b, c, d], data)) => {
                (u16::from_be_bytes([a, b]), usize::from(u16::from_be_bytes([c, d])), data)
            }
            None => return self.figures.unwanted += 1,
        };
        // over UDP the padding may be there or not
        let peer = self.allocations.get(&client).filter(|allocation| allocation.ends > now);
        let peer = peer.and_then(|allocation| allocation.peer_of(number, now));
        match (peer, data.get(..length)) {
            (Some(peer), Some(data)) => self.relay_to_peer(client, peer, data, now),
            _ => self.figures.unwanted += 1,
        }
    }

    fn send(&mut self, client: Client, sent: &Message, now: Instant) {
        let peer = message::peers(sent).first().copied().flatten();
        match (peer, message::value(sent, ATTR_DATA)) {
            (Some(peer), Some(data)) if message::not_understood(sent).is_empty() => {
                self.relay_to_peer(client, peer, data, now);
            }
            _ => self.figures.unwanted += 1,
        }
    }

    fn relay_to_peer(&mut self, client: Client, peer: SocketAddr, data: &[u8], now: Instant) {
        let allocation = self.allocations.get(&client).filter(|allocation| allocation.ends > now);
        let allocation = allocation.filter(|allocation| allocation.permits(peer.ip(), now));
        let Some((relay, channel)) = allocation.map(|found| (found.relay, found.channel.clone())) else {
            self.figures.unwanted += 1;
            return;
        };
        if data.len() > MAX_DATA {
            self.figures.too_long += 1;
        } else if self.may_relay(&channel, data.len(), now) {
            self.figures.to_peers += data.len() as u64;
            self.outputs.push_back(Output::ToPeer(relay, peer, data.to_vec()));
        }
    }

    fn request(&mut self, client: Client, request: &Message, at: At, relays: &mut dyn Relays) {
        let method = request.typ.method;
        let known = [METHOD_ALLOCATE, METHOD_REFRESH, METHOD_CREATE_PERMISSION, METHOD_CHANNEL_BIND];
        let (answer, key) = if method == METHOD_BINDING {
            let mapped: Box<dyn Setter> = Box::new(Address(ATTR_XORMAPPED_ADDRESS, client.address));
            (Self::understood(request).map(|()| vec![mapped, software()]), None)
        } else if !known.contains(&method) {
            (Err(Refused::new(CODE_BAD_REQUEST, "no such method")), None)
        } else {
            match self.authenticate(client, request, at) {
                Err(refused) => (Err(refused), None),
                Ok(user) => {
                    let answer = Self::understood(request).and_then(|()| match method {
                        METHOD_ALLOCATE => self.allocate(client, request, &user, at.instant, relays),
                        METHOD_REFRESH => self.refresh(client, request, &user, at.instant),
                        METHOD_CREATE_PERMISSION => self.permit(client, request, &user, at.instant),
                        _ => self.bind(client, request, &user, at.instant),
                    });
                    (answer, Some(user.key))
                }
            }
        };
        let key = key.as_deref();
        let packet = match answer {
            Ok(more) => message::success(request, more, key),
            Err(Refused { code, reason, more }) => {
                // the first of every client, without credentials, is no failure
                if code != CODE_UNAUTHORIZED || request.contains(ATTR_MESSAGE_INTEGRITY) {
                    self.figures.refused += 1;
                    let address = client.address;
                    tracing::debug!(%address, code = code.0, reason, method = %method, "TURN request refused");
                }
                message::error(request, code, reason, more, key)
            }
        };
        self.outputs.push_back(Output::ToClient(client, packet));
    }

    fn understood(request: &Message) -> Result<(), Refused> {
        let unknown = message::not_understood(request);
        if unknown.is_empty() {
            return Ok(());
        }
        let kinds = unknown.iter().flat_map(|kind| kind.value().to_be_bytes()).collect();
        let more: Vec<Box<dyn Setter>> = vec![Box::new(Raw(ATTR_UNKNOWN_ATTRIBUTES, kinds))];
        Err(Refused { more, ..Refused::new(CODE_UNKNOWN_ATTRIBUTE, "Unknown Attribute") })
    }

    /// Long-term credentials (RFC 8489 section 9.2.4). Their time must not be over when an allocation is made; it then lives
    /// on, because the permissions and refreshes of a running session carry the same username.
    fn authenticate(&self, client: Client, request: &Message, at: At) -> Result<User, Refused> {
        let challenge = |code, reason| Refused {
            more: vec![
                text_attribute(ATTR_REALM, REALM),
                text_attribute(ATTR_NONCE, &self.nonces.current(at.instant)),
            ],
            ..Refused::new(code, reason)
        };
        if !request.contains(ATTR_MESSAGE_INTEGRITY) {
            return Err(challenge(CODE_UNAUTHORIZED, "Unauthorized"));
        }
        let text =
            |kind, reason| message::text(request, kind).ok_or_else(|| Refused::new(CODE_BAD_REQUEST, reason));
        let username = text(ATTR_USERNAME, "USERNAME is missing")?;
        let realm = text(ATTR_REALM, "REALM is missing")?;
        let nonce = text(ATTR_NONCE, "NONCE is missing")?;
        if !self.nonces.is_good(nonce, at.instant) {
            return Err(challenge(CODE_STALE_NONCE, "Stale Nonce"));
        }
        let refused = || challenge(CODE_UNAUTHORIZED, "Unauthorized");
        let channel = TurnCredentials::channel(username).ok_or_else(refused)?;
        let password = self.credentials.password(username);
        let integrity =
            MessageIntegrity::new_long_term_integrity(username.to_owned(), REALM.to_owned(), password);
        if realm != REALM || integrity.check(&mut request.clone()).is_err() {
            return Err(refused());
        }
        let running = self
            .allocations
            .get(&client)
            .is_some_and(|allocation| allocation.username == username && allocation.ends > at.instant);
        if !running && self.credentials.is_current(username, at.wall) != Some(true) {
            tracing::warn!(address = %client.address, "a TURN credential whose time is over");
            return Err(challenge(CODE_UNAUTHORIZED, "the credential has expired"));
        }
        Ok(User { username: username.to_owned(), channel, key: integrity.0 })
    }

    /// The user's allocation over this client.
    fn mine(&mut self, client: Client, user: &User, now: Instant) -> Result<&mut Allocation, Refused> {
        match self.allocations.get_mut(&client).filter(|allocation| allocation.ends > now) {
            None => Err(Refused::new(CODE_ALLOC_MISMATCH, "there is no allocation")),
            Some(allocation) if allocation.username != user.username => {
                Err(Refused::new(CODE_WRONG_CREDENTIALS, "the allocation is another user's"))
            }
            Some(allocation) => Ok(allocation),
        }
    }

    fn allocate(
        &mut self,
        client: Client,
        request: &Message,
        user: &User,
        now: Instant,
        relays: &mut dyn Relays,
    ) -> Answer {
        self.handle_timeout(now);
        if let Some(allocation) = self.allocations.get(&client) {
            // the answer to the first may have been lost
            return match allocation.transaction == request.transaction_id {
                true => Ok(allocated(client, allocation, now)),
                false => Err(Refused::new(CODE_ALLOC_MISMATCH, "there is an allocation")),
            };
        }
        match message::value(request, ATTR_REQUESTED_TRANSPORT).and_then(<[u8]>::first) {
            None => return Err(Refused::new(CODE_BAD_REQUEST, "REQUESTED-TRANSPORT is missing")),
            Some(&UDP) => {}
            Some(_) => return Err(Refused::new(CODE_UNSUPPORTED_TRANS_PROTO, "relays are UDP")),
        }
        self.check_family(request, CODE_ADDR_FAMILY_NOT_SUPPORTED)?;
        let even = message::value(request, ATTR_EVEN_PORT).map(|value| value.first().copied().unwrap_or(0));
        let token = message::value(request, ATTR_RESERVATION_TOKEN);
        if token.is_some() && even.is_some() {
            return Err(Refused::new(CODE_BAD_REQUEST, "EVEN-PORT and RESERVATION-TOKEN exclude each other"));
        }
        let of_channel = self.allocations.values().filter(|other| other.channel == user.channel).count();
        if self.settings.per_channel.is_some_and(|most| of_channel >= most) {
            return Err(Refused::new(
                CODE_ALLOC_QUOTA_REACHED,
                "the channel has the most allocations that it can have",
            ));
        }
        let full = || Refused::new(CODE_INSUFFICIENT_CAPACITY, "no relay is free");
        if self.allocations.len() + self.reserved.len() >= MAX_ALLOCATIONS {
            return Err(full());
        }
        let (relay, kept) = match token {
            Some(token) => {
                let token: [u8; 8] = token.try_into().map_err(|_| full())?;
                if self.reserved.get(&token).is_none_or(|reserved| reserved.username != user.username) {
                    return Err(full());
                }
                (self.reserved.remove(&token).map(|reserved| reserved.relay).ok_or_else(full)?, None)
            }
            None => {
                let pair = even.is_some_and(|flags| flags & 0x80 != 0);
                let opened = relays.open(even.is_some(), pair).map_err(|error| {
                    tracing::warn!(%error, "no relay: --turn-relay-ports has no port that is free");
                    full()
                })?;
                let kept = opened.next.map(|relay| {
                    let token: [u8; 8] = rand::rng().random();
                    let username = user.username.clone();
                    self.reserved.insert(token, Reserved { relay, username, ends: now + RESERVATION });
                    token
                });
                (opened.relay, kept)
            }
        };
        let ends = now + lifetime(request).unwrap_or(LIFETIME).clamp(LIFETIME, LONGEST_LIFETIME);
        let allocation = Allocation::new(
            user.username.clone(),
            user.channel.clone(),
            request.transaction_id,
            relay,
            kept,
            ends,
        );
        let answer = allocated(client, &allocation, now);
        self.relays.insert(relay.0, client);
        self.allocations.insert(client, allocation);
        self.figures.allocated += 1;
        tracing::debug!(address = %client.address, relay = %relay.1, channel = user.channel, "TURN allocation");
        Ok(answer)
    }

    fn check_family(&self, request: &Message, code: ErrorCode) -> Result<(), Refused> {
        let ours = if self.settings.relays.is_ipv4() { 1 } else { 2 };
        let wanted = message::value(request, ATTR_REQUESTED_ADDRESS_FAMILY).and_then(<[u8]>::first);
        match wanted.is_none_or(|wanted| *wanted == ours) {
            true => Ok(()),
            false => Err(Refused::new(code, "relays are of the other address family")),
        }
    }

    fn refresh(&mut self, client: Client, request: &Message, user: &User, now: Instant) -> Answer {
        self.check_family(request, CODE_PEER_ADDR_FAMILY_MISMATCH)?;
        let wanted = lifetime(request).unwrap_or(LIFETIME);
        let allocation = match self.mine(client, user, now) {
            Ok(allocation) => allocation,
            // that it is gone is what was wanted
            Err(refused) if refused.code == CODE_ALLOC_MISMATCH && wanted.is_zero() => {
                return Ok(vec![seconds(Duration::ZERO), software()]);
            }
            Err(refused) => return Err(refused),
        };
        if wanted.is_zero() {
            self.client_gone(client);
            return Ok(vec![seconds(Duration::ZERO), software()]);
        }
        let granted = wanted.clamp(LIFETIME, LONGEST_LIFETIME);
        allocation.ends = now + granted;
        Ok(vec![seconds(granted), software()])
    }

    /// The peers of a request, all of which may be reached.
    fn wanted_peers(&self, request: &Message) -> Result<Vec<SocketAddr>, Refused> {
        let bad = || Refused::new(CODE_BAD_REQUEST, "XOR-PEER-ADDRESS is missing or cannot be read");
        let peers: Vec<SocketAddr> = message::peers(request)
            .into_iter()
            .collect::<Option<_>>()
            .filter(|all: &Vec<_>| !all.is_empty())
            .ok_or_else(bad)?;
        for peer in &peers {
            if peer.is_ipv4() != self.settings.relays.is_ipv4() {
                return Err(Refused::new(
                    CODE_PEER_ADDR_FAMILY_MISMATCH,
                    "the peer is of another address family than the relay",
                ));
            }
            if !may_reach(peer.ip(), self.settings.loopback) {
                return Err(Refused::new(CODE_FORBIDDEN, "Forbidden IP"));
            }
        }
        Ok(peers)
    }

    fn permit(&mut self, client: Client, request: &Message, user: &User, now: Instant) -> Answer {
        let peers = self.wanted_peers(request)?;
        match self.mine(client, user, now)?.permit(&peers, now) {
            true => Ok(vec![software()]),
            false => Err(Refused::new(CODE_INSUFFICIENT_CAPACITY, "the allocation has too many peers")),
        }
    }

    fn bind(&mut self, client: Client, request: &Message, user: &User, now: Instant) -> Answer {
        let peers = self.wanted_peers(request)?;
        let number = message::number(request, ATTR_CHANNEL_NUMBER)
            .and_then(|value| u16::try_from(value >> 16).ok())
            .filter(|number| (0x4000..=0x7FFF).contains(number));
        let number = number
            .ok_or_else(|| Refused::new(CODE_BAD_REQUEST, "CHANNEL-NUMBER must be from 0x4000 to 0x7FFF"))?;
        let allocation = self.mine(client, user, now)?;
        match allocation.bind(number, peers[0], now) {
            Ok(()) => Ok(vec![software()]),
            Err(NotBound::Taken) => {
                Err(Refused::new(CODE_BAD_REQUEST, "the channel or the peer is bound to another"))
            }
            Err(NotBound::Full) => {
                Err(Refused::new(CODE_INSUFFICIENT_CAPACITY, "the allocation has too many peers"))
            }
        }
    }
}

fn software() -> Box<dyn Setter> {
    text_attribute(ATTR_SOFTWARE, SOFTWARE)
}

fn seconds(lifetime: Duration) -> Box<dyn Setter> {
    let seconds = u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX);
    Box::new(Raw(ATTR_LIFETIME, seconds.to_be_bytes().to_vec()))
}

fn lifetime(request: &Message) -> Option<Duration> {
    message::number(request, ATTR_LIFETIME).map(|seconds| Duration::from_secs(seconds.into()))
}

/// What is said of a new allocation.
fn allocated(client: Client, allocation: &Allocation, now: Instant) -> Vec<Box<dyn Setter>> {
    let mut answer: Vec<Box<dyn Setter>> = vec![
        Box::new(Address(ATTR_XOR_RELAYED_ADDRESS, allocation.relayed)),
        seconds(allocation.ends.saturating_duration_since(now)),
        Box::new(Address(ATTR_XORMAPPED_ADDRESS, client.address)),
    ];
    answer.extend(
        allocation
            .token
            .map(|token| -> Box<dyn Setter> { Box::new(Raw(ATTR_RESERVATION_TOKEN, token.to_vec())) }),
    );
    answer.push(software());
    answer
}
