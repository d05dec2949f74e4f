//! The producer: input, retention and the session's life in one state machine.

mod abandon;
mod acks;
mod config;
mod event;
mod held;
mod link;
mod session;
mod spool;
mod spool_state;

pub use config::{ProducerConfig, SpoolConfig, Timecodes, WhenFull};
pub use event::{
    CloseReason, DropReason, Event, Output, Refusal, SessionId, SessionStart, Statistics, Transmit,
};
pub use held::Stored;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::fragment::{Fragment, Sent};
use crate::fragmenter::{Cutting, Fragmenter, Placed, Tracks};
use crate::host_clock::{HostClock, Known};
use crate::interleave::{Interleaver, Pushed};
use crate::leading::{Leading, Ready};
use crate::store::Store;
use crate::{Backoff, EventRefused, FragmentEvent, Frame, TrackFormat, TrackKind};
use link::Link;
use spool_state::Spool;

/// Payload that may wait in the interleaver: 20 s at 12 Mbit/s. Beyond it frames are handed on without waiting.
const INTERLEAVE_BYTES: usize = 32 << 20;

/// After a loss a key frame is waited for so long.
const AFTER_LOSS: Duration = Duration::from_secs(10);

/// A track's time that falls back by more than this has started over, and an epoch begins. What falls back by less is
/// put where its time belongs.
const TIME_RESTART: Duration = Duration::from_secs(3);

/// A PutMedia producer without IO. See the [crate's page](crate).
#[derive(Debug)]
pub struct Producer {
    config: ProducerConfig,
    formats: [Option<Arc<TrackFormat>>; 2],
    leading: Leading,
    interleaver: Interleaver,
    fragmenter: Fragmenter,
    store: Store,
    spool: Option<Spool>,
    link: Link,
    backoff: Backoff,
    /// Sessions that failed since the last fragment was acknowledged.
    failures: u32,
    /// When stream and endpoint, and credentials, were last asked for because of failures.
    refreshed: Option<Instant>,
    renewed: Option<Instant>,
    next_session: u64,
    /// Number of the next frame.
    next_frame: u64,
    /// Video that cannot be decoded is left out until the next random-access point.
    after_loss: bool,
    /// The clock that tells the times of frames, while nobody has confirmed it.
    host_clock: Option<HostClock>,
    known_clock: Option<Known>,
    /// Since when a key frame is waited for.
    lost_at: Option<Instant>,
    last_session_start: Option<Instant>,
    /// The stream keeps media: a fragment is stored when PERSISTED, not already when RECEIVED.
    retention: bool,
    /// Nothing is sent, because another producer still writes to the stream.
    held: bool,
    finishing: bool,
    drained: bool,
    last_frame_at: Option<Instant>,
    /// Not bounded by itself: each call adds a handful, consecutive drops are merged, and the owner empties
    /// it after each call.
    outputs: VecDeque<Output>,
    statistics: Statistics,
}

impl Producer {
    /// A producer without tracks.
    pub fn new(config: ProducerConfig) -> Self {
        let config = ProducerConfig { timecode_scale_ms: config.timecode_scale_ms.max(1), ..config };
        let cutting = Cutting {
            target: config.fragment_duration,
            every_key_frame: config.key_frame_fragmentation,
            min: config.min_fragment,
            max: config.max_fragment,
            scale_ms: u64::from(config.timecode_scale_ms),
            relative: config.timecodes == Timecodes::Relative,
        };
        Self {
            leading: Leading::new(config.interleave_wait),
            interleaver: Interleaver::new(config.interleave_wait, config.first_frame_wait, INTERLEAVE_BYTES),
            fragmenter: Fragmenter::new(cutting),
            store: Store::new(u64::from(config.timecode_scale_ms)),
            spool: config.spool.clone().map(Spool::new),
            link: Link::Down { retry_at: None },
            failures: 0,
            refreshed: None,
            renewed: None,
            backoff: Backoff::new(config.backoff.0, config.backoff.1, config.seed),
            formats: [None, None],
            next_session: 1,
            next_frame: 0,
            after_loss: false,
            host_clock: None,
            known_clock: None,
            lost_at: None,
            last_session_start: None,
            retention: true,
            held: false,
            finishing: false,
            drained: false,
            last_frame_at: None,
            outputs: VecDeque::new(),
            statistics: Statistics::default(),
            config,
        }
    }

