//! Decides where fragments begin and end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::fragment::Fragment;
use crate::fragment_event::{EventRefused, FragmentEvent};
use crate::interleave::Queued;
use crate::store::Store;
use crate::{Frame, TrackFormat, TrackKind};

/// The service accepts 50 MB per fragment.
const MAX_FRAGMENT_BYTES: usize = 48_000_000;

/// Longest fragment of audio alone, which can be cut anywhere. The service's pages give 10 s and 20 s as what it
/// accepts; only video without key frames has a reason to go beyond the lower one.
const MAX_AUDIO: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub(crate) struct Cutting {
    pub(crate) target: Duration,
    pub(crate) every_key_frame: bool,
    pub(crate) min: Duration,
    pub(crate) max: Duration,
    /// Unit of timecodes.
    pub(crate) scale_ms: u64,
}

/// What became of a frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Placed {
    Stored,
    /// Nothing can be decoded before the first random-access point.
    BeforeKeyFrame,
    /// Its fragment is closed already.
    Late,
    /// The open fragment's header is out and does not have its track.
    NoTrack,
}

#[derive(Debug)]
pub(crate) struct Fragmenter {
    cutting: Cutting,
    /// Nothing is stored until the next random-access point (or audio, when no video is awaited).
    awaiting_key: bool,
    epoch: u64,
    /// Latest timecode of the epoch: the next fragment begins after it.
    latest_ms: Option<u64>,
    /// The lowest time that a video frame of the open fragment may get.
    video_floor_ms: u64,
    /// Where the last random-access point began.
    last_key_ms: Option<u64>,
    /// Format of the last video frame: under another one decoding starts anew.
    video_format: Option<Arc<TrackFormat>>,
    pending_tags: VecDeque<(String, String)>,
    pending_event: FragmentEvent,
    persistent_tags: Vec<(String, String)>,
}

/// The service accepts ten tags per fragment. More wait for the next one; beyond `MAX_PENDING_TAGS` they are
/// refused.
const MAX_TAGS: usize = 10;
const MAX_PENDING_TAGS: usize = 25;

impl Fragmenter {
    pub(crate) fn new(cutting: Cutting) -> Self {
        Self {
            cutting,
            awaiting_key: true,
            epoch: 0,
            latest_ms: None,
            video_floor_ms: 0,
            last_key_ms: None,
            video_format: None,
            pending_tags: VecDeque::new(),
            pending_event: FragmentEvent::default(),
            persistent_tags: Vec::new(),
        }
    }

    /// Nothing that follows can be decoded without a new random-access point.
    pub(crate) fn await_key(&mut self) {
        self.awaiting_key = true;
    }

    /// Latest timecode since the time line last started over, in milliseconds since the epoch.
    pub(crate) fn latest_ms(&self) -> Option<u64> {
        self.latest_ms
    }

    /// The time line starts over: what follows may lie before what was.
    pub(crate) fn restart_time(&mut self) {
        self.epoch += 1;
        self.latest_ms = None;
        self.last_key_ms = None;
    }

    /// Takes a tag for the next fragment, or for every following one until its value is set to nothing.
    pub(crate) fn add_tag(&mut self, name: String, value: String, persist: bool) -> bool {
        if persist {
            self.persistent_tags.retain(|(known, _)| *known != name);
            if value.is_empty() {
                return true;
            }
            if self.persistent_tags.len() + self.pending_event.tags().len() >= MAX_TAGS {
                return false;
            }
            self.persistent_tags.push((name, value));
            return true;
        }
        if self.pending_tags.len() >= MAX_PENDING_TAGS {
            return false;
        }
        self.pending_tags.push_back((name, value));
        true
    }

    /// Takes an event for the next fragment; several become one.
    pub(crate) fn add_event(&mut self, event: FragmentEvent) -> Result<(), EventRefused> {
        let merged = self.pending_event.clone().merge(event)?;
        let tags = merged.tags().len() + self.persistent_tags.len();
        if tags > MAX_TAGS {
            return Err(EventRefused::TooManyTags { tags, limit: MAX_TAGS });
        }
        self.pending_event = merged;
        Ok(())
    }

    /// Closes the open fragment, if there is one.
    pub(crate) fn close(&mut self, store: &mut Store) {
        store.decide_header([false; 2], true);
        if let Some(open) = store.open_mut() {
            open.closed = true;
        }
    }

