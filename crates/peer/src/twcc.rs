//! Transport-wide congestion control feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01, section 3.1): keeps
//! a master's bandwidth estimate up, and lets it back off in time.

use crate::rtcp;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Between feedback packets while media arrive.
const INTERVAL: Duration = Duration::from_millis(100);

/// Packets that one feedback may span; what is older is forgotten.
const MAX_SPAN: i64 = 2_000;

/// Deltas are multiples of this many microseconds; the reference time, of 64 ms.
const TICK: i64 = 250;
const REFERENCE: i64 = 64_000;

/// Collects arrivals and writes feedback.
#[derive(Debug)]
pub(crate) struct Twcc {
    start: Instant,
    /// Extended sequence number → arrival in microseconds since `start`.
    arrivals: BTreeMap<i64, i64>,
    /// The newest extended sequence number.
    newest: Option<i64>,
    /// The first that the next feedback tells of.
    next: Option<i64>,
    count: u8,
    due: Option<Instant>,
}

impl Twcc {
    /// Times count from `start`.
    pub(crate) fn new(start: Instant) -> Self {
        Self { start, arrivals: BTreeMap::new(), newest: None, next: None, count: 0, due: None }
    }

    /// A packet with this transport-wide sequence number arrived.
    pub(crate) fn arrived(&mut self, sequence: u16, now: Instant) {
        let extended = match self.newest {
            None => i64::from(sequence),
            Some(newest) => newest + i64::from(sequence.wrapping_sub(newest as u16).cast_signed()),
        };
        self.newest = Some(self.newest.map_or(extended, |newest| newest.max(extended)));
        let at = now.saturating_duration_since(self.start).as_micros() as i64;
        self.arrivals.entry(extended).or_insert(at);
        // What comes behind the point that was told of is told of again.
        self.next = Some(self.next.map_or(extended, |next| next.min(extended)));
        self.due.get_or_insert(now + INTERVAL);
    }

    /// When [`Twcc::feedback`] has something to say.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// The feedback that is due, empty when there is none.
    pub(crate) fn feedback(&mut self, media_ssrc: u32, now: Instant) -> Vec<Vec<u8>> {
        if self.due.is_none_or(|due| now < due) {
            return Vec::new();
        }
        self.due = None;
        let Some(newest) = self.newest else {
            return Vec::new();
        };
        let first = self.next.unwrap_or(newest).max(newest - MAX_SPAN);
        self.next = Some(newest + 1);
        let mut arrivals = std::mem::take(&mut self.arrivals).split_off(&first).into_iter().peekable();
        let mut packets = Vec::new();
        let mut base = first;
        while let Some(&(_, at)) = arrivals.peek() {
            let mut message = Message::new(base, at);
            while let Some(&(sequence, at)) = arrivals.peek() {
                if !message.add(sequence, at) {
                    break;
                }
                base = sequence + 1;
                arrivals.next();
            }
            packets.push(message.write(media_ssrc, self.count));
            self.count = self.count.wrapping_add(1);
        }
        packets
    }
}

/// Feedback that is being written.
struct Message {
    base: i64,
    /// In units of 64 ms.
    reference: i64,
    /// Microseconds, as the deltas so far add up to.
    time: i64,
    /// 0 not received, 1 a small delta, 2 a large or negative one.
    statuses: Vec<u8>,
    deltas: Vec<u8>,
}

impl Message {
    fn new(base: i64, at: i64) -> Self {
        let reference = at / REFERENCE;
        Self { base, reference, time: reference * REFERENCE, statuses: Vec::new(), deltas: Vec::new() }
    }

    /// `false`: it does not fit; the next message begins with it.
    fn add(&mut self, sequence: i64, at: i64) -> bool {
        let missing = sequence - self.base - self.statuses.len() as i64;
        let ticks = (at - self.time).div_euclid(TICK);
        if missing < 0 || self.deltas.len() > 800 || self.statuses.len() as i64 + missing > MAX_SPAN + 1 {
            return false;
        }
        let Ok(large) = i16::try_from(ticks) else {
            return false;
        };
        self.statuses.extend(std::iter::repeat_n(0, missing as usize));
        if let Ok(small) = u8::try_from(ticks) {
            self.statuses.push(1);
            self.deltas.push(small);
        } else {
            self.statuses.push(2);
            self.deltas.extend(large.to_be_bytes());
        }
        self.time += ticks * TICK;
        true
    }

