//! The connection as a whole.

use crate::config::Config;
use crate::congestion::Congestion;
use crate::data::{DataChannels, DataConfig};
use crate::demux::{Demux, Route};
use crate::destinations::Destinations;
use crate::dtls;
use crate::event::{Event, Stage};
use crate::figures::Figures;
use crate::gather::Gatherer;
use crate::nack::NackPacer;
use crate::path::{self, Credentials, Path, PathEvent};
use crate::rtcp::{self, Inbound};
use crate::rtp::Extensions;
use crate::sdp::offer::{self, Identity};
use crate::sdp::{Answer, AnswerError, HashAlgorithm, OfferedSection, Setup, read_answer};
use crate::server::{Found, Relayed};
use crate::sources::Sources;
use crate::srtp::Opened;
use crate::streams::StreamTransmit;
use crate::transmit::Transmit;
use bytes::Bytes;
use kvs_media::RtpPacket;
use rtc_crypto::RTCCryptoProvider;
use rtc_dtls::crypto::Certificate;
use rtc_ice::candidate::Candidate;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use thiserror::Error;

/// Remote candidates of a connection over its life, with those that are found by their checks: each is checked from every
/// socket and relay.
pub const MAX_REMOTE_CANDIDATES: usize = 64;
/// Pairs of candidates, where there are several of ours (RFC 8445, section 6.1.2.5, recommends 100 at most).
const MAX_PAIRS: usize = 256;
/// But so many candidates of the master's are taken on the largest host.
const FEWEST_REMOTES: usize = 16;

/// Between receiver reports while media arrive.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// From the BYE of all sources to believing it: a sender that takes another SSRC ends the old one first (RFC 3550, section
/// 8.2).
const BELIEVE: Duration = Duration::from_millis(120);

/// From the answer to the connection; it says how far it came then.
const CONNECT: Duration = Duration::from_secs(18);

/// Why a connection cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReceiverError {
    /// Certificates or random numbers.
    #[error("cannot build the peer connection: {0}")]
    Build(String),
    /// The answer cannot lead to media.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// The answer was applied before.
    #[error("an answer was applied before")]
    AnsweredBefore,
    /// A remote candidate is not usable.
    #[error("remote candidate `{candidate}` refused: {reason}")]
    Candidate {
        /// As received.
        candidate: String,
        /// What ICE says of it.
        reason: String,
    },
    /// Feedback cannot be sent.
    #[error("cannot send RTCP feedback: {0}")]
    Feedback(String),
}

/// How long a better way is waited for when a relayed pair works: a direct one, or with relays alone one over UDP.
fn relay_wait(config: &Config) -> Duration {
    match (config.relay_only, config.turn_streams.is_empty()) {
        (true, true) => Duration::ZERO,
        (true, false) => Duration::from_millis(400),
        (false, _) => Duration::from_secs(1),
    }
}

/// A connection that only receives.
pub struct Receiver {
    provider: Arc<dyn RTCCryptoProvider>,
    certificate: Certificate,
    offered: Vec<OfferedSection>,
    /// Data channels that were offered, and the mid of their section.
    offered_data: Option<(String, DataConfig)>,
    offer: String,
    relay_only: bool,
    relay_wait: Duration,
    destinations: Destinations,
    credentials: Credentials,
    gatherer: Gatherer,
    /// Kept for the paths of an answer without BUNDLE.
    local: Vec<Candidate>,
    paths: Vec<Path>,
    answer: Option<Answer>,
    /// Data channels, and the path that they go over.
    data: Option<(usize, DataChannels)>,
    demux: Demux,
    sources: Sources,
    /// Of each path.
    congestion: Vec<Congestion>,
    start_bitrate_kbps: Option<u32>,
    nacks: NackPacer,
    report_at: Option<Instant>,
    figures: Figures,
    connected: bool,
    /// Relays of which it was told that they will not last: no more than there are servers.
    relays_ended: Vec<SocketAddr>,
    /// Relays that stood by were given back.
    released: bool,
    /// All sources ended: believed then, unless one begins.
    goodbye_at: Option<Instant>,
    /// When it is given up, until it is connected.
    deadline: Option<Instant>,
    over: bool,
    events: VecDeque<Event>,
}

