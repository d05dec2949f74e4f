//! Puts the frames of two tracks into one order of time.
//!
//! Tracks arrive on different threads with different delay (an audio encoder lags by 100 to 300 ms, an H.264 encoder
//! that looks ahead by seconds), but a fragment must hold the audio of its own span. So a frame is handed on when the
//! other track has shown that nothing earlier can come, or when it has waited as long as is known to make sense.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::{Frame, MediaTime, TrackFormat, TrackKind};

/// A frame as it was pushed: the how-manieth it was over all tracks, and the format that was in force.
#[derive(Debug)]
pub(crate) struct Pushed {
    pub(crate) frame: Frame,
    pub(crate) format: Arc<TrackFormat>,
    pub(crate) number: u64,
}

/// A frame that waits for its turn.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) pushed: Pushed,
    arrived: Instant,
    /// The earliest time of this frame and of those behind it that are presented before it: where a fragment
    /// that begins here begins.
    pub(crate) from: MediaTime,
    /// The track's highest time up to this frame. With B-frames presentation times go back and forth within
    /// a track; this does not, and at a random-access point it is `from`.
    key: u64,
}

#[derive(Debug, Default)]
struct Lane {
    queue: VecDeque<Queued>,
    newest: Option<u64>,
    /// Frames can still come.
    expected: bool,
    /// The others have waited for it in vain and no longer do, until it speaks again.
    stalled: bool,
    distance: Distance,
}

/// How far the frames of a track lie behind the other track's newest when they arrive: the peak, raised at once and
/// lowered slowly.
#[derive(Debug, Default)]
struct Distance {
    peak: Duration,
    since: Option<Instant>,
    looked: Option<Instant>,
}

impl Distance {
    fn observe(&mut self, behind: Duration, now: Instant) {
        let peak = self.at(now);
        self.looked = Some(now);
        // Tracks that are further apart are not brought together by waiting.
        if behind > peak && behind <= MAX_WAIT {
            self.peak = behind;
            self.since = Some(now);
        }
    }

    /// One percent less for each second.
    fn at(&self, now: Instant) -> Duration {
        let age = self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.peak.mul_f64((-age.as_secs_f64() / 100.0).exp())
    }

    /// How long a frame of this track is worth waiting for.
    fn wait(&self, now: Instant) -> Duration {
        let peak = self.at(now);
        if peak.is_zero() { peak } else { peak + peak / 4 + DISTANCE_MARGIN }
    }
}

/// No track is waited for longer, whatever upstream says and the tracks show: the service wants data every 30 s.
const MAX_WAIT: Duration = Duration::from_secs(20);
/// Added to the observed distance of the tracks, and a quarter of it.
const DISTANCE_MARGIN: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(crate) struct Interleaver {
    lanes: [Lane; 2],
    /// Latency of the input, as far as the host knows it.
    latency: Duration,
    /// How much later than that a frame may come.
    margin: Duration,
    /// How long a track is waited for that has never spoken, so that a recording does not begin with a stretch that
    /// has a session of its own.
    first_wait: Duration,
    /// Payload bytes in the queues. When `max_bytes` is exceeded frames are handed on without waiting;
    /// nothing is dropped here.
    bytes: usize,
    max_bytes: usize,
}

impl Interleaver {
    pub(crate) fn new(margin: Duration, first_wait: Duration, max_bytes: usize) -> Self {
        let latency = Duration::ZERO;
        Self { lanes: Default::default(), latency, margin, first_wait, bytes: 0, max_bytes }
    }

    /// How late the input's frames may come, as upstream says.
    pub(crate) fn set_latency(&mut self, latency: Duration) {
        self.latency = latency;
    }

    /// How far the track's frames lie behind the other track's when they arrive .
    pub(crate) fn distance(&self, kind: TrackKind) -> Duration {
        let distance = &self.lanes[kind.index()].distance;
        distance.looked.map_or(Duration::ZERO, |now| distance.at(now))
    }

