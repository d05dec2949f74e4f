//! Moves the media of one peer connection: RTP in, loss repaired, frames into the pipeline.

use crate::connecting::{Connecting, Step};
use crate::events::{Event, Events};
use crate::hand_over::{HandOver, Item, Line};
use crate::metadata::{Metadata, NotStored};
use crate::outputs::Outputs;
use crate::peer::{self, Arrival, MediaEvent, MediaKind, MediaQueue, Message, Negotiated, Peer, PeerStats};
use crate::pipeline::{PipelineEvent, PipelineFigures, Pipelines};
use crate::session::Input;
use crate::tracks::{self, Standing, Track, TrackWatch, Tracks};
use kvs_media::{
    AudioCodec, AudioConfig, AudioOutput, ClockStats, InboundStats, KeyFrameConfig, MediaConfig, MediaOutput,
    MediaReceiver, PerTrack, ReorderConfig, TimeSource, VideoCodec, VideoConfig, VideoFormat, VideoOutput,
    WithheldCounts,
};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How often the session is told that media arrives, and figures are taken.
const REPORT: Duration = Duration::from_millis(500);

/// A sender's timestamps are complained of once in so long at most; figures and metrics tell the rest.
const DOUBT_AGAIN: Duration = Duration::from_secs(600);

/// At the end, packets are waited for so long each, and all of them.
const LAST_PACKET: Duration = Duration::from_millis(50);
const LAST_PACKETS: Duration = Duration::from_millis(200);

/// What one peer connection received.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// `None`: not negotiated.
    pub stats: PerTrack<Option<InboundStats>>,
    /// `None`: not negotiated.
    pub video_codec: Option<VideoCodec>,
    /// `None`: not negotiated.
    pub audio_codec: Option<AudioCodec>,
    /// What the newest SPS says.
    pub format: Option<VideoFormat>,
    /// Counters of the pipelines.
    pub pipelines: PipelineFigures,
    /// How each stands, video and audio.
    pub standings: PerTrack<Standing>,
    /// What was received of each and not handed on.
    pub withheld: PerTrack<WithheldCounts>,
    /// Figures of the connection.
    pub peer: PeerStats,
    /// Where capture times come from.
    pub time: Times,
}

/// What is known of the time of what is received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    pub tracks: PerTrack<ClockStats>,
    /// How far video comes after audio, milliseconds.
    pub distance_ms: Option<i64>,
    /// How far this machine's clock was set ahead meanwhile, milliseconds.
    pub clock_step_ms: i64,
}

/// How media is received and stored.
#[derive(Clone)]
pub struct ReceiveConfig {
    /// Ask for a key frame when the last is older: the length of a fragment.
    pub key_frame_interval: Duration,
    /// Bit rate of the AAC, bit/s.
    pub aac_bitrate: i32,
    /// What the end of a recording has to be delivered within.
    pub retire_within: Duration,
    pub outputs: Outputs,
    /// Tags on their way to fragments, of all connections.
    pub metadata: Arc<Metadata>,
    /// The time as AWS has it.
    pub clock: Arc<dyn Fn() -> SystemTime + Send + Sync>,
}

/// The media of one peer connection.
pub struct Receive {
    pub generation: u64,
    /// To send feedback with.
    pub peer: Arc<dyn Peer>,
    /// What the master agreed to.
    pub negotiated: Negotiated,
    /// The tracks of that.
    pub expected: Tracks,
    pub config: ReceiveConfig,
    /// To the session. Bounded; a report that does not fit is left out, the next follows.
    pub session: mpsc::Sender<Input>,
    /// Where the figures are left.
    pub figures: Arc<Mutex<Received>>,
    pub events: Arc<Events>,
    /// What is told of the first packet, picture and stored fragment.
    pub connecting: Arc<Connecting>,
    /// Media stalls: a key frame is to be asked for.
    pub key_frame_request: Arc<tokio::sync::Notify>,
    /// Ends it.
    pub stop: CancellationToken,
    /// For the connection that takes the place of this one.
    pub hand_over: Arc<HandOver>,
    /// The connection in whose place this one is.
    pub follows: Option<Arc<HandOver>>,
}