impl Receiver {
    /// Writes the offer and begins to gather candidates.
    ///
    /// # Errors
    ///
    /// [`ReceiverError::Build`] when there is no certificate to be had.
    pub fn new(config: &Config, now: Instant) -> Result<Self, ReceiverError> {
        let build = |error: &dyn std::fmt::Display| ReceiverError::Build(error.to_string());
        let provider = rtc_crypto::default_provider().map_err(|error| build(&error))?;
        let certificate = Certificate::generate_self_signed(vec!["WebRTC".to_owned()], provider.crypto())
            .map_err(|error| build(&error))?;
        let der = certificate.certificate.first().ok_or_else(|| build(&"an empty certificate"))?;
        let digest = dtls::digest(HashAlgorithm::Sha256, der.as_ref());
        let fingerprint: Vec<_> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
        let path = Path::new(None, relay_wait(config), &provider, now).map_err(|error| build(&error))?;
        let credentials = path.credentials();
        let offered = offer::sections(&config.audio, &config.video);
        let identity = Identity {
            session_id: rand::random::<u64>() >> 2,
            fingerprint: &fingerprint.join(":"),
            ice_ufrag: &credentials.ufrag,
            ice_pwd: &credentials.pwd,
        };
        let offered_data = config.data.clone().map(|data| (offered.len().to_string(), data));
        let data_mid = offered_data.as_ref().map(|(mid, _)| mid.as_str());
        let offer = offer::write(&offered, data_mid, &identity, config.start_bitrate_kbps);
        let gatherer = Gatherer::new(
            &config.ice_servers,
            &config.turn_streams,
            &config.sockets,
            config.relay_only,
            &provider,
            now,
        );
        let mut receiver = Self {
            provider,
            certificate,
            offered,
            offered_data,
            offer,
            relay_only: config.relay_only,
            relay_wait: relay_wait(config),
            destinations: config.destinations.clone(),
            credentials,
            gatherer,
            local: Vec::new(),
            paths: vec![path],
            answer: None,
            data: None,
            demux: Demux::default(),
            sources: Sources::default(),
            congestion: Vec::new(),
            start_bitrate_kbps: config.start_bitrate_kbps,
            nacks: NackPacer::new(config.receive_buffer),
            report_at: None,
            figures: Figures::default(),
            connected: false,
            relays_ended: Vec::new(),
            released: false,
            goodbye_at: None,
            deadline: None,
            over: false,
            events: VecDeque::new(),
        };
        if !config.relay_only {
            for socket in &config.sockets {
                match path::host(*socket) {
                    Ok(candidate) => receiver.add_local(candidate),
                    Err(error) => tracing::debug!(%error, %socket, "no candidate of a socket"),
                }
            }
        }
        Ok(receiver)
    }

    /// The offer to send, CRLF after every line, without candidates.
    pub fn offer(&self) -> &str {
        &self.offer
    }

    /// The answer, once there is one.
    pub fn answer(&self) -> Option<&Answer> {
        self.answer.as_ref()
    }

