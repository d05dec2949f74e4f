//! One STUN or TURN server as it is asked over one socket or one stream (RFC 8489, RFC 8656).

use crate::figures::{RelayProtocol, ServerFigures};
use bytes::BytesMut;
use rtc_crypto::RTCCryptoProvider;
use rtc_shared::error::Error;
use rtc_shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use rtc_stun::error_code::{
    CODE_ALLOC_MISMATCH, CODE_STALE_NONCE, CODE_UNAUTHORIZED, CODE_WRONG_CREDENTIALS, ErrorCodeAttribute,
};
use rtc_stun::message::{
    CLASS_ERROR_RESPONSE, CLASS_INDICATION, CLASS_REQUEST, CLASS_SUCCESS_RESPONSE, Getter,
    METHOD_CHANNEL_BIND, METHOD_CREATE_PERMISSION, METHOD_REFRESH, Message, MessageClass,
};
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

/// A request is repeated after 200 ms, 400 ms, … over UDP.
const RETRANSMIT_MS: u64 = 200;

/// A NAT forgets a mapping that is silent, many after 30 s (RFC 8445, section 11): a relay and a reflexive address that
/// wait for a master are spoken for so often.
pub(crate) const REFRESH_CAP: Duration = Duration::from_secs(25);

/// Requests whose answers are waited for, to know how long they take; of the oldest it is not known then.
const MAX_ASKED: usize = 16;

/// Requests of a server's that are made again after it refused them.
const MAX_RETRIES: u32 = 16;

/// An address found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The socket `base` is seen as `address`.
    Reflexive { base: SocketAddr, address: SocketAddr },
    /// What is sent to `address` arrives through a server, which is reached by `protocol` from `base`.
    Relayed { base: SocketAddr, address: SocketAddr, protocol: RelayProtocol },
}

/// What a peer sent through a relay.
pub(crate) struct Relayed {
    /// The address on the relay that it was sent to.
    pub(crate) to: SocketAddr,
    pub(crate) peer: SocketAddr,
    pub(crate) data: BytesMut,
}

/// What a server, or its silence, leads to.
pub(crate) enum Told {
    Found(Found),
    Arrived(Relayed),
    /// It gives nothing, in words.
    Failed(String),
    /// It did not answer within the time of a transaction.
    Silent,
}

/// How a server is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Udp {
        base: SocketAddr,
        address: SocketAddr,
    },
    /// The stream of this number in [`crate::Config::turn_streams`].
    Stream {
        stream: usize,
        protocol: RelayProtocol,
    },
}

impl Way {
    /// Addresses for who must have some: a tunnel through a proxy has none that we know.
    fn addresses(self) -> (SocketAddr, SocketAddr) {
        match self {
            Self::Udp { base, address } => (base, address),
            Self::Stream { .. } => {
                let none = SocketAddr::from(([0, 0, 0, 0], 0));
                (none, none)
            }
        }
    }

    fn protocol(self) -> RelayProtocol {
        match self {
            Self::Udp { .. } => RelayProtocol::Udp,
            Self::Stream { protocol, .. } => protocol,
        }
    }

    fn transport(self) -> TransportProtocol {
        match self {
            Self::Udp { .. } => TransportProtocol::UDP,
            // Requests are sent once over it.
            Self::Stream { .. } => TransportProtocol::TCP,
        }
    }
}

type TransactionId = [u8; 12];

/// Class and transaction of a STUN message (RFC 8489, section 5); `None`: it is none, but media.
fn stun(data: &[u8]) -> Option<(MessageClass, TransactionId)> {
    let [first, second, _, _, _, _, _, _, transaction @ ..] = data else { return None };
    if first & 0xc0 != 0 {
        return None;
    }
    let class = match (first & 1, second & 0x10) {
        (0, 0) => CLASS_REQUEST,
        (0, _) => CLASS_INDICATION,
        (_, 0) => CLASS_SUCCESS_RESPONSE,
        _ => CLASS_ERROR_RESPONSE,
    };
    Some((class, *transaction.first_chunk()?))
}

