//! H.264 in SDP (RFC 6184, section 8).

use super::parameter_sets::read_parameter_sets;
use crate::sdp::words::{LeftOut, printable};
use kvs_media::VideoCodec;

/// What H.264 is without a `profile-level-id`: baseline, level 1 (RFC 6184, 8.1).
const DEFAULT_PROFILE: &str = "420010";

/// Payload types with their RTX and `profile-level-id`.
///
/// Constrained baseline comes last as well as first in merit: old C SDK masters take the last H.264 of the offer on a
/// tie, and browsers take the first that they can send, which is constrained baseline for Chromium anyway.
///
/// Never VP8 beside H.264: Chromium as answerer sends VP8 when it is there, whatever the answer says.
const OFFERED: [(u8, u8, &str); 3] = [(104, 105, "640032"), (106, 107, "4d001f"), (102, 103, "42e01f")];

/// Parameters of a payload format of H.264 (RFC 6184, 8.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct H264Parameters {
    /// `profile-level-id` in lower case, six hexadecimal digits; `420010` when it is left out.
    pub profile_level_id: String,
    /// 0 when it is left out.
    pub packetization_mode: u8,
    /// `sprop-parameter-sets`: NAL units (SPS, PPS), decoded from base64.
    pub parameter_sets: Vec<Vec<u8>>,
}

/// Payload types, those of their retransmissions, and what is in them.
pub(super) fn offered() -> impl Iterator<Item = (u8, u8, H264Parameters)> {
    OFFERED.into_iter().map(|(payload_type, rtx, profile)| {
        let parameters = H264Parameters {
            profile_level_id: profile.to_owned(),
            packetization_mode: 1,
            parameter_sets: Vec::new(),
        };
        (payload_type, rtx, parameters)
    })
}

impl H264Parameters {
    pub(super) fn offered_fmtp(&self, bitrate: &str) -> String {
        let Self { profile_level_id, packetization_mode, parameter_sets: _ } = self;
        format!(
            "level-asymmetry-allowed=1;packetization-mode={packetization_mode};profile-level-id={profile_level_id}{bitrate}"
        )
    }

    /// `None`: interleaved, which cannot be received.
    pub(super) fn read<'a>(
        payload_type: u8,
        parameter: impl Fn(&str) -> Option<&'a str>,
        left_out: &mut LeftOut,
    ) -> Option<Self> {
        let packetization_mode = match parameter("packetization-mode") {
            None => 0,
            Some(mode) => match mode.parse() {
                Ok(mode @ (0 | 1)) => mode,
                Ok(2_u8) => {
                    left_out.say(format!("H264 {payload_type}: packetization-mode=2 (interleaved)"));
                    return None;
                }
                _ => {
                    left_out.say(format!("H264 {payload_type}: packetization-mode={}", printable(mode)));
                    0
                }
            },
        };
        let profile = parameter("profile-level-id").filter(|id| {
            let fits = id.len() == 6 && id.bytes().all(|digit| digit.is_ascii_hexdigit());
            if !fits {
                left_out.say(format!("H264 {payload_type}: profile-level-id={}", printable(id)));
            }
            fits
        });
        let sets = parameter("sprop-parameter-sets").unwrap_or_default();
        let parameter_sets = read_parameter_sets(sets, "H264", payload_type, left_out);
        Some(Self {
            profile_level_id: profile.unwrap_or(DEFAULT_PROFILE).to_ascii_lowercase(),
            packetization_mode,
            parameter_sets,
        })
    }

    /// `profile_idc` and constraints, and the packetization mode.
    pub(super) fn profile(&self) -> Option<(&str, u8)> {
        Some((self.profile_level_id.get(..4)?, self.packetization_mode))
    }
}

/// What is in the way of receiving a format of this name; `None`: it is not H.264, or nothing is.
pub(super) fn refused<'a>(name: &str, parameter: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
    let is_interleaved = name.eq_ignore_ascii_case(VideoCodec::H264.encoding_name())
        && parameter("packetization-mode") == Some("2");
    is_interleaved.then(|| "H264 with packetization-mode=2".to_owned())
}
