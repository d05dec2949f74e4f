//! How much a path can carry, as its receiver sees it: by the queue that stands on it, where packets tell when they were
//! sent, and by what is lost of them.
//!
//! * **Queue**: how much longer packets take now than the fastest of the last half minute (base delay, after RFC 6817, section
//!   3.4.2). The fastest of a moment counts: jitter makes packets late, a queue makes all of them late. RTP timestamps do
//!   not tell when a packet was sent, and those of many cameras are wrong, so without absolute send times only loss tells.
//! * **Rate**: falls below what comes through when a queue stands, grows by 8 % a second otherwise, slowly near where
//!   it last was too much (draft-ietf-rmcat-gcc-02, section 5.5), and not beyond what the master makes use of: that it
//!   sends less is no reason to fall.
//! * **Loss**: of less than 2 % nothing follows, above 10 % the rate falls (section 6).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// All of the last so many milliseconds took longer: that is a queue.
const NOW: i64 = 150;
/// What may stand there, ms (RFC 6817: at most 100).
const TARGET: i64 = 60;
/// The fastest of each of these counts for as long as there are so many.
const BASE_SPAN: i64 = 3_000;
const BASES: usize = 10;
/// What arrived within so long is the rate.
const RATE_WINDOW: Duration = Duration::from_millis(500);
/// Packets of that time that are kept: 90 Mbit/s. When there are more the oldest go, and the rate is thought smaller.
const MAX_PACKETS: usize = 4_096;
/// A fall shows its effect a round trip and a drained queue later: no other sooner, unless the queue has grown since.
const SETTLE: Duration = Duration::from_millis(400);
/// Loss is looked at over so long.
const LOSS_WINDOW: Duration = Duration::from_secs(1);
/// Never below nor above, bit/s.
const LEAST: f64 = 100_000.0;
const MOST: f64 = 50_000_000.0;

/// One path.
#[derive(Debug)]
pub(crate) struct Estimate {
    start: Instant,
    /// bit/s.
    rate: f64,
    grown_at: Instant,
    /// Arrival and bytes.
    arrived: VecDeque<(Instant, usize)>,
    bytes: usize,
    delay: Delay,
    fallen_at: Option<(Instant, i64)>,
    /// What came through when the rate was last too much.
    ceiling: Option<f64>,
    /// Since when, and how many packets came and were missing.
    loss: (Instant, usize, usize),
}

impl Estimate {
    pub(crate) fn new(rate: u64, now: Instant) -> Self {
        Self {
            start: now,
            rate: (rate as f64).clamp(LEAST, MOST),
            grown_at: now,
            arrived: VecDeque::new(),
            bytes: 0,
            delay: Delay::default(),
            fallen_at: None,
            ceiling: None,
            loss: (now, 0, 0),
        }
    }

    /// bit/s.
    pub(crate) fn bit_rate(&self) -> u64 {
        self.rate as u64
    }

    /// So many packets are missing; each time they are asked for counts.
    pub(crate) fn missing(&mut self, packets: usize) {
        self.loss.2 += packets;
    }

    /// A packet of so many bytes arrived. `sent`: its absolute send time, 24 bits, 6.18 seconds.
    pub(crate) fn packet(&mut self, bytes: usize, sent: Option<u32>, now: Instant) {
        self.arrived.push_back((now, bytes));
        self.bytes += bytes;
        while let Some(&(at, old)) = self.arrived.front()
            && (now.saturating_duration_since(at) > RATE_WINDOW || self.arrived.len() > MAX_PACKETS)
        {
            self.arrived.pop_front();
            self.bytes -= old;
        }
        self.loss.1 += 1;
        if let Some(sent) = sent {
            let at = now.saturating_duration_since(self.start).as_micros() as i64;
            self.delay.packet(sent, at);
        }
        let queue = self.delay.queue();
        if queue > TARGET {
            self.fall(queue, now);
        } else {
            self.lose(now);
            self.grow(now);
        }
    }

    /// bit/s that come through; `None`: too little came to say.
    fn incoming(&self, now: Instant) -> Option<f64> {
        let (first, _) = *self.arrived.front()?;
        let span = now.saturating_duration_since(first);
        (span * 2 >= RATE_WINDOW).then(|| self.bytes as f64 * 8.0 / span.as_secs_f64())
    }

