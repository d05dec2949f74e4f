//! How sound is decoded and encoded here: what is different from codec to codec, and the delays.

use super::g711::{G711Decoder, Law};
use super::rate::RATE;
use crate::elements::{self, PipelineError, set};
use kvs_media::AudioCodec;
use std::time::Duration;

/// What makes AAC of it.
pub(in crate::pipeline) const ENCODER: elements::Kind = elements::VOAACENC;
/// `voaacenc`: a frame of 1024 samples begins with what went in so many samples before it (measured with a pulse,
/// `pipeline/tests.rs`).
pub(super) const AAC_DELAY: u64 = 1600;

/// What decodes a codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pipeline) enum Decoder {
    /// `opusdec`, which takes packets as they come in RTP.
    Opusdec,
    /// [`G711Decoder`], in front of the pipeline.
    G711(Law),
}

impl Decoder {
    pub(in crate::pipeline) fn of(codec: AudioCodec) -> Self {
        match codec {
            AudioCodec::Opus => Self::Opusdec,
            AudioCodec::Pcmu => Self::G711(Law::Mu),
            AudioCodec::Pcma => Self::G711(Law::A),
        }
    }

    /// The element that it is, if it is one.
    pub(in crate::pipeline) fn element(self) -> Option<elements::Kind> {
        match self {
            Self::Opusdec => Some(elements::OPUSDEC),
            Self::G711(_) => None,
        }
    }

    /// [`Self::element`] made, and the caps of what goes into it, or of what [`Self::in_front`] gives.
    ///
    /// # Errors
    ///
    /// It is not installed, or is another than is known here.
    pub(in crate::pipeline) fn make(
        self,
        channels: i32,
    ) -> Result<(gst::Caps, Option<gst::Element>), PipelineError> {
        let element = self.element().map(elements::Kind::make).transpose()?;
        if let Some(element) = &element {
            // Else it writes silence where a packet is lost.
            set(element, "plc", true)?;
            // However many packets in a row cannot be decoded, the next one may be.
            set(element, "max-errors", -1i32)?;
        }
        let caps = match self {
            Self::Opusdec => gst::Caps::builder("audio/x-opus").field("channel-mapping-family", 0i32),
            Self::G711(_) => {
                gst::Caps::builder("audio/x-raw").field("format", "S16LE").field("layout", "interleaved")
            }
        };
        Ok((caps.field("channels", channels).field("rate", RATE as i32).build(), element))
    }

    /// What decodes in front of the pipeline.
    pub(in crate::pipeline) fn in_front(self) -> Option<G711Decoder> {
        match self {
            Self::Opusdec => None,
            Self::G711(law) => Some(G711Decoder::new(law)),
        }
    }

    /// The element conceals so much for one GAP event; for more it takes several. libopus would take 120 ms.
    pub(in crate::pipeline) const CONCEALS: Duration = Duration::from_millis(60);

    /// By so much a buffer of AAC would be stamped too late, if nobody took the delays of decoder and encoder off.
    pub(super) fn delay_nanos(self) -> u64 {
        let decoder = match self {
            // The encoder's look-ahead (RFC 7845 section 4.2 puts 312 samples of it into every `OpusHead`; libopus has had it
            // for all of its life).
            Self::Opusdec => 312,
            // It says so itself.
            Self::G711(_) => 0,
        };
        (decoder + AAC_DELAY) * 1_000_000_000 / u64::from(RATE)
    }
}
