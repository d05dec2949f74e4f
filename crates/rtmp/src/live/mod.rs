//! The queue between the pipeline and a connection.
//!
//! Media comes in capture time and goes out as tags whose timestamps begin at zero on each connection and never go back. What
//! follows a picture that was left out is left out too, up to the next key frame, so that nothing is sent that cannot be
//! decoded.

mod broadcast;
mod config;
mod counts;
mod decode_times;
mod measure;
mod queue;
mod skew;
#[cfg(test)]
mod tests;
mod timeline;
mod waiting;

pub use config::{LiveConfig, Tracks};
pub use counts::{Counts, DropReason, Figures};
pub use timeline::Track;

use crate::flv::Tag;
use crate::ivs::Observed;
use crate::media::{Picture, Sound, VideoParameters};
use broadcast::Broadcast;
use decode_times::DecodeTimes;
use measure::Measure;
use queue::{QueuedPicture, QueuedSound};
use skew::PAUSE;
use std::sync::Arc;
use std::time::{Duration, Instant};
use timeline::Timeline;
use waiting::{LeftOut, Waiting};

/// A master that has sent no picture for so long is not asked for one.
const SILENT: Duration = Duration::from_secs(5);
/// A track of which nothing but what comes too late has come for so long is one that does not go out: what can be waited for
/// is waited for by then.
const LEFT_OUT: Duration = Duration::from_secs(5);
/// And it still is one for so long: of pictures that are left out only key frames come, to be left out as well.
const STILL: Duration = Duration::from_secs(15);

/// See the [module](self).
pub struct Live {
    waiting: Waiting,
    timeline: Timeline,
    decode_times: DecodeTimes,
    parameters: Option<Arc<VideoParameters>>,
    asked: Option<Instant>,
    measure: Measure,
    /// While there is a connection.
    broadcast: Option<Broadcast>,
}

impl Live {
    /// Without media or connection.
    #[must_use]
    pub fn new(config: LiveConfig) -> Self {
        Self {
            waiting: Waiting::new(config),
            timeline: Timeline::default(),
            decode_times: DecodeTimes::default(),
            parameters: None,
            asked: None,
            measure: Measure::default(),
            broadcast: None,
        }
    }

    /// The pipeline that media comes from now has these tracks: for none else is waited.
    pub fn set_tracks(&mut self, tracks: Tracks, now: Instant) {
        if tracks.video && !self.waiting.tracks.video {
            self.waiting.arrivals.video = Some(now);
        }
        if tracks.audio && !self.waiting.tracks.audio {
            self.waiting.arrivals.audio = Some(now);
        }
        self.waiting.tracks = tracks;
    }

