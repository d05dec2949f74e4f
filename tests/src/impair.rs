//! A bad network in user space: a seeded impairer for the datagrams of one direction. Sans-IO.

use std::collections::BTreeMap;
use std::net::SocketAddr;
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
    /// A byte of it is another one.
    pub corrupt: f64,
    /// All of them are lost for a while, again and again.
    pub bursts: Option<Bursts>,
}

/// Of so many datagrams the last `length` are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bursts {
    pub every: u64,
    pub length: u64,
}

/// What an [`Impairer`] can damage.
pub trait Corrupt {
    fn corrupt(&mut self, random: &mut StdRng);
}

impl Corrupt for (Vec<u8>, SocketAddr) {
    fn corrupt(&mut self, random: &mut StdRng) {
        if !self.0.is_empty() {
            let at = random.random_range(0..self.0.len());
            self.0[at] ^= random.random_range(1..=255);
        }
    }
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

impl<T: Clone + Corrupt> Impairer<T> {
    pub fn new(impairment: Impairment, seed: u64) -> Self {
        Self {
            impairment,
            random: StdRng::seed_from_u64(seed),
            queue: BTreeMap::new(),
            entered: 0,
            dropped: 0,
        }
    }

    /// The weather changes. What is on its way arrives.
    pub fn set(&mut self, impairment: Impairment) {
        self.impairment = impairment;
    }

    /// A datagram enters the path.
    pub fn enter(&mut self, mut datagram: T, now: Instant) {
        self.entered += 1;
        let lost = |bursts: Bursts| self.entered % bursts.every >= bursts.every - bursts.length;
        if self.random.random_bool(self.impairment.drop) || self.impairment.bursts.is_some_and(lost) {
            self.dropped += 1;
            return;
        }
        if self.random.random_bool(self.impairment.corrupt) {
            datagram.corrupt(&mut self.random);
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

    impl Corrupt for i32 {
        fn corrupt(&mut self, _: &mut StdRng) {
            *self = -*self;
        }
    }

    #[test]
    fn damages_its_share_and_loses_its_bursts() {
        let now = Instant::now();
        let mut path = Impairer::new(Impairment { corrupt: 0.1, ..Impairment::default() }, 3);
        let mut out = Vec::new();
        for number in 1..=1_000 {
            path.enter(number, now);
            out.extend(path.leave(now));
        }
        let damaged = out.iter().filter(|number| **number < 0).count();
        assert!(out.len() == 1_000 && (70..130).contains(&damaged), "{damaged} of {}", out.len());
        let bursts = Some(Bursts { every: 100, length: 10 });
        path.set(Impairment { bursts, ..Impairment::default() });
        let mut out = Vec::new();
        for number in 1..=1_000 {
            path.enter(number, now);
            out.extend(path.leave(now));
        }
        assert_eq!((out.len(), path.dropped()), (900, 100));
        let holes = out.windows(2).filter(|pair| pair[1] - pair[0] != 1).map(|pair| pair[1] - pair[0]);
        assert!(holes.into_iter().all(|hole| hole == 11));
    }

    #[test]
    fn drops_its_share_and_is_the_same_for_the_same_seed() {
        let run = |seed| {
            let now = Instant::now();
            let mut path = Impairer::new(Impairment::drop(0.03), seed);
            let mut out = Vec::new();
            for number in 0..10_000_i32 {
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
