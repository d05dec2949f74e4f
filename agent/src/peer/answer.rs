//! What a master agreed to, in the agent's words.

use kvs_peer::sdp::{Answer, Codec, MediaKind};

/// What the answer lets arrive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Negotiated {
    /// The `profile-level-id` of the answered H.264, lower case.
    pub video: Option<String>,
    /// Opus was accepted.
    pub audio: bool,
    /// SPS and PPS that the answer holds (`sprop-parameter-sets`).
    pub parameter_sets: Vec<Vec<u8>>,
    /// What was offered and not taken, in words for a person.
    pub refused: Vec<String>,
    /// Lines of the answer that were passed over, each with why.
    pub left_out: Vec<String>,
}

impl From<&Answer> for Negotiated {
    fn from(answer: &Answer) -> Self {
        let video = answer.section(MediaKind::Video);
        let formats = video.into_iter().flat_map(|section| &section.formats);
        let h264 = formats.clone().find_map(|format| match &format.codec {
            Codec::H264 { profile_level_id, .. } => Some(profile_level_id.clone()),
            _ => None,
        });
        let parameter_sets = formats.filter_map(|format| match &format.codec {
            Codec::H264 { parameter_sets, .. } => Some(parameter_sets.clone()),
            _ => None,
        });
        Self {
            video: h264,
            audio: answer.section(MediaKind::Audio).is_some(),
            parameter_sets: parameter_sets.flatten().collect(),
            refused: answer.refused.clone(),
            left_out: answer.left_out.clone(),
        }
    }
}
