//! The service's rates: 5 offers and 20 candidates a second for each connection. Sans-IO.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Allows `count` within any second.
#[derive(Debug)]
pub(super) struct Throttle {
    count: usize,
    // Never longer than `count`.
    sent: VecDeque<Instant>,
}

impl Throttle {
    pub(super) fn per_second(count: usize) -> Self {
        Self { count, sent: VecDeque::with_capacity(count) }
    }

    /// Takes a place; returns when its message may go.
    pub(super) fn take(&mut self, now: Instant) -> Instant {
        let at = if self.sent.len() < self.count {
            now
        } else {
            self.sent.pop_front().map_or(now, |oldest| now.max(oldest + Duration::from_secs(1)))
        };
        self.sent.push_back(at);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_more_than_the_count_within_a_second() {
        let start = Instant::now();
        let mut throttle = Throttle::per_second(5);
        let times: Vec<_> = (0..23).map(|_| throttle.take(start)).collect();
        for window in times.windows(6) {
            assert!(window[5] - window[0] >= Duration::from_secs(1));
        }
        assert_eq!(times[4], start);
        let later = start + Duration::from_secs(60);
        assert_eq!(throttle.take(later), later);
    }
}
