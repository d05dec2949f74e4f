//! When AWS is asked again about channel and stream of an object. Pure: the time and a random number come from outside.

use std::time::{Duration, Instant};

use crate::pace::jittered;

/// Somebody says that what AWS has is not what the status says: it is asked at once, and when that did not help after a
/// delay that doubles.
const DOUBT: Duration = Duration::from_secs(10);
const LONGEST_DOUBT: Duration = Duration::from_secs(300);

#[derive(Debug, Default)]
pub(crate) struct Resync {
    /// `None`: this process has not looked at the object yet.
    next: Option<Instant>,
    doubt: Option<Doubt>,
}

#[derive(Clone, Copy, Debug)]
struct Doubt {
    asked: Instant,
    /// Until it is asked again.
    delay: Duration,
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

    /// The agent says that something is wrong with channel or stream: AWS is asked again, soon. `random` is from 0 to 1.
    pub(crate) fn doubt(&mut self, now: Instant, random: f64) {
        let (asked, delay) = match self.doubt {
            None => (now, DOUBT),
            Some(Doubt { asked, delay }) => {
                let again = asked + jittered(delay, random);
                if again > now {
                    // As it was planned when it was doubted last.
                    return;
                }
                (now, (delay * 2).min(LONGEST_DOUBT))
            }
        };
        self.doubt = Some(Doubt { asked, delay });
        self.next = Some(self.next.map_or(now, |next| next.min(now)));
    }

    /// The agent is well.
    pub(crate) fn trust(&mut self) {
        self.doubt = None;
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
    fn who_is_doubted_is_asked_at_once_and_then_less_and_less_often() {
        let start = Instant::now();
        let mut resync = Resync::default();
        resync.done(INTERVAL, start, 0.5);
        let mut asked = Vec::new();
        for second in 0..1200 {
            let now = start + Duration::from_secs(second);
            resync.doubt(now, 0.5);
            if resync.is_due(INTERVAL, now, 0.5) {
                asked.push(second);
                resync.done(INTERVAL, now, 0.5);
            }
        }
        assert_eq!(asked, [0, 10, 30, 70, 150, 310, 610, 910]);
        resync.trust();
        let later = start + Duration::from_secs(1200);
        resync.doubt(later, 0.5);
        assert!(resync.is_due(INTERVAL, later, 0.5), "another trouble");
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
