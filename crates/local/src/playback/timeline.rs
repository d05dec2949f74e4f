//! [`Timeline`]: the fragments of a streaming session in their order, and the window of them that a playlist shows. Sans-IO.

use std::{collections::VecDeque, sync::Arc};

use crate::archive::{FragmentInfo, TimestampKind};

/// Where playlists mark a discontinuity (`DiscontinuityMode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DiscontinuityMode {
    /// Between any two fragments.
    Always,
    /// Nowhere.
    Never,
    /// Where there is a gap or an overlap of more than 50 ms, or another decoder configuration.
    OnDiscontinuity,
}

/// The gap or overlap from which on media do not go on (`DiscontinuityMode` in the service model).
pub(super) const GAP_MS: u64 = 50;

/// A stretch of media without a gap.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Period {
    /// From 0 in each session.
    pub(super) id: u64,
    /// When it begins, in milliseconds of the presentation.
    pub(super) at_ms: u64,
    /// Time of its first fragment.
    pub(super) first_ms: u64,
}

/// A fragment of the session.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Its number in the session, from 0.
    pub(super) sequence: u64,
    pub(super) info: Arc<FragmentInfo>,
    /// When it begins, in milliseconds since 1970, by the clock of the session's selector.
    pub(super) start_ms: u64,
    /// Which of the session's decoder configurations it has.
    pub(super) config: usize,
    /// Whether a mark precedes it.
    pub(super) discontinuity: bool,
    /// Marks up to it, its own included.
    pub(super) discontinuities: u64,
    pub(super) period: Arc<Period>,
}

impl Entry {
    /// When it ends, as `start_ms`.
    pub(super) fn end_ms(&self) -> u64 {
        self.start_ms.saturating_add(self.info.duration_ms)
    }

    /// When it begins in the presentation, milliseconds.
    pub(super) fn at_ms(&self) -> u64 {
        self.period.at_ms + self.start_ms.saturating_sub(self.period.first_ms)
    }
}

/// Fragments that have left the playlist are kept for a while: a player may be about to load them (RFC 8216 section 6.2.2).
#[derive(Debug)]
pub(super) struct Timeline {
    kind: TimestampKind,
    mode: DiscontinuityMode,
    window: usize,
    /// At most twice the window and a few more. Full: the oldest goes, and is not found any more.
    entries: VecDeque<Entry>,
    longest_ms: u64,
}

impl Timeline {
    /// Whose playlists show at most `window` fragments.
    pub(super) fn new(kind: TimestampKind, mode: DiscontinuityMode, window: usize) -> Self {
        Self { kind, mode, window: window.max(1), entries: VecDeque::new(), longest_ms: 0 }
    }

    pub(super) fn kind(&self) -> TimestampKind {
        self.kind
    }

    /// Adds the next fragment. `available_ms` is when players can load it, in milliseconds of the presentation, where that
    /// matters: after a gap the presentation goes on no earlier than that lets it.
    pub(super) fn push(&mut self, info: Arc<FragmentInfo>, config: usize, available_ms: Option<u64>) {
        let start_ms = self.kind.of(&info);
        let duration_ms = info.duration_ms;
        self.longest_ms = self.longest_ms.max(duration_ms);
        let new_period = |id, at_ms| Arc::new(Period { id, at_ms, first_ms: start_ms });
        let (sequence, discontinuity, discontinuities, period) = match self.entries.back() {
            None => (0, false, 0, new_period(0, 0)),
            Some(last) => {
                let breaks = last.end_ms().abs_diff(start_ms) > GAP_MS || last.config != config;
                let mark = match self.mode {
                    DiscontinuityMode::Always => true,
                    DiscontinuityMode::Never => false,
                    DiscontinuityMode::OnDiscontinuity => breaks,
                };
                let period = if breaks {
                    let end = last.at_ms() + last.info.duration_ms;
                    let by_clock = available_ms.map_or(0, |at| at.saturating_sub(duration_ms));
                    new_period(last.period.id + 1, end.max(by_clock))
                } else {
                    last.period.clone()
                };
                (last.sequence + 1, mark, last.discontinuities + u64::from(mark), period)
            }
        };
        self.entries.push_back(Entry {
            sequence,
            info,
            start_ms,
            config,
            discontinuity,
            discontinuities,
            period,
        });
        while self.entries.len() > 2 * self.window + 4 {
            self.entries.pop_front();
        }
    }