    /// Takes the master's answer and begins to connect.
    ///
    /// # Errors
    ///
    /// [`ReceiverError::Answer`] when no media can come of it; another answer may still be taken then.
    pub fn accept_answer(&mut self, sdp: &str, now: Instant) -> Result<&Answer, ReceiverError> {
        if self.answer.is_some() {
            return Err(ReceiverError::AnsweredBefore);
        }
        let data_mid = self.offered_data.as_ref().map(|(mid, _)| mid.as_str());
        let answer = read_answer(&self.offered, data_mid, sdp)?;
        let build = |error: rtc_shared::error::Error| ReceiverError::Build(error.to_string());
        while self.paths.len() < answer.transports.len() {
            let mut path =
                Path::new(Some(&self.credentials), self.relay_wait, &self.provider, now).map_err(build)?;
            for candidate in &self.local {
                path.add_local(candidate.clone());
            }
            self.paths.push(path);
        }
        for (index, (path, transport)) in self.paths.iter_mut().zip(&answer.transports).enumerate() {
            let has_data = answer.data.is_some_and(|data| data.transport == index);
            path.start(transport, self.certificate.clone(), has_data, &self.provider, now).map_err(build)?;
        }
        if let (Some(accepted), Some((_, config))) = (answer.data, self.offered_data.take()) {
            let setup = answer.transports.get(accepted.transport).map(|transport| transport.setup);
            let is_client = setup == Some(Setup::Passive);
            let channels = DataChannels::new(config.open, accepted.sctp_port, is_client, now);
            self.data = Some((accepted.transport, channels));
        }
        for (path, transport) in answer.transports.iter().enumerate() {
            for candidate in &transport.candidates {
                if let Err(error) = self.add_candidate(path, candidate, now) {
                    tracing::debug!(error, candidate, "candidate of the answer passed over");
                }
            }
        }
        self.demux = Demux::new(&answer);
        let congestion = (0..self.paths.len()).map(|path| {
            let remb = answer.sections.iter().any(|section| section.transport == path && section.remb);
            Congestion::new(remb, self.start_bitrate_kbps, now)
        });
        self.congestion = congestion.collect();
        self.deadline = Some(now + CONNECT);
        self.path_events();
        Ok(self.answer.insert(answer))
    }

    /// Takes a remote candidate that was trickled after the answer, for a media section of the offer (which matters only
    /// without BUNDLE).
    ///
    /// # Errors
    ///
    /// [`ReceiverError::Candidate`] when ICE cannot use it.
    pub fn add_remote_candidate(
        &mut self,
        candidate: &str,
        section: usize,
        now: Instant,
    ) -> Result<(), ReceiverError> {
        // Of a section that has no transport: masters that bundle write them into the first, even when they reject that.
        let by_section = self.answer.iter().flat_map(|answer| &answer.by_section);
        let path = by_section.copied().nth(section).flatten().unwrap_or(0);
        self.add_candidate(path, candidate, now)
            .map_err(|reason| ReceiverError::Candidate { candidate: candidate.to_owned(), reason })
    }

    fn add_candidate(&mut self, path: usize, candidate: &str, now: Instant) -> Result<(), String> {
        let added = self.try_candidate(path, candidate, now);
        if added.is_err() {
            self.figures.candidates_refused += 1;
        }
        added
    }

    fn try_candidate(&mut self, path: usize, candidate: &str, now: Instant) -> Result<(), String> {
        let address = path::address(candidate)?;
        // A master that bundles without saying so has the same candidates in every section: they are one path's.
        if self.paths.iter().any(|path| path.has_candidate(address)) {
            return Ok(());
        }
        self.destinations.check(address).map_err(|why| format!("nothing is sent to {address}: {why}"))?;
        if self.is_full() {
            return Err("too many candidates".to_owned());
        }
        let Some(path) = self.paths.get_mut(path) else {
            return Ok(());
        };
        path.add_remote(candidate)?;
        self.gatherer.permit_all(address, now);
        Ok(())
    }

    /// There may be no more remote candidates: each is paired with each of ours, and each pair is checked ten times a second.
    fn is_full(&self) -> bool {
        let most = (MAX_PAIRS / self.local.len().max(1)).clamp(FEWEST_REMOTES, MAX_REMOTE_CANDIDATES);
        self.paths.iter().map(|path| path.remotes).sum::<usize>() >= most
    }

