//! One transport of a connection: ICE finds a path, DTLS brings keys, SRTP opens packets.

use crate::dtls::{Dtls, Keys};
use crate::event::Stage;
use crate::figures::{Pair, RelayProtocol, Side, Traffic};
use crate::sdp::RemoteTransport;
use crate::server::Found;
use crate::srtp::Opened;
use crate::transmit::Transmit;
use bytes::BytesMut;
use rtc_crypto::RTCCryptoProvider;
use rtc_dtls::crypto::Certificate;
use rtc_ice::agent::agent_config::AgentConfig;
use rtc_ice::agent::{Agent, Event as IceEvent};
use rtc_ice::candidate::candidate_host::CandidateHostConfig;
use rtc_ice::candidate::candidate_relay::CandidateRelayConfig;
use rtc_ice::candidate::candidate_server_reflexive::CandidateServerReflexiveConfig;
use rtc_ice::candidate::{Candidate, CandidateConfig, unmarshal_candidate};
use rtc_ice::mdns::MulticastDnsMode;
use rtc_ice::state::ConnectionState;
use rtc_shared::error::Error;
use rtc_shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use rtc_stun::attributes::{
    ATTR_FINGERPRINT, ATTR_MESSAGE_INTEGRITY, ATTR_MESSAGE_INTEGRITY_SHA256, ATTR_USERNAME,
};
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{CLASS_REQUEST, CLASS_SUCCESS_RESPONSE, Message};
use sansio::Protocol;
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes of media kept while there are no keys: two large key frames.
const MAX_EARLY: usize = 4 << 20;

/// What a kept packet costs beside its bytes.
const EARLY: usize = 64;

/// How often ICE is told that media arrive, which counts as a sign of life.
const SIGN_OF_LIFE: Duration = Duration::from_millis(200);

/// Without a sign of life for so long, the path is said to be lost.
const DISCONNECTED: Duration = Duration::from_secs(4);

/// Between checks of the selected pair.
const KEEPALIVE: Duration = Duration::from_secs(1);

/// Between checks of a pair.
const CHECK: Duration = Duration::from_millis(100);

/// What a path tells.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PathEvent {
    Found,
    Connected,
    Disconnected,
    Recovered,
    Closed,
    Failed { stage: Stage, reason: String },
}

/// ICE's names for this side.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) ufrag: String,
    pub(crate) pwd: String,
}

/// One transport.
pub(crate) struct Path {
    agent: Agent,
    provider: Arc<dyn RTCCryptoProvider>,
    dtls: Option<Dtls>,
    keys: Option<Keys>,
    /// Local and remote address of the selected pair.
    route: Option<(SocketAddr, SocketAddr)>,
    /// Where the handshake came from before a pair was selected.
    heard: Option<(SocketAddr, SocketAddr)>,
    /// Pairs (ours, the master's) over which STUN came that the master alone can have written: at most one for each of its
    /// candidates and each of our sockets and relays. What comes over any other is not looked at.
    checked: BTreeSet<(SocketAddr, SocketAddr)>,
    /// Remote candidates that ICE was given, told and found, over the life of the path.
    pub(crate) remotes: usize,
    /// The pair that ICE was last told of, and when.
    alive: Option<((SocketAddr, SocketAddr), Instant)>,
    early: VecDeque<Vec<u8>>,
    early_bytes: usize,
    pub(crate) early_dropped: u64,
    pub(crate) undecryptable: u64,
    sent: Traffic,
    received: Traffic,
    over: bool,
    disconnected: bool,
    events: VecDeque<PathEvent>,
    out: VecDeque<Transmit>,
    /// Records of application data that were not taken yet: those of one datagram.
    data: VecDeque<BytesMut>,
}

