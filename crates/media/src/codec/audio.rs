//! Audio payloads of any codec: with those that are received, a packet's payload is a frame or some, and goes on as it is.

use std::time::Duration;

use super::error::PayloadError;
use super::name::AudioCodec;
use super::opus::{is_stereo, opus_duration};

/// What a payload says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AudioPayload {
    pub(crate) duration: Duration,
    pub(crate) stereo: bool,
}

impl AudioPayload {
    pub(crate) fn read(codec: AudioCodec, payload: &[u8]) -> Result<Self, PayloadError> {
        match codec {
            AudioCodec::Opus => {
                let duration = opus_duration(payload).ok_or(PayloadError::Opus(payload.len()))?;
                Ok(Self { duration, stereo: is_stereo(payload) })
            }
            AudioCodec::Pcmu | AudioCodec::Pcma => {
                // A byte a sample; a payload has less than 64 KiB.
                let samples = payload.len() as u64;
                if samples == 0 {
                    return Err(PayloadError::Empty(codec));
                }
                let duration = Duration::from_micros(samples * 1_000_000 / u64::from(codec.clock_rate()));
                Ok(Self { duration, stereo: false })
            }
        }
    }
}
