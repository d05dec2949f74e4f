//! When AWS is asked again about channel and stream of an object. Pure: the time and a random number come from outside.

use std::time::{Duration, Instant};

use crate::pace::jittered;

#[derive(Debug, Default)]
pub(crate) struct Resync {
    /// `None`: this process has not looked at the object yet.
    next: Option<Instant>,
}

impl Resync {
    /// Is it time? After a restart nobody knows when AWS was asked: some time within the interval, not all at once.
    /// `random` is from 0 to 1.
    pub(crate) fn is_due(&mut self, interval: Duration, now: Instant, random: f64) -> bool {
        now >= *self.next.get_or_insert_with(|| now + interval.mul_f64(random))
    }

    /// AWS was asked.
    pub(crate) fn done(&mut self, interval: Duration, now: Instant, random: f64) {
        self.next = Some(now + jittered(interval, random));
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10 * 3600);

    #[test]
    fn after_a_restart_the_objects_are_spread_over_the_interval() {
        let start = Instant::now();
        for random in [0.1, 0.5, 0.9] {
            let mut resync = Resync::default();
            let first = start + INTERVAL.mul_f64(random);
            assert!(!resync.is_due(INTERVAL, start, random));
            assert_eq!(resync.next(), Some(first));
            // Other random numbers later change nothing.
            assert!(!resync.is_due(INTERVAL, first - Duration::from_secs(1), 0.0));
            assert!(resync.is_due(INTERVAL, first, 0.0));
        }
    }

    #[test]
    fn then_it_is_asked_once_an_interval() {
        let start = Instant::now();
        let mut resync = Resync::default();
        assert!(resync.is_due(INTERVAL, start, 0.0));
        resync.done(INTERVAL, start, 0.0);
        assert_eq!(resync.next(), Some(start + INTERVAL.mul_f64(0.8)));
        assert!(!resync.is_due(INTERVAL, start, 0.0));
        assert!(resync.is_due(INTERVAL, start + INTERVAL.mul_f64(0.8), 0.0));
        resync.done(INTERVAL, start, 1.0);
        assert_eq!(resync.next(), Some(start + INTERVAL.mul_f64(1.2)));
    }
}