impl Path {
    pub(crate) fn new(
        credentials: Option<&Credentials>,
        relay_wait: Duration,
        provider: &Arc<dyn RTCCryptoProvider>,
        now: Instant,
    ) -> Result<Self, Error> {
        let (local_ufrag, local_pwd) =
            credentials.map(|own| (own.ufrag.clone(), own.pwd.clone())).unwrap_or_default();
        let config = AgentConfig {
            local_ufrag,
            local_pwd,
            multicast_dns_mode: MulticastDnsMode::Disabled,
            disconnected_timeout: Some(DISCONNECTED),
            keepalive_interval: Some(KEEPALIVE),
            failed_timeout: Some(Duration::from_secs(25)),
            check_interval: CHECK,
            // A master that begins late is still checked for, for as long as a connection is waited for.
            max_binding_requests: Some(200),
            is_controlling: true,
            // How long a better pair is waited for before one of this type is taken.
            srflx_acceptance_min_wait: Some(Duration::from_millis(300)),
            prflx_acceptance_min_wait: Some(Duration::from_millis(300)),
            relay_acceptance_min_wait: Some(relay_wait),
            ..AgentConfig::default()
        };
        Ok(Self {
            agent: Agent::new(now, Arc::new(config), Arc::clone(provider))?,
            provider: Arc::clone(provider),
            dtls: None,
            keys: None,
            route: None,
            heard: None,
            checked: BTreeSet::new(),
            remotes: 0,
            alive: None,
            early: VecDeque::new(),
            early_bytes: 0,
            early_dropped: 0,
            undecryptable: 0,
            sent: Traffic::default(),
            received: Traffic::default(),
            over: false,
            disconnected: false,
            events: VecDeque::new(),
            out: VecDeque::new(),
            data: VecDeque::new(),
        })
    }

    pub(crate) fn credentials(&self) -> Credentials {
        let own = self.agent.get_local_credentials();
        Credentials { ufrag: own.ufrag.clone(), pwd: own.pwd.clone() }
    }

    /// Takes a local candidate; returns its text when it is new.
    pub(crate) fn add_local(&mut self, candidate: Candidate) -> Option<String> {
        let text = format!("candidate:{}", candidate.marshal());
        match self.agent.add_local_candidate(candidate) {
            Ok(true) => Some(text),
            Ok(false) => None,
            Err(error) => {
                tracing::debug!(%error, text, "local candidate not taken");
                None
            }
        }
    }

    pub(crate) fn add_remote(&mut self, text: &str) -> Result<(), String> {
        if self.agent.add_remote_candidate(parse(text)?).map_err(|error| error.to_string())? {
            self.remotes += 1;
        }
        Ok(())
    }

    pub(crate) fn has_candidate(&self, remote: SocketAddr) -> bool {
        self.agent.get_remote_candidates().iter().any(|candidate| candidate.addr() == remote)
    }

    pub(crate) fn has_route(&self) -> bool {
        self.route.is_some()
    }

