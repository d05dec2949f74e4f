//! Sound on its way into a pipeline.

use super::audio::{Front, Pcm, RATE};
use super::stamp::{clock_time, nanoseconds, send_tags};
use crate::concealed;
use crate::metadata::Tag;
use gst::prelude::*;
use kvs_media::AudioPacket;
use std::time::{Duration, SystemTime};

/// Samples that may wait in front of the encoder: of one channel almost a minute and a half. When it is full packets are dropped and
/// counted, and the hole is filled.
const QUEUE_BYTES: u64 = 8 * 1024 * 1024;

/// Packets are decoded and go into the pipeline together, so much of them: each time its thread wakes up, and a decoder comes back
/// into a cache that others have used, costs more than to decode and to encode a packet.
const TOGETHER: Duration = Duration::from_millis(100);
/// At most so many of them, if none of them lasts for as long as it says.
const MOST: usize = 64;

/// What was done to sound so that it fits its capture times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SoundFigures {
    /// Written where none was received.
    pub silence: Duration,
    /// Played a little slower or faster.
    pub retimed: Duration,
    /// Stored behind what was written after it.
    pub late: Duration,
}

impl SoundFigures {
    /// Adds those of another pipeline.
    pub fn add(&mut self, other: Self) {
        self.silence += other.silence;
        self.retimed += other.retimed;
        self.late += other.late;
    }
}

/// In the order in which it is decoded.
enum Heard {
    Packet(AudioPacket),
    /// Nothing sounds here.
    Gap {
        at: SystemTime,
        duration: Duration,
    },
}

impl Heard {
    fn begin(&self) -> SystemTime {
        match self {
            Self::Packet(packet) => packet.capture_time,
            Self::Gap { at, .. } => *at,
        }
    }
}

/// The sound of one pipeline.
pub(super) struct Sound {
    /// Takes samples on the grid.
    source: gst_app::AppSrc,
    front: Front,
    /// What goes in together.
    waiting: Vec<Heard>,
    /// Up to where there is sound, or silence in its place.
    end: Option<SystemTime>,
    /// Of the gaps that were reported.
    silence: Duration,
}

impl Sound {
    pub(super) fn new(source: gst_app::AppSrc, front: Front) -> Self {
        Self { source, front, waiting: Vec::new(), end: None, silence: Duration::ZERO }
    }

    /// Puts a packet in. `false`: it was dropped, because the pipeline does not keep up.
    pub(super) fn packet(&mut self, packet: &AudioPacket) -> bool {
        if self.source.current_level_bytes() > QUEUE_BYTES {
            return false;
        }
        self.put(Heard::Packet(packet.clone()), packet.capture_time + packet.duration)
    }

    /// Conceals a place where nothing sounds.
    pub(super) fn gap(&mut self, at: SystemTime, duration: Duration) {
        self.silence += duration;
        // What is not taken, nobody misses.
        let _ = self.put(Heard::Gap { at, duration }, at + duration);
    }

    /// Tags of the fragment that begins with the sound that follows.
    pub(super) fn tags(&mut self, tags: &[Tag]) {
        if !tags.is_empty() {
            self.flush();
            send_tags(&self.source, tags);
        }
    }

    /// A picture that was captured at `at` goes in: it waits for no sound that was received.
    pub(super) fn picture(&mut self, at: SystemTime) {
        if self.waiting.first().is_some_and(|first| at > first.begin() + TOGETHER) {
            self.flush();
        }
    }

    /// Up to where there is sound, or silence in its place.
    pub(super) fn end(&self) -> Option<SystemTime> {
        self.end
    }

    /// Nothing follows.
    pub(super) fn finish(&mut self) {
        self.flush();
        if let Some(end) = self.end {
            self.front.finish(end);
            self.push();
        }
        let _ = self.source.end_of_stream();
    }

    /// What was done to it.
    pub(super) fn figures(&self) -> SoundFigures {
        let retimed = self.front.figures();
        SoundFigures {
            silence: self.silence + Duration::from_nanos(retimed.filled),
            retimed: Duration::from_nanos(retimed.retimed),
            late: Duration::from_nanos(retimed.late),
        }
    }

    fn put(&mut self, heard: Heard, end: SystemTime) -> bool {
        self.end = self.end.max(Some(end));
        let begin = heard.begin();
        self.waiting.push(heard);
        // Where time has gone back, nothing is together.
        let is_full = self.waiting.len() >= MOST
            || self.waiting.first().map(Heard::begin).is_some_and(|it| end >= it + TOGETHER || begin < it);
        if is_full { self.flush() } else { true }
    }

    /// Decodes what waits for more. `false`: the pipeline does not take it.
    fn flush(&mut self) -> bool {
        for heard in self.waiting.drain(..) {
            match heard {
                Heard::Packet(AudioPacket { data, capture_time, duration, .. }) => {
                    self.front.packet(capture_time, &data, duration);
                }
                Heard::Gap { at, duration } => {
                    self.source.send_event(concealed::event(clock_time(at), nanoseconds(duration)));
                    self.front.silence(at, duration);
                }
            }
        }
        self.push()
    }

    fn push(&mut self) -> bool {
        let (source, channels) = (&self.source, self.front.channels());
        let mut taken = true;
        for pcm in self.front.take() {
            taken &= source.push_buffer(buffer(&pcm, channels)).is_ok();
        }
        taken
    }
}

fn buffer(pcm: &Pcm, channels: usize) -> gst::Buffer {
    let mut bytes = vec![0; size_of_val(&pcm.samples[..])];
    for (bytes, sample) in bytes.chunks_exact_mut(size_of::<i16>()).zip(&pcm.samples) {
        bytes.copy_from_slice(&sample.to_le_bytes());
    }
    let frames = u32::try_from(pcm.samples.len() / channels).unwrap_or(u32::MAX);
    let mut buffer = gst::Buffer::from_mut_slice(bytes);
    if let Some(buffer) = buffer.get_mut() {
        buffer.set_pts(gst::ClockTime::from_nseconds(u64::try_from(pcm.at).unwrap_or(0)));
        buffer.set_duration(nanoseconds(Duration::from_secs(1) * frames / RATE));
        if pcm.discont {
            buffer.set_flags(gst::BufferFlags::DISCONT);
        }
    }
    buffer
}