    /// Takes a datagram that arrived at the socket `local`.
    pub fn handle_datagram(&mut self, local: SocketAddr, remote: SocketAddr, data: &[u8], now: Instant) {
        if self.over {
            return;
        }
        if self.gatherer.is_server(local, remote) {
            for Relayed { to, peer, data } in self.gatherer.read(local, remote, data, now) {
                self.peer_datagram(to, peer, &data, now);
            }
            self.take_gathered();
        } else if self.relay_only {
            // What knows the socket behind a relay has no business with it.
            self.figures.strangers += 1;
        } else {
            self.peer_datagram(local, remote, data, now);
        }
    }

    /// The stream of this number of [`Config::turn_streams`] is open, as [`StreamAction::Open`](crate::StreamAction) asked.
    pub fn stream_opened(&mut self, stream: usize, now: Instant) {
        if !self.over {
            self.gatherer.stream_opened(stream, now);
        }
    }

    /// Takes bytes of a stream, in order, in whatever pieces they come.
    pub fn handle_stream(&mut self, stream: usize, bytes: &[u8], now: Instant) {
        if self.over {
            return;
        }
        for Relayed { to, peer, data } in self.gatherer.stream_read(stream, bytes, now) {
            self.peer_datagram(to, peer, &data, now);
        }
        self.take_gathered();
    }

    /// A stream has ended or could not be opened, `reason` in words. It may be asked for again.
    pub fn stream_closed(&mut self, stream: usize, reason: &str, now: Instant) {
        if !self.over {
            self.gatherer.stream_closed(stream, reason, now);
            self.take_gathered();
        }
    }

    /// The next thing to do for a stream.
    pub fn poll_stream_transmit(&mut self) -> Option<StreamTransmit> {
        self.gatherer.poll_stream_transmit()
    }

    /// When [`Receiver::handle_timeout`] is to be called at the latest.
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        if self.over {
            return None;
        }
        let paths = self.paths.iter_mut().filter_map(Path::poll_timeout).min();
        [
            paths,
            self.gatherer.poll_timeout(),
            self.report_at,
            self.nacks.poll_timeout(),
            self.congestion.iter().filter_map(Congestion::poll_timeout).min(),
            self.deadline,
            self.goodbye_at,
            self.data.as_ref().and_then(|(_, data)| data.poll_timeout()),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// To be called when [`Receiver::poll_timeout`] says so; more often does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.over {
            return;
        }
        self.gatherer.handle_timeout(now);
        self.take_gathered();
        for path in &mut self.paths {
            path.handle_timeout(now);
        }
        self.path_events();
        if let Some((_, data)) = &mut self.data
            && data.poll_timeout().is_some_and(|at| at <= now)
        {
            data.handle_timeout(now);
            self.flush_data(now);
        }
        if let Err(error) = self.send_nacks(now) {
            tracing::debug!(%error, "NACK not sent");
        }
        if self.goodbye_at.is_some_and(|at| at <= now) {
            self.goodbye_at = None;
            self.sources.goodbye();
            self.events.push_back(Event::Goodbye);
        }
        if self.deadline.is_some_and(|at| at <= now) {
            self.deadline = None;
            let (stage, reason) = self.standing();
            self.events.push_back(Event::Failed { stage, reason });
        }
        if self.report_at.is_some_and(|at| at <= now) {
            let blocks = self.sources.report_blocks(now);
            self.report_at = None;
            if !blocks.is_empty() {
                self.send_rtcp(&rtcp::receiver_report(&blocks));
                self.report_at = Some(now + REPORT_INTERVAL);
            }
        }
        for (path, congestion) in self.paths.iter_mut().zip(&mut self.congestion) {
            for packet in congestion.feedback(now) {
                if let Err(error) = path.send_rtcp(&packet) {
                    tracing::debug!(error, "congestion feedback not sent");
                }
            }
        }
        self.release_streams(now);
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit> {
        loop {
            if let Some(transmit) = self.gatherer.poll_transmit() {
                return Some(transmit);
            }
            let transmit = self.paths.iter_mut().find_map(Path::poll_transmit)?;
            if self.gatherer.protocol(transmit.local).is_none() {
                return Some(transmit);
            }
            self.gatherer.send(transmit.local, transmit.remote, &transmit.data, now);
        }
    }

