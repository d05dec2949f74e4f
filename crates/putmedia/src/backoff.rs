//! Exponential backoff with full jitter, deterministic for a given seed.
//!
//! That of `kvs-aws` is not for this crate, whose core depends on nothing of ours; nor does it go on growing behind its
//! cap.

use std::time::Duration;

/// Attempts for which `cap` holds.
const SHORT_ATTEMPTS: u32 = 30;
/// Where the ceiling ends that goes on growing after them.
const LONG_CAP: Duration = Duration::from_secs(30);

/// The delays between attempts: uniformly random between zero and an exponentially growing ceiling. A low cap is for
/// failures that pass soon: after 30 attempts in vain the ceiling doubles further, up to 30 s, so that a service that is
/// away for long is not pressed by all who wait for it.
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
    /// Ceilings `base`, `2 × base`, … up to `cap` for the first 30 attempts; then `2 × cap`, … up to 30 s, or `cap` if that
    /// is more.
    pub fn new(base: Duration, cap: Duration, seed: u64) -> Self {
        // xorshift needs a state that is not zero.
        Self { base, cap, attempt: 0, random: seed | 1 }
    }

    /// The delay before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        let ceiling = self.ceiling();
        self.attempt = self.attempt.saturating_add(1);
        ceiling.mul_f64(self.uniform())
    }

    fn ceiling(&self) -> Duration {
        let doubled =
            |from: Duration, times: u32| from.saturating_mul(1u32.checked_shl(times).unwrap_or(u32::MAX));
        match self.attempt.checked_sub(SHORT_ATTEMPTS) {
            None => doubled(self.base, self.attempt).min(self.cap),
            Some(more) => doubled(self.cap, more.saturating_add(1)).min(self.cap.max(LONG_CAP)),
        }
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

    #[test]
    fn a_low_cap_holds_for_thirty_attempts() {
        let seconds = Duration::from_secs;
        let ceilings = |cap, attempts| {
            let mut backoff = Backoff::new(Duration::from_millis(250), cap, 42);
            let mut next = || {
                let ceiling = backoff.ceiling();
                assert!(backoff.next_delay() <= ceiling);
                ceiling
            };
            (0..attempts).map(|_| next()).collect::<Vec<_>>()
        };
        let low = ceilings(seconds(1), 1000);
        assert!(low[2..30].iter().all(|ceiling| *ceiling == seconds(1)));
        assert_eq!(low[30..36], [2, 4, 8, 16, 30, 30].map(seconds));
        assert!(low[34..].iter().all(|ceiling| *ceiling == seconds(30)));
        // A high one is one for ever.
        let high = ceilings(seconds(60), 1000);
        assert!(high[8..].iter().all(|ceiling| *ceiling == seconds(60)));
        let mut backoff = Backoff::new(Duration::from_millis(250), seconds(1), 42);
        backoff.attempt = u32::MAX;
        assert!(backoff.next_delay() <= seconds(30) && backoff.ceiling() == seconds(30));
        backoff.reset();
        assert_eq!(backoff.ceiling(), Duration::from_millis(250));
    }
}
