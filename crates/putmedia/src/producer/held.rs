//! What is not sent yet, because another producer still writes to the stream: two of them would store the same media twice,
//! and the service may allow one session a stream.

use std::time::Instant;

use super::Producer;
use super::event::Event;
use crate::fragment::{Fragment, Sent};

/// Two fragments whose starts differ by no more begin with the same picture: cuts are a second apart.
const SAME_MS: u64 = 100;

/// By so much less the stream's end is believed where no fragment begins with the same picture: the two producers may say
/// slightly different times of it, and sound may end before the picture does.
const MARGIN_MS: u64 = 200;

/// What a stream has of another producer: fragments that follow each other without a hole. Milliseconds since 1970, as the
/// service tells them (`ProducerTimestamp` and `FragmentLengthInMilliseconds` of ListFragments).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Start of the first of them.
    pub from_ms: u64,
    /// Start of the last of them.
    pub last_ms: u64,
    /// End of the last of them.
    pub to_ms: u64,
}

impl Stored {
    /// A recording goes on from this without a hole when it begins no later than this.
    fn cut_ms(&self) -> u64 {
        let same = self.last_ms.saturating_add(SAME_MS).min(self.to_ms);
        same.max(self.to_ms.saturating_sub(MARGIN_MS))
    }
}

impl Producer {
    /// From now on nothing is sent, until [`release`](Self::release). When half of the memory is full it begins by itself.
    pub fn hold(&mut self) {
        self.held = true;
    }

    /// The stream has this already: held fragments that lie within it go, counted ([`Event::StoredElsewhere`]), up to the
    /// last that begins with a random-access point before its end. What a spool has held from before stays: it may be of a
    /// time that only seems to be there.
    pub fn stored_elsewhere(&mut self, stored: Stored, now: Instant) {
        let (mut fragments, mut frames) = (0, [0; 2]);
        for id in self.superfluous(stored) {
            if let Some(fragment) = self.take(id) {
                fragments += 1;
                for (sum, frames) in frames.iter_mut().zip(fragment.frames) {
                    *sum += frames;
                }
            }
        }
        if fragments > 0 {
            self.statistics.fragments_stored_elsewhere += fragments;
            self.event(Event::StoredElsewhere { fragments, frames });
        }
        self.settle(now);
    }

    /// What is held is sent.
    pub fn release(&mut self, now: Instant) {
        self.held = false;
        self.settle(now);
    }

    /// Memory is for outages, too: what is held may take half of it.
    pub(super) fn release_when_full(&mut self) {
        if self.held && self.store.bytes > self.config.storage_bytes / 2 {
            self.held = false;
            self.event(Event::HeldTooMuch);
        }
    }

