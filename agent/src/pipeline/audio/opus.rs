//! Opus to samples of the grid's rate (RFC 6716), in Rust: a stranger's sound is not read in C.

use super::rate::RATE;
use opus_pure::{Error, MAX_PACKET_SAMPLES, OpusDecoder};
use std::time::Duration;

/// Frames that can be concealed: 2.5 ms, the shortest that Opus has.
const STEP: usize = RATE as usize / 400;

/// Sound of one track, packet after packet.
#[derive(Debug)]
pub(super) struct Opus {
    decoder: OpusDecoder,
    channels: usize,
    /// Frames that were to be concealed with the last gap, and are less than a step: they go with one that follows at once.
    owed: usize,
}

impl Opus {
    /// For so many channels, one or two, whatever a packet has.
    ///
    /// # Errors
    ///
    /// That are others.
    pub(super) fn new(channels: usize) -> Result<Self, Error> {
        Ok(Self { decoder: OpusDecoder::new(RATE as i32, channels)?, channels, owed: 0 })
    }

    /// Appends the sound of the next packet, which says that it lasts so long.
    ///
    /// # Errors
    ///
    /// It cannot be decoded, and nothing is appended.
    pub(super) fn packet(
        &mut self,
        payload: &[u8],
        duration: Duration,
        out: &mut Vec<i16>,
    ) -> Result<(), Error> {
        self.owed = 0;
        self.decode(payload, frames(duration), out)
    }

    /// Appends what conceals so much of which nothing came: it goes on as it was, and fades.
    ///
    /// # Errors
    ///
    /// As for [`Self::packet`].
    pub(super) fn conceal(&mut self, duration: Duration, out: &mut Vec<i16>) -> Result<(), Error> {
        let frames = self.owed + frames(duration);
        self.owed = frames % STEP;
        let mut rest = frames - self.owed;
        while rest > 0 {
            let count = rest.min(MAX_PACKET_SAMPLES);
            self.decode(&[], count, out)?;
            rest -= count;
        }
        Ok(())
    }

    fn decode(&mut self, payload: &[u8], frames: usize, out: &mut Vec<i16>) -> Result<(), Error> {
        let begin = out.len();
        out.resize(begin + frames * self.channels, 0);
        let decoded = self.decoder.decode_s16(payload, frames, &mut out[begin..]);
        out.truncate(begin + decoded.as_ref().map_or(0, |frames| frames * self.channels));
        decoded.map(drop)
    }
}

fn frames(duration: Duration) -> usize {
    usize::try_from(duration.as_micros() * u128::from(RATE) / 1_000_000).unwrap_or(0)
}
