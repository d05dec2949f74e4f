//! Ways in which masters of the world write what ours writes plainly. All of them mean the same.

/// A way of writing an answer.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub name: &'static str,
    /// What the master is given for the viewer's offer: with numbers or names of its own in it, it answers and sends with
    /// those.
    pub offer: fn(&str) -> String,
    /// What it sends for its answer.
    pub answer: fn(&str) -> String,
    /// False when the shape leaves no room for sound.
    pub has_audio: bool,
}

impl Default for Shape {
    fn default() -> Self {
        PLAIN
    }
}

const PLAIN: Shape = Shape { name: "plain", offer: same, answer: same, has_audio: true };

const fn answer(name: &'static str, answer: fn(&str) -> String) -> Shape {
    Shape { name, answer, ..PLAIN }
}

const fn offer(name: &'static str, offer: fn(&str) -> String) -> Shape {
    Shape { name, offer, ..PLAIN }
}

const fn video_only(name: &'static str, answer: fn(&str) -> String) -> Shape {
    Shape { name, answer, has_audio: false, ..PLAIN }
}

/// Names are fit for channels and streams.
#[rustfmt::skip]
pub const SHAPES: &[Shape] = &[
    PLAIN,
    // Text.
    answer("line-feeds", |sdp| sdp.replace('\r', "")),
    answer("carriage-returns", |sdp| sdp.replace('\n', "")),
    answer("blanks-mark-and-nul", |sdp| format!("\u{feff}{}\0", each_line(sdp, |line| format!(" {line}\t ")))),
    answer("rubbish-behind", |sdp| format!("{sdp}\r\n-- \r\n}}\r\nm=\r\na=\r\n")),
    answer("rubbish-between", |sdp| each_line(sdp, |line| if line.starts_with("a=mid") { format!("{line}\r\na=\r\nq=1\r\na=x:y\r\n\0") } else { line.to_owned() })),
    answer("every-attribute-twice", |sdp| each_line(sdp, |line| if line.starts_with("a=") { format!("{line}\r\n{line}") } else { line.to_owned() })),
    // Sections and mids.
    answer("no-mids", |sdp| without(sdp, &["a=mid"])),
    answer("no-mids-no-group", |sdp| without(sdp, &["a=mid", "a=group"])),
    answer("no-group", |sdp| without(sdp, &["a=group"])),
    answer("other-mids-in-the-answer", other_mids),
    offer("other-mids-in-packets-too", other_mids),
    answer("sections-not-offered", |sdp| format!("{sdp}m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:data\r\na=sctp-port:5000\r\nm=video 0 UDP/TLS/RTP/SAVPF 96\r\n")),
    video_only("rejected-bare", |sdp| audio_section(sdp, |_| "m=audio 0 UDP/TLS/RTP/SAVPF 0\r\n".to_owned())),
    video_only("rejected-without-rtpmap", |sdp| audio_section(sdp, |_| "m=audio 0 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\n".to_owned())),
    video_only("rejected-with-stale-ice", |sdp| audio_section(sdp, |section| {
        let mid: String = section.split_inclusive('\n').filter(|line| line.starts_with("a=mid")).collect();
        let password = "s".repeat(24);
        format!("m=audio 0 UDP/TLS/RTP/SAVPF 111\r\n{mid}a=ice-ufrag:stale\r\na=ice-pwd:{password}\r\na=candidate:1 1 udp 2130706431 127.0.0.1 9 typ host\r\n")
    })),
    video_only("rejected-holds-the-candidates", |sdp| {
        let candidates: String = sdp.split_inclusive('\n').filter(|line| line.starts_with("a=candidate")).collect();
        audio_section(&without(sdp, &["a=candidate"]), |_| format!("m=audio 0 UDP/TLS/RTP/SAVPF 0\r\n{candidates}a=end-of-candidates\r\n"))
    }),
    video_only("missing-section", |sdp| audio_section(sdp, |_| String::new())),
    // Directions and streams.
    answer("no-directions", |sdp| without(sdp, &["a=sendonly"])),
    answer("sendrecv", |sdp| sdp.replace("a=sendonly", "a=sendrecv")),
    answer("direction-of-the-session", |sdp| at_session(&without(sdp, &["a=sendonly"]), "a=sendonly\r\n")),
    answer("no-ssrc-no-msid", |sdp| without(sdp, &["a=ssrc", "a=msid"])),
    answer("other-ssrcs", other_ssrcs),
    // ICE and DTLS.
    answer("candidates-of-no-use", |sdp| at_session(&each_line(sdp, |line| if line.starts_with("a=mid") { format!("{line}{NO_USE}") } else { line.to_owned() }), "a=candidate:\r\n")),
    answer("no-candidates", |sdp| without(sdp, &["a=candidate", "a=end-of-candidates"])),
    answer("ice-of-the-first-section", |sdp| from_second_section(sdp, |rest| without(rest, &["a=ice-", "a=fingerprint", "a=setup", "a=candidate"]))),
    answer("ice-and-dtls-of-the-session", |sdp| {
        let moved = ["a=ice-ufrag", "a=ice-pwd", "a=fingerprint", "a=setup"];
        let first = &sdp[..sdp.rfind("m=").unwrap_or(sdp.len())];
        let lines: String = first.split_inclusive('\n').filter(|line| moved.iter().any(|name| line.starts_with(name))).collect();
        at_session(&without(sdp, &moved), &lines)
    }),
    answer("fingerprint-in-other-case", |sdp| each_line(sdp, |line| match line.strip_prefix("a=fingerprint:sha-256 ") {
        Some(digits) => format!("a=fingerprint:SHA-256 {}", digits.to_lowercase()),
        None => line.to_owned(),
    })),
    answer("md5-before-sha-256", |sdp| sdp.replace("a=fingerprint:", "a=fingerprint:md5 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\na=fingerprint:")),
    offer("dtls-active", active),
    Shape { name: "no-setup", offer: active, answer: |sdp| without(sdp, &["a=setup"]), ..PLAIN },
    Shape { name: "setup-actpass", offer: active, answer: |sdp| sdp.replace("a=setup:active", "a=setup:actpass"), ..PLAIN },
    // Formats, feedback, extensions.
    offer("own-payload-types", |sdp| renumbered(sdp, 13)),
    offer("own-payload-types-of-other-formats", |sdp| renumbered(sdp, 1)),
    answer("own-payload-types-in-the-answer", |sdp| renumbered(sdp, 13)),
    answer("no-rtpmap", |sdp| without(sdp, &["a=rtpmap"])),
    answer("no-fmtp", |sdp| without(sdp, &["a=fmtp"])),
    answer("codecs-in-other-case", |sdp| sdp.replace(" H264/", " h264/").replace(" opus/48000/2", " OPUS/48000")),
    answer("no-feedback-no-mux", |sdp| without(sdp, &["a=rtcp"])),
    answer("no-extensions", |sdp| without(sdp, &["a=extmap"])),
    offer("own-extension-ids", own_extension_ids),
];

