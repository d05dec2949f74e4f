//! The beeps of the synthetic master, found again in what was stored: when they are heard, to the millisecond.
//!
//! What a player presents at a time is what its decoder makes of the packet with that presentation time, so a decoded
//! frame lies where its packet's time says, and nowhere else: ffmpeg is given no say in time. An AAC decoder makes one
//! frame of each packet, also of the first, which it fades in; nothing is cut off, which [`beeps`] makes sure of. What an
//! encoder holds back (1600 samples in voaacenc, 312 in Opus) shows, therefore, as sound that is late, and should:
//! whoever encodes must take it off the time.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::process::Command;

use crate::master::clip::TONES;
use crate::stored::output;

/// A beep begins where the signal is this part of the loudest.
const ONSET: f32 = 0.3;
/// What is quieter than this is not a beep. Theirs is 0.5, or 0.37 when stereo is heard as mono.
const LOUD: f32 = 0.1;
/// Seconds of quiet that lie in front of a beep at least.
const QUIET: f64 = 0.15;
/// Seconds of a beep by which its tone is known.
const KNOWN: f64 = 0.06;
/// A beep has at least this part of its energy in one tone: not a crack.
const PURE: f64 = 0.3;

/// A beep that is heard.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Heard {
    /// Its place in [`TONES`].
    pub tone: usize,
    /// Seconds since 1970.
    pub at: f64,
}

/// The beeps of all these files, in the order of storage.
pub async fn beeps(files: &[PathBuf]) -> Result<Vec<Heard>> {
    let mut heard = Vec::new();
    for file in files {
        if let Some(sound) = Sound::read(file).await? {
            heard.extend(sound.beeps());
        }
    }
    Ok(heard)
}

/// The audio of one file.
struct Sound {
    rate: f64,
    /// Seconds since 1970 of each frame.
    times: Vec<f64>,
    /// Samples a frame.
    frame: usize,
    samples: Vec<f32>,
}

impl Sound {
    async fn read(file: &Path) -> Result<Option<Self>> {
        let entries = "packet=pts_time:stream=sample_rate";
        let mut ffprobe = Command::new("ffprobe");
        ffprobe.args(["-v", "error", "-select_streams", "a:0", "-show_entries", entries, "-of", "json"]);
        let probe: Value = serde_json::from_slice(&output(ffprobe.arg(file)).await?)?;
        let Some(rate) = probe["streams"][0]["sample_rate"].as_str() else { return Ok(None) };
        let rate: f64 = rate.parse()?;
        let packets = probe["packets"].as_array().context("no packets")?;
        let times = packets
            .iter()
            .map(|packet| Ok(packet["pts_time"].as_str().context("a packet without a time")?.parse()?))
            .collect::<Result<Vec<f64>>>()?;
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-flags2", "+skip_manual", "-i"]).arg(file);
        let pcm = output(ffmpeg.args(["-map", "0:a:0", "-ac", "1", "-f", "f32le", "pipe:1"])).await?;
        let samples: Vec<f32> = pcm
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
            .collect();
        let frame = samples.len() / times.len().max(1);
        ensure!(
            frame * times.len() == samples.len(),
            "{}: {} samples in {} packets",
            file.display(),
            samples.len(),
            times.len()
        );
        Ok(Some(Self { rate, times, frame, samples }))
    }

    fn beeps(&self) -> Vec<Heard> {
        let loudest = self.samples.iter().fold(0.0f32, |loudest, sample| loudest.max(sample.abs()));
        if loudest < LOUD {
            return Vec::new();
        }
        let (quiet, known) = ((QUIET * self.rate) as usize, (KNOWN * self.rate) as usize);
        let mut heard = Vec::new();
        let mut last_loud: Option<usize> = None;
        for (index, sample) in self.samples.iter().enumerate() {
            if sample.abs() < ONSET * loudest {
                continue;
            }
            if last_loud.is_none_or(|last| index - last > quiet) {
                let window = &self.samples[index..(index + known).min(self.samples.len())];
                heard.extend(tone(window, self.rate).map(|tone| Heard { tone, at: self.time(index) }));
            }
            last_loud = Some(index);
        }
        heard
    }

