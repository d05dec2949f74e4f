//! Samples at another rate, which may change with every call: a windowed sinc between the samples.

use std::f64::consts::PI;
use std::sync::LazyLock;

/// Samples on either side of a place.
const HALF: usize = 8;
const TAPS: usize = 2 * HALF;
/// Places between two samples whose coefficients are known; between them they are interpolated.
const PHASES: usize = 128;

static TABLE: LazyLock<Vec<[f32; TAPS]>> = LazyLock::new(|| {
    (0..=PHASES)
        .map(|phase| {
            let fraction = phase as f64 / PHASES as f64;
            let mut taps = [0.0f64; TAPS];
            for (index, tap) in taps.iter_mut().enumerate() {
                let x = index as f64 - (HALF as f64 - 1.0) - fraction;
                let sinc = if x.abs() < 1e-9 { 1.0 } else { (PI * x).sin() / (PI * x) };
                // Blackman over all taps.
                let place = (x + HALF as f64) / TAPS as f64;
                let window = 0.42 - 0.5 * (2.0 * PI * place).cos() + 0.08 * (4.0 * PI * place).cos();
                *tap = sinc * window;
            }
            let sum: f64 = taps.iter().sum();
            taps.map(|tap| (tap / sum) as f32)
        })
        .collect()
});

/// Fewer frames in one call are not used to come back to a whole place: the pitch would change audibly.
const SLIDE: usize = 256;

/// Interleaved 16-bit samples in and out. What goes in comes out eight samples later, which is taken off again by whoever
/// asks for [`Resampler::pending`].
#[derive(Debug)]
pub(super) struct Resampler {
    channels: usize,
    /// Frames, from the first that is still needed on.
    input: Vec<i16>,
    /// Where the next frame out lies in `input`, in frames.
    place: f64,
}

impl Resampler {
    pub(super) fn new(channels: usize) -> Self {
        Self { channels, input: vec![0; (HALF - 1) * channels], place: (HALF - 1) as f64 }
    }

    /// Frames that went in and have not come out.
    pub(super) fn pending(&self) -> f64 {
        (self.input.len() / self.channels) as f64 - self.place
    }

    /// Takes frames and appends what comes of them at `speed`: frames in for a frame out. Gives the frames out.
    pub(super) fn push(&mut self, frames: &[i16], speed: f64, out: &mut Vec<i16>) -> usize {
        let before = out.len();
        if speed == 1.0 && self.place.fract() == 0.0 {
            self.pass(frames, out);
            return (out.len() - before) / self.channels;
        }
        self.input.extend_from_slice(frames);
        let available = self.input.len() / self.channels;
        let ahead = (available as f64 - HALF as f64 - self.place).max(0.0) as usize;
        if speed == 1.0 && ahead >= SLIDE {
            // By half a sample at most, over all of them, to where samples pass as they are.
            let (from, to) = (self.place, (self.place + ahead as f64).round());
            for step in 0..ahead {
                self.place = from + (to - from) * (step as f64 / ahead as f64);
                self.frame(out);
            }
            self.place = to;
        } else {
            while self.place as usize + HALF < available {
                self.frame(out);
                self.place += speed;
            }
        }
        let used = (self.place as usize).saturating_sub(HALF - 1);
        self.input.drain(..used * self.channels);
        self.place -= used as f64;
        (out.len() - before) / self.channels
    }

    /// Frames pass as they are, from a whole place on: of them only the last are kept.
    fn pass(&mut self, frames: &[i16], out: &mut Vec<i16>) {
        let (from, kept) = (self.place as usize * self.channels, self.input.len());
        let to = (kept + frames.len()).saturating_sub(HALF * self.channels).max(from);
        out.extend_from_slice(&self.input[from.min(kept)..to.min(kept)]);
        let of_new = |at: usize| at.saturating_sub(kept);
        out.extend_from_slice(&frames[of_new(from)..of_new(to)]);
        let start = to.saturating_sub((HALF - 1) * self.channels);
        self.input.drain(..start.min(kept));
        self.input.extend_from_slice(&frames[of_new(start)..]);
        self.place = ((to - start) / self.channels) as f64;
    }

    /// What is left, behind which nothing follows.
    pub(super) fn finish(&mut self, out: &mut Vec<i16>) -> usize {
        self.push(&vec![0; HALF * self.channels], 1.0, out)
    }

