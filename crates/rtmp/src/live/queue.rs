//! Pictures and sound that wait, each in the order of its decoding.

use super::timeline::{Nanos, nanos};
use crate::aac::AacConfig;
use crate::media::VideoParameters;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct QueuedPicture {
    /// When it is decoded,
    pub(super) time: Nanos,
    /// and when it is presented.
    pub(super) shown: Nanos,
    /// Capture time.
    pub(super) at: Duration,
    pub(super) idr: bool,
    pub(super) data: Bytes,
    pub(super) parameters: Arc<VideoParameters>,
    pub(super) arrived: Instant,
}

#[derive(Debug)]
pub(super) struct QueuedSound {
    pub(super) time: Nanos,
    /// Capture time.
    pub(super) at: Duration,
    pub(super) data: Bytes,
    pub(super) config: AacConfig,
    /// It stands in for sound that was not received.
    pub(super) concealed: bool,
    pub(super) arrived: Instant,
}

impl QueuedSound {
    pub(super) fn end(&self) -> Nanos {
        self.time + nanos(self.config.frame())
    }

    pub(super) fn half(&self) -> Nanos {
        self.time + nanos(self.config.frame()) / 2
    }
}

/// What was taken out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Dropped {
    pub(super) pictures: u64,
    /// Groups of which something was taken out.
    pub(super) groups: u64,
}

/// Its bounds are [`super::Live`]'s, which trims it after each push.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pictures: VecDeque<QueuedPicture>,
    picture_bytes: usize,
    sounds: VecDeque<QueuedSound>,
    sound_bytes: usize,
}

impl Queue {
    pub(super) fn push_picture(&mut self, picture: QueuedPicture) {
        self.picture_bytes += picture.data.len();
        self.pictures.push_back(picture);
    }

    pub(super) fn push_sound(&mut self, sound: QueuedSound) {
        // What stands in for it gives way. Half a frame is what rounding and a slower clock make.
        while let Some(last) = self.sounds.back()
            && last.concealed
            && last.half() > sound.time
        {
            self.sound_bytes -= last.data.len();
            self.sounds.pop_back();
        }
        self.sound_bytes += sound.data.len();
        self.sounds.push_back(sound);
    }

    pub(super) fn pop_picture(&mut self) -> Option<QueuedPicture> {
        let picture = self.pictures.pop_front()?;
        self.picture_bytes -= picture.data.len();
        Some(picture)
    }

    pub(super) fn pop_sound(&mut self) -> Option<QueuedSound> {
        let sound = self.sounds.pop_front()?;
        self.sound_bytes -= sound.data.len();
        Some(sound)
    }

    pub(super) fn first_picture(&self) -> Option<&QueuedPicture> {
        self.pictures.front()
    }

    pub(super) fn first_sound(&self) -> Option<&QueuedSound> {
        self.sounds.front()
    }

    /// Whether any of the sound was received.
    pub(super) fn is_heard(&self) -> bool {
        self.sounds.iter().any(|it| !it.concealed)
    }

    pub(super) fn last_sound(&self) -> Option<&QueuedSound> {
        self.sounds.back()
    }

    pub(super) fn pictures(&self) -> usize {
        self.pictures.len()
    }

    /// Places of the first and the last.
    pub(super) fn key_frames(&self) -> Option<(usize, usize)> {
        Some((self.pictures.iter().position(|it| it.idr)?, self.last_key_frame()?))
    }

    pub(super) fn last_key_frame(&self) -> Option<usize> {
        self.pictures.iter().rposition(|it| it.idr)
    }

    /// The place of the first key frame from `place` on.
    pub(super) fn key_frame_from(&self, place: usize) -> Option<usize> {
        (place..self.pictures.len()).find(|index| self.pictures[*index].idr)
    }

    pub(super) fn time_of(&self, place: usize) -> Option<Nanos> {
        self.pictures.get(place).map(|it| it.time)
    }

    pub(super) fn drop_pictures(&mut self, count: usize) -> Dropped {
        self.drop_between(0, count)
    }

    pub(super) fn drop_between(&mut self, from: usize, to: usize) -> Dropped {
        let mut dropped = Dropped::default();
        for (index, picture) in self.pictures.drain(from..to).enumerate() {
            self.picture_bytes -= picture.data.len();
            dropped.pictures += 1;
            // The first may be the rest of one.
            dropped.groups += u64::from(picture.idr || index == 0);
        }
        dropped
    }

    pub(super) fn picture_bytes(&self) -> usize {
        self.picture_bytes
    }

    pub(super) fn sound_bytes(&self) -> usize {
        self.sound_bytes
    }

    pub(super) fn bytes(&self) -> usize {
        self.picture_bytes + self.sound_bytes
    }

    pub(super) fn picture_span(&self) -> Duration {
        span(self.pictures.front().map(|it| it.time), self.pictures.back().map(|it| it.time))
    }

    pub(super) fn sound_span(&self) -> Duration {
        span(self.sounds.front().map(|it| it.time), self.sounds.back().map(|it| it.time))
    }

    pub(super) fn span(&self) -> Duration {
        self.picture_span().max(self.sound_span())
    }
}

fn span(first: Option<Nanos>, last: Option<Nanos>) -> Duration {
    let span = first.zip(last).map_or(0, |(first, last)| last - first);
    Duration::from_nanos(u64::try_from(span).unwrap_or(0))
}
