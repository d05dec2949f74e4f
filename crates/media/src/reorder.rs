//! Puts the packets of one SSRC in order, decides what to ask for again, and decides when to stop waiting.
//!
//! * A packet that arrived before is recognised and dropped, however it came again (by the network, or as a probe that
//!   was unwrapped from RTX), as long as it is among the newest [`HISTORY`] sequence numbers.
//! * A packet without payload counts as received, so that probing never makes a gap.
//! * A sequence number that is missing when a later one arrives is asked for after a short grace, again about every
//!   round trip, at most [`ReorderConfig::max_tries`] times; the packets behind it wait for it as long as that takes, or as
//!   late as packets come on this path, between [`ReorderConfig::wait_min`] and [`ReorderConfig::wait_max`]; then it is
//!   lost and they go on.
//! * A sender that answers no request ([`DEAF`]) is asked once for each packet, and not waited for longer than an answer
//!   takes: it is one answer that proves it wrong.
//! * **When the buffer is full** (`max_packets`, `max_bytes`) the oldest gap is given up at once, which frees at least
//!   one packet: what is new is never refused. When more than `max_missing` numbers are missing, the oldest of them are
//!   no longer asked for nor waited for.
//! * Sequence numbers that jump far ([`MAX_DROPOUT`]), or repeat a number with another timestamp, are a stream that was
//!   restarted, once [`PROBATION`] of them follow each other with nothing of the old stream between them.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::round_trip::RoundTrip;
use crate::rtp::RtpPacket;
use crate::unwrap::extend_sequence;

/// Up to so many missing packets are repaired at once; more take this time each.
const ISOLATED: usize = 32;
const REPAIR: Duration = Duration::from_micros(120);

/// Sequence numbers behind the newest released one whose fate is remembered.
const HISTORY: usize = 2048;
/// A step forward larger than this is a restart and not a loss (RFC 3550 appendix A.1 names 3000).
const MAX_DROPOUT: u64 = 3000;
/// Packets in a row that prove a restart.
const PROBATION: usize = 4;
/// How far the first packets of a stream may be out of order.
const START_MISORDER: u64 = 64;
/// Gaps in a row that were asked for in vain, after which a sender is not believed to repeat anything.
const DEAF: u32 = 4;
/// Packets that were given up and whose late arrival teaches: what is late by more was forgotten.
const MAX_GIVEN_UP: usize = 256;
/// How late packets come is forgotten by half in 22 s: a 128th in each of these.
const FORGET_EVERY: Duration = Duration::from_millis(250);
const FORGET: u32 = 128;
/// So late may packets come before it is known how late they do; forgotten likewise.
const PRESUMED: Duration = Duration::from_millis(100);
const GRACE_MAX: Duration = Duration::from_millis(50);

/// How one track waits and repairs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReorderConfig {
    /// Ask for missing packets by NACK.
    pub nack: bool,
    /// How late a packet may be before it is asked for; grows to 50 ms on paths that reorder.
    pub grace: Duration,
    /// Shortest and
    pub wait_min: Duration,
    /// longest time that packets wait for a missing one in front of them.
    pub wait_max: Duration,
    /// NACKs for one packet.
    pub max_tries: u32,
    /// Packets held back.
    pub max_packets: usize,
    /// Payload bytes held back. In memory a packet has at most twice as many and a few hundred more
    /// ([`RtpPacket::parse`]).
    pub max_bytes: usize,
    /// Missing packets that are asked for and waited for at the same time.
    pub max_missing: usize,
}

impl ReorderConfig {
    /// For video: repairs by NACK. Waits between 20 and 500 ms.
    pub fn video() -> Self {
        Self {
            nack: true,
            grace: Duration::from_millis(10),
            wait_min: Duration::from_millis(20),
            wait_max: Duration::from_millis(500),
            max_tries: 8,
            max_packets: 4096,
            max_bytes: 8 << 20,
            // A key frame of two megabytes of which hardly anything came.
            max_missing: 2048,
        }
    }

    /// For audio: as for video, and does not ask again unless `nack` is set.
    pub fn audio() -> Self {
        Self { nack: false, max_packets: 512, max_bytes: 1 << 20, max_missing: 256, ..Self::video() }
    }
}

/// What became of a packet that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It is new. `repaired`: it had been asked for.
    New {
        repaired: bool,
    },
    Duplicate,
    /// It had been given up.
    Late,
    /// It may belong to a restarted stream; held until that is clear.
    Probation,
    /// It proved that the stream was restarted; this many packets were taken over from probation, itself included.
    Restarted {
        packets: u64,
    },
}