    /// Announces a track. From now on fragments wait for its frames before they are sent, so that a session
    /// has the right set of tracks.
    pub fn add_track(&mut self, kind: TrackKind) {
        self.interleaver.set_expected(kind, true);
    }

    /// Sets, or changes, the format of the track's frames that follow.
    pub fn set_format(&mut self, format: TrackFormat) {
        let kind = format.kind();
        self.interleaver.set_expected(kind, true);
        let current = &mut self.formats[kind.index()];
        if current.as_ref().is_none_or(|known| **known != format) {
            *current = Some(Arc::new(format));
        }
    }

    /// The track's current format.
    pub fn format(&self, kind: TrackKind) -> Option<&TrackFormat> {
        self.formats[kind.index()].as_deref()
    }

    /// No more frames of this track: nothing waits for it any longer.
    pub fn end_track(&mut self, kind: TrackKind, now: Instant) {
        if kind == TrackKind::Video {
            self.release_leading(now);
        }
        self.interleaver.set_expected(kind, false);
        self.place_ready(now);
        self.store.decide_header(self.expected(), false);
        self.settle(now);
    }

    /// How much later than their time frames may come, as far as the host knows (a LATENCY query, a jitter buffer): so
    /// long, and a second more, the tracks wait for each other before it shows how far they are apart.
    pub fn set_latency(&mut self, latency: Duration) {
        self.interleaver.set_latency(latency);
    }

    /// Media was lost before it came here: video frames that follow are left out and counted
    /// ([`DropReason::AfterLoss`]) until the next random-access point; audio goes on.
    pub fn await_key(&mut self) {
        self.after_loss = true;
    }

    /// The host's clock was wrong by so many milliseconds: moves the times of all frames that were pushed in this
    /// process and that no session has had yet. Frames that follow must be stamped by the right clock; an epoch
    /// begins, if some were sent already.
    pub fn shift_time(&mut self, delta_ms: i64, now: Instant) {
        self.leading.shift_time(delta_ms);
        self.interleaver.shift_time(delta_ms);
        self.fragmenter.shift_time(delta_ms, &mut self.store, now);
        self.report_fragmenter();
        self.settle(now);
    }

    /// The times of frames that are pushed are this clock's, and nobody has confirmed it: what goes to the spool says so.
    pub fn set_host_clock(&mut self, clock: HostClock) {
        self.host_clock = Some(clock);
    }

    /// What `clock` should say is known, and by how many milliseconds that is ahead of what the host's says: fragments that
    /// the spool has had since before, by a clock that nobody had confirmed, get the times that they should have. Those of
    /// this process are for [`shift_time`](Self::shift_time).
    pub fn clock_is_known(&mut self, clock: HostClock, skew_ms: i64, now: Instant) {
        self.host_clock = None;
        let known = self.known_clock.insert(Known { clock, skew_ms });
        self.store.shift_restored(known);
        self.settle(now);
    }

    /// Whether a session has had something of what was pushed.
    pub fn has_sent(&self) -> bool {
        self.statistics.bytes_sent > 0
    }

    /// Whether the stream keeps media (its DataRetentionInHours is not 0). True until told otherwise.
    pub fn set_retention(&mut self, retention: bool) {
        self.retention = retention;
    }

    /// Adds metadata to the next fragment that begins with a frame pushed after this call, or with `persist` to all that follow (an empty value ends that).
    /// False when it cannot be taken: a name that is empty, longer than 128 bytes or begins with `AWS`, a
    /// value longer than 256 bytes, or more tags than the service accepts.
    pub fn put_metadata(&mut self, name: &str, value: &str, persist: bool) -> bool {
        let valid = !name.is_empty() && name.len() <= 128 && value.len() <= 256 && !name.starts_with("AWS");
        valid && self.fragmenter.tags.add(name.to_owned(), value.to_owned(), persist, self.next_frame)
    }

    /// Puts an event on the next fragment that begins with a frame pushed after this call. Several before it begins
    /// become one.
    ///
    /// # Errors
    /// [`EventRefused`] says what the service would not take.
    pub fn put_event(&mut self, event: FragmentEvent) -> Result<(), EventRefused> {
        self.fragmenter.tags.add_event(event, self.next_frame)
    }

