//! Parameter sets in the answer (`sprop-…`, RFC 6184 section 8.1, RFC 7798 section 7.1).

use crate::sdp::words::{LeftOut, is_blank};
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// With or without padding, as they come.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// NAL units, from base64 with commas between them.
pub(super) fn read_parameter_sets(
    sets: &str,
    codec: &str,
    payload_type: u8,
    left_out: &mut LeftOut,
) -> Vec<Vec<u8>> {
    sets.split(',')
        .filter(|set| !set.is_empty())
        .filter_map(|set| {
            let unit = BASE64.decode(set.trim_matches(is_blank)).ok().filter(|unit| !unit.is_empty());
            if unit.is_none() {
                left_out.say(format!("{codec} {payload_type}: a parameter set that is not base64"));
            }
            unit
        })
        .collect()
}
