//! What is said about an answer: short, printable, bounded, without its secrets.

/// Most entries; how many more there were is the last one.
const MAX_ENTRIES: usize = 20;
/// Longest piece of a master's text that is repeated, in characters.
const MAX_REPEATED: usize = 64;
/// Shorter passwords (RFC 8839 asks for 22 characters) would be found in every other word.
const SHORTEST_SECRET: usize = 8;

/// White space, control characters (NUL) and byte order marks.
pub(super) fn is_blank(character: char) -> bool {
    character.is_whitespace() || character.is_control() || character == '\u{feff}'
}

/// A piece of the master's text as it may be repeated: ASCII, not long.
pub(super) fn printable(text: &str) -> String {
    let readable =
        |character: char| if character.is_ascii_graphic() || character == ' ' { character } else { '?' };
    text.chars().take(MAX_REPEATED).map(readable).collect()
}

/// What was passed over, each with why.
#[derive(Debug, Default)]
pub(super) struct LeftOut {
    entries: Vec<String>,
    more: usize,
}

impl LeftOut {
    pub(super) fn say(&mut self, entry: String) {
        if self.entries.contains(&entry) {
            return;
        }
        if self.entries.len() < MAX_ENTRIES {
            self.entries.push(entry);
        } else {
            self.more += 1;
        }
    }

    pub(super) fn finish(mut self, secrets: &Secrets<'_>) -> Vec<String> {
        for entry in &mut self.entries {
            *entry = secrets.without(std::mem::take(entry));
        }
        if self.more > 0 {
            self.entries.push(format!("and {} more", self.more));
        }
        self.entries
    }
}

/// The passwords of an answer.
pub(super) struct Secrets<'a>(Vec<&'a str>);

impl<'a> Secrets<'a> {
    pub(super) fn new(passwords: impl Iterator<Item = &'a str>) -> Self {
        Self(passwords.filter(|password| password.len() >= SHORTEST_SECRET).collect())
    }

    /// The words, unless a password is among them: a garbled line can have it anywhere.
    pub(super) fn without(&self, words: String) -> String {
        if self.0.iter().any(|secret| words.contains(secret)) {
            return "something with the ICE password in it".to_owned();
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_bounded_said_once_and_without_passwords() {
        let mut left_out = LeftOut::default();
        for number in 0..30 {
            left_out.say(format!("line {}", number.max(5)));
        }
        left_out.say("line 5".to_owned());
        let entries = left_out.finish(&Secrets::new(["line", "line 7, the secret"].into_iter()));
        assert_eq!(entries.len(), MAX_ENTRIES + 1);
        assert_eq!(entries[MAX_ENTRIES], "and 5 more");

        let mut left_out = LeftOut::default();
        left_out.say("a name: abcdefghijklmnopqrstuvwx".to_owned());
        let entries = left_out.finish(&Secrets::new(["abcdefghijklmnopqrstuvwx"].into_iter()));
        assert_eq!(entries, ["something with the ICE password in it"]);
    }

    #[test]
    fn what_is_repeated_is_short_and_printable() {
        assert_eq!(printable("a\u{7}b\u{e9}c"), "a?b?c");
        assert_eq!(printable(&"x".repeat(1000)).len(), MAX_REPEATED);
    }
}
