//! How long media may be missing before a connection is given up.
//!
//! A master that answers ICE checks is there, whatever it sends: it is waited for long. One that
//! answers none is gone, unless it has shown otherwise. Both are learnt from what the master's
//! media look like: the longest silence after which a connection went on counts, and where none
//! ever went on, patience doubles to find out, until a new connection serves for as long. What was learnt fades with a half-life of an hour;
//! connections come and go meanwhile.

use super::Timing;
use std::time::{Duration, Instant};

/// What was learnt is half of it after this long, unless it is seen again.
const HALF_LIFE: Duration = Duration::from_secs(3600);

/// A length that fades.
#[derive(Clone, Copy, Debug)]
struct Fading {
    length: Duration,
    at: Instant,
}

impl Fading {
    fn new(now: Instant) -> Self {
        Self { length: Duration::ZERO, at: now }
    }

    fn get(&self, now: Instant) -> Duration {
        let age = now.saturating_duration_since(self.at).as_secs_f64();
        self.length.mul_f64((-age / HALF_LIFE.as_secs_f64()).exp2())
    }

    fn raise(&mut self, length: Duration, now: Instant) {
        if length > self.get(now) {
            (self.length, self.at) = (length, now);
        }
    }
}

/// What one master's silences taught.
#[derive(Clone, Debug)]
pub(super) struct Patience {
    base: Duration,
    cap: Duration,
    /// The longest silence that ended with media.
    longest: Fading,
    /// What is tried, because less was in vain.
    tried: Fading,
}

impl Patience {
    /// With a master that answers ICE checks.
    pub(super) fn connected(timing: &Timing, now: Instant) -> Self {
        Self {
            base: timing.media_patience,
            cap: timing.media_patience_cap,
            longest: Fading::new(now),
            tried: Fading::new(now),
        }
    }

    /// With one that does not, beyond [`Timing::media_timeout`].
    pub(super) fn lost(timing: &Timing, now: Instant) -> Self {
        Self {
            base: Duration::ZERO,
            cap: timing.media_timeout_cap,
            longest: Fading::new(now),
            tried: Fading::new(now),
        }
    }

    /// Media came after a silence of this length.
    pub(super) fn silence_ended(&mut self, silence: Duration, now: Instant) {
        self.longest.raise(silence.min(self.cap), now);
    }

    /// A silence of [`Patience::wait`] was not ended by media. The next may last twice as long, at
    /// least `first`.
    pub(super) fn waited_in_vain(&mut self, first: Duration, now: Instant) {
        let next = (self.wait(now) * 2).max(first).min(self.cap);
        self.tried.raise(next, now);
    }

    /// A new connection served for longer than it would have been waited.
    pub(super) fn reconnecting_helped(&mut self, now: Instant) {
        self.tried = Fading::new(now);
    }

    /// How long a silence may last.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        let longest = self.longest.get(now);
        let seen = if longest.is_zero() { longest } else { longest.mul_f64(1.5) + Duration::from_secs(1) };
        self.base.max(self.tried.get(now)).max(seen).min(self.cap)
    }

    /// A silence that is nothing unusual.
    pub(super) fn usual(&self, now: Instant) -> Duration {
        self.longest.get(now).mul_f64(1.25)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_was_seen_is_waited_for_and_fades_slowly() {
        let now = Instant::now();
        let mut patience = Patience::connected(&Timing::default(), now);
        assert_eq!(patience.wait(now), 30 * SECOND);
        patience.silence_ended(20 * SECOND, now);
        assert_eq!(patience.wait(now), 31 * SECOND);
        patience.silence_ended(60 * SECOND, now);
        assert_eq!(patience.wait(now), 91 * SECOND);
        assert_eq!(patience.usual(now), 75 * SECOND);
        assert_eq!(patience.wait(now + HALF_LIFE), 46 * SECOND);
        assert_eq!(patience.wait(now + 20 * HALF_LIFE), 30 * SECOND);
        patience.silence_ended(HALF_LIFE, now);
        assert_eq!(patience.wait(now), 300 * SECOND);
    }

    #[test]
    fn it_doubles_while_it_is_in_vain() {
        let now = Instant::now();
        let waits = |mut patience: Patience| {
            [(); 6].map(|()| {
                let wait = patience.wait(now).as_secs();
                patience.waited_in_vain(5 * SECOND, now);
                wait
            })
        };
        let timing = Timing::default();
        assert_eq!(waits(Patience::connected(&timing, now)), [30, 60, 120, 240, 300, 300]);
        assert_eq!(waits(Patience::lost(&timing, now)), [0, 5, 10, 20, 40, 60]);
    }
}
