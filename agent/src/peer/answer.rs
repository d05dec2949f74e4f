//! What a master agreed to, in the agent's words.

use bytes::Bytes;
use kvs_peer::sdp::{Answer, Codec, MediaKind};

/// What the answer lets arrive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Negotiated {
    /// The `profile-level-id` of the answered H.264, lower case.
    pub video: Option<String>,
    pub audio: bool,
    /// SPS and PPS of `sprop-parameter-sets` (RFC 6184, section 8.1), NAL units without start codes.
    pub parameter_sets: Vec<Bytes>,
    /// What was offered and not taken, in words for a person.
    pub refused: Vec<String>,
    /// Lines of the answer that were passed over, each with why.
    pub left_out: Vec<String>,
}

impl From<&Answer> for Negotiated {
    fn from(answer: &Answer) -> Self {
        let formats = answer.section(MediaKind::Video).into_iter().flat_map(|section| &section.formats);
        let mut negotiated = Self {
            audio: answer.section(MediaKind::Audio).is_some(),
            refused: answer.refused.clone(),
            left_out: answer.left_out.clone(),
            ..Self::default()
        };
        // Of every payload type: which of them is sent, the first packet tells.
        for format in formats {
            if let Codec::H264 { profile_level_id, parameter_sets, .. } = &format.codec {
                negotiated.video.get_or_insert_with(|| profile_level_id.clone());
                negotiated.parameter_sets.extend(parameter_sets.iter().cloned().map(Bytes::from));
            }
        }
        negotiated
    }
}
