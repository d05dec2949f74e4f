//! [`Sampler`]: at which times of a stream images are made. Sans-IO.

use std::collections::HashMap;

/// Streams that are remembered. Full: all are forgotten, and each begins with an image at its next fragment.
const MAX_STREAMS: usize = 20_000;
/// Images of one fragment: of 20 s at the shortest interval. What comes behind them in a longer one has none.
const MOST: usize = 100;

/// The last image of each stream.
#[derive(Debug, Default)]
pub(super) struct Sampler(HashMap<String, u64>);

impl Sampler {
    /// The times within a fragment, milliseconds: each an interval after the one before, also of the fragment before. The
    /// first of a stream, and one that is later than that or goes back, is the fragment's own beginning.
    pub(super) fn times(
        &mut self,
        stream: &str,
        start_ms: u64,
        duration_ms: u64,
        interval_ms: u64,
    ) -> Vec<u64> {
        let interval_ms = interval_ms.max(1);
        let last = self.0.get(stream).filter(|last| **last < start_ms);
        let first = last.map_or(start_ms, |last| last.saturating_add(interval_ms).max(start_ms));
        let end = start_ms.saturating_add(duration_ms.max(1));
        let step = usize::try_from(interval_ms).unwrap_or(usize::MAX);
        let times: Vec<u64> = (first..end).step_by(step).take(MOST).collect();
        if let Some(last) = times.last() {
            if self.0.len() >= MAX_STREAMS && !self.0.contains_key(stream) {
                self.0.clear();
            }
            self.0.insert(stream.to_owned(), *last);
        }
        times
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn images_go_on_over_fragments_and_begin_anew_after_a_gap() {
        let mut sampler = Sampler::default();
        assert_eq!(sampler.times("s", 10_000, 2_000, 1_500), [10_000, 11_500]);
        assert!(sampler.times("s", 12_000, 900, 1_500).is_empty());
        assert_eq!(sampler.times("s", 12_900, 2_000, 1_500), [13_000, 14_500]);
        assert_eq!(sampler.times("s", 60_000, 1_000, 1_500), [60_000]);
        assert_eq!(sampler.times("s", 13_000, 1_000, 1_500), [13_000], "sent again, or late");
        assert_eq!(sampler.times("other", 13_100, 100, 1_500), [13_100]);
    }

    proptest! {
        #[test]
        fn no_two_images_are_closer_than_the_interval_and_no_hole_is_longer_than_it_must_be(
            lengths in prop::collection::vec((0..400_u64, 1..=20_000_u64), 1..20), interval in 200..30_000_u64,
        ) {
            let mut sampler = Sampler::default();
            let (mut at, mut last) = (1_700_000_000_000, None::<u64>);
            for (gap, length) in lengths {
                let start = at + gap;
                let times = sampler.times("s", start, length, interval);
                for time in &times {
                    prop_assert!((start..start + length).contains(time));
                    prop_assert!(last.is_none_or(|last| time - last >= interval));
                    last = Some(*time);
                }
                prop_assert!(last.is_some_and(|last| last + interval >= start + length));
                at = start + length;
            }
            sampler.times("s", u64::MAX - 1, u64::MAX, interval);
        }
    }
}