const NO_USE: &str = "\r
a=candidate:1 1 udp 2113937151 camera.example.com 5000 typ host\r
a=candidate:2 1 udp 2113937151 9b36eaac-bb2e-49bb-bb78-21c41c499900.local 5000 typ host\r
a=candidate:3 1 udp 2113937151 fe80::1%eth0 5000 typ host\r
a=candidate:4 1 ssltcp 2113937151 127.0.0.1 443 typ host\r
a=candidate:5 1 tcp 1518280447 127.0.0.1 9 typ host tcptype active\r
a=candidate:6 1 udp high 127.0.0.1 5000 typ host\r
a=candidate:7 1 udp 1 127.0.0.1 0 typ host";

fn same(sdp: &str) -> String {
    sdp.to_owned()
}

/// The master waits for no ClientHello, as it would, but sends its own.
fn active(offer: &str) -> String {
    offer.replace("a=setup:actpass", "a=setup:passive")
}

fn each_line(sdp: &str, edit: impl Fn(&str) -> String) -> String {
    sdp.lines().map(|line| format!("{}\r\n", edit(line))).collect()
}

fn without(sdp: &str, starts: &[&str]) -> String {
    sdp.split_inclusive('\n').filter(|line| !starts.iter().any(|start| line.starts_with(start))).collect()
}

fn at_session(sdp: &str, lines: &str) -> String {
    sdp.replacen("m=", &format!("{lines}m="), 1)
}

/// With another audio section.
fn audio_section(sdp: &str, edit: impl Fn(&str) -> String) -> String {
    let mut sections = sections(sdp);
    for section in sections.iter_mut().filter(|section| section.starts_with("m=audio")) {
        *section = edit(section);
    }
    sections.concat()
}

/// With another second section and what follows it.
fn from_second_section(sdp: &str, edit: impl Fn(&str) -> String) -> String {
    let sections = sections(sdp);
    let (first, rest) = sections.split_at(sections.len().min(2));
    format!("{}{}", first.concat(), edit(&rest.concat()))
}

