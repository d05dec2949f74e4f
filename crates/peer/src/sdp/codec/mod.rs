//! Payload formats of codecs in SDP: what they are called, what of them is offered, and what an answer says of them.
//!
//! A codec is a variant of [`Codec`] and a module here; everything that has to be decided for it is then a `match` that does
//! not compile.

mod h264;
mod h265;
mod opus;
mod parameter_sets;

use super::words::{LeftOut, printable};
use kvs_media::{AudioCodec, VideoCodec};

pub use h264::H264Parameters;
pub use h265::H265Parameters;

/// The encoding name of retransmissions (RFC 4588, section 8.6).
pub(super) const RTX: &str = "rtx";

/// What is in a payload format, with its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Codec {
    /// RFC 6184.
    H264(H264Parameters),
    /// RFC 7798.
    H265(H265Parameters),
    /// RFC 3551, section 4.5.14.
    Pcmu,
    /// RFC 3551, section 4.5.14.
    Pcma,
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
            Self::H265(_) => Some(VideoCodec::H265),
            Self::Opus { .. } | Self::Pcmu | Self::Pcma | Self::Rtx { .. } => None,
        }
    }

    /// Which audio codec it is, if it is one.
    pub fn audio(&self) -> Option<AudioCodec> {
        match self {
            Self::Opus { .. } => Some(AudioCodec::Opus),
            Self::Pcmu => Some(AudioCodec::Pcmu),
            Self::Pcma => Some(AudioCodec::Pcma),
            Self::H264(_) | Self::H265(_) | Self::Rtx { .. } => None,
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
            Self::H265(parameters) => &parameters.parameter_sets,
            Self::Opus { .. } | Self::Pcmu | Self::Pcma | Self::Rtx { .. } => &[],
        }
    }

    pub(crate) fn is_rtx(&self) -> bool {
        matches!(self, Self::Rtx { .. })
    }

    /// As in `a=rtpmap`.
    pub(crate) fn encoding_name(&self) -> &'static str {
        match self {
            Self::H264(_) => VideoCodec::H264.encoding_name(),
            Self::H265(_) => VideoCodec::H265.encoding_name(),
            Self::Opus { .. } => AudioCodec::Opus.encoding_name(),
            Self::Pcmu => AudioCodec::Pcmu.encoding_name(),
            Self::Pcma => AudioCodec::Pcma.encoding_name(),
            Self::Rtx { .. } => RTX,
        }
    }

    /// Units of RTP timestamps in a second.
    pub(crate) fn clock_rate(&self) -> u32 {
        match self {
            Self::H264(_) => VideoCodec::H264.clock_rate(),
            Self::H265(_) => VideoCodec::H265.clock_rate(),
            Self::Opus { .. } => AudioCodec::Opus.clock_rate(),
            Self::Pcmu => AudioCodec::Pcmu.clock_rate(),
            Self::Pcma => AudioCodec::Pcma.clock_rate(),
            // Only of video.
            Self::Rtx { .. } => 90_000,
        }
    }

    /// The value of `a=rtpmap` behind the payload type.
    pub(super) fn rtpmap(&self) -> String {
        let channels = match self {
            // Always two, whatever is sent (RFC 7587, section 7).
            Self::Opus { .. } => "/2",
            Self::H264(_) | Self::H265(_) | Self::Pcmu | Self::Pcma | Self::Rtx { .. } => "",
        };
        format!("{}/{}{channels}", self.encoding_name(), self.clock_rate())
    }

    /// The value of `a=fmtp` behind the payload type, in an offer; `None`: it has no parameters.
    pub(super) fn offered_fmtp(&self, start_bitrate_kbps: Option<u32>) -> Option<String> {
        let bitrate = || {
            start_bitrate_kbps.map_or_else(String::new, |kbps| {
                format!(";x-google-min-bitrate={kbps};x-google-start-bitrate={kbps}")
            })
        };
        match self {
            Self::H264(parameters) => Some(parameters.offered_fmtp(&bitrate())),
            Self::H265(parameters) => Some(parameters.offered_fmtp(&bitrate())),
            Self::Opus { .. } => Some(opus::OFFERED_FMTP.to_owned()),
            Self::Pcmu | Self::Pcma => None,
            Self::Rtx { apt } => Some(format!("apt={apt}")),
        }
    }

    /// Values of `a=rtcp-fb` that are offered for this codec beside those for all.
    pub(super) fn offered_feedback(&self) -> &'static [&'static str] {
        match self {
            Self::H264(_) | Self::H265(_) => &["nack", "nack pli", "ccm fir", "goog-remb"],
            // Browsers repeat no sound; masters on other libraries do.
            Self::Opus { .. } | Self::Pcmu | Self::Pcma => &["nack"],
            Self::Rtx { .. } => &[],
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
            Self::H265(_) => H265Parameters::read(payload_type, parameter, left_out).map(Self::H265),
            Self::Pcmu => Some(Self::Pcmu),
            Self::Pcma => Some(Self::Pcma),
            Self::Opus { .. } => Some(Self::Opus { stereo: opus::is_stereo(parameter) }),
            Self::Rtx { .. } => None,
        }
    }

    /// What tells formats of one codec apart.
    pub(super) fn profile(&self) -> Option<(&str, u8)> {
        match self {
            Self::H264(parameters) => parameters.profile(),
            // One format of each is offered.
            Self::H265(_) | Self::Opus { .. } | Self::Pcmu | Self::Pcma | Self::Rtx { .. } => None,
        }
    }
}

/// The formats that are offered for a codec, the most wanted first.
pub(super) fn offered_video(codec: VideoCodec) -> Vec<PayloadFormat> {
    match codec {
        VideoCodec::H264 => h264::offered()
            .flat_map(|(payload_type, rtx, parameters)| with_rtx(payload_type, rtx, Codec::H264(parameters)))
            .collect(),
        VideoCodec::H265 => {
            with_rtx(h265::PAYLOAD_TYPE, h265::RTX_PAYLOAD_TYPE, Codec::H265(h265::offered())).into()
        }
    }
}

/// Without RTX, Chromium's bandwidth probes are padding on the media SSRC, and a lost probe can never be repaired.
fn with_rtx(payload_type: u8, rtx: u8, codec: Codec) -> [PayloadFormat; 2] {
    [
        PayloadFormat { payload_type, codec },
        PayloadFormat { payload_type: rtx, codec: Codec::Rtx { apt: payload_type } },
    ]
}

/// The formats that are offered for a codec.
pub(super) fn offered_audio(codec: AudioCodec) -> Vec<PayloadFormat> {
    let (payload_type, codec) = match codec {
        AudioCodec::Opus => (opus::PAYLOAD_TYPE, Codec::Opus { stereo: false }),
        // Theirs for ever (RFC 3551, section 6).
        AudioCodec::Pcmu => (0, Codec::Pcmu),
        AudioCodec::Pcma => (8, Codec::Pcma),
    };
    vec![PayloadFormat { payload_type, codec }]
}

/// A codec of an answer, which may be of any name, for a refusal: with what is in the way of receiving it.
pub(super) fn in_words<'a>(name: &str, parameter: impl Fn(&str) -> Option<&'a str>) -> String {
    h264::refused(name, &parameter)
        .or_else(|| h265::refused(name, &parameter))
        .unwrap_or_else(|| printable(name))
}
