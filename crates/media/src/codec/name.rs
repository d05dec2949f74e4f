//! Which codecs can be received, and what is known of them without their packets.

use std::fmt;

/// A video codec that can be received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VideoCodec {
    /// ITU-T H.264, in RTP by RFC 6184, packetization modes 0 and 1.
    H264,
    /// ITU-T H.265, in RTP by RFC 7798, one stream, in decoding order.
    H265,
}

impl VideoCodec {
    /// The encoding name of its payload format, as `a=rtpmap` and `/status` have it.
    pub fn encoding_name(self) -> &'static str {
        match self {
            Self::H264 => "H264",
            Self::H265 => "H265",
        }
    }

    /// Units of its RTP timestamps in a second.
    pub fn clock_rate(self) -> u32 {
        match self {
            Self::H264 | Self::H265 => 90_000,
        }
    }
}

/// An audio codec that can be received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AudioCodec {
    /// RFC 6716, in RTP by RFC 7587.
    Opus,
    /// ITU-T G.711 with the µ-law, 8 kHz, one channel (RFC 3551, section 4.5.14).
    Pcmu,
    /// ITU-T G.711 with the A-law, 8 kHz, one channel.
    Pcma,
}

impl AudioCodec {
    /// The encoding name of its payload format, as `a=rtpmap` and `/status` have it.
    pub fn encoding_name(self) -> &'static str {
        match self {
            Self::Opus => "opus",
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
        }
    }

    /// Units of its RTP timestamps in a second.
    pub fn clock_rate(self) -> u32 {
        match self {
            // Whatever it was sampled with (RFC 7587, section 4.1).
            Self::Opus => 48_000,
            Self::Pcmu | Self::Pcma => 8_000,
        }
    }
}

impl fmt::Display for VideoCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::H264 => "H.264",
            Self::H265 => "H.265",
        })
    }
}

impl fmt::Display for AudioCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Opus => "Opus",
            Self::Pcmu => "G.711 µ-law",
            Self::Pcma => "G.711 A-law",
        })
    }
}
