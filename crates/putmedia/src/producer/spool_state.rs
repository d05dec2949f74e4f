//! Where the producer stands with its spool.

use std::time::Instant;

use super::config::SpoolConfig;

/// Fragments that are being written. More wait in memory, where they count.
pub(super) const MAX_WRITING: usize = 4;

#[derive(Debug)]
pub(super) struct Spool {
    pub(super) config: SpoolConfig,
    pub(super) state: State,
    pub(super) writing: usize,
    /// Everything is written at once.
    pub(super) rest: bool,
}

#[derive(Debug)]
pub(super) enum State {
    /// It is not known yet what is in it.
    Opening,
    /// It cannot be used for now.
    Unavailable,
    Ready {
        run: u64,
        /// The disk failed: not before this, and how often in a row.
        retry: Option<(Instant, u32)>,
    },
}

impl Spool {
    pub(super) fn new(config: SpoolConfig) -> Self {
        Self { config, state: State::Opening, writing: 0, rest: false }
    }

    /// Number of the run, when something can be written now.
    pub(super) fn writable(&self, now: Instant) -> Option<u64> {
        let State::Ready { run, retry } = self.state else { return None };
        let free = self.writing < MAX_WRITING && retry.is_none_or(|(at, _)| now >= at);
        (free || self.rest).then_some(run)
    }
}