    pub(crate) fn place(
        &mut self,
        queued: Queued,
        expected: [bool; 2],
        video_awaited: bool,
        store: &mut Store,
        now: Instant,
    ) -> Placed {
        let Queued { frame, format, from, .. } = queued;
        let key = frame.track == TrackKind::Video && frame.random_access;
        if frame.track == TrackKind::Video {
            let changed = self.video_format.as_ref().is_some_and(|known| **known != *format);
            self.awaiting_key |= changed && !key;
            self.video_format = Some(Arc::clone(&format));
        }
        if self.awaiting_key {
            match frame.track {
                TrackKind::Video if !key => return Placed::BeforeKeyFrame,
                TrackKind::Audio if video_awaited => return Placed::BeforeKeyFrame,
                _ => {}
            }
        }
        let (ms, from_ms) = (frame.time.millis(), from.millis());
        if self.must_cut(&frame, from_ms, key, &format, store) {
            self.close(store);
        }
        if frame.track == TrackKind::Audio && self.is_late(ms, store) {
            return Placed::Late;
        }
        // A video frame always finds room: its track is waited for, or its random-access point cuts.
        if !store.accepts(frame.track) {
            if frame.track == TrackKind::Audio {
                return Placed::NoTrack;
            }
            self.close(store);
        }
        if store.open().is_none() {
            // Later than everything before by a whole unit, so that it still is when both are rounded.
            let start = self.latest_ms.map_or(from_ms, |latest| from_ms.max(latest + self.cutting.scale_ms));
            let fragment = Fragment::new(store.next_id(), self.epoch, start, self.take_tags(), now);
            store.push(fragment);
            self.video_floor_ms = start;
        }
        if frame.track == TrackKind::Video {
            self.awaiting_key = false;
        }
        if key {
            self.last_key_ms = Some(from_ms);
        }
        self.append(frame, ms, format, store, now);
        store.decide_header(expected, false);
        Placed::Stored
    }

    fn append(&mut self, frame: Frame, ms: u64, format: Arc<TrackFormat>, store: &mut Store, now: Instant) {
        let Some(open) = store.open_mut() else { return };
        let at = if frame.track == TrackKind::Video && ms < self.video_floor_ms {
            // Timestamps that fall behind what is already sent are squeezed together rather than dropped:
            // later frames depend on these.
            let at = self.video_floor_ms;
            self.video_floor_ms += 1;
            at
        } else {
            ms.max(open.start_ms)
        };
        let bytes = open.append(frame.track, format, at, frame.random_access, frame.data, now);
        self.latest_ms = Some(self.latest_ms.unwrap_or(0).max(at));
        store.bytes += bytes;
    }

    fn must_cut(&self, frame: &Frame, ms: u64, key: bool, format: &Arc<TrackFormat>, store: &Store) -> bool {
        let Some(open) = store.open() else { return false };
        if !store.format_fits(frame.track, format) || open.epoch != self.epoch {
            return true;
        }
        let elapsed = Duration::from_millis(ms.saturating_sub(open.start_ms));
        // Also keeps block times, signed 16-bit milliseconds, from overflowing.
        if elapsed >= self.cutting.max || open.bytes + frame.data.len() > MAX_FRAGMENT_BYTES {
            return true;
        }
        match frame.track {
            TrackKind::Video if key && elapsed >= self.cutting.min => {
                // The next one may come too late for the service.
                let spacing = self.last_key_ms.map_or(0, |last| ms.saturating_sub(last));
                self.cutting.every_key_frame
                    || !open.has(TrackKind::Video)
                    || elapsed >= self.cutting.target
                    || elapsed + Duration::from_millis(spacing) >= self.cutting.max
            }
            TrackKind::Video => false,
            // With video in the fragment audio follows its cuts.
            TrackKind::Audio => {
                let target = self.cutting.target.max(self.cutting.min).min(MAX_AUDIO);
                !open.has(TrackKind::Video) && elapsed >= target
            }
        }
    }

    fn is_late(&self, ms: u64, store: &Store) -> bool {
        match store.open() {
            Some(open) => ms < open.start_ms,
            None => self.latest_ms.is_some_and(|latest| ms <= latest),
        }
    }

    fn take_tags(&mut self) -> Vec<(String, String)> {
        let mut event = std::mem::take(&mut self.pending_event).tags();
        let mut tags = self.persistent_tags.clone();
        while tags.len() + event.len() < MAX_TAGS
            && let Some(tag) = self.pending_tags.pop_front()
        {
            tags.push(tag);
        }
        // Behind the others, as `matroska::put_tags` wants it.
        tags.append(&mut event);
        tags
    }
}