    fn superfluous(&self, stored: Stored) -> Vec<u64> {
        let is_held = |fragment: &&Fragment| {
            self.held && !fragment.restored && fragment.sent == Sent::No && !fragment.was_started()
        };
        let held: Vec<&Fragment> = self.store.iter().filter(is_held).collect();
        let begins =
            |fragment: &&Fragment| fragment.start_ms <= stored.cut_ms() && fragment.begins_with_key();
        let Some(first) = held.iter().rposition(begins) else { return Vec::new() };
        let before = held[..first].iter().rev();
        before
            .take_while(|fragment| fragment.epoch == held[first].epoch && fragment.start_ms >= stored.from_ms)
            .map(|fragment| fragment.id)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::{Frame, MediaTime, Output, ProducerConfig, SpoolConfig, TrackFormat, TrackKind};

    const BEGIN_MS: u64 = 1_795_000_000_000;
    const FRAME_MS: u64 = 40;

    fn at(number: u64) -> u64 {
        BEGIN_MS + number * FRAME_MS
    }

    fn held(config: ProducerConfig) -> Producer {
        let mut producer = Producer::new(config);
        producer.hold();
        producer.set_format(TrackFormat::h264(Bytes::from_static(&[1, 0x42, 0, 0x1e, 0xff]), 16, 16));
        producer
    }

    /// Pictures of these numbers, which the producer thinks to be `off_ms` later than they are; every `group`th can be entered.
    fn push(producer: &mut Producer, numbers: std::ops::Range<u64>, group: u64, off_ms: i64, now: Instant) {
        for number in numbers {
            let time = MediaTime::from_millis(at(number).saturating_add_signed(off_ms));
            let data = Bytes::from(number.to_be_bytes().to_vec());
            let random_access = number.is_multiple_of(group);
            producer.push_frame(Frame { track: TrackKind::Video, time, random_access, data }, now);
        }
    }

    /// What another producer has stored of the pictures from `begins` until before `ends`, in fragments of its own `group`s.
    fn stored(begins: u64, ends: u64, group: u64, phase: u64) -> Stored {
        let last = (begins..ends).rev().find(|number| number % group == phase).unwrap_or(begins);
        Stored { from_ms: at(begins), last_ms: at(last), to_ms: at(ends) }
    }

    /// The numbers of the pictures that wait to be sent.
    fn waiting(producer: &Producer) -> u64 {
        producer.statistics().buffered_frames[0]
    }

    fn connects(producer: &mut Producer) -> bool {
        std::iter::from_fn(|| producer.poll_output()).any(|output| matches!(output, Output::Connect(_)))
    }

    proptest! {
        /// Whenever the other one ends, and whatever both say of the time: nothing is missing, and less than a group of
        /// pictures and what is not believed is there twice.
        #[test]
        fn it_goes_on_where_the_stream_ends(
            group in 25..60u64, ends in 70..400u64, joins in 1..60u64, more in 0..200u64, off_ms in -90..90i64,
            own in proptest::option::of(0..25u64),
        ) {
            let now = Instant::now();
            let mut producer = held(ProducerConfig::default());
            let first = joins.div_ceil(group) * group;
            // It was there in time.
            prop_assume!(first < ends);
            // One that begins a group waits for those that may lead it, and is in no fragment yet.
            let last = ends + more + group;
            let last = last + u64::from((last - 1).is_multiple_of(group));
            push(&mut producer, first..last, group, off_ms, now);
            // One encoder for both, or one for each.
            let phase = own.unwrap_or(0);
            producer.stored_elsewhere(stored(0, ends, group, phase), now);
            prop_assert!(!connects(&mut producer), "it is held");
            let begins = last - waiting(&producer);
            prop_assert!(begins <= ends, "pictures {ends}..{begins} are missing");
            prop_assert!(begins.is_multiple_of(group), "{begins} cannot be entered");
            let twice = (ends - begins) * FRAME_MS;
            let most = group * FRAME_MS + MARGIN_MS + 90 + FRAME_MS;
            prop_assert!(begins == first || twice <= most, "{twice} ms are stored twice");
            if own.is_none() {
                // A last fragment that is shorter than what the two differ in is not known again.
                let unknown = off_ms.unsigned_abs().div_ceil(FRAME_MS);
                prop_assert!(ends - begins <= group + unknown, "with one encoder: {} of {group}", ends - begins);
            }
            producer.release(now);
            prop_assert!(connects(&mut producer));
        }
    }

    #[test]
    fn what_the_stream_has_a_hole_in_is_kept() {
        let now = Instant::now();
        let mut producer = held(ProducerConfig::default());
        push(&mut producer, 0..300, 50, 0, now);
        // It has lost something before picture 120.
        producer.stored_elsewhere(Stored { from_ms: at(120), ..stored(120, 280, 50, 0) }, now);
        // 0..150 are kept, 150..250 are there already.
        assert_eq!(waiting(&producer), 200);
        assert_eq!(producer.statistics().fragments_stored_elsewhere, 2);
        assert_eq!(producer.statistics().fragments_dropped, 0);
    }

    #[test]
    fn what_is_said_again_changes_nothing_and_what_is_sent_stays() {
        let now = Instant::now();
        let mut producer = held(ProducerConfig::default());
        push(&mut producer, 0..300, 50, 0, now);
        for _ in 0..2 {
            producer.stored_elsewhere(stored(0, 130, 50, 0), now);
            assert_eq!(waiting(&producer), 200);
        }
        producer.release(now);
        producer.stored_elsewhere(stored(0, 300, 50, 0), now);
        assert_eq!(waiting(&producer), 200);
    }

    /// A hung agent must not fill the memory that an outage is for, nor the spool be left out.
    #[test]
    fn it_is_sent_when_half_of_the_memory_is_full() {
        let now = Instant::now();
        for spool in [None, Some(SpoolConfig::new(1 << 20))] {
            let mut producer =
                held(ProducerConfig { storage_bytes: 20_000, spool, ..ProducerConfig::default() });
            producer.spool_unavailable("no disk".to_owned(), now);
            let mut number = 0;
            while !connects(&mut producer) {
                push(
                    &mut producer,
                    number..number + 1,
                    50,
                    0,
                    now + Duration::from_millis(at(number) - BEGIN_MS),
                );
                number += 1;
                assert!(producer.statistics().buffered_bytes < 11_000);
            }
            assert!(producer.statistics().buffered_bytes > 10_000);
            assert_eq!(producer.statistics().frames_dropped, [0; 2]);
        }
    }
}