    /// What happened, oldest first.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Asks for lost packets again.
    ///
    /// # Errors
    ///
    /// [`ReceiverError::Feedback`] while there is no connection.
    pub fn nack(&mut self, media_ssrc: u32, sequences: &[u16], now: Instant) -> Result<(), ReceiverError> {
        self.nacks.want(media_ssrc, sequences);
        for congestion in &mut self.congestion {
            congestion.missing(media_ssrc, sequences.len());
        }
        self.send_nacks(now)
    }

    /// As many as have room.
    fn send_nacks(&mut self, now: Instant) -> Result<(), ReceiverError> {
        for (ssrc, sequences) in self.nacks.poll(now) {
            for packet in rtcp::nacks(ssrc, &sequences) {
                self.feedback(&packet)?;
            }
        }
        Ok(())
    }

    /// Asks for a key frame.
    ///
    /// # Errors
    ///
    /// [`ReceiverError::Feedback`] while there is no connection.
    pub fn picture_loss(&mut self, media_ssrc: u32) -> Result<(), ReceiverError> {
        self.feedback(&rtcp::picture_loss(media_ssrc))
    }

    /// Counted since the connection began.
    pub fn figures(&self, now: Instant) -> Figures {
        let mut figures = self.figures.clone();
        if let Some(mut pair) = self.paths.iter().find_map(|path| path.pair(now)) {
            pair.local.relay_protocol = self.gatherer.protocol(pair.local.address);
            figures.pair = Some(pair);
        }
        figures.servers = self.gatherer.figures();
        figures.data = self.data.as_ref().map(|(_, data)| data.figures());
        figures.udp_is_silent = self.udp_is_silent();
        figures.undecryptable = self.paths.iter().map(|path| path.undecryptable).sum();
        figures.early_dropped = self.paths.iter().map(|path| path.early_dropped).sum();
        figures
    }

    /// How far it got: for a person who waits, and for who gives up.
    pub fn standing(&self) -> (Stage, String) {
        let standings = self.paths.iter().map(Path::standing);
        standings.min_by_key(|(stage, _)| *stage == Stage::Dtls).unwrap_or((Stage::Ice, String::new()))
    }

    /// STUN and TURN servers were asked over UDP, and none has answered.
    pub fn udp_is_silent(&self) -> bool {
        self.gatherer.udp_is_silent()
    }

    /// Servers that did not give what they were asked for, in words.
    pub fn server_failures(&self) -> &[String] {
        &self.gatherer.failures
    }

    /// Says goodbye and gives relays back: what is to be sent then is the last.
    pub fn close(&mut self, now: Instant) {
        for path in &mut self.paths {
            path.close(now);
        }
        // Through the relay first, then the relay itself.
        let mut last = Vec::new();
        while let Some(transmit) = self.poll_transmit(now) {
            last.push(transmit);
        }
        self.gatherer.close(now);
        self.gatherer.put_first(last);
        self.over = true;
    }

    fn feedback(&mut self, packet: &[u8]) -> Result<(), ReceiverError> {
        let mut failure = "there is no connection".to_owned();
        let mut sent = false;
        // The source tells which path only where they are apart; a master passes over feedback for what it does not send.
        for path in &mut self.paths {
            match path.send_rtcp(packet) {
                Ok(()) => sent = true,
                Err(error) => failure = error,
            }
        }
        if sent { Ok(()) } else { Err(ReceiverError::Feedback(failure)) }
    }

    fn send_rtcp(&mut self, packet: &[u8]) {
        if let Err(error) = self.feedback(packet) {
            tracing::debug!(%error, "report not sent");
        }
    }

