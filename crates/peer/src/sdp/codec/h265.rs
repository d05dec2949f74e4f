//! H.265 in SDP (RFC 7798, section 7).

use super::parameter_sets::read_parameter_sets;
use crate::sdp::words::{LeftOut, printable};
use kvs_media::VideoCodec;

/// 127, because C SDK masters answer with 127 whatever was offered, and send what was offered.
pub(super) const PAYLOAD_TYPE: u8 = 127;

/// Its retransmissions.
pub(super) const RTX_PAYLOAD_TYPE: u8 = 126;

/// Parameters of a payload format of H.265 (RFC 7798, 7.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct H265Parameters {
    /// `profile-id`: 1 (main) when it is left out.
    pub profile_id: u8,
    /// `tier-flag`: 0 (main) when it is left out.
    pub tier_flag: u8,
    /// `level-id`: thirty times the level; 93 (3.1) when it is left out.
    pub level_id: u8,
    /// `sprop-vps`, `sprop-sps` and `sprop-pps`: NAL units, decoded from base64.
    pub parameter_sets: Vec<Vec<u8>>,
}

/// What is offered. The level is what can be received at most: 6 leaves the size to the master.
pub(super) fn offered() -> H265Parameters {
    H265Parameters { profile_id: 1, tier_flag: 0, level_id: 180, parameter_sets: Vec::new() }
}

impl H265Parameters {
    pub(super) fn offered_fmtp(&self, bitrate: &str) -> String {
        let Self { profile_id, tier_flag, level_id, parameter_sets: _ } = self;
        format!("level-id={level_id};profile-id={profile_id};tier-flag={tier_flag};tx-mode=SRST{bitrate}")
    }

    /// `None`: not in decoding order, or in several streams, which cannot be received.
    pub(super) fn read<'a>(
        payload_type: u8,
        parameter: impl Fn(&str) -> Option<&'a str>,
        left_out: &mut LeftOut,
    ) -> Option<Self> {
        if let Some(reason) = in_the_way(&parameter) {
            left_out.say(format!("H265 {payload_type}: {reason}"));
            return None;
        }
        let mut number = |name: &str, default: u8| match parameter(name).map(|text| (text, text.parse())) {
            None => default,
            Some((_, Ok(value))) => value,
            Some((text, Err(_))) => {
                left_out.say(format!("H265 {payload_type}: {name}={}", printable(text)));
                default
            }
        };
        let (profile_id, tier_flag, level_id) =
            (number("profile-id", 1), number("tier-flag", 0), number("level-id", 93));
        let parameter_sets = ["sprop-vps", "sprop-sps", "sprop-pps"]
            .into_iter()
            .filter_map(&parameter)
            .flat_map(|sets| read_parameter_sets(sets, "H265", payload_type, left_out))
            .collect();
        Some(Self { profile_id, tier_flag, level_id, parameter_sets })
    }
}

/// What is in the way of receiving it, as the parameters have it: NAL units out of order carry decoding order numbers
/// (section 4.4), which nobody sends; several streams or transports are not one.
fn in_the_way<'a>(parameter: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
    if let Some(mode) = parameter("tx-mode").filter(|mode| !mode.eq_ignore_ascii_case("SRST")) {
        return Some(format!("tx-mode={}", printable(mode)));
    }
    let difference = parameter("sprop-max-don-diff").filter(|difference| *difference != "0")?;
    Some(format!("sprop-max-don-diff={} (interleaved)", printable(difference)))
}

/// What is in the way of receiving a format of this name; `None`: it is not H.265, or nothing is.
pub(super) fn refused<'a>(name: &str, parameter: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
    let name_is_it = name.eq_ignore_ascii_case(VideoCodec::H265.encoding_name());
    in_the_way(parameter).filter(|_| name_is_it).map(|reason| format!("H265 with {reason}"))
}
