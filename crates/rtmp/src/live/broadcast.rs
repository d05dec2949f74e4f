//! What is sent over one connection, in order.

use super::counts::DropReason;
use super::queue::{Queue, QueuedSound};
use super::skew::PAUSE;
use super::timeline::{MS, Nanos, Track, nanos};
use super::waiting::Waiting;
use crate::aac::AacConfig;
use crate::flv::{self, Tag, TagKind};
use crate::media::VideoParameters;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

/// A longer hole is left as it is: both tracks paused, or time has jumped.
const HOLE: Nanos = 5_000 * MS;
/// A picture that is later by less than this is sent as if it were not: what waited for it has gone.
const LATE: Nanos = 500 * MS;

/// From its first tag on.
#[derive(Debug)]
struct Begun {
    /// The time that is zero.
    base: Nanos,
    /// Of the newest tag.
    last: Nanos,
    /// Of the newest picture.
    picture: Option<Nanos>,
    /// Where the sound that was sent ends: the next is due then.
    sound_end: Nanos,
    /// Where the newest that was received ends, and when it came.
    heard: Option<(Nanos, Instant)>,
}

/// One broadcast.
#[derive(Debug, Default)]
pub(super) struct Broadcast {
    /// Tags that go before the next: three at most.
    heads: VecDeque<Tag>,
    video: Option<Arc<VideoParameters>>,
    audio: Option<AacConfig>,
    /// What the newest metadata said.
    announced: Option<(Option<Arc<VideoParameters>>, Option<AacConfig>)>,
    begun: Option<Begun>,
}

/// What is to go next.
enum Choice {
    Picture,
    Sound,
    Silence,
    /// Sound whose time has gone.
    LateSound,
    LatePicture,
}

impl Broadcast {
    pub(super) fn next(&mut self, waiting: &mut Waiting, now: Instant) -> Option<Tag> {
        loop {
            if let Some(tag) = self.heads.pop_front() {
                return Some(tag);
            }
            if self.begun.is_none() {
                self.begun = Some(begin(waiting, now)?);
            }
            let begun = self.begun.as_mut()?;
            match choose(begun, waiting, now)? {
                Choice::Picture => self.picture(waiting),
                Choice::Sound => self.sound(waiting),
                Choice::Silence => self.silence(waiting),
                // Silence that stands where silence was to be is no loss.
                Choice::LateSound => {
                    if waiting.queue.pop_sound().is_some_and(|sound| !sound.concealed) {
                        waiting.figures.count(DropReason::Late).sounds += 1;
                        waiting.leaves_out(Track::Audio, now);
                    }
                }
                Choice::LatePicture => {
                    drop_late(waiting, begun.last - LATE);
                    waiting.leaves_out(Track::Video, now);
                }
            }
        }
    }

    /// Whether [`Broadcast::next`] has something.
    pub(super) fn is_due(&mut self, waiting: &Waiting, now: Instant) -> bool {
        !self.heads.is_empty()
            || match &mut self.begun {
                Some(begun) => choose(begun, waiting, now).is_some(),
                None => base(waiting, now).is_some(),
            }
    }

    fn picture(&mut self, waiting: &mut Waiting) {
        let (Some(begun), Some(picture)) = (&mut self.begun, waiting.queue.pop_picture()) else { return };
        // Of pictures that come late together each has a time of its own.
        let after = begun.picture.map_or(begun.last, |newest| newest + MS);
        let time = picture.time.max(begun.last).max(after);
        (begun.last, begun.picture) = (time, Some(time));
        let (timestamp, composition) = (milliseconds(time, begun.base), (picture.shown - time).max(0) / MS);
        waiting.left_out[Track::Video as usize] = None;
        waiting.figures.pictures += 1;
        waiting.figures.key_frames += u64::from(picture.idr);
        if self.video.as_ref() != Some(&picture.parameters) {
            self.video = Some(Arc::clone(&picture.parameters));
            let audio = self.audio.or_else(|| next_sound(&waiting.queue, waiting.config.silence));
            self.announce(timestamp, audio);
            self.heads.push_back(tag(
                TagKind::VideoConfig,
                timestamp,
                flv::video_config(&picture.parameters),
            ));
        }
        let kind = if picture.idr { TagKind::KeyFrame } else { TagKind::Video };
        let composition = u32::try_from(composition).unwrap_or(0);
        let body = flv::picture(picture.idr, composition, &picture.data);
        self.heads.push_back(Tag { captured: Some(picture.at), ..tag(kind, timestamp, body) });
    }

    fn sound(&mut self, waiting: &mut Waiting) {
        let (Some(begun), Some(sound)) = (&mut self.begun, waiting.queue.pop_sound()) else { return };
        let time = sound.time.max(begun.last);
        (begun.last, begun.sound_end) = (time, sound.end());
        begun.heard = Some((sound.end(), sound.arrived));
        if !sound.concealed {
            waiting.left_out[Track::Audio as usize] = None;
        }
        let timestamp = milliseconds(time, begun.base);
        waiting.figures.sounds += 1;
        self.configure_sound(timestamp, sound.config);
        let tag = tag(TagKind::Audio, timestamp, flv::sound(&sound.data));
        self.heads.push_back(Tag { captured: Some(sound.at), ..tag });
    }

    fn silence(&mut self, waiting: &mut Waiting) {
        let config = self.audio.or_else(|| next_sound(&waiting.queue, true)).unwrap_or(AacConfig::MONO);
        let Some(begun) = &mut self.begun else { return };
        let time = begun.sound_end.max(begun.last);
        begun.last = time;
        begun.sound_end += nanos(config.frame());
        let timestamp = milliseconds(time, begun.base);
        waiting.figures.silences += 1;
        self.configure_sound(timestamp, config);
        self.heads.push_back(tag(TagKind::Silence, timestamp, flv::sound(config.silent_frame())));
    }

