//! What goes wrong again and again is not told again and again. Pure.

use std::time::{Duration, Instant};

/// How often a warning is repeated on the bus.
const SAME_WARNING: Duration = Duration::from_secs(60);
/// So many kinds of warnings are known at a time; of more the log tells.
const MOST_WARNINGS: usize = 16;

/// What a warning is about. Its words may differ each time (addresses, numbers), unless nothing else tells it from others.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum About {
    /// The service's code, and whether it denies access.
    Code(u32, bool),
    /// Without a code.
    Text(String),
    Spool,
}

/// Warnings that were on the bus, and when: in a long outage they would pile up on one that nobody reads.
#[derive(Debug, Default)]
pub(super) struct Warned(Vec<(About, Instant)>);

impl Warned {
    /// Whether the bus has not just had this one.
    pub(super) fn is_news(&mut self, about: About, now: Instant) -> bool {
        self.0.retain(|(_, at)| now < *at + SAME_WARNING);
        let news = self.0.len() < MOST_WARNINGS && self.0.iter().all(|(known, _)| *known != about);
        if news {
            self.0.push((about, now));
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_that_alternate_are_told_once_a_minute_each() {
        let (mut warned, start) = (Warned::default(), Instant::now());
        let about = |n: u64| match n % 3 {
            0 => About::Code(503, false),
            1 => About::Spool,
            _ => About::Text("connection reset".to_owned()),
        };
        let at = |n: u64| start + Duration::from_secs(n);
        let told: Vec<u64> = (0..180).filter(|n| warned.is_news(about(*n), at(*n))).collect();
        assert_eq!(told, [0, 1, 2, 60, 61, 62, 120, 121, 122]);
        assert!(warned.is_news(About::Code(503, true), at(180)), "another kind");
    }

    #[test]
    fn warnings_that_are_all_different_are_told_up_to_a_number() {
        let (mut warned, now) = (Warned::default(), Instant::now());
        let told = (0..1000).filter(|n| warned.is_news(About::Text(n.to_string()), now)).count();
        assert_eq!(told, MOST_WARNINGS);
        assert!(warned.is_news(About::Spool, now + SAME_WARNING));
    }
}