    pub(crate) fn set_expected(&mut self, kind: TrackKind, expected: bool) {
        let lane = &mut self.lanes[kind.index()];
        if expected && !lane.expected {
            lane.stalled = false;
        }
        lane.expected = expected;
    }

    pub(crate) fn is_expected(&self, kind: TrackKind) -> bool {
        self.lanes[kind.index()].expected
    }

    /// Whether video is being produced, or may begin any moment.
    pub(crate) fn video_is_awaited(&self) -> bool {
        let video = &self.lanes[TrackKind::Video.index()];
        !video.queue.is_empty() || (video.expected && !video.stalled)
    }

    /// Number of the first random-access point that waits.
    pub(crate) fn first_key(&self) -> Option<u64> {
        let mut queued = self.lanes[TrackKind::Video.index()].queue.iter().map(|queued| &queued.pushed);
        queued.find(|pushed| pushed.frame.random_access).map(|pushed| pushed.number)
    }

    /// Whether the track's frame that was popped last ends no later than the first random-access point that waits
    /// begins: its next frame begins where it ends.
    pub(crate) fn ended_before_key(&self, kind: TrackKind) -> bool {
        let mut video = self.lanes[TrackKind::Video.index()].queue.iter();
        let Some(key) = video.find(|queued| queued.pushed.frame.random_access) else { return true };
        self.lanes[kind.index()].queue.front().is_some_and(|next| next.from <= key.from)
    }

    /// Whether frames of the track wait.
    pub(crate) fn waits(&self, kind: TrackKind) -> bool {
        !self.lanes[kind.index()].queue.is_empty()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lanes.iter().all(|lane| lane.queue.is_empty())
    }

    /// The track has come to this time, with a frame that is not stored.
    pub(crate) fn pass(&mut self, kind: TrackKind, time: MediaTime) {
        let lane = &mut self.lanes[kind.index()];
        lane.newest = lane.newest.max(Some(time.nanos()));
        lane.stalled = false;
    }

    /// `from` is at most the frame's own time.
    pub(crate) fn push(&mut self, pushed: Pushed, from: MediaTime, now: Instant) {
        let (kind, time) = (pushed.frame.track, pushed.frame.time.nanos());
        let other = self.lanes[other(kind).index()].newest;
        let lane = &mut self.lanes[kind.index()];
        if let Some(other) = other {
            lane.distance.observe(Duration::from_nanos(other.saturating_sub(time)), now);
        }
        let newest = lane.newest.unwrap_or(0);
        let key = from.nanos().max(newest);
        lane.newest = Some(time.max(newest));
        lane.stalled = false;
        self.bytes += pushed.frame.data.len();
        lane.queue.push_back(Queued { pushed, arrived: now, from, key });
    }

