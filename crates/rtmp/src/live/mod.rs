//! The queue between the pipeline and a connection.
//!
//! Media comes in capture time and goes out as tags whose timestamps begin at zero on each connection and never go back. What
//! follows a picture that was left out is left out too, up to the next key frame, so that nothing is sent that cannot be
//! decoded.

mod broadcast;
mod counts;
mod decode_times;
mod measure;
mod queue;
#[cfg(test)]
mod tests;
mod timeline;

pub use counts::{Counts, DropReason, Figures};

use crate::flv::Tag;
use crate::ivs::Observed;
use crate::media::{Picture, Sound, VideoParameters};
use broadcast::Broadcast;
use decode_times::DecodeTimes;
use measure::Measure;
use queue::{Queue, QueuedPicture, QueuedSound};
use std::sync::Arc;
use std::time::{Duration, Instant};
use timeline::{Timeline, nanos};

/// A track from which nothing came for so long pauses: the other does not wait for it.
const PAUSE: Duration = Duration::from_secs(1);
/// A master that has sent no picture for so long is not asked for one.
const SILENT: Duration = Duration::from_secs(5);

/// How it behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveConfig {
    /// Send silence where there is no sound.
    pub silence: bool,
    /// Bytes that may wait.
    pub max_bytes: usize,
    /// Media that may wait. Beyond it whole groups of pictures are left out, and beyond twice as much the rest of one that was
    /// begun.
    pub max_delay: Duration,
    /// How long one track waits for the other.
    pub hold: Duration,
    /// Between two requests for a key frame.
    pub key_frame_retry: Duration,
    /// A master that sends nothing for so long is gone, and the broadcast is over.
    pub idle: Duration,
}

impl Default for LiveConfig {
    fn default() -> Self {
        Self {
            silence: true,
            max_bytes: 16 << 20,
            max_delay: Duration::from_secs(3),
            hold: Duration::from_millis(500),
            key_frame_retry: Duration::from_secs(1),
            idle: Duration::from_secs(10),
        }
    }
}

/// Which tracks the pipeline has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tracks {
    /// Pictures.
    pub video: bool,
    /// Sound.
    pub audio: bool,
}

/// What is known of when media came.
#[derive(Debug, Default)]
struct Arrivals {
    /// When the track was last heard of, or declared.
    video: Option<Instant>,
    audio: Option<Instant>,
    /// When media came last.
    media: Option<Instant>,
    picture: Option<Instant>,
}

/// See the [module](self).
pub struct Live {
    config: LiveConfig,
    tracks: Tracks,
    arrivals: Arrivals,
    timeline: Timeline,
    decode_times: DecodeTimes,
    parameters: Option<Arc<VideoParameters>>,
    queue: Queue,
    /// What the next picture may refer to is neither queued nor sent.
    broken: bool,
    asked: Option<Instant>,
    measure: Measure,
    /// While there is a connection.
    broadcast: Option<Broadcast>,
    figures: Figures,
}

impl Live {
    /// Without media or connection.
    #[must_use]
    pub fn new(config: LiveConfig) -> Self {
        Self {
            config,
            tracks: Tracks::default(),
            arrivals: Arrivals::default(),
            timeline: Timeline::default(),
            decode_times: DecodeTimes::default(),
            parameters: None,
            queue: Queue::default(),
            broken: true,
            asked: None,
            measure: Measure::default(),
            broadcast: None,
            figures: Figures::default(),
        }
    }

    /// The pipeline that media comes from now has these tracks: for none else is waited.
    pub fn set_tracks(&mut self, tracks: Tracks, now: Instant) {
        if tracks.video && !self.tracks.video {
            self.arrivals.video = Some(now);
        }
        if tracks.audio && !self.tracks.audio {
            self.arrivals.audio = Some(now);
        }
        self.tracks = tracks;
    }

    /// A picture came.
    pub fn picture(&mut self, picture: Picture, now: Instant) {
        let Picture { at, idr, data, parameters } = picture;
        (self.arrivals.video, self.arrivals.media, self.arrivals.picture) = (Some(now), Some(now), Some(now));
        let place = self.timeline.place(0, at, now);
        self.figures.jumps = self.timeline.jumps();
        self.measure.picture(place, data.len(), idr, &parameters);
        if idr && self.parameters.as_ref().is_none_or(|before| **before != *parameters) {
            self.decode_times.forget_order();
            self.parameters = Some(Arc::clone(&parameters));
        }
        if self.broken && !idr {
            self.figures.count(DropReason::NoKeyFrame).pictures += 1;
            return;
        }
        self.broken = false;
        let time = self.decode_times.next(place, idr);
        self.queue.push_picture(QueuedPicture {
            time,
            shown: place,
            at,
            idr,
            data,
            parameters,
            arrived: now,
        });
        self.trim();
    }

    /// A frame of sound came.
    pub fn sound(&mut self, sound: Sound, now: Instant) {
        let Sound { at, data, config } = sound;
        (self.arrivals.audio, self.arrivals.media) = (Some(now), Some(now));
        let time = self.timeline.place(1, at, now);
        self.figures.jumps = self.timeline.jumps();
        self.measure.sound(time, data.len(), config);
        self.queue.push_sound(QueuedSound { time, at, data, config, arrived: now });
        self.trim();
    }