    /// The newest.
    pub(super) fn last(&self) -> Option<&Entry> {
        self.entries.back()
    }

    /// One that a player can load, by its number in the session.
    pub(super) fn get(&self, sequence: u64) -> Option<&Entry> {
        let first = self.entries.front()?.sequence;
        self.entries.get(usize::try_from(sequence.checked_sub(first)?).ok()?)
    }

    /// What the playlist shows.
    pub(super) fn shown(&self) -> impl Iterator<Item = &Entry> + Clone {
        self.entries.iter().skip(self.entries.len().saturating_sub(self.window))
    }

    /// Which configuration the newest fragment with this header has.
    pub(super) fn config_of(&self, header: &str) -> Option<usize> {
        self.entries.iter().rev().find(|entry| entry.info.header == header).map(|entry| entry.config)
    }

    /// The longest fragment so far.
    pub(super) fn longest_ms(&self) -> u64 {
        self.longest_ms
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::archive::SessionInfo;

    /// A fragment of two seconds from this time on.
    pub(in crate::playback) fn fragment(number: u64, producer_ms: u64) -> Arc<FragmentInfo> {
        Arc::new(FragmentInfo {
            number: format!("{number:047}"),
            producer_ms,
            server_ms: producer_ms + 300,
            persisted_ms: producer_ms + 2_400,
            duration_ms: 2_000,
            size: 250_000,
            video_frames: 60,
            audio_frames: 94,
            header: "header".to_owned(),
            session: SessionInfo::default(),
        })
    }

    proptest! {
        /// What RFC 8216 section 6.2.2 asks of a playlist that slides, whatever the media is like.
        #[test]
        fn a_sliding_window_keeps_its_numbers(
            steps in prop::collection::vec((0..4_000_u64, 0..2_usize), 1..60),
            window in 1..8_usize,
            mode in prop::sample::select(vec![
                DiscontinuityMode::Always, DiscontinuityMode::Never, DiscontinuityMode::OnDiscontinuity,
            ]),
        ) {
            let mut timeline = Timeline::new(TimestampKind::Producer, mode, window);
            let (mut at, mut marks) = (1_700_000_000_000, Vec::new());
            let mut before: Vec<(u64, bool)> = Vec::new();
            for (number, (step, config)) in (0..).zip(steps) {
                at += 1 + step;
                timeline.push(fragment(number, at), config, None);
                let shown: Vec<&Entry> = timeline.shown().collect();
                prop_assert!(shown.len() <= window && shown.len() == window.min(number as usize + 1));
                marks.push(shown.last().unwrap().discontinuity);
                // the discontinuity sequence is the number of marks that have gone
                let first = shown[0];
                let gone = marks[..first.sequence as usize].iter().filter(|mark| **mark).count() as u64;
                prop_assert_eq!(first.discontinuities - u64::from(first.discontinuity), gone);
                // what stays is as it was
                for (sequence, mark) in &before {
                    if let Some(entry) = shown.iter().find(|entry| entry.sequence == *sequence) {
                        prop_assert_eq!(entry.discontinuity, *mark);
                    }
                    prop_assert!(timeline.get(*sequence).is_some(), "it can still be loaded");
                }
                // the presentation never goes back
                let ends = shown.iter().map(|entry| entry.at_ms() + 2_000);
                for (end, next) in ends.zip(shown.iter().skip(1)) {
                    prop_assert!(next.at_ms() + GAP_MS >= end, "{} {}", next.at_ms(), end);
                }
                before = shown.iter().map(|entry| (entry.sequence, entry.discontinuity)).collect();
            }
        }
    }

    #[test]
    fn a_gap_is_a_new_period_that_begins_when_its_media_is_there() {
        let mut timeline = Timeline::new(TimestampKind::Producer, DiscontinuityMode::OnDiscontinuity, 5);
        for (number, at) in [(0, 10_000), (1, 12_040), (2, 60_000), (3, 62_000)] {
            timeline.push(fragment(number, at), 0, Some(at - 10_000 + 2_500));
        }
        let seen: Vec<_> =
            timeline.shown().map(|entry| (entry.period.id, entry.at_ms(), entry.discontinuity)).collect();
        assert_eq!(seen, [(0, 0, false), (0, 2_040, false), (1, 50_500, true), (1, 52_500, false)]);
    }
}
