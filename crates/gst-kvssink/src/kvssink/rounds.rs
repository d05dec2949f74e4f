//! A source that loops: its running time begins again without a flush. Both tracks go on in one common new round,
//! which begins where the one before it ended. Pure.

use std::collections::VecDeque;

/// Nanoseconds of running time.
type Nanos = i128;

/// A track that goes back by more has started over, wherever it goes on.
const RESTART: Nanos = 500_000_000;
/// A round's first frames of the two tracks are no further apart.
const TOGETHER: Nanos = 1_000_000_000;
/// Rounds that a track may be behind. Of more the oldest are forgotten: it goes on in the next that is known.
const MAX_ROUNDS: usize = 16;

/// A frame, as far as its time goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    /// 0 video, 1 audio.
    pub(super) track: usize,
    pub(super) running: Nanos,
    /// A new round may begin with it: a key frame of video, any frame of audio.
    pub(super) key: bool,
    pub(super) duration: Nanos,
}

#[derive(Debug, Default)]
struct Lane {
    round: u64,
    offset: Nanos,
    /// Of its round, as the source counts: its first frame, and the newest and when that one ends.
    span: Option<(Nanos, Nanos, Nanos)>,
    /// How long after their time its frames come.
    late: Nanos,
}

impl Lane {
    fn starts_over(&self, stamp: Stamp) -> bool {
        let Some((first, newest, _)) = self.span else { return false };
        let back = newest - stamp.running;
        let far = if stamp.track == 0 { back >= 0 } else { back > stamp.duration };
        stamp.key && far && (back > RESTART || (back > 0 && stamp.running <= first + stamp.duration))
    }

    /// Where its newest frame ends, in the common time.
    fn end(&self) -> Option<Nanos> {
        self.span.map(|(_, _, end)| end + self.offset)
    }
}

#[derive(Debug, Default)]
pub(super) struct Rounds {
    lanes: [Lane; 2],
    /// Numbers and offsets of those that have begun; without the first, whose offset is 0.
    begun: VecDeque<(u64, Nanos)>,
}

impl Rounds {
    /// The common running time of a frame. `now` is the running time that it is now, if there is such a thing.
    pub(super) fn place(&mut self, stamp: Stamp, now: Option<Nanos>) -> Nanos {
        let Stamp { track, running, duration, .. } = stamp;
        if self.lanes[track].starts_over(stamp) {
            let (round, offset) = self.next(stamp, now);
            let lane = &mut self.lanes[track];
            (lane.round, lane.offset, lane.span) = (round, offset, None);
        }
        let lane = &mut self.lanes[track];
        let at = running + lane.offset;
        // A live frame is not of the future: one stray time does not tell how far the track has come.
        let is_far = lane.span.is_some_and(|(_, newest, _)| running - newest > TOGETHER);
        if is_far && now.is_some_and(|now| lane.late > -TOGETHER && now - at < -TOGETHER) {
            return at;
        }
        lane.span = Some(match lane.span {
            Some((first, newest, end)) => (first, newest.max(running), end.max(running + duration)),
            None => (running, running, running + duration),
        });
        lane.late = now.map_or(0, |now| now - at);
        at
    }

