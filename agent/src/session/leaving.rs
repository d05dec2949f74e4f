//! The connection that is being replaced.

use crate::hand_over::{LATER, PROOF};
use std::time::{Duration, Instant};

/// From the first frame of the new connection to the end of the old one: it has to prove itself, what the master sent before
/// that frame may still be on its way, and half a second.
const LINGER: Duration = Duration::from_millis(500).saturating_add(PROOF).saturating_add(LATER);

/// A connection that still brings media while another one is made in its place.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) generation: u64,
    /// Why it is left, in words.
    pub(super) reason: String,
    pub(super) last_media: Instant,
    /// When it ends, once the new one brings frames.
    ends_at: Option<Instant>,
}

impl Leaving {
    pub(super) fn new(generation: u64, reason: String, last_media: Instant) -> Self {
        Self { generation, reason, last_media, ends_at: None }
    }

    /// The new connection brings frames.
    pub(super) fn replaced(&mut self, now: Instant) {
        self.ends_at.get_or_insert(now + LINGER);
    }

    pub(super) fn name(&self) -> &'static str {
        if self.is_replaced() { "Replaced" } else { "Leaving" }
    }

    pub(super) fn is_replaced(&self) -> bool {
        self.ends_at.is_some()
    }

    /// When it ends at the latest: it may be silent for so long.
    pub(super) fn deadline(&self, silence: Duration) -> Instant {
        let silent_at = self.last_media + silence;
        self.ends_at.map_or(silent_at, |at| at.min(silent_at))
    }
}
