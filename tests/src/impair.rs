//! A bad network in user space: a seeded impairer for the datagrams of one direction. Sans-IO.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// What happens to the datagrams of one direction. Probabilities are from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Impairment {
    pub drop: f64,
    pub duplicate: f64,
    /// Every datagram is late by this much,
    pub delay: Duration,
    /// and by a uniformly random part of this: more than the spacing of packets reorders them.
    pub jitter: Duration,
}

impl Impairment {
    /// Loses this share of the datagrams, nothing else.
    pub fn drop(share: f64) -> Self {
        Self { drop: share, ..Self::default() }
    }
}

/// One direction of an impaired path. The same seed and input give the same output.
#[derive(Debug)]
pub struct Impairer<T> {
    impairment: Impairment,
    random: StdRng,
    // Bounded by what arrives within delay + jitter.
    queue: BTreeMap<(Instant, u64), T>,
    entered: u64,
    dropped: u64,
}

impl<T: Clone> Impairer<T> {
    pub fn new(impairment: Impairment, seed: u64) -> Self {
        Self {
            impairment,
            random: StdRng::seed_from_u64(seed),
            queue: BTreeMap::new(),
            entered: 0,
            dropped: 0,
        }
    }

    /// A datagram enters the path.
    pub fn enter(&mut self, datagram: T, now: Instant) {
        self.entered += 1;
        if self.random.random_bool(self.impairment.drop) {
            self.dropped += 1;
            return;
        }
        let copies = if self.random.random_bool(self.impairment.duplicate) { 2 } else { 1 };
        for copy in 0..copies {
            let late = self.impairment.delay + self.impairment.jitter.mul_f64(self.random.random::<f64>());
            self.queue.insert((now + late, self.entered * 2 + copy), datagram.clone());
        }
    }

    /// The next datagram that has come out by `now`.
    pub fn leave(&mut self, now: Instant) -> Option<T> {
        let entry = self.queue.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }

    /// When the next datagram comes out.
    pub fn next(&self) -> Option<Instant> {
        self.queue.first_key_value().map(|((due, _), _)| *due)
    }

    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_its_share_and_is_the_same_for_the_same_seed() {
        let run = |seed| {
            let now = Instant::now();
            let mut path = Impairer::new(Impairment::drop(0.03), seed);
            let mut out = Vec::new();
            for number in 0..10_000 {
                path.enter(number, now);
                out.extend(path.leave(now));
            }
            assert_eq!(path.dropped() as usize, 10_000 - out.len());
            out
        };
        let first = run(1);
        assert!((9_600..9_800).contains(&first.len()), "{}", first.len());
        assert_eq!(first, run(1));
        assert_ne!(first, run(2));
    }

    #[test]
    fn delays_duplicates_and_reorders() {
        let now = Instant::now();
        let impairment = Impairment {
            duplicate: 0.5,
            delay: Duration::from_millis(20),
            jitter: Duration::from_millis(30),
            ..Impairment::default()
        };
        let mut path = Impairer::new(impairment, 7);
        for number in 0..100 {
            path.enter(number, now);
        }
        assert_eq!(path.leave(now + Duration::from_millis(19)), None);
        assert!(path.next().is_some_and(|due| due >= now + Duration::from_millis(20)));
        let mut out = Vec::new();
        while let Some(number) = path.leave(now + Duration::from_millis(50)) {
            out.push(number);
        }
        assert!(out.len() > 120 && out.len() < 180, "{}", out.len());
        assert!(!out.is_sorted());
        out.sort_unstable();
        out.dedup();
        assert_eq!(out, Vec::from_iter(0..100));
    }
}
