//! The offer, in the form that every known master reads.

use super::{Codec, HeaderExtension, MediaKind, OfferedSection, PayloadFormat};
use std::fmt::Write;

/// `a=extmap` of the media identification (RFC 9143, section 15.2).
pub const MID_URI: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";

/// `a=extmap` of the transport-wide sequence numbers (draft-holmer-rmcat-transport-wide-cc-extensions-01).
pub const TRANSPORT_CC_URI: &str =
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

/// Payload type of Opus, the one every implementation uses.
const OPUS: u8 = 111;

/// H.264 payload types with their RTX and `profile-level-id`.
///
/// Constrained baseline comes last as well as first in merit: old C SDK masters take the last H.264 of the offer on a
/// tie, and browsers take the first that they can send, which is constrained baseline for Chromium anyway.
///
/// Never VP8 beside H.264: Chromium as answerer sends VP8 when it is there, whatever the answer says.
const H264: [(u8, u8, &str); 3] = [(104, 105, "640032"), (106, 107, "4d001f"), (102, 103, "42e01f")];

/// The media sections of an offer. Audio comes first: C SDK masters write their answer in that order.
pub(crate) fn sections(audio: bool, video: bool) -> Vec<OfferedSection> {
    let extensions = || {
        [(1, MID_URI), (2, TRANSPORT_CC_URI)]
            .map(|(id, uri)| HeaderExtension { id, uri: uri.to_owned() })
            .to_vec()
    };
    let mut sections = Vec::new();
    let mut section = |kind, formats| {
        let mid = sections.len().to_string();
        sections.push(OfferedSection { kind, mid, formats, extensions: extensions() });
    };
    if audio {
        section(
            MediaKind::Audio,
            vec![PayloadFormat { payload_type: OPUS, codec: Codec::Opus { stereo: false } }],
        );
    }
    if video {
        // Without RTX, Chromium's bandwidth probes are padding on the media SSRC, and a lost probe can never be
        // repaired.
        let formats = H264.iter().flat_map(|(payload_type, rtx, profile)| {
            let codec = Codec::H264 {
                profile_level_id: (*profile).to_owned(),
                packetization_mode: 1,
                parameter_sets: Vec::new(),
            };
            [
                PayloadFormat { payload_type: *payload_type, codec },
                PayloadFormat { payload_type: *rtx, codec: Codec::Rtx { apt: *payload_type } },
            ]
        });
        section(MediaKind::Video, formats.collect());
    }
    sections
}

/// What is ours alone in an offer.
pub(crate) struct Identity<'a> {
    /// `o=`: a number for the session.
    pub(crate) session_id: u64,
    /// SHA-256 of the certificate, as SDP writes it.
    pub(crate) fingerprint: &'a str,
    /// `a=ice-ufrag`.
    pub(crate) ice_ufrag: &'a str,
    /// `a=ice-pwd`.
    pub(crate) ice_pwd: &'a str,
}

