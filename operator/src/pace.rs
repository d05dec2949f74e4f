//! Pace: how fast is allowed, and how long to wait. Pure; the clock comes from outside.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// A token bucket: `rate` a second, up to `burst` at once.
#[derive(Debug)]
pub struct Bucket {
    rate: f64,
    burst: f64,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub fn new(rate: f64, burst: f64, now: Instant) -> Self {
        Self { rate, burst, tokens: burst, at: now }
    }

    /// Takes a token now, or says how long to wait for one. Who waits has a token taken: waiters are served in order.
    pub fn reserve(&mut self, now: Instant) -> Duration {
        self.refill(now);
        self.tokens -= 1.0;
        if self.tokens >= 0.0 { Duration::ZERO } else { Duration::from_secs_f64(-self.tokens / self.rate) }
    }

    /// Takes a token if there is one now.
    pub fn take(&mut self, now: Instant) -> bool {
        self.refill(now);
        let taken = self.tokens >= 1.0;
        if taken {
            self.tokens -= 1.0;
        }
        taken
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * self.rate).min(self.burst);
        self.at = now;
    }
}

/// The delay ± 20 %, by `random` from 0 to 1: what began together does not go on together.
pub fn jittered(delay: Duration, random: f64) -> Duration {
    delay.mul_f64(0.8 + 0.4 * random)
}

/// How many agents may be restarted because the operator changed, not their object; and which ones wait for their turn.
#[derive(Debug)]
pub struct RolloutBudget {
    bucket: Bucket,
    /// Their uids. One entry for each object at most.
    waiting: HashSet<String>,
}

impl RolloutBudget {
    /// So many a minute, those of five seconds at once.
    #[must_use]
    pub fn new(per_minute: f64, now: Instant) -> Self {
        Self {
            bucket: Bucket::new(per_minute / 60.0, (per_minute / 12.0).max(1.0), now),
            waiting: HashSet::new(),
        }
    }

    /// May the agent of this object be restarted now? If not, it waits.
    pub fn take(&mut self, uid: &str, now: Instant) -> bool {
        let taken = self.bucket.take(now);
        if taken {
            self.waiting.remove(uid);
        } else {
            self.waiting.insert(uid.to_owned());
        }
        taken
    }

    /// It has nothing to wait for any more.
    pub fn forget(&mut self, uid: &str) {
        self.waiting.remove(uid);
    }

    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

/// Delays between attempts on one object: exponential, with jitter, forgotten on success or when its spec changes.
#[derive(Debug, Default)]
pub struct Backoff {
    // One entry for each object in trouble.
    failures: Mutex<HashMap<String, Failures>>,
}

#[derive(Debug)]
struct Failures {
    generation: Option<i64>,
    count: u32,
    delays: kvs_aws::Backoff,
}

impl Backoff {
    const SHORTEST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(300);

    /// After one more failure of the object: between half of and the whole exponential delay, by `random` from 0 to 1.
    pub fn next(&self, uid: &str, generation: Option<i64>, random: f64) -> Duration {
        let mut failures = self.failures.lock();
        let delays = || kvs_aws::Backoff::new(Self::SHORTEST, Self::LONGEST);
        let first = || Failures { generation, count: 0, delays: delays() };
        let entry = failures.entry(uid.to_owned()).or_insert_with(first);
        if entry.generation != generation {
            *entry = first();
        }
        entry.count = entry.count.saturating_add(1);
        entry.delays.next_delay(0.5 + 0.5 * random.clamp(0.0, 1.0))
    }

    /// How many attempts on the object have failed, one after the other.
    pub fn failures(&self, uid: &str) -> u32 {
        self.failures.lock().get(uid).map_or(0, |failures| failures.count)
    }

    /// It works again, or is gone.
    pub fn forget(&self, uid: &str) {
        self.failures.lock().remove(uid);
    }

    /// How many objects wait for another attempt.
    pub fn len(&self) -> usize {
        self.failures.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10.0, 2.0, start);
        assert_eq!([bucket.reserve(start), bucket.reserve(start)], [Duration::ZERO; 2]);
        assert_eq!(bucket.reserve(start), Duration::from_millis(100));
        assert_eq!(bucket.reserve(start), Duration::from_millis(200));
        assert!(!bucket.take(start + Duration::from_millis(250)));
        assert!(bucket.take(start + Duration::from_millis(301)));
        // An hour later there is the burst, not more.
        let later = start + Duration::from_secs(3600);
        assert!(bucket.take(later) && bucket.take(later) && !bucket.take(later));
    }

    #[test]
    fn backoff_doubles_to_its_end_and_forgets() {
        let backoff = Backoff::default();
        let delays: Vec<_> = (0..12).map(|_| backoff.next("a", Some(1), 1.0).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        assert_eq!(backoff.next("a", Some(1), 0.0), Duration::from_secs(150));
        assert_eq!((backoff.failures("a"), backoff.failures("b")), (13, 0));
        assert_eq!(backoff.next("a", Some(2), 1.0), Duration::from_secs(1), "a new spec starts anew");
        assert_eq!((backoff.failures("a"), backoff.len()), (1, 1));
        backoff.forget("a");
        assert_eq!((backoff.failures("a"), backoff.len()), (0, 0));
    }

    #[test]
    fn who_may_not_be_restarted_waits_until_it_may() {
        let start = Instant::now();
        let mut budget = RolloutBudget::new(6.0, start);
        assert!(budget.take("a", start));
        assert!(!budget.take("b", start) && !budget.take("c", start));
        assert_eq!(budget.waiting(), 2);
        assert!(budget.take("b", start + Duration::from_secs(10)));
        assert_eq!(budget.waiting(), 1);
        // Deleted, or changed by its author meanwhile.
        budget.forget("c");
        assert_eq!(budget.waiting(), 0);
    }

    #[test]
    fn jitter_is_a_fifth_either_way() {
        let delay = Duration::from_secs(10);
        let jittered = [0.0, 0.5, 1.0].map(|random| jittered(delay, random).as_secs());
        assert_eq!(jittered, [8, 10, 12]);
    }
}
