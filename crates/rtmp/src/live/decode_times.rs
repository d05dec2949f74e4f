//! When pictures are decoded, of which only is known when they are presented.

use super::timeline::{MS, Nanos};

/// Pictures that others may come before (ITU-T H.264, `max_dec_frame_buffering`).
const MAX_DEPTH: usize = 16;
/// A picture that was presented so long before is of before a pause.
const PAUSE: Nanos = 1_000 * MS;

/// Decoding times: those of presentation in their order, as many pictures later as are ever presented later. Without B pictures
/// these are the same; how far back they go is learnt from the first that does.
#[derive(Debug, Default)]
pub(super) struct DecodeTimes {
    depth: usize,
    /// Times of presentation that are no one's time of decoding yet, in order: `depth` of them.
    waiting: Vec<Nanos>,
    last: Option<Nanos>,
}

impl DecodeTimes {
    /// Of a picture that is presented at `at`: later than the one before, and not later than `at` unless pictures begin to come
    /// in another order.
    pub(super) fn next(&mut self, at: Nanos, idr: bool) -> Nanos {
        self.waiting.retain(|waiting| at.saturating_sub(*waiting) < PAUSE);
        if self.last.is_some_and(|last| at <= last) && !idr {
            self.depth = (self.depth + 1).min(MAX_DEPTH);
        }
        let place = self.waiting.partition_point(|waiting| *waiting <= at);
        self.waiting.insert(place, at);
        let due = if self.waiting.len() > self.depth { Some(self.waiting.remove(0)) } else { None };
        let after_last = self.last.map(|last| last + MS);
        let time = match (due, after_last) {
            (Some(due), Some(after_last)) => due.max(after_last),
            (Some(due), None) => due,
            (None, Some(after_last)) => after_last,
            (None, None) => at,
        };
        self.last = Some(time);
        time
    }

    /// Another encoder, or other settings of it: the order of pictures is learnt anew.
    pub(super) fn forget_order(&mut self) {
        self.depth = 0;
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn times(presented: &[Nanos]) -> Vec<Nanos> {
        let mut decode = DecodeTimes::default();
        presented.iter().enumerate().map(|(index, at)| decode.next(at * MS, index == 0) / MS).collect()
    }

    #[test]
    fn without_b_pictures_nothing_changes() {
        assert_eq!(times(&[0, 33, 66, 100]), [0, 33, 66, 100]);
    }

    #[test]
    fn with_b_pictures_decoding_settles_a_picture_before_presentation() {
        // I P B P B P B: from the second P on as an encoder would have it.
        assert_eq!(times(&[0, 80, 40, 160, 120, 240, 200]), [0, 80, 81, 82, 120, 160, 200]);
    }

    proptest! {
        /// Whatever the order: decoding goes on, and once the order is known nothing is decoded after it is presented.
        #[test]
        fn decoding_times_rise(groups in prop::collection::vec(1usize..4, 1..40), period in 10i64..100) {
            // Mini groups of pictures: the last first, then those before it.
            let mut presented = vec![0];
            for size in groups {
                let first = presented.len() as Nanos;
                presented.push(first + size as Nanos - 1);
                presented.extend(first..first + size as Nanos - 1);
            }
            let mut decode = DecodeTimes::default();
            let mut last = None;
            for (index, number) in presented.iter().enumerate() {
                let time = decode.next(number * period * MS, index == 0);
                prop_assert!(last.is_none_or(|last| time > last));
                // Learning costs a millisecond for each step.
                prop_assert!(time <= (number * period + 3 * period) * MS);
                last = Some(time);
            }
        }
    }
}
