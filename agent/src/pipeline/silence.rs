//! Keeps a declared audio track alive while the master sends none of it (muted, or DTX): every
//! fragment needs every declared track.

use std::time::{Duration, SystemTime};

/// Audio that is this far behind video is taken for silent: more than any reordering delays it.
const BEHIND: Duration = Duration::from_millis(800);

/// Length of one gap: Opus conceals at most 120 ms at a time.
const CHUNK: Duration = Duration::from_millis(60);

/// Gaps handed out at once; a longer silence is not filled but left to `audiorate`.
const MAX_CHUNKS: usize = 200;

/// Follows where audio ends.
#[derive(Debug, Default)]
pub(super) struct Silence {
    end: Option<SystemTime>,
}

impl Silence {
    /// Audio up to `end` went in.
    pub(super) fn audio(&mut self, end: SystemTime) {
        self.end = Some(self.end.map_or(end, |before| before.max(end)));
    }

    /// Where audio ends.
    pub(super) fn end(&self) -> Option<SystemTime> {
        self.end
    }

    /// Video reached `at`: the gaps to put in, with their length.
    pub(super) fn video(&mut self, at: SystemTime) -> Vec<(SystemTime, Duration)> {
        let mut gaps = Vec::new();
        let Some(mut end) = self.end else {
            return gaps;
        };
        while gaps.len() < MAX_CHUNKS && at.duration_since(end).is_ok_and(|behind| behind >= BEHIND + CHUNK) {
            gaps.push((end, CHUNK));
            end += CHUNK;
        }
        self.end = Some(end);
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(1_800_000_000_000 + millis)
    }

    #[test]
    fn only_audio_that_stays_away_is_filled_and_without_a_hole() {
        let mut silence = Silence::default();
        assert!(silence.video(at(5_000)).is_empty(), "no audio yet: nothing to keep alive");
        silence.audio(at(0));
        assert!(silence.video(at(700)).is_empty());
        let mut end = at(0);
        let mut filled = Duration::ZERO;
        for frame in 0..300 {
            for (start, length) in silence.video(at(700 + frame * 33)) {
                assert_eq!(start, end);
                end += length;
                filled += length;
            }
        }
        assert!(filled > Duration::from_millis(9_500) && filled < Duration::from_millis(9_900));
        assert_eq!(silence.end(), Some(end));
    }
}
