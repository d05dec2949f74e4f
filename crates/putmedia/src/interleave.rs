//! Puts the frames of two tracks into one order of time.
//!
//! Tracks arrive on different threads with different delay (an audio encoder lags by 100 to 300 ms), but a
//! fragment must hold the audio of its own span. So a frame is handed on when the other track has shown that
//! nothing earlier can come, or when it has waited long enough.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::{Frame, MediaTime, TrackFormat, TrackKind};

/// A frame with the format that was in force when it arrived.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) frame: Frame,
    pub(crate) format: Arc<TrackFormat>,
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
}

#[derive(Debug)]
pub(crate) struct Interleaver {
    lanes: [Lane; 2],
    wait: Duration,
    /// How long audio waits for the first video frame, so that a recording does not begin with a stretch of
    /// audio that has a session of its own.
    first_video_wait: Duration,
    /// Payload bytes in the queues. When `max_bytes` is exceeded frames are handed on without waiting;
    /// nothing is dropped here.
    bytes: usize,
    max_bytes: usize,
}

impl Interleaver {
    pub(crate) fn new(wait: Duration, first_video_wait: Duration, max_bytes: usize) -> Self {
        Self { lanes: Default::default(), wait, first_video_wait, bytes: 0, max_bytes }
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

    /// `from` is at most the frame's own time.
    pub(crate) fn push(&mut self, frame: Frame, from: MediaTime, format: Arc<TrackFormat>, now: Instant) {
        let lane = &mut self.lanes[frame.track.index()];
        let newest = lane.newest.unwrap_or(0);
        let key = from.nanos().max(newest);
        lane.newest = Some(frame.time.nanos().max(newest));
        lane.stalled = false;
        self.bytes += frame.data.len();
        lane.queue.push_back(Queued { frame, format, arrived: now, from, key });
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
        let other = match kind {
            TrackKind::Video => TrackKind::Audio,
            TrackKind::Audio => TrackKind::Video,
        };
        let lane = &self.lanes[other.index()];
        if !lane.expected || lane.stalled || !lane.queue.is_empty() {
            return None;
        }
        let wait = match lane.newest {
            Some(newest) if newest >= head.key => return None,
            None if other == TrackKind::Video => self.first_video_wait,
            _ => self.wait,
        };
        Some((head.arrived + wait, other))
    }

    fn take(&mut self, kind: TrackKind) -> Option<Queued> {
        let queued = self.lanes[kind.index()].queue.pop_front()?;
        self.bytes -= queued.frame.data.len();
        Some(queued)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn frame(track: TrackKind, ms: u64) -> (Frame, Arc<TrackFormat>) {
        let format = TrackFormat::aac(Bytes::new(), 48_000, 2);
        let time = MediaTime::from_millis(ms);
        (Frame { track, time, random_access: false, data: Bytes::from_static(b"x") }, Arc::new(format))
    }

    fn push(interleaver: &mut Interleaver, track: TrackKind, ms: u64, now: Instant) {
        let (frame, format) = frame(track, ms);
        interleaver.push(frame, MediaTime::from_millis(ms), format, now);
    }

    fn interleaver() -> Interleaver {
        let mut it = Interleaver::new(Duration::from_secs(1), Duration::from_secs(5), 1 << 20);
        it.set_expected(TrackKind::Video, true);
        it.set_expected(TrackKind::Audio, true);
        it
    }

    fn drain(it: &mut Interleaver, now: Instant) -> Vec<(TrackKind, u64)> {
        std::iter::from_fn(|| it.pop(now)).map(|q| (q.frame.track, q.frame.time.millis())).collect()
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
        use TrackKind::Video;
        let (mut it, now) = (interleaver(), Instant::now());
        push(&mut it, Video, 0, now);
        assert_eq!(it.poll_timeout(), Some(now + Duration::from_secs(1)));
        assert!(it.pop(now).is_none());
        let later = now + Duration::from_secs(1);
        assert!(it.pop(later).is_some());
        push(&mut it, Video, 33, later);
        assert!(it.pop(later).is_some(), "stalled: no second wait");
    }

    #[test]
    fn audio_waits_longer_for_the_first_video_frame() {
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
}
