//! Keeps the right pipeline running for the media that arrives: opens it when it is known which
//! tracks there are, replaces it when that changes, rebuilds it when it breaks.

use super::gate::Gate;
use super::graph::{Graph, GraphEvent, SoundFigures};
use crate::outputs::Outputs;
use crate::tracks::Tracks;
use kvs_media::{AccessUnit, AudioPacket};
use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Pictures and sounds kept while it is undecided which tracks there are (a second at most). When
/// it is full the oldest go, up to the next IDR.
const MAX_PENDING: usize = 1024;

/// Beyond whatever is waited for.
const FOREVER: Duration = Duration::from_secs(3600);

/// Between attempts to build a pipeline.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));

/// What a relay reports.
#[derive(Debug)]
pub enum RelayEvent {
    /// A pipeline runs with these tracks.
    Opened(Tracks),
    /// The pipeline broke, or could not be built; it is built anew after a while.
    Broken { message: String, retry_in: Duration },
    /// Something is not as it should be, but it goes on.
    Warning(String),
    /// A key frame is needed for a pipeline to begin with.
    NeedKeyFrame,
}

/// What a relay counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayFigures {
    /// Pictures put into pipelines.
    pub pictures: u64,
    /// Opus packets put into pipelines.
    pub sounds: u64,
    /// Pictures dropped: no pipeline, or it did not keep up.
    pub pictures_dropped: u64,
    pub sounds_dropped: u64,
    /// Pipelines that were started.
    pub pipelines: u64,
    /// What was done to the sound.
    pub sound: SoundFigures,
}

impl RelayFigures {
    fn dropped(&mut self, item: &Item) {
        match item {
            Item::AccessUnit(_) => self.pictures_dropped += 1,
            Item::AudioPacket(_) | Item::AudioGap { .. } => self.sounds_dropped += 1,
        }
    }
}

enum Item {
    AccessUnit(AccessUnit),
    AudioPacket(AudioPacket),
    AudioGap { at: SystemTime, duration: Duration },
}

impl Item {
    fn is_idr(&self) -> bool {
        matches!(self, Self::AccessUnit(unit) if unit.is_idr())
    }

    fn is_video(&self) -> bool {
        matches!(self, Self::AccessUnit(_))
    }
}

/// The pipelines of one peer connection.
pub struct Relay {
    outputs: Outputs,
    aac_bitrate: i32,
    gate: Gate,
    pending: VecDeque<Item>,
    graph: Option<Graph>,
    bus: Option<mpsc::Receiver<GraphEvent>>,
    /// Pipelines whose input ended, writing out what they have.
    retiring: JoinSet<()>,
    retire_within: Duration,
    retry_at: Option<Instant>,
    retry_delay: Duration,
    /// Video before its next IDR has no pipeline to go to.
    awaiting_idr: bool,
    figures: RelayFigures,
}

impl Relay {
    /// A relay for media of which `expected` was negotiated. `aac_bitrate` is in bit/s. A pipeline
    /// that is replaced has `retire_within` to deliver what it has.
    pub fn new(expected: Tracks, outputs: Outputs, aac_bitrate: i32, retire_within: Duration) -> Self {
        Self {
            outputs,
            aac_bitrate,
            gate: Gate::new(expected),
            pending: VecDeque::new(),
            graph: None,
            bus: None,
            retiring: JoinSet::new(),
            retire_within,
            retry_at: None,
            retry_delay: RETRY.0,
            awaiting_idr: false,
            figures: RelayFigures::default(),
        }
    }

    pub fn access_unit(&mut self, unit: AccessUnit, now: Instant) -> Vec<RelayEvent> {
        self.gate.video(now);
        let mut events = Vec::new();
        let switch = self.graph.as_ref().is_some_and(|graph| Some(graph.tracks()) != self.gate.tracks(now));
        if switch {
            if unit.is_idr() {
                self.retire();
            } else if !self.awaiting_idr {
                self.awaiting_idr = true;
                events.push(RelayEvent::NeedKeyFrame);
            }
        }
        if unit.is_idr() {
            self.awaiting_idr = false;
        }
        self.keep(Item::AccessUnit(unit));
        self.flow(now, &mut events);
        events
    }

