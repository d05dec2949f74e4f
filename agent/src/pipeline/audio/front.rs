//! From packets to the grid, which is what the encoder takes. Pure.

use super::codec::Decoder;
use super::rate::RATE;
use super::retime::{Nanos, Pcm, RetimeFigures, Retimer};
use crate::elements::PipelineError;
use kvs_media::AudioCodec;
use std::time::{Duration, SystemTime};

/// So many frames are put on the grid at a time: what is late or early is made up for with what follows.
const AT_A_TIME: usize = RATE as usize / 50;

/// Decodes the sound of one track, and puts it on the grid.
#[derive(Debug)]
pub(in crate::pipeline) struct Front {
    decoder: Decoder,
    retimer: Retimer,
    channels: usize,
    /// The packet at hand.
    samples: Vec<i16>,
    /// What was not taken yet.
    grid: Vec<Pcm>,
    /// Nanoseconds of packets that could not be decoded, and were concealed.
    undecoded: u64,
}

impl Front {
    /// For sound of this codec, to be encoded with one channel or two.
    ///
    /// # Errors
    ///
    /// There is no decoder for it.
    pub(in crate::pipeline) fn new(codec: AudioCodec, channels: usize) -> Result<Self, PipelineError> {
        Ok(Self {
            decoder: Decoder::new(codec, channels)?,
            retimer: Retimer::new(channels),
            channels,
            samples: Vec::new(),
            grid: Vec::new(),
            undecoded: 0,
        })
    }

    /// A packet that was captured at `at`, and says that it lasts so long.
    pub(in crate::pipeline) fn packet(&mut self, at: SystemTime, payload: &[u8], duration: Duration) {
        self.samples.clear();
        let earlier = self.decoder.packet(payload, duration, &mut self.samples).unwrap_or_else(|| {
            self.undecoded += duration.as_nanos() as u64;
            self.decoder.silence(duration, &mut self.samples)
        });
        self.place(at, earlier);
    }

    /// Nothing sounds for so long from `at` on.
    pub(in crate::pipeline) fn silence(&mut self, at: SystemTime, duration: Duration) {
        self.samples.clear();
        let earlier = self.decoder.silence(duration, &mut self.samples);
        self.place(at, earlier);
    }

    /// Nothing follows what ended at `end`.
    pub(in crate::pipeline) fn finish(&mut self, end: SystemTime) {
        self.samples.clear();
        if let Some(earlier) = self.decoder.finish(&mut self.samples) {
            self.place(end, earlier);
        }
        for pcm in self.retimer.finish() {
            self.add(pcm);
        }
    }

    /// What came of it since: as few pieces as there are without a break. Their times are those that the encoder's output is
    /// to have.
    pub(in crate::pipeline) fn take(&mut self) -> impl Iterator<Item = Pcm> {
        let delay = self.decoder.delay_nanos();
        self.grid.drain(..).map(move |pcm| Pcm { at: pcm.at.saturating_sub(delay), ..pcm })
    }

    /// One or two.
    pub(in crate::pipeline) fn channels(&self) -> usize {
        self.channels
    }

    /// What was done to the sound.
    pub(in crate::pipeline) fn figures(&self) -> RetimeFigures {
        let figures = self.retimer.figures;
        RetimeFigures { filled: figures.filled + self.undecoded, ..figures }
    }

    fn place(&mut self, at: SystemTime, earlier: Duration) {
        let mut at = nanos(at).saturating_sub(earlier.as_nanos() as Nanos);
        let samples = std::mem::take(&mut self.samples);
        for part in samples.chunks(AT_A_TIME * self.channels) {
            for pcm in self.retimer.push(at, part) {
                self.add(pcm);
            }
            at = at.saturating_add((part.len() / self.channels) as Nanos * 1_000_000_000 / Nanos::from(RATE));
        }
        self.samples = samples;
    }

    fn add(&mut self, pcm: Pcm) {
        match self.grid.last_mut() {
            Some(last) if !pcm.discont => last.samples.extend_from_slice(&pcm.samples),
            _ => self.grid.push(pcm),
        }
    }
}

/// Nanoseconds since 1970, until the year 2262.
fn nanos(at: SystemTime) -> Nanos {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Nanos::try_from(since.as_nanos()).unwrap_or(Nanos::MAX)
}
