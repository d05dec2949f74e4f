//! When a message says something new. Pure.
//!
//! Conditions are written when they change. What others say (AWS, the kubelet, the agent) often holds the time or how long
//! something has lasted: those words change always, and mean nothing. Any other word may be another cause.

/// Do both messages tell of the same cause?
#[must_use]
pub(crate) fn same_cause(one: &str, other: &str) -> bool {
    gist(one).eq(gist(other))
}

/// The words, with `None` for each that says when or how long.
fn gist(text: &str) -> impl Iterator<Item = Option<&str>> {
    let mut words = text.split_whitespace().peekable();
    std::iter::from_fn(move || {
        let word = words.next()?;
        let counted = is_number(bare(word)) && words.peek().is_some_and(|unit| is_unit(bare(unit)));
        Some((!counted && !is_time(bare(word))).then_some(word))
    })
}

/// Without the punctuation around it.
fn bare(word: &str) -> &str {
    word.trim_matches(|c: char| c.is_ascii_punctuation() && c != '-')
}

fn is_number(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit())
        && word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

fn is_unit(word: &str) -> bool {
    matches!(word, "ns" | "us" | "µs" | "ms" | "s" | "second" | "seconds" | "minute" | "minutes")
}

/// `12:00:01`, `5m0s`, `2026-01-01T00:00:00Z`, `20260101T000000Z`, and ids that are made anew each time.
fn is_time(word: &str) -> bool {
    let of = |set: &[u8]| word.bytes().all(|byte| byte.is_ascii_digit() || set.contains(&byte));
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let clock = word.contains(':') && digits > 0 && of(b":.");
    let date =
        digits >= 8 && (word.contains('T') && of(b"TZ:.+-") || word.matches('-').count() == 2 && of(b"-"));
    // A UUID, or a hash.
    let hex = word.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    let id = word.len() >= 16 && hex && digits > 0 && digits < word.len();
    clock || date || id || is_duration(word)
}

/// As Go writes them: `1h2m3.5s`.
fn is_duration(word: &str) -> bool {
    let mut rest = word;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(0);
        if !is_number(&rest[..number]) {
            return false;
        }
        rest = &rest[number..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        if !matches!(&rest[..unit], "h" | "m" | "s" | "ms" | "us" | "µs" | "ns") {
            return false;
        }
        rest = &rest[unit..];
    }
    !word.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_and_how_long_is_no_other_cause() {
        for (one, other) in [
            ("no media for 10 s", "no media for 20 s"),
            ("at 12:00", "at 12:01"),
            ("back-off 10s restarting", "back-off 5m0s restarting"),
            ("took 1.5 seconds, then 3 ms.", "took 2 seconds, then 40 ms."),
            ("Signature expired: 20260101T000000Z is", "Signature expired: 20260101T000459Z is"),
            ("since 2026-01-01T00:00:00Z:", "since 2027-12-31T23:59:59.999+00:00:"),
            (
                "(request 9f8c7a6e-1b2d-4c3e-8f70-112233445566)",
                "(request 0f8c7a6e-1b2d-4c3e-8f70-112233445567)",
            ),
            ("connect to 10.0.0.7:443 failed", "connect to 10.0.0.9:443 failed"),
        ] {
            assert!(same_cause(one, other), "{one} {other}");
        }
    }

    #[test]
    fn any_other_word_is() {
        for (one, other) in [
            ("of the older KvsIngest cameras/door-1", "of the older KvsIngest cameras/door-2"),
            ("of the older KvsIngest cameras/1", "of the older KvsIngest cameras/2"),
            ("secret \"a\" not found", "secret \"b\" not found"),
            ("a retention of 0 hours", "a retention of 12 hours"),
            ("exit code 1 (Error)", "exit code 2 (Error)"),
            (
                "arn:aws:kinesisvideo:eu-west-1:111122223333:stream/a/1",
                "arn:aws:kinesisvideo:eu-west-1:111122223333:stream/a/2",
            ),
            ("0/3 nodes are available", "0/3 nodes are available: 1 Insufficient cpu"),
            ("no", ""),
        ] {
            assert!(!same_cause(one, other), "{one} {other}");
            assert!(same_cause(one, one) && same_cause(other, other));
        }
    }
}
