//! Full-jitter exponential backoff.

use rand::Rng;
use std::time::Duration;

/// Delays drawn evenly from zero to a ceiling that doubles with every failure.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    base: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    pub(super) fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, failures: 0 }
    }

    /// The delay before the next attempt, at least `floor`.
    pub(super) fn next(&mut self, rng: &mut impl Rng, floor: Duration) -> Duration {
        let ceiling = self.base.saturating_mul(1 << self.failures.min(16)).min(self.cap);
        self.failures = self.failures.saturating_add(1);
        floor + ceiling.mul_f64(rng.random_range(0.0..=1.0))
    }

    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}