    fn write(self, media_ssrc: u32, count: u8) -> Vec<u8> {
        let mut body = Vec::with_capacity(16 + self.statuses.len() / 3 + self.deltas.len());
        body.extend((self.base as u16).to_be_bytes());
        body.extend((self.statuses.len() as u16).to_be_bytes());
        body.extend(((self.reference as u32) << 8 | u32::from(count)).to_be_bytes());
        let mut rest = &self.statuses[..];
        while let [first, ..] = *rest {
            let run = rest.iter().take_while(|status| **status == first).count().min(0x1fff);
            if run >= 7 {
                body.extend((u16::from(first) << 13 | run as u16).to_be_bytes());
                rest = &rest[run..];
                continue;
            }
            // Seven symbols of two bits.
            let taken = rest.len().min(7);
            let symbols = (0..7).fold(0_u16, |symbols, index| {
                symbols << 2 | u16::from(rest.get(index).copied().unwrap_or(0))
            });
            body.extend((0xc000 | symbols).to_be_bytes());
            rest = &rest[taken..];
        }
        body.extend(&self.deltas);
        body.resize(body.len().next_multiple_of(4), 0);
        let words: Vec<_> =
            body.chunks(4).map(|word| u32::from_be_bytes([word[0], word[1], word[2], word[3]])).collect();
        rtcp::feedback(15, 205, media_ssrc, &words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a sender reads in a feedback packet: sequence number → arrival in microseconds.
    fn read(packet: &[u8]) -> (u16, Vec<Option<i64>>) {
        assert_eq!(packet[..2], [0x8f, 205]);
        assert_eq!(packet.len(), 4 * (usize::from(u16::from_be_bytes([packet[2], packet[3]])) + 1));
        let u16_at = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
        let (base, count) = (u16_at(12), usize::from(u16_at(14)));
        let mut time = i64::from(u32::from_be_bytes([0, packet[16], packet[17], packet[18]])) * REFERENCE;
        let mut statuses = Vec::new();
        let mut at = 20;
        while statuses.len() < count {
            let chunk = u16_at(at);
            at += 2;
            if chunk & 0x8000 == 0 {
                statuses.extend(std::iter::repeat_n(chunk >> 13, usize::from(chunk & 0x1fff)));
            } else {
                assert!(chunk & 0x4000 != 0);
                statuses.extend((0..7).map(|index| chunk >> (12 - 2 * index) & 3));
            }
        }
        statuses.truncate(count);
        let times = statuses.into_iter().map(|status| {
            let ticks = match status {
                0 => return None,
                1 => {
                    at += 1;
                    i64::from(packet[at - 1])
                }
                _ => {
                    at += 2;
                    i64::from(u16_at(at - 2).cast_signed())
                }
            };
            time += ticks * TICK;
            Some(time)
        });
        let times = times.collect();
        assert!(packet.len() - at < 4);
        (base, times)
    }

    proptest! {
        /// A sender learns of every packet when it came, to a quarter of a millisecond, and of none that did not come.
        #[test]
        fn told_as_it_was(
            first in any::<u16>(),
            steps in proptest::collection::vec((prop_oneof![9 => Just(1_u16), 1 => 2..40_u16], 0..40_000_u64), 1..300),
        ) {
            let start = Instant::now();
            let mut twcc = Twcc::new(start);
            let (mut sequence, mut at, mut truth) = (first, 0, BTreeMap::new());
            for (step, micros) in &steps {
                sequence = sequence.wrapping_add(*step);
                at += micros;
                twcc.arrived(sequence, start + Duration::from_micros(at));
                truth.insert(sequence, at as i64);
            }
            let now = start + Duration::from_micros(at) + INTERVAL;
            prop_assert!(twcc.poll_timeout().is_some_and(|due| due <= now));
            let mut told = BTreeMap::new();
            for packet in twcc.feedback(9, now) {
                prop_assert!(packet.len() <= 1_400, "{} bytes", packet.len());
                let (base, times) = read(&packet);
                for (index, time) in times.into_iter().enumerate() {
                    if let Some(time) = time {
                        told.insert(base.wrapping_add(index as u16), time);
                    }
                }
            }
            prop_assert_eq!(told.keys().collect::<Vec<_>>(), truth.keys().collect::<Vec<_>>());
            for (sequence, at) in &truth {
                prop_assert!((told[sequence] - at).abs() <= TICK, "{} told as {}", at, told[sequence]);
            }
            prop_assert_eq!(twcc.feedback(9, now), Vec::<Vec<u8>>::new());
        }
    }
}