    /// A queue of so many milliseconds stands.
    fn fall(&mut self, queue: i64, now: Instant) {
        self.grown_at = now;
        let settles = self.fallen_at.is_some_and(|(at, then)| {
            let since = now.saturating_duration_since(at);
            // It drains.
            since < SETTLE || queue < then
        });
        if let Some((_, then)) = &mut self.fallen_at
            && queue < *then
        {
            *then = queue;
        }
        if settles {
            return;
        }
        let Some(incoming) = self.incoming(now) else { return };
        self.ceiling = Some(incoming);
        self.fallen_at = Some((now, queue));
        self.rate = self.rate.min(incoming * 0.85).max(LEAST);
    }

    fn lose(&mut self, now: Instant) {
        let (since, came, missing) = self.loss;
        if now.saturating_duration_since(since) < LOSS_WINDOW {
            return;
        }
        self.loss = (now, 0, 0);
        let share = missing as f64 / (came + missing).max(1) as f64;
        if share > 0.1 {
            self.rate = (self.rate * (1.0 - 0.5 * share)).max(LEAST);
        }
        if share > 0.02 {
            self.grown_at = now + LOSS_WINDOW;
        }
    }

    fn grow(&mut self, now: Instant) {
        self.fallen_at = None;
        let passed = now.saturating_duration_since(self.grown_at);
        if passed < Duration::from_millis(100) {
            return;
        }
        self.grown_at = now;
        let Some(incoming) = self.incoming(now) else { return };
        if self.rate > incoming * 1.5 {
            return;
        }
        let is_near = self.ceiling.is_some_and(|ceiling| (self.rate - ceiling).abs() < ceiling * 0.15);
        if self.ceiling.is_some_and(|ceiling| self.rate > ceiling * 1.15) {
            self.ceiling = None;
        }
        let a_second = if is_near { 0.03 } else { 0.08 };
        self.rate = (self.rate * (1.0 + a_second * passed.as_secs_f64().min(1.0))).min(MOST);
    }
}

/// Which delay has been added to the least.
#[derive(Debug, Default)]
struct Delay {
    /// The newest send time, continued past its wrap after 64 s, µs.
    newest: Option<i64>,
    /// Arrival, and delay: one a millisecond, the fastest. µs and on any scale.
    recent: VecDeque<(i64, i64)>,
    /// Since when, and the fastest.
    bases: VecDeque<(i64, i64)>,
}

impl Delay {
    /// `sent`: 24 bits of 6.18 s. `at`: arrival, µs.
    fn packet(&mut self, sent: u32, at: i64) {
        const WRAP: i64 = 64_000_000;
        let sent = (i64::from(sent & 0xff_ffff) * 1_000_000) >> 18;
        let newest = *self.newest.get_or_insert(sent);
        let ahead = (sent - newest).rem_euclid(WRAP);
        let sent = newest + if ahead < WRAP / 2 { ahead } else { ahead - WRAP };
        self.newest = Some(newest.max(sent));
        let delay = at - sent;
        match self.recent.back_mut() {
            Some((when, fastest)) if at - *when < 1_000 => *fastest = delay.min(*fastest),
            _ => self.recent.push_back((at, delay)),
        }
        while self.recent.front().is_some_and(|(when, _)| at - when > NOW * 1_000) {
            self.recent.pop_front();
        }
        match self.bases.back_mut() {
            Some((since, fastest)) if at - *since < BASE_SPAN * 1_000 => *fastest = delay.min(*fastest),
            _ => self.bases.push_back((at, delay)),
        }
        if self.bases.len() > BASES {
            self.bases.pop_front();
        }
    }

