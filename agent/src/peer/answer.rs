//! What a master agreed to, in the agent's words.

use bytes::Bytes;
use kvs_media::{AudioCodec, MediaKind, VideoCodec};
use kvs_peer::sdp::{AcceptedSection, Answer, Codec};

/// What the answer lets arrive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Negotiated {
    /// `None`: no video comes.
    pub video: Option<VideoCodec>,
    /// `None`: no audio comes.
    pub audio: Option<AudioCodec>,
    /// SPS and PPS of `sprop-parameter-sets` (RFC 6184, section 8.1), NAL units without start codes.
    pub parameter_sets: Vec<Bytes>,
    /// What was offered and not taken, in words for a person.
    pub refused: Vec<String>,
    /// Lines of the answer that were passed over, each with why.
    pub left_out: Vec<String>,
}

impl From<&Answer> for Negotiated {
    fn from(answer: &Answer) -> Self {
        let codec = |kind| answer.section(kind).and_then(AcceptedSection::codec);
        // Of every payload type: which of them is sent, the first packet tells.
        let formats = answer.section(MediaKind::Video).into_iter().flat_map(|section| &section.formats);
        let parameter_sets = formats.flat_map(|format| format.codec.parameter_sets());
        Self {
            video: codec(MediaKind::Video).and_then(Codec::video),
            audio: codec(MediaKind::Audio).and_then(Codec::audio),
            parameter_sets: parameter_sets.cloned().map(Bytes::from).collect(),
            refused: answer.refused.clone(),
            left_out: answer.left_out.clone(),
        }
    }
}