    fn frame(&self, out: &mut Vec<i16>) {
        let whole = self.place as usize;
        let phase = (self.place - whole as f64) * PHASES as f64;
        let (at, between) = (phase as usize, (phase - phase.floor()) as f32);
        let (low, high) = (&TABLE[at], &TABLE[(at + 1).min(PHASES)]);
        let first = whole + 1 - HALF;
        let window = &self.input[first * self.channels..(first + TAPS) * self.channels];
        for channel in 0..self.channels {
            let mut sum = 0.0f32;
            for ((sample, low), high) in window.iter().skip(channel).step_by(self.channels).zip(low).zip(high)
            {
                sum += f32::from(*sample) * (low + (high - low) * between);
            }
            out.push(sum.round().clamp(f32::from(i16::MIN), f32::from(i16::MAX)) as i16);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(frames: usize, hertz: f64) -> Vec<i16> {
        (0..frames).map(|n| ((n as f64 * hertz * 2.0 * PI / 48_000.0).sin() * 20_000.0) as i16).collect()
    }

    #[test]
    fn at_its_own_speed_samples_pass_as_they_are() {
        let input = tone(4_800, 1_000.0);
        let (mut resampler, mut out) = (Resampler::new(1), Vec::new());
        for block in input.chunks(960) {
            resampler.push(block, 1.0, &mut out);
        }
        assert_eq!(resampler.pending(), HALF as f64);
        resampler.finish(&mut out);
        assert_eq!(out, input);
    }

    #[test]
    fn another_speed_is_another_length_and_the_same_sound() {
        for speed in [0.965, 0.9998, 1.03, 1.2] {
            let (mut resampler, mut out) = (Resampler::new(1), Vec::new());
            for block in tone(48_000, 1_000.0).chunks(960) {
                resampler.push(block, speed, &mut out);
            }
            let expected = 48_000.0 / speed;
            assert!((out.len() as f64 - expected).abs() < 12.0, "{speed}: {} frames", out.len());
            let wanted = tone(out.len(), 1_000.0 * speed);
            let noise: f64 = out.iter().zip(&wanted).skip(100).map(|(a, b)| f64::from(a - b).powi(2)).sum();
            let signal: f64 = wanted.iter().skip(100).map(|it| f64::from(*it).powi(2)).sum();
            let decibels = 10.0 * (signal / noise).log10();
            assert!(decibels > 60.0, "{speed}: {decibels} dB");
        }
    }

    #[test]
    fn samples_pass_as_they_are_again_after_another_speed() {
        for channels in [1, 2] {
            let (mut resampler, mut out) = (Resampler::new(channels), Vec::new());
            let input = tone(48_000 * channels, 1_000.0);
            let (bent, straight) = input.split_at(9_600 * channels);
            for block in bent.chunks(960 * channels) {
                resampler.push(block, 1.013, &mut out);
            }
            for block in straight.chunks(960 * channels) {
                resampler.push(block, 1.0, &mut out);
            }
            resampler.finish(&mut out);
            let tail = 30_000 * channels;
            assert_eq!(out[out.len() - tail..], input[input.len() - tail..]);
            // And no click on the way: a tone of 1 kHz changes by so much from sample to sample at most.
            let steps = out.chunks(channels).map(|frame| i32::from(frame[0])).collect::<Vec<_>>();
            let limit = if channels == 1 { 2_660 } else { 5_300 };
            assert!(steps.windows(2).all(|pair| (pair[1] - pair[0]).abs() < limit));
        }
    }

    #[test]
    fn blocks_of_any_length_pass_as_they_are() {
        let input = tone(5_000, 1_000.0);
        let (mut resampler, mut out, mut rest) = (Resampler::new(1), Vec::new(), &input[..]);
        for length in [0, 1, 3, 7, 8, 9, 500, 2, 1, 5, 960].into_iter().cycle() {
            let (block, behind) = rest.split_at(length.min(rest.len()));
            resampler.push(block, 1.0, &mut out);
            assert_eq!(out.len(), (input.len() - behind.len()).saturating_sub(HALF));
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        resampler.finish(&mut out);
        assert_eq!(out, input);
    }

    #[test]
    fn channels_stay_apart() {
        let stereo: Vec<i16> = tone(9_600, 500.0).into_iter().flat_map(|it| [it, 0]).collect();
        let (mut resampler, mut out) = (Resampler::new(2), Vec::new());
        resampler.push(&stereo, 1.01, &mut out);
        assert!(out.iter().skip(1).step_by(2).all(|it| *it == 0));
        assert!(out.iter().step_by(2).any(|it| *it > 15_000));
    }
}
