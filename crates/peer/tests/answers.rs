//! Answers as they are written in the world, and what is read from them.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use kvs_media::MediaKind;
use kvs_peer::sdp::{
    AcceptedSection, Answer, Codec, H264Parameters, HashAlgorithm, MAX_ANSWER, Setup, read_answer,
};
use support::{
    MID, TRANSPORT_CC, at_session, base, in_section, instead_of, offer, renumbered, with, without,
};

/// What is to be read, in the words of [`formats`] and its neighbours; empty for a section that is refused.
#[derive(Clone, Copy, Debug)]
struct Reads {
    audio: &'static str,
    video: &'static str,
    /// SSRCs of audio and video, with those of retransmissions.
    ssrcs: (&'static str, &'static str),
    /// `nack`, `transport-cc`, `goog-remb` of video.
    feedback: &'static str,
    /// Ids of the MID extension of the video section, and of transport-cc.
    extensions: (&'static str, &'static str),
    /// The transports of audio and video.
    on: (usize, usize),
    /// User fragment, role in DTLS, hash functions, number of candidates.
    transports: &'static [&'static str],
    /// Each is in the entry of its place.
    refused: &'static [&'static str],
    /// Likewise.
    left_out: &'static [&'static str],
}

const CHROMIUM: Reads = Reads {
    audio: "111 opus",
    video: "106 H264 4d001f/1, 107 rtx 106, 102 H264 42e01f/1, 103 rtx 102",
    ssrcs: ("3699399837", "3383930909+3899793152"),
    feedback: "nack transport-cc goog-remb",
    extensions: ("1", "2"),
    on: (0, 0),
    transports: &["G6OK active sha-256 0"],
    refused: &[],
    left_out: &[],
};

const FIREFOX: Reads = Reads {
    video: "102 H264 42e01f/1, 103 rtx 102",
    ssrcs: ("1712446903", "2894563117+1130458826"),
    transports: &["7f3d2c1a active sha-256 0"],
    ..CHROMIUM
};

const AIORTC: Reads = Reads {
    video: "102 H264 42e01f/1, 103 rtx 102",
    ssrcs: ("3860318044", "2047589279+2121082644"),
    feedback: "nack goog-remb",
    transports: &["69qY active sha-256 sha-384 sha-512 2"],
    ..CHROMIUM
};

const PION: Reads = Reads {
    video: "102 H264 42e01f/1",
    ssrcs: ("3893469172", "249507332"),
    feedback: "nack transport-cc",
    transports: &["fxwUoRFHxAtyRTdW active sha-256 2"],
    left_out: &["component 2"],
    ..CHROMIUM
};

const PION_NO_AUDIO: Reads = Reads {
    audio: "",
    ssrcs: ("", "2652236834"),
    transports: &["DPiGikTfAgDfxIlr active sha-256 2"],
    refused: &["audio rejected: the master has no Opus"],
    ..PION
};

const WEBRTCBIN: Reads = Reads {
    audio: "111 opus stereo",
    video: "102 H264 42c01f/1 sets 23+4, 103 rtx 102",
    ssrcs: ("2745610033", "3221873456+899072144"),
    feedback: "nack transport-cc",
    transports: &["PfcOmMUEAa5mOlTZgSMwRPbLuAbtBqGd active sha-256 0"],
    ..CHROMIUM
};

const C_SDK: Reads = Reads {
    video: "102 H264 42e01f/1",
    ssrcs: ("1743019002", "2163894770"),
    transports: &["hFRm active sha-256 3"],
    ..CHROMIUM
};

const NO_VIDEO: &str = "video rejected: the master has no H.264";

/// The answers without an edit.
const AS_THEY_ARE: [(&str, Reads); 7] = [
    ("chromium", CHROMIUM),
    // The fingerprint is the session's, as is a direction that the sections go without.
    ("firefox", FIREFOX),
    // Three hash functions.
    ("aiortc", AIORTC),
    // The fingerprint is the session's; candidates of RTCP, which is multiplexed.
    ("pion", PION),
    // A bare rejected section that holds the candidates.
    ("pion_no_audio", PION_NO_AUDIO),
    // OPUS in capitals, parameter sets in the answer.
    ("webrtcbin", WEBRTCBIN),
    // No extensions, candidates in each section.
    ("c_sdk", C_SDK),
];

type Edit = fn(&str) -> String;

