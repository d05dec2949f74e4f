//! The viewer's client ids.
//!
//! A master keeps a slot of its ten for each id, for up to 45 s after its connection is dead, so
//! new ids are few. An id whose connection the master itself has ended holds no slot and does not
//! count.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// New client ids allowed per window.
const PER_WINDOW: usize = 3;

/// Slots believed free per window. With the ids that count there are never ten new ones in a window,
/// even if a master says goodbye and keeps its slots.
const FREED_PER_WINDOW: usize = 6;

/// The ids of one session.
#[derive(Debug)]
pub(super) struct ClientIds {
    stem: String,
    number: u32,
    window: Duration,
    /// The master knows the current id: another peer needs another id.
    used: bool,
    /// Those that may hold a slot, and since when. At most [`PER_WINDOW`].
    held: VecDeque<(u32, Instant)>,
    /// When slots were given back. At most [`FREED_PER_WINDOW`].
    freed: VecDeque<Instant>,
}

impl ClientIds {
    pub(super) fn new(stem: String, window: Duration, now: Instant) -> Self {
        Self {
            stem,
            number: 1,
            window,
            used: false,
            held: VecDeque::from([(1, now)]),
            freed: VecDeque::new(),
        }
    }

    pub(super) fn current(&self) -> String {
        format!("{}-{}", self.stem, self.number)
    }

    /// Whether the master knows the current one.
    pub(super) fn is_used(&self) -> bool {
        self.used
    }

    /// The master has answered the current one.
    pub(super) fn answered(&mut self) {
        self.used = true;
    }

    /// Changes to a new id; or says when there may be one.
    pub(super) fn renew(&mut self, now: Instant) -> Result<(), Instant> {
        while self.held.front().is_some_and(|(_, at)| now.saturating_duration_since(*at) >= self.window) {
            self.held.pop_front();
        }
        if let Some((_, oldest)) = self.held.front()
            && self.held.len() >= PER_WINDOW
        {
            return Err(*oldest + self.window);
        }
        self.number = self.number.wrapping_add(1);
        self.held.push_back((self.number, now));
        self.used = false;
        Ok(())
    }

    /// The master has ended the current id's connection: its slot is free.
    pub(super) fn ended(&mut self, now: Instant) {
        if let Some(at) = self.held.iter().position(|(number, _)| *number == self.number) {
            self.free(at, now);
        }
    }

    /// The master knows nothing of earlier ids: it was started anew.
    pub(super) fn forgotten(&mut self, now: Instant) {
        while let Some(at) = self.held.iter().position(|(number, _)| *number != self.number)
            && self.free(at, now)
        {}
    }

    /// False when that was said too often to be believed.
    fn free(&mut self, at: usize, now: Instant) -> bool {
        while self.freed.front().is_some_and(|at| now.saturating_duration_since(*at) >= self.window) {
            self.freed.pop_front();
        }
        if self.freed.len() >= FREED_PER_WINDOW {
            return false;
        }
        self.freed.push_back(now);
        self.held.remove(at);
        true
    }
}
