//! From capture times to one line of time on which neither track goes back.

use std::collections::VecDeque;
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

/// Jumps that are remembered. Beyond, the oldest is forgotten: what still comes of before it is a jump itself.
const MAX_JUMPS: usize = 8;

/// Media of before a jump comes no later: tracks that are apart by now are put together.
const UNITE: Duration = Duration::from_secs(4);
/// Tracks that are further apart are not told by the same clock.
const APART: Nanos = 10_000 * MS;

/// A track, or what goes for each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Track {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
}

impl Track {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Video, Self::Audio];

    pub(super) fn other(self) -> Self {
        match self {
            Self::Video => Self::Audio,
            Self::Audio => Self::Video,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Last {
    /// Where it was put.
    place: Nanos,
    arrived: Instant,
    /// The jumps that had been by then, in the order of its capture times.
    jumps: u64,
}

/// Capture times as they are, until they jump: then they go on from where they were, and both tracks by the same distance.
///
/// Jumps are numbered. The track that shows one first sets the distance; the other, whose media of before it may still come,
/// follows with the first that fits there better than where it was, however small its own step over it is. Where only one of
/// them shows a jump, the one that is behind for it is put beside the other in the end.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    tracks: [Option<Last>; 2],
    /// What is added to capture times behind each of the last jumps.
    offsets: VecDeque<Nanos>,
    jumps: u64,
    /// When the last was, unless the tracks have been found or put together since.
    jumped: Option<Instant>,
}

impl Timeline {
    /// Where what was captured at `at` since 1970 stands.
    pub(super) fn place(&mut self, track: Track, at: Duration, now: Instant) -> Nanos {
        let at = nanos(at);
        self.unite();
        let (place, jumps) = match self.tracks[track as usize] {
            None => self.begin(self.tracks[track.other() as usize], at, now),
            Some(last) => self.follow(last, at, now),
        };
        self.tracks[track as usize] = Some(Last { place, arrived: now, jumps });
        place
    }

    /// Puts tracks that are not behind the same jump under the later of their times, so that neither goes back, once both have
    /// been heard for long enough since.
    fn unite(&mut self) {
        let (Some(jumped), [Some(video), Some(audio)]) = (self.jumped, self.tracks) else { return };
        if video.arrived.min(audio.arrived).saturating_duration_since(jumped) < UNITE {
            return;
        }
        self.jumped = None;
        let (Some(one), Some(other)) = (self.offset(video.jumps), self.offset(audio.jumps)) else { return };
        let offset = one.max(other);
        if video.jumps == audio.jumps || one.abs_diff(other) > APART.unsigned_abs() {
            return;
        }
        if let Some(newest) = self.offsets.back_mut() {
            *newest = offset;
        }
        for (track, was) in self.tracks.iter_mut().zip([one, other]) {
            if let Some(last) = track {
                (last.place, last.jumps) = (last.place + (offset - was), self.jumps);
            }
        }
    }

    /// The first of a track: beside the other one, which may have come over a jump that this is still before.
    fn begin(&self, other: Option<Last>, at: Nanos, now: Instant) -> (Nanos, u64) {
        let places = (0..=self.jumps).rev().take(MAX_JUMPS + 1);
        let places = places.filter_map(|jumps| Some((at.saturating_add(self.offset(jumps)?), jumps)));
        let beside = other.map_or(at, |other| {
            other.place.saturating_add(nanos(now.saturating_duration_since(other.arrived)))
        });
        places.min_by_key(|(place, _)| place.abs_diff(beside)).unwrap_or((at, self.jumps))
    }

    /// Behind `last` of the same track: under the oldest jump where it goes on, or the one where it is next to that, or behind
    /// a jump of its own.
    fn follow(&mut self, last: Last, at: Nanos, now: Instant) -> (Nanos, u64) {
        let waited = nanos(now.saturating_duration_since(last.arrived));
        let step = |jumps| Some(at.saturating_add(self.offset(jumps)?).saturating_sub(last.place));
        let known = (last.jumps..=self.jumps).filter_map(|jumps| Some((step(jumps)?, jumps)));
        // What is held up on its way comes all at once: anything between is no step at all.
        if let Some((step, jumps)) = known.min_by_key(|(step, _)| step.abs_diff((*step).clamp(0, waited)))
            && step >= -BACK
            && step.saturating_sub(waited) <= AHEAD
        {
            return (last.place.saturating_add(step), jumps);
        }
        self.jumps += 1;
        self.jumped = Some(now);
        let place = last.place.saturating_add(waited.clamp(MS, BRIDGE));
        if self.offsets.len() == MAX_JUMPS {
            self.offsets.pop_front();
        }
        self.offsets.push_back(place.saturating_sub(at));
        (place, self.jumps)
    }

    /// Of capture times behind so many jumps; `None`: it was forgotten.
    fn offset(&self, jumps: u64) -> Option<Nanos> {
        if jumps == 0 {
            return Some(0);
        }
        let back = usize::try_from(self.jumps - jumps).ok()?;
        self.offsets.iter().rev().nth(back).copied()
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
    use super::Track::{Audio, Video};
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn capture_times_stand_as_they_are_and_jumps_are_bridged_for_both_tracks() {
        let (mut line, start) = (Timeline::default(), Instant::now());
        let mut at = |track, capture: u64, now: u64| line.place(track, ms(capture), start + ms(now)) / MS;
        assert_eq!((at(Video, 1_000_000, 0), at(Audio, 1_000_010, 90)), (1_000_000, 1_000_010));
        // A B picture; a pause of both; late ones.
        assert_eq!((at(Video, 999_960, 100), at(Video, 1_060_000, 60_000)), (999_960, 1_060_000));
        assert_eq!((at(Audio, 1_060_000, 60_100), at(Video, 1_060_033, 63_000)), (1_060_000, 1_060_033));
        // The clock is set back by 800 s: 40 ms later by the clock.
        assert_eq!(at(Video, 260_073, 63_040), 1_060_073);
        // Sound from before that, then from behind it.
        assert_eq!(at(Audio, 1_060_021, 63_050), 1_060_021);
        assert_eq!(at(Audio, 260_042, 63_060), 1_060_042);
        // A day ahead.
        assert_eq!(at(Audio, 87_000_000, 63_081), 1_060_063);
        assert_eq!(at(Video, 87_000_030, 63_085), 1_060_093);
        assert_eq!(line.jumps(), 2);
    }

    /// Set back by little more than B pictures go back: one track shows it, and the other, which was silent for a moment,
    /// does not.
    #[test]
    fn the_track_whose_own_step_is_small_follows() {
        let (mut line, start) = (Timeline::default(), Instant::now());
        let mut at = |track, capture: u64, now: u64| line.place(track, ms(capture), start + ms(now)) / MS;
        assert_eq!((at(Video, 100_000, 0), at(Audio, 100_000, 0)), (100_000, 100_000));
        assert_eq!((at(Video, 100_033, 33), at(Video, 98_866, 66)), (100_033, 100_066));
        assert_eq!(at(Audio, 99_050, 250), 100_250);
        assert_eq!(line.jumps(), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Clocks are set again and again, before both tracks have come over the last time as well as behind; one track is
        /// behind the other, and what comes is held up now and then: what was captured together stands together in the end.
        #[test]
        fn tracks_are_together_behind_any_jumps(
            sets in prop_oneof![
                prop::collection::vec((100u64..4_000, -200_000i64..200_000), 1..12),
                // Little more or less than what shows.
                prop::collection::vec((6_000u64..7_000, prop_oneof![-1_200i64..-800, 4_800i64..5_200]), 1..6),
            ],
            behind in 0u64..700,
            jitter in prop::collection::vec(0u64..200, 1..50),
        ) {
            // What the clock shows at each moment, from 1970 on.
            let mut clocks = vec![(0, 1_000_000_000i64)];
            for (after, by) in sets {
                let (at, offset) = clocks[clocks.len() - 1];
                clocks.push((at + after, offset + by));
            }
            let quiet = clocks[clocks.len() - 1].0 + 6_000;
            let shown = |moment: u64| {
                let offset = clocks.iter().rev().find(|(at, _)| *at <= moment).map_or(0, |it| it.1);
                Duration::from_millis((moment as i64 + offset) as u64)
            };
            let mut jitter = jitter.into_iter().cycle();
            let mut arrivals = Vec::new();
            for (track, every, late) in [(Video, 40, 0), (Audio, 20, behind)] {
                let mut last = 0;
                for captured in (0..quiet + 1_000).step_by(every) {
                    last = last.max(captured + late + jitter.next().unwrap_or(0));
                    arrivals.push((last, captured, track));
                }
            }
            arrivals.sort_by_key(|it| it.0);
            let (mut line, start) = (Timeline::default(), Instant::now());
            let mut placed = [BTreeMap::new(), BTreeMap::new()];
            for (arrival, captured, track) in arrivals {
                let place = line.place(track, shown(captured), start + ms(arrival));
                placed[track as usize].insert(captured, place);
            }
            for (captured, picture) in placed[0].range(quiet..) {
                prop_assert_eq!(picture, &placed[1][captured], "captured at {}", captured);
            }
        }
    }
}