    /// The next picture, an IDR, has another format than those before.
    pub fn format_changed(&mut self) {
        if self.outputs.replace_on_new_format() {
            self.retire();
        }
    }

    pub fn audio_packet(&mut self, packet: AudioPacket, now: Instant) -> Vec<RelayEvent> {
        self.gate.audio(packet.stereo, now);
        // Without video nothing has to wait for an IDR.
        if let (Some(graph), Some(tracks)) = (&self.graph, self.gate.tracks(now))
            && graph.tracks() != tracks
            && tracks.video.is_none()
        {
            self.retire();
        }
        self.keep(Item::AudioPacket(packet));
        let mut events = Vec::new();
        self.flow(now, &mut events);
        events
    }

    /// Nothing sounds here: packets were lost, or none were sent.
    pub fn audio_gap(&mut self, at: SystemTime, duration: Duration, now: Instant) -> Vec<RelayEvent> {
        self.keep(Item::AudioGap { at, duration });
        let mut events = Vec::new();
        self.flow(now, &mut events);
        events
    }

    /// Opens a pipeline when it is time, and takes note of those that have ended.
    pub fn tick(&mut self, now: Instant) -> Vec<RelayEvent> {
        let mut events = Vec::new();
        self.flow(now, &mut events);
        while self.retiring.try_join_next().is_some() {}
        events
    }