impl Receive {
    /// Runs until it is stopped or the peer is gone, then delivers what is still inside.
    pub async fn run(self, mut media: MediaQueue) {
        let mut pipelines = Pipelines::new(
            self.expected,
            self.config.outputs.clone(),
            self.config.aac_bitrate,
            self.config.retire_within,
        )
        .with_metadata(Arc::clone(&self.config.metadata));
        let mut receiver =
            MediaReceiver::new(media_config(&self.negotiated, Some(self.config.key_frame_interval)));
        let line =
            Line::new(Arc::clone(&self.hand_over), self.follows.clone(), self.expected.video.is_some());
        let mut state = State {
            line,
            flowing: false,
            arrived: false,
            format: None,
            key_frame_wanted: false,
            time: Times::default(),
            ended: false,
            heard: false,
            awaited: None,
            doubted: PerTrack::default(),
            standings: PerTrack::default(),
            tracks: TrackWatch::new(Instant::now()),
        };
        let mut report = tokio::time::interval(REPORT);
        report.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let now = Instant::now();
            let wake = [receiver.poll_timeout(), pipelines.poll_timeout(now), state.line.poll_timeout()]
                .into_iter()
                .flatten()
                .min()
                .unwrap_or(now + REPORT);
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                event = pipelines.bus() => {
                    let events = pipelines.on_bus(event, Instant::now());
                    self.handle_pipeline_events(events, &mut state);
                }
                _ = report.tick() => {
                    self.report(&mut receiver, &pipelines, &mut state).await;
                    self.watch(&mut pipelines, &mut state);
                }
                batch = media.recv() => {
                    let Some(batch) = batch else { break };
                    if !std::mem::replace(&mut state.heard, true) {
                        self.connecting.step(self.generation, Step::FirstPacket, Instant::now());
                    }
                    self.handle(batch, &mut receiver, &mut pipelines, &mut state).await;
                }
                () = self.key_frame_request.notified() => state.key_frame_wanted = true,
                () = tokio::time::sleep_until(wake.into()) => {}
            }
            let now = Instant::now();
            receiver.handle_timeout(now);
            self.drain(&mut receiver, &mut pipelines, &mut state, now).await;
            let events = pipelines.tick(now);
            self.handle_pipeline_events(events, &mut state);
            if std::mem::take(&mut state.key_frame_wanted) {
                self.request_key_frame(&receiver).await;
            }
        }
        // What the master sent before it left is still on its way through the engine.
        let until = Instant::now() + LAST_PACKETS;
        while let Ok(Some(batch)) = tokio::time::timeout(
            LAST_PACKET.min(until.saturating_duration_since(Instant::now())),
            media.recv(),
        )
        .await
        {
            self.handle(batch, &mut receiver, &mut pipelines, &mut state).await;
            let now = Instant::now();
            receiver.handle_timeout(now);
            self.drain(&mut receiver, &mut pipelines, &mut state, now).await;
        }
        let now = Instant::now();
        // What is judged now has no packets to follow: it is no news of the sender's clock.
        state.ended = true;
        receiver.finish(now);
        self.drain(&mut receiver, &mut pipelines, &mut state, now).await;
        self.pass_on(&mut pipelines, &mut state, now, true);
        self.report(&mut receiver, &pipelines, &mut state).await;
        // What was received stays to be read; of what is stored now, nothing does.
        self.figures.lock().standings = Default::default();
        pipelines.finish().await;
    }

    async fn handle(
        &self,
        batch: Vec<Arrival>,
        receiver: &mut MediaReceiver,
        pipelines: &mut Pipelines,
        state: &mut State,
    ) {
        let (now, wall_now) = (Instant::now(), (self.config.clock)());
        for Arrival { at, event } in batch {
            let wall = wall_now.checked_sub(now.saturating_duration_since(at)).unwrap_or(wall_now);
            match event {
                MediaEvent::Rtp { kind, packet } => {
                    state.arrived = true;
                    receiver.handle_rtp(kind, packet, at, wall);
                }
                MediaEvent::SenderReport(report) => receiver.handle_sender_report(report, at),
                MediaEvent::Message(message) => {
                    // It goes with the pictures behind it: those before go on first.
                    receiver.handle_timeout(now);
                    self.drain(receiver, pipelines, state, now).await;
                    self.message(state, &message, now, wall);
                }
            }
        }
    }

    fn message(&self, state: &mut State, message: &Message, now: Instant, wall: SystemTime) {
        match self.config.metadata.tag(message) {
            Ok(tag) => state.line.push(Item::Metadata { at: wall, tag }, now),
            Err(reason) => self.not_stored(&message.label, reason),
        }
    }

    fn not_stored(&self, channel: &str, reason: NotStored) {
        self.events.emit(Event::MessageNotStored { channel: channel.to_owned(), reason });
    }

    async fn drain(
        &self,
        receiver: &mut MediaReceiver,
        pipelines: &mut Pipelines,
        state: &mut State,
        now: Instant,
    ) {
        while let Some(output) = receiver.poll_output() {
            match output {
                MediaOutput::Video(VideoOutput::AccessUnit(unit)) => {
                    if !state.flowing {
                        self.first_media(state, unit.capture_time, now);
                    }
                    state.line.push(Item::Video(unit), now);
                }
                MediaOutput::Video(VideoOutput::FormatChanged(format)) => {
                    state.format = Some(format);
                    state.line.push(Item::FormatChanged, now);
                    self.events.emit(Event::VideoFormat { format });
                }
                MediaOutput::Video(VideoOutput::KeyFramesAssumed) => {
                    self.events.emit(Event::KeyFramesAssumed)
                }
                MediaOutput::Video(VideoOutput::Nack { ssrc, sequences })
                | MediaOutput::Audio(AudioOutput::Nack { ssrc, sequences }) => {
                    // The peer that is being left has nothing more to send.
                    if self.stop.is_cancelled() {
                        continue;
                    }
                    if let Err(error) = self.peer.send_nack(ssrc, &sequences).await {
                        tracing::debug!(%error, "NACK not sent");
                    }
                }
                MediaOutput::Video(VideoOutput::RequestKeyFrame(reason)) => {
                    tracing::debug!(?reason, "asking for a key frame");
                    self.request_key_frame(receiver).await;
                }
                MediaOutput::Video(VideoOutput::Lost(loss)) => {
                    self.events.emit(Event::PacketsLost { kind: MediaKind::Video, loss });
                }
                MediaOutput::Audio(AudioOutput::Lost(loss)) => {
                    self.events.emit(Event::PacketsLost { kind: MediaKind::Audio, loss });
                }
                MediaOutput::Video(VideoOutput::Malformed(packet)) => {
                    self.events.emit(Event::MalformedPacket { kind: MediaKind::Video, packet });
                }
                MediaOutput::Audio(AudioOutput::Malformed(packet)) => {
                    self.events.emit(Event::MalformedPacket { kind: MediaKind::Audio, packet });
                }
                MediaOutput::Video(VideoOutput::Incomplete { ssrc, rtp_timestamp, reason }) => {
                    self.events.emit(Event::PictureIncomplete {
                        ssrc,
                        rtp_timestamp,
                        reason: format!("{reason:?}"),
                    });
                }
                MediaOutput::Audio(AudioOutput::Packet(packet)) => {
                    // Audio alone is media, too; beside video, the picture decides.
                    if !state.flowing && self.expected.video.is_none() {
                        self.first_media(state, packet.capture_time, now);
                    }
                    state.line.push(Item::Audio(packet), now);
                }
                MediaOutput::Audio(AudioOutput::Gap { at, duration }) => {
                    state.line.push(Item::Gap { at, duration }, now);
                }
                // The enums may grow.
                MediaOutput::Video(_) | MediaOutput::Audio(_) => {}
            }
        }
        self.pass_on(pipelines, state, now, false);
    }

    /// What is this connection's to store goes into the pipelines. `last`: nothing follows.
    fn pass_on(&self, pipelines: &mut Pipelines, state: &mut State, now: Instant, last: bool) {
        while let Some(item) = state.line.poll(now, last) {
            let events = match item {
                Item::Video(unit) => pipelines.access_unit(unit, now),
                Item::Audio(packet) => pipelines.audio_packet(packet, now),
                Item::Gap { at, duration } => pipelines.audio_gap(at, duration, now),
                Item::FormatChanged => {
                    pipelines.format_changed();
                    continue;
                }
                Item::Metadata { tag, .. } => {
                    let name = tag.name.clone();
                    if let Err(reason) = self.config.metadata.push(tag) {
                        self.not_stored(&name, reason);
                    }
                    continue;
                }
            };
            self.handle_pipeline_events(events, state);
        }
    }

    fn handle_pipeline_events(&self, events: Vec<PipelineEvent>, state: &mut State) {
        for event in events {
            match event {
                PipelineEvent::Opened(tracks) => {
                    // A master whose video never comes is stored as audio: that is media flowing.
                    state.flowing = true;
                    self.pipeline_opened(tracks, state);
                    self.report_media(true);
                    self.config.outputs.pipeline_opened(Instant::now());
                    self.events.emit(Event::PipelineOpened { tracks });
                }
                PipelineEvent::Broken { message, retry_in } => {
                    self.config.outputs.pipeline_broken(&message, Instant::now());
                    self.events.emit(Event::PipelineBroken { message, retry_in });
                }
                PipelineEvent::Warning(message) => self.events.emit(Event::PipelineWarning { message }),
                PipelineEvent::NeedKeyFrame => state.key_frame_wanted = true,
            }
        }
    }

    /// Media that goes into a pipeline and does not come out: another pipeline may do.
    fn watch(&self, pipelines: &mut Pipelines, state: &mut State) {
        let now = Instant::now();
        if pipelines.take_fed() {
            self.config.outputs.fed(now);
        }
        if let Some(waited) = self.config.outputs.stalled(now) {
            let why = format!(
                "nothing of what was received in the last {} s has been stored, and nothing says why: GStreamer or the \
                 upload stands still",
                waited.as_secs()
            );
            self.handle_pipeline_events(pipelines.replace(why, now), state);
        }
    }

    async fn request_key_frame(&self, receiver: &MediaReceiver) {
        let Some(ssrc) = receiver.stats(MediaKind::Video).and_then(|stats| stats.ssrc) else {
            return;
        };
        if self.stop.is_cancelled() {
            return;
        }
        if let Err(error) = self.peer.send_pli(ssrc).await {
            tracing::debug!(%error, "PLI not sent");
        }
    }

    /// The first picture, or where there is no video the first sound.
    fn first_media(&self, state: &mut State, capture_time: SystemTime, now: Instant) {
        state.flowing = true;
        state.awaited = Some(capture_time);
        self.report_media(true);
        self.connecting.step(self.generation, Step::FirstKeyFrame, now);
        self.config.outputs.await_stored(capture_time);
    }

    fn report_media(&self, flowing: bool) {
        // Full: the session has enough to do, and the next report follows.
        let _ = self.session.try_send(Input::Media { generation: self.generation, flowing });
    }

    async fn report(&self, receiver: &mut MediaReceiver, pipelines: &Pipelines, state: &mut State) {
        if std::mem::take(&mut state.arrived) {
            self.report_media(state.flowing);
        }
        if let Some(at) = state.awaited.and_then(|awaited| self.config.outputs.stored_at(awaited)) {
            state.awaited = None;
            self.connecting.step(self.generation, Step::FirstPersisted, at);
        }
        let peer = self.peer.stats().await;
        if let Some(rtt) = peer.pair.as_ref().and_then(|pair| pair.round_trip_time) {
            receiver.set_rtt(rtt);
        }
        let time = Times {
            tracks: PerTrack::from_fn(|kind| receiver.clock(kind)),
            distance_ms: receiver.distance_ms(),
            clock_step_ms: receiver.wall_clock_off_ms(),
        };
        let time = if state.ended { state.time } else { time };
        self.set_time(state, time);
        let now = Instant::now();
        let stored = pipelines.tracks().unwrap_or_default().kinds();
        let tracks =
            PerTrack::from_fn(|kind| Track { flow: receiver.flow(kind, now), is_in_pipeline: stored[kind] });
        let standings = state.tracks.standings(tracks, &peer.unbound, now);
        self.set_standings(standings, state);
        let mut figures = self.figures.lock();
        let addresses =
            |stats: &PeerStats| stats.pair.as_ref().map(|pair| (pair.local.address, pair.remote.address));
        if addresses(&figures.peer) != addresses(&peer)
            && let Some(pair) = &peer.pair
        {
            self.events.emit(Event::PairSelected { pair: pair.clone(), udp_is_silent: peer.udp_is_silent });
            let relayed = peer::is_relayed(pair);
            let _ = self.session.try_send(Input::PairSelected { generation: self.generation, relayed });
        }
        *figures = Received {
            stats: PerTrack::from_fn(|kind| receiver.stats(kind).cloned()),
            video_codec: self.expected.video,
            audio_codec: self.expected.audio,
            format: state.format,
            pipelines: PipelineFigures {
                pictures_dropped: pipelines.figures().pictures_dropped + state.line.left_out(),
                ..pipelines.figures()
            },
            standings: state.standings,
            withheld: PerTrack::from_fn(|kind| receiver.withheld(kind)),
            peer,
            time,
        };
    }

    /// A pipeline of these tracks runs. Of those that it lacks nobody says that they flow.
    fn pipeline_opened(&self, tracks: Tracks, state: &mut State) {
        let mut standings = state.standings;
        let (expected, stored) = (self.expected.kinds(), tracks.kinds());
        for kind in MediaKind::ALL {
            let standing = &mut standings[kind];
            match (expected[kind], stored[kind], &standing) {
                (true, true, _) => *standing = Standing::Stored,
                (true, false, Standing::Absent | Standing::Stored) => *standing = Standing::Waiting,
                _ => {}
            }
        }
        self.set_standings(standings, state);
    }

    /// What is received and not stored is named, in the log once, and to the session.
    fn set_standings(&self, standings: PerTrack<Standing>, state: &mut State) {
        if standings == state.standings {
            return;
        }
        let missing = tracks::missing(standings, self.expected);
        if self.session.try_send(Input::Tracks { generation: self.generation, missing }).is_err() {
            // Full: with the next report.
            return;
        }
        let before = std::mem::replace(&mut state.standings, standings);
        for kind in MediaKind::ALL {
            let (was, is) = (before[kind], standings[kind]);
            match (was, is) {
                (was, Standing::NotStored(reason)) if was != is => {
                    let codec = self.expected.codec(kind);
                    self.events.emit(Event::TrackNotStored { kind, codec, reason });
                }
                (Standing::NotStored(_), Standing::Stored) => self.events.emit(Event::TrackStored { kind }),
                _ => {}
            }
        }
    }

    /// A sender whose timestamps are not believed as they are is named when that is found out.
    fn set_time(&self, state: &mut State, time: Times) {
        let before = std::mem::replace(&mut state.time, time);
        for kind in MediaKind::ALL {
            let (was, is) = (before.tracks[kind], time.tracks[kind]);
            let believed = |stats: ClockStats| stats.source != TimeSource::Arrival;
            if is.epochs > was.epochs
                || is.reports_refused > 0 && was.reports_refused == 0
                || believed(is) != believed(was)
            {
                let doubted = &mut state.doubted[kind];
                if doubted.is_some_and(|at| at.elapsed() < DOUBT_AGAIN) {
                    continue;
                }
                *doubted = Some(Instant::now());
                self.events.emit(Event::TimeDoubted { kind, time: is });
            }
        }
        if (before.clock_step_ms - time.clock_step_ms).abs() > 1_000 {
            self.events.emit(Event::ClockSet { ahead_ms: time.clock_step_ms });
        }
    }
}

