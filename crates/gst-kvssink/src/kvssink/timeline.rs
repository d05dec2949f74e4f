//! From buffers to timecodes. Pure: what the clocks say is handed in.

use kvs_putmedia::MediaTime;

use super::rounds::{Rounds, Stamp};

/// Nanoseconds; wall-clock times since 1970.
type Nanos = i128;

const MS: Nanos = 1_000_000;

/// The pipeline's clock and the wall clock are never read at the very same moment: what is less is no drift.
const NOISE: Nanos = 2 * MS;
/// More than drift: a pause, or the wall clock was set. It is followed at once.
const STEP: Nanos = 200 * MS;
/// Drift is made up for by one part in this many of the time that passes.
const SLEW: Nanos = 100;
/// How far ahead of the clock the buffers of a synchronized source are at most.
const AHEAD: Nanos = 1000 * MS;

/// Where timecodes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The wall clock when the buffer was captured, which its running time tells.
    WallClock,
    /// A file that begins at this time: its running time counts from there.
    File { start: MediaTime },
    /// The buffer's own timestamp is its time since 1970.
    Original,
    /// The wall clock when the buffer comes.
    Arrival,
}

/// What the clocks say while a buffer is taken in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// The wall clock.
    pub(super) wall: MediaTime,
    /// The running time of the pipeline, while it plays.
    pub(super) running: Option<Nanos>,
    /// Both were read at the same moment: what they differ by can be compared with what they differ by later.
    pub(super) exact: bool,
    /// How late a buffer may be that a live source stamps with its time of capture; `None`: the source is not live.
    pub(super) live_latency: Option<Nanos>,
}

#[derive(Clone, Copy, Debug)]
struct Latch {
    /// Wall clock minus running time, for the buffers.
    anchor: Nanos,
    /// Wall clock minus running time, by the pipeline's clock: how it changes is how the anchor must change.
    clock: Option<Nanos>,
    looked: Nanos,
    /// The anchor of what was captured before the last pause: up to this running time.
    before: Option<(Nanos, Nanos)>,
}

/// The time line that all tracks share.
#[derive(Debug)]
pub(super) struct Timeline {
    source: Source,
    latch: Option<Latch>,
    /// Running time of the last pause.
    paused: Option<Nanos>,
    rounds: Rounds,
}

impl Default for Timeline {
    fn default() -> Self {
        Self::new(Source::WallClock)
    }
}

impl Timeline {
    pub(super) fn new(source: Source) -> Self {
        Self { source, latch: None, paused: None, rounds: Rounds::default() }
    }

    /// Whether nothing is known yet of how running time and wall clock go together.
    pub(super) fn is_fresh(&self) -> bool {
        self.latch.is_none()
    }

    /// Whether the host's clock tells its times.
    pub(super) fn follows_clock(&self) -> bool {
        matches!(self.source, Source::WallClock | Source::Arrival)
    }

    pub(super) fn source(&self) -> Source {
        self.source
    }

    /// The running time starts over: a flush.
    pub(super) fn restart(&mut self) {
        (self.latch, self.paused) = (None, None);
        self.rounds = Rounds::default();
    }

    /// The pipeline pauses, at this running time. What was captured before may still come afterwards.
    pub(super) fn pause(&mut self, running: Nanos) {
        self.paused = Some(running);
    }

    /// The time of a buffer. A source that counts from the beginning again goes on in a new round.
    pub(super) fn place(&mut self, stamp: Stamp, now: Now) -> MediaTime {
        let running = match self.source {
            Source::WallClock => {
                let wall = Nanos::from(now.wall.nanos());
                let clock = self.latch.as_ref().map(|latch| wall - latch.anchor);
                self.rounds.place(stamp, clock)
            }
            Source::File { .. } => self.rounds.place(stamp, None),
            // What the buffers say is their time, and no count.
            Source::Original | Source::Arrival => stamp.running,
        };
        self.at(running, now)
    }