    /// The next frame in order, once it is certain or has waited long enough.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Queued> {
        let kind = self.head()?;
        if self.bytes <= self.max_bytes
            && let Some((deadline, other)) = self.blocked(kind)
        {
            if now < deadline {
                return None;
            }
            self.lanes[other.index()].stalled = true;
        }
        self.take(kind)
    }

    /// The next frame in order without any waiting.
    pub(crate) fn pop_now(&mut self) -> Option<Queued> {
        let kind = self.head()?;
        self.take(kind)
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.blocked(self.head()?).map(|(deadline, _)| deadline)
    }

    /// Forgets queued frames and how far the tracks had come. Returns the dropped frames per track.
    pub(crate) fn clear(&mut self) -> [u64; 2] {
        self.bytes = 0;
        let mut dropped = [0; 2];
        for (lane, dropped) in self.lanes.iter_mut().zip(&mut dropped) {
            *dropped = lane.queue.len() as u64;
            lane.queue.clear();
            lane.newest = None;
            lane.stalled = false;
        }
        dropped
    }

    /// Starts the tracks' time over, after a jump backwards. The queues must be empty.
    pub(crate) fn restart_time(&mut self) {
        for lane in &mut self.lanes {
            lane.newest = None;
        }
    }

    /// Moves the times of all that waits.
    pub(crate) fn shift_time(&mut self, delta_ms: i64) {
        let nanos = |nanos: u64| MediaTime::from_nanos(nanos).shifted(delta_ms).nanos();
        for lane in &mut self.lanes {
            lane.newest = lane.newest.map(nanos);
            for queued in &mut lane.queue {
                queued.pushed.frame.time = queued.pushed.frame.time.shifted(delta_ms);
                queued.from = queued.from.shifted(delta_ms);
                queued.key = nanos(queued.key);
            }
        }
    }

    /// How far the track has come, in nanoseconds since the epoch.
    pub(crate) fn newest(&self, kind: TrackKind) -> Option<u64> {
        self.lanes[kind.index()].newest
    }

    fn head(&self) -> Option<TrackKind> {
        // Video first at equal times: a key frame opens the fragment that audio of the same time belongs to.
        TrackKind::ALL
            .into_iter()
            .filter_map(|kind| self.lanes[kind.index()].queue.front().map(|queued| (queued.key, kind)))
            .min()
            .map(|(_, kind)| kind)
    }

    /// When the head of `kind` may go although the other track has said nothing, and which track that is.
    fn blocked(&self, kind: TrackKind) -> Option<(Instant, TrackKind)> {
        let head = self.lanes[kind.index()].queue.front()?;
        let other = other(kind);
        let lane = &self.lanes[other.index()];
        if !lane.expected || lane.stalled || !lane.queue.is_empty() {
            return None;
        }
        let told = self.latency + self.margin;
        let wait = match lane.newest {
            Some(newest) if newest >= head.key => return None,
            None => told.max(self.first_wait),
            Some(_) => told.max(lane.distance.wait(head.arrived)),
        };
        Some((head.arrived + wait.min(MAX_WAIT), other))
    }

    fn take(&mut self, kind: TrackKind) -> Option<Queued> {
        let queued = self.lanes[kind.index()].queue.pop_front()?;
        self.bytes -= queued.pushed.frame.data.len();
        Some(queued)
    }
}

