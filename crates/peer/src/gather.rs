//! Reflexive and relayed candidates: STUN and TURN servers asked from every socket, and TURN servers over streams (RFC 8445,
//! section 5.1.1; RFC 8656).

use crate::config::{IceServer, TurnStream};
use crate::figures::{RelayProtocol, ServerFigures};
use crate::server::{Found, REFRESH_CAP, Relayed, Server, Told, Way};
use crate::streams::{Brought, StreamTransmit, Streams};
use crate::transmit::Transmit;
use rtc_crypto::RTCCryptoProvider;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Failures that are kept for who asks. What comes later is left out: it would say the same.
const MAX_FAILURES: usize = 64;

/// The servers of one connection.
pub(crate) struct Gatherer {
    provider: Arc<dyn RTCCryptoProvider>,
    servers: Vec<Server>,
    streams: Streams,
    /// Peers that may send through relays, also through those that are still to come: the connection bounds them.
    peers: Vec<SocketAddr>,
    found: VecDeque<Found>,
    /// To be sent before anything else.
    first: VecDeque<Transmit>,
    /// What failed, in words. At most [`MAX_FAILURES`].
    pub(crate) failures: Vec<String>,
    /// When reflexive addresses are asked for again, so that they last; `None` once there is a path.
    again_at: Option<Instant>,
    /// What came of servers that are asked no longer: at most one for each stream.
    gone: Vec<ServerFigures>,
    /// Addresses on relays whose stream has ended, until they are asked for.
    lost: Vec<(SocketAddr, String)>,
}

impl Gatherer {
    /// Asks every server from every socket that can reach it, and plans the streams.
    pub(crate) fn new(
        servers: &[IceServer],
        turn_streams: &[TurnStream],
        sockets: &[SocketAddr],
        relay_only: bool,
        provider: &Arc<dyn RTCCryptoProvider>,
        now: Instant,
    ) -> Self {
        let mut gatherer = Self {
            provider: Arc::clone(provider),
            servers: Vec::new(),
            streams: Streams::new(turn_streams, now),
            peers: Vec::new(),
            found: VecDeque::new(),
            first: VecDeque::new(),
            failures: Vec::new(),
            again_at: Some(now + REFRESH_CAP),
            gone: Vec::new(),
            lost: Vec::new(),
        };
        for server in servers {
            let turn = server.credentials.is_some();
            if relay_only && !turn {
                continue;
            }
            for &base in sockets {
                let way = Way::Udp { base, address: server.address };
                let known = |known: &Server| known.way == way && known.turn == turn;
                if !reaches(base, server.address, sockets) || gatherer.servers.iter().any(known) {
                    continue;
                }
                let name = server.address.to_string();
                gatherer.ask(way, name, server.credentials.clone(), now);
            }
        }
        gatherer
    }

    fn ask(&mut self, way: Way, name: String, credentials: Option<(String, String)>, now: Instant) {
        let asked = Server::ask(way, name.clone(), credentials, self.peers.clone(), &self.provider, now);
        match asked {
            Ok(server) => self.servers.push(server),
            Err(error) => self.failed(format!("{name}: {error}")),
        }
    }

    fn failed(&mut self, failure: String) {
        if self.failures.len() < MAX_FAILURES {
            self.failures.push(failure);
        }
    }

    /// The next address that was found.
    pub(crate) fn poll_found(&mut self) -> Option<Found> {
        self.found.pop_front()
    }

    /// Addresses on relays that are gone with their stream, and why.
    pub(crate) fn take_lost(&mut self) -> Vec<(SocketAddr, String)> {
        std::mem::take(&mut self.lost)
    }

    /// Whether datagrams from `remote` to the socket `local` are a server's.
    pub(crate) fn is_server(&self, local: SocketAddr, remote: SocketAddr) -> bool {
        let way = Way::Udp { base: local, address: remote };
        self.servers.iter().any(|server| server.way == way)
    }

    /// Takes a datagram of a server's.
    pub(crate) fn read(
        &mut self,
        local: SocketAddr,
        remote: SocketAddr,
        data: &[u8],
        now: Instant,
    ) -> Vec<Relayed> {
        let way = Way::Udp { base: local, address: remote };
        let mut arrived = Vec::new();
        for index in 0..self.servers.len() {
            if self.servers[index].way == way {
                let mut told = Vec::new();
                self.servers[index].read(data, now, &mut told);
                self.take(index, told, now, &mut arrived);
            }
        }
        arrived
    }

