//! What goes in.

use crate::aac::AacConfig;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// What a decoder must know before the first picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoParameters {
    /// An AVCDecoderConfigurationRecord (ISO/IEC 14496-15, section 5.3.3.1).
    pub record: Bytes,
    /// Pixels, after cropping.
    pub width: u32,
    /// Pixels, after cropping.
    pub height: u32,
}

impl VideoParameters {
    /// `AVCProfileIndication` and `AVCLevelIndication` of the record: 100 is high, 31 is level 3.1.
    #[must_use]
    pub fn profile_and_level(&self) -> Option<(u8, u8)> {
        match self.record[..] {
            [_, profile, _, level, ..] => Some((profile, level)),
            _ => None,
        }
    }
}

/// One access unit of H.264.
#[derive(Clone, Debug)]
pub struct Picture {
    /// When it was captured, since 1970: a time of presentation, which goes back with B pictures.
    pub at: Duration,
    /// Decoding can start here.
    pub idr: bool,
    /// NAL units, each behind its length of four bytes (`avc1`).
    pub data: Bytes,
    /// Of this picture.
    pub parameters: Arc<VideoParameters>,
}

/// One frame of AAC-LC.
#[derive(Clone, Debug)]
pub struct Sound {
    /// When its first sample was captured, since 1970.
    pub at: Duration,
    /// One `raw_data_block` (ISO/IEC 14496-3), without ADTS.
    pub data: Bytes,
    /// Of this frame.
    pub config: AacConfig,
    /// Nothing was received here: it conceals a gap, or is silence.
    pub concealed: bool,
}
