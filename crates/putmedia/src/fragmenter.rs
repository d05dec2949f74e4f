//! Decides where fragments begin and end.
//!
//! A frame keeps its time, whatever that is. What the service demands of the order of fragments in a session is met by
//! where a fragment begins: it may be lowered until it is on a connection; a fragment that would begin before what was
//! in the one before it begins an *epoch*, which is a session of its own; audio that is late goes [there](Late), too.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::fragment::{Fragment, MAX_AUDIO, MAX_FRAGMENT_BYTES};
use crate::interleave::{Pushed, Queued};
use crate::late::Late;
use crate::store::Store;
use crate::tags::Tags;
use crate::{Frame, TrackFormat, TrackKind};

/// Video that lies before the start of a fragment whose timecode is out, by no more than this, takes the fragment's
/// start: the one case in which a time is not kept, beside rounding. A session of its own would cost more.
const NEAR_MS: u64 = 50;

/// Video that came so recently still runs: audio that is far ahead of it does not end its fragment.
const RUNNING: Duration = Duration::from_secs(2);

#[derive(Clone, Debug)]
pub(crate) struct Cutting {
    pub(crate) target: Duration,
    pub(crate) every_key_frame: bool,
    pub(crate) min: Duration,
    pub(crate) max: Duration,
    /// Unit of timecodes.
    pub(crate) scale_ms: u64,
    /// Timecodes count from the header's base: no fragment of its session can begin before.
    pub(crate) relative: bool,
}

/// What became of a frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Placed {
    Stored,
    /// Nothing can be decoded before the first random-access point.
    BeforeKeyFrame,
    /// Its fragment is closed, and too much of that kind waits.
    Late,
}

/// What is known of the tracks when a frame is placed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tracks {
    /// Frames can come.
    pub(crate) expected: [bool; 2],
    /// Video is being produced, or may begin any moment.
    pub(crate) video_awaited: bool,
    /// Number of the first random-access point that was pushed and not placed.
    pub(crate) next_key: Option<u64>,
    /// The frame is over before that begins, or there is none.
    pub(crate) over_before_key: bool,
}

#[derive(Debug)]
pub(crate) struct Fragmenter {
    cutting: Cutting,
    /// Nothing is stored until the next random-access point (or audio, when no video is awaited).
    awaiting_key: bool,
    epoch: u64,
    /// The highest number of an epoch.
    last_epoch: u64,
    /// Latest time of the epoch: the next fragment begins after it.
    latest_ms: Option<u64>,
    /// The same when the open fragment began: it may not begin earlier.
    floor_ms: Option<u64>,
    /// Where the last random-access point began.
    last_key_ms: Option<u64>,
    /// Format of the last video frame: under another one decoding starts anew.
    video_format: Option<Arc<TrackFormat>>,
    video_at: Option<Instant>,
    pub(crate) tags: Tags,
    late: Late,
    /// Frames that were stored late, and epochs that began because time went back: not told yet.
    pub(crate) stored_late: [u64; 2],
    pub(crate) epochs_begun: u64,
    /// A fragment's video begins with a picture that refers to what is not in it: not told yet.
    pub(crate) wants_key: bool,
}

/// Where a frame goes.
enum Place {
    /// Into the open fragment, at this time.
    Open(u64),
    /// Into a new one.
    New,
    /// Into a new one, in an epoch of its own.
    NewEpoch,
    Aside,
}

impl Fragmenter {
    pub(crate) fn new(cutting: Cutting) -> Self {
        Self {
            cutting,
            awaiting_key: true,
            epoch: 0,
            last_epoch: 0,
            latest_ms: None,
            floor_ms: None,
            last_key_ms: None,
            video_format: None,
            video_at: None,
            tags: Tags::default(),
            late: Late::default(),
            stored_late: [0; 2],
            epochs_begun: 0,
            wants_key: false,
        }
    }

    /// Nothing that follows can be decoded without a new random-access point.
    pub(crate) fn await_key(&mut self) {
        self.awaiting_key = true;
    }

    pub(crate) fn awaits_key(&self) -> bool {
        self.awaiting_key
    }

    /// The time line starts over: what follows may lie before what was.
    pub(crate) fn restart_time(&mut self, store: &mut Store, now: Instant) {
        self.close(store, now);
        self.begin_epoch();
    }

