//! Transport-wide congestion control feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01, section 3.1): keeps
//! a master's bandwidth estimate up, and lets it back off in time.
//!
//! The numbers count the packets of one transport, so each transport has one of these.

use crate::rtcp;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Between feedback packets: the sooner a master hears of a queue the shorter that stays. It takes less than a twentieth of
/// what arrives, so it comes after so many bytes,
const SHORTEST: Duration = Duration::from_millis(50);
const ENOUGH: usize = 2_500;
/// or then.
const LONGEST: Duration = Duration::from_millis(250);

/// Packets that one feedback may span; what is older is forgotten.
const MAX_SPAN: i64 = 2_000;

/// What was told is kept for so long: a packet that comes late is told of together with those behind it, which would otherwise
/// be said to be lost then.
const KEPT: i64 = 500_000;

/// Packets in a row whose numbers were forgotten long ago, that prove a sender that counts anew.
const ANEW: u32 = 8;

/// Deltas are multiples of this many microseconds; the reference time, of 64 ms.
const TICK: i64 = 250;
const REFERENCE: i64 = 64_000;

/// Collects arrivals and writes feedback.
#[derive(Debug)]
pub(crate) struct Twcc {
    start: Instant,
    /// Extended sequence number → arrival in microseconds since `start`. At most [`MAX_SPAN`] and what arrives between two
    /// feedback packets; the oldest go.
    arrivals: BTreeMap<i64, i64>,
    /// The newest extended sequence number.
    newest: Option<i64>,
    /// The first that the next feedback tells of.
    next: i64,
    /// What is below was forgotten.
    floor: i64,
    /// Packets in a row from below.
    below: u32,
    count: u8,
    /// When the first packet came that was not told of, and how many bytes since.
    untold: Option<(Instant, usize)>,
}

impl Twcc {
    /// Times count from `start`.
    pub(crate) fn new(start: Instant) -> Self {
        Self {
            start,
            arrivals: BTreeMap::new(),
            newest: None,
            next: 0,
            floor: 0,
            below: 0,
            count: 0,
            untold: None,
        }
    }

    /// A packet of so many bytes with this transport-wide sequence number arrived.
    pub(crate) fn arrived(&mut self, sequence: u16, bytes: usize, now: Instant) {
        let at = now.saturating_duration_since(self.start).as_micros() as i64;
        let Some(newest) = self.newest else { return self.begin(sequence, bytes, at, now) };
        let extended = newest + i64::from(sequence.wrapping_sub(newest as u16).cast_signed());
        if extended < self.floor {
            // So late that nobody can use it, or of a sender that counts anew.
            self.below += 1;
            if self.below >= ANEW {
                self.begin(sequence, bytes, at, now);
            }
            return;
        }
        self.below = 0;
        self.newest = Some(newest.max(extended));
        if self.arrivals.contains_key(&extended) {
            return;
        }
        self.arrivals.insert(extended, at);
        // What comes behind the point that was told of is told of again, with what followed it.
        self.next = self.next.min(extended);
        self.count_untold(bytes, now);
        if extended - self.floor > 2 * MAX_SPAN {
            self.forget(extended - MAX_SPAN);
        }
    }

    fn begin(&mut self, sequence: u16, bytes: usize, at: i64, now: Instant) {
        let first = i64::from(sequence);
        self.arrivals = BTreeMap::from([(first, at)]);
        self.newest = Some(first);
        self.next = first;
        // The first packets may be out of order.
        self.floor = first - MAX_SPAN;
        self.below = 0;
        self.count_untold(bytes, now);
    }

    fn count_untold(&mut self, bytes: usize, now: Instant) {
        let (_, untold) = self.untold.get_or_insert((now, 0));
        *untold += bytes;
    }

    fn forget(&mut self, below: i64) {
        self.floor = self.floor.max(below);
        self.next = self.next.max(self.floor);
        self.arrivals = self.arrivals.split_off(&self.floor);
    }

