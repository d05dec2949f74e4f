//! Opus in SDP (RFC 7587, section 7).

/// The one every implementation uses.
pub(super) const PAYLOAD_TYPE: u8 = 111;

/// Forward error correction is welcome: what it repairs is never asked for again.
pub(super) const OFFERED_FMTP: &str = "minptime=10;useinbandfec=1";

pub(super) fn is_stereo<'a>(parameter: impl Fn(&str) -> Option<&'a str>) -> bool {
    parameter("sprop-stereo") == Some("1")
}
