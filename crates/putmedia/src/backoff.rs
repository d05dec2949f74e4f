//! Exponential backoff with full jitter, deterministic for a given seed.

use std::time::Duration;

/// The delays between attempts: uniformly random between zero and an exponentially growing ceiling.
///
/// Source: "Exponential Backoff And Jitter", AWS Architecture Blog.
#[derive(Clone, Debug)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    attempt: u32,
    random: u64,
}

impl Backoff {
    /// Ceilings `base`, `2 × base`, … up to `cap`.
    pub fn new(base: Duration, cap: Duration, seed: u64) -> Self {
        // xorshift needs a state that is not zero.
        Self { base, cap, attempt: 0, random: seed | 1 }
    }

    /// The delay before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        let factor = 1u32.checked_shl(self.attempt).unwrap_or(u32::MAX);
        let ceiling = self.base.saturating_mul(factor).min(self.cap);
        self.attempt = (self.attempt + 1).min(31);
        ceiling.mul_f64(self.uniform())
    }

    /// Call after progress: the next delay is from the first ceiling again.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }

    fn uniform(&mut self) -> f64 {
        // xorshift64*, Vigna 2014: spreads attempts, keeps no secret.
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_the_cap_and_starts_over() {
        let cap = Duration::from_secs(30);
        let mut backoff = Backoff::new(Duration::from_millis(250), cap, 42);
        let early: Duration = (0..3).map(|_| backoff.next_delay()).sum();
        assert!(early <= Duration::from_millis(250 + 500 + 1000));
        let late: Vec<Duration> = (0..200).map(|_| backoff.next_delay()).collect();
        assert!(late.iter().all(|delay| *delay <= cap));
        let mean = late.iter().sum::<Duration>() / 200;
        assert!(mean > Duration::from_secs(10) && mean < Duration::from_secs(20), "{mean:?}");
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_millis(250));
    }
}