/// Name, the answer it is an edit of, the edit, what is to be read.
#[rustfmt::skip]
const CASES: &[(&str, &str, Edit, Reads)] = &[
    // Rejected sections.
    ("rejected without anything, format 0", "chromium", |sdp| instead_of(sdp, "audio", "m=audio 0 UDP/TLS/RTP/SAVPF 0"),
        Reads { audio: "", ssrcs: ("", CHROMIUM.ssrcs.1), refused: &["audio rejected: the master has no Opus"], ..CHROMIUM }),
    ("rejected with a format that has no rtpmap", "chromium", |sdp| instead_of(sdp, "video", "m=video 0 UDP/TLS/RTP/SAVPF 96\na=mid:1\na=inactive"),
        Reads { video: "", refused: &[NO_VIDEO], ..CHROMIUM }),
    ("rejected with stale ICE credentials and candidates", "c_sdk",
        |sdp| in_section(&sdp.replacen("m=audio 9", "m=audio 0", 1), "audio", |section| section.replace("ice-ufrag:hFRm", "ice-ufrag:old1").replace("192.0.2.20", "192.0.2.99")),
        Reads { audio: "", ssrcs: ("", C_SDK.ssrcs.1), refused: &["audio rejected"], ..C_SDK }),
    ("rejected, and the only section with ICE credentials", "chromium",
        |sdp| in_section(&sdp.replacen("m=audio 9", "m=audio 0", 1), "video", |section| without(&without(&without(section, "a=ice"), "a=fingerprint"), "a=setup")),
        Reads { audio: "", ssrcs: ("", CHROMIUM.ssrcs.1), refused: &["audio rejected"], ..CHROMIUM }),
    ("rejected section without a mid, the other with one", "chromium", |sdp| in_section(&sdp.replacen("m=audio 9", "m=audio 0", 1), "audio", |section| without(section, "a=mid")),
        Reads { audio: "", ssrcs: ("", CHROMIUM.ssrcs.1), refused: &["audio rejected"], ..CHROMIUM }),
    ("port 0 with bundle-only is not rejected", "chromium", |sdp| with(&sdp.replacen("m=video 9", "m=video 0", 1), "video", "a=bundle-only"), CHROMIUM),
    ("a port with a number of ports", "chromium", |sdp| sdp.replacen("m=video 9 ", "m=video 9/1 ", 1), CHROMIUM),
    ("plain RTP/SAVPF as the protocol", "chromium", |sdp| sdp.replace("UDP/TLS/RTP/SAVPF", "RTP/SAVPF"), CHROMIUM),

    // Mids and the order of sections.
    ("no mids at all", "chromium", |sdp| without(sdp, "a=mid"), CHROMIUM),
    ("no mids, no group", "chromium", |sdp| without(&without(sdp, "a=mid"), "a=group"),
        Reads { on: (0, 1), transports: &["G6OK active sha-256 0", "G6OK active sha-256 0"], ..CHROMIUM }),
    ("foreign mids, which the group names", "chromium", |sdp| sdp.replace("a=mid:0", "a=mid:audio").replace("a=mid:1", "a=mid:video").replace("BUNDLE 0 1", "BUNDLE audio video"), CHROMIUM),
    ("mids counted from one", "chromium", |sdp| sdp.replace("a=mid:1", "a=mid:2").replace("a=mid:0", "a=mid:1").replace("BUNDLE 0 1", "BUNDLE 1 2"), CHROMIUM),
    ("the same mid twice", "chromium", |sdp| sdp.replace("a=mid:1", "a=mid:0"), CHROMIUM),
    ("sections in another order, by mid", "chromium",
        |sdp| { let video = sdp.find("m=video").unwrap(); let audio = sdp.find("m=audio").unwrap(); format!("{}{}{}", &sdp[..audio], &sdp[video..], &sdp[audio..video]) }, CHROMIUM),
    ("the audio section left out, no mids", "chromium", |sdp| without(&instead_of(sdp, "audio", ""), "a=mid"),
        Reads { audio: "", ssrcs: ("", CHROMIUM.ssrcs.1), refused: &["audio: the answer has no section for it"], ..CHROMIUM }),
    ("the video section left out", "chromium", |sdp| instead_of(sdp, "video", ""),
        Reads { video: "", refused: &["video: the answer has no section for it"], ..CHROMIUM }),
    ("a data channel that nobody offered", "chromium", |sdp| format!("{sdp}m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:2\r\na=sctp-port:5000\r\n"),
        Reads { left_out: &["section 3 (application): not offered"], ..CHROMIUM }),
    ("a second video section", "chromium", |sdp| format!("{sdp}m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:2\r\na=rtpmap:96 VP8/90000\r\n"),
        Reads { left_out: &["section 3 (video): not offered"], ..CHROMIUM }),
    ("a section of another kind in the place of audio", "chromium", |sdp| instead_of(sdp, "audio", "m=text 9 RTP/AVP 98\na=mid:0"),
        Reads { audio: "", ssrcs: ("", CHROMIUM.ssrcs.1), refused: &["audio: the answer has no section"], left_out: &["section 1 (text)"], ..CHROMIUM }),

    // Directions.
    ("no directions: sendrecv", "chromium", |sdp| without(sdp, "a=sendonly"), CHROMIUM),
    ("sendrecv", "chromium", |sdp| sdp.replace("a=sendonly", "a=sendrecv"), CHROMIUM),
    ("direction of the session for all sections", "chromium", |sdp| at_session(&without(sdp, "a=sendonly"), "a=sendonly"), CHROMIUM),
    ("session inactive, one section sends", "chromium", |sdp| at_session(&in_section(sdp, "audio", |section| without(section, "a=sendonly")), "a=inactive"),
        Reads { audio: "", ssrcs: ("", CHROMIUM.ssrcs.1), refused: &["audio is inactive: the master has none, or no Opus"], ..CHROMIUM }),
    ("video inactive: the C SDK without H.264", "c_sdk", |sdp| in_section(sdp, "video", |section| section.replace("a=sendonly", "a=inactive")),
        Reads { video: "", refused: &["video is inactive: the master has none, or no H.264"], ..C_SDK }),
    ("audio recvonly: the master wants ours", "chromium", |sdp| in_section(sdp, "audio", |section| section.replace("a=sendonly", "a=recvonly")),
        Reads { audio: "", ssrcs: ("", CHROMIUM.ssrcs.1), refused: &["audio is recvonly"], ..CHROMIUM }),
    ("a direction without a name, as the C SDK writes", "c_sdk", |sdp| sdp.replace("a=sendonly", "a="),
        Reads { left_out: &["line 24: attribute without a name", "line 47: attribute without a name"], ..C_SDK }),
    ("two directions, one of which sends", "chromium", |sdp| sdp.replace("a=sendonly", "a=inactive\r\na=sendonly"), CHROMIUM),

    // Streams.
    ("no ssrc and no msid", "chromium", |sdp| without(&without(sdp, "a=ssrc"), "a=msid"), Reads { ssrcs: ("", ""), ..CHROMIUM }),
    ("an SSRC that is no number", "chromium", |sdp| sdp.replace("a=ssrc:3699399837", "a=ssrc:0xdcadbeef"), Reads { ssrcs: ("", CHROMIUM.ssrcs.1), ..CHROMIUM }),
    ("a group of two media streams", "chromium", |sdp| sdp.replace("ssrc-group:FID", "ssrc-group:SIM"),
        Reads { ssrcs: (CHROMIUM.ssrcs.0, "3383930909 3899793152"), ..CHROMIUM }),
    ("an FID group without ssrc lines", "chromium", |sdp| without(sdp, "a=ssrc:"), Reads { ssrcs: ("", "+3899793152"), ..CHROMIUM }),

    // ICE.
    ("ICE credentials of the session", "chromium", |sdp| at_session(&without(&without(sdp, "a=ice-ufrag"), "a=ice-pwd"), "a=ice-ufrag:sess\na=ice-pwd:abcdefghijklmnopqrstuvwx"),
        Reads { transports: &["sess active sha-256 0"], ..CHROMIUM }),
    ("ICE credentials in the first section only", "chromium", |sdp| in_section(sdp, "video", |section| without(section, "a=ice-")), CHROMIUM),
    ("no group, ICE credentials in the second section only", "chromium", |sdp| without(&in_section(sdp, "audio", |section| without(section, "a=ice-")), "a=group"), CHROMIUM),
    ("no group, the same credentials", "chromium", |sdp| without(sdp, "a=group"),
        Reads { on: (0, 1), transports: &["G6OK active sha-256 0", "G6OK active sha-256 0"], ..CHROMIUM }),
    ("no group, credentials of their own: webrtcbin with bundle-policy none", "webrtcbin",
        |sdp| without(&in_section(sdp, "video", |section| section.replace("a=ice-ufrag:Pfc", "a=ice-ufrag:Vid")), "a=group"),
        Reads { on: (0, 1), transports: &["PfcOmMUEAa5mOlTZgSMwRPbLuAbtBqGd active sha-256 0", "VidOmMUEAa5mOlTZgSMwRPbLuAbtBqGd active sha-256 0"], ..WEBRTCBIN }),
    ("a group, credentials of their own: the first counts", "webrtcbin", |sdp| in_section(sdp, "video", |section| section.replace("a=ice-ufrag:Pfc", "a=ice-ufrag:Vid")),
        Reads { left_out: &["ICE credentials of sections bundled with 0"], ..WEBRTCBIN }),
    ("a group that begins with the second section", "webrtcbin", |sdp| in_section(sdp, "video", |section| section.replace("a=ice-ufrag:Pfc", "a=ice-ufrag:Vid")).replace("BUNDLE 0 1", "BUNDLE 1 0"),
        Reads { transports: &["VidOmMUEAa5mOlTZgSMwRPbLuAbtBqGd active sha-256 0"], left_out: &["ICE credentials of sections bundled with 1"], ..WEBRTCBIN }),
    ("a group of one of two sections, credentials of their own", "webrtcbin",
        |sdp| in_section(sdp, "video", |section| section.replace("a=ice-ufrag:Pfc", "a=ice-ufrag:Vid")).replace("BUNDLE 0 1", "BUNDLE 0"),
        Reads { on: (0, 1), transports: &["PfcOmMUEAa5mOlTZgSMwRPbLuAbtBqGd active sha-256 0", "VidOmMUEAa5mOlTZgSMwRPbLuAbtBqGd active sha-256 0"], ..WEBRTCBIN }),
    ("a group of mids that are nowhere", "chromium", |sdp| sdp.replace("BUNDLE 0 1", "BUNDLE sdparta_0 sdparta_1"), CHROMIUM),
    ("bundle in small letters, a group of another kind before it", "chromium", |sdp| sdp.replace("a=group:BUNDLE", "a=group:LS 0 1\r\na=group:bundle"), CHROMIUM),
    ("no group, candidates of each section on its transport", "c_sdk",
        |sdp| without(&in_section(sdp, "video", |section| section.replace("ufrag:hFRm", "ufrag:vidF").replace(" 46190 ", " 46191 ")), "a=group"),
        Reads { on: (0, 1), transports: &["hFRm active sha-256 3", "vidF active sha-256 3"], ..C_SDK }),
    ("no group, an inactive section before: its candidates stay its own, behind the same credentials", "c_sdk",
        |sdp| without(&in_section(sdp, "audio", |section| section.replace("a=sendonly", "a=inactive").replace(" 46190 ", " 46191 ")), "a=group"),
        Reads { audio: "", ssrcs: ("", C_SDK.ssrcs.1), refused: &["audio is inactive: the master has none, or no Opus"],
            transports: &["hFRm active sha-256 3", "hFRm active sha-256 3"], ..C_SDK }),
    ("ice-lite and the end of candidates", "aiortc", |sdp| at_session(sdp, "a=ice-lite"), Reads { transports: &["69qY lite active sha-256 sha-384 sha-512 2"], ..AIORTC }),

    // Candidates.
    ("candidates with a host name and an mDNS name", "pion",
        |sdp| with(sdp, "audio", "a=candidate:1 1 udp 2113937151 camera.example.com 5000 typ host\na=candidate:1 1 udp 2113937151 9b36eaac-bb2e-49bb-bb78-21c41c499900.local 5000 typ host"),
        Reads { left_out: &["component 2", "host name camera.example.com", "mDNS name"], ..PION }),
    ("a candidate with a zone id", "pion", |sdp| with(sdp, "audio", "a=candidate:1 1 udp 2113937151 fe80::1%eth0 5000 typ host"),
        Reads { transports: &["fxwUoRFHxAtyRTdW active sha-256 3"], ..PION }),
    ("candidates over TCP and SSL", "pion", |sdp| with(sdp, "video", "a=candidate:1 1 tcp 1518280447 192.0.2.2 9 typ host tcptype active\na=candidate:1 1 ssltcp 1 192.0.2.2 443 typ relay raddr 0.0.0.0 rport 0"),
        Reads { left_out: &["component 2", "over tcp", "over ssltcp"], ..PION }),
    ("candidates with odd priorities, ports and types", "pion",
        |sdp| with(sdp, "video", "a=candidate:1 1 udp -1 192.0.2.2 5000 typ host\na=candidate:1 1 udp 1 192.0.2.2 0 typ host\na=candidate:1 1 udp 1 192.0.2.2 5000 typ odd\na=candidate:"),
        Reads { left_out: &["component 2", "priority -1", "port 0", "type odd", "end of candidates"], ..PION }),
    ("the candidates of every section, numbered otherwise", "c_sdk", |sdp| in_section(sdp, "video", |section| section.replace("candidate:0 1", "candidate:77 1").replace("cost 999", "cost 10")), C_SDK),
    ("candidates of the session", "chromium", |sdp| at_session(sdp, "a=candidate:1 1 UDP 2113937151 192.0.2.2 5000 typ host"), Reads { transports: &["G6OK active sha-256 1"], ..CHROMIUM }),

    // DTLS.
    ("SHA-256 in capitals, digits in small letters", "chromium",
        |sdp| sdp.split_inclusive('\n').map(|line| match line.strip_prefix("a=fingerprint:sha-256 ") { Some(digits) => format!("a=fingerprint:SHA-256 {}", digits.to_lowercase()), None => line.to_owned() }).collect(), CHROMIUM),
    ("fingerprint and role of the session", "chromium",
        |sdp| at_session(&without(&without(sdp, "a=fingerprint"), "a=setup"), &format!("a=setup:passive\na=fingerprint:sha-384 {}", ["0f"; 48].join(":"))),
        Reads { transports: &["G6OK passive sha-384 0"], ..CHROMIUM }),
    ("sha-512 first, md5 and sha-1 beside it", "aiortc", |sdp| without(&sdp.replace("a=fingerprint:sha-256", "a=fingerprint:md5 00:11\r\na=fingerprint:sha-1 22\r\na=fingerprint:sha-256"), "a=fingerprint:sha-384"),
        Reads { transports: &["69qY active sha-256 sha-512 2"], left_out: &["fingerprint of md5", "fingerprint of sha-1"], ..AIORTC }),
    ("a fingerprint in one section only", "chromium", |sdp| in_section(sdp, "audio", |section| without(section, "a=fingerprint")), CHROMIUM),
    ("a fingerprint of its own in each section of one transport: either will do", "chromium",
        |sdp| in_section(sdp, "video", |section| format!("{}a=fingerprint:sha-512 {}\r\n", without(section, "a=fingerprint"), ["0f"; 64].join(":"))),
        Reads { transports: &["G6OK active sha-256 sha-512 0"], ..CHROMIUM }),
    ("a digest that is too short, a good one of the session", "pion", |sdp| with(sdp, "audio", "a=fingerprint:sha-256 00:11:22"),
        Reads { left_out: &["has not 32 bytes", "component 2"], ..PION }),
    ("passive", "chromium", |sdp| sdp.replace("setup:active", "setup:passive"), Reads { transports: &["G6OK passive sha-256 0"], ..CHROMIUM }),
    ("actpass, which no answer may have", "chromium", |sdp| sdp.replace("setup:active", "setup:actpass"), Reads { left_out: &["setup:actpass, taken for active"], ..CHROMIUM }),
    ("holdconn", "chromium", |sdp| sdp.replace("setup:active", "setup:holdconn"), Reads { left_out: &["setup:holdconn, taken for active"], ..CHROMIUM }),
    ("no setup", "chromium", |sdp| without(sdp, "a=setup"), CHROMIUM),

    // Formats.
    ("H.264 without fmtp: baseline, mode 0", "c_sdk", |sdp| in_section(sdp, "video", |section| without(section, "a=fmtp")), Reads { video: "102 H264 420010/0", ..C_SDK }),
    ("H.264 in mode 0 only", "c_sdk", |sdp| sdp.replace("packetization-mode=1", "packetization-mode=0"), Reads { video: "102 H264 42e01f/0", ..C_SDK }),
    ("H.264 of a profile that was not offered", "c_sdk", |sdp| sdp.replace("42e01f", "7A0034"), Reads { video: "102 H264 7a0034/1", ..C_SDK }),
    ("a profile that is none", "c_sdk", |sdp| sdp.replace("42e01f", "baseline"), Reads { video: "102 H264 420010/1", left_out: &["profile-level-id=baseline"], ..C_SDK }),
    ("fmtp with blanks and capitals", "c_sdk", |sdp| sdp.replace("level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f", " level-asymmetry-allowed=1; Packetization-Mode = 1 ; PROFILE-LEVEL-ID=42E01F"), C_SDK),
    ("codec names in any case", "chromium", |sdp| sdp.replace("H264/", "h264/").replace("opus/", "OpUs/").replace("rtx/", "RTX/"), CHROMIUM),
    ("clock rate and channels missing", "chromium", |sdp| sdp.replace("opus/48000/2", "opus").replace("H264/90000", "H264"), CHROMIUM),
    ("an odd clock rate and one channel", "chromium", |sdp| sdp.replace("opus/48000/2", "opus/16000/1"), CHROMIUM),
    ("formats without rtpmap: what was offered", "c_sdk", |sdp| without(sdp, "a=rtpmap"), Reads { left_out: &["audio 111 without rtpmap", "video 102 without rtpmap"], ..C_SDK }),
    ("own payload types", "aiortc", |sdp| renumbered(&renumbered(&renumbered(sdp, 102, 96), 103, 97), 111, 109),
        Reads { audio: "109 opus, 111 opus", video: "96 H264 42e01f/1, 97 rtx 96, 102 H264 42e01f/1, 103 rtx 102", ..AIORTC }),
    ("own payload types, H.264 where RTX was offered", "pion", |sdp| renumbered(sdp, 102, 103), Reads { video: "103 H264 42e01f/1, 102 H264 42e01f/1", ..PION }),
    ("own payload types, of a profile that was not offered", "pion", |sdp| renumbered(sdp, 102, 96).replace("42e01f", "420029"),
        Reads { video: "96 H264 420029/1, 104 H264 640032/1, 106 H264 4d001f/1, 102 H264 42e01f/1, 105 rtx 104, 107 rtx 106, 103 rtx 102", ..PION }),
    ("own payload type for opus, 111 is something else", "chromium", |sdp| with(&sdp.replace("SAVPF 111", "SAVPF 96 111").replace("rtpmap:111 opus", "rtpmap:96 opus"), "audio", "a=rtpmap:111 telephone-event/8000"),
        Reads { audio: "96 opus", ..CHROMIUM }),
    ("the list of payload types damaged", "chromium", |sdp| sdp.replace("SAVPF 106 107 102 103", "SAVPF 0"), Reads { left_out: &["the payload types of the m=video line"], ..CHROMIUM }),
    ("RTX without apt, and of a codec that is not there", "chromium", |sdp| with(&sdp.replace("apt=106", "rtx-time=3000").replace("SAVPF 106", "SAVPF 98 106"), "video", "a=rtpmap:98 rtx/90000\na=fmtp:98 apt=96"), CHROMIUM),
    ("VP8 beside H.264", "pion", |sdp| with(&sdp.replace("SAVPF 102", "SAVPF 96 102"), "video", "a=rtpmap:96 VP8/90000"), PION),
    ("VP8 only", "pion", |sdp| in_section(sdp, "video", |section| section.replace("H264/", "VP8/")),
        Reads { video: "", refused: &["video answered with VP8 only"], ..PION }),
    ("interleaved H.264 only", "pion", |sdp| sdp.replace("packetization-mode=1", "packetization-mode=2"),
        Reads { video: "", refused: &["video answered with H264 with packetization-mode=2 only"], left_out: &["packetization-mode=2 (interleaved)", "component 2"], ..PION }),
    ("PCMU and telephone events only", "pion", |sdp| in_section(sdp, "audio", |section| without(&without(section, "a=fmtp"), "a=rtpmap").replace("SAVPF 111", "SAVPF 0 101")) + "",
        Reads { audio: "", ssrcs: ("", PION.ssrcs.1), refused: &["audio answered with PCMU, payload type 101 only"], ..PION }),

    // Feedback and extensions.
    ("feedback for all formats", "c_sdk", |sdp| with(&without(sdp, "a=rtcp-fb"), "video", "a=rtcp-fb:* nack\na=rtcp-fb:* transport-cc"), Reads { feedback: "nack transport-cc", ..C_SDK }),
    ("nack pli alone is no nack", "c_sdk", |sdp| without(&without(&without(sdp, "a=rtcp-fb:102 nack\r"), "a=rtcp-fb:102 goog"), "a=rtcp-fb:102 trans"), Reads { feedback: "", ..C_SDK }),
    ("extensions under other ids, with directions", "chromium", |sdp| sdp.replace("a=extmap:1 ", "a=extmap:7/sendonly ").replace("a=extmap:2 ", "a=extmap:3/recvonly "),
        Reads { extensions: ("7 1", "3 2"), ..CHROMIUM }),
    ("extensions that change places", "chromium", |sdp| sdp.replace("a=extmap:1 ", "a=extmap:x ").replace("a=extmap:2 ", "a=extmap:1 ").replace("a=extmap:x ", "a=extmap:2 "),
        Reads { extensions: ("2", "1"), ..CHROMIUM }),
    ("an extension under the id of another", "pion", |sdp| sdp.replace("a=extmap:1 ", "a=extmap:2 "), PION),
    ("an extension of the session, and odd ones", "chromium", |sdp| at_session(&without(sdp, "a=extmap"), "a=extmap:5 urn:ietf:params:rtp-hdrext:sdes:mid\na=extmap:0 urn:x\na=extmap:4096 urn:y"),
        Reads { extensions: ("5 1", "2"), left_out: &["extmap:0 urn:x", "extmap:4096 urn:y"], ..CHROMIUM }),
    ("no rtcp-mux", "chromium", |sdp| without(sdp, "a=rtcp-mux"), Reads { left_out: &["audio without rtcp-mux", "video without rtcp-mux"], ..CHROMIUM }),

    // Text.
    ("LF", "chromium", |sdp| sdp.replace('\r', ""), CHROMIUM),
    ("CR", "chromium", |sdp| sdp.replace('\n', ""), CHROMIUM),
    ("mixed line ends, empty lines", "chromium", |sdp| sdp.replacen("\r\n", "\n", 9).replace("m=video", "\n\r\n\rm=video"), CHROMIUM),
    ("no line end at the end", "chromium", |sdp| sdp.trim_end().to_owned(), CHROMIUM),
    ("blanks around every line", "chromium", |sdp| sdp.split_inclusive('\n').map(|line| format!("  {}\t \r\n", line.trim_end())).collect(), CHROMIUM),
    ("byte order mark, NUL at the end", "chromium", |sdp| format!("\u{feff}{sdp}\0\0"), CHROMIUM),
    ("NUL at the end of every line", "chromium", |sdp| sdp.replace("\r\n", "\0\r\n"), CHROMIUM),
    ("lines in front of v=", "chromium", |sdp| format!("Content-Type: application/sdp\r\n\r\n{sdp}"), Reads { left_out: &["line 1: not a line of SDP"], ..CHROMIUM }),
    ("no v=, o=, s= and t=", "chromium", |sdp| ["v=", "o=", "s=", "t="].iter().fold(sdp.to_owned(), |sdp, start| without(&sdp, start)), CHROMIUM),
    ("trailing rubbish", "chromium", |sdp| format!("{sdp}\r\n--boundary--\r\n}}\r\nm=\r\n"),
        Reads { left_out: &["line 61: not a line of SDP", "line 62: not a line of SDP", "line 63: m= that begins no section"], ..CHROMIUM }),
    ("unknown types of line, attributes without a name", "chromium", |sdp| sdp.replace("a=rtcp-mux\r\n", "a=rtcp-mux\r\nq=1\r\na=:x\r\n"),
        Reads { left_out: &["line 20: not a line", "line 21: attribute without", "line 40: not a line", "line 41: attribute without"], ..CHROMIUM }),
    ("every attribute twice", "chromium", |sdp| sdp.split_inclusive('\n').map(|line| if line.starts_with("a=") { line.repeat(2) } else { line.to_owned() }).collect(), CHROMIUM),
    ("attribute names in capitals", "chromium",
        |sdp| sdp.split_inclusive('\n').map(|line| match line.strip_prefix("a=").map(|line| line.split_once(':').unwrap_or((line.trim_end(), ""))) { Some((name, "")) => format!("a={}\r\n", name.to_uppercase()), Some((name, value)) => format!("a={}:{value}", name.to_uppercase()), None => line.to_owned() }).collect(), CHROMIUM),
    ("a blank behind each colon", "chromium",
        |sdp| sdp.split_inclusive('\n').map(|line| if line.starts_with("a=") { line.replacen(':', ": ", 1) } else { line.to_owned() }).collect(), CHROMIUM),
    ("the m= line of video lost", "chromium", |sdp| without(sdp, "m=video"),
        Reads { video: "", refused: &["video: the answer has no section"], left_out: &["all behind a second mid in section 0"], ..CHROMIUM }),
];