/// The session, then each section.
fn sections(sdp: &str) -> Vec<String> {
    let mut sections = vec![String::new()];
    for line in sdp.split_inclusive('\n') {
        if line.starts_with("m=") {
            sections.push(String::new());
        }
        if let Some(section) = sections.last_mut() {
            section.push_str(line);
        }
    }
    sections
}

fn other_mids(sdp: &str) -> String {
    each_line(sdp, |line| match (line.strip_prefix("a=mid:"), line.strip_prefix("a=group:BUNDLE ")) {
        (Some(mid), _) => format!("a=mid:track{mid}"),
        (_, Some(mids)) => {
            let mids: Vec<String> = mids.split(' ').map(|mid| format!("track{mid}")).collect();
            format!("a=group:BUNDLE {}", mids.join(" "))
        }
        _ => line.to_owned(),
    })
}

/// Those of streams that never come.
fn other_ssrcs(sdp: &str) -> String {
    let other = |word: &str| word.parse::<u32>().map_or(word.to_owned(), |ssrc| (ssrc ^ 0x5555).to_string());
    each_line(sdp, |line| {
        if line.starts_with("a=ssrc-group:") {
            return line.split(' ').map(other).collect::<Vec<_>>().join(" ");
        }
        match line.strip_prefix("a=ssrc:").and_then(|value| value.split_once(' ')) {
            Some((ssrc, rest)) => format!("a=ssrc:{} {rest}", other(ssrc)),
            None => line.to_owned(),
        }
    })
}

/// Every dynamic payload type is so much larger, and begins again at 96 behind 127.
fn renumbered(sdp: &str, by: u8) -> String {
    let other = |word: &str| match word.parse::<u8>() {
        Ok(number @ 96..=127) => (96 + (number - 96 + by) % 32).to_string(),
        _ => word.to_owned(),
    };
    each_line(sdp, |line| {
        if line.starts_with("m=") {
            let words = line.split(' ').enumerate();
            let words: Vec<String> =
                words.map(|(place, word)| if place < 3 { word.to_owned() } else { other(word) }).collect();
            return words.join(" ");
        }
        for name in ["a=rtpmap:", "a=fmtp:", "a=rtcp-fb:"] {
            if let Some((number, rest)) = line.strip_prefix(name).and_then(|value| value.split_once(' ')) {
                let rest = match rest.strip_prefix("apt=") {
                    Some(apt) => format!("apt={}", other(apt)),
                    None => rest.to_owned(),
                };
                return format!("{name}{} {rest}", other(number));
            }
        }
        line.to_owned()
    })
}

/// Ids of 1 to 14, the ones with one byte.
fn own_extension_ids(sdp: &str) -> String {
    each_line(sdp, |line| {
        let extension = line.strip_prefix("a=extmap:").and_then(|value| value.split_once(' '));
        match extension.and_then(|(id, uri)| Some((id.parse::<u8>().ok()?, uri))) {
            Some((id @ 1..=14, uri)) => format!("a=extmap:{} {uri}", (id + 4) % 14 + 1),
            _ => line.to_owned(),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const ANSWER: &str = include_str!("../../../crates/peer/tests/answers/chromium.sdp");

    #[test]
    fn every_shape_is_another_with_a_name_of_its_own() {
        let text = ANSWER
            .replace('\n', "\r\n")
            .replace("a=mid", "a=candidate:1 1 udp 1 127.0.0.1 5 typ host\r\na=mid");
        let names: HashSet<&str> = SHAPES.iter().map(|shape| shape.name).collect();
        assert_eq!(names.len(), SHAPES.len());
        let mut texts = HashSet::new();
        for shape in SHAPES {
            let offer = text.replace("a=setup:active", "a=setup:actpass");
            let written = [(shape.offer)(&offer), (shape.answer)(&text)].concat();
            assert!(texts.insert(written), "{} is as another", shape.name);
            assert!(shape.name.bytes().all(|byte| byte == b'-' || byte.is_ascii_alphanumeric()));
        }
    }

    #[test]
    fn numbers_change_everywhere_and_come_back() {
        let text = ANSWER.replace('\n', "\r\n");
        let other = renumbered(&text, 13);
        assert!(other.contains("SAVPF 119 120 115 116") && other.contains("a=fmtp:120 apt=119"), "{other}");
        assert!(!other.contains(":106 ") && !other.contains("apt=106"));
        assert_eq!(renumbered(&other, 32 - 13), text);
    }
}