/// What comes out, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Released {
    /// A packet with a payload.
    Packet { sequence: u64, packet: RtpPacket, arrived: Instant },
    /// These sequence numbers will not come any more.
    Lost { first: u64, count: u64 },
    /// What follows has nothing to do with what was before.
    Restart,
}

#[derive(Clone, Copy, Debug)]
struct Missing {
    since: Instant,
    tries: u32,
    first_asked: Option<Instant>,
    asked: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    /// Extended number + 1, so that 0 is an empty place.
    sequence: u64,
    timestamp: u32,
    received: bool,
}

pub(crate) struct ReorderBuffer {
    config: ReorderConfig,
    /// The next number to release; `None` before the first packet.
    next: Option<u64>,
    highest: u64,
    /// Until then nothing is released, so that the first packets may be out of order.
    hold_until: Option<Instant>,
    packets: BTreeMap<u64, (RtpPacket, Instant)>,
    bytes: usize,
    missing: BTreeMap<u64, Missing>,
    history: Vec<Fate>,
    probation: Vec<RtpPacket>,
    /// What was left of the stream before a restart; bounded by `max_packets` of that moment.
    flushed: VecDeque<Released>,
    rtt: RoundTrip,
    /// How late packets came that nobody had asked for.
    lateness: Duration,
    /// Waited for before that is known.
    presumed: Duration,
    /// When both were last forgotten a little.
    forgot: Option<Instant>,
    jitter: Duration,
    /// Gaps given up since the last repair, each of whose packets was asked for.
    unanswered: u32,
    /// The newest that were given up. When it is full the oldest goes.
    given_up: VecDeque<(u64, Missing)>,
}

impl ReorderBuffer {
    pub(crate) fn new(config: ReorderConfig) -> Self {
        Self {
            config,
            next: None,
            highest: 0,
            hold_until: None,
            packets: BTreeMap::new(),
            bytes: 0,
            missing: BTreeMap::new(),
            history: Vec::new(),
            probation: Vec::new(),
            flushed: VecDeque::new(),
            rtt: RoundTrip::default(),
            lateness: Duration::ZERO,
            presumed: PRESUMED,
            forgot: None,
            jitter: Duration::ZERO,
            unanswered: 0,
            given_up: VecDeque::new(),
        }
    }

    pub(crate) fn set_rtt(&mut self, rtt: Duration) {
        self.rtt.tell(rtt);
    }

    pub(crate) fn set_jitter(&mut self, jitter: Duration) {
        self.jitter = jitter;
    }

    /// Measured from NACK to repair, else told.
    pub(crate) fn rtt(&self) -> Option<Duration> {
        self.rtt.get()
    }

    /// How late a packet may be before it is asked for.
    fn grace(&self) -> Duration {
        (self.lateness * 5 / 4).clamp(self.config.grace, GRACE_MAX.max(self.config.grace))
    }

    /// Time between two NACKs for the same packet.
    fn interval(&self) -> Duration {
        // A burst that a small socket buffer swallowed: what is asked for again comes in pieces that fit into it.
        let burst = self.missing.len().saturating_sub(ISOLATED);
        let pieces = REPAIR * u32::try_from(burst).unwrap_or(u32::MAX).min(MAX_DROPOUT as u32);
        self.rtt.answered_within() + pieces
    }

    /// NACKs for one packet.
    fn tries(&self) -> u32 {
        if self.unanswered < DEAF { self.config.max_tries } else { self.config.max_tries.min(1) }
    }

    /// How long packets wait for one in front of them.
    fn wait(&self) -> Duration {
        let late = (self.jitter * 4).max(self.lateness * 5 / 4).max(self.presumed);
        let repair = self.grace() + self.interval() * self.tries();
        let wish = if self.config.nack { repair.max(late) } else { late };
        wish.clamp(self.config.wait_min, self.config.wait_max.max(self.config.wait_min))
    }

    fn full(&self) -> bool {
        self.packets.len() > self.config.max_packets || self.bytes > self.config.max_bytes
    }