fn formats(section: &AcceptedSection) -> String {
    let words = section.formats.iter().map(|format| {
        let codec = match &format.codec {
            Codec::H264(H264Parameters { profile_level_id, packetization_mode, parameter_sets }) => {
                let sets: Vec<String> = parameter_sets.iter().map(|set| set.len().to_string()).collect();
                let sets = if sets.is_empty() { String::new() } else { format!(" sets {}", sets.join("+")) };
                format!("H264 {profile_level_id}/{packetization_mode}{sets}")
            }
            Codec::Opus { stereo } => format!("opus{}", if *stereo { " stereo" } else { "" }),
            Codec::Rtx { apt } => format!("rtx {apt}"),
            other @ (Codec::H265(_) | Codec::Pcmu | Codec::Pcma) => panic!("{other:?} was not offered"),
        };
        format!("{} {codec}", format.payload_type)
    });
    words.collect::<Vec<_>>().join(", ")
}

fn ssrcs(section: &AcceptedSection) -> String {
    let media: Vec<String> = section.ssrcs.iter().map(u32::to_string).collect();
    section.rtx_ssrcs.iter().fold(media.join(" "), |media, (_, rtx)| format!("{media}+{rtx}"))
}

fn feedback(section: &AcceptedSection) -> String {
    let all = [(section.nack, "nack"), (section.transport_cc, "transport-cc"), (section.remb, "goog-remb")];
    all.into_iter().filter(|(has, _)| *has).map(|(_, name)| name).collect::<Vec<_>>().join(" ")
}

