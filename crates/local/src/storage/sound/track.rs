//! [`SoundTrack`]: which moment each frame of the encoder is of. Sans-IO.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{
    adts::SAMPLES,
    grid::{Figures, Grid},
    opus::RATE,
};

/// An encoder that is so many samples behind what it was given, two seconds, has enough to go on with.
const BEHIND: u64 = 2 * RATE as u64;
/// One that has enough, and gives nothing for so long, has stopped. On a busy machine it is late, and catches up.
const STOPPED: Duration = Duration::from_secs(10);

/// The sound of one encoder.
#[derive(Debug)]
pub(in crate::storage) struct SoundTrack {
    /// When its first sample was heard, in microseconds since 1970.
    origin_us: i64,
    grid: Grid,
    /// Frames that came out.
    frames: u64,
    /// How many had come when one was last missed, and since when.
    waits: Option<(u64, Instant)>,
}

impl SoundTrack {
    pub(in crate::storage) fn new(origin_us: i64) -> Self {
        Self { origin_us, grid: Grid::default(), frames: 0, waits: None }
    }

    fn sample(&self, us: i64) -> i64 {
        us.saturating_sub(self.origin_us).saturating_mul(i64::from(RATE / 1000)) / 1000
    }

    /// A packet of this moment; what the encoder is to be given.
    pub(in crate::storage) fn push(&mut self, us: i64, packet: &Bytes) -> Vec<Bytes> {
        let at = self.sample(us);
        // what was heard before the first picture
        if at < 0 && self.grid.end() == 0 { Vec::new() } else { self.grid.push(at, packet) }
    }

    /// Nothing more comes of what was heard before this moment.
    pub(in crate::storage) fn silent_until(&mut self, us: i64) -> Vec<Bytes> {
        self.grid.fill(self.sample(us))
    }

    /// The next frame of the encoder; when it begins to be heard, in milliseconds since 1970. An encoder of AAC puts a frame in
    /// front, which only the one behind it needs.
    pub(in crate::storage) fn encoded(&mut self) -> i64 {
        let samples = (self.frames as i64 - 1) * i64::from(SAMPLES);
        self.frames += 1;
        (self.origin_us + samples * 1000 / i64::from(RATE / 1000)) / 1000
    }

    /// Milliseconds since 1970 up to which there are frames.
    pub(in crate::storage) fn covered_ms(&self) -> i64 {
        let samples = (self.frames as i64 - 1).max(0) * i64::from(SAMPLES);
        (self.origin_us + samples * 1000 / i64::from(RATE / 1000)) / 1000
    }

    /// Whether its encoder has to be replaced.
    pub(in crate::storage) fn has_stopped(&mut self, now: Instant) -> bool {
        if self.grid.end() <= self.frames * u64::from(SAMPLES) + BEHIND {
            self.waits = None;
            return false;
        }
        let since = match self.waits {
            Some((frames, since)) if frames == self.frames => since,
            _ => now,
        };
        self.waits = Some((self.frames, since));
        now.saturating_duration_since(since) >= STOPPED
    }

    pub(in crate::storage) fn figures(&self) -> Figures {
        self.grid.figures
    }
}
