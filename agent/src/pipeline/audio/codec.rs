//! How sound is decoded and encoded here: what is different from codec to codec, and the delays.

use super::g711::{G711Decoder, Law};
use super::opus::Opus;
use super::rate::RATE;
use crate::elements::{self, PipelineError};
use kvs_media::AudioCodec;
use std::time::Duration;

/// What makes AAC of it.
pub(in crate::pipeline) const ENCODER: elements::Kind = elements::VOAACENC;
/// `voaacenc`: a frame of 1024 samples begins with what went in so many samples before it (measured with a pulse,
/// `pipeline/tests.rs`).
pub(super) const AAC_DELAY: u64 = 1600;

/// What decodes a codec. All of it is in Rust.
#[derive(Debug)]
pub(super) enum Decoder {
    Opus(Box<Opus>),
    G711(G711Decoder),
}

impl Decoder {
    /// For one channel or two; G.711 has one.
    ///
    /// # Errors
    ///
    /// Other numbers of channels.
    pub(super) fn new(codec: AudioCodec, channels: usize) -> Result<Self, PipelineError> {
        Ok(match codec {
            AudioCodec::Opus => {
                let opus = Opus::new(channels).map_err(|error| PipelineError::Decoder {
                    codec: codec.encoding_name(),
                    reason: error.to_string(),
                })?;
                Self::Opus(Box::new(opus))
            }
            AudioCodec::Pcmu => Self::G711(G711Decoder::new(Law::Mu)),
            AudioCodec::Pcma => Self::G711(G711Decoder::new(Law::A)),
        })
    }

    /// Appends the samples of the next packet, which says that it lasts so long, interleaved. They begin so long before it: what was kept of the one before to go
    /// on from it. `None`: it cannot be decoded, which whatever breaks no rule of RFC 6716 can.
    pub(super) fn packet(
        &mut self,
        payload: &[u8],
        duration: Duration,
        out: &mut Vec<i16>,
    ) -> Option<Duration> {
        match self {
            Self::Opus(opus) => opus.packet(payload, duration, out).ok().map(|()| Duration::ZERO),
            Self::G711(g711) => Some(g711.packet(payload, out)),
        }
    }

    /// The same for so much in which nothing sounds.
    pub(super) fn silence(&mut self, duration: Duration, out: &mut Vec<i16>) -> Duration {
        match self {
            Self::Opus(opus) => {
                // It fails for lengths that Opus does not have, and this asks for none; then the grid would fill it.
                let _ = opus.conceal(duration, out);
                Duration::ZERO
            }
            Self::G711(g711) => g711.silence(duration, out),
        }
    }

    /// Appends what is still inside, behind which nothing follows.
    pub(super) fn finish(&mut self, out: &mut Vec<i16>) -> Option<Duration> {
        match self {
            Self::Opus(_) => None,
            Self::G711(g711) => Some(g711.silence(Duration::from_millis(2), out)),
        }
    }

    /// By so much a buffer of AAC would be stamped too late, if nobody took the delays of decoder and encoder off: nanoseconds.
    pub(super) fn delay_nanos(&self) -> i64 {
        let decoder = match self {
            // The encoder's look-ahead (RFC 7845 section 4.2 puts 312 samples of it into every `OpusHead`; libopus has had it
            // for all of its life).
            Self::Opus(_) => 312,
            // It says so itself.
            Self::G711(_) => 0,
        };
        ((decoder + AAC_DELAY) * 1_000_000_000 / u64::from(RATE)) as i64
    }
}
