//! Keeps the right pipeline running for the media that arrives: opens it when it is known which
//! tracks there are, replaces it when that changes, rebuilds it when it breaks.

use super::gate::Gate;
use super::graph::{Graph, GraphEvent};
use super::sound::SoundFigures;
use crate::metadata::Metadata;
use crate::outputs::Outputs;
use crate::tracks::Tracks;
use kvs_media::{AccessUnit, AudioPacket};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Pictures and sounds kept while it is undecided which tracks there are (a second), or until a pipeline that broke is
/// tried again (15 s at most), and their bytes. When it is full the oldest go, up to the next IDR; one that is larger by
/// itself stays.
const MAX_PENDING: usize = 1024;
const MAX_PENDING_BYTES: usize = 16 << 20;

/// Beyond whatever is waited for.
const FOREVER: Duration = Duration::from_secs(3600);

/// Between attempts to build a pipeline.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));

/// What happens to the pipelines.
#[derive(Debug)]
pub enum PipelineEvent {
    /// A pipeline runs with these tracks.
    Opened(Tracks),
    /// The pipeline broke, or could not be built; it is built anew after a while.
    Broken { message: String, retry_in: Duration },
    /// Something is not as it should be, but it goes on.
    Warning(String),
    /// A key frame is needed for a pipeline to begin with.
    NeedKeyFrame,
}

/// What all pipelines of a connection counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PipelineFigures {
    /// Pictures put into pipelines.
    pub pictures: u64,
    /// Opus packets put into pipelines.
    pub sounds: u64,
    /// Pictures dropped: no pipeline, or it did not keep up.
    pub pictures_dropped: u64,
    pub sounds_dropped: u64,
    /// Pipelines that were started.
    pub started: u64,
    /// What was done to the sound.
    pub sound: SoundFigures,
}

impl PipelineFigures {
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

    fn bytes(&self) -> usize {
        match self {
            Self::AccessUnit(unit) => unit.data.len(),
            Self::AudioPacket(packet) => packet.data.len(),
            Self::AudioGap { .. } => 0,
        }
    }
}

/// The pipelines of one peer connection.
pub struct Pipelines {
    outputs: Outputs,
    aac_bitrate: i32,
    metadata: Arc<Metadata>,
    gate: Gate,
    pending: VecDeque<Item>,
    /// Of `pending`.
    pending_bytes: usize,
    /// Media has come for a pipeline, whether or not it took it, since that was asked for.
    fed: bool,
    graph: Option<Graph>,
    bus: Option<mpsc::Receiver<GraphEvent>>,
    /// Pipelines whose input ended, writing out what they have.
    retiring: JoinSet<()>,
    retire_within: Duration,
    retry_at: Option<Instant>,
    retry_delay: Duration,
    /// Video before its next IDR has no pipeline to go to.
    awaiting_idr: bool,
    figures: PipelineFigures,
}

impl Pipelines {
    /// For media of which `expected` was negotiated. `aac_bitrate` is in bit/s. A pipeline
    /// that is replaced has `retire_within` to deliver what it has.
    pub fn new(expected: Tracks, outputs: Outputs, aac_bitrate: i32, retire_within: Duration) -> Self {
        Self {
            outputs,
            aac_bitrate,
            metadata: Arc::default(),
            gate: Gate::new(expected),
            pending: VecDeque::new(),
            pending_bytes: 0,
            fed: false,
            graph: None,
            bus: None,
            retiring: JoinSet::new(),
            retire_within,
            retry_at: None,
            retry_delay: RETRY.0,
            awaiting_idr: false,
            figures: PipelineFigures::default(),
        }
    }