    fn time(&self, sample: usize) -> f64 {
        self.times[sample / self.frame] + (sample % self.frame) as f64 / self.rate
    }
}

/// The one of [`TONES`] that is nearest to what is loudest in `samples`.
fn tone(samples: &[f32], rate: f64) -> Option<usize> {
    let energy: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    // As fine as the window can tell apart, from below the lowest to above the highest.
    let step = rate / samples.len().max(1) as f64 / 3.0;
    let mut frequency = TONES[0] * 0.83;
    let (mut best, mut most) = (0.0, 0.0);
    while frequency < TONES[TONES.len() - 1] * 1.2 {
        let power = power(samples, frequency / rate);
        if power > most {
            (best, most) = (frequency, power);
        }
        frequency += step;
    }
    // A pure sine has half of the product of its energy and its length there.
    if most < PURE * energy * samples.len() as f64 / 2.0 {
        return None;
    }
    let distance = |tone: f64| (tone / best).ln().abs();
    (0..TONES.len()).min_by(|a, b| distance(TONES[*a]).total_cmp(&distance(TONES[*b])))
}

/// How much of a frequency, in cycles a sample, is in `samples`: Goertzel's algorithm.
fn power(samples: &[f32], frequency: f64) -> f64 {
    let factor = 2.0 * (std::f64::consts::TAU * frequency).cos();
    let (mut last, mut before) = (0.0, 0.0);
    for sample in samples {
        (last, before) = (f64::from(*sample) + factor * last - before, last);
    }
    last * last + before * before - factor * last * before
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::master::clip::beeps as filter;

    #[test]
    fn tones_are_known_at_another_speed() {
        for (index, tone_) in TONES.iter().enumerate() {
            for speed in [0.84, 1.0, 1.16] {
                let sine = |at: usize| ((at as f64 * std::f64::consts::TAU * tone_ * speed) / 48_000.0).sin();
                let samples: Vec<f32> = (0..2_880).map(|at| sine(at) as f32).collect();
                assert_eq!(tone(&samples, 48_000.0), Some(index), "{tone_} Hz times {speed}");
            }
        }
        let mut crack = vec![0.0; 2_880];
        crack[0] = 1.0;
        assert_eq!(tone(&crack, 48_000.0), None);
    }

    /// Encoded by others: how exact this measure is. ffmpeg's Matroska writer tells in `CodecDelay` that its AAC encoder
    /// holds back 1024 samples, and leaves the times as they are.
    #[tokio::test]
    async fn beeps_are_found_where_they_are() {
        let folder = tempfile::tempdir().unwrap();
        for (codec, delay) in [("pcm_s16le", 0.0), ("aac", 1024.0 / 48_000.0), ("libopus", 0.0)] {
            for stereo in [false, true] {
                let file = folder.path().join(format!("{codec}-{stereo}.mkv"));
                let mut ffmpeg = Command::new("ffmpeg");
                ffmpeg.args(["-v", "error", "-f", "lavfi", "-i", &filter(stereo), "-c:a", codec]);
                output(ffmpeg.args(["-f", "matroska"]).arg(&file)).await.unwrap();
                let heard = beeps(std::slice::from_ref(&file)).await.unwrap();
                let tones: Vec<_> = heard.iter().map(|heard| heard.tone).collect();
                assert_eq!(tones, Vec::from_iter(0..TONES.len()), "{codec}");
                let off: Vec<_> = heard
                    .iter()
                    .map(|heard| ((heard.at - heard.tone as f64 - 0.5 - delay) * 1e3 * 10.0).round() / 10.0)
                    .collect();
                assert!(off.iter().all(|off| off.abs() < 1.5), "{codec}: {off:?} ms");
            }
        }
    }
}
