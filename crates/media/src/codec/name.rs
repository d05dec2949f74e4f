//! Which codecs can be received, and what is known of them without their packets.

use std::fmt;

/// A video codec that can be received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VideoCodec {
    /// ITU-T H.264, in RTP by RFC 6184, packetization modes 0 and 1.
    H264,
}

impl VideoCodec {
    /// The encoding name of its payload format, as `a=rtpmap` and `/status` have it.
    pub fn encoding_name(self) -> &'static str {
        match self {
            Self::H264 => "H264",
        }
    }

    /// Units of its RTP timestamps in a second.
    pub fn clock_rate(self) -> u32 {
        match self {
            Self::H264 => 90_000,
        }
    }
}

/// An audio codec that can be received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AudioCodec {
    /// RFC 6716, in RTP by RFC 7587.
    Opus,
}

impl AudioCodec {
    /// The encoding name of its payload format, as `a=rtpmap` and `/status` have it.
    pub fn encoding_name(self) -> &'static str {
        match self {
            Self::Opus => "opus",
        }
    }

    /// Units of its RTP timestamps in a second.
    pub fn clock_rate(self) -> u32 {
        match self {
            // Whatever it was sampled with (RFC 7587, section 4.1).
            Self::Opus => 48_000,
        }
    }
}

impl fmt::Display for VideoCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::H264 => "H.264",
        })
    }
}

impl fmt::Display for AudioCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Opus => "Opus",
        })
    }
}