    /// With the tags that go with its fragments.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Arc<Metadata>) -> Self {
        self.metadata = metadata;
        self
    }

    pub fn access_unit(&mut self, unit: AccessUnit, now: Instant) -> Vec<PipelineEvent> {
        self.gate.video(now);
        let mut events = Vec::new();
        let switch = self.graph.as_ref().is_some_and(|graph| {
            Some(graph.tracks()) != self.gate.tracks(now) || self.has_other_outputs(graph)
        });
        if switch {
            if unit.is_idr() {
                self.retire();
            } else if !self.awaiting_idr {
                self.awaiting_idr = true;
                events.push(PipelineEvent::NeedKeyFrame);
            }
        }
        if unit.is_idr() {
            self.awaiting_idr = false;
        }
        self.keep(Item::AccessUnit(unit));
        self.flow(now, &mut events);
        events
    }

    /// An output has become ready since.
    fn has_other_outputs(&self, graph: &Graph) -> bool {
        graph.outputs() != self.outputs.ready()
    }

    /// The next picture, an IDR, has another format than those before.
    pub fn format_changed(&mut self) {
        if self.outputs.replace_on_new_format() {
            self.retire();
        }
    }

    pub fn audio_packet(&mut self, packet: AudioPacket, now: Instant) -> Vec<PipelineEvent> {
        self.gate.audio(packet.stereo, now);
        // Without video nothing has to wait for an IDR.
        if let (Some(graph), Some(tracks)) = (&self.graph, self.gate.tracks(now))
            && tracks.video.is_none()
            && (graph.tracks() != tracks || self.has_other_outputs(graph))
        {
            self.retire();
        }
        self.keep(Item::AudioPacket(packet));
        let mut events = Vec::new();
        self.flow(now, &mut events);
        events
    }

    /// Nothing sounds here: packets were lost, or none were sent.
    pub fn audio_gap(&mut self, at: SystemTime, duration: Duration, now: Instant) -> Vec<PipelineEvent> {
        self.keep(Item::AudioGap { at, duration });
        let mut events = Vec::new();
        self.flow(now, &mut events);
        events
    }

    /// Opens a pipeline when it is time, and takes note of those that have ended.
    pub fn tick(&mut self, now: Instant) -> Vec<PipelineEvent> {
        let mut events = Vec::new();
        self.flow(now, &mut events);
        while self.retiring.try_join_next().is_some() {}
        events
    }

    /// When to call [`Pipelines::tick`] if nothing arrives before.
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

    /// Deals with what [`Pipelines::bus`] gave.
    pub fn on_bus(&mut self, event: GraphEvent, now: Instant) -> Vec<PipelineEvent> {
        let mut events = Vec::new();
        match event {
            GraphEvent::Error { element, message } => {
                self.retire();
                self.broken(format!("{element}: {message}"), now, &mut events);
            }
            GraphEvent::Warning { element, message } => {
                events.push(PipelineEvent::Warning(format!("{element}: {message}")));
            }
            GraphEvent::KeyFrameWanted => events.push(PipelineEvent::NeedKeyFrame),
            GraphEvent::EndOfStream => {}
        }
        events
    }

    /// Whether media has come for a pipeline since this was asked last.
    pub fn take_fed(&mut self) -> bool {
        std::mem::take(&mut self.fed)
    }

    /// Nothing comes out of the running pipeline, and nothing says why: another takes its place.
    pub fn replace(&mut self, why: String, now: Instant) -> Vec<PipelineEvent> {
        let mut events = Vec::new();
        self.retire();
        self.broken(why, now, &mut events);
        events
    }

    /// What was counted so far.
    pub fn figures(&self) -> PipelineFigures {
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
        self.pending_bytes += item.bytes();
        self.pending.push_back(item);
        while self.pending.len() > MAX_PENDING
            || self.pending_bytes > MAX_PENDING_BYTES && self.pending.len() > 1
        {
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
                self.pending_bytes -= item.bytes();
                self.figures.dropped(&item);
            }
        }
    }

    /// Opens a pipeline when it is time, and empties what is pending into it.
    fn flow(&mut self, now: Instant, events: &mut Vec<PipelineEvent>) {
        if self.graph.is_none() {
            let Some(tracks) = self.gate.tracks(now) else {
                return;
            };
            if self.retry_at.is_some_and(|at| now < at) {
                self.fed |= !self.pending.is_empty();
                return;
            }
            // From here on it waits for media, and not for time.
            self.retry_at = None;
            if !self.begin_with_idr(tracks) {
                if !self.awaiting_idr {
                    self.awaiting_idr = true;
                    events.push(PipelineEvent::NeedKeyFrame);
                }
                return;
            }
            match Graph::start(tracks, &self.outputs, self.aac_bitrate) {
                Ok((graph, bus)) => {
                    self.graph = Some(graph);
                    self.bus = Some(bus);
                    self.retry_at = None;
                    self.retry_delay = RETRY.0;
                    self.figures.started += 1;
                    events.push(PipelineEvent::Opened(tracks));
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
        self.fed |= !self.pending.is_empty();
        self.pending_bytes = 0;
        for item in self.pending.drain(..) {
            match item {
                Item::AccessUnit(unit) => {
                    // Each IDR begins a fragment, unless one has just begun.
                    let begins = unit.is_idr();
                    let tags = if begins { self.metadata.of_fragment(unit.capture_time) } else { Vec::new() };
                    if graph.access_unit(&unit, &tags) {
                        self.figures.pictures += 1;
                    } else {
                        self.figures.pictures_dropped += 1;
                        self.metadata.give_back(tags);
                    }
                }
                Item::AudioPacket(packet) => {
                    // Alone, sound is cut by time.
                    let alone = graph.tracks().video.is_none();
                    let tags =
                        if alone { self.metadata.of_fragment(packet.capture_time) } else { Vec::new() };
                    graph.audio_tags(&tags);
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
            self.count_pending();
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
        self.count_pending();
        true
    }

    fn count_pending(&mut self) {
        self.pending_bytes = self.pending.iter().map(Item::bytes).sum();
    }

    fn drop_all(&mut self) {
        self.pending_bytes = 0;
        for item in self.pending.drain(..) {
            self.figures.dropped(&item);
        }
    }

    fn broken(&mut self, message: String, now: Instant, events: &mut Vec<PipelineEvent>) {
        let retry_in = self.retry_delay;
        self.retry_at = Some(now + retry_in);
        self.retry_delay = (retry_in * 2).min(RETRY.1);
        self.awaiting_idr = false;
        self.drop_all();
        events.push(PipelineEvent::Broken { message, retry_in });
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

impl Drop for Pipelines {
    fn drop(&mut self) {
        self.retire();
        // Let them finish: dropping the set would abort them half-way.
        self.retiring.detach_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvs_media::{AudioCodec, VideoCodec, VideoFormat, VideoParameters};

    fn picture(bytes: usize, idr: bool, capture_time: SystemTime) -> AccessUnit {
        let format = VideoFormat {
            codec: VideoCodec::H264,
            profile_idc: 66,
            constraint_flags: 0,
            level_idc: 31,
            width: 320,
            height: 180,
        };
        let parameters = VideoParameters { format, configuration_record: vec![1, 66, 0, 31, 0xff].into() };
        AccessUnit {
            data: vec![0; bytes].into(),
            capture_time,
            rtp_timestamp: 0,
            parameters: idr.then_some(parameters),
        }
    }

    #[test]
    fn what_waits_for_a_pipeline_is_bounded_in_bytes_and_begins_with_a_key_frame() {
        let expected =
            Tracks { video: Some(VideoCodec::H264), audio: Some(AudioCodec::Opus), ..Tracks::default() };
        let mut pipelines = Pipelines::new(expected, Outputs::default(), 64_000, Duration::ZERO);
        let (start, begun) = (Instant::now(), SystemTime::now());
        // Half a megabyte each, 100 MB in all, in less time than it takes to know that no sound comes.
        for number in 0..200_u64 {
            let since = Duration::from_millis(number * 4);
            pipelines.access_unit(picture(1 << 19, number % 10 == 0, begun + since), start + since);
            let held: usize = pipelines.pending.iter().map(Item::bytes).sum();
            assert_eq!(pipelines.pending_bytes, held);
            assert!(held <= MAX_PENDING_BYTES, "{held}");
            assert!(pipelines.pending.front().is_some_and(Item::is_idr));
        }
        assert!(pipelines.figures().pictures_dropped >= 160);
        // One that is larger by itself stays.
        pipelines
            .access_unit(picture(MAX_PENDING_BYTES + 1, true, begun), start + Duration::from_millis(810));
        assert_eq!((pipelines.pending.len(), pipelines.pending_bytes), (1, MAX_PENDING_BYTES + 1));
        pipelines.drop_all();
        assert_eq!((pipelines.pending.len(), pipelines.pending_bytes), (0, 0));
    }
}
