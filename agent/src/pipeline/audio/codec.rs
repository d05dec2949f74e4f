//! How sound is decoded and encoded here: what is different from codec to codec, and the delays.

use crate::elements::{self, PipelineError, set};
use kvs_media::AudioCodec;
use std::time::Duration;

/// Samples per second of all that is decoded, and of the AAC.
pub(in crate::pipeline) const RATE: u32 = 48_000;
/// What makes AAC of it.
pub(in crate::pipeline) const ENCODER: elements::Kind = elements::VOAACENC;
/// `voaacenc`: a frame of 1024 samples begins with what went in so many samples before it (measured with a pulse,
/// `pipeline/tests.rs`).
pub(super) const AAC_DELAY: u64 = 1600;

/// What decodes a codec.
#[derive(Clone, Copy, Debug)]
pub(in crate::pipeline) struct Decoder {
    codec: AudioCodec,
    /// It takes packets as they come in RTP.
    pub(in crate::pipeline) element: elements::Kind,
    /// What comes out of it sounded so many samples earlier.
    delay: u64,
    /// It conceals so much for one GAP event; for more it takes several.
    pub(in crate::pipeline) conceals: Duration,
}

impl Decoder {
    pub(in crate::pipeline) fn of(codec: AudioCodec) -> Self {
        match codec {
            AudioCodec::Opus => Self {
                codec,
                element: elements::OPUSDEC,
                // The encoder's look-ahead (RFC 7845 section 4.2 puts 312 samples of it into every `OpusHead`; libopus has had it
                // for all of its life).
                delay: 312,
                // libopus would take 120 ms.
                conceals: Duration::from_millis(60),
            },
        }
    }

    /// The element, and the caps of packets with so many channels.
    ///
    /// # Errors
    ///
    /// It is not installed, or is another than is known here.
    pub(in crate::pipeline) fn make(self, channels: i32) -> Result<(gst::Caps, gst::Element), PipelineError> {
        let element = self.element.make()?;
        match self.codec {
            AudioCodec::Opus => {
                // Else it writes silence where a packet is lost.
                set(&element, "plc", true)?;
                // However many packets in a row cannot be decoded, the next one may be.
                set(&element, "max-errors", -1i32)?;
                let caps = gst::Caps::builder("audio/x-opus")
                    .field("channel-mapping-family", 0i32)
                    .field("channels", channels)
                    .field("rate", RATE as i32)
                    .build();
                Ok((caps, element))
            }
        }
    }

    /// By so much a buffer of AAC would be stamped too late, if nobody took the delays of decoder and encoder off.
    pub(super) fn delay_nanos(self) -> u64 {
        (self.delay + AAC_DELAY) * 1_000_000_000 / u64::from(RATE)
    }
}
