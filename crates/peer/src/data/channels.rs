//! One SCTP association, and the channels in it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sctp_proto::{
    Association, AssociationError, AssociationHandle, ClientConfig, DatagramEvent, Endpoint, EndpointConfig,
    Event, Payload, PayloadProtocolIdentifier as Kind, ServerConfig, StreamEvent, TransportConfig,
};

use super::dcep::{self, Dcep};
use super::packet::{self, Begins};
use super::{DataFigures, Message};
use crate::sdp::offer::{MAX_MESSAGE, SCTP_PORT};

/// Room for messages of which parts are missing, all channels together: what the master may send without hearing of us.
const RECEIVE_WINDOW: u32 = 128 << 10;

/// Streams that may be there at once. A master that uses more is not listened to any more: each costs memory.
const MAX_STREAMS: usize = 256;

/// Chunks of data in a second, and at once: of more the packets are passed over, and the congestion control of the
/// master's SCTP sends them again, slower. A packet has up to fifty of them, and each costs time while others are missing.
const CHUNKS_PER_SECOND: u32 = 2_000;
const CHUNKS_AT_ONCE: u32 = 2_000;

/// So long the master is given to begin the association. Browsers, Pion and the C SDK begin at once, whoever offered; aiortc
/// leaves it to who controls ICE, which is us. Who begins where the other has begun already leaves it to each stack how it
/// makes one association of two, which not all can.
const LET_BEGIN: Duration = Duration::from_millis(500);

/// So long the master may take to finish what it has begun. Where both begin at the same moment there are stacks that then wait
/// for each other.
const LET_FINISH: Duration = Duration::from_secs(3);

/// The longest time between repetitions: the master's SCTP may come up late.
const MAX_RTO_MS: u64 = 10_000;

/// Of the one association, whose way is DTLS's matter.
const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), SCTP_PORT);

/// The data channels of a connection.
pub(crate) struct DataChannels {
    endpoint: Endpoint,
    transport: Arc<TransportConfig>,
    pub(super) association: Option<(AssociationHandle, Association)>,
    /// DTLS is up.
    begun: bool,
    /// When we begin, unless the master does before.
    begin_at: Option<Instant>,
    /// By which tag the master began; `None`: it did not.
    peer_tag: Option<u32>,
    /// The master has answered where we began.
    acknowledged: bool,
    connected: bool,
    /// Labels to open, and the first stream to do so with (RFC 8832, section 6: even for the DTLS client).
    open: Vec<String>,
    first_stream: u16,
    /// Channels by stream.
    channels: BTreeMap<u16, Arc<str>>,
    /// Streams that are there, channels or not.
    streams: usize,
    /// Streams on which something is complete and was not read: SCTP keeps it, within its window.
    readable: BTreeSet<u16>,
    budget: Budget,
    out: VecDeque<Bytes>,
    figures: DataFigures,
}

impl DataChannels {
    /// `remote_port` is that of the master's SCTP, `is_client` our part in DTLS.
    pub(crate) fn new(open: Vec<String>, remote_port: u16, is_client: bool, now: Instant) -> Self {
        let transport = TransportConfig::default()
            .with_max_receive_buffer_size(RECEIVE_WINDOW)
            .with_max_receive_message_size(MAX_MESSAGE)
            .with_max_init_retransmits(None)
            .with_rto_max_ms(MAX_RTO_MS)
            .with_local_port(SCTP_PORT)
            .with_remote_port(remote_port);
        let transport = Arc::new(transport);
        Self {
            endpoint: endpoint(&transport),
            transport,
            association: None,
            begun: false,
            begin_at: None,
            peer_tag: None,
            acknowledged: false,
            connected: false,
            open,
            first_stream: u16::from(!is_client),
            channels: BTreeMap::new(),
            streams: 0,
            budget: Budget { chunks: f64::from(CHUNKS_AT_ONCE), at: now },
            readable: BTreeSet::new(),
            out: VecDeque::new(),
            figures: DataFigures::default(),
        }
    }