    /// Our side of the selected pair.
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        self.route.map(|(local, _)| local)
    }

    /// A relay is gone. ICE would find out that nothing comes over it, and not select another pair.
    pub(crate) fn relay_lost(&mut self, relayed: SocketAddr, reason: &str) {
        if self.local() == Some(relayed) {
            self.fail(Stage::Ice, format!("the TURN relay is gone: {reason}"));
        }
    }

    /// Media can come over it now.
    pub(crate) fn is_up(&self) -> bool {
        self.keys.is_some() && !self.over && !self.disconnected
    }

    /// The handshake is done.
    pub(crate) fn has_keys(&self) -> bool {
        self.keys.is_some()
    }

    /// It will not come up any more.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// Begins to connect. `has_data`: data channels go over it.
    pub(crate) fn start(
        &mut self,
        remote: &RemoteTransport,
        certificate: Certificate,
        has_data: bool,
        provider: &Arc<dyn RTCCryptoProvider>,
        now: Instant,
    ) -> Result<(), Error> {
        let fingerprints = remote.fingerprints.clone();
        self.dtls = Some(Dtls::new(remote.setup, fingerprints, certificate, Arc::clone(provider), has_data)?);
        self.agent.start_connectivity_checks(now, true, remote.ice_ufrag.clone(), remote.ice_pwd.clone())
    }

    /// Whether a STUN message is for this transport; it is taken then. `may_add`: it may come from an address that is no
    /// candidate yet.
    pub(crate) fn stun(
        &mut self,
        local: SocketAddr,
        remote: SocketAddr,
        data: &[u8],
        may_add: bool,
        now: Instant,
    ) -> bool {
        if self.over || !self.is_from_the_master(data) {
            return false;
        }
        let is_new = !self.has_candidate(remote);
        if is_new && !may_add {
            return false;
        }
        let message =
            TaggedBytesMut { now, transport: context(local, remote), message: BytesMut::from(data) };
        let taken = self.agent.handle_read(message).is_ok();
        if self.has_candidate(remote) {
            self.remotes += usize::from(is_new);
            if taken {
                self.checked.insert((local, remote));
            }
        }
        self.ice_events(now);
        taken
    }

    /// What the master sends for ICE proves that it is its own before it is looked into: `rtc-ice` settles conflicts of
    /// roles, makes candidates and takes note of signs of life first, and anybody could cause them (RFC 8445, section 7.3).
    fn is_from_the_master(&self, data: &[u8]) -> bool {
        let mut message = Message { raw: data.to_vec(), ..Message::default() };
        if message.decode().is_err() {
            return false;
        }
        let own = self.credentials();
        let Some(remote) = self.agent.get_remote_credentials() else {
            return false;
        };
        let password = match message.typ.class {
            CLASS_REQUEST => {
                let expected = format!("{}:{}", own.ufrag, remote.ufrag);
                if message.get(ATTR_USERNAME).is_ok_and(|name| name == expected.as_bytes()) {
                    own.pwd.as_bytes()
                } else {
                    return false;
                }
            }
            CLASS_SUCCESS_RESPONSE => remote.pwd.as_bytes(),
            // Indications are not authenticated, and of errors nothing follows.
            _ => return false,
        };
        // The proof is about what is before it. `rtc-ice` would read what is behind it, too, and that anybody can have
        // appended to a message that he saw (RFC 8489, section 14.5: it is ignored).
        let attributes = message.attributes.0.iter();
        let mut behind = attributes.skip_while(|attribute| attribute.typ != ATTR_MESSAGE_INTEGRITY).skip(1);
        if behind.any(|a| a.typ != ATTR_FINGERPRINT && a.typ != ATTR_MESSAGE_INTEGRITY_SHA256) {
            return false;
        }
        MessageIntegrity::check(&mut message, password, self.provider.crypto()).is_ok()
    }

    /// Whether what comes from there over this transport is looked at. It may be forged all the same: addresses are.
    pub(crate) fn knows(&self, local: SocketAddr, remote: SocketAddr) -> bool {
        !self.over && self.checked.contains(&(local, remote))
    }

    /// Tells ICE that something authentic came, now and then.
    fn sign_of_life(&mut self, local: SocketAddr, remote: SocketAddr, now: Instant) {
        let pair = (local, remote);
        let is_told = self
            .alive
            .is_some_and(|(known, at)| known == pair && now.saturating_duration_since(at) < SIGN_OF_LIFE);
        if !is_told && self.agent.is_valid_non_stun_traffic(now, context(local, remote)) {
            self.alive = Some((pair, now));
        }
    }

    /// Takes a DTLS record from a known address; what was kept for want of keys comes out.
    pub(crate) fn dtls(
        &mut self,
        local: SocketAddr,
        remote: SocketAddr,
        data: &[u8],
        now: Instant,
    ) -> Vec<Opened> {
        let Some(dtls) = &mut self.dtls else {
            return Vec::new();
        };
        self.heard = Some((local, remote));
        self.received.count(data.len());
        let mut opened = Vec::new();
        match dtls.read(data, now) {
            Ok(outcome) => {
                if let Some(keys) = outcome.keys {
                    self.keys = Some(keys);
                    self.events.push_back(PathEvent::Connected);
                    for packet in std::mem::take(&mut self.early) {
                        opened.extend(self.open(&packet));
                    }
                }
                self.data.extend(outcome.data);
                if outcome.closed {
                    self.over = true;
                    self.events.push_back(PathEvent::Closed);
                }
            }
            Err(reason) => self.fail(Stage::Dtls, reason),
        }
        self.flush_dtls();
        opened
    }

    /// Opens a packet of SRTP or SRTCP from a known address.
    pub(crate) fn media(
        &mut self,
        local: SocketAddr,
        remote: SocketAddr,
        data: &[u8],
        now: Instant,
    ) -> Option<Opened> {
        self.received.count(data.len());
        let opened = self.open(data)?;
        self.sign_of_life(local, remote, now);
        Some(opened)
    }

    fn open(&mut self, data: &[u8]) -> Option<Opened> {
        let Some(keys) = &mut self.keys else {
            if self.early_bytes + data.len() + EARLY <= MAX_EARLY {
                self.early_bytes += data.len() + EARLY;
                self.early.push_back(data.to_vec());
            } else {
                self.early_dropped += 1;
            }
            return None;
        };
        match keys.inbound.open(data) {
            Ok(opened) => Some(opened),
            // A retransmission of what came after all, or the network's copy.
            Err(Error::ErrDuplicated | Error::SrtpSsrcDuplicated(..) | Error::SrtcpSsrcDuplicated(..)) => {
                None
            }
            Err(error) => {
                self.undecryptable += 1;
                if self.undecryptable.is_power_of_two() {
                    tracing::debug!(%error, packets = self.undecryptable, "packet cannot be opened");
                }
                None
            }
        }
    }

    /// Sends RTCP, if there are keys and a path.
    pub(crate) fn send_rtcp(&mut self, packet: &[u8]) -> Result<(), String> {
        // Where the master's media comes from: when his address changes, ICE goes on with the pair that it has selected.
        let from = self.alive.map(|(pair, _)| pair);
        let (Some(keys), Some((local, remote))) = (&mut self.keys, from.or(self.route).or(self.heard)) else {
            return Err("there is no connection".to_owned());
        };
        let data = keys.outbound.encrypt_rtcp(packet).map_err(|error| error.to_string())?;
        self.sent.count(data.len());
        self.out.push_back(Transmit { local, remote, data });
        Ok(())
    }

    /// The next record of application data.
    pub(crate) fn poll_data(&mut self) -> Option<BytesMut> {
        self.data.pop_front()
    }

    /// Sends a record of application data.
    pub(crate) fn send_data(&mut self, data: &[u8], now: Instant) {
        if self.over {
            return;
        }
        if let Some(dtls) = &mut self.dtls
            && let Err(error) = dtls.send(data, now)
        {
            tracing::debug!(error, "SCTP not sent");
        }
        self.flush_dtls();
    }

    pub(crate) fn poll_event(&mut self) -> Option<PathEvent> {
        self.events.pop_front()
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<Transmit> {
        if let Some(outgoing) = self.out.pop_front() {
            return Some(outgoing);
        }
        self.agent.poll_write().map(|message| Transmit {
            local: message.transport.local_addr,
            remote: message.transport.peer_addr,
            data: message.message,
        })
    }

    pub(crate) fn poll_timeout(&mut self) -> Option<Instant> {
        if self.over {
            return None;
        }
        let dtls = self.dtls.as_ref().and_then(Dtls::poll_timeout);
        [self.agent.poll_timeout(), dtls].into_iter().flatten().min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.over {
            return;
        }
        if let Err(error) = self.agent.handle_timeout(now) {
            tracing::debug!(%error, "ICE");
        }
        self.ice_events(now);
        if let Some(dtls) = &mut self.dtls
            && let Err(reason) = dtls.handle_timeout(now)
        {
            self.fail(Stage::Dtls, reason);
        }
        self.flush_dtls();
    }

    /// How far it got, for a person who waits.
    pub(crate) fn standing(&self) -> (Stage, String) {
        match (&self.dtls, self.route) {
            (Some(dtls), Some(_)) => (Stage::Dtls, dtls.standing()),
            _ => (
                Stage::Ice,
                format!(
                    "no pair of ICE candidates works ({} of ours, {} of the master's)",
                    self.agent.get_local_candidates().len(),
                    self.agent.get_remote_candidates().len()
                ),
            ),
        }
    }

    /// The selected pair. Its [`Side::relay_protocol`] the gatherer knows.
    pub(crate) fn pair(&self, now: Instant) -> Option<Pair> {
        let (local, remote) = self.agent.get_selected_candidate_pair()?;
        let side = |candidate: &Candidate| Side {
            kind: candidate.candidate_type().to_string(),
            address: candidate.addr(),
            priority: candidate.priority(),
            relay_protocol: None,
        };
        let checks =
            self.agent.get_candidate_pairs_stats(now).into_iter().find(|pair| {
                pair.local_candidate_id == local.id() && pair.remote_candidate_id == remote.id()
            });
        let seconds = |seconds: f64| Duration::try_from_secs_f64(seconds).ok();
        let checks = checks.as_ref();
        Some(Pair {
            local: side(local),
            remote: side(remote),
            nominated: checks.is_some_and(|checks| checks.nominated),
            sent: self.sent,
            received: self.received,
            requests_sent: checks.map_or(0, |checks| checks.requests_sent),
            responses_received: checks.map_or(0, |checks| checks.responses_received),
            total_round_trip_time: checks
                .and_then(|checks| seconds(checks.total_round_trip_time))
                .unwrap_or_default(),
            round_trip_time: checks
                .and_then(|checks| seconds(checks.current_round_trip_time))
                .filter(|time| !time.is_zero()),
        })
    }

    /// Says goodbye.
    pub(crate) fn close(&mut self, now: Instant) {
        if let Some(dtls) = &mut self.dtls {
            dtls.close(now);
        }
        self.flush_dtls();
        self.over = true;
        let _ = self.agent.close();
    }

    fn ice_events(&mut self, now: Instant) {
        while let Some(event) = self.agent.poll_event() {
            match event.event {
                IceEvent::SelectedCandidatePairChange(local, remote) => {
                    let first = self.route.replace((local.base_addr(), remote.addr())).is_none();
                    self.alive = None;
                    if first {
                        self.events.push_back(PathEvent::Found);
                        if let Some(dtls) = &mut self.dtls
                            && let Err(reason) = dtls.path_found(now)
                        {
                            self.fail(Stage::Dtls, reason);
                        }
                        self.flush_dtls();
                    }
                }
                IceEvent::ConnectionStateChange(state) => match state {
                    ConnectionState::Connected | ConnectionState::Completed if self.disconnected => {
                        self.disconnected = false;
                        self.events.push_back(PathEvent::Recovered);
                    }
                    // It will not select another pair, and a new connection gets all of it.
                    ConnectionState::Disconnected if self.has_moved(now) => {
                        self.fail(Stage::Ice, "the master's address has changed".to_owned());
                    }
                    ConnectionState::Disconnected => {
                        self.disconnected = true;
                        self.events.push_back(PathEvent::Disconnected);
                    }
                    ConnectionState::Failed => {
                        let reason = if self.route.is_some() {
                            "nothing came over the connection for 29 s".to_owned()
                        } else {
                            self.standing().1
                        };
                        self.fail(Stage::Ice, reason);
                    }
                    _ => {}
                },
                _ => {}
            }
        }
    }

    /// Media comes over another pair than the selected one.
    fn has_moved(&self, now: Instant) -> bool {
        self.alive.is_some_and(|(pair, at)| {
            Some(pair) != self.route && now.saturating_duration_since(at) < DISCONNECTED / 2
        })
    }

    fn fail(&mut self, stage: Stage, reason: String) {
        if !std::mem::replace(&mut self.over, true) {
            self.events.push_back(PathEvent::Failed { stage, reason });
        }
    }

    fn flush_dtls(&mut self) {
        let Some(dtls) = &mut self.dtls else {
            return;
        };
        while let Some(data) = dtls.poll_transmit() {
            // Before a pair is selected the handshake is answered where it came from.
            if let Some((local, remote)) = self.route.or(self.heard) {
                self.sent.count(data.len());
                self.out.push_back(Transmit { local, remote, data });
            }
        }
    }
}