    /// When [`Twcc::feedback`] has something to say.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.untold.map(|(since, bytes)| since + if bytes >= ENOUGH { SHORTEST } else { LONGEST })
    }

    /// The feedback that is due, empty when there is none.
    pub(crate) fn feedback(&mut self, media_ssrc: u32, now: Instant) -> Vec<Vec<u8>> {
        if self.poll_timeout().is_none_or(|due| now < due) {
            return Vec::new();
        }
        self.untold = None;
        let Some(newest) = self.newest else {
            return Vec::new();
        };
        let first = self.next.max(newest - MAX_SPAN);
        let mut arrivals = self.arrivals.range(first..).map(|(sequence, at)| (*sequence, *at)).peekable();
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
        drop(arrivals);
        self.next = newest + 1;
        let now = now.saturating_duration_since(self.start).as_micros() as i64;
        let old = self.arrivals.iter().take_while(|(_, at)| **at + KEPT < now).last();
        let below = old.map_or(self.floor, |(sequence, _)| sequence + 1);
        self.forget(below.max(newest - MAX_SPAN));
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

    /// What a master makes of the feedback so far: by number, when it arrived; `None`: it was said to be lost.
    #[derive(Default)]
    struct Told(BTreeMap<u16, Option<i64>>);

    impl Told {
        fn take(&mut self, packets: Vec<Vec<u8>>) {
            for packet in packets {
                assert!(packet.len() <= 1_400, "{} bytes", packet.len());
                let (base, times) = read(&packet);
                for (index, time) in times.into_iter().enumerate() {
                    let before = self.0.insert(base.wrapping_add(index as u16), time);
                    assert!(time.is_some() || before.flatten().is_none(), "came first, and is lost now");
                }
            }
        }

        fn received(&self) -> Vec<(u16, i64)> {
            self.0.iter().filter_map(|(sequence, time)| Some((*sequence, (*time)?))).collect()
        }
    }

    const SIZE: usize = 1_200;

    proptest! {
        /// A sender learns of every packet when it came, to a quarter of a millisecond, and of none that did not come;
        /// whatever comes late or twice meanwhile.
        #[test]
        fn told_as_it_was(
            first in any::<u16>(),
            steps in proptest::collection::vec(
                (prop_oneof![9 => Just(1_u16), 1 => 2..40_u16], 0..40_000_u64, 0..60_u64, any::<bool>()),
                1..300,
            ),
        ) {
            let start = Instant::now();
            let mut twcc = Twcc::new(start);
            let (mut sequence, mut at) = (first, 0);
            let mut arrivals = Vec::new();
            for (step, micros, late, again) in &steps {
                sequence = sequence.wrapping_add(*step);
                at += micros;
                // Some are up to 120 ms late.
                let arrival = at + if *late < 6 { late * 20_000 } else { 0 };
                arrivals.push((arrival, sequence));
                if *again {
                    arrivals.push((arrival + 50_000, sequence));
                }
            }
            arrivals.sort_unstable();
            let (mut told, mut truth) = (Told::default(), BTreeMap::new());
            for (at, sequence) in arrivals {
                let now = start + Duration::from_micros(at);
                while let Some(due) = twcc.poll_timeout().filter(|due| *due <= now) {
                    told.take(twcc.feedback(9, due));
                }
                twcc.arrived(sequence, SIZE, now);
                truth.entry(sequence).or_insert(at as i64);
            }
            // Of what came twice there is nothing more to say.
            let last = twcc.poll_timeout().unwrap_or(start);
            told.take(twcc.feedback(9, last));
            let received = told.received();
            prop_assert_eq!(received.len(), truth.len());
            for (sequence, time) in received {
                let at = truth[&sequence];
                prop_assert!((time - at).abs() <= TICK, "{} told as {}", at, time);
            }
            prop_assert_eq!(twcc.poll_timeout(), None);
            prop_assert_eq!(twcc.feedback(9, last), Vec::<Vec<u8>>::new());
        }

        /// Numbers in any order: memory is bounded, and a sender that goes on counting from somewhere is told of soon.
        #[test]
        fn any_numbers(numbers in proptest::collection::vec((any::<u16>(), 0..100_u64), 0..400), first in any::<u16>()) {
            let start = Instant::now();
            let mut twcc = Twcc::new(start);
            let mut now = start;
            for &(number, pause) in &numbers {
                now += Duration::from_millis(pause);
                twcc.feedback(9, now);
                twcc.arrived(number, SIZE, now);
                prop_assert!(twcc.arrivals.len() <= 2 * MAX_SPAN as usize + 1);
            }
            twcc.feedback(9, now + LONGEST);
            let mut told = Told::default();
            for step in 0..200 {
                now += Duration::from_millis(10);
                twcc.arrived(first.wrapping_add(step), SIZE, now);
                for packet in twcc.feedback(9, now) {
                    // What was before may be said to be lost.
                    let (base, times) = read(&packet);
                    let times = times.into_iter().enumerate();
                    told.0.extend(times.filter(|(_, time)| time.is_some()).map(|(at, time)| (base.wrapping_add(at as u16), time)));
                }
            }
            for step in u16::try_from(ANEW).unwrap()..190 {
                let number = first.wrapping_add(step);
                let is_told = told.0.contains_key(&number) || numbers.iter().any(|(known, _)| *known == number);
                prop_assert!(is_told, "{} of 200", step);
            }
        }
    }

    #[test]
    fn much_is_told_of_soon_and_little_less_often() {
        for (size, every, between) in [(SIZE, 5, 50), (100, 20, 260)] {
            let start = Instant::now();
            let mut twcc = Twcc::new(start);
            let mut told = Vec::new();
            for number in 0..1_000 / every {
                let now = start + Duration::from_millis(number * every);
                if !twcc.feedback(9, now).is_empty() {
                    told.push(number * every);
                }
                twcc.arrived(number as u16, size, now);
            }
            assert_eq!(told.len() as u64, 999 / between, "{told:?}");
        }
    }
}