    fn configure_sound(&mut self, timestamp: u32, config: AacConfig) {
        if self.audio != Some(config) {
            self.audio = Some(config);
            self.announce(timestamp, Some(config));
            self.heads.push_back(tag(TagKind::AudioConfig, timestamp, flv::audio_config(config)));
        }
    }

    fn announce(&mut self, timestamp: u32, audio: Option<AacConfig>) {
        let news = Some((self.video.clone(), audio));
        if self.announced != news {
            self.announced = news;
            let body = flv::metadata(self.video.as_deref(), audio);
            self.heads.push_back(tag(TagKind::Metadata, timestamp, body));
        }
    }
}

fn tag(kind: TagKind, timestamp: u32, body: Bytes) -> Tag {
    Tag { kind, timestamp, body, captured: None }
}

/// Modulo 2^32, as RTMP counts.
fn milliseconds(time: Nanos, base: Nanos) -> u32 {
    ((time - base).max(0) / MS) as u32
}

/// What the next sound will be like.
fn next_sound(queue: &Queue, silence: bool) -> Option<AacConfig> {
    queue.first_sound().map(|it| it.config).or_else(|| silence.then_some(AacConfig::MONO))
}

/// What it begins with: a key frame, or sound where there are no pictures.
fn base(waiting: &Waiting, now: Instant) -> Option<Nanos> {
    Some(match waiting.queue.first_picture() {
        Some(picture) => {
            // So that it is said at the beginning what sound there is.
            if waiting.queue.first_sound().is_none() && waiting.awaits_sound(picture.arrived, now) {
                return None;
            }
            picture.time
        }
        None if waiting.tracks.video => return None,
        None => waiting.queue.first_sound().filter(|sound| goes(sound, waiting, sound.arrived, now))?.time,
    })
}

fn begin(waiting: &mut Waiting, now: Instant) -> Option<Begun> {
    let base = base(waiting, now)?;
    while waiting.queue.first_sound().is_some_and(|sound| sound.time < base) {
        waiting.queue.pop_sound();
        waiting.figures.count(DropReason::NoKeyFrame).sounds += 1;
    }
    Some(Begun { base, last: base, picture: None, sound_end: base, heard: None })
}

/// Whether the first of the sound may go. What stands in for sound does where it is known that none comes, or when none has come
/// for as long as it may take, for what came at `since`.
fn goes(sound: &QueuedSound, waiting: &Waiting, since: Instant, now: Instant) -> bool {
    !sound.concealed || waiting.queue.is_heard() || !waiting.awaits_sound(since, now)
}

/// What is due; `None`: one track waits for the other, or nothing is there.
fn choose(begun: &mut Begun, waiting: &Waiting, now: Instant) -> Option<Choice> {
    let (picture, sound) = (waiting.queue.first_picture(), waiting.queue.first_sound());
    if let Some(sound) = sound {
        // What is covered by more than half has been said already.
        if sound.half() < begun.sound_end || sound.time + LATE < begun.last {
            return Some(Choice::LateSound);
        }
    }
    if picture.is_some_and(|picture| picture.time < begun.last - LATE) {
        return Some(Choice::LatePicture);
    }
    let silence = waiting.config.silence;
    let since = |sound: &QueuedSound| picture.map_or(sound.arrived, |picture| picture.arrived);
    let sound = sound.filter(|sound| goes(sound, waiting, since(sound), now));
    match (picture, sound) {
        // Where pictures would say how far silence is to go, there are none: time itself says it.
        (None, None) => {
            let (end, arrived) = begun.heard.filter(|_| silence && !waiting.tracks.video)?;
            let passed = now.saturating_duration_since(arrived).saturating_sub(PAUSE);
            (begun.sound_end < end + nanos(passed)).then_some(Choice::Silence)
        }
        (picture, Some(sound)) => {
            // Sound, or silence up to it.
            let hole = sound.time - begun.sound_end;
            let fills = silence && hole > sound.end() - sound.time && hole <= HOLE;
            let time = if fills { begun.sound_end } else { sound.time };
            match picture {
                Some(picture) if picture.time <= time => Some(Choice::Picture),
                None if begun.picture.is_none_or(|newest| sound.time > newest)
                    && waiting.awaits_picture(sound.arrived, now) =>
                {
                    None
                }
                _ => Some(if fills { Choice::Silence } else { Choice::Sound }),
            }
        }
        (Some(picture), None) => {
            if picture.time <= begun.sound_end {
                return Some(Choice::Picture);
            }
            if waiting.awaits_sound(picture.arrived, now) {
                return None;
            }
            if !silence {
                return Some(Choice::Picture);
            }
            if picture.time - begun.sound_end > HOLE {
                begun.sound_end = picture.time;
            }
            Some(Choice::Silence)
        }
    }
}

/// Leaves out pictures from before `limit`, and what needs them.
fn drop_late(waiting: &mut Waiting, limit: Nanos) {
    let mut place = 0;
    let key = loop {
        match waiting.queue.key_frame_from(place) {
            Some(found) if waiting.queue.time_of(found).is_some_and(|time| time < limit) => place = found + 1,
            found => break found,
        }
    };
    waiting.drop_pictures(key.unwrap_or_else(|| waiting.queue.pictures()), DropReason::Late);
}