    /// What stands on the path, ms.
    fn queue(&self) -> i64 {
        let fastest = |of: &VecDeque<(i64, i64)>| of.iter().map(|(_, delay)| *delay).min();
        let span =
            self.recent.front().zip(self.recent.back()).map_or(0, |((first, _), (last, _))| last - first);
        // Of a pause nothing can be said.
        if span < NOW * 500 {
            return 0;
        }
        fastest(&self.recent).zip(fastest(&self.bases)).map_or(0, |(now, base)| (now - base) / 1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A master that sends 30 pictures a second at the rate that it was last told, over a link with a queue.
    struct Link {
        now: Instant,
        start: Instant,
        estimate: Estimate,
        sends: f64,
        /// When the link is free.
        free: Instant,
        clock_ppm: i64,
    }

    impl Link {
        fn new(rate: u64) -> Self {
            let start = Instant::now();
            Self {
                now: start,
                start,
                estimate: Estimate::new(rate, start),
                sends: rate as f64,
                free: start,
                clock_ppm: 0,
            }
        }

        /// Sends at most `wants` bit/s where so many are carried: the longest queue, and the mean rate of sending.
        fn run(
            &mut self,
            seconds: u64,
            carries: f64,
            wants: f64,
            stamped: bool,
            jitter_ms: u64,
        ) -> (Duration, f64) {
            let (mut longest, mut bytes) = (Duration::ZERO, 0);
            for picture in 0..seconds * 30 {
                let length = ((self.sends / 8.0 / 30.0) as usize).max(100);
                for at in (0..length).step_by(1_200) {
                    let size = (length - at).min(1_200);
                    let takes = Duration::from_secs_f64(size as f64 * 8.0 / carries);
                    self.free = self.free.max(self.now) + takes;
                    longest = longest.max(self.free - self.now);
                    bytes += size;
                    let since = (self.now - self.start).as_micros() as i64;
                    let clock = since + since * self.clock_ppm / 1_000_000;
                    let stamp = ((clock << 18) / 1_000_000) as u32 & 0xff_ffff;
                    let jitter = Duration::from_millis((picture * 7 + at as u64) % jitter_ms.max(1));
                    self.estimate.packet(
                        size,
                        stamped.then_some(stamp),
                        self.free + jitter + Duration::from_millis(25),
                    );
                }
                self.sends = (self.estimate.bit_rate() as f64).min(wants);
                self.now += Duration::from_micros(33_333);
            }
            (longest, bytes as f64 * 8.0 / seconds as f64)
        }
    }

    #[test]
    fn a_master_gets_to_its_full_quality_and_stays_there() {
        for (jitter, clock_ppm) in [(0, 0), (40, 500), (40, -500)] {
            let mut link = Link { clock_ppm, ..Link::new(1_000_000) };
            link.run(20, 20e6, 3e6, true, jitter);
            let (_, rate) = link.run(60, 20e6, 3e6, true, jitter);
            assert!(rate > 2.9e6, "{rate} bit/s, {clock_ppm} ppm");
            // A still picture, and what moves again at once.
            link.run(20, 20e6, 0.2e6, true, jitter);
            let (_, rate) = link.run(1, 20e6, 3e6, true, jitter);
            assert!(rate > 2.5e6, "{rate} bit/s");
        }
    }

    #[test]
    fn a_path_that_became_thin_is_found_out_before_its_queue_is_long_and_used_well() {
        for jitter in [0, 30] {
            let mut link = Link::new(3_000_000);
            link.run(10, 20e6, 3e6, true, jitter);
            let (longest, _) = link.run(3, 1e6, 3e6, true, jitter);
            assert!(longest < Duration::from_millis(900), "{longest:?}");
            let (longest, rate) = link.run(30, 1e6, 3e6, true, jitter);
            assert!(longest < Duration::from_millis(300), "{longest:?}");
            assert!((0.75e6..1.05e6).contains(&rate), "{rate} bit/s of 1,000,000");
            link.run(30, 20e6, 3e6, true, jitter);
            let (_, rate) = link.run(10, 20e6, 3e6, true, jitter);
            assert!(rate > 2.5e6, "{rate} bit/s when it is wide again");
        }
    }

    #[test]
    fn without_send_times_loss_alone_tells() {
        let mut link = Link::new(2_000_000);
        for (missing, from, to) in [(2, 1.9e6, 4.7e6), (20, 0.0, 0.9)] {
            let before = link.estimate.rate;
            for _ in 0..50 {
                link.run(1, 50e6, 3e6, false, 0);
                // Of some 220 packets.
                link.estimate.missing(missing * 2);
            }
            let after = link.estimate.rate;
            if missing > 10 {
                assert!(after < before * to, "{before} {after}")
            } else {
                assert!((from..to).contains(&after), "{after}")
            }
        }
    }
}