    pub(crate) fn insert(&mut self, packet: RtpPacket, now: Instant) -> Arrival {
        let Some(next) = self.next else {
            self.start(packet, now);
            return Arrival::New { repaired: false };
        };
        self.forget(now);
        let sequence = extend_sequence(packet.sequence, self.highest);
        if sequence > self.highest {
            if sequence - self.highest > MAX_DROPOUT {
                return self.suspect(packet, now);
            }
            for number in self.highest + 1..sequence {
                self.await_missing(number, now);
            }
            self.highest = sequence;
            self.hold(sequence, packet, now);
            return Arrival::New { repaired: false };
        }
        if sequence >= next {
            if let Some((held, _)) = self.packets.get(&sequence) {
                return if held.timestamp == packet.timestamp {
                    Arrival::Duplicate
                } else {
                    self.suspect(packet, now)
                };
            }
            let repaired = self.arrived(sequence, now);
            self.hold(sequence, packet, now);
            return Arrival::New { repaired };
        }
        if self.hold_until.is_some() && next - sequence <= START_MISORDER {
            for number in sequence + 1..next {
                self.await_missing(number, now);
            }
            self.next = Some(sequence);
            self.hold(sequence, packet, now);
            return Arrival::New { repaired: false };
        }
        match self.fate(sequence) {
            Some(fate) if !fate.received => {
                self.remember(sequence, packet.timestamp, true);
                if let Some(place) = self.given_up.iter().position(|(given_up, _)| *given_up == sequence)
                    && let Some((_, missing)) = self.given_up.remove(place)
                {
                    self.learn(missing, now);
                }
                Arrival::Late
            }
            Some(fate) if fate.timestamp == packet.timestamp => Arrival::Duplicate,
            _ => self.suspect(packet, now),
        }
    }

    fn start(&mut self, packet: RtpPacket, now: Instant) {
        // One wrap above zero, so that earlier numbers stay positive.
        let sequence = (1 << 16) + u64::from(packet.sequence);
        self.next = Some(sequence);
        self.highest = sequence;
        self.hold_until = Some(now + self.config.grace);
        self.history = vec![Fate::default(); HISTORY];
        self.hold(sequence, packet, now);
    }

    fn hold(&mut self, sequence: u64, packet: RtpPacket, now: Instant) {
        // A packet that fits proves that the old stream goes on.
        self.probation.clear();
        self.bytes += packet.payload.len();
        self.packets.insert(sequence, (packet, now));
    }

    fn await_missing(&mut self, sequence: u64, now: Instant) {
        self.missing.insert(sequence, Missing { since: now, tries: 0, first_asked: None, asked: None });
        if self.missing.len() > self.config.max_missing {
            self.missing.pop_first();
        }
    }

    /// A missing packet arrived. True when it had been asked for.
    fn arrived(&mut self, sequence: u64, now: Instant) -> bool {
        let Some(missing) = self.missing.remove(&sequence) else { return false };
        self.learn(missing, now);
        missing.asked.is_some()
    }

    /// From when a missing packet arrived.
    fn learn(&mut self, missing: Missing, now: Instant) {
        let late = now.saturating_duration_since(missing.since);
        let Some(first_asked) = missing.first_asked else { return self.was_late(late) };
        let sample = now.saturating_duration_since(first_asked);
        // Sooner than any repair could be here: it was only late, and asked for too early.
        if missing.tries == 1 && self.rtt.get().is_some_and(|rtt| sample < rtt / 2) {
            return self.was_late(late);
        }
        self.rtt.answered(sample, missing.tries);
        self.unanswered = 0;
    }

    fn was_late(&mut self, late: Duration) {
        self.lateness = self.lateness.max(late.min(self.config.wait_max));
    }

    /// What was learnt of a path that has changed since.
    fn forget(&mut self, now: Instant) {
        let forgot = *self.forgot.get_or_insert(now);
        if now.saturating_duration_since(forgot) >= FORGET_EVERY {
            self.forgot = Some(now);
            self.lateness -= self.lateness / FORGET;
            self.presumed -= self.presumed / FORGET;
        }
    }

    /// These will not come: true when all of them were asked for, and had the time to be answered.
    fn give_up(&mut self, sequence: u64, missing: Missing, now: Instant) -> bool {
        if self.given_up.len() == MAX_GIVEN_UP {
            self.given_up.pop_front();
        }
        self.given_up.push_back((sequence, missing));
        let answered_within = self.rtt.answered_within();
        missing.first_asked.is_some_and(|asked| now.saturating_duration_since(asked) >= answered_within)
    }

    fn suspect(&mut self, packet: RtpPacket, now: Instant) -> Arrival {
        let follows =
            self.probation.last().is_some_and(|last| packet.sequence == last.sequence.wrapping_add(1));
        if !follows {
            self.probation.clear();
        }
        self.probation.push(packet);
        if self.probation.len() < PROBATION {
            return Arrival::Probation;
        }
        let packets = std::mem::take(&mut self.probation);
        let count = packets.len() as u64;
        self.flush();
        for packet in packets {
            self.insert(packet, now);
        }
        Arrival::Restarted { packets: count }
    }