fn extension(section: &AcceptedSection, uri: &str) -> String {
    let ids = section.extensions.iter().filter(|extension| extension.uri == uri);
    ids.map(|extension| extension.id.to_string()).collect::<Vec<_>>().join(" ")
}

fn transports(answer: &Answer) -> Vec<String> {
    let words = |transport: &kvs_peer::sdp::RemoteTransport| {
        let mut words = vec![transport.ice_ufrag.clone()];
        if transport.ice_lite {
            words.push("lite".to_owned());
        }
        words.push(match transport.setup {
            Setup::Active => "active".to_owned(),
            Setup::Passive => "passive".to_owned(),
        });
        words.extend(transport.fingerprints.iter().map(|fingerprint| {
            let (name, length) = match fingerprint.algorithm {
                HashAlgorithm::Sha256 => ("sha-256", 32),
                HashAlgorithm::Sha384 => ("sha-384", 48),
                HashAlgorithm::Sha512 => ("sha-512", 64),
            };
            assert_eq!(fingerprint.digest.len(), length);
            name.to_owned()
        }));
        words.push(transport.candidates.len().to_string());
        words.join(" ")
    };
    answer.transports.iter().map(words).collect()
}

fn says(found: &[String], wanted: &[&str]) -> bool {
    found.len() == wanted.len() && found.iter().zip(wanted).all(|(found, wanted)| found.contains(wanted))
}

