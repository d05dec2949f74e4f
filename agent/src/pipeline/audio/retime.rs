//! Puts sound on one unbroken grid of samples that follows its capture times. Pure.
//!
//! What is chosen, and why (`docs/time.md`): a sound card whose clock is off is followed by **resampling**, up to 3.5 %
//! slower and as much faster as it takes: every sample that was received is heard, at the pitch at which it sounded if
//! it is the card that is off, and a few cents beside it if it is the sender that pauses between packets. What is
//! missing beyond that is **filled**: where it is quiet, or at the latest when 60 ms are missing. What comes faster is
//! never cut.

use super::codec::AAC_DELAY;
use super::rate::RATE;
use super::resample::Resampler;

/// Nanoseconds since 1970.
pub(super) type Nanos = i64;

const MS: Nanos = 1_000_000;
const SECOND: Nanos = 1_000 * MS;
/// So far sound may be off before it is played faster or slower,
const SLACK: Nanos = 5 * MS;
/// and so near it is brought then.
const NEAR: Nanos = MS / 2;
/// An error is made up for with this time constant (seconds) where sound is early,
const TIME_SLOWER: f64 = 0.5;
/// and with this one where it is late;
const TIME_FASTER: f64 = 0.2;
/// at most so much slower
const SLOWER: f64 = 0.035;
/// or faster.
const FASTER: f64 = 0.25;
/// A hole of this length is filled wherever it is,
const HOLE: Nanos = 60 * MS;
/// one of this length where it is quiet.
const QUIET_HOLE: Nanos = 20 * MS;
/// More than that, and the grid begins anew: nobody sent anything.
const BREAK: Nanos = 5 * SECOND;
/// Sound that is so far behind the end of the grid is put where it was captured: over what was filled in.
const BEHIND: Nanos = SECOND;
/// How a hole begins and ends: from the last sample to nothing, and up to the next.
const FADE: usize = 240;

/// A piece of the grid.
#[derive(Debug, PartialEq)]
pub(in crate::pipeline) struct Pcm {
    /// When its first sample sounded.
    pub(in crate::pipeline) at: Nanos,
    /// Interleaved.
    pub(in crate::pipeline) samples: Vec<i16>,
    /// It does not go on where the last piece ended.
    pub(in crate::pipeline) discont: bool,
}

/// Nanoseconds of what was done to the sound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetimeFigures {
    /// Silence that fills a hole.
    pub filled: u64,
    /// Sound that was played slower or faster.
    pub retimed: u64,
    /// Stored behind the end of the grid.
    pub late: u64,
}

#[derive(Debug)]
pub(super) struct Retimer {
    channels: usize,
    resampler: Resampler,
    /// Where the grid begins, and the frames that came out of it.
    grid: Option<(Nanos, u64)>,
    discont: bool,
    retiming: bool,
    last: Vec<i16>,
    /// Mean amplitude of a while.
    loudness: f64,
    out: Vec<i16>,
    pub(super) figures: RetimeFigures,
}

fn nanos(frames: u64) -> Nanos {
    (i128::from(frames) * i128::from(SECOND) / i128::from(RATE)) as Nanos
}

fn frames(nanos: Nanos) -> usize {
    usize::try_from(i128::from(nanos) * i128::from(RATE) / i128::from(SECOND)).unwrap_or(0)
}

fn amplitude(samples: &[i16]) -> f64 {
    // Two minutes of the loudest fit.
    let sum: u32 = samples.iter().fold(0, |sum, it| sum.saturating_add(u32::from(it.unsigned_abs())));
    f64::from(sum) / samples.len().max(1) as f64
}

impl Retimer {
    pub(super) fn new(channels: usize) -> Self {
        let channels = channels.max(1);
        Self {
            channels,
            resampler: Resampler::new(channels),
            grid: None,
            discont: true,
            retiming: false,
            last: vec![0; channels],
            loudness: 0.0,
            out: Vec::new(),
            figures: RetimeFigures::default(),
        }
    }

    /// Where what went in so far ends.
    fn end(&self) -> Option<Nanos> {
        let (start, out) = self.grid?;
        let pending = (self.resampler.pending() * SECOND as f64 / f64::from(RATE)) as Nanos;
        Some(start + nanos(out) + pending)
    }

