//! The offer, in the form that every known master reads.

use super::codec::{self, PayloadFormat};
use super::section::{HeaderExtension, OfferedSection};
use kvs_media::{AudioCodec, MediaKind, VideoCodec};
use std::fmt::Write;

/// `a=extmap` of the media identification (RFC 9143, section 15.2).
pub(crate) const MID_URI: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";

/// `a=extmap` of the transport-wide sequence numbers (draft-holmer-rmcat-transport-wide-cc-extensions-01).
pub(crate) const TRANSPORT_CC_URI: &str =
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

/// `a=extmap` of the absolute send time: 24 bits of 6.18 seconds. For masters that have no transport-wide sequence numbers.
pub(crate) const ABS_SEND_TIME_URI: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";

/// The port of SCTP over DTLS: a name for an association, of which there is one.
pub(crate) const SCTP_PORT: u16 = 5000;

/// The largest message that is taken, bytes. Of more than a tag holds nothing is stored, and yet it is taken: a browser
/// that is told of less lets its page's `send()` fail, which knows that of no other viewer. What who is told nothing
/// believes (RFC 8841, section 6.1).
pub(crate) const MAX_MESSAGE: u32 = 65_536;

/// The media sections of an offer of these codecs, the most wanted first. Audio comes first: C SDK masters write their
/// answer in that order.
pub(crate) fn sections(audio: &[AudioCodec], video: &[VideoCodec]) -> Vec<OfferedSection> {
    let audio = audio.iter().flat_map(|codec| codec::offered_audio(*codec)).collect();
    let video = video.iter().flat_map(|codec| codec::offered_video(*codec)).collect();
    let sections: [(_, Vec<PayloadFormat>); 2] = [(MediaKind::Audio, audio), (MediaKind::Video, video)];
    let offered = sections.into_iter().filter(|(_, formats)| !formats.is_empty()).enumerate();
    let section = |(index, (kind, formats)): (usize, (MediaKind, Vec<PayloadFormat>))| OfferedSection {
        kind,
        mid: index.to_string(),
        formats,
        extensions: [(1, MID_URI), (2, TRANSPORT_CC_URI), (3, ABS_SEND_TIME_URI)]
            .into_iter()
            // The pictures tell enough.
            .filter(|(_, uri)| kind == MediaKind::Video || *uri != ABS_SEND_TIME_URI)
            .map(|(id, uri)| HeaderExtension { id, uri: uri.to_owned() })
            .collect(),
    };
    offered.map(section).collect()
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

/// Writes the offer, CRLF after every line, without candidates. `data` is the mid of a section for data channels, which
/// comes last: there C SDK masters write it into their answer.
pub(crate) fn write(
    sections: &[OfferedSection],
    data: Option<&str>,
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
    let mids: Vec<_> = sections.iter().map(|section| section.mid.as_str()).chain(data).collect();
    line(format_args!("a=group:BUNDLE {}", mids.join(" ")));
    line(format_args!("a=ice-options:trickle"));
    let transport = |line: &mut dyn FnMut(std::fmt::Arguments<'_>), mid: &str| {
        line(format_args!("c=IN IP4 0.0.0.0"));
        line(format_args!("a=setup:actpass"));
        line(format_args!("a=mid:{mid}"));
        line(format_args!("a=ice-ufrag:{ice_ufrag}"));
        line(format_args!("a=ice-pwd:{ice_pwd}"));
        // Older C SDKs look for it only here.
        line(format_args!("a=ice-options:trickle"));
    };
    for section in sections {
        let kind = section.kind.as_str();
        let formats: Vec<_> = section.formats.iter().map(|format| format.payload_type.to_string()).collect();
        line(format_args!("m={kind} 9 UDP/TLS/RTP/SAVPF {}", formats.join(" ")));
        transport(&mut line, &section.mid);
        line(format_args!("a=rtcp-mux"));
        line(format_args!("a=rtcp-rsize"));
        for PayloadFormat { payload_type, codec } in &section.formats {
            line(format_args!("a=rtpmap:{payload_type} {}", codec.rtpmap()));
            if let Some(parameters) = codec.offered_fmtp(start_bitrate_kbps) {
                line(format_args!("a=fmtp:{payload_type} {parameters}"));
            }
            for feedback in codec.offered_feedback().iter().chain(&["transport-cc"]) {
                line(format_args!("a=rtcp-fb:{payload_type} {feedback}"));
            }
        }
        for HeaderExtension { id, uri } in &section.extensions {
            line(format_args!("a=extmap:{id} {uri}"));
        }
        line(format_args!("a=recvonly"));
    }
    if let Some(mid) = data {
        line(format_args!("m=application 9 UDP/DTLS/SCTP webrtc-datachannel"));
        transport(&mut line, mid);
        line(format_args!("a=sctp-port:{SCTP_PORT}"));
        line(format_args!("a=max-message-size:{MAX_MESSAGE}"));
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
        let offer = write(&sections(&[AudioCodec::Opus], &[VideoCodec::H264]), None, &identity, Some(2000));
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
    fn what_is_offered_are_the_codecs_that_are_wanted() {
        let offered = |audio: &[AudioCodec], video: &[VideoCodec]| -> Vec<_> {
            let formats = sections(audio, video).into_iter().flat_map(|section| section.formats);
            let mut names: Vec<_> = formats
                .filter(|format| !format.codec.is_rtx())
                .map(|format| format.codec.encoding_name())
                .collect();
            names.dedup();
            names
        };
        assert_eq!(offered(&[AudioCodec::Opus], &[VideoCodec::H264]), ["opus", "H264"]);
        assert_eq!(offered(&[AudioCodec::Opus], &[]), ["opus"]);
        assert_eq!(offered(&[], &[VideoCodec::H264]), ["H264"]);
        assert_eq!(
            offered(
                &[AudioCodec::Opus, AudioCodec::Pcmu, AudioCodec::Pcma],
                &[VideoCodec::H265, VideoCodec::H264]
            ),
            ["opus", "PCMU", "PCMA", "H265", "H264"]
        );
        assert_eq!(offered(&[], &[]), [""; 0]);
    }

    #[test]
    fn an_offer_of_all_codecs_is_short_enough_and_no_number_stands_twice() {
        let identity = Identity { session_id: 7, fingerprint: "AB", ice_ufrag: "u", ice_pwd: "p" };
        let sections = sections(
            &[AudioCodec::Opus, AudioCodec::Pcmu, AudioCodec::Pcma],
            &[VideoCodec::H264, VideoCodec::H265],
        );
        let offer = write(&sections, None, &identity, Some(2000));
        assert!(offer.len() < 5_000, "{} bytes", offer.len());
        for line in [
            "a=rtpmap:0 PCMU/8000",
            "a=rtpmap:8 PCMA/8000",
            "a=rtpmap:127 H265/90000",
            "a=fmtp:127 level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST;x-google-min-bitrate=2000;x-google-start-bitrate=2000",
            "a=fmtp:126 apt=127",
        ] {
            assert!(offer.contains(&format!("{line}\r\n")), "{line} in {offer}");
        }
        assert!(!offer.contains("a=fmtp:0 ") && !offer.contains("a=fmtp:8 "));
        let mut numbers: Vec<_> = sections
            .iter()
            .flat_map(|section| section.formats.iter().map(|format| format.payload_type))
            .collect();
        numbers.sort_unstable();
        assert!(numbers.windows(2).all(|pair| pair[0] != pair[1]), "{numbers:?}");
    }

    #[test]
    fn one_kind_alone() {
        let identity = Identity { session_id: 7, fingerprint: "AB", ice_ufrag: "u", ice_pwd: "p" };
        let offer = write(&sections(&[], &[VideoCodec::H264]), None, &identity, None);
        assert!(offer.contains("a=group:BUNDLE 0\r\n") && !offer.contains("m=audio"));
        assert!(!offer.contains("x-google"));
    }

    #[test]
    fn data_channels_come_last_and_only_when_they_are_wanted() {
        let identity = Identity { session_id: 7, fingerprint: "AB", ice_ufrag: "u", ice_pwd: "p" };
        let sections = sections(&[AudioCodec::Opus], &[VideoCodec::H264]);
        let (plain, with) =
            (write(&sections, None, &identity, None), write(&sections, Some("2"), &identity, None));
        assert!(!plain.contains("application"));
        assert!(with.contains("a=group:BUNDLE 0 1 2\r\n"));
        let (media, data) = with.split_once("m=application ").unwrap();
        assert_eq!(media.replace("BUNDLE 0 1 2", "BUNDLE 0 1"), plain);
        assert_eq!(
            data,
            "9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=setup:actpass\r\na=mid:2\r\na=ice-ufrag:u\r\n\
             a=ice-pwd:p\r\na=ice-options:trickle\r\na=sctp-port:5000\r\na=max-message-size:65536\r\n"
        );
    }
}