/// What differs.
fn compare(answer: &Answer, reads: &Reads) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut check = |what: &str, found: String, wanted: &str| {
        if found != wanted {
            wrong.push(format!("{what}: {found:?} instead of {wanted:?}"));
        }
    };
    let text = |section: Option<&AcceptedSection>, words: &dyn Fn(&AcceptedSection) -> String| {
        section.map(words).unwrap_or_default()
    };
    let (audio, video) = (answer.section(MediaKind::Audio), answer.section(MediaKind::Video));
    check("audio", text(audio, &formats), reads.audio);
    check("video", text(video, &formats), reads.video);
    check("ssrcs of audio", text(audio, &ssrcs), reads.ssrcs.0);
    if let Some(video) = video {
        check("ssrcs of video", ssrcs(video), reads.ssrcs.1);
        check("feedback", feedback(video), reads.feedback);
        check("mid extension", extension(video, MID), reads.extensions.0);
        check("transport-cc extension", extension(video, TRANSPORT_CC), reads.extensions.1);
    }
    let on = |section: Option<&AcceptedSection>, wanted: usize| {
        section.map_or(wanted, |section| section.transport)
    };
    check("on", format!("{:?}", (on(audio, reads.on.0), on(video, reads.on.1))), &format!("{:?}", reads.on));
    check("transports", format!("{:?}", transports(answer)), &format!("{:?}", reads.transports));
    if !says(&answer.refused, reads.refused) {
        wrong.push(format!("refused: {:?} instead of {:?}", answer.refused, reads.refused));
    }
    if !says(&answer.left_out, reads.left_out) {
        wrong.push(format!("left out: {:?} instead of {:?}", answer.left_out, reads.left_out));
    }
    wrong
}