    fn begin_epoch(&mut self) {
        if self.latest_ms.take().is_some() {
            self.epochs_begun += 1;
        }
        self.last_epoch += 1;
        self.epoch = self.last_epoch;
        self.last_key_ms = None;
    }

    /// Moves all times that no connection has had. What follows is in another epoch.
    pub(crate) fn shift_time(&mut self, delta_ms: i64, store: &mut Store, now: Instant) {
        if store.open().is_some_and(Fragment::was_started) {
            self.close(store, now);
        }
        let by = |ms: &mut u64| *ms = ms.saturating_add_signed(delta_ms);
        self.late.shift_time(delta_ms);
        let open = store.shift_time(delta_ms, &mut self.last_epoch);
        match open {
            Some(epoch) => {
                self.epoch = epoch;
                let times = [&mut self.latest_ms, &mut self.floor_ms, &mut self.last_key_ms];
                times.into_iter().flatten().for_each(by);
            }
            None => {
                self.begin_epoch();
            }
        }
    }

    /// Closes the open fragment, if there is one, and writes what came late behind it.
    pub(crate) fn close(&mut self, store: &mut Store, now: Instant) {
        store.decide_header([false; 2], true);
        if let Some(open) = store.open_mut() {
            open.closed = true;
        }
        let late = self.late.write(store, &mut self.last_epoch, self.cutting.scale_ms, now);
        for (sum, late) in self.stored_late.iter_mut().zip(late) {
            *sum += late;
        }
    }

    pub(crate) fn place(
        &mut self,
        queued: Queued,
        tracks: Tracks,
        store: &mut Store,
        now: Instant,
    ) -> Placed {
        let Queued { pushed, from, .. } = queued;
        let kind = pushed.frame.track;
        let key = kind == TrackKind::Video && pushed.frame.random_access;
        if kind == TrackKind::Video {
            let changed = self.video_format.as_ref().is_some_and(|known| **known != *pushed.format);
            self.awaiting_key |= changed && !key;
            self.video_format = Some(Arc::clone(&pushed.format));
        }
        if self.awaiting_key {
            match kind {
                TrackKind::Video if !key => return Placed::BeforeKeyFrame,
                // Not too early is what came behind the key frame that is on its way, whatever its time, and what can
                // be heard with it.
                TrackKind::Audio
                    if tracks.video_awaited
                        && tracks.over_before_key
                        && tracks.next_key.is_none_or(|key| pushed.number < key) =>
                {
                    return Placed::BeforeKeyFrame;
                }
                _ => {}
            }
        }
        let (ms, from_ms) = (pushed.frame.time.millis(), from.millis());
        let at = match self.choose(&pushed, from_ms, tracks, store, now) {
            Place::Aside => {
                return if self.late.push(pushed) { Placed::Stored } else { Placed::Late };
            }
            Place::Open(at) => at,
            place => {
                self.close(store, now);
                if matches!(place, Place::NewEpoch) {
                    self.begin_epoch();
                }
                // Audio that opens a key frame's fragment came after it.
                let number = tracks.next_key.map_or(pushed.number, |key| pushed.number.min(key));
                ms.max(self.open(number, from_ms, store, now))
            }
        };
        if kind == TrackKind::Video {
            self.awaiting_key = false;
            self.video_at = Some(now);
            self.wants_key |= !key && store.open().is_some_and(|open| !open.has(TrackKind::Video));
        }
        if key {
            self.last_key_ms = Some(from_ms);
        }
        self.append(pushed, at, store, now);
        store.decide_header(tracks.expected, false);
        Placed::Stored
    }

    /// Begins a fragment, and says when it begins.
    fn open(&mut self, number: u64, from_ms: u64, store: &mut Store, now: Instant) -> u64 {
        let (from, latest) = (self.unit(from_ms), self.latest_ms.map(|latest| self.unit(latest)));
        if latest.is_some_and(|latest| from < latest) {
            self.begin_epoch();
        }
        // Equal once rounded: later by the least that can be told.
        let start = if latest == Some(from) { (from + 1) * self.cutting.scale_ms } else { from_ms };
        self.floor_ms = self.latest_ms;
        let (id, tags) = (store.next_id(), self.tags.take(number));
        store.push(Fragment::new(id, self.epoch, start, tags, now));
        start
    }

    fn unit(&self, ms: u64) -> u64 {
        ms / self.cutting.scale_ms
    }

