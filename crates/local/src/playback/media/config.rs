//! [`Config`]: what a decoder must know of a track before its first frame.

use bytes::Bytes;

/// A video codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VideoCodec {
    H264,
    H265,
}

/// Of a video track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VideoConfig {
    pub(crate) codec: VideoCodec,
    /// The AVC or HEVC decoder configuration record as it came (ISO/IEC 14496-15 sections 5.3.3.1 and 8.3.3.1).
    pub(crate) record: Bytes,
    /// Bytes of the length in front of each NAL unit: 1 to 4.
    pub(crate) length_size: usize,
    /// VPS, SPS and PPS of the record.
    pub(crate) parameter_sets: Vec<Bytes>,
    /// Whether the record holds all of them; of H.265 they may also be in the frames alone (`hev1`).
    pub(crate) complete: bool,
    /// Pixels, by the SPS or else the header; 0 where neither says.
    pub(crate) width: u32,
    /// Pixels.
    pub(crate) height: u32,
    /// As `CODECS` of playlists names it (RFC 6381).
    pub(crate) name: String,
}

/// An audio codec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AudioCodec {
    Aac {
        /// The AudioSpecificConfig as it came (ISO/IEC 14496-3 section 1.6.2.1).
        config: Bytes,
        /// Audio object type of the core: 2 is LC.
        object_type: u32,
        /// Samples of a frame, at the rate of the core.
        frame: u32,
    },
    /// G.711 A-law.
    Alaw,
    /// G.711 µ-law.
    Ulaw,
}

/// Of an audio track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AudioConfig {
    pub(crate) codec: AudioCodec,
    /// Hz; of AAC that of the core.
    pub(crate) rate: u32,
    pub(crate) channels: u16,
    /// As `CODECS` of playlists names it.
    pub(crate) name: String,
}

/// Of a track that can be played.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Config {
    Video(VideoConfig),
    Audio(AudioConfig),
}

impl Config {
    /// As `CODECS` of playlists and manifests names it.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Video(video) => &video.name,
            Self::Audio(audio) => &audio.name,
        }
    }

    /// Units of a second in which its frames are timed.
    pub(crate) fn timescale(&self) -> u32 {
        match self {
            Self::Video(_) => 90_000,
            Self::Audio(audio) => audio.rate,
        }
    }

    /// Whether the other one is of the same codec: a decoder can go on with it.
    pub(crate) fn same_codec(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Video(a), Self::Video(b)) => a.codec == b.codec,
            (Self::Audio(a), Self::Audio(b)) => {
                std::mem::discriminant(&a.codec) == std::mem::discriminant(&b.codec)
            }
            _ => false,
        }
    }
}
