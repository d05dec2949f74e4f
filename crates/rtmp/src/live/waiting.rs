//! What waits, and for what.

use super::config::{LiveConfig, Tracks};
use super::counts::{DropReason, Figures};
use super::queue::Queue;
use super::skew::Skew;
use super::timeline::{Track, nanos};
use std::time::Instant;

/// What is left out of a track although the other one goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct LeftOut {
    /// Since then nothing else came of it.
    pub(super) since: Instant,
    pub(super) last: Instant,
}

/// What is known of when media came.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    /// When the track was last heard of, or declared.
    pub(super) video: Option<Instant>,
    pub(super) audio: Option<Instant>,
    /// When media came last.
    pub(super) media: Option<Instant>,
    pub(super) picture: Option<Instant>,
}

impl Arrivals {
    pub(super) fn of(&self, track: Track) -> Option<Instant> {
        match track {
            Track::Video => self.video,
            Track::Audio => self.audio,
        }
    }
}

/// The queue with its bounds.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) config: LiveConfig,
    pub(super) tracks: Tracks,
    pub(super) arrivals: Arrivals,
    pub(super) queue: Queue,
    /// What the next picture may refer to is neither queued nor sent.
    pub(super) broken: bool,
    pub(super) figures: Figures,
    pub(super) skew: Skew,
    /// Of each track: what came too late, since something of it went out.
    pub(super) left_out: [Option<LeftOut>; 2],
}

impl Waiting {
    pub(super) fn new(config: LiveConfig) -> Self {
        Self {
            skew: Skew::new(&config),
            left_out: [None; 2],
            config,
            tracks: Tracks::default(),
            arrivals: Arrivals::default(),
            queue: Queue::default(),
            broken: true,
            figures: Figures::default(),
        }
    }

    /// Whether a picture that came at `since` is to wait for sound.
    pub(super) fn awaits_sound(&self, since: Instant, now: Instant) -> bool {
        self.tracks.audio && self.awaits(Track::Audio, since, now)
    }

    /// Whether sound that came at `since` is to wait for a picture.
    pub(super) fn awaits_picture(&self, since: Instant, now: Instant) -> bool {
        self.tracks.video && self.awaits(Track::Video, since, now)
    }

    fn awaits(&self, track: Track, since: Instant, now: Instant) -> bool {
        let paused = self
            .arrivals
            .of(track)
            .is_none_or(|at| now.saturating_duration_since(at) >= self.skew.pause(track));
        !paused && now.saturating_duration_since(since) < self.skew.hold(track)
    }

    /// Something of this track came too late.
    pub(super) fn leaves_out(&mut self, track: Track, now: Instant) {
        let left_out = &mut self.left_out[track as usize];
        *left_out = Some(LeftOut { since: left_out.map_or(now, |it| it.since), last: now });
    }

    /// Leaves out the first `count` pictures.
    pub(super) fn drop_pictures(&mut self, count: usize, reason: DropReason) {
        let dropped = self.queue.drop_pictures(count);
        let counts = self.figures.count(reason);
        counts.pictures += dropped.pictures;
        counts.groups += dropped.groups;
        // What follows needs one of them, unless it is a key frame.
        self.broken |= count > 0 && self.queue.pictures() == 0;
    }

    /// Keeps what waits for a connection that is there within its bounds.
    pub(super) fn trim(&mut self) {
        let LiveConfig { max_bytes, max_delay, hold, .. } = self.config;
        let max_delay = max_delay + self.skew.extra();
        let is_over = |queue: &Queue| queue.picture_bytes() > max_bytes || queue.picture_span() > max_delay;
        if is_over(&self.queue)
            && let Some((first, last)) = self.queue.key_frames()
            && first < last
        {
            // Groups that were not begun, but for the newest.
            let dropped = self.queue.drop_between(first, last);
            let counts = self.figures.count(DropReason::Slow);
            counts.pictures += dropped.pictures;
            counts.groups += dropped.groups;
        }
        if self.queue.picture_bytes() > max_bytes || self.queue.picture_span() > 2 * max_delay {
            // The rest of the one that was begun; and if that is not it, there is no picture that can be kept.
            let rest = self.queue.last_key_frame().filter(|last| *last > 0);
            self.drop_pictures(rest.unwrap_or_else(|| self.queue.pictures()), DropReason::Slow);
        }
        let limit = 2 * max_delay + hold;
        while self.queue.sound_span() > limit || self.queue.sound_bytes() > max_bytes {
            self.queue.pop_sound();
            self.figures.count(DropReason::Slow).sounds += 1;
        }
    }

    /// Without a connection the newest group of pictures is kept, with its sound.
    pub(super) fn trim_unsent(&mut self) {
        if let Some(last) = self.queue.last_key_frame() {
            self.drop_pictures(last, DropReason::Disconnected);
        }
        let LiveConfig { max_bytes, max_delay, idle, .. } = self.config;
        // A long one stays, so that the master is not asked for others by which nobody is served.
        if self.queue.picture_bytes() > max_bytes || self.queue.picture_span() > idle {
            self.drop_pictures(self.queue.pictures(), DropReason::Disconnected);
        }
        let start = self.queue.first_picture().map(|it| it.time);
        let limit = nanos(if start.is_some() { idle } else { max_delay });
        while let (Some(first), Some(last)) = (self.queue.first_sound(), self.queue.last_sound()) {
            let is_before = start.is_some_and(|start| first.end() <= start);
            if !is_before && last.time - first.time <= limit && self.queue.sound_bytes() <= max_bytes {
                break;
            }
            self.queue.pop_sound();
            self.figures.count(DropReason::Disconnected).sounds += 1;
        }
    }
}