/// Writes the offer, CRLF after every line, without candidates.
pub(crate) fn write(
    sections: &[OfferedSection],
    identity: &Identity<'_>,
    start_bitrate_kbps: Option<u32>,
) -> String {
    let Identity { session_id, fingerprint, ice_ufrag, ice_pwd } = identity;
    let mut sdp = String::with_capacity(2_400);
    let mut line = |text: std::fmt::Arguments<'_>| {
        // Writing into a string cannot fail.
        let _ = sdp.write_fmt(text);
        sdp.push_str("\r\n");
    };
    line(format_args!("v=0"));
    line(format_args!("o=- {session_id} 1 IN IP4 0.0.0.0"));
    line(format_args!("s=-"));
    line(format_args!("t=0 0"));
    line(format_args!("a=fingerprint:sha-256 {fingerprint}"));
    line(format_args!("a=extmap-allow-mixed"));
    let mids: Vec<_> = sections.iter().map(|section| section.mid.as_str()).collect();
    line(format_args!("a=group:BUNDLE {}", mids.join(" ")));
    line(format_args!("a=ice-options:trickle"));
    for section in sections {
        let kind = section.kind.as_str();
        let formats: Vec<_> = section.formats.iter().map(|format| format.payload_type.to_string()).collect();
        line(format_args!("m={kind} 9 UDP/TLS/RTP/SAVPF {}", formats.join(" ")));
        line(format_args!("c=IN IP4 0.0.0.0"));
        line(format_args!("a=setup:actpass"));
        line(format_args!("a=mid:{}", section.mid));
        line(format_args!("a=ice-ufrag:{ice_ufrag}"));
        line(format_args!("a=ice-pwd:{ice_pwd}"));
        // Older C SDKs look for it only here.
        line(format_args!("a=ice-options:trickle"));
        line(format_args!("a=rtcp-mux"));
        line(format_args!("a=rtcp-rsize"));
        for PayloadFormat { payload_type, codec } in &section.formats {
            match codec {
                Codec::Opus { .. } => {
                    line(format_args!("a=rtpmap:{payload_type} opus/48000/2"));
                    line(format_args!("a=fmtp:{payload_type} minptime=10;useinbandfec=1"));
                }
                Codec::H264 { profile_level_id, packetization_mode, .. } => {
                    line(format_args!("a=rtpmap:{payload_type} H264/90000"));
                    let bitrate = start_bitrate_kbps.map_or_else(String::new, |kbps| {
                        format!(";x-google-min-bitrate={kbps};x-google-start-bitrate={kbps}")
                    });
                    line(format_args!(
                        "a=fmtp:{payload_type} level-asymmetry-allowed=1;packetization-mode={packetization_mode};profile-level-id={profile_level_id}{bitrate}"
                    ));
                    for feedback in ["nack", "nack pli", "ccm fir"] {
                        line(format_args!("a=rtcp-fb:{payload_type} {feedback}"));
                    }
                }
                Codec::Rtx { apt } => {
                    line(format_args!("a=rtpmap:{payload_type} rtx/90000"));
                    line(format_args!("a=fmtp:{payload_type} apt={apt}"));
                }
            }
            line(format_args!("a=rtcp-fb:{payload_type} transport-cc"));
        }
        for HeaderExtension { id, uri } in &section.extensions {
            line(format_args!("a=extmap:{id} {uri}"));
        }
        line(format_args!("a=recvonly"));
    }
    sdp
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offer_is_what_every_known_master_reads() {
        let identity =
            Identity { session_id: 7, fingerprint: "AB:CD", ice_ufrag: "someufrag", ice_pwd: "somepwd" };
        let offer = write(&sections(true, true), &identity, Some(2000));
        assert!(offer.ends_with("\r\n"));
        assert!(offer.lines().count() * 2 == offer.matches(['\r', '\n']).count());
        // base64 of the JSON around it must stay below 10,000 characters.
        assert!(offer.len() < 4_000, "{} bytes", offer.len());
        assert!(!offer.contains("VP8") && !offer.contains("a=candidate"));
        assert!(offer.contains("a=group:BUNDLE 0 1\r\n"));
        let (session, media) = offer.split_once("m=").unwrap();
        assert!(session.contains("a=fingerprint:sha-256 AB:CD") && !session.contains("a=ice-ufrag"));
        let sections: Vec<_> = media.split("\r\nm=").collect();
        assert_eq!(sections.len(), 2);
        assert!(sections[0].starts_with("audio ") && sections[1].starts_with("video "));
        for section in &sections {
            for line in ["a=recvonly", "a=setup:actpass", "a=rtcp-mux", "a=ice-options:trickle"] {
                assert_eq!(section.lines().filter(|found| *found == line).count(), 1, "{line} in {section}");
            }
            assert!(section.contains("a=ice-ufrag:someufrag") && section.contains("a=ice-pwd:somepwd"));
        }
        assert!(sections[0].contains("a=rtpmap:111 opus/48000/2"));
        for profile in ["42e01f", "4d001f", "640032"] {
            assert!(sections[1].contains(&format!(
                "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={profile};x-google-min-bitrate=2000;x-google-start-bitrate=2000"
            )));
        }
    }

    #[test]
    fn one_kind_alone() {
        let identity = Identity { session_id: 7, fingerprint: "AB", ice_ufrag: "u", ice_pwd: "p" };
        let offer = write(&sections(false, true), &identity, None);
        assert!(offer.contains("a=group:BUNDLE 0\r\n") && !offer.contains("m=audio"));
        assert!(!offer.contains("x-google"));
    }
}
