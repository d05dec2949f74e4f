//! An error in words.

use std::error::Error;

/// An error with its causes, as one line. A cause whose words were in those before it is left out: many errors show
/// what caused them.
#[must_use]
pub fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{words}")]
    struct Link {
        words: &'static str,
        source: Option<Box<Link>>,
    }

    #[test]
    fn each_cause_is_said_once() {
        let chain = ["no call", "no call: no host", "no host", "no DNS"];
        let error =
            chain.into_iter().rev().fold(None, |source, words| Some(Box::new(Link { words, source })));
        assert_eq!(causes(&*error.unwrap()), "no call: no call: no host: no DNS");
    }
}