    /// A stream leads to its server.
    pub(crate) fn stream_opened(&mut self, stream: usize, now: Instant) {
        let Some(server) = self.streams.opened(stream) else {
            return;
        };
        let way = Way::Stream { stream, protocol: server.protocol };
        let (name, credentials) = (server.name.clone(), server.credentials.clone());
        self.ask(way, name, Some(credentials), now);
    }

    /// Bytes of a stream.
    pub(crate) fn stream_read(&mut self, stream: usize, bytes: &[u8], now: Instant) -> Vec<Relayed> {
        self.streams.push(stream, bytes);
        let mut arrived = Vec::new();
        while let Some(brought) = self.streams.next(stream, now) {
            match brought {
                Brought::Message(message) => {
                    let Some(index) = self.of_stream(stream) else {
                        break;
                    };
                    let mut told = Vec::new();
                    self.servers[index].read(&message, now, &mut told);
                    self.take(index, told, now, &mut arrived);
                }
                Brought::Broken(failure) => self.lose(stream, failure),
            }
        }
        arrived
    }

    /// A stream has ended, or could not be opened.
    pub(crate) fn stream_closed(&mut self, stream: usize, reason: &str, now: Instant) {
        if let Some(failure) = self.streams.closed(stream, reason, now) {
            self.lose(stream, failure);
        }
    }

    fn of_stream(&self, stream: usize) -> Option<usize> {
        let it = |server: &Server| matches!(server.way, Way::Stream { stream: it, .. } if it == stream);
        self.servers.iter().position(it)
    }

    /// What was had over a stream is gone.
    fn lose(&mut self, stream: usize, failure: String) {
        if let Some(index) = self.of_stream(stream) {
            let server = self.servers.remove(index);
            add(&mut self.gone, server.figures());
            self.lost.extend(server.relayed.map(|relayed| (relayed, failure.clone())));
        }
        self.failed(failure);
    }

    fn take(&mut self, index: usize, told: Vec<Told>, now: Instant, arrived: &mut Vec<Relayed>) {
        let mut broken = None;
        for told in told {
            let stream = match self.servers[index].way {
                Way::Stream { stream, .. } => Some(stream),
                Way::Udp { .. } => None,
            };
            match (told, stream) {
                (Told::Found(found), stream) => {
                    if let Some(stream) = stream {
                        self.streams.proven(stream);
                    }
                    self.found.push_back(found);
                }
                (Told::Arrived(relayed), _) => arrived.push(relayed),
                // TCP has sent it again and again: nobody is there any more, or nobody who answers.
                (Told::Silent, Some(stream)) => broken = Some((stream, "no answer to a request".to_owned())),
                (Told::Failed(failure), Some(stream)) => {
                    // With the name already.
                    let reason = failure.split_once(": ").map_or(failure.as_str(), |(_, reason)| reason);
                    broken = Some((stream, reason.to_owned()));
                }
                (Told::Failed(failure), None) => self.failed(failure),
                (Told::Silent, None) => {}
            }
        }
        if let Some((stream, reason)) = broken
            && let Some(failure) = self.streams.broken(stream, &reason, now)
        {
            self.lose(stream, failure);
        }
    }

    /// Lets a peer send through every relay, those that are still being made included.
    pub(crate) fn permit_all(&mut self, peer: SocketAddr, now: Instant) {
        if !self.peers.contains(&peer) {
            self.peers.push(peer);
        }
        for server in &mut self.servers {
            server.permit(peer, now);
        }
    }

    fn relay(&self, relayed: SocketAddr) -> Option<&Server> {
        self.servers.iter().find(|server| server.relayed == Some(relayed))
    }

    /// How the relay is reached that has this address, if it is one of ours.
    pub(crate) fn protocol(&self, relayed: SocketAddr) -> Option<RelayProtocol> {
        self.relay(relayed).map(Server::protocol)
    }

    /// Why the relay of this address will not last, if it will not.
    pub(crate) fn ends(&self, relayed: SocketAddr) -> Option<&str> {
        self.relay(relayed)?.ends.as_deref()
    }

    /// Whether servers were asked over UDP, and none of them answered.
    pub(crate) fn udp_is_silent(&self) -> bool {
        let mut asked =
            self.servers.iter().filter(|server| server.protocol() == RelayProtocol::Udp).peekable();
        asked.peek().is_some() && asked.all(|server| !server.answered)
    }

