//! The lines of an answer, sorted into the session and its media sections (RFC 8866, section 5).

use crate::sdp::words::{LeftOut, is_blank, printable};

/// Most media sections that are looked at.
const MAX_SECTIONS: usize = 16;

/// `a=` lines in their order.
#[derive(Clone, Debug, Default)]
pub(super) struct Attributes<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Attributes<'a> {
    /// The values of this attribute; attribute names in any case.
    pub(super) fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a str> + 's {
        self.0.iter().filter(move |(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// The first value of this attribute that is not empty.
    pub(super) fn first(&self, name: &str) -> Option<&'a str> {
        self.all(name).find(|value| !value.is_empty())
    }
}

/// One media section as it is written.
#[derive(Clone, Debug)]
pub(super) struct Section<'a> {
    /// `audio`, `video` or whatever else it says.
    pub(super) media: &'a str,
    pub(super) port: &'a str,
    pub(super) formats: Vec<&'a str>,
    pub(super) attributes: Attributes<'a>,
}

impl<'a> Section<'a> {
    /// Port 0. With `bundle-only` it is none of its own, which browsers take for accepted in an answer also.
    pub(super) fn is_rejected(&self) -> bool {
        let port = self.port.split_once('/').map_or(self.port, |(port, _)| port);
        port.parse() == Ok(0_u64) && !self.attributes.has("bundle-only")
    }

    pub(super) fn mid(&self) -> Option<&'a str> {
        self.attributes.first("mid")
    }
}

/// An answer as it is written.
#[derive(Clone, Debug, Default)]
pub(super) struct Description<'a> {
    /// Attributes in front of the first section.
    pub(super) session: Attributes<'a>,
    pub(super) sections: Vec<Section<'a>>,
}

/// Sorts the lines of `sdp`. Line ends are CR, LF or both; blanks, control characters and a byte order mark around a
/// line are not of it.
pub(super) fn read_lines<'a>(sdp: &'a str, left_out: &mut LeftOut) -> Description<'a> {
    let mut description = Description::default();
    let mut beyond = Attributes::default();
    let mut sections = 0;
    for (number, line) in numbered(sdp) {
        let line = line.trim_matches(is_blank);
        if line.is_empty() {
            continue;
        }
        let (letter, value) = match line.split_once('=') {
            Some((letter, value)) => (letter.trim_end_matches(is_blank), value.trim_start_matches(is_blank)),
            None => (line, ""),
        };
        match letter {
            "a" => {
                let (name, value) = value.split_once(':').unwrap_or((value, ""));
                let (name, value) = (name.trim_matches(is_blank), value.trim_start_matches(is_blank));
                if name.is_empty() {
                    left_out.say(format!("line {number}: attribute without a name"));
                    continue;
                }
                let attributes = match description.sections.last_mut() {
                    _ if sections > MAX_SECTIONS => &mut beyond,
                    Some(section) => &mut section.attributes,
                    None => &mut description.session,
                };
                attributes.0.push((name, value));
            }
            "m" => match read_media(value) {
                Some(section) => {
                    sections += 1;
                    if sections <= MAX_SECTIONS {
                        description.sections.push(section);
                    }
                }
                None => left_out.say(format!("line {number}: m= that begins no section")),
            },
            "v" | "o" | "s" | "i" | "u" | "e" | "p" | "c" | "b" | "t" | "r" | "z" | "k" => {}
            _ => left_out.say(format!("line {number}: not a line of SDP")),
        }
    }
    if sections > MAX_SECTIONS {
        left_out.say(format!("{} sections beyond the first {MAX_SECTIONS}", sections - MAX_SECTIONS));
    }
    description
}

/// `None` for what only looks like the beginning of a section: it would take the lines behind it away from theirs.
fn read_media(value: &str) -> Option<Section<'_>> {
    let mut words = value.split(is_blank).filter(|word| !word.is_empty());
    let (media, port, _protocol) = (words.next()?, words.next()?, words.next()?);
    let is_known = ["audio", "video", "application", "text", "message", "image"]
        .iter()
        .any(|known| media.eq_ignore_ascii_case(known));
    let is_like_one = media.bytes().all(|byte| byte.is_ascii_alphabetic())
        && port.bytes().next().is_some_and(|byte| byte.is_ascii_digit());
    (is_known || is_like_one).then(|| Section {
        media,
        port,
        formats: words.collect(),
        attributes: Attributes::default(),
    })
}

/// Sets aside what follows a second mid in one section, where that mid is of an offered section which has none in the
/// answer: an `m=` line is missing in between, and the formats and SSRCs behind it are not of this section.
pub(super) fn cut_where_media_lines_are_missing<'a>(
    description: &mut Description<'a>,
    offered_mids: &[&str],
    left_out: &mut LeftOut,
) {
    let of_sections: Vec<&str> = description.sections.iter().filter_map(Section::mid).collect();
    for section in &mut description.sections {
        let Some(own) = section.mid() else { continue };
        let second = section.attributes.0.iter().position(|(name, value)| {
            name.eq_ignore_ascii_case("mid")
                && *value != own
                && offered_mids.contains(value)
                && !of_sections.contains(value)
        });
        if let Some(second) = second {
            left_out.say(format!("all behind a second mid in section {}", printable(own)));
            section.attributes.0.truncate(second);
        }
    }
}

/// Each line with its number, from 1.
fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut number = 1;
    let mut after_cr = false;
    text.split_inclusive(['\r', '\n']).filter_map(move |line| {
        // The second half of CR LF.
        let is_rest = after_cr && line == "\n";
        after_cr = line.ends_with('\r');
        let found = (!is_rest).then_some((number, line));
        number += usize::from(!is_rest);
        found
    })
}

/// Every word that may be a password, of garbled lines too.
pub(super) fn passwords(sdp: &str) -> impl Iterator<Item = &str> {
    numbered(sdp)
        .filter(|(_, line)| line.to_ascii_lowercase().contains("pwd"))
        .flat_map(|(_, line)| line.split(|character: char| is_blank(character) || ":=".contains(character)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str) -> Vec<(usize, &str)> {
        numbered(text).map(|(number, line)| (number, line.trim_matches(is_blank))).collect()
    }

    #[test]
    fn line_ends_of_any_kind_count_once() {
        assert_eq!(numbers("a\r\nb\nc\rd"), [(1, "a"), (2, "b"), (3, "c"), (4, "d")]);
        assert_eq!(numbers("a\n\nb\r\n\r\nc"), [(1, "a"), (2, ""), (3, "b"), (4, ""), (5, "c")]);
    }

    #[test]
    fn attributes_go_where_they_stand() {
        let mut left_out = LeftOut::default();
        let text = "\u{feff} v=0\ra=setup:active\nm=audio 9 X 111\r\n a = mid: 0 \0\na=\nm=nonsense\na=mid:again\nnothing";
        let read = read_lines(text, &mut left_out);
        assert_eq!(read.session.first("SETUP"), Some("active"));
        assert_eq!(read.sections.len(), 1);
        assert_eq!(read.sections[0].attributes.all("mid").collect::<Vec<_>>(), ["0", "again"]);
        assert_eq!(read.sections[0].formats, ["111"]);
    }
}
