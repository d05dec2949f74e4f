//! How long a sender takes to repeat what it is asked for: the round trip, told or measured, and how much it varies
//! (after RFC 6298).

use std::time::Duration;

/// Assumed before any is known.
const DEFAULT: Duration = Duration::from_millis(100);
/// Measured at most.
const MAX: Duration = Duration::from_secs(1);
/// Senders pace what they repeat.
const MARGIN: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RoundTrip {
    /// By ICE or RTCP.
    told: Option<Duration>,
    /// From a request to its answer: smoothed, and the mean deviation from that.
    measured: Option<(Duration, Duration)>,
}

impl RoundTrip {
    pub(crate) fn tell(&mut self, rtt: Duration) {
        self.told = Some(rtt);
    }

    /// Measured, else told.
    pub(crate) fn get(&self) -> Option<Duration> {
        self.measured.map(|(smoothed, _)| smoothed).or(self.told)
    }

    /// What was asked for so long ago has come; it had been asked for so many times since.
    ///
    /// Where the first time was in vain the sample is too large, so it counts for little; but taking only those that were
    /// answered at once (Karn) would keep an estimate that is too small for ever.
    pub(crate) fn answered(&mut self, after: Duration, tries: u32) {
        self.measured = Some(match self.measured {
            None => {
                let after = after.min(MAX);
                (after, after / 8)
            }
            Some((smoothed, deviation)) if tries > 1 => {
                ((smoothed * 7 + after.min(smoothed * 3 / 2).min(MAX)) / 8, deviation)
            }
            Some((smoothed, deviation)) => {
                let after = after.min(MAX);
                ((smoothed * 7 + after) / 8, (deviation * 3 + after.abs_diff(smoothed)) / 4)
            }
        });
    }

    /// An answer that has not come within this will not come. A sender answers no second request within what it takes for a
    /// round trip itself, so this is never less than one.
    pub(crate) fn answered_within(&self) -> Duration {
        let told = self.told.unwrap_or(Duration::ZERO);
        match self.measured {
            Some((smoothed, deviation)) => {
                let rtt = smoothed.max(told);
                rtt + (deviation * 4).clamp(MARGIN, MARGIN + rtt / 2)
            }
            None => {
                let rtt = self.told.unwrap_or(DEFAULT);
                rtt + MARGIN + rtt / 2
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn what_does_not_vary_is_waited_for_hardly_longer() {
        let mut rtt = RoundTrip::default();
        assert_eq!((rtt.get(), rtt.answered_within()), (None, ms(160)));
        rtt.tell(ms(40));
        assert_eq!((rtt.get(), rtt.answered_within()), (Some(ms(40)), ms(70)));
        for _ in 0..20 {
            rtt.answered(ms(50), 1);
        }
        assert_eq!((rtt.get(), rtt.answered_within()), (Some(ms(50)), ms(60)));
        for round in 0..100 {
            rtt.answered(ms(40 + 20 * (round % 2)), 1);
        }
        assert!(rtt.answered_within() > ms(80), "{:?}", rtt.answered_within());
    }

    #[test]
    fn a_path_that_became_longer_is_found_out_though_each_first_request_is_repeated() {
        let mut rtt = RoundTrip::default();
        rtt.answered(ms(20), 1);
        for answers in 0.. {
            let tries = ms(200).as_micros() / rtt.answered_within().as_micros() + 1;
            if tries == 1 {
                assert!(answers < 60, "{answers} answers");
                break;
            }
            rtt.answered(ms(200), tries as u32);
        }
    }

    proptest! {
        #[test]
        fn never_less_than_a_round_trip_nor_more_than_half_of_one_more(
            samples in prop::collection::vec((0u64..3_000, 1u32..9, any::<bool>()), 0..50),
        ) {
            let mut rtt = RoundTrip::default();
            for (sample, tries, told) in samples {
                if told { rtt.tell(ms(sample)) } else { rtt.answered(ms(sample), tries) }
                let (within, known) = (rtt.answered_within(), rtt.get().unwrap().max(rtt.told.unwrap_or_default()));
                prop_assert!(known + MARGIN <= within && within <= known + MARGIN + known / 2);
                prop_assert!(rtt.measured.is_none_or(|(smoothed, _)| smoothed <= MAX));
            }
        }
    }
}
