//! What the HTTP server and the metrics look at.

use crate::metadata::{Metadata, MetadataFigures};
use crate::peer::Traffic;
use crate::pipeline::SoundFigures;
use crate::receive::Received;
use crate::session::{Phase, Reason, View};
use kvs_media::{MediaKind, PerTrack, WithheldCounts};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// The agent as seen from outside. Written by the driver and the media tasks.
#[derive(Debug)]
pub struct State {
    inner: Mutex<Inner>,
    metadata: Arc<Metadata>,
}

#[derive(Debug)]
struct Inner {
    view: View,
    since: SystemTime,
    heartbeat: Instant,
    current: Option<(u64, Arc<Mutex<Received>>)>,
    /// Of peers before, whose tasks have not ended yet.
    earlier: Vec<Arc<Mutex<Received>>>,
    /// Sums of the peers before.
    past: Totals,
}

impl Inner {
    /// What nobody adds to any more goes into the sums.
    fn settle(&mut self) {
        let past = &mut self.past;
        self.earlier.retain(|received| {
            let lives = Arc::strong_count(received) > 1;
            if !lives {
                past.add(&received.lock());
            }
            lives
        });
    }
}

/// Sums over all peer connections of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// RTP packets, without duplicates.
    pub packets_received: u64,
    /// Bytes of RTP payload.
    pub bytes_received: u64,
    /// Packets that never came.
    pub packets_lost: u64,
    /// Packets repaired by retransmission.
    pub packets_repaired: u64,
    /// Sequence numbers asked for.
    pub nack_count: u64,
    /// Key frames asked for.
    pub pli_count: u64,
    /// Complete access units.
    pub frames_received: u64,
    pub key_frames_received: u64,
    /// Access units that were received and not stored.
    pub frames_dropped: u64,
    /// What was done to sound so that it fits its capture times.
    pub sound: SoundFigures,
    /// Times that a track's timestamps jumped, stood still or changed their rate.
    pub epochs: u64,
    /// Sender reports that contradicted the packets.
    pub reports_refused: u64,
    /// What was received of video and audio and not handed on.
    pub withheld: PerTrack<WithheldCounts>,
    /// RTP packets that no track takes: of a payload type that was not negotiated, say.
    pub packets_unbound: u64,
    /// Packets that SRTP could not decrypt.
    pub packets_undecryptable: u64,
    /// Datagrams that the kernel dropped because the sockets were full.
    pub socket_drops: u64,
    /// Packets that were dropped because they were not taken in time.
    pub packets_discarded: u64,
    /// Datagrams of others than the master, of which nothing was kept.
    pub datagrams_of_strangers: u64,
    /// Remote candidates that are not used.
    pub candidates_refused: u64,
    /// Datagrams to TURN servers over TCP or TLS that were not taken.
    pub relay_dropped: u64,
    /// Bytes of RTP headers and padding.
    pub header_bytes: u64,
    /// RTP packets that came and were of no use.
    pub rtp_discarded: u64,
    /// RTP packets that had arrived before.
    pub packets_duplicated: u64,
    /// What pictures and packets of sound waited from their first packet to being handed on, and how many they were.
    pub jitter_buffer: PerTrack<(Duration, u64)>,
    /// To and from masters, without ICE.
    pub sent: Traffic,
    pub received: Traffic,
    /// ICE checks on selected pairs, and answers to them with their round trips.
    pub checks_sent: u64,
    pub checks_answered: u64,
    pub round_trips: Duration,
    /// Requests to STUN and TURN servers and answers, by [`RelayProtocol`].
    pub servers: [(u64, u64); 3],
    /// Messages of data channels, and those of a stream that nobody opened as one.
    pub messages_received: u64,
    pub messages_unknown: u64,
    /// Peer connections that were answered.
    pub peers: u64,
}

