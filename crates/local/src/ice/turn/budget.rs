//! [`Budget`]: how much a channel may relay.

use std::time::{Duration, Instant};

/// A bucket that fills at a rate and holds what comes in of it in a second: what is sent in bursts passes, as long as the
/// second does not have more.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    bytes_per_second: u64,
    /// Bytes that may pass now.
    left: f64,
    since: Instant,
}

impl Budget {
    pub(super) fn new(bytes_per_second: u64, now: Instant) -> Self {
        Self { bytes_per_second, left: bytes_per_second as f64, since: now }
    }

    /// Whether these bytes may pass.
    pub(super) fn take(&mut self, bytes: usize, now: Instant) -> bool {
        let full = self.bytes_per_second as f64;
        let passed: Duration = now.saturating_duration_since(self.since);
        self.left = (self.left + passed.as_secs_f64() * full).min(full);
        self.since = self.since.max(now);
        let wanted = bytes as f64;
        let may = self.left >= wanted;
        if may {
            self.left -= wanted;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        /// In any time no more passes than the rate, and one second of it.
        #[test]
        fn no_more_passes_than_the_rate(steps in proptest::collection::vec((0_u64..300, 1_usize..1500), 1..300)) {
            let start = Instant::now();
            let (mut budget, mut now, mut passed) = (Budget::new(10_000, start), start, 0_u64);
            for (wait, bytes) in steps {
                now += Duration::from_millis(wait);
                passed += if budget.take(bytes, now) { bytes as u64 } else { 0 };
            }
            let most = 10_000.0 * ((now - start).as_secs_f64() + 1.0);
            proptest::prop_assert!(passed as f64 <= most + 1.0, "{passed} of {most}");
        }
    }
}
