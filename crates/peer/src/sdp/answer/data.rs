//! The section for data channels (RFC 8841).

use super::lines::Section;
use crate::sdp::offer::SCTP_PORT;
use crate::sdp::words::is_blank;

/// The section of an answer that answers the one for data channels: by its mid, else the only one there is.
pub(super) fn match_data(mid: &str, sections: &[Section<'_>]) -> Option<usize> {
    let of_data = |section: &Section<'_>| section.media.eq_ignore_ascii_case("application");
    let by_mid = sections.iter().position(|section| of_data(section) && section.mid() == Some(mid));
    by_mid.or_else(|| sections.iter().position(of_data))
}

/// `a=sctp-port` (RFC 8841, section 5.1); in the drafts before it a number behind `m=`, or `a=sctpmap`. Who says nothing
/// listens where everybody does.
pub(super) fn sctp_port(section: &Section<'_>) -> u16 {
    let words = |value: &'_ str| value.split(is_blank).next().and_then(|word| word.parse().ok());
    let attributes = ["sctp-port", "sctpmap"].into_iter().filter_map(|name| section.attributes.first(name));
    let formats = section.formats.iter().copied();
    attributes.chain(formats).filter_map(words).find(|port| *port != 0).unwrap_or(SCTP_PORT)
}