pub(crate) struct Server {
    pub(crate) way: Way,
    /// For messages.
    name: String,
    client: Client,
    pub(crate) turn: bool,
    pub(crate) relayed: Option<SocketAddr>,
    /// It has answered anything.
    pub(crate) answered: bool,
    /// Peers that may send through the relay, or are being let in.
    permitted: Vec<SocketAddr>,
    /// When it is full the datagram is dropped.
    waiting: VecDeque<(SocketAddr, Vec<u8>)>,
    /// Peers by the number of their channel: one that has to be bound again meanwhile is still used by the server.
    channels: BTreeMap<u16, SocketAddr>,
    retries: u32,
    requests_sent: u64,
    responses_received: u64,
    total_round_trip_time: Duration,
    /// Transactions and when they were last sent.
    asked: VecDeque<(TransactionId, Instant)>,
    /// The time of the newest input: what is to be sent follows from it.
    now: Instant,
    useful: bool,
    /// Why the relay will not last, in words: the server does not take our credential any more, say.
    pub(crate) ends: Option<String>,
}

impl Server {
    /// Asks for a relay, or without credentials for the reflexive address.
    pub(crate) fn ask(
        way: Way,
        name: String,
        credentials: Option<(String, String)>,
        permitted: Vec<SocketAddr>,
        provider: &Arc<dyn RTCCryptoProvider>,
        now: Instant,
    ) -> Result<Self, Error> {
        let turn = credentials.is_some();
        let (username, password) = credentials.unwrap_or_default();
        let (base, address) = way.addresses();
        let address = address.to_string();
        let config = ClientConfig {
            stun_serv_addr: address.clone(),
            turn_serv_addr: if turn { address } else { String::new() },
            local_addr: base,
            transport_protocol: way.transport(),
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
        Ok(Self {
            way,
            name,
            client,
            turn,
            relayed: None,
            answered: false,
            permitted,
            waiting: VecDeque::new(),
            channels: BTreeMap::new(),
            retries: 0,
            requests_sent: 0,
            responses_received: 0,
            total_round_trip_time: Duration::ZERO,
            asked: VecDeque::new(),
            now,
            useful: false,
            ends: None,
        })
    }

    pub(crate) fn protocol(&self) -> RelayProtocol {
        self.way.protocol()
    }

    /// Takes a message of the server's.
    pub(crate) fn read(&mut self, data: &[u8], now: Instant, told: &mut Vec<Told>) {
        self.answered = true;
        self.heard(data, now);
        if self.relayed.is_some()
            && let Some(refused) = self.refusal(data)
        {
            self.ends.get_or_insert(refused);
        }
        let (local_addr, peer_addr) = self.way.addresses();
        let message = TaggedBytesMut {
            now,
            transport: TransportContext {
                local_addr,
                peer_addr,
                transport_protocol: self.way.transport(),
                ecn: None,
            },
            message: BytesMut::from(data),
        };
        match self.client.handle_read(message) {
            Ok(()) => {}
            Err(Error::ErrChannelBindNotFound) => told.extend(self.channel_data(data).map(Told::Arrived)),
            Err(error) => {
                tracing::debug!(%error, server = self.name, "message of a STUN or TURN server not understood");
            }
        }
        self.events(now, told);
    }

    /// Why the relay will not last, if this message says so. A credential that has ended is refused for as long as it is
    /// shown, and another one may not be shown: of an allocation all requests must have the same user (RFC 8656, section 5).
    fn refusal(&self, data: &[u8]) -> Option<String> {
        // Media, which is nearly all that comes, is not copied: of an error the class is 0b11 (RFC 8489, section 5).
        if data.first()? & 0xc1 != 0x01 || data.get(1)? & 0x10 == 0 {
            return None;
        }
        let mut message = Message { raw: data.to_vec(), ..Message::default() };
        message.decode().ok()?;
        if message.typ.class != CLASS_ERROR_RESPONSE || !self.client.has_transaction(&message.transaction_id)
        {
            return None;
        }
        let mut error = ErrorCodeAttribute::default();
        error.get_from(&message).ok()?;
        let credential = error.code == CODE_UNAUTHORIZED || error.code == CODE_WRONG_CREDENTIALS;
        let what = match message.typ.method {
            // Of an allocation mismatch nothing is left that could be replaced in time: another mapping of a NAT's, say.
            METHOD_REFRESH if error.code != CODE_STALE_NONCE && error.code != CODE_ALLOC_MISMATCH => {
                "keep the relay"
            }
            METHOD_CREATE_PERMISSION if credential => "let the master send through the relay",
            METHOD_CHANNEL_BIND if credential => "bind a channel",
            _ => return None,
        };
        Some(format!("the TURN server {} refuses to {what}: {error}", self.name))
    }

    /// Takes note of an answer.
    fn heard(&mut self, data: &[u8], now: Instant) {
        self.now = now;
        let Some((class, transaction)) = stun(data) else {
            return;
        };
        if class != CLASS_SUCCESS_RESPONSE && class != CLASS_ERROR_RESPONSE {
            return;
        }
        self.responses_received += 1;
        if let Some(place) = self.asked.iter().position(|(known, _)| *known == transaction)
            && let Some((_, at)) = self.asked.remove(place)
        {
            self.total_round_trip_time += now.saturating_duration_since(at);
        }
    }

    /// Takes note of what is sent.
    fn said(&mut self, data: &[u8]) {
        let Some((CLASS_REQUEST, transaction)) = stun(data) else {
            return;
        };
        self.requests_sent += 1;
        self.asked.retain(|(known, _)| *known != transaction);
        if self.asked.len() >= MAX_ASKED {
            self.asked.pop_front();
        }
        self.asked.push_back((transaction, self.now));
    }

    /// What came of it.
    pub(crate) fn figures(&self) -> ServerFigures {
        let url = match self.way {
            Way::Udp { address, .. } if self.turn => format!("turn:{address}?transport=udp"),
            Way::Udp { address, .. } => format!("stun:{address}"),
            Way::Stream { .. } => self.name.clone(),
        };
        ServerFigures {
            url,
            protocol: self.protocol(),
            turn: self.turn,
            requests_sent: self.requests_sent,
            responses_received: self.responses_received,
            total_round_trip_time: self.total_round_trip_time,
            useful: self.useful,
        }
    }

    fn events(&mut self, now: Instant, told: &mut Vec<Told>) {
        let (base, _) = self.way.addresses();
        while let Some(event) = self.client.poll_event() {
            match event {
                Event::BindingResponse(_, address) if !self.turn => {
                    self.useful = true;
                    told.push(Told::Found(Found::Reflexive { base, address }));
                }
                Event::AllocateResponse(_, address) => {
                    self.relayed = Some(address);
                    self.useful = true;
                    let protocol = self.protocol();
                    told.push(Told::Found(Found::Relayed { base, address, protocol }));
                    self.permit_again(now);
                }
                Event::AllocateError(_, error) | Event::BindingError(_, error) => {
                    told.push(Told::Failed(format!("{}: {error}", self.name)));
                }
                Event::TransactionTimeout(_) if self.turn && self.relayed.is_none() => {
                    told.push(Told::Failed(format!("{}: no answer", self.name)));
                    told.push(Told::Silent);
                }
                Event::CreatePermissionResponse(_, peer) => {
                    let (now_permitted, rest): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut self.waiting)
                        .into_iter()
                        .partition(|(to, _)| to.ip() == peer.ip());
                    self.waiting = rest;
                    for (to, data) in now_permitted {
                        self.send_through(to, &data, now);
                    }
                }
                Event::CreatePermissionError(_, error) => {
                    tracing::debug!(%error, server = self.name, "no permission through the relay");
                    if self.retries < MAX_RETRIES && self.ends.is_none() {
                        self.retries += 1;
                        if error.to_string().contains("437") {
                            // The server does not know the relay any more, or not behind this mapping.
                            self.relayed = None;
                            if let Err(error) = self.client.allocate(now) {
                                tracing::debug!(%error, "relay not asked for again");
                            }
                        }
                        // With the nonce that came with the refusal.
                        self.permit_again(now);
                    }
                }
                Event::TransactionTimeout(_) if self.turn => {
                    told.push(Told::Silent);
                    if self.retries < MAX_RETRIES {
                        self.retries += 1;
                        self.permit_again(now);
                    }
                }
                Event::DataIndicationOrChannelData(channel, peer, data) => {
                    if let Some(channel) = channel
                        && self.channels.len() < MAX_CHANNELS
                    {
                        self.channels.insert(channel.0, peer);
                    }
                    if let Some(relayed) = self.relayed {
                        told.push(Told::Arrived(Relayed { to: relayed, peer, data }));
                    }
                }
                _ => {}
            }
        }
    }

