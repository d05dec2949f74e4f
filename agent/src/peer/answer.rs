//! What a master agreed to, in the agent's words.

use bytes::Bytes;
use kvs_media::{AudioCodec, MediaKind, VideoCodec};
use kvs_peer::sdp::{AcceptedSection, Answer, Codec};
use std::collections::BTreeMap;

/// What the answer lets arrive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Negotiated {
    /// `None`: no video comes.
    pub video: Option<VideoCodec>,
    /// `None`: no audio comes.
    pub audio: Option<AudioCodec>,
    /// Payload types of the video codec, each with the SPS and PPS of its `sprop-parameter-sets` (RFC 6184, section 8.1), NAL
    /// units without start codes.
    pub video_payload_types: BTreeMap<u8, Vec<Bytes>>,
    /// Payload types of the audio codec.
    pub audio_payload_types: Vec<u8>,
    /// The master repeats packets that are asked for (RFC 4585, section 6.2.1), of one kind at least. Whether it does so of
    /// the other is found out: libraries do more than they say.
    pub nack: bool,
    /// What was offered and not taken, in words for a person.
    pub refused: Vec<String>,
    /// Lines of the answer that were passed over, each with why.
    pub left_out: Vec<String>,
}

impl From<&Answer> for Negotiated {
    fn from(answer: &Answer) -> Self {
        let codec = |kind| answer.section(kind).and_then(AcceptedSection::codec);
        let video = codec(MediaKind::Video).and_then(Codec::video);
        let audio = codec(MediaKind::Audio).and_then(Codec::audio);
        // An answer may have several codecs, and a sender may change between them: of the others nothing is read.
        let formats = |kind| answer.section(kind).into_iter().flat_map(|section| &section.formats);
        let video_payload_types = formats(MediaKind::Video)
            .filter(|format| video.is_some() && format.codec.video() == video)
            .map(|format| {
                let parameter_sets = format.codec.parameter_sets().iter().cloned().map(Bytes::from);
                (format.payload_type, parameter_sets.collect())
            });
        let audio_payload_types = formats(MediaKind::Audio)
            .filter(|format| audio.is_some() && format.codec.audio() == audio)
            .map(|format| format.payload_type);
        Self {
            video,
            audio,
            video_payload_types: video_payload_types.collect(),
            audio_payload_types: audio_payload_types.collect(),
            nack: answer.sections.iter().any(|section| section.nack),
            refused: answer.refused.clone(),
            left_out: answer.left_out.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvs_peer::sdp::{H264Parameters, PayloadFormat};

    fn section(kind: MediaKind, formats: impl IntoIterator<Item = (u8, Codec)>) -> AcceptedSection {
        let formats =
            formats.into_iter().map(|(payload_type, codec)| PayloadFormat { payload_type, codec }).collect();
        AcceptedSection {
            kind,
            mid: "0".to_owned(),
            answered_mid: None,
            transport: 0,
            formats,
            extensions: Vec::new(),
            ssrcs: Vec::new(),
            rtx_ssrcs: Vec::new(),
            nack: true,
            transport_cc: true,
            remb: false,
        }
    }

    #[test]
    fn every_payload_type_keeps_its_own_parameter_sets() {
        let h264 = |sets: &[&[u8]]| {
            Codec::H264(H264Parameters {
                profile_level_id: "42e01f".to_owned(),
                packetization_mode: 1,
                parameter_sets: sets.iter().map(|set| set.to_vec()).collect(),
            })
        };
        let video = [
            (102, h264(&[&[0x67, 1], &[0x68, 1]])),
            (103, Codec::Rtx { apt: 102 }),
            (104, h264(&[&[0x67, 2], &[0x68, 2]])),
            (106, h264(&[])),
        ];
        let audio = [(111, Codec::Opus { stereo: false }), (96, Codec::Opus { stereo: true })];
        let mut answer = Answer {
            transports: Vec::new(),
            by_section: Vec::new(),
            sections: vec![section(MediaKind::Video, video), section(MediaKind::Audio, audio)],
            data: None,
            refused: Vec::new(),
            left_out: Vec::new(),
        };
        let negotiated = Negotiated::from(&answer);
        let sets = |number: u8| vec![Bytes::from(vec![0x67, number]), Bytes::from(vec![0x68, number])];
        let expected = [(102, sets(1)), (104, sets(2)), (106, Vec::new())];
        assert_eq!(negotiated.video_payload_types, expected.into());
        assert_eq!(negotiated.audio_payload_types, [111, 96]);
        answer.sections.remove(0);
        let negotiated = Negotiated::from(&answer);
        assert_eq!((negotiated.video, negotiated.audio), (None, Some(AudioCodec::Opus)));
        assert!(negotiated.video_payload_types.is_empty());
    }
}