    fn peer_datagram(&mut self, local: SocketAddr, remote: SocketAddr, data: &[u8], now: Instant) {
        if !self.take_datagram(local, remote, data, now) {
            self.figures.strangers += 1;
        }
        self.path_events();
    }

    /// `false`: it is a stranger's, and nothing came of it.
    fn take_datagram(&mut self, local: SocketAddr, remote: SocketAddr, data: &[u8], now: Instant) -> bool {
        match data.first() {
            // RFC 7983.
            Some(0..=3) => {
                // It would be answered there.
                if self.destinations.check(remote).is_err() {
                    return false;
                }
                let may_add = !self.is_full();
                // Without BUNDLE several transports may go by the same credentials: then the address tells.
                let mut order: Vec<_> = self.paths.iter_mut().collect();
                order.sort_by_key(|path| (!path.has_candidate(remote), path.has_route()));
                let taken = order.into_iter().any(|path| path.stun(local, remote, data, may_add, now));
                // A keepalive that is an indication, say: of it nothing follows, and yet it is no stranger's.
                taken || self.paths.iter().any(|path| path.knows(local, remote))
            }
            Some(20..=63) => {
                let Some(path) = self.paths.iter().position(|path| path.knows(local, remote)) else {
                    return false;
                };
                let opened = self.paths[path].dtls(local, remote, data, now);
                self.path_events();
                for opened in opened {
                    self.opened(path, opened, now);
                }
                self.take_data(now);
                true
            }
            Some(128..=191) => {
                let Some(path) = self.paths.iter().position(|path| path.knows(local, remote)) else {
                    return false;
                };
                if let Some(opened) = self.paths[path].media(local, remote, data, now) {
                    self.opened(path, opened, now);
                }
                true
            }
            _ => false,
        }
    }

    /// What came over DTLS goes to the data channels.
    fn take_data(&mut self, now: Instant) {
        let Some((index, data)) = &mut self.data else {
            return;
        };
        let Some(path) = self.paths.get_mut(*index).filter(|path| path.has_keys()) else {
            return;
        };
        data.begin(now);
        while let Some(record) = path.poll_data() {
            data.handle(&record, now);
        }
        self.flush_data(now);
    }

    /// What the data channels have to say goes over DTLS, and what they heard to who asks.
    fn flush_data(&mut self, now: Instant) {
        let Some((index, data)) = &mut self.data else {
            return;
        };
        while let Some(message) = data.poll_message(now) {
            self.events.push_back(Event::Message(message));
        }
        if let Some(path) = self.paths.get_mut(*index) {
            while let Some(record) = data.poll_transmit() {
                path.send_data(&record, now);
            }
        }
    }

    fn opened(&mut self, path: usize, opened: Opened, now: Instant) {
        match opened {
            Opened::Rtp(packet) => self.rtp(path, &packet, now),
            Opened::Rtcp(compound) => {
                for message in rtcp::read(&compound) {
                    match message {
                        Inbound::Report(report) => {
                            self.sources.sender_report(report, now);
                            self.events.push_back(Event::SenderReport(report));
                        }
                        Inbound::Bye(ssrcs) => {
                            if self.sources.bye(&ssrcs, now) {
                                self.goodbye_at.get_or_insert(now + BELIEVE);
                            }
                        }
                    }
                }
            }
        }
    }