    /// ChannelData (RFC 8656, section 12.4) of a channel that was bound before.
    fn channel_data(&self, data: &[u8]) -> Option<Relayed> {
        let [first, second, high, low, ..] = *data else {
            return None;
        };
        let peer = *self.channels.get(&u16::from_be_bytes([first, second]))?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let data = BytesMut::from(data.get(4..4 + length)?);
        Some(Relayed { to: self.relayed?, peer, data })
    }

    /// Lets a peer send through the relay, also if that is still being made.
    pub(crate) fn permit(&mut self, peer: SocketAddr, now: Instant) {
        self.now = now;
        if !self.turn || self.permitted.contains(&peer) {
            return;
        }
        if self.relayed.is_some_and(|relayed| relayed.is_ipv4() != peer.is_ipv4()) {
            return;
        }
        self.permitted.push(peer);
        self.ask_permission(peer, now);
    }

    fn permit_again(&mut self, now: Instant) {
        for peer in self.permitted.clone() {
            self.ask_permission(peer, now);
        }
    }

    fn ask_permission(&mut self, peer: SocketAddr, now: Instant) {
        let Some(relayed) = self.relayed.filter(|relayed| relayed.is_ipv4() == peer.is_ipv4()) else {
            return;
        };
        let asked = self.client.relay(relayed).and_then(|mut relay| relay.create_permission(now, peer));
        if let Err(error) = asked {
            tracing::debug!(%error, %peer, "permission not asked for");
        }
    }