    /// Everything held goes out with its gaps, and the buffer is as new.
    pub(crate) fn flush(&mut self) {
        let mut next = self.next.take();
        for (sequence, (packet, arrived)) in std::mem::take(&mut self.packets) {
            if let Some(next) = next
                && sequence > next
            {
                self.flushed.push_back(Released::Lost { first: next, count: sequence - next });
            }
            next = Some(sequence + 1);
            if !packet.payload.is_empty() {
                self.flushed.push_back(Released::Packet { sequence, packet, arrived });
            }
        }
        self.flushed.push_back(Released::Restart);
        self.bytes = 0;
        self.missing.clear();
        self.given_up.clear();
    }

    fn fate(&self, sequence: u64) -> Option<Fate> {
        let fate = *self.history.get(sequence as usize % HISTORY)?;
        (fate.sequence == sequence + 1).then_some(fate)
    }

    fn remember(&mut self, sequence: u64, timestamp: u32, received: bool) {
        if let Some(place) = self.history.get_mut(sequence as usize % HISTORY) {
            *place = Fate { sequence: sequence + 1, timestamp, received };
        }
    }

    /// The next thing that is ready.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Released> {
        if let Some(released) = self.flushed.pop_front() {
            return Some(released);
        }
        if let Some(hold) = self.hold_until {
            if now < hold && !self.full() {
                return None;
            }
            self.hold_until = None;
        }
        loop {
            let next = self.next?;
            if let Some((packet, arrived)) = self.packets.remove(&next) {
                self.bytes -= packet.payload.len();
                self.remember(next, packet.timestamp, true);
                self.next = Some(next + 1);
                if packet.payload.is_empty() {
                    continue;
                }
                return Some(Released::Packet { sequence: next, packet, arrived });
            }
            // What was received last is always held or released, so behind a gap there is a packet.
            let (&behind, _) = self.packets.first_key_value()?;
            let wait = self.wait();
            let mut end = next;
            let mut in_vain = true;
            while end < behind {
                match self.missing.get(&end).copied() {
                    Some(missing) if now < missing.since + wait && !(self.full() && end == next) => break,
                    Some(missing) => {
                        self.missing.remove(&end);
                        in_vain &= self.give_up(end, missing, now);
                        end += 1;
                    }
                    // Not awaited: on to the next that is, or to the packet.
                    None => {
                        let awaited = self.missing.range(end..behind).next().map(|(number, _)| *number);
                        end = awaited.unwrap_or(behind);
                        in_vain = false;
                    }
                }
            }
            if end == next {
                return None;
            }
            if in_vain {
                self.unanswered = self.unanswered.saturating_add(1);
            }
            for number in (next..end).rev().take(HISTORY) {
                self.remember(number, 0, false);
            }
            self.next = Some(end);
            return Some(Released::Lost { first: next, count: end - next });
        }
    }

    /// The numbers to ask for now, in order.
    pub(crate) fn nacks(&mut self, now: Instant) -> Vec<u16> {
        if !self.config.nack || self.missing.is_empty() {
            return Vec::new();
        }
        let mut due = Vec::new();
        let (grace, interval, tries) = (self.grace(), self.interval(), self.tries());
        for (sequence, missing) in &mut self.missing {
            if missing.due(grace, interval, tries).is_some_and(|due| due <= now) {
                missing.tries += 1;
                missing.first_asked.get_or_insert(now);
                missing.asked = Some(now);
                due.push(*sequence as u16);
            }
        }
        due
    }

    /// When `poll` or `nacks` may have something that they do not have now.
    pub(crate) fn timeout(&self) -> Option<Instant> {
        let hold = self.hold_until.filter(|_| !self.packets.is_empty());
        let next = self.next?;
        let expiry = self.missing.get(&next).map(|missing| missing.since + self.wait());
        let (grace, interval, tries) = (self.grace(), self.interval(), self.tries());
        let nack = if self.config.nack {
            self.missing.values().filter_map(|missing| missing.due(grace, interval, tries)).min()
        } else {
            None
        };
        [hold, expiry, nack].into_iter().flatten().min()
    }
}

impl Missing {
    fn due(&self, grace: Duration, interval: Duration, tries: u32) -> Option<Instant> {
        match self.asked {
            None => Some(self.since + grace),
            Some(asked) if self.tries < tries => Some(asked + interval),
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