#[test]
fn answers_of_the_world_are_read() {
    let mut wrong = Vec::new();
    let mut read = |name: &str, sdp: &str, reads: &Reads| match read_answer(&offer(), None, sdp) {
        Ok(answer) => wrong.extend(compare(&answer, reads).into_iter().map(|what| format!("{name}: {what}"))),
        Err(error) => wrong.push(format!("{name}: {error}")),
    };
    for (name, reads) in AS_THEY_ARE {
        read(name, &base(name), &reads);
    }
    for (name, base_name, edit, reads) in CASES {
        let sdp = edit(&base(base_name));
        // An edit that changes nothing proves nothing.
        assert_ne!(sdp, base(base_name), "{name}");
        read(name, &sdp, reads);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Name, the answer it is an edit of, the edit, words of the error.
#[rustfmt::skip]
const REFUSED: &[(&str, &str, Edit, &str)] = &[
    ("nothing", "chromium", |_| String::new(), "is not SDP"),
    ("words", "chromium", |_| "hello".to_owned(), "is not SDP"),
    ("a session without sections", "chromium", |sdp| sdp[..sdp.find("m=").unwrap()].to_owned(), "is not SDP"),
    ("both rejected", "chromium", |sdp| sdp.replace("m=audio 9", "m=audio 0").replace("m=video 9", "m=video 0"), "audio rejected: the master has no Opus to send; video rejected: the master has no H.264 to send (VP8 and VP9 cannot be stored)"),
    ("VP8 alone", "pion_no_audio", |sdp| sdp.replace("H264/", "VP8/"), "video answered with VP8 only. The agent receives H.264 and Opus"),
    ("sections that were not offered", "chromium", |sdp| sdp.replace("m=audio", "m=text").replace("m=video", "m=application"), "the answer has no section for it"),
    ("no user fragment", "chromium", |sdp| without(sdp, "a=ice-ufrag"), "no usable ICE user fragment"),
    ("no password", "chromium", |sdp| without(sdp, "a=ice-pwd"), "no usable ICE password"),
    ("no fingerprint", "chromium", |sdp| without(sdp, "a=fingerprint"), "no usable certificate fingerprint (a=fingerprint)"),
    ("md5 only", "pion", |sdp| sdp.replace("a=fingerprint:sha-256", "a=fingerprint:md5"), "(a=fingerprint), only a fingerprint of md5"),
    ("more than is read", "chromium", |sdp| format!("{sdp}{}", "a=x\r\n".repeat(MAX_ANSWER / 5)), "more than the 65536"),
];

#[test]
fn answers_of_which_nothing_can_come_say_why() {
    for (name, base_name, edit, why) in REFUSED {
        let error = read_answer(&offer(), None, &edit(&base(base_name))).unwrap_err().to_string();
        assert!(error.contains(why), "{name}: {error}");
    }
}

/// A master that sends what it was not asked for is told apart from one that sends nothing.
#[test]
fn a_codec_that_was_not_offered_is_not_accepted() {
    let sdp = base("chromium");
    for (kind, name) in [(MediaKind::Video, "H264"), (MediaKind::Audio, "opus")] {
        let mut offered = offer();
        let section = offered.iter_mut().find(|section| section.kind == kind).unwrap();
        section.formats.clear();
        let answer = read_answer(&offered, None, &sdp).unwrap();
        assert!(answer.section(kind).is_none(), "{answer:?}");
        let said = format!("{} answered with {name}", kind.as_str());
        assert!(answer.refused.iter().any(|refused| refused.contains(&said)), "{:?}", answer.refused);
    }
}

#[test]
fn other_mids_are_told() {
    let sdp = base("chromium").replace("a=mid:1", "a=mid:video0");
    let answer = read_answer(&offer(), None, &sdp).unwrap();
    let mids: Vec<_> = answer
        .sections
        .iter()
        .map(|section| (section.mid.as_str(), section.answered_mid.as_deref()))
        .collect();
    assert_eq!(mids, [("0", None), ("1", Some("video0"))]);
}

#[test]
fn what_is_read_and_said_is_bounded() {
    let mut sdp = base("pion");
    for number in 0..400 {
        sdp.push_str(&format!(
            "a=candidate:{number} 1 udp 1 198.51.100.{} {} typ host\r\n",
            number % 200,
            number + 1
        ));
        sdp.push_str(&format!("rubbish {number}\r\na=ssrc:{number} cname:x\r\n"));
    }
    for _ in 0..100 {
        sdp.push_str("m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=rtpmap:111 opus/48000/2\r\n");
    }
    let answer = read_answer(&offer(), None, &sdp).unwrap();
    assert_eq!(answer.transports[0].candidates.len(), 100);
    assert_eq!(answer.sections[1].ssrcs.len(), 64);
    assert_eq!(answer.left_out.len(), 21);
    assert!(answer.left_out[20].starts_with("and "), "{:?}", answer.left_out);
}

/// The section for data channels, as masters write it, in front of which the sections of the media stay what they are.
#[test]
fn data_channels_are_read_in_every_shape() {
    let plain = read_answer(&offer(), None, &base("chromium")).unwrap();
    let credentials = "a=ice-ufrag:data\r\na=ice-pwd:a-password-of-its-own\r\na=setup:active\r\n";
    let new = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n";
    let old = "m=application 9 DTLS/SCTP 5001\r\n";
    for (name, section, expected) in [
        ("new", format!("{new}a=mid:2\r\na=sctp-port:5000\r\n"), Some((0, 5000))),
        (
            "another port",
            format!("{new}a=mid:2\r\na=sctp-port:6000\r\na=max-message-size:0\r\n"),
            Some((0, 6000)),
        ),
        ("no port", format!("{new}a=mid:2\r\n"), Some((0, 5000))),
        ("no port that is one", format!("{new}a=mid:2\r\na=sctp-port:0\r\n"), Some((0, 5000))),
        ("drafts", format!("{old}a=mid:2\r\na=sctpmap:5001 webrtc-datachannel 1024\r\n"), Some((0, 5001))),
        ("drafts, in brief", format!("{old}a=mid:2\r\n"), Some((0, 5001))),
        ("another mid", format!("{new}a=mid:data\r\n"), Some((0, 5000))),
        ("no mid", new.to_owned(), Some((0, 5000))),
        ("rejected", new.replace(" 9 ", " 0 "), None),
        ("missing", String::new(), None),
    ] {
        let sdp = base("chromium").replace("BUNDLE 0 1", "BUNDLE 0 1 2 data") + &section;
        let answer = read_answer(&offer(), Some("2"), &sdp).unwrap();
        let found = answer.data.map(|data| (data.transport, data.sctp_port));
        assert_eq!(found, expected, "{name}: {answer:?}");
        assert_eq!((&answer.sections, answer.transports.len()), (&plain.sections, 1), "{name}");
        assert_eq!(answer.by_section.len(), 3, "{name}");
        let refused = answer.refused.iter().any(|why| why.contains("data channels"));
        assert_eq!(refused, expected.is_none(), "{name}: {:?}", answer.refused);
        // Who did not ask for it says so.
        let unasked = read_answer(&offer(), None, &sdp).unwrap();
        assert_eq!((unasked.data, &unasked.sections), (None, &plain.sections), "{name}");
        assert_eq!(unasked.left_out.iter().any(|line| line.contains("not offered")), !section.is_empty());
    }
    // In front of the others, and without BUNDLE: a transport of its own.
    let sdp = base("chromium");
    let (session, media) = sdp.split_at(sdp.find("m=").unwrap());
    let sdp =
        format!("{}{new}a=mid:2\r\n{credentials}{media}", session.replace("a=group:BUNDLE 0 1\r\n", ""));
    let answer = read_answer(&offer(), Some("2"), &sdp).unwrap();
    let data = answer.data.unwrap();
    assert_eq!(answer.transports[data.transport].ice_ufrag, "data");
    assert!(answer.sections.iter().all(|section| section.transport != data.transport));
    assert_eq!(answer.by_section[2], Some(data.transport));
}