    /// Interleaved samples that sounded at `at`. Gives pieces of the grid.
    pub(super) fn push(&mut self, at: Nanos, samples: &[i16]) -> Vec<Pcm> {
        let mut pieces = Vec::with_capacity(1);
        if samples.len() < self.channels {
            return pieces;
        }
        let length = nanos((samples.len() / self.channels) as u64);
        let mut missing = at - self.end().unwrap_or(at);
        if self.grid.is_none() || !(-BEHIND..=BREAK).contains(&missing) {
            if missing < 0 {
                self.figures.late += length.unsigned_abs();
            }
            self.flush(&mut pieces);
            (self.grid, self.discont, self.retiming) = (Some((at, 0)), true, false);
            self.resampler = Resampler::new(self.channels);
            missing = 0;
        }
        let start = self.grid.map_or(at, |(start, out)| start + nanos(out));
        let edge = samples.len().min(FADE * self.channels);
        let is_quiet = amplitude(&samples[..edge]) < (self.loudness / 8.0).max(16.0)
            && amplitude(&self.last) < (self.loudness / 8.0).max(16.0);
        self.out.clear();
        self.out.reserve(samples.len() + samples.len() / 16);
        if missing > HOLE || (missing > QUIET_HOLE && is_quiet) {
            self.fill(frames(missing), &samples[..self.channels]);
            missing = 0;
        }
        if missing.abs() > SLACK {
            self.retiming = true;
        } else if missing.abs() < NEAR {
            self.retiming = false;
        }
        let speed = if self.retiming {
            self.figures.retimed += length.unsigned_abs();
            let behind = -(missing as f64) / SECOND as f64;
            let time = if behind < 0.0 { TIME_SLOWER } else { TIME_FASTER };
            1.0 + (behind / time).clamp(-SLOWER, FASTER)
        } else {
            1.0
        };
        self.resample(samples, speed);
        let loud = amplitude(samples);
        self.loudness += (loud - self.loudness) * 0.05;
        self.last.clear();
        self.last.extend_from_slice(&samples[samples.len() - self.channels..]);
        self.piece(start, &mut pieces);
        pieces
    }

    /// What is left of the grid, behind which nothing follows.
    pub(super) fn finish(&mut self) -> Vec<Pcm> {
        let mut pieces = Vec::new();
        self.flush(&mut pieces);
        self.grid = None;
        pieces
    }

    fn flush(&mut self, pieces: &mut Vec<Pcm>) {
        let Some((start, before)) = self.grid else { return };
        self.out.clear();
        let count = self.resampler.finish(&mut self.out);
        // Pushes what the encoder holds out of it: it would not come with the end of the stream.
        self.out.resize(self.out.len() + AAC_DELAY as usize * self.channels, 0);
        self.grid = Some((start, before + count as u64 + AAC_DELAY));
        self.piece(start + nanos(before), pieces);
    }

    fn resample(&mut self, samples: &[i16], speed: f64) {
        let count = self.resampler.push(samples, speed, &mut self.out);
        if let Some((_, out)) = &mut self.grid {
            *out += count as u64;
        }
    }

    /// A hole: down from the last sample, and up to the next.
    fn fill(&mut self, count: usize, next: &[i16]) {
        let fade = FADE.min(count / 2);
        let mut hole = Vec::with_capacity(count * self.channels);
        for frame in 0..count {
            for channel in 0..self.channels {
                let share = |sample: Option<&i16>, part: usize| {
                    f32::from(sample.copied().unwrap_or(0)) * part as f32 / fade.max(1) as f32
                };
                let down = share(self.last.get(channel), fade.saturating_sub(frame + 1));
                let up = share(next.get(channel), (frame + fade).saturating_sub(count));
                hole.push((down + up) as i16);
            }
        }
        self.figures.filled += nanos(count as u64).unsigned_abs();
        self.resample(&hole, 1.0);
    }

