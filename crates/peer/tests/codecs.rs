//! Answers to an offer of every codec, read into what may arrive.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use kvs_media::MediaKind;
use kvs_peer::sdp::{Codec, H265Parameters, OfferedSection, PayloadFormat, read_answer};
use support::{base, in_section};

/// As the agent offers them: H.265 behind H.264, G.711 behind Opus.
fn offer() -> Vec<OfferedSection> {
    let mut sections = support::offer();
    let h265 = H265Parameters { profile_id: 1, tier_flag: 0, level_id: 180, parameter_sets: Vec::new() };
    let more = [
        (MediaKind::Video, 127, Codec::H265(h265)),
        (MediaKind::Video, 126, Codec::Rtx { apt: 127 }),
        (MediaKind::Audio, 0, Codec::Pcmu),
        (MediaKind::Audio, 8, Codec::Pcma),
    ];
    for (kind, payload_type, codec) in more {
        let section = sections.iter_mut().find(|section| section.kind == kind).unwrap();
        section.formats.push(PayloadFormat { payload_type, codec });
    }
    sections
}

/// The answer of AWS's C SDK, with another codec in one of its sections.
fn c_sdk(kind: &str, payload_type: u8, lines: &str) -> String {
    in_section(&base("c_sdk"), kind, |section| {
        let kept = section.lines().filter(|line| {
            !["a=rtpmap:", "a=fmtp:", "a=rtcp-fb:"].iter().any(|start| line.starts_with(start))
        });
        let kept = kept.map(|line| match line.strip_prefix("m=") {
            Some(_) => format!("m={kind} 9 UDP/TLS/RTP/SAVPF {payload_type}"),
            None => line.to_owned(),
        });
        kept.chain(lines.lines().map(str::to_owned)).map(|line| format!("{line}\r\n")).collect()
    })
}

/// The formats of a section, without retransmissions, and what was left out.
fn read(kind: MediaKind, sdp: &str) -> (Vec<(u8, Codec)>, Vec<String>) {
    let answer = read_answer(&offer(), None, sdp).unwrap();
    let formats = answer.section(kind).into_iter().flat_map(|section| &section.formats);
    let formats = formats
        .filter(|format| !matches!(format.codec, Codec::Rtx { .. }))
        .map(|format| (format.payload_type, format.codec.clone()));
    (formats.collect(), answer.left_out.clone())
}

fn h265(level_id: u8, parameter_sets: &[&[u8]]) -> Codec {
    let parameter_sets = parameter_sets.iter().map(|set| set.to_vec()).collect();
    Codec::H265(H265Parameters { profile_id: 1, tier_flag: 0, level_id, parameter_sets })
}

#[test]
fn h265_is_taken_under_any_number_and_with_any_parameters_that_leave_it_in_order() {
    let sets = "sprop-vps=QAEMAf8=;sprop-sps=QgEB;sprop-pps=RAHA";
    let told: &[&[u8]] = &[&[0x40, 1, 0x0c, 1, 0xff], &[0x42, 1, 1], &[0x44, 1, 0xc0]];
    let rows = [
        (127, "a=rtpmap:127 H265/90000\na=fmtp:127 level-id=93;profile-id=1", vec![(127, h265(93, &[]))]),
        (127, "a=rtpmap:127 H265/90000", vec![(127, h265(93, &[]))]),
        (
            127,
            "a=rtpmap:127 h265/90000\na=fmtp:127 level-id=180;tx-mode=SRST;sprop-max-don-diff=0",
            vec![(127, h265(180, &[]))],
        ),
        (127, &format!("a=rtpmap:127 H265/90000\na=fmtp:127 {sets}"), vec![(127, h265(93, told))]),
        // It sends with its own number, or with that of the offer (RFC 3264, 6.1).
        (
            98,
            "a=rtpmap:98 H265/90000\na=fmtp:98 level-id=120",
            vec![(98, h265(120, &[])), (127, h265(180, &[]))],
        ),
    ];
    for (payload_type, lines, expected) in rows {
        let (formats, left_out) = read(MediaKind::Video, &c_sdk("video", payload_type, lines));
        assert_eq!(formats, expected, "{lines}");
        assert_eq!(left_out, Vec::<String>::new(), "{lines}");
    }
}

#[test]
fn h265_out_of_order_or_in_several_streams_is_named() {
    for (parameters, words) in [
        ("sprop-max-don-diff=2", "H265 with sprop-max-don-diff=2 (interleaved)"),
        ("tx-mode=MRST", "H265 with tx-mode=MRST"),
    ] {
        let sdp = c_sdk("video", 127, &format!("a=rtpmap:127 H265/90000\na=fmtp:127 {parameters}"));
        let answer = read_answer(&offer(), None, &sdp).unwrap();
        assert!(answer.section(MediaKind::Video).is_none());
        assert!(answer.refused.iter().any(|refused| refused.contains(words)), "{:?}", answer.refused);
    }
    let odd = c_sdk("video", 127, "a=rtpmap:127 H265/90000\na=fmtp:127 level-id=high;sprop-pps=!");
    let (formats, left_out) = read(MediaKind::Video, &odd);
    assert_eq!(formats, [(127, h265(93, &[]))]);
    assert!(left_out.iter().any(|words| words.contains("level-id=high")), "{left_out:?}");
    assert!(left_out.iter().any(|words| words.contains("not base64")), "{left_out:?}");
}

#[test]
fn g711_needs_no_rtpmap() {
    for (payload_type, lines, codec) in [
        (0, "a=rtpmap:0 PCMU/8000", Codec::Pcmu),
        (0, "", Codec::Pcmu),
        (8, "a=rtpmap:8 PCMA/8000/1", Codec::Pcma),
        (8, "", Codec::Pcma),
    ] {
        let (formats, _) = read(MediaKind::Audio, &c_sdk("audio", payload_type, lines));
        assert_eq!(formats, [(payload_type, codec)], "{lines:?}");
    }
}

#[test]
fn the_first_of_several_is_what_is_sent() {
    let sdp = c_sdk(
        "video",
        127,
        "a=rtpmap:127 H265/90000\na=rtpmap:102 H264/90000\na=fmtp:102 packetization-mode=1",
    );
    let sdp = sdp.replace("SAVPF 127", "SAVPF 127 102");
    let answer = read_answer(&offer(), None, &sdp).unwrap();
    let section = answer.section(MediaKind::Video).unwrap();
    assert!(matches!(section.codec(), Some(Codec::H265(_))), "{section:?}");
}
