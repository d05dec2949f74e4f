//! What holds for every answer: it is read without harm, harmless edits change nothing, an odd line costs itself.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::collections::HashSet;

use kvs_media::MediaKind;
use kvs_peer::sdp::{AcceptedSection, Answer, AnswerError, Codec, read_answer, usable_candidate};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use support::{BASES, offer};

/// `PROPTEST_CASES`, for a long look.
fn cases(otherwise: u32) -> ProptestConfig {
    let wanted = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig::with_cases(wanted.unwrap_or(otherwise))
}

/// What is read is bounded and fits together; no password is in what is said.
fn is_sound(sdp: &str, read: &Result<Answer, AnswerError>) {
    let (said, passwords): (Vec<&String>, Vec<&String>) = match read {
        Ok(answer) => (
            answer.refused.iter().chain(&answer.left_out).collect(),
            answer.transports.iter().map(|transport| &transport.ice_pwd).collect(),
        ),
        Err(error) => {
            assert!(error.to_string().len() < 2000, "{error}");
            return;
        }
    };
    assert!(said.len() <= 23 && said.iter().all(|entry| entry.len() < 800), "{said:?}");
    assert!(said.iter().all(|entry| entry.is_ascii() && !entry.contains(['\r', '\n', '\0'])), "{said:?}");
    for password in passwords.into_iter().filter(|password| password.len() >= 8) {
        assert!(said.iter().all(|entry| !entry.contains(password.as_str())), "{said:?}");
    }
    let answer = read.as_ref().unwrap();
    assert!(!format!("{answer:?}").contains("ice_pwd"));
    // Sections that send nothing may have one, too: those that send come first.
    assert!((1..=answer.by_section.len()).contains(&answer.transports.len()), "{sdp}");
    let used: HashSet<usize> = answer.by_section.iter().flatten().copied().collect();
    for section in &answer.sections {
        assert!(section.transport < answer.sections.len());
        assert!(answer.by_section.contains(&Some(section.transport)));
        let numbers: HashSet<u8> = section.formats.iter().map(|format| format.payload_type).collect();
        assert_eq!(numbers.len(), section.formats.len(), "a payload type twice");
        let media: HashSet<u8> = section
            .formats
            .iter()
            .filter(|format| !matches!(format.codec, Codec::Rtx { .. }))
            .map(|format| format.payload_type)
            .collect();
        assert!(!media.is_empty() && numbers.iter().all(|number| *number < 128));
        for format in &section.formats {
            if let Codec::Rtx { apt } = format.codec {
                assert!(media.contains(&apt));
            }
        }
        let ids: HashSet<u8> = section.extensions.iter().map(|extension| extension.id).collect();
        assert!(ids.len() == section.extensions.len() && !ids.contains(&0));
        assert!(section.ssrcs.len() <= 64 && section.rtx_ssrcs.len() <= 64);
        assert!(section.rtx_ssrcs.iter().all(|(_, rtx)| !section.ssrcs.contains(rtx)));
    }
    assert_eq!(used.len(), answer.transports.len(), "a transport without a section");
    let candidates: Vec<&String> =
        answer.transports.iter().flat_map(|transport| &transport.candidates).collect();
    assert!(candidates.len() <= 100);
    for candidate in candidates {
        assert_eq!(usable_candidate(candidate).as_ref(), Ok(candidate));
    }
    for transport in &answer.transports {
        assert!(!transport.ice_ufrag.is_empty() && !transport.ice_pwd.is_empty());
        assert!((1..=16).contains(&transport.fingerprints.len()));
    }
}

/// Attributes that are read.
const NAMES: [&str; 19] = [
    "mid",
    "group",
    "ice-ufrag",
    "ice-pwd",
    "fingerprint",
    "setup",
    "candidate",
    "rtpmap",
    "fmtp",
    "rtcp-fb",
    "extmap",
    "ssrc",
    "ssrc-group",
    "sendonly",
    "inactive",
    "recvonly",
    "bundle-only",
    "rtcp-mux",
    "ice-lite",
];