    /// Whether a frame can be taken without exceeding the storage bound. Matters with [`WhenFull::Block`].
    pub fn has_room(&self) -> bool {
        // One fragment is always let in: it could not be ended otherwise, and nothing would ever be freed.
        !self.memory_is_over() || self.store.holds_one()
    }

    /// Takes a frame. Frames of a track must come in decoding order.
    pub fn push_frame(&mut self, frame: Frame, now: Instant) {
        let kind = frame.track;
        self.statistics.frames_in[kind.index()] += 1;
        self.finishing = false;
        self.drained = false;
        let Some(format) = self.formats[kind.index()].clone() else {
            self.drop_frame(&frame, DropReason::NoFormat);
            return;
        };
        let number = self.next_frame;
        self.next_frame += 1;
        if kind == TrackKind::Video {
            self.after_loss &= !frame.random_access;
            if !self.after_loss {
                self.lost_at = None;
            } else if now.saturating_duration_since(*self.lost_at.get_or_insert(now)) >= AFTER_LOSS {
                // There are streams that never have one (intra refresh): better damaged for a moment than gone.
                (self.after_loss, self.lost_at) = (false, None);
                self.event(Event::KeyFrameWanted);
            }
            if self.after_loss {
                self.interleaver.pass(kind, frame.time);
                self.drop_frame(&frame, DropReason::AfterLoss);
                self.place_ready(now);
                self.settle(now);
                return;
            }
        }
        let reached = self.interleaver.newest(kind);
        if reached.is_some_and(|reached| reached.saturating_sub(frame.time.nanos()) > nanos(TIME_RESTART)) {
            self.flush_interleaver(now);
            self.fragmenter.restart_time(&mut self.store, now);
            self.interleaver.restart_time();
        }
        let ready = self.leading.push(Pushed { frame, format, number }, now);
        self.interleave(ready, now);
        self.place_ready(now);
        self.settle(now);
    }

    fn interleave(&mut self, ready: Vec<Ready>, now: Instant) {
        for (pushed, from) in ready {
            self.interleaver.push(pushed, from, now);
        }
    }

    fn release_leading(&mut self, now: Instant) {
        let ready = self.leading.release();
        self.interleave(ready, now);
    }

    /// Forgets frames that are not in a fragment yet and ends the open fragment, as a flushing seek wants it.
    pub fn flush(&mut self, now: Instant) {
        let mut frames = self.interleaver.clear();
        frames[TrackKind::Video.index()] += self.leading.clear();
        if frames != [0; 2] {
            self.dropped(0, frames, 0, DropReason::Flushed);
        }
        self.close_fragment(now);
        self.fragmenter.await_key();
        self.settle(now);
    }

    /// Ends the stream: what is queued is sent, and [`Event::Drained`] tells when all of it is acknowledged.
    /// A frame that is pushed later starts it again.
    pub fn finish(&mut self, now: Instant) {
        self.flush_interleaver(now);
        self.close_fragment(now);
        // What follows is a new recording.
        self.fragmenter.await_key();
        if !std::mem::replace(&mut self.finishing, true) {
            self.retry_soon(now);
        }
        self.settle(now);
    }

    /// Since [`finish`](Self::finish) everything was acknowledged, and no frame came.
    pub fn is_drained(&self) -> bool {
        self.drained
    }