    /// The round that the track goes on in.
    fn next(&mut self, stamp: Stamp, now: Option<Nanos>) -> (u64, Nanos) {
        let lane = &self.lanes[stamp.track];
        let end = lane.end().unwrap_or(0);
        // One that the other track has begun already, if it goes on from here.
        let known = self
            .begun
            .iter()
            .find(|(round, offset)| *round > lane.round && stamp.running + offset >= end - RESTART);
        if let Some((round, offset)) = known.copied() {
            // It began where the other track had ended; this one has gone further: the rest of the round is later.
            let offset = offset + (end - stamp.running - offset).max(0);
            for known in self.begun.iter_mut().filter(|known| known.0 == round) {
                known.1 = offset;
            }
            for lane in self.lanes.iter_mut().filter(|lane| lane.round == round) {
                lane.offset = offset;
            }
            return (round, offset);
        }
        let end = self.lanes.iter().filter_map(Lane::end).max().unwrap_or(0);
        // The source has waited, and not only come as late as always.
        let start = now.map_or(end, |now| end.max(now - lane.late.max(0)));
        // The other track may begin a little earlier.
        let firsts = self.lanes.iter().filter_map(|lane| lane.span).map(|(first, _, _)| first);
        let first = firsts.filter(|first| (stamp.running - first).abs() < TOGETHER).min();
        let offset = start - first.map_or(stamp.running, |first| first.min(stamp.running));
        let round = self.begun.back().map_or(0, |(round, _)| *round) + 1;
        self.begun.push_back((round, offset));
        if self.begun.len() > MAX_ROUNDS {
            self.begun.pop_front();
        }
        (round, offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Nanos = 1_000_000;

    fn video(ms: Nanos) -> Stamp {
        Stamp { track: 0, running: ms * MS, key: ms % 1000 == 0, duration: 40 * MS }
    }

    fn audio(ms: Nanos) -> Stamp {
        Stamp { track: 1, running: ms * MS, key: true, duration: 20 * MS }
    }

    fn at(rounds: &mut Rounds, stamp: Stamp, now: Option<Nanos>) -> Nanos {
        rounds.place(stamp, now.map(|now| now * MS)) / MS
    }

    #[test]
    fn one_stray_time_of_a_live_track_moves_nothing() {
        let mut rounds = Rounds::default();
        for ms in [0, 20, 40, 60] {
            assert_eq!(at(&mut rounds, audio(ms), Some(ms)), ms);
        }
        assert_eq!(at(&mut rounds, audio(3_000), Some(80)), 3_000);
        assert_eq!(at(&mut rounds, audio(100), Some(100)), 100);
        assert_eq!(at(&mut rounds, audio(120), Some(120)), 120);
    }

    #[test]
    fn a_file_that_loops_goes_on_where_it_ended_with_its_tracks_in_step() {
        for audio_lead in [0, 300, 2500] {
            let mut rounds = Rounds::default();
            let (mut times, mut sound) = (Vec::new(), Vec::new());
            // 3 s of video and 2.98 s of audio, three times; audio comes earlier or later than video.
            for step in (0..9000 + 2500).step_by(20) {
                if step < 9000 {
                    sound.push((step, at(&mut rounds, audio((step % 3000).min(2960)), None)));
                }
                let step = step - audio_lead;
                if (0..9000).contains(&step) && step % 40 == 0 {
                    times.push((step, at(&mut rounds, video(step % 3000), None)));
                }
            }
            assert!(times.iter().all(|(want, is)| want == is), "{audio_lead}: {times:?}");
            assert!(sound.iter().all(|(want, is)| want - is <= 20 && is <= want), "{audio_lead}: {sound:?}");
        }
    }

    #[test]
    fn a_live_source_that_starts_over_after_a_while_goes_on_now() {
        let mut rounds = Rounds::default();
        for ms in (0..2000).step_by(40) {
            assert_eq!(at(&mut rounds, video(ms), Some(ms + 300)), ms);
        }
        // It was away for five seconds; its frames come 300 ms late as before.
        assert_eq!(at(&mut rounds, video(0), Some(7000 + 300)), 7000);
        assert_eq!(at(&mut rounds, video(40), Some(7040 + 300)), 7040);
        assert_eq!(at(&mut rounds, audio(100), Some(7100 + 300)), 100, "audio never was away");
    }

    #[test]
    fn what_only_jitters_keeps_its_time() {
        let mut rounds = Rounds::default();
        for ms in [0, 1000, 2000, 1960, 2040, 3000, 2960] {
            assert_eq!(at(&mut rounds, video(ms), None), ms);
        }
        assert_eq!(at(&mut rounds, Stamp { key: true, ..video(2900) }, None), 2900);
        for ms in [0, 20, 40, 30, 60, 900, 880, 700] {
            assert_eq!(at(&mut rounds, audio(ms), None), ms);
        }
    }

    #[test]
    fn b_pictures_are_no_new_round() {
        let mut rounds = Rounds::default();
        for ms in [0, 120, 40, 80, 240, 160, 200, 1000, 1120, 1040] {
            assert_eq!(at(&mut rounds, video(ms), None), ms);
        }
        assert_eq!(at(&mut rounds, video(0), None), 1160);
    }

    #[test]
    fn a_track_that_loops_alone_goes_on_alone() {
        let mut rounds = Rounds::default();
        for round in 0..100 {
            for ms in (0..1000).step_by(40) {
                assert_eq!(at(&mut rounds, video(ms), None), round * 1000 + ms);
            }
            assert_eq!(at(&mut rounds, audio(round * 1000), None), round * 1000);
        }
        // Now it starts over, too: with the round that video is in.
        assert_eq!(at(&mut rounds, audio(500), None), 99_500);
    }
}
