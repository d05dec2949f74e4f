//! [`Rate`]: at most so many in any second.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// A sliding window of one second.
#[derive(Debug)]
pub(crate) struct Rate {
    limit: usize,
    /// Never longer than `limit`.
    taken: VecDeque<Instant>,
}

impl Rate {
    pub(crate) fn new(limit: u32) -> Self {
        Self { limit: usize::try_from(limit).unwrap_or(usize::MAX), taken: VecDeque::new() }
    }

    /// Whether one more is within the rate; counts it if so.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        while self
            .taken
            .front()
            .is_some_and(|at| now.saturating_duration_since(*at) >= Duration::from_secs(1))
        {
            self.taken.pop_front();
        }
        if self.taken.len() >= self.limit {
            return false;
        }
        self.taken.push_back(now);
        true
    }
}
