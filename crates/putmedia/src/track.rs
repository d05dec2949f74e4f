//! What a track is, as far as its Matroska header goes.

use bytes::{BufMut, Bytes, BytesMut};

/// The kind of a track. A producer has at most one of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TrackKind {
    /// Video: track 1.
    Video,
    /// Audio: track 2 beside video, track 1 alone.
    Audio,
}

impl TrackKind {
    /// Both kinds, video first.
    pub const ALL: [TrackKind; 2] = [TrackKind::Video, TrackKind::Audio];

    pub(crate) fn index(self) -> usize {
        match self {
            TrackKind::Video => 0,
            TrackKind::Audio => 1,
        }
    }
}

/// The codecs that a KVS stream stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// H.264 in length-prefixed form (`avc`).
    H264,
    /// H.265 in length-prefixed form (`hvc1` or `hev1`).
    H265,
    /// AAC without ADTS headers.
    Aac,
    /// G.711 A-law.
    Alaw,
    /// G.711 mu-law.
    Mulaw,
}

impl Codec {
    /// The Matroska `CodecID`.
    pub fn codec_id(self) -> &'static str {
        match self {
            Codec::H264 => "V_MPEG4/ISO/AVC",
            Codec::H265 => "V_MPEGH/ISO/HEVC",
            Codec::Aac => "A_AAC",
            Codec::Alaw | Codec::Mulaw => "A_MS/ACM",
        }
    }

    /// The media type that CreateStream is told.
    pub fn media_type(self) -> &'static str {
        match self {
            Codec::H264 => "video/h264",
            Codec::H265 => "video/h265",
            Codec::Aac => "audio/aac",
            Codec::Alaw => "audio/alaw",
            Codec::Mulaw => "audio/mulaw",
        }
    }
}

/// The part of a track's header that depends on its kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TrackDetails {
    /// Of the picture, in pixels.
    Video {
        /// Coded width after cropping.
        width: u32,
        /// Coded height after cropping.
        height: u32,
    },
    /// Of the samples after decoding.
    Audio {
        /// Samples per second.
        sample_rate: u32,
        /// 1 or 2.
        channels: u32,
        /// Bits per sample, written only for PCM-like codecs.
        bit_depth: Option<u8>,
    },
}

/// Everything that a track's header says. Two equal formats can share a PutMedia session.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackFormat {
    /// Decides what `details` and `codec_private` hold.
    pub codec: Codec,
    /// The track's `Name`.
    pub name: String,
    /// `CodecPrivate`: avcC, hvcC, AudioSpecificConfig or WAVEFORMATEX.
    pub codec_private: Bytes,
    /// Dimensions or sampling.
    pub details: TrackDetails,
}

impl TrackFormat {
    /// H.264 with its AVCDecoderConfigurationRecord (ISO/IEC 14496-15, 5.3.3).
    pub fn h264(avcc: Bytes, width: u32, height: u32) -> Self {
        Self::video(Codec::H264, avcc, width, height)
    }

    /// H.265 with its HEVCDecoderConfigurationRecord (ISO/IEC 14496-15, 8.3.3).
    pub fn h265(hvcc: Bytes, width: u32, height: u32) -> Self {
        Self::video(Codec::H265, hvcc, width, height)
    }

    fn video(codec: Codec, codec_private: Bytes, width: u32, height: u32) -> Self {
        Self {
            codec,
            name: "kinesis_video".into(),
            codec_private,
            details: TrackDetails::Video { width, height },
        }
    }

    /// AAC with its AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1).
    pub fn aac(audio_specific_config: Bytes, sample_rate: u32, channels: u32) -> Self {
        Self {
            codec: Codec::Aac,
            name: "audio".into(),
            codec_private: audio_specific_config,
            details: TrackDetails::Audio { sample_rate, channels, bit_depth: None },
        }
    }

    /// G.711, `Codec::Alaw` or `Codec::Mulaw`, with the WAVEFORMATEX that `A_MS/ACM` asks for.
    pub fn g711(codec: Codec, sample_rate: u32, channels: u32) -> Self {
        let tag: u16 = if codec == Codec::Alaw { 0x0006 } else { 0x0007 };
        let channels_u16 = u16::try_from(channels).unwrap_or(1);
        let mut private = BytesMut::with_capacity(18);
        private.put_u16_le(tag);
        private.put_u16_le(channels_u16);
        private.put_u32_le(sample_rate);
        // One byte per sample and channel. (The C SDK writes an eighth of it, and no bit depth.)
        private.put_u32_le(sample_rate.saturating_mul(channels));
        private.put_u16_le(channels_u16);
        private.put_u16_le(8);
        private.put_u16_le(0);
        Self {
            codec,
            name: "audio".into(),
            codec_private: private.freeze(),
            details: TrackDetails::Audio { sample_rate, channels, bit_depth: Some(8) },
        }
    }

    /// The same format with another track name (32 characters at most, as the service's SDKs allow).
    pub fn with_name(mut self, name: &str) -> Self {
        self.name = name.chars().take(32).collect();
        self
    }

    /// The kind of track that this format belongs to.
    pub fn kind(&self) -> TrackKind {
        match self.details {
            TrackDetails::Video { .. } => TrackKind::Video,
            TrackDetails::Audio { .. } => TrackKind::Audio,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn waveformatex_of_a_law_is_correct() {
        let format = TrackFormat::g711(Codec::Alaw, 8000, 1);
        assert_eq!(
            &format.codec_private[..],
            [0x06, 0, 1, 0, 0x40, 0x1f, 0, 0, 0x40, 0x1f, 0, 0, 1, 0, 8, 0, 0, 0]
        );
        assert_eq!(format.kind(), TrackKind::Audio);
    }

    #[test]
    fn names_are_cut_at_32_characters() {
        let format = TrackFormat::h264(Bytes::new(), 16, 16).with_name(&"é".repeat(40));
        assert_eq!(format.name.chars().count(), 32);
    }
}