/// Lines that mean something, in any order and with any values.
fn sdp_like() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        3 => (select(&NAMES[..]), "[ -~]{0,40}").prop_map(|(name, value)| format!("a={name}:{value}")),
        3 => (select(&["audio", "video", "text"][..]), 0_u32..12, "( [0-9]{1,3}){0,5}")
            .prop_map(|(media, port, formats)| format!("m={media} {port} UDP/TLS/RTP/SAVPF{formats}")),
        2 => (0_u8..140, select(&["H264/90000", "opus/48000/2", "rtx/90000", "VP8/90000", "0"][..]))
            .prop_map(|(number, codec)| format!("a=rtpmap:{number} {codec}")),
        1 => (0_u8..140, 0_u8..140).prop_map(|(number, apt)| format!("a=fmtp:{number} apt={apt}")),
        1 => Just("a=ice-ufrag:abcd\na=ice-pwd:abcdefghijklmnopqrstuvwx".to_owned()),
        1 => Just(format!("a=fingerprint:sha-256 {}", ["AB"; 32].join(":"))),
        1 => "\\PC{0,40}",
    ];
    vec(line, 0..80).prop_map(|lines| lines.join("\n"))
}

/// An answer with pieces cut out, doubled, or overwritten.
fn damaged() -> impl Strategy<Value = String> {
    let damage =
        (any::<Index>(), any::<Index>(), select(&["", "\0", "\n", "m=", "a=mid:1\n", "9", "\u{20ac}"][..]));
    (select(&BASES[..]), vec(damage, 1..6)).prop_map(|((_, base), damages)| {
        let mut text: Vec<char> = base.chars().collect();
        for (from, to, instead) in damages {
            let (from, to) = (from.index(text.len() + 1), to.index(text.len() + 1));
            // Not most of it.
            let end = to.clamp(from, (from + 60).min(text.len()));
            text.splice(from..end, instead.chars());
        }
        text.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn any_text_is_read_without_harm(sdp in prop_oneof!["\\PC{0,400}", sdp_like(), damaged()]) {
        is_sound(&sdp, &read_answer(&offer(), None, &sdp));
    }

    #[test]
    fn any_candidate_is_read_without_harm(text in "(a=)?(candidate:)?\\PC{0,40}( [ -~]{0,10}){0,12}") {
        if let Ok(candidate) = usable_candidate(&text) {
            prop_assert_eq!(usable_candidate(&candidate), Ok(candidate));
        }
    }
}

/// Without what is only said, and without orders that mean nothing.
fn essence(mut answer: Answer) -> Answer {
    answer.left_out.clear();
    for transport in &mut answer.transports {
        transport.candidates.sort();
        transport.fingerprints.sort_by(|one, other| one.digest.cmp(&other.digest));
    }
    for section in &mut answer.sections {
        section.ssrcs.sort_unstable();
        section.rtx_ssrcs.sort_unstable();
        section.extensions.sort_by_key(|extension| extension.id);
    }
    answer
}

/// Nothing depends on these.
const RUBBISH: [&str; 22] = [
    "",
    "\0",
    "rubbish",
    "q=1",
    "a=",
    "a=:1",
    "a=x-unknown:1",
    "m=",
    "m=video",
    "a=mid:",
    "a=ice-ufrag:",
    "a=ice-pwd:",
    "a=setup:",
    "a=fingerprint:md5 00:11",
    "a=fingerprint:sha-256 00:11",
    "a=candidate:garbled",
    "a=candidate:1 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active",
    "a=candidate:1 1 udp 1 camera.local 9 typ host",
    "a=ssrc:x cname:y",
    "a=rtpmap:x H264/90000",
    "a=extmap:999 urn:x",
    "a=rtcp-fb:",
];

/// Lines that begin so are not read.
const UNREAD: [&str; 9] =
    ["v=", "o=", "s=", "t=", "c=", "a=rtcp:", "a=rtcp-rsize", "a=msid", "a=ice-options"];

#[derive(Clone, Debug)]
enum Edit {
    Rubbish(Index, &'static str),
    DropUnread(Index),
    Twice(Index),
    Capitals(Index),
    Blanks(Index),
    /// Order of the attributes of each section, by these keys.
    Shuffle(Vec<u32>),
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        (any::<Index>(), select(&RUBBISH[..])).prop_map(|(place, line)| Edit::Rubbish(place, line)),
        any::<Index>().prop_map(Edit::DropUnread),
        any::<Index>().prop_map(Edit::Twice),
        any::<Index>().prop_map(Edit::Capitals),
        any::<Index>().prop_map(Edit::Blanks),
        vec(any::<u32>(), 40).prop_map(Edit::Shuffle),
    ]
}

impl Edit {
    fn apply(&self, lines: &mut Vec<String>) {
        match self {
            Edit::Rubbish(place, line) => lines.insert(place.index(lines.len() + 1), (*line).to_owned()),
            Edit::DropUnread(place) => {
                let place = place.index(lines.len());
                if UNREAD.iter().any(|start| lines[place].starts_with(start)) {
                    lines.remove(place);
                }
            }
            Edit::Twice(place) => {
                let place = place.index(lines.len());
                if lines[place].starts_with("a=") {
                    lines.insert(place, lines[place].clone());
                }
            }
            Edit::Capitals(place) => {
                let place = place.index(lines.len());
                let line = &lines[place];
                let free = ["a=rtpmap:", "a=fingerprint:", "a=setup:", "a=send", "a=rtcp-fb:", "a=rtcp-mux"];
                if free.iter().any(|start| line.starts_with(start)) {
                    lines[place] = format!("a={}", line[2..].to_uppercase());
                } else if let Some((name, value)) =
                    line.strip_prefix("a=").and_then(|line| line.split_once(':'))
                {
                    lines[place] = format!("a={}:{value}", name.to_uppercase());
                }
            }
            Edit::Blanks(place) => {
                let place = place.index(lines.len());
                lines[place] = format!(" \t{}  ", lines[place].replacen(':', ": ", 1));
            }
            Edit::Shuffle(keys) => {
                for section in lines.split_mut(|line| line.trim_start().starts_with("m=")) {
                    let mut keyed: Vec<(u32, String)> =
                        keys.iter().cycle().copied().zip(section.iter().cloned()).collect();
                    keyed.sort_by_key(|(key, _)| *key);
                    for (line, (_, sorted)) in section.iter_mut().zip(keyed) {
                        *line = sorted;
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn harmless_edits_change_nothing(
        (_, base) in select(&BASES[..]),
        edits in vec(edit(), 0..30),
        ends in vec(select(&["\r\n", "\n", "\r", "\n\n", "\0\r\n"][..]), 1..20),
    ) {
        let mut lines: Vec<String> = base.lines().map(str::to_owned).collect();
        for edit in &edits {
            edit.apply(&mut lines);
        }
        let edited: String = lines.iter().zip(ends.iter().cycle()).map(|(line, end)| format!("{line}{end}")).collect();
        let read = read_answer(&offer(), None, &edited);
        is_sound(&edited, &read);
        prop_assert_eq!(essence(read.unwrap()), essence(read_answer(&offer(), None, base).unwrap()), "{}", edited);
    }
}

/// What happens to a line.
fn garbled() -> impl Strategy<Value = (Index, Index, Garbling)> {
    let character = prop_oneof![3 => proptest::char::range(' ', '~'), 1 => any::<char>()]
        .prop_filter("one line", |character| !['\r', '\n'].contains(character));
    let garbling = prop_oneof![
        Just(Garbling::Lost),
        Just(Garbling::Cut),
        Just(Garbling::Character(None)),
        character.clone().prop_map(|character| Garbling::Character(Some(character))),
        character.clone().prop_map(Garbling::Inserted),
        character.prop_map(Garbling::First),
        "[b-z]{0,3}[ -~]{0,30}".prop_map(Garbling::Other),
    ];
    (any::<Index>(), any::<Index>(), garbling)
}

#[derive(Clone, Debug)]
enum Garbling {
    Lost,
    Cut,
    Character(Option<char>),
    Inserted(char),
    First(char),
    Other(String),
}

impl Garbling {
    fn apply(&self, line: &str, place: &Index) -> String {
        let mut text: Vec<char> = line.chars().collect();
        let at = place.index(text.len());
        match self {
            Garbling::Lost => text.clear(),
            Garbling::Cut => text.truncate(at),
            Garbling::Character(None) => drop(text.remove(at)),
            Garbling::Character(Some(character)) => text[at] = *character,
            Garbling::Inserted(character) => text.insert(at, *character),
            Garbling::First(character) => text[0] = *character,
            Garbling::Other(other) => text = other.chars().collect(),
        }
        text.into_iter().collect()
    }
}

/// All formats but this payload type and its retransmissions.
fn formats_without(section: &AcceptedSection, number: Option<u8>) -> Vec<u8> {
    let is_other = |format: &&kvs_peer::sdp::PayloadFormat| {
        let apt = match format.codec {
            Codec::Rtx { apt } => Some(apt),
            _ => None,
        };
        number.is_none_or(|number| format.payload_type != number && apt != Some(number))
    };
    section.formats.iter().filter(is_other).map(|format| format.payload_type).collect()
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn an_odd_line_costs_at_most_itself((_, base) in select(&BASES[..]), (line, place, garbling) in garbled()) {
        let mut lines: Vec<String> = base.lines().map(str::to_owned).collect();
        let number = line.index(lines.len());
        let original = lines[number].clone();
        lines[number] = garbling.apply(&original, &place);
        let section = base.lines().take(number + 1).filter(|line| line.starts_with("m=")).count();
        let kind = match (&original[..2], section) {
            // The section that begins here, or would have begun.
            ("m=", _) if original.starts_with("m=audio") => Some(MediaKind::Audio),
            ("m=", _) => Some(MediaKind::Video),
            (_, 0) => None,
            (_, 1) => Some(MediaKind::Audio),
            _ => Some(MediaKind::Video),
        };
        let (name, value) = original.strip_prefix("a=").map_or((&original[..2], ""), |attribute| {
            attribute.split_once(':').unwrap_or((attribute, ""))
        });
        let about: Option<u8> = value.split(' ').next().and_then(|word| word.parse().ok());
        let garbled = lines.join("\r\n");
        let whole = essence(read_answer(&offer(), None, base).unwrap());
        let read = read_answer(&offer(), None, &garbled);
        is_sound(&garbled, &read);
        let is_only_one = base.lines().filter(|line| line.starts_with(&format!("a={name}:"))).count() == 1;
        let is_only_section = whole.sections.len() == 1;
        let read = match read {
            Ok(read) => essence(read),
            Err(error) => {
                let it_all_hangs_on_it = match name {
                    "ice-ufrag" | "ice-pwd" | "fingerprint" => is_only_one,
                    "m=" | "rtpmap" | "fmtp" => is_only_section,
                    _ => false,
                };
                prop_assert!(it_all_hangs_on_it, "{} garbled: {}", original, error);
                return Ok(());
            }
        };
        for section in &whole.sections {
            let is_hit = Some(section.kind) == kind;
            let loses_all = is_hit && match name {
                "m=" => true,
                "rtpmap" | "fmtp" => formats_without(section, about).is_empty(),
                _ => false,
            };
            let Some(now) = read.section(section.kind) else {
                prop_assert!(loses_all, "{} garbled: no {:?}", original, section.kind);
                continue;
            };
            if is_hit && matches!(name, "rtpmap" | "fmtp") {
                let kept = formats_without(now, None);
                prop_assert!(formats_without(section, about).iter().all(|number| kept.contains(number)), "{}", garbled);
            } else if !(is_hit && name == "m=") {
                prop_assert_eq!(&section.formats, &now.formats);
            }
            if !(is_hit && name == "rtcp-fb" || loses_all) {
                let flags = |section: &AcceptedSection| (section.nack, section.transport_cc, section.remb);
                prop_assert_eq!(flags(section), flags(now));
            }
            if !(is_hit && name == "extmap" || loses_all) {
                prop_assert_eq!(&section.extensions, &now.extensions, "{}", garbled);
            }
            // The SSRCs of a section whose m= line is lost are among those of the section before it.
            if name == "m=" {
                continue;
            }
            if is_hit && name.starts_with("ssrc") {
                let lost: Vec<u32> = value.split(' ').filter_map(|word| word.parse().ok()).collect();
                prop_assert!(section.ssrcs.iter().all(|ssrc| lost.contains(ssrc) || now.ssrcs.contains(ssrc)));
            } else {
                prop_assert_eq!((&section.ssrcs, &section.rtx_ssrcs), (&now.ssrcs, &now.rtx_ssrcs));
            }
        }
        // Sections that are not said to be bundled have a transport each: all but the first wait for nothing.
        if name != "group" {
            prop_assert_eq!(whole.transports.len(), read.transports.len(), "{}", garbled);
        }
        for (whole, now) in whole.transports.iter().zip(&read.transports) {
            if name != "ice-ufrag" {
                prop_assert_eq!(&whole.ice_ufrag, &now.ice_ufrag);
            }
            if name != "ice-pwd" {
                prop_assert!(whole.ice_pwd == now.ice_pwd);
            }
            // What another section says as well is not lost.
            if name != "fingerprint" {
                prop_assert_eq!(&whole.fingerprints, &now.fingerprints);
            } else if base.lines().filter(|line| *line == original).count() > 1 {
                let has = |fingerprint| now.fingerprints.contains(fingerprint);
                prop_assert!(whole.fingerprints.iter().all(has), "{}", garbled);
            }
            prop_assert_eq!(whole.setup, now.setup);
            if name == "candidate" {
                prop_assert!(whole.candidates.len() <= now.candidates.len() + 1);
            } else {
                prop_assert_eq!(&whole.candidates, &now.candidates, "{}", garbled);
            }
        }
    }
}