    /// DTLS is up; the first word counts.
    pub(crate) fn begin(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.begun, true) {
            self.begin_at = Some(now + LET_BEGIN);
        }
    }

    /// Takes a record of application data.
    pub(crate) fn handle(&mut self, packet: &[u8], now: Instant) {
        let Some(begins) = packet::begins(packet) else {
            return;
        };
        if self.figures.lost.is_some() {
            return;
        }
        if !self.budget.spend(packet::data_chunks(packet), now) {
            self.figures.packets_discarded += 1;
            return;
        }
        match begins {
            // Associations are not begun anew within a connection: an old one, or not of who keeps to that.
            Begins::Init { .. } if self.connected => return,
            // It comes up by our own beginning.
            Begins::Init { .. } if self.acknowledged => return,
            Begins::Init { tag } if self.peer_tag != Some(tag) => {
                // Ours was not heard, or this is a new attempt: there is one association, and no memory of others.
                self.association = None;
                self.endpoint = endpoint(&self.transport);
                self.peer_tag = Some(tag);
                self.begin_at = Some(now + LET_FINISH);
            }
            Begins::Init { .. } | Begins::InitAck | Begins::Other => {}
        }
        let data = Bytes::copy_from_slice(packet);
        match (self.endpoint.handle(now, PEER, None, None, data), &mut self.association) {
            (Some((handle, DatagramEvent::NewAssociation(association))), _) => {
                self.association = Some((handle, association));
            }
            (Some((handle, DatagramEvent::AssociationEvent(event))), Some((own, association)))
                if handle == *own =>
            {
                self.acknowledged |= begins == Begins::InitAck;
                association.handle_event(event);
            }
            _ => {}
        }
        self.advance(now);
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let association = self.association.as_ref().and_then(|(_, association)| association.poll_timeout());
        [self.begin_at, association].into_iter().flatten().min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.begin_at.is_some_and(|at| at <= now) {
            self.begin_at = None;
            self.peer_tag = None;
            self.endpoint = endpoint(&self.transport);
            let mut config = ClientConfig::new();
            config.transport = Arc::clone(&self.transport);
            match self.endpoint.connect(config, PEER) {
                Ok(association) => self.association = Some(association),
                Err(error) => self.figures.lost = Some(format!("SCTP cannot begin: {error}")),
            }
        }
        if let Some((_, association)) = &mut self.association {
            association.handle_timeout(now);
        }
        self.advance(now);
    }

    /// The next record to send.
    pub(crate) fn poll_transmit(&mut self) -> Option<Bytes> {
        self.out.pop_front()
    }

    /// The next message. What is to be sent is complete when there is none.
    pub(crate) fn poll_message(&mut self, now: Instant) -> Option<Message> {
        loop {
            while let Some(stream) = self.readable.first().copied() {
                match self.read(stream) {
                    Read::Message(message) => return Some(message),
                    Read::Other => {}
                    Read::Nothing => drop(self.readable.remove(&stream)),
                }
            }
            // That it was read lets more happen: a stream ends, the window opens.
            self.advance(now);
            if self.readable.is_empty() {
                return None;
            }
        }
    }

    pub(crate) fn figures(&self) -> DataFigures {
        DataFigures { open: self.channels.values().cloned().collect(), ..self.figures.clone() }
    }

    /// Deals with what the association tells, and takes what it sends.
    fn advance(&mut self, now: Instant) {
        while let Some(event) = self.association.as_mut().and_then(|(_, association)| association.poll()) {
            match event {
                Event::Connected => {
                    self.connected = true;
                    self.begin_at = None;
                    self.open_channels();
                }
                Event::HandshakeFailed { reason } | Event::AssociationLost { reason } => {
                    self.lose(match reason {
                        // What breaks a rule here is told by the same word.
                        AssociationError::AssociationClosed => format!(
                            "the SCTP association has ended: the master aborted it, or sent a message of more than \
                             {MAX_MESSAGE} bytes or what is no SCTP"
                        ),
                        reason => format!("the SCTP association has ended: {reason}"),
                    });
                }
                Event::Stream(StreamEvent::Opened { .. }) => self.streams += 1,
                Event::Stream(StreamEvent::Readable { id }) => drop(self.readable.insert(id)),
                Event::Stream(StreamEvent::Finished { id }) => {
                    self.streams = self.streams.saturating_sub(1);
                    if self.channels.remove(&id).is_some() {
                        self.figures.channels_closed += 1;
                    }
                }
                _ => {}
            }
        }
        if self.streams > MAX_STREAMS && self.figures.lost.is_none() {
            if let Some((_, association)) = &mut self.association {
                let _ = association.close();
            }
            self.lose(format!("the master uses more than {MAX_STREAMS} streams at once"));
        }
        let Some((_, association)) = &mut self.association else {
            return;
        };
        // Of its endpoint, which has one association and ends with it, nothing is to be told.
        while association.poll_endpoint_event().is_some() {}
        // Who waits to accept a stream is told by its first message.
        while association.accept_stream().is_some() {}
        while let Some(transmit) = association.poll_transmit(now) {
            if let Payload::RawEncode(packets) = transmit.payload {
                self.out.extend(packets);
            }
        }
        if self.figures.lost.is_some() {
            self.association = None;
        }
    }

    fn lose(&mut self, reason: String) {
        self.figures.lost.get_or_insert(reason);
        self.figures.channels_closed += self.channels.len() as u64;
        self.channels.clear();
        self.begin_at = None;
    }

    fn open_channels(&mut self) {
        let Some((_, association)) = &mut self.association else {
            return;
        };
        let mut free = (self.first_stream..u16::MAX).step_by(2);
        for label in &self.open {
            // Another that the master took, against the rule, is left to it.
            let opened = free.by_ref().find_map(|id| {
                let mut stream = association.open_stream(id, Kind::Dcep).ok()?;
                Some((id, stream.write_sctp(&dcep::open(label), Kind::Dcep)))
            });
            match opened {
                Some((id, Ok(_))) => {
                    self.streams += 1;
                    self.channels.insert(id, label.as_str().into());
                    self.figures.channels_opened += 1;
                }
                Some((_, Err(error))) => tracing::debug!(%error, label, "data channel not opened"),
                None => {}
            }
        }
    }

    /// Takes the next of what is complete on a stream.
    fn read(&mut self, id: u16) -> Read {
        let Some((_, association)) = &mut self.association else {
            return Read::Nothing;
        };
        let Ok(mut stream) = association.stream(id) else {
            return Read::Nothing;
        };
        let Ok(Some(chunks)) = stream.read_sctp() else {
            return Read::Nothing;
        };
        let mut data = vec![0; chunks.len()];
        if chunks.read(&mut data).is_err() {
            return Read::Other;
        }
        let text = match chunks.ppi {
            Kind::Dcep => {
                match dcep::read(&data) {
                    Ok(Dcep::Open { label }) => {
                        if let Err(error) = stream.write_sctp(&dcep::ack(), Kind::Dcep) {
                            tracing::debug!(%error, id, "data channel not acknowledged");
                        }
                        self.figures.channels_opened += 1;
                        self.channels.insert(id, label);
                    }
                    Ok(Dcep::Ack) => {}
                    Err(reason) => tracing::debug!(reason, id, "message of DCEP passed over"),
                }
                return Read::Other;
            }
            Kind::String | Kind::StringEmpty => true,
            Kind::Binary | Kind::BinaryEmpty => false,
            // Fragments of a protocol that was given up (RFC 8831, section 6.6), or nothing of WebRTC.
            Kind::Unknown => {
                self.figures.unknown += 1;
                return Read::Other;
            }
        };
        // SCTP has no empty messages: one byte stands for nothing.
        if matches!(chunks.ppi, Kind::StringEmpty | Kind::BinaryEmpty) {
            data.clear();
        }
        self.figures.messages_received += 1;
        self.figures.bytes_received += data.len() as u64;
        match self.channels.get(&id) {
            Some(label) => Read::Message(Message { label: Arc::clone(label), text, data: data.into() }),
            None => {
                self.figures.unknown += 1;
                Read::Other
            }
        }
    }
}

/// What was read of a stream.
enum Read {
    Message(Message),
    /// Nothing for who asks.
    Other,
    /// Nothing is complete.
    Nothing,
}

/// One that knows of no association.
fn endpoint(transport: &Arc<TransportConfig>) -> Endpoint {
    let mut server = ServerConfig::new();
    server.transport = Arc::clone(transport);
    Endpoint::new(Arc::new(EndpointConfig::default()), Some(Arc::new(server)))
}

/// How much more may come.
#[derive(Debug)]
struct Budget {
    chunks: f64,
    at: Instant,
}

impl Budget {
    /// Whether a packet of so many chunks of data is taken. One without any counts as one.
    fn spend(&mut self, chunks: u32, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.chunks = (self.chunks + since * f64::from(CHUNKS_PER_SECOND)).min(f64::from(CHUNKS_AT_ONCE));
        let cost = f64::from(chunks.max(1));
        let taken = cost <= self.chunks;
        if taken {
            self.chunks -= cost;
        }
        taken
    }
}