    /// What to do or tell next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) at the latest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [
            self.leading.poll_timeout(),
            self.interleaver.poll_timeout(),
            self.silence_deadline(),
            self.link_deadline(),
            self.spool_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.silence_deadline().is_some_and(|deadline| now >= deadline) {
            self.close_fragment(now);
        }
        if self.leading.poll_timeout().is_some_and(|deadline| now >= deadline) {
            self.release_leading(now);
        }
        self.place_ready(now);
        self.handle_link_timeout(now);
        self.settle(now);
    }

    /// Figures up to now.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            buffered_bytes: self.store.bytes as u64,
            buffered_duration: self.store.span(),
            buffered_fragments: self.store.len() as u64,
            buffered_frames: self.store.frames(),
            spooled_bytes: self.store.spooled_bytes,
            track_distance: TrackKind::ALL.map(|kind| self.interleaver.distance(kind)),
            ..self.statistics.clone()
        }
    }

    /// Bytes and media time of fragments that were not sent, or not whole.
    pub fn unsent(&self) -> (u64, Duration) {
        let unsent = || self.store.iter().filter(|fragment| fragment.sent != Sent::Whole);
        let bytes = unsent().map(|fragment| fragment.payload).sum();
        (bytes, unsent().map(Fragment::duration).sum())
    }

    /// Ends the open fragment.
    pub(super) fn close_fragment(&mut self, now: Instant) {
        self.fragmenter.close(&mut self.store, now);
        self.report_fragmenter();
    }

    /// Counts and reports what the fragmenter has had to do.
    fn report_fragmenter(&mut self) {
        self.statistics.epochs += std::mem::take(&mut self.fragmenter.epochs_begun);
        let late = std::mem::take(&mut self.fragmenter.stored_late);
        if late != [0; 2] {
            for (sum, late) in self.statistics.frames_late.iter_mut().zip(late) {
                *sum += late;
            }
            self.event(Event::StoredLate { frames: late });
        }
        if std::mem::take(&mut self.fragmenter.wants_key) {
            self.event(Event::KeyFrameWanted);
        }
    }

    /// Tracks of which frames come: a track that has ended may still wait for its turn.
    fn expected(&self) -> [bool; 2] {
        TrackKind::ALL.map(|kind| self.interleaver.is_expected(kind) || self.interleaver.waits(kind))
    }

    fn silence_deadline(&self) -> Option<Instant> {
        // What waits for the other track is on its way.
        if !self.interleaver.is_empty() {
            return None;
        }
        Some(self.store.open()?.last_frame_at + self.config.silence)
    }

    /// Does what an input has made possible or necessary: each ends with this, once all that it changes is changed.
    fn settle(&mut self, now: Instant) {
        self.release_when_full();
        self.enforce_bounds(now);
        self.connect_if_needed(now);
        self.spool_due(now);
        self.check_drained();
    }

    /// Puts frames into fragments that wait for the other track no longer.
    fn place_ready(&mut self, now: Instant) {
        while let Some(queued) = self.interleaver.pop(now) {
            self.place(queued, now);
        }
    }

    fn flush_interleaver(&mut self, now: Instant) {
        self.release_leading(now);
        while let Some(queued) = self.interleaver.pop_now() {
            self.place(queued, now);
        }
    }

    fn place(&mut self, queued: crate::interleave::Queued, now: Instant) {
        let frame = &queued.pushed.frame;
        let (kind, bytes) = (frame.track, frame.data.len() as u64);
        let next_key = match self.fragmenter.awaits_key() {
            true => self.interleaver.first_key().or(self.leading.first_key()),
            false => None,
        };
        let tracks = Tracks {
            expected: self.expected(),
            video_awaited: self.interleaver.video_is_awaited(),
            next_key,
            over_before_key: next_key.is_none() || self.interleaver.ended_before_key(kind),
        };
        let placed = self.fragmenter.place(queued, tracks, &mut self.store, now);
        self.report_fragmenter();
        let reason = match placed {
            Placed::Stored => {
                self.last_frame_at = Some(now);
                return;
            }
            Placed::BeforeKeyFrame => DropReason::BeforeKeyFrame,
            Placed::Late => DropReason::Late,
        };
        let mut frames = [0; 2];
        frames[kind.index()] = 1;
        self.dropped(0, frames, bytes, reason);
    }

    fn drop_frame(&mut self, frame: &Frame, reason: DropReason) {
        let mut frames = [0; 2];
        frames[frame.track.index()] = 1;
        self.dropped(0, frames, frame.data.len() as u64, reason);
    }

    fn count_dropped(&mut self, fragments: u64, frames: [u64; 2]) {
        self.statistics.fragments_dropped += fragments;
        for (sum, frames) in self.statistics.frames_dropped.iter_mut().zip(frames) {
            *sum += frames;
        }
    }

    fn dropped(&mut self, fragments: u64, frames: [u64; 2], bytes: u64, reason: DropReason) {
        self.count_dropped(fragments, frames);
        if let Some(Output::Event(Event::Dropped { fragments: f, frames: n, bytes: b, reason: r })) =
            self.outputs.back_mut()
            && *r == reason
        {
            *f += fragments;
            *b += bytes;
            for (sum, frames) in n.iter_mut().zip(frames) {
                *sum += frames;
            }
            return;
        }
        self.event(Event::Dropped { fragments, frames, bytes, reason });
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    fn check_drained(&mut self) {
        if self.finishing && !self.drained && self.store.is_empty() {
            self.drained = true;
            self.end_session("end of stream");
            self.event(Event::Drained);
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