    /// The time of a buffer with this running time.
    fn at(&mut self, running: Nanos, now: Now) -> MediaTime {
        match self.source {
            Source::WallClock => time(self.anchor(running, now) + running),
            Source::File { start } => time(Nanos::from(start.nanos()) + running),
            Source::Original => time(running),
            Source::Arrival => now.wall,
        }
    }

    fn anchor(&mut self, running: Nanos, now: Now) -> Nanos {
        let wall = Nanos::from(now.wall.nanos());
        let clock = now.running.map(|running| wall - running);
        let late = now.running.map(|clock| clock - running);
        let Some(latch) = &mut self.latch else {
            let anchor = match (clock, late, now.live_latency) {
                // Its running time is that of its capture: as exact as it gets.
                (Some(clock), Some(late), Some(latency)) if (0..=latency).contains(&late) => clock,
                // Stamped by another clock, or a file: it is now.
                _ => wall - running,
            };
            // What is wrong with a reading that took its time stays in all timecodes, and is no drift to be made up for.
            let clock = clock.filter(|_| now.exact);
            self.latch = Some(Latch { anchor, clock, looked: wall, before: None });
            return anchor;
        };
        let elapsed = (wall - latch.looked).max(0);
        match (latch.clock, clock) {
            // A file that is read faster than it plays has nothing to do with the clock.
            (Some(before), Some(clock)) if late.is_some_and(|late| late >= -AHEAD) => {
                let drift = clock - before;
                let correction = match drift.abs() {
                    ..NOISE => 0,
                    NOISE..STEP => drift.clamp(-elapsed / SLEW, elapsed / SLEW),
                    _ => {
                        latch.before = self.paused.take().map(|until| (until, latch.anchor));
                        drift
                    }
                };
                latch.anchor += correction;
                latch.clock = Some(before + correction);
            }
            (None, clock) => latch.clock = clock,
            _ => {}
        }
        latch.looked = wall;
        match latch.before {
            Some((until, anchor)) if running < until => anchor,
            _ => latch.anchor,
        }
    }
}

