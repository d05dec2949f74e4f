//! What is left when nobody waits any longer.

use std::time::Instant;

use super::Producer;
use super::event::{CloseReason, DropReason, Event};
use crate::TrackKind;
use crate::fragment::Spooled;

impl Producer {
    /// Ends the wait for acknowledgements: breaks the session off and drops everything that the spool does not have,
    /// counted. What is being written to the spool counts too, since nobody waits for the disk either. Returns what that
    /// was ([`Event::Dropped`]) instead of putting it among the outputs, which nobody may read any more.
    pub fn abandon(&mut self, now: Instant) -> Option<Event> {
        self.flush_interleaver(now);
        self.close_fragment(now);
        let (mut fragments, mut frames, mut bytes) = (0, self.interleaver.clear(), 0);
        frames[TrackKind::Video.index()] += self.leading.clear();
        let lost: Vec<u64> = self
            .store
            .iter()
            .filter(|fragment| !matches!(fragment.spooled, Spooled::Yes(_)))
            .map(|fragment| fragment.id)
            .collect();
        for fragment in lost.into_iter().filter_map(|id| self.store.remove(id)) {
            fragments += 1;
            bytes += fragment.payload;
            self.statistics.tags_dropped += fragment.tag_count();
            for (sum, frames) in frames.iter_mut().zip(fragment.frames) {
                *sum += frames;
            }
        }
        self.end_spill();
        self.abort_session(CloseReason::Ended("nobody waits for it any longer"), now);
        self.settle(now);
        if fragments == 0 && frames == [0; 2] {
            return None;
        }
        self.count_dropped(fragments, frames);
        Some(Event::Dropped { fragments, frames, bytes, reason: DropReason::NotConfirmed })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::{Frame, MediaTime, ProducerConfig, TrackFormat};

    #[test]
    fn what_waits_is_dropped_once_and_the_producer_goes_on() {
        let mut producer = Producer::new(ProducerConfig::default());
        producer.set_format(TrackFormat::h264(Bytes::from_static(&[1, 0x42, 0, 0x1e, 0xff]), 16, 16));
        let now = Instant::now();
        let push = |producer: &mut Producer, range: std::ops::Range<u64>| {
            for n in range {
                let time = MediaTime::from_millis(1_795_000_000_000 + n * 100);
                let data = Bytes::from_static(&[0, 0, 0, 1, 0x65]);
                let frame = Frame { track: TrackKind::Video, time, random_access: n % 10 == 0, data };
                producer.push_frame(frame, now + Duration::from_millis(n * 100));
            }
        };
        assert!(producer.put_metadata("door", "open", false));
        push(&mut producer, 0..25);
        let lost = producer.abandon(now + Duration::from_secs(3));
        let Some(Event::Dropped { fragments: 3, frames: [25, 0], bytes: 125, reason }) = lost else {
            panic!("{lost:?}");
        };
        assert_eq!(reason, DropReason::NotConfirmed);
        assert_eq!(producer.abandon(now + Duration::from_secs(3)), None);
        let figures = producer.statistics();
        assert_eq!(
            (figures.fragments_dropped, figures.frames_dropped, figures.buffered_bytes),
            (3, [25, 0], 0)
        );
        assert_eq!(figures.tags_dropped, 1);
        push(&mut producer, 30..40);
        producer.finish(now + Duration::from_secs(4));
        assert!(!producer.is_drained());
        assert_eq!(producer.statistics().buffered_frames, [10, 0]);
        // Nothing begins a fragment for this one.
        assert!(producer.put_metadata("door", "shut", false));
        for _ in 0..2 {
            producer.drop_waiting_tags();
            assert_eq!(producer.statistics().tags_dropped, 2);
        }
    }
}
