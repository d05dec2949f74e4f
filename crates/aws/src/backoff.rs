//! Exponential backoff. Pure: chance comes from outside.

use std::time::Duration;

/// Ceilings of the delays between attempts: `base`, `2 × base`, `4 × base`, … up to `cap`.
///
/// Source: [Exponential Backoff And Jitter](https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/),
/// AWS Architecture Blog.
#[derive(Clone, Debug)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    /// Before the first failure.
    #[must_use]
    pub const fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, failures: 0 }
    }

    /// After one more failure: the delay before the next attempt, which is `chance` times the ceiling. From 0 to 1 that
    /// is full jitter, from ½ to 1 equal jitter.
    pub fn next_delay(&mut self, chance: f64) -> Duration {
        let ceiling = self.base.saturating_mul(1 << self.failures.min(16)).min(self.cap);
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(chance.clamp(0.0, 1.0))
    }

    /// It works again: the next ceiling is `base`.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_to_its_cap_and_starts_over() {
        let seconds = Duration::from_secs;
        let mut backoff = Backoff::new(seconds(1), seconds(300));
        let ceilings: Vec<_> = (0..12).map(|_| backoff.next_delay(1.0).as_secs()).collect();
        assert_eq!(ceilings, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        assert_eq!(backoff.next_delay(0.5), seconds(150));
        assert_eq!((backoff.next_delay(0.0), backoff.next_delay(1.0)), (Duration::ZERO, seconds(300)));
        backoff.reset();
        assert_eq!(backoff.next_delay(1.0), seconds(1));
        backoff.failures = u32::MAX;
        assert_eq!(backoff.next_delay(1.0), seconds(300));
    }
}
