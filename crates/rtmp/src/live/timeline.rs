//! From capture times to one line of time on which neither track goes back.

use std::time::{Duration, Instant};

/// Nanoseconds.
pub(super) type Nanos = i64;

pub(super) const MS: Nanos = 1_000_000;

/// B pictures go back by less.
const BACK: Nanos = 1_000 * MS;
/// Capture times that go ahead of the clock by more have jumped: a sender's clock was set, or another master came.
const AHEAD: Nanos = 5_000 * MS;
/// Where capture times jump, this much lies between the pictures on either side at most.
const BRIDGE: Nanos = 1_000 * MS;

#[derive(Clone, Copy, Debug)]
struct Last {
    /// Capture time.
    at: Nanos,
    arrived: Instant,
    /// What it was put at, minus its capture time.
    offset: Nanos,
}

/// Capture times as they are, until they jump: then they go on from where they were, and both tracks by the same distance.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    tracks: [Option<Last>; 2],
    jumps: u64,
}

impl Timeline {
    /// Where what was captured at `at` since 1970 stands.
    pub(super) fn place(&mut self, track: usize, at: Duration, now: Instant) -> Nanos {
        let at = nanos(at);
        let other = self.tracks[1 - track];
        let offset = match self.tracks[track] {
            None => other.map_or(0, |other| other.offset),
            Some(last) => {
                let step = at.saturating_sub(last.at);
                let waited = nanos(now.saturating_duration_since(last.arrived));
                if step >= -BACK && step.saturating_sub(waited) <= AHEAD {
                    last.offset
                } else {
                    // The other track may have jumped before: with it this one goes.
                    let follows = |offset: Nanos| {
                        let step = at.saturating_add(offset).saturating_sub(last.at + last.offset);
                        step >= -BACK && step.saturating_sub(waited) <= AHEAD
                    };
                    match other.map(|other| other.offset).filter(|offset| follows(*offset)) {
                        Some(offset) => offset,
                        None => {
                            self.jumps += 1;
                            (last.at + last.offset + waited.clamp(MS, BRIDGE)).saturating_sub(at)
                        }
                    }
                }
            }
        };
        self.tracks[track] = Some(Last { at, arrived: now, offset });
        at.saturating_add(offset)
    }

    /// Times that capture times jumped.
    pub(super) fn jumps(&self) -> u64 {
        self.jumps
    }
}

pub(super) fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn capture_times_stand_as_they_are_and_jumps_are_bridged_for_both_tracks() {
        let (mut line, start) = (Timeline::default(), Instant::now());
        let mut at = |track, capture: u64, now: u64| line.place(track, ms(capture), start + ms(now)) / MS;
        assert_eq!((at(0, 1_000_000, 0), at(1, 1_000_010, 90)), (1_000_000, 1_000_010));
        // A B picture; a pause of both; late ones.
        assert_eq!((at(0, 999_960, 100), at(0, 1_060_000, 60_000)), (999_960, 1_060_000));
        assert_eq!((at(1, 1_060_000, 60_100), at(0, 1_060_033, 63_000)), (1_060_000, 1_060_033));
        // The clock is set back by 800 s: 40 ms later by the clock.
        assert_eq!(at(0, 260_073, 63_040), 1_060_073);
        // Sound from before that, then from behind it.
        assert_eq!(at(1, 1_060_021, 63_050), 1_060_021);
        assert_eq!(at(1, 260_042, 63_060), 1_060_042);
        // A day ahead.
        assert_eq!(at(1, 87_000_000, 63_081), 1_060_063);
        assert_eq!(at(0, 87_000_030, 63_085), 1_060_093);
        assert_eq!(line.jumps(), 2);
    }
}