    fn rtp(&mut self, path: usize, bytes: &Bytes, now: Instant) {
        let packet = match RtpPacket::parse(bytes) {
            Ok(packet) => packet,
            Err(error) => {
                tracing::debug!(%error, "RTP packet passed over");
                return;
            }
        };
        let extensions = Extensions::of(bytes);
        if let Some(congestion) = self.congestion.get_mut(path) {
            congestion.packet(bytes.len(), self.demux.sending(extensions), now);
        }
        let payload_type = packet.payload_type;
        match self.demux.route(packet, extensions) {
            Route::Track { kind, clock_rate, packet, original } => {
                self.figures.header_bytes[kind] += bytes.len().saturating_sub(packet.payload.len()) as u64;
                if original {
                    if let Some(congestion) = self.congestion.get_mut(path) {
                        congestion.source(packet.ssrc);
                    }
                    self.sources.packet(&packet, clock_rate, now);
                    self.goodbye_at = None;
                    self.report_at.get_or_insert(now + REPORT_INTERVAL);
                }
                self.events.push_back(Event::Rtp { kind, packet });
            }
            Route::Probe => {}
            Route::Unbound => {
                *self.figures.unbound.entry(payload_type).or_default() += 1;
            }
        }
    }

    fn add_local(&mut self, candidate: Candidate) {
        let mut text = None;
        for path in &mut self.paths {
            text = path.add_local(candidate.clone()).or(text);
        }
        if let Some(text) = text {
            self.local.push(candidate);
            self.events.push_back(Event::LocalCandidate(text));
        }
    }

    fn take_gathered(&mut self) {
        for (relayed, reason) in self.gatherer.take_lost() {
            for path in &mut self.paths {
                path.relay_lost(relayed, &reason);
            }
            self.path_events();
        }
        if self.connected {
            // Of each relay once: media may go on over another, which ends as well.
            let used = self.paths.iter().filter(|path| path.is_up()).filter_map(Path::local);
            let untold = used.filter(|local| !self.relays_ended.contains(local));
            let mut ends = untold.filter_map(|local| Some((local, self.gatherer.ends(local)?.to_owned())));
            let found = ends.next();
            if let Some((local, reason)) = found {
                self.relays_ended.push(local);
                self.events.push_back(Event::RelayEnds { reason });
            }
        }
        while let Some(found) = self.gatherer.poll_found() {
            if self.relay_only && !matches!(found, Found::Relayed { .. }) {
                continue;
            }
            if let Found::Reflexive { base, address } = found
                && base == address
            {
                continue;
            }
            match path::gathered(found) {
                Ok(candidate) => self.add_local(candidate),
                Err(error) => tracing::debug!(%error, ?found, "no candidate of an address"),
            }
        }
    }

    /// The connection is up with its first path, and lives as long as one does.
    fn path_events(&mut self) {
        for index in 0..self.paths.len() {
            while let Some(event) = self.paths[index].poll_event() {
                let alone = self.paths.iter().filter(|path| path.is_up()).count() == 0;
                let event = match event {
                    PathEvent::Found => {
                        self.gatherer.settled();
                        Event::PathFound
                    }
                    PathEvent::Connected if self.connected => continue,
                    PathEvent::Connected => {
                        self.connected = true;
                        self.deadline = None;
                        Event::Connected
                    }
                    PathEvent::Disconnected if self.connected && alone => Event::Disconnected,
                    PathEvent::Recovered if self.connected => Event::Recovered,
                    PathEvent::Disconnected | PathEvent::Recovered => continue,
                    PathEvent::Closed if alone => Event::Goodbye,
                    // Another path may come up yet.
                    PathEvent::Failed { stage, reason }
                        if if self.connected { alone } else { self.paths.iter().all(Path::is_over) } =>
                    {
                        Event::Failed { stage, reason }
                    }
                    PathEvent::Closed => continue,
                    PathEvent::Failed { reason, .. } => {
                        tracing::debug!(reason, "one of several transports failed");
                        continue;
                    }
                };
                self.events.push_back(event);
            }
        }
    }

    /// Relays over streams stand by for where UDP does not get through: when each transport has its path, those that none
    /// took are given back.
    fn release_streams(&mut self, now: Instant) {
        if self.released
            || !self.connected
            || !self.paths.iter().all(|path| path.has_route() || path.is_over())
        {
            return;
        }
        self.released = true;
        let used: Vec<_> = self.paths.iter().filter_map(Path::local).collect();
        self.gatherer.release_streams(&used, now);
    }
}