    /// When to call [`Relay::tick`] if nothing arrives before.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        if self.graph.is_some() {
            return None;
        }
        [self.gate.poll_timeout(now), self.retry_at].into_iter().flatten().min()
    }

    /// Waits for the running pipeline to say something; for ever when there is none.
    pub async fn bus(&mut self) -> GraphEvent {
        match &mut self.bus {
            Some(bus) => match bus.recv().await {
                Some(event) => event,
                None => {
                    self.bus = None;
                    std::future::pending().await
                }
            },
            None => std::future::pending().await,
        }
    }

    /// Deals with what [`Relay::bus`] gave.
    pub fn on_bus(&mut self, event: GraphEvent, now: Instant) -> Vec<RelayEvent> {
        let mut events = Vec::new();
        match event {
            GraphEvent::Error { element, message } => {
                self.retire();
                self.broken(format!("{element}: {message}"), now, &mut events);
            }
            GraphEvent::Warning { element, message } => {
                events.push(RelayEvent::Warning(format!("{element}: {message}")));
            }
            GraphEvent::KeyFrameWanted => events.push(RelayEvent::NeedKeyFrame),
            GraphEvent::EndOfStream => {}
        }
        events
    }

    /// What was counted so far.
    pub fn figures(&self) -> RelayFigures {
        let mut figures = self.figures;
        if let Some(graph) = &self.graph {
            figures.sound.add(graph.sound_figures());
        }
        figures
    }

    /// The tracks that are being stored.
    pub fn tracks(&self) -> Option<Tracks> {
        self.graph.as_ref().map(Graph::tracks)
    }

    /// Ends the input and waits until everything is written out, up to `retire_within`.
    pub async fn finish(mut self) {
        // What waits to hear which tracks there are, or for a pipeline that broke to be tried again, waits no longer.
        self.flow(Instant::now() + FOREVER, &mut Vec::new());
        self.retire();
        while self.retiring.join_next().await.is_some() {}
    }

    fn keep(&mut self, item: Item) {
        self.pending.push_back(item);
        if self.pending.len() > MAX_PENDING {
            self.drop_oldest();
        }
    }

    /// Drops the oldest group of pictures with its sound.
    fn drop_oldest(&mut self) {
        let mut first = true;
        while let Some(item) = self.pending.front() {
            if !first && item.is_idr() {
                break;
            }
            first = false;
            if let Some(item) = self.pending.pop_front() {
                self.figures.dropped(&item);
            }
        }
    }

    /// Opens a pipeline when it is time, and empties what is pending into it.
    fn flow(&mut self, now: Instant, events: &mut Vec<RelayEvent>) {
        if self.graph.is_none() {
            let Some(tracks) = self.gate.tracks(now) else {
                return;
            };
            if self.retry_at.is_some_and(|at| now < at) {
                return;
            }
            // From here on it waits for media, and not for time.
            self.retry_at = None;
            if !self.begin_with_idr(tracks) {
                if !self.awaiting_idr {
                    self.awaiting_idr = true;
                    events.push(RelayEvent::NeedKeyFrame);
                }
                return;
            }
            match Graph::start(tracks, &self.outputs, self.aac_bitrate) {
                Ok((graph, bus)) => {
                    self.graph = Some(graph);
                    self.bus = Some(bus);
                    self.retry_at = None;
                    self.retry_delay = RETRY.0;
                    self.figures.pipelines += 1;
                    events.push(RelayEvent::Opened(tracks));
                }
                Err(error) => {
                    self.broken(error.to_string(), now, events);
                    return;
                }
            }
        }
        let Some(graph) = &mut self.graph else {
            return;
        };
        for item in self.pending.drain(..) {
            match item {
                Item::AccessUnit(unit) => {
                    if graph.access_unit(&unit) {
                        self.figures.pictures += 1;
                    } else {
                        self.figures.pictures_dropped += 1;
                    }
                }
                Item::AudioPacket(packet) => {
                    if graph.audio_packet(&packet) {
                        self.figures.sounds += 1;
                    } else {
                        self.figures.sounds_dropped += 1;
                    }
                }
                Item::AudioGap { at, duration } => graph.audio_gap(at, duration),
            }
        }
    }

    /// Cuts what is pending down to what a pipeline can begin with. `false`: no IDR yet.
    fn begin_with_idr(&mut self, tracks: Tracks) -> bool {
        if tracks.video.is_none() {
            self.pending.retain(|item| !item.is_video());
            return !self.pending.is_empty();
        }
        let idr = self.pending.iter().position(Item::is_idr);
        let Some(idr) = idr else {
            self.drop_all();
            return false;
        };
        let start: Option<SystemTime> = match &self.pending[idr] {
            Item::AccessUnit(unit) => Some(unit.capture_time),
            Item::AudioPacket(_) | Item::AudioGap { .. } => None,
        };
        let mut index = 0;
        let figures = &mut self.figures;
        // Sound from before the first picture has no picture to go with.
        self.pending.retain(|item| {
            let sounds_after = |end: SystemTime| start.is_none_or(|start| end > start);
            let keep = match item {
                Item::AccessUnit(_) => index >= idr,
                Item::AudioPacket(packet) => sounds_after(packet.capture_time + packet.duration),
                Item::AudioGap { at, duration } => sounds_after(*at + *duration),
            };
            index += 1;
            if !keep {
                figures.dropped(item);
            }
            keep
        });
        true
    }

    fn drop_all(&mut self) {
        for item in self.pending.drain(..) {
            self.figures.dropped(&item);
        }
    }

    fn broken(&mut self, message: String, now: Instant, events: &mut Vec<RelayEvent>) {
        let retry_in = self.retry_delay;
        self.retry_at = Some(now + retry_in);
        self.retry_delay = (retry_in * 2).min(RETRY.1);
        self.awaiting_idr = false;
        self.drop_all();
        events.push(RelayEvent::Broken { message, retry_in });
    }

    /// Ends the running pipeline's input and lets it write out what it has.
    fn retire(&mut self) {
        let (Some(mut graph), Some(mut bus)) = (self.graph.take(), self.bus.take()) else {
            return;
        };
        graph.finish();
        self.figures.sound.add(graph.sound_figures());
        let within = self.retire_within;
        self.retiring.spawn(async move {
            let ended = tokio::time::timeout(within, async {
                while let Some(event) = bus.recv().await {
                    if !matches!(event, GraphEvent::Warning { .. } | GraphEvent::KeyFrameWanted) {
                        break;
                    }
                }
            });
            if ended.await.is_err() {
                tracing::warn!(?within, "the end of the recording could not be delivered in time");
            }
            let _ = tokio::task::spawn_blocking(move || graph.stop()).await;
        });
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.retire();
        // Let them finish: dropping the set would abort them half-way.
        self.retiring.detach_all();
    }
}