fn context(local: SocketAddr, remote: SocketAddr) -> TransportContext {
    TransportContext {
        local_addr: local,
        peer_addr: remote,
        transport_protocol: TransportProtocol::UDP,
        ecn: None,
    }
}

fn base(address: SocketAddr) -> CandidateConfig {
    CandidateConfig {
        network: "udp".to_owned(),
        address: address.ip().to_string(),
        port: address.port(),
        component: 1,
        ..CandidateConfig::default()
    }
}

fn parse(text: &str) -> Result<Candidate, String> {
    unmarshal_candidate(text.strip_prefix("candidate:").unwrap_or(text)).map_err(|error| error.to_string())
}

/// Where a candidate points to.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    Ok(parse(text)?.addr())
}

/// The candidate of a socket.
pub(crate) fn host(address: SocketAddr) -> Result<Candidate, Error> {
    CandidateHostConfig { base_config: base(address), ..CandidateHostConfig::default() }.new_candidate_host()
}

/// Of relays the one that is reached over UDP goes first, and TLS, which costs most, last (RFC 8445, section 5.1.2.1: the type
/// of relays is worth 0, the component is 1).
fn relay_priority(protocol: RelayProtocol) -> u32 {
    let local_preference: u32 = match protocol {
        RelayProtocol::Udp => 65_535,
        RelayProtocol::Tcp => 40_000,
        RelayProtocol::Tls => 20_000,
    };
    (local_preference << 8) + 255
}

/// The candidate of an address that a server told.
pub(crate) fn gathered(found: Found) -> Result<Candidate, Error> {
    match found {
        Found::Reflexive { base: socket, address } => CandidateServerReflexiveConfig {
            base_config: base(address),
            rel_addr: socket.ip().to_string(),
            rel_port: socket.port(),
            url: None,
        }
        .new_candidate_server_reflexive(),
        Found::Relayed { base: socket, address, protocol } => CandidateRelayConfig {
            base_config: CandidateConfig { priority: relay_priority(protocol), ..base(address) },
            rel_addr: socket.ip().to_string(),
            rel_port: socket.port(),
            url: None,
        }
        .new_candidate_relay(),
    }
}
