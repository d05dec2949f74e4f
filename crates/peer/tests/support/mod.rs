//! The offer that all answers of these tests are to, answers of real masters, and edits of them.
#![allow(dead_code, reason = "each test takes what it needs")]

use kvs_media::MediaKind;
use kvs_peer::sdp::{Codec, H264Parameters, HeaderExtension, OfferedSection, PayloadFormat};

/// Answers to [`offer`], written by: Chromium 156, aiortc 1.16, Pion 4.2 (with all candidates in the answer) and Pion
/// without an audio codec; and after the form of: Firefox, webrtcbin, AWS's C SDK.
pub const BASES: [(&str, &str); 7] = [
    ("chromium", include_str!("../answers/chromium.sdp")),
    ("firefox", include_str!("../answers/firefox.sdp")),
    ("aiortc", include_str!("../answers/aiortc.sdp")),
    ("pion", include_str!("../answers/pion.sdp")),
    ("pion_no_audio", include_str!("../answers/pion_no_audio.sdp")),
    ("webrtcbin", include_str!("../answers/webrtcbin.sdp")),
    ("c_sdk", include_str!("../answers/c_sdk.sdp")),
];

/// As it comes over the wire: CR LF.
pub fn base(name: &str) -> String {
    let (_, text) = BASES.iter().find(|(base, _)| *base == name).expect("a base of that name");
    text.replace('\n', "\r\n")
}

pub const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
pub const TRANSPORT_CC: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

/// Opus at 111; H.264 at 104 (high), 106 (main) and 102 (constrained baseline), each with its retransmissions.
pub fn offer() -> Vec<OfferedSection> {
    let extension = |id, uri: &str| HeaderExtension { id, uri: uri.to_owned() };
    let mut video = Vec::new();
    for (payload_type, profile) in [(104, "640032"), (106, "4d001f"), (102, "42e01f")] {
        let codec = Codec::H264(H264Parameters {
            profile_level_id: profile.to_owned(),
            packetization_mode: 1,
            parameter_sets: Vec::new(),
        });
        video.push(PayloadFormat { payload_type, codec });
        video.push(PayloadFormat { payload_type: payload_type + 1, codec: Codec::Rtx { apt: payload_type } });
    }
    vec![
        OfferedSection {
            kind: MediaKind::Audio,
            mid: "0".to_owned(),
            formats: vec![PayloadFormat { payload_type: 111, codec: Codec::Opus { stereo: false } }],
            extensions: vec![extension(1, MID)],
        },
        OfferedSection {
            kind: MediaKind::Video,
            mid: "1".to_owned(),
            formats: video,
            extensions: vec![extension(1, MID), extension(2, TRANSPORT_CC)],
        },
    ]
}

fn lines(sdp: &str) -> impl Iterator<Item = &str> {
    sdp.split_inclusive('\n')
}

/// Without the lines that begin so.
pub fn without(sdp: &str, start: &str) -> String {
    lines(sdp).filter(|line| !line.starts_with(start)).collect()
}

/// With these lines in front of the first section.
pub fn at_session(sdp: &str, more: &str) -> String {
    sdp.replacen("m=", &format!("{}\r\nm=", more.replace('\n', "\r\n")), 1)
}

/// With the section of this kind changed; the rest stays.
pub fn in_section(sdp: &str, kind: &str, edit: impl Fn(&str) -> String) -> String {
    let start = sdp.find(&format!("m={kind}")).expect("a section of that kind");
    let end = sdp[start + 1..].find("m=").map_or(sdp.len(), |next| start + 1 + next);
    format!("{}{}{}", &sdp[..start], edit(&sdp[start..end]), &sdp[end..])
}

/// With these lines at the end of the section of this kind.
pub fn with(sdp: &str, kind: &str, more: &str) -> String {
    in_section(sdp, kind, |section| format!("{section}{}\r\n", more.replace('\n', "\r\n")))
}

/// With this in the place of the whole section of this kind.
pub fn instead_of(sdp: &str, kind: &str, section: &str) -> String {
    let section =
        if section.is_empty() { String::new() } else { format!("{section}\n").replace('\n', "\r\n") };
    in_section(sdp, kind, |_| section.clone())
}

/// The payload type with another number, in the m= line and everywhere else.
pub fn renumbered(sdp: &str, from: u8, to: u8) -> String {
    let mut out = String::new();
    for line in lines(sdp) {
        let line = if line.starts_with("m=") {
            let words: Vec<String> = line
                .trim_end()
                .split(' ')
                .enumerate()
                .map(
                    |(place, word)| {
                        if place > 2 && word == from.to_string() { to.to_string() } else { word.to_owned() }
                    },
                )
                .collect();
            format!("{}\r\n", words.join(" "))
        } else {
            ["a=rtpmap:", "a=fmtp:", "a=rtcp-fb:"].iter().fold(line.to_owned(), |line, name| {
                line.replace(&format!("{name}{from} "), &format!("{name}{to} "))
            })
        };
        out.push_str(&line.replace(&format!("apt={from}\r"), &format!("apt={to}\r")));
    }
    out
}