fn other(kind: TrackKind) -> TrackKind {
    match kind {
        TrackKind::Video => TrackKind::Audio,
        TrackKind::Audio => TrackKind::Video,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn push(interleaver: &mut Interleaver, track: TrackKind, ms: u64, now: Instant) {
        let time = MediaTime::from_millis(ms);
        let frame = Frame { track, time, random_access: false, data: Bytes::from_static(b"x") };
        let format = Arc::new(TrackFormat::aac(Bytes::new(), 48_000, 2));
        interleaver.push(Pushed { frame, format, number: 0 }, time, now);
    }

    fn interleaver() -> Interleaver {
        let mut it = Interleaver::new(Duration::from_secs(1), Duration::from_secs(5), 1 << 20);
        it.set_expected(TrackKind::Video, true);
        it.set_expected(TrackKind::Audio, true);
        it
    }

    fn drain(it: &mut Interleaver, now: Instant) -> Vec<(TrackKind, u64)> {
        std::iter::from_fn(|| it.pop(now))
            .map(|q| (q.pushed.frame.track, q.pushed.frame.time.millis()))
            .collect()
    }

    #[test]
    fn late_audio_is_put_in_its_place() {
        use TrackKind::{Audio, Video};
        let (mut it, now) = (interleaver(), Instant::now());
        for ms in [0, 33, 66, 100] {
            push(&mut it, Video, ms, now);
        }
        assert!(drain(&mut it, now).is_empty());
        push(&mut it, Audio, 5, now);
        push(&mut it, Audio, 66, now);
        let order = drain(&mut it, now);
        assert_eq!(order, [(Video, 0), (Audio, 5), (Video, 33), (Video, 66), (Audio, 66)]);
    }

    #[test]
    fn a_silent_track_is_waited_for_once() {
        use TrackKind::{Audio, Video};
        let (mut it, now) = (interleaver(), Instant::now());
        push(&mut it, Audio, 0, now);
        push(&mut it, Video, 0, now);
        assert_eq!(drain(&mut it, now).len(), 2);
        push(&mut it, Video, 20, now);
        assert_eq!(it.poll_timeout(), Some(now + Duration::from_secs(1)));
        assert!(it.pop(now).is_none());
        let later = now + Duration::from_secs(1);
        assert!(it.pop(later).is_some());
        push(&mut it, Video, 33, later);
        assert!(it.pop(later).is_some(), "stalled: no second wait");
    }

    #[test]
    fn a_track_that_never_spoke_is_waited_for_longer() {
        let (mut it, now) = (interleaver(), Instant::now());
        push(&mut it, TrackKind::Audio, 0, now);
        assert!(it.pop(now + Duration::from_secs(4)).is_none());
        assert!(it.pop(now + Duration::from_secs(5)).is_some());
        assert!(!it.video_is_awaited());
    }

    #[test]
    fn a_full_buffer_hands_on_instead_of_waiting() {
        let (mut it, now) =
            (Interleaver::new(Duration::from_secs(1), Duration::from_secs(5), 2), Instant::now());
        it.set_expected(TrackKind::Audio, true);
        for ms in 0..5 {
            push(&mut it, TrackKind::Video, ms, now);
        }
        assert_eq!(drain(&mut it, now).len(), 3);
    }

    /// Audio whose times are `behind` video's, both in real time. Everything comes in order, and how much later than
    /// it arrived at most.
    fn apart(behind: u64) -> (bool, Duration) {
        use TrackKind::{Audio, Video};
        let (mut it, start) = (interleaver(), Instant::now());
        let (mut order, mut arrived, mut held) = (Vec::new(), Vec::new(), Duration::ZERO);
        for ms in (0..60_000).step_by(20) {
            let now = start + Duration::from_millis(ms);
            if ms % 40 == 0 {
                push(&mut it, Video, 100_000 + ms, now);
            }
            push(&mut it, Audio, 100_000 + ms - behind, now);
            arrived.push(now);
            while let Some(queued) = it.pop(now) {
                order.push(queued.key);
                held = held.max(now - queued.arrived);
            }
        }
        (order.is_sorted() && order.len() > 4000, held)
    }

    #[test]
    fn tracks_that_are_apart_are_put_in_order() {
        for behind in [0, 700, 2_000, 4_000, 15_000] {
            let (sorted, held) = apart(behind);
            assert!(sorted, "{behind} ms");
            let behind = Duration::from_millis(behind);
            assert!(held <= behind + Duration::from_millis(40), "held for {held:?}");
        }
    }

    #[test]
    fn what_upstream_says_of_its_latency_is_waited_for() {
        use TrackKind::{Audio, Video};
        let (mut it, now) = (interleaver(), Instant::now());
        it.set_latency(Duration::from_secs(3));
        push(&mut it, Audio, 0, now);
        push(&mut it, Video, 0, now);
        push(&mut it, Audio, 20, now);
        drain(&mut it, now);
        assert_eq!(it.poll_timeout(), Some(now + Duration::from_secs(4)));
        it.set_latency(Duration::from_secs(30));
        assert_eq!(it.poll_timeout(), Some(now + MAX_WAIT));
    }

    #[test]
    fn the_observed_distance_is_forgotten_slowly() {
        let (mut distance, now) = (Distance::default(), Instant::now());
        assert_eq!(distance.wait(now), Duration::ZERO);
        distance.observe(Duration::from_secs(4), now);
        assert_eq!(distance.wait(now), Duration::from_millis(5_500));
        distance.observe(Duration::from_secs(1), now + Duration::from_secs(10));
        assert!(distance.at(now + Duration::from_secs(10)) > Duration::from_millis(3_600));
        distance.observe(Duration::from_secs(3_600), now + Duration::from_secs(10));
        assert!(distance.at(now + Duration::from_secs(300)) < Duration::from_millis(200));
    }
}
