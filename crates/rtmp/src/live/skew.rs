//! How far one track comes behind the other, and so for how long one has to wait for the other.
//!
//! Nobody says in advance that a microphone comes most of a second behind its camera. What comes tells how long what goes
//! behind it had to wait for it; the longest that was needed of late is what is waited from then on. Where nothing is missing
//! nothing waits, so that this costs delay only where a track is behind, or pauses.

use super::config::LiveConfig;
use super::timeline::{Nanos, Track};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A track from which nothing came for so long pauses.
pub(super) const PAUSE: Duration = Duration::from_secs(1);
/// One that falls behind is silent for as long as it is behind from then on, and for as long as it is between one picture and
/// the next: so much longer than it is waited for.
const BETWEEN: Duration = Duration::from_millis(500);
/// What was needed may be needed again, and a little more.
const MARGIN: Duration = Duration::from_millis(50);
/// What was needed is remembered for as long as this, and for twice as long at most.
const MEMORY: Duration = Duration::from_secs(180);
/// What is further behind is not measured.
const REACH: Duration = Duration::from_secs(6);
/// Arrivals of a track that are remembered: of 60 pictures a second those within reach. When it is full the oldest goes, and
/// the reach is shorter.
const MAX_ARRIVALS: usize = 400;

#[derive(Debug, Default)]
struct Side {
    /// Times on the line, and when they came.
    arrivals: VecDeque<(Nanos, Instant)>,
    /// How long the other track had to wait for the newest of this one.
    behind: Duration,
    /// The longest such wait of this stretch of time, and of the one before.
    needed: [Duration; 2],
    /// When this stretch began.
    since: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Skew {
    hold: Duration,
    max_hold: Duration,
    sides: [Side; 2],
}

impl Skew {
    pub(super) fn new(config: &LiveConfig) -> Self {
        Self { hold: config.hold, max_hold: config.max_hold, sides: Default::default() }
    }

    /// Media of this track came, which stands at `time`.
    pub(super) fn came(&mut self, track: Track, time: Nanos, now: Instant) {
        let other = &self.sides[track.other() as usize];
        // The first that goes behind it has waited for the longest.
        let first = other.arrivals.iter().rev().take_while(|(there, _)| *there > time).last();
        let behind = first.map_or(Duration::ZERO, |(_, arrived)| now.saturating_duration_since(*arrived));
        let side = &mut self.sides[track as usize];
        side.behind = behind;
        if side.since.is_none_or(|since| now.saturating_duration_since(since) >= MEMORY) {
            side.since = Some(now);
            side.needed = [Duration::ZERO, side.needed[0]];
        }
        // For what is further behind nothing can wait: it would cost delay, and help nobody.
        if behind <= self.max_hold {
            side.needed[0] = side.needed[0].max(behind);
        }
        side.arrivals.push_back((time, now));
        while side.arrivals.len() > MAX_ARRIVALS
            || side.arrivals.front().is_some_and(|(_, at)| now.saturating_duration_since(*at) > REACH)
        {
            side.arrivals.pop_front();
        }
    }

    /// For how long the other track waits for this one.
    pub(super) fn hold(&self, track: Track) -> Duration {
        let [now, before] = self.sides[track as usize].needed;
        let needed = now.max(before);
        // Less than what is always waited needs no margin.
        if needed + MARGIN <= self.hold {
            self.hold
        } else {
            (needed + MARGIN).min(self.max_hold).max(self.hold)
        }
    }

    /// After how much silence of this track nothing waits for it.
    pub(super) fn pause(&self, track: Track) -> Duration {
        (self.hold(track) + BETWEEN).max(PAUSE)
    }

    /// By how much more than without skew media may wait for media.
    pub(super) fn extra(&self) -> Duration {
        let longest = Track::ALL.map(|track| self.hold(track)).into_iter().max().unwrap_or(self.hold);
        longest.saturating_sub(self.hold)
    }

    /// How far the newest of this track came behind the other, as far as that can be told.
    pub(super) fn behind(&self, track: Track) -> Duration {
        self.sides[track as usize].behind
    }
}