    fn piece(&mut self, at: Nanos, pieces: &mut Vec<Pcm>) {
        if !self.out.is_empty() {
            let discont = std::mem::take(&mut self.discont);
            pieces.push(Pcm { at, samples: std::mem::take(&mut self.out), discont });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Nanos = 1_795_000_000 * SECOND;

    /// Plays packets of 20 ms whose capture times `at` gives; returns the grid from its start, and what was done.
    fn play(count: u64, at: impl Fn(u64) -> Nanos) -> (Vec<Pcm>, RetimeFigures) {
        let mut retimer = Retimer::new(1);
        let mut pieces = Vec::new();
        for number in 0..count {
            // A click at each second of the sender's sound.
            let mut samples = vec![0i16; 960];
            if number % 50 == 25 {
                samples[480..500].fill(20_000);
            }
            pieces.extend(retimer.push(START + at(number), &samples));
        }
        pieces.extend(retimer.finish());
        (pieces, retimer.figures)
    }

    /// When the clicks are heard.
    fn clicks(pieces: &[Pcm]) -> Vec<f64> {
        let mut found = Vec::new();
        let mut before = 0;
        for piece in pieces {
            for (index, sample) in piece.samples.iter().enumerate() {
                let at = (piece.at - START) as f64 / 1e9 + index as f64 / 48_000.0;
                if *sample > 8_000
                    && before <= 8_000
                    && found.last().is_none_or(|last: &f64| (at - last).abs() > 0.1)
                {
                    found.push(at);
                }
                before = *sample;
            }
        }
        found
    }

    fn is_unbroken(pieces: &[Pcm]) {
        for pair in pieces.windows(2) {
            let end = pair[0].at + nanos(pair[0].samples.len() as u64);
            assert!((pair[1].at - end).abs() <= 2, "{} ns", pair[1].at - end);
            assert!(!pair[1].discont);
        }
    }

    #[test]
    fn every_click_is_heard_when_it_sounded_whatever_the_clock_is_worth() {
        for (name, every, filled) in [
            ("exact", 20.0, false),
            ("200 ppm slow", 20.004, false),
            ("1.4 % slow", 20.28, false),
            ("3 % slow", 20.6, false),
            ("3 % fast", 19.4, false),
            ("16 % slow", 23.2, true),
            ("20 % fast", 16.0, false),
        ] {
            let at = |number: u64| (number as f64 * every * MS as f64) as Nanos;
            let (pieces, figures) = play(3_000, at);
            is_unbroken(&pieces);
            let heard = clicks(&pieces);
            assert_eq!(heard.len(), 60, "{name}");
            for (number, heard) in heard.iter().enumerate() {
                let sounded = (number as f64 * 50.0 + 25.0) * every / 1e3 + 0.01 * every / 20.0;
                let error = (heard - sounded) * 1e3;
                let bound = if filled || every < 19.0 { 62.0 } else { 32.0 };
                assert!(error.abs() < bound, "{name}: click {number} is {error} ms off");
            }
            assert_eq!(figures.filled > 0, filled, "{name}: {figures:?}");
        }
    }

    #[test]
    fn what_nobody_sent_is_filled_or_left_out_and_nothing_is_cut() {
        // Three seconds are missing after ten, a minute after twenty.
        let at = |number: u64| {
            let pause = match number {
                0..500 => 0,
                500..1_000 => 3_000,
                _ => 63_000,
            };
            (number as Nanos * 20 + pause) * MS
        };
        let (pieces, figures) = play(1_500, at);
        assert_eq!(pieces.iter().filter(|piece| piece.discont).count(), 2);
        assert_eq!(clicks(&pieces).len(), 30);
        assert!((figures.filled as Nanos - 3_000 * MS).abs() < MS, "{figures:?}");
        let samples: usize = pieces.iter().map(|piece| piece.samples.len()).sum();
        // Each end pushes the encoder's delay out.
        assert!(samples.abs_diff(1_500 * 960 + 144_000 + 2 * AAC_DELAY as usize) < 100, "{samples}");
    }

    #[test]
    fn sound_behind_the_end_is_stored_behind_it() {
        let at = |number: u64| {
            if number < 500 { number as Nanos * 20 * MS } else { number as Nanos * 20 * MS - 4 * SECOND }
        };
        let (pieces, figures) = play(1_000, at);
        assert_eq!(clicks(&pieces).len(), 20);
        assert!(figures.late > 0);
        // A little behind, it is only played faster for a while.
        let at = |number: u64| {
            if number < 500 { number as Nanos * 20 * MS } else { number as Nanos * 20 * MS - SECOND / 2 }
        };
        let (pieces, figures) = play(1_000, at);
        is_unbroken(&pieces);
        assert_eq!((clicks(&pieces).len(), figures.late), (20, 0));
        let last = clicks(&pieces).pop().unwrap();
        assert!((last - 19.01).abs() < 0.01, "{last}");
    }
}