    /// Sends to `peer` from the relay.
    pub(crate) fn send(&mut self, peer: SocketAddr, data: &[u8], now: Instant) {
        self.now = now;
        self.permit(peer, now);
        self.send_through(peer, data, now);
    }

    fn send_through(&mut self, peer: SocketAddr, data: &[u8], now: Instant) {
        let Some(relayed) = self.relayed else {
            return;
        };
        match self.client.relay(relayed).and_then(|mut relay| relay.send_to(now, data, peer)) {
            Ok(()) => {}
            Err(Error::ErrNoPermission) => {
                if self.waiting.len() < MAX_WAITING {
                    self.waiting.push_back((peer, data.to_vec()));
                }
            }
            Err(error) => tracing::debug!(%error, %peer, "not sent through the relay"),
        }
    }

    /// Asks for the reflexive address again, so that it lasts.
    pub(crate) fn ask_again(&mut self, now: Instant) {
        self.now = now;
        if let Err(error) = self.client.send_binding_request(now) {
            tracing::debug!(%error, "reflexive address not asked for again");
        }
    }

    /// The next message to it.
    pub(crate) fn poll_transmit(&mut self) -> Option<BytesMut> {
        let data = self.client.poll_write()?.message;
        self.said(&data);
        Some(data)
    }

    pub(crate) fn poll_timeout(&mut self) -> Option<Instant> {
        self.client.poll_timeout()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, told: &mut Vec<Told>) {
        self.now = now;
        if let Err(error) = self.client.handle_timeout(now) {
            tracing::debug!(%error, "TURN client");
        }
        self.events(now, told);
    }

    /// Gives the relay back.
    pub(crate) fn close(&mut self, now: Instant) {
        if let Some(relayed) = self.relayed.take()
            && let Ok(mut relay) = self.client.relay(relayed)
            && let Err(error) = relay.close(now)
        {
            tracing::debug!(%error, "relay not given back");
        }
    }
}