    /// There is media that a broadcast can begin with, and the master is not gone.
    #[must_use]
    pub fn wants_connection(&self, now: Instant) -> bool {
        let can_begin = match self.queue.first_picture() {
            Some(picture) => picture.idr,
            None => !self.tracks.video && self.queue.first_sound().is_some(),
        };
        can_begin && !self.is_idle(now)
    }

    /// The master has sent nothing for so long that it is gone.
    #[must_use]
    pub fn is_idle(&self, now: Instant) -> bool {
        self.arrivals.media.is_none_or(|at| now.saturating_duration_since(at) >= self.config.idle)
    }

    /// A server takes media from now on: it begins with the newest key frame.
    pub fn connected(&mut self, now: Instant) {
        self.begin_anew();
        // What has waited for the connection for too long is no beginning of a live broadcast.
        if self
            .queue
            .first_picture()
            .is_some_and(|it| now.saturating_duration_since(it.arrived) > self.config.max_delay)
        {
            self.drop_pictures(self.queue.pictures(), DropReason::Disconnected);
        }
        self.asked = None;
        self.broadcast = Some(Broadcast::default());
    }

    /// There is no connection any more.
    pub fn disconnected(&mut self) {
        self.broadcast = None;
        self.begin_anew();
    }

    /// Leaves of the queue what a broadcast can begin with.
    fn begin_anew(&mut self) {
        let first = self.queue.last_key_frame().unwrap_or_else(|| self.queue.pictures());
        self.drop_pictures(first, DropReason::Disconnected);
        self.broken |= self.queue.pictures() == 0;
        self.trim();
    }

    /// The next tag that is due; `None`: none before [`Live::timeout`], or before more media.
    pub fn next(&mut self, now: Instant) -> Option<Tag> {
        let mut broadcast = self.broadcast.take()?;
        let tag = broadcast.next(self, now);
        self.broadcast = Some(broadcast);
        tag
    }

    /// When [`Live::next`] or [`Live::take_key_frame_wanted`] may have something to say although nothing came.
    #[must_use]
    pub fn timeout(&self, now: Instant) -> Option<Instant> {
        self.broadcast.as_ref()?;
        let arrived =
            [self.queue.first_picture().map(|it| it.arrived), self.queue.first_sound().map(|it| it.arrived)];
        let held = arrived.into_iter().flatten().map(|at| at + self.config.hold);
        let paused = [self.arrivals.video, self.arrivals.audio].into_iter().flatten().map(|at| at + PAUSE);
        let asks =
            self.asks_for_key_frame(now).then(|| self.asked.map(|at| at + self.config.key_frame_retry));
        let idle = self.arrivals.media.map(|at| at + self.config.idle);
        let asks = asks.flatten();
        held.chain(paused).chain(asks).chain(idle).filter(|at| *at > now).min()
    }

    /// Whether to ask the master for a key frame now, without which nothing can be sent.
    pub fn take_key_frame_wanted(&mut self, now: Instant) -> bool {
        let due = self
            .asked
            .is_none_or(|asked| now.saturating_duration_since(asked) >= self.config.key_frame_retry);
        let wanted = due && self.asks_for_key_frame(now);
        if wanted {
            self.asked = Some(now);
            self.figures.key_frames_wanted += 1;
        }
        wanted
    }

    fn asks_for_key_frame(&self, now: Instant) -> bool {
        let is_heard = self.arrivals.picture.is_some_and(|at| now.saturating_duration_since(at) < SILENT);
        self.broken && self.tracks.video && is_heard
    }

    /// What was counted, and what waits.
    #[must_use]
    pub fn figures(&self) -> Figures {
        Figures { queued: self.queue.span(), queued_bytes: self.queue.bytes(), ..self.figures }
    }

    /// What the master sends, as it is measured.
    #[must_use]
    pub fn observed(&self) -> Observed {
        self.measure.observed()
    }

    /// Whether a picture that came at `since` is to wait for sound.
    fn awaits_sound(&self, since: Instant, now: Instant) -> bool {
        self.tracks.audio && self.awaits(self.arrivals.audio, since, now)
    }

    /// Whether sound that came at `since` is to wait for a picture.
    fn awaits_picture(&self, since: Instant, now: Instant) -> bool {
        self.tracks.video && self.awaits(self.arrivals.video, since, now)
    }

    fn awaits(&self, heard: Option<Instant>, since: Instant, now: Instant) -> bool {
        let paused = heard.is_none_or(|at| now.saturating_duration_since(at) >= PAUSE);
        !paused && now.saturating_duration_since(since) < self.config.hold
    }

    /// Leaves out the first `count` pictures.
    fn drop_pictures(&mut self, count: usize, reason: DropReason) {
        let dropped = self.queue.drop_pictures(count);
        let counts = self.figures.count(reason);
        counts.pictures += dropped.pictures;
        counts.groups += dropped.groups;
        // What follows needs one of them, unless it is a key frame.
        self.broken |= count > 0 && self.queue.pictures() == 0;
    }

    /// Keeps what waits within its bounds.
    fn trim(&mut self) {
        if self.broadcast.is_none() {
            return self.trim_unsent();
        }
        let LiveConfig { max_bytes, max_delay, .. } = self.config;
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
        let limit = 2 * max_delay + self.config.hold;
        while self.queue.sound_span() > limit || self.queue.sound_bytes() > max_bytes {
            self.queue.pop_sound();
            self.figures.count(DropReason::Slow).sounds += 1;
        }
    }

    /// Without a connection the newest group of pictures is kept, with its sound.
    fn trim_unsent(&mut self) {
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
