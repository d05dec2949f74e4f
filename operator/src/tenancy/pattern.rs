//! Patterns of names: `*` is any text, `${namespace}` the namespace of the object. Pure.

use std::str::FromStr;

use kvs_ingest_api::glob;

/// A pattern as an administrator writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

/// What is no pattern: it could not mean the same to the admission policy, which makes a regular expression of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a pattern: of letters, digits, _ . + = , @ : / -, * for any text, and ${{namespace}}")]
pub struct NoPattern(String);

const NAMESPACE: &str = "${namespace}";

impl FromStr for Pattern {
    type Err = NoPattern;

    fn from_str(text: &str) -> Result<Self, NoPattern> {
        let plain = text.replace(NAMESPACE, "");
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"_.+=,@:/*-".contains(&byte);
        if text.is_empty() || text.len() > 256 || !plain.bytes().all(known) {
            return Err(NoPattern(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl Pattern {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Does the whole text match?
pub(crate) fn matches(pattern: &str, namespace: &str, text: &str) -> bool {
    glob(&pattern.replace(NAMESPACE, namespace), text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_pattern_is_of_the_whole_text() {
        for (pattern, text, expected) in [
            ("doors-*", "doors-1", true),
            ("doors-*", "doors-", true),
            ("doors-*", "doors", false),
            ("doors-*", "xdoors-1", false),
            ("${namespace}-*", "cameras-1", true),
            ("${namespace}-*", "camera-1", false),
            ("${namespace}-*", "${namespace}-1", false),
            ("*", "", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a.c", "abc", false),
            ("registry.example/video/*", "registry.example/video/agent:2", true),
            ("registry.example/video/*", "registry.example.evil/video/agent:2", false),
            ("arn:aws:iam::111122223333:role/kvs+*", "arn:aws:iam::111122223333:role/kvs+a", true),
        ] {
            assert_eq!(matches(pattern, "cameras", text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn what_a_regular_expression_would_read_otherwise_is_no_pattern() {
        for pattern in ["doors-*", "${namespace}-*", "${namespace}${namespace}", "*", "a+b@c=d,e:/f"] {
            assert_eq!(pattern.parse::<Pattern>().unwrap().as_str(), pattern);
        }
        for wrong in ["", "a b", "a|b", "(a)", "[a]", "a?", "^a", "a$", "{a}", "${name}", "\\d", "ü", "a\n"]
        {
            let error = wrong.parse::<Pattern>().unwrap_err().to_string();
            assert!(error.contains("is not a pattern"), "{wrong:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn a_pattern_without_a_star_is_itself_alone(pattern in "[a-z.+-]{1,8}", text in "[a-z.+-]{1,8}") {
            prop_assert!(matches(&pattern, "n", &pattern));
            prop_assert_eq!(matches(&pattern, "n", &text), pattern == text);
        }
    }
}