impl Totals {
    fn add(&mut self, received: &Received) {
        for stats in MediaKind::ALL.into_iter().filter_map(|kind| received.stats[kind].as_ref()) {
            self.packets_received += stats.packets_received;
            self.bytes_received += stats.bytes_received;
            self.packets_lost += stats.packets_lost;
            self.packets_repaired += stats.packets_repaired;
            self.nack_count += stats.nack_count;
            self.pli_count += stats.pli_count;
            self.rtp_discarded += stats.packets_discarded;
            self.packets_duplicated += stats.packets_duplicated;
        }
        if let Some(video) = &received.stats.video {
            self.frames_received += video.frames_received;
            self.key_frames_received += video.key_frames_received;
            self.frames_dropped += video.frames_dropped;
        }
        self.frames_dropped += received.pipelines.pictures_dropped;
        self.packets_unbound += received.peer.unbound.by_payload_type.values().sum::<u64>();
        self.packets_undecryptable += received.peer.unbound.undecryptable;
        self.socket_drops += received.peer.socket_drops;
        self.packets_discarded += received.peer.packets_discarded;
        self.datagrams_of_strangers += received.peer.strangers;
        self.candidates_refused += received.peer.candidates_refused;
        self.relay_dropped += received.peer.relay_dropped;
        if let Some(pair) = &received.peer.pair {
            self.sent += pair.sent;
            self.received += pair.received;
            self.checks_sent += pair.requests_sent;
            self.checks_answered += pair.responses_received;
            self.round_trips += pair.total_round_trip_time;
        }
        for server in &received.peer.servers {
            let (requests, responses) = &mut self.servers[server.protocol as usize];
            *requests += server.requests_sent;
            *responses += server.responses_received;
        }
        if let Some(data) = &received.peer.data {
            self.messages_received += data.messages_received;
            self.messages_unknown += data.unknown;
        }
        self.sound.add(received.pipelines.sound);
        for kind in MediaKind::ALL {
            self.header_bytes += received.peer.header_bytes[kind];
            if let Some(stats) = &received.stats[kind] {
                let (delay, emitted) = &mut self.jitter_buffer[kind];
                *delay += stats.jitter_buffer_delay;
                *emitted += stats.frames_emitted;
            }
            self.withheld[kind].add(&received.withheld[kind]);
            let time = received.time.tracks[kind];
            self.epochs += time.epochs;
            self.reports_refused += time.reports_refused;
        }
    }
}

/// Everything at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub view: View,
    /// Since when its phase and reason are what they are.
    pub since: SystemTime,
    /// How long ago the driver last moved.
    pub idle: Duration,
    /// The newest peer connection.
    pub received: Option<Received>,
    /// Since the process began.
    pub totals: Totals,
    /// Of the messages that became tags of fragments, or did not, since the process began.
    pub metadata: MetadataFigures,
}

impl State {
    /// Before the session begins.
    pub fn new(metadata: Arc<Metadata>) -> Self {
        Self {
            metadata,
            inner: Mutex::new(Inner {
                view: View {
                    phase: Phase::Starting,
                    reason: Reason::Starting,
                    message: "starting".to_owned(),
                    signaling_since: None,
                    authenticated: false,
                    client_id: String::new(),
                },
                since: SystemTime::now(),
                heartbeat: Instant::now(),
                current: None,
                earlier: Vec::new(),
                past: Totals::default(),
            }),
        }
    }

    /// Takes the session's view; returns the one before when phase or reason changed.
    pub fn set_view(&self, view: View) -> Option<View> {
        let mut inner = self.inner.lock();
        inner.heartbeat = Instant::now();
        let changed = inner.view.phase != view.phase || inner.view.reason != view.reason;
        if changed {
            inner.since = SystemTime::now();
        }
        let before = std::mem::replace(&mut inner.view, view);
        changed.then_some(before)
    }

    /// The process is alive.
    pub fn beat(&self) {
        self.inner.lock().heartbeat = Instant::now();
    }

    /// A peer was answered: where its figures go.
    pub fn new_peer(&self, generation: u64) -> Arc<Mutex<Received>> {
        let figures = Arc::new(Mutex::new(Received::default()));
        let mut inner = self.inner.lock();
        inner.past.peers += 1;
        if let Some((_, before)) = inner.current.replace((generation, Arc::clone(&figures))) {
            inner.earlier.push(before);
        }
        inner.settle();
        figures
    }

    pub fn snapshot(&self) -> Snapshot {
        let mut inner = self.inner.lock();
        inner.settle();
        let received = inner.current.as_ref().map(|(_, figures)| figures.lock().clone());
        let mut totals = inner.past;
        for received in &inner.earlier {
            totals.add(&received.lock());
        }
        if let Some(received) = &received {
            totals.add(received);
        }
        Snapshot {
            view: inner.view.clone(),
            since: inner.since,
            idle: inner.heartbeat.elapsed(),
            received,
            totals,
            metadata: self.metadata.figures(),
        }
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new(Arc::default())
    }
}
