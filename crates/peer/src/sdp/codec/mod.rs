//! Payload formats of codecs in SDP: what they are called, what of them is offered, and what an answer says of them.
//!
//! A codec is a variant of [`Codec`] and a module here; everything that has to be decided for it is then a `match` that does
//! not compile.

mod h264;
mod opus;

use super::words::{LeftOut, printable};
use kvs_media::{AudioCodec, VideoCodec};

pub use h264::H264Parameters;

/// The encoding name of retransmissions (RFC 4588, section 8.6).
pub(super) const RTX: &str = "rtx";

/// What is in a payload format, with its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Codec {
    /// RFC 6184.
    H264(H264Parameters),
    /// RFC 7587.
    Opus {
        /// `sprop-stereo=1`: the sender will likely send stereo.
        stereo: bool,
    },
    /// Retransmissions of another payload type (RFC 4588).
    Rtx {
        /// The payload type whose packets are sent again.
        apt: u8,
    },
}

/// A payload type and what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadFormat {
    /// 0 to 127.
    pub payload_type: u8,
    /// What the answer, or the offer, has it stand for.
    pub codec: Codec,
}

impl Codec {
    /// Which video codec it is, if it is one.
    pub fn video(&self) -> Option<VideoCodec> {
        match self {
            Self::H264(_) => Some(VideoCodec::H264),
            Self::Opus { .. } | Self::Rtx { .. } => None,
        }
    }

    /// Which audio codec it is, if it is one.
    pub fn audio(&self) -> Option<AudioCodec> {
        match self {
            Self::Opus { .. } => Some(AudioCodec::Opus),
            Self::H264(_) | Self::Rtx { .. } => None,
        }
    }

    /// As people call it; retransmissions are no codec by themselves.
    pub(super) fn name(&self) -> Option<String> {
        let video = self.video().map(|codec| codec.to_string());
        video.or_else(|| self.audio().map(|codec| codec.to_string()))
    }

    /// Parameter sets that the answer tells, NAL units without start codes.
    pub fn parameter_sets(&self) -> &[Vec<u8>] {
        match self {
            Self::H264(parameters) => &parameters.parameter_sets,
            Self::Opus { .. } | Self::Rtx { .. } => &[],
        }
    }

    pub(crate) fn is_rtx(&self) -> bool {
        matches!(self, Self::Rtx { .. })
    }

    /// As in `a=rtpmap`.
    pub(crate) fn encoding_name(&self) -> &'static str {
        match self {
            Self::H264(_) => VideoCodec::H264.encoding_name(),
            Self::Opus { .. } => AudioCodec::Opus.encoding_name(),
            Self::Rtx { .. } => RTX,
        }
    }

    /// Units of RTP timestamps in a second.
    pub(crate) fn clock_rate(&self) -> u32 {
        match self {
            Self::H264(_) => VideoCodec::H264.clock_rate(),
            Self::Opus { .. } => AudioCodec::Opus.clock_rate(),
            // Only of video.
            Self::Rtx { .. } => 90_000,
        }
    }

    /// The value of `a=rtpmap` behind the payload type.
    pub(super) fn rtpmap(&self) -> String {
        let channels = match self {
            // Always two, whatever is sent (RFC 7587, section 7).
            Self::Opus { .. } => "/2",
            Self::H264(_) | Self::Rtx { .. } => "",
        };
        format!("{}/{}{channels}", self.encoding_name(), self.clock_rate())
    }

    /// The value of `a=fmtp` behind the payload type, in an offer.
    pub(super) fn offered_fmtp(&self, start_bitrate_kbps: Option<u32>) -> String {
        match self {
            Self::H264(parameters) => parameters.offered_fmtp(start_bitrate_kbps),
            Self::Opus { .. } => opus::OFFERED_FMTP.to_owned(),
            Self::Rtx { apt } => format!("apt={apt}"),
        }
    }

    /// Values of `a=rtcp-fb` that are offered for this codec beside those for all.
    pub(super) fn offered_feedback(&self) -> &'static [&'static str] {
        match self {
            Self::H264(_) => &["nack", "nack pli", "ccm fir"],
            Self::Opus { .. } | Self::Rtx { .. } => &[],
        }
    }

    /// This codec as an answer has it under `payload_type`. `None`: its packets could not be read, or it is no codec by
    /// itself.
    pub(super) fn answered<'a>(
        &self,
        payload_type: u8,
        parameter: impl Fn(&str) -> Option<&'a str>,
        left_out: &mut LeftOut,
    ) -> Option<Self> {
        match self {
            Self::H264(_) => H264Parameters::read(payload_type, parameter, left_out).map(Self::H264),
            Self::Opus { .. } => Some(Self::Opus { stereo: opus::is_stereo(parameter) }),
            Self::Rtx { .. } => None,
        }
    }

    /// What tells formats of one codec apart.
    pub(super) fn profile(&self) -> Option<(&str, u8)> {
        match self {
            Self::H264(parameters) => parameters.profile(),
            Self::Opus { .. } | Self::Rtx { .. } => None,
        }
    }
}

/// The formats that are offered for a codec, the most wanted first.
pub(super) fn offered_video(codec: VideoCodec) -> Vec<PayloadFormat> {
    match codec {
        // Without RTX, Chromium's bandwidth probes are padding on the media SSRC, and a lost probe can never be repaired.
        VideoCodec::H264 => h264::offered()
            .flat_map(|(payload_type, rtx, parameters)| {
                [
                    PayloadFormat { payload_type, codec: Codec::H264(parameters) },
                    PayloadFormat { payload_type: rtx, codec: Codec::Rtx { apt: payload_type } },
                ]
            })
            .collect(),
    }
}

/// The formats that are offered for a codec.
pub(super) fn offered_audio(codec: AudioCodec) -> Vec<PayloadFormat> {
    match codec {
        AudioCodec::Opus => {
            vec![PayloadFormat { payload_type: opus::PAYLOAD_TYPE, codec: Codec::Opus { stereo: false } }]
        }
    }
}

/// A codec of an answer, which may be of any name, for a refusal: with what is in the way of receiving it.
pub(super) fn in_words<'a>(name: &str, parameter: impl Fn(&str) -> Option<&'a str>) -> String {
    h264::refused(name, parameter).unwrap_or_else(|| printable(name))
}