    fn append(&mut self, pushed: Pushed, at: u64, store: &mut Store, now: Instant) {
        let Some(open) = store.open_mut() else { return };
        let Pushed { frame, format, .. } = pushed;
        let bytes = open.append(frame.track, format, at, frame.random_access, frame.data, now);
        self.latest_ms = self.latest_ms.max(Some(at));
        store.bytes += bytes;
    }

    fn choose(
        &self,
        pushed: &Pushed,
        from_ms: u64,
        tracks: Tracks,
        store: &mut Store,
        now: Instant,
    ) -> Place {
        let Pushed { frame, format, .. } = pushed;
        let Some(open) = store.open() else { return Place::New };
        let audio = frame.track == TrackKind::Audio;
        if !store.format_fits(frame.track, format) || open.epoch != self.epoch {
            return Place::New;
        }
        if open.bytes + frame.data.len() > MAX_FRAGMENT_BYTES {
            return Place::New;
        }
        // Also keeps block times, signed 16-bit milliseconds, from overflowing.
        if Duration::from_millis(from_ms.saturating_sub(open.start_ms)) >= self.cutting.max {
            let runs = open.has(TrackKind::Video)
                && self.video_at.is_some_and(|at| now.saturating_duration_since(at) < RUNNING);
            return if audio && runs { Place::Aside } else { Place::New };
        }
        // A video frame always finds room: its track is waited for, or its random-access point cuts.
        if !store.accepts(frame.track) {
            return if audio { Place::Aside } else { Place::New };
        }
        if self.cuts(frame, from_ms, tracks, open) {
            return Place::New;
        }
        self.join(frame.time.millis(), audio, store)
    }

    /// Whether a new fragment should begin, although the frame would fit into the open one.
    fn cuts(&self, frame: &Frame, from_ms: u64, tracks: Tracks, open: &Fragment) -> bool {
        let elapsed = Duration::from_millis(from_ms.saturating_sub(open.start_ms));
        let overlaps = self.latest_ms.is_some_and(|latest| self.unit(from_ms) < self.unit(latest));
        match frame.track {
            TrackKind::Video if frame.random_access && elapsed >= self.cutting.min => {
                // The next one may come too late for the service.
                let spacing = self.last_key_ms.map_or(0, |last| from_ms.saturating_sub(last));
                let next = elapsed + Duration::from_millis(spacing);
                if !open.has(TrackKind::Video) {
                    // Audio that came behind this frame and lies before it: they belong together.
                    return open.header.is_some() || elapsed >= MAX_AUDIO;
                }
                let due = self.cutting.every_key_frame
                    || elapsed >= self.cutting.target
                    || next >= self.cutting.max;
                // With audio that is ahead of it, it would need a session of its own: the next one may not.
                due && !(overlaps && next < MAX_AUDIO)
            }
            TrackKind::Video => false,
            // With video in the fragment audio follows its cuts.
            TrackKind::Audio => {
                let target = match tracks.next_key {
                    // It will be the fragment's first.
                    Some(_) if self.awaiting_key => MAX_AUDIO,
                    _ => self.cutting.target.max(self.cutting.min).min(MAX_AUDIO),
                };
                !open.has(TrackKind::Video) && elapsed >= target && !overlaps
            }
        }
    }

    /// Finds the frame's place in the open fragment, if it has one there.
    fn join(&self, ms: u64, audio: bool, store: &mut Store) -> Place {
        let Some(open) = store.open_mut() else { return Place::New };
        let mut start = open.start_ms;
        if !open.was_started() {
            // As low as it may be: behind what was before, and not before what timecodes count from.
            let after = self.floor_ms.map_or(0, |floor| (self.unit(floor) + 1) * self.cutting.scale_ms);
            let base =
                open.header.as_ref().filter(|_| self.cutting.relative).map_or(0, |header| header.base_ms);
            let lowest = ms.max(after).max(base);
            if Duration::from_millis(open.latest_ms.saturating_sub(lowest)) < self.cutting.max {
                start = start.min(lowest);
            }
        }
        // Rounding has put it there, or the start was bumped; or it is too near for a session of its own.
        let rounded = self.unit(ms) + 1 >= self.unit(start);
        if rounded || (!audio && start.saturating_sub(ms) <= NEAR_MS) {
            open.lower(start);
            return Place::Open(ms.max(start));
        }
        if audio { Place::Aside } else { Place::NewEpoch }
    }
}