    /// A picture came.
    pub fn picture(&mut self, picture: Picture, now: Instant) {
        let Picture { at, idr, data, parameters } = picture;
        (self.waiting.arrivals.video, self.waiting.arrivals.media, self.waiting.arrivals.picture) =
            (Some(now), Some(now), Some(now));
        let place = self.timeline.place(Track::Video, at, now);
        self.waiting.figures.jumps = self.timeline.jumps();
        self.measure.picture(place, data.len(), idr, &parameters);
        if idr && self.parameters.as_ref().is_none_or(|before| **before != *parameters) {
            self.decode_times.forget_order();
            self.parameters = Some(Arc::clone(&parameters));
        }
        if self.waiting.broken && !idr {
            self.waiting.figures.count(DropReason::NoKeyFrame).pictures += 1;
            return;
        }
        self.waiting.broken = false;
        let time = self.decode_times.next(place, idr);
        self.waiting.skew.came(Track::Video, time, now);
        self.waiting.queue.push_picture(QueuedPicture {
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

    /// Something came that cannot be sent: the master is there all the same.
    pub fn heard(&mut self, now: Instant) {
        self.waiting.arrivals.media = Some(now);
    }

    /// A frame of sound came.
    pub fn sound(&mut self, sound: Sound, now: Instant) {
        let Sound { at, data, config, concealed } = sound;
        let time = self.timeline.place(Track::Audio, at, now);
        self.waiting.figures.jumps = self.timeline.jumps();
        // When a gap is noticed tells nothing of when sound comes, nor whether anybody is there.
        if !concealed {
            (self.waiting.arrivals.audio, self.waiting.arrivals.media) = (Some(now), Some(now));
            self.waiting.skew.came(Track::Audio, time, now);
        }
        self.measure.sound(time, data.len(), config);
        self.waiting.queue.push_sound(QueuedSound { time, at, data, config, concealed, arrived: now });
        self.trim();
    }

    fn trim(&mut self) {
        match self.broadcast {
            Some(_) => self.waiting.trim(),
            None => self.waiting.trim_unsent(),
        }
    }

    /// There is media that a broadcast can begin with, and the master is not gone.
    #[must_use]
    pub fn wants_connection(&self, now: Instant) -> bool {
        let can_begin = match self.waiting.queue.first_picture() {
            Some(picture) => picture.idr,
            None => !self.waiting.tracks.video && self.waiting.queue.first_sound().is_some(),
        };
        can_begin && !self.is_idle(now)
    }

    /// The master has sent nothing for so long that it is gone.
    #[must_use]
    pub fn is_idle(&self, now: Instant) -> bool {
        self.waiting
            .arrivals
            .media
            .is_none_or(|at| now.saturating_duration_since(at) >= self.waiting.config.idle)
    }

    /// A server takes media from now on: it begins with the newest key frame.
    pub fn connected(&mut self, now: Instant) {
        self.begin_anew();
        // What has waited for the connection for too long is no beginning of a live broadcast.
        if self
            .waiting
            .queue
            .first_picture()
            .is_some_and(|it| now.saturating_duration_since(it.arrived) > self.waiting.config.max_delay)
        {
            self.waiting.drop_pictures(self.waiting.queue.pictures(), DropReason::Disconnected);
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
        let first = self.waiting.queue.last_key_frame().unwrap_or_else(|| self.waiting.queue.pictures());
        self.waiting.drop_pictures(first, DropReason::Disconnected);
        self.waiting.broken |= self.waiting.queue.pictures() == 0;
        self.waiting.left_out = [None; 2];
        self.trim();
    }

    /// The next tag that is due; `None`: none before [`Live::timeout`], or before more media.
    pub fn next(&mut self, now: Instant) -> Option<Tag> {
        let mut broadcast = self.broadcast.take()?;
        let tag = broadcast.next(&mut self.waiting, now);
        self.broadcast = Some(broadcast);
        tag
    }

    /// Whether something is to be done now: there is a tag, a key frame to ask for, or a connection to make. Who
    /// looks at [`Live::timeout`] and again within `LiveConfig::hold` need not look at media that makes nothing due.
    #[must_use]
    pub fn is_due(&mut self, now: Instant) -> bool {
        let is_sendable = match &mut self.broadcast {
            Some(broadcast) => broadcast.is_due(&self.waiting, now),
            None => self.wants_connection(now),
        };
        is_sendable || self.key_frame_is_due(now)
    }

    /// When [`Live::next`] or [`Live::take_key_frame_wanted`] may have something to say although nothing came.
    #[must_use]
    pub fn timeout(&self, now: Instant) -> Option<Instant> {
        self.broadcast.as_ref()?;
        let skew = &self.waiting.skew;
        let held = [
            self.waiting.queue.first_picture().map(|it| it.arrived + skew.hold(Track::Audio)),
            self.waiting.queue.first_sound().map(|it| it.arrived + skew.hold(Track::Video)),
            // Where there are no pictures, what stands in for sound waits for it.
            self.waiting
                .queue
                .first_sound()
                .filter(|it| it.concealed)
                .map(|it| it.arrived + skew.hold(Track::Audio)),
        ];
        let held = held.into_iter().flatten();
        let paused = Track::ALL
            .into_iter()
            .filter_map(|track| Some(self.waiting.arrivals.of(track)? + skew.pause(track)))
            // Silence for sound that pauses begins then.
            .chain(self.waiting.arrivals.audio.map(|at| at + PAUSE));
        let asks = self
            .asks_for_key_frame(now)
            .then(|| self.asked.map(|at| at + self.waiting.config.key_frame_retry));
        let idle = self.waiting.arrivals.media.map(|at| at + self.waiting.config.idle);
        let asks = asks.flatten();
        held.chain(paused).chain(asks).chain(idle).filter(|at| *at > now).min()
    }

    /// Whether to ask the master for a key frame now, without which nothing can be sent.
    pub fn take_key_frame_wanted(&mut self, now: Instant) -> bool {
        let wanted = self.key_frame_is_due(now);
        if wanted {
            self.asked = Some(now);
            self.waiting.figures.key_frames_wanted += 1;
        }
        wanted
    }

    fn key_frame_is_due(&self, now: Instant) -> bool {
        let retry = self.waiting.config.key_frame_retry;
        self.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= retry)
            && self.asks_for_key_frame(now)
    }

    fn asks_for_key_frame(&self, now: Instant) -> bool {
        let is_heard =
            self.waiting.arrivals.picture.is_some_and(|at| now.saturating_duration_since(at) < SILENT);
        self.waiting.broken && self.waiting.tracks.video && is_heard
    }

    /// What was counted, and what waits.
    #[must_use]
    pub fn figures(&self) -> Figures {
        Figures {
            queued: self.waiting.queue.span(),
            queued_bytes: self.waiting.queue.bytes(),
            holds: Track::ALL.map(|track| self.waiting.skew.hold(track)),
            ..self.waiting.figures
        }
    }

    /// The track that does not go out although it comes, because it comes too far behind the other, and how far.
    #[must_use]
    pub fn left_out(&self, now: Instant) -> Option<(Track, Duration)> {
        let is_left_out = |it: LeftOut| {
            now.saturating_duration_since(it.since) >= LEFT_OUT
                && now.saturating_duration_since(it.last) < STILL
        };
        let track = Track::ALL
            .into_iter()
            .find(|track| self.waiting.left_out[*track as usize].is_some_and(is_left_out))?;
        Some((track, self.waiting.skew.behind(track)))
    }

    /// What the master sends, as it is measured.
    #[must_use]
    pub fn observed(&self) -> Observed {
        self.measure.observed()
    }
}