struct State {
    /// On its way to the pipelines.
    line: Line,
    flowing: bool,
    arrived: bool,
    format: Option<VideoFormat>,
    key_frame_wanted: bool,
    time: Times,
    /// No packet follows.
    ended: bool,
    /// A packet came.
    heard: bool,
    /// Capture time of the first picture or sound that was handed on, until the outputs have stored it.
    awaited: Option<SystemTime>,
    /// When the timestamps of video and audio were last complained of.
    doubted: PerTrack<Option<Instant>>,
    /// As the session knows them.
    standings: PerTrack<Standing>,
    tracks: TrackWatch,
}

/// How the media of an answer is received. `key_frames`: how old an IDR may become before another is asked for.
pub(crate) fn media_config(negotiated: &Negotiated, key_frames: Option<Duration>) -> MediaConfig {
    MediaConfig {
        video: negotiated.video.map(|codec| VideoConfig {
            codec,
            key_frames: KeyFrameConfig { interval: key_frames, ..KeyFrameConfig::default() },
            payload_types: negotiated.video_payload_types.clone(),
            ..VideoConfig::default()
        }),
        audio: negotiated.audio.map(|codec| AudioConfig {
            codec,
            payload_types: negotiated.audio_payload_types.clone(),
            // Lost sound is asked for again where the master repeats packets.
            reorder: ReorderConfig { nack: negotiated.nack, ..ReorderConfig::audio() },
            ..AudioConfig::default()
        }),
        ..MediaConfig::default()
    }
}