fn time(nanos: Nanos) -> MediaTime {
    MediaTime::from_nanos(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: Nanos = 1_795_000_000_000 * MS;

    /// A pipeline that plays since `WALL`, with a clock that gains `ppm`, and pauses.
    struct Bench {
        timeline: Timeline,
        real: Nanos,
        ppm: Nanos,
        paused: Nanos,
        live: Option<Nanos>,
    }

    impl Bench {
        fn new(live: Option<Nanos>) -> Self {
            let timeline = Timeline::new(Source::WallClock);
            Self { timeline, real: 0, ppm: 0, paused: 0, live }
        }

        fn running(&self) -> Nanos {
            let played = self.real - self.paused;
            played + played * self.ppm / 1_000_000
        }

        /// A buffer with this running time, now; milliseconds by which its timecode is off from the wall clock.
        fn error_of(&mut self, running: Nanos) -> Nanos {
            let wall = time(WALL + self.real);
            let now = Now { wall, running: Some(self.running()), exact: true, live_latency: self.live };
            let timecode = self.timeline.at(running, now);
            (Nanos::from(timecode.nanos()) - (WALL + self.real)) / MS
        }

        /// A live buffer that was captured `late` ago.
        fn live_error(&mut self, late: Nanos) -> Nanos {
            self.error_of(self.running() - late) + late / MS
        }
    }

    #[test]
    fn a_live_buffer_has_the_time_of_its_capture_however_late_it_comes() {
        let mut bench = Bench::new(Some(2000 * MS));
        bench.real = 5000 * MS;
        assert_eq!(bench.live_error(700 * MS), 0);
        for n in 0..100 {
            bench.real += 33 * MS;
            assert_eq!(bench.live_error((n * 13 % 400) * MS), 0);
        }
    }

    #[test]
    fn a_clock_that_drifts_does_not_take_the_timecodes_with_it() {
        for ppm in [-200, 200] {
            let mut bench = Bench::new(Some(0));
            bench.ppm = ppm;
            let mut before = -33;
            // Four hours in which the clock is off by three seconds.
            for _ in 0..4 * 3600 * 30 {
                bench.real += 33 * MS;
                let error = bench.live_error(0);
                assert!(error.abs() <= 3, "{error} ms at {} s", bench.real / MS / 1000);
                assert!((error - before).abs() <= 2 || before == -33, "no jumps: {before} to {error}");
                before = error;
            }
        }
    }

    #[test]
    fn a_first_reading_that_took_its_time_moves_no_frame_against_another() {
        let mut bench = Bench::new(Some(0));
        // The thread was put aside for 9 ms between the clocks.
        let first = Now {
            wall: time(WALL + bench.real + 9 * MS),
            running: Some(bench.running()),
            exact: false,
            live_latency: Some(0),
        };
        let timecode = bench.timeline.at(bench.running(), first);
        assert_eq!(Nanos::from(timecode.nanos()), WALL + bench.real + 9 * MS);
        for _ in 0..1000 {
            bench.real += 33 * MS;
            assert_eq!(bench.live_error(0), 9);
        }
    }

    #[test]
    fn a_pause_is_over_at_once() {
        for live in [Some(0), None] {
            let mut bench = Bench::new(live);
            bench.real = 100 * MS;
            assert_eq!(bench.live_error(0), 0);
            bench.real += 40_000 * MS;
            bench.paused = 40_000 * MS;
            assert_eq!(bench.live_error(0), 0);
        }
    }

    #[test]
    fn what_was_captured_before_a_pause_has_the_time_of_its_capture_after_it() {
        let mut bench = Bench::new(Some(0));
        assert_eq!(bench.live_error(0), 0);
        bench.real = 1000 * MS;
        bench.timeline.pause(bench.running());
        bench.real += 40_000 * MS;
        bench.paused = 40_000 * MS;
        assert_eq!(bench.error_of(900 * MS), -40_100);
        assert_eq!(bench.live_error(0), 0);
        assert_eq!(bench.error_of(950 * MS), -40_050);
    }

    #[test]
    fn the_wall_clock_may_be_set_either_way() {
        let mut bench = Bench::new(Some(0));
        assert_eq!(bench.live_error(0), 0);
        for step in [3_600_000 * MS, -1_800_000 * MS] {
            bench.real += step;
            // The pipeline's clock knows nothing of it.
            bench.paused += step;
            assert_eq!(bench.live_error(0), 0);
        }
    }

    #[test]
    fn a_file_that_is_read_too_fast_keeps_its_spacing() {
        let mut bench = Bench::new(None);
        let mut timecodes = Vec::new();
        for n in 0..500 {
            bench.real += MS;
            let error = bench.error_of(n * 40 * MS);
            timecodes.push(error * MS + bench.real);
            if n == 250 {
                // Paused and resumed meanwhile: the reading went on.
                bench.real += 5000 * MS;
                bench.paused += 5000 * MS;
            }
        }
        assert!(timecodes.windows(2).all(|pair| pair[1] - pair[0] == 40 * MS), "{timecodes:?}");
    }

    #[test]
    fn what_is_stamped_by_another_clock_begins_now() {
        let mut bench = Bench::new(Some(2000 * MS));
        bench.real = 30_000 * MS;
        assert_eq!(bench.error_of(0), 0);
        bench.real += 33 * MS;
        assert_eq!(bench.error_of(33 * MS), 0);
    }

    #[test]
    fn a_file_begins_when_it_is_said_to() {
        let start = MediaTime::from_millis(1_600_000_000_000);
        let mut timeline = Timeline::new(Source::File { start });
        let now = Now { wall: time(WALL), running: None, exact: false, live_latency: None };
        assert_eq!(timeline.at(40 * MS, now).millis(), 1_600_000_000_040);
        assert_eq!(timeline.at(-40 * MS, now).millis(), 1_599_999_999_960);
    }
}