    /// What came of each server, over all sockets that it is asked from; those over streams also while they are not open.
    pub(crate) fn figures(&self) -> Vec<ServerFigures> {
        let mut all = Vec::new();
        let udp = self.servers.iter().filter(|server| server.protocol() == RelayProtocol::Udp);
        udp.for_each(|server| add(&mut all, server.figures()));
        for stream in self.streams.servers() {
            let (url, protocol) = (stream.name.clone(), stream.protocol);
            let none = ServerFigures {
                url,
                protocol,
                turn: true,
                requests_sent: 0,
                responses_received: 0,
                total_round_trip_time: Duration::ZERO,
                useful: false,
            };
            add(&mut all, none);
        }
        let streams = self.servers.iter().filter(|server| server.protocol() != RelayProtocol::Udp);
        streams.map(Server::figures).chain(self.gone.iter().cloned()).for_each(|one| add(&mut all, one));
        all
    }

    /// Sends to `peer` from the relayed address `relayed`.
    pub(crate) fn send(&mut self, relayed: SocketAddr, peer: SocketAddr, data: &[u8], now: Instant) {
        if let Some(server) = self.servers.iter_mut().find(|server| server.relayed == Some(relayed)) {
            server.send(peer, data, now);
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
        self.servers.iter_mut().find_map(|server| match server.way {
            Way::Udp { base, address } => {
                server.poll_transmit().map(|data| Transmit { local: base, remote: address, data })
            }
            Way::Stream { .. } => None,
        })
    }

    pub(crate) fn poll_stream_transmit(&mut self) -> Option<StreamTransmit> {
        self.flush_streams();
        self.streams.poll_transmit()
    }

    /// What servers are to be told goes into their streams.
    fn flush_streams(&mut self) {
        for server in &mut self.servers {
            if let Way::Stream { stream, .. } = server.way {
                while let Some(data) = server.poll_transmit() {
                    self.streams.send(stream, data);
                }
            }
        }
    }

    pub(crate) fn poll_timeout(&mut self) -> Option<Instant> {
        let servers = self.servers.iter_mut().filter_map(Server::poll_timeout).min();
        [servers, self.again_at, self.streams.poll_timeout()].into_iter().flatten().min()
    }

    /// There is a path: what else was gathered may be forgotten.
    pub(crate) fn settled(&mut self) {
        self.again_at = None;
    }

    /// Gives back the relays over streams but those that are `used`: they stood by for UDP, and another connection makes its own.
    pub(crate) fn release_streams(&mut self, used: &[SocketAddr], now: Instant) {
        for stream in 0..self.streams.len() {
            let index = self.of_stream(stream);
            let relayed = index.and_then(|index| self.servers[index].relayed);
            if relayed.is_some_and(|relayed| used.contains(&relayed)) {
                continue;
            }
            if let Some(index) = index {
                self.servers[index].close(now);
                self.flush_streams();
                let server = self.servers.remove(index);
                add(&mut self.gone, server.figures());
            }
            self.streams.release(stream);
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.again_at.is_some_and(|at| at <= now) {
            self.again_at = Some(now + REFRESH_CAP);
            for server in self.servers.iter_mut().filter(|server| !server.turn) {
                server.ask_again(now);
            }
        }
        for (stream, failure) in self.streams.handle_timeout(now) {
            self.lose(stream, failure);
        }
        // From the last: one whose stream is given up goes.
        for index in (0..self.servers.len()).rev() {
            let mut told = Vec::new();
            self.servers[index].handle_timeout(now, &mut told);
            self.take(index, told, now, &mut Vec::new());
        }
    }

    /// Gives the relays back.
    pub(crate) fn close(&mut self, now: Instant) {
        for server in &mut self.servers {
            server.close(now);
        }
        self.flush_streams();
        for stream in 0..self.streams.len() {
            self.streams.release(stream);
        }
    }
}

/// Adds what came of a server to those of the same.
fn add(all: &mut Vec<ServerFigures>, one: ServerFigures) {
    let same = |known: &&mut ServerFigures| known.url == one.url && known.protocol == one.protocol;
    match all.iter_mut().find(same) {
        Some(known) => {
            known.requests_sent += one.requests_sent;
            known.responses_received += one.responses_received;
            known.total_round_trip_time += one.total_round_trip_time;
            known.useful |= one.useful;
        }
        None => all.push(one),
    }
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
