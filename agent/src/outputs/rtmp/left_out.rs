//! What is left out of a broadcast that is received all the same, in words. Pure.

use kvs_rtmp::{DropReason, Figures, LiveConfig, Track};
use std::time::{Duration, Instant};

/// It is told for so long.
const TOLD: Duration = Duration::from_secs(30);
/// So many frames of sound, half a second, give way to silence that was sent where sound begins again. More is a loss.
const GIVES_WAY: u64 = 24;

/// Counters that grow, as far as was seen.
#[derive(Debug, Default)]
pub(super) struct LeftOut {
    slow: Grown,
    late_pictures: Grown,
    late_sounds: Grown,
}

impl LeftOut {
    /// What is not as it should be, each with its word. `missing`: a track that does not go out although it comes, and how far
    /// behind the other.
    pub(super) fn notes(
        &mut self,
        figures: &Figures,
        missing: Option<(Track, Duration)>,
        now: Instant,
    ) -> Vec<(&'static str, String)> {
        let (slow, late) = (figures.dropped(DropReason::Slow), figures.dropped(DropReason::Late));
        let is_slow = self.slow.is_news(slow.pictures + slow.sounds, 1, now);
        let pictures_late = self.late_pictures.is_news(late.pictures, 1, now);
        let sounds_late = self.late_sounds.is_news(late.sounds, GIVES_WAY, now);
        let mut notes = Vec::new();
        if is_slow {
            let what = amount(slow.groups, slow.sounds);
            notes.push((
                "ServerSlow",
                format!("it takes less than the master sends, {what} were left out so far"),
            ));
        }
        if let Some((track, behind)) = missing {
            let (reason, what, other, count) = match track {
                Track::Video => ("PicturesLate", "pictures come", "sound", amount(late.groups, 0)),
                Track::Audio => ("SoundLate", "sound comes", "pictures", amount(0, late.sounds)),
            };
            notes.push((
                reason,
                format!(
                    "the master's {what} {:.1} s behind its {other}, which a live broadcast does not wait for (it waits {} s): \
                     {count} were left out so far; what makes or sends them has to be faster",
                    behind.as_secs_f64(),
                    LiveConfig::default().max_hold.as_secs_f64(),
                ),
            ));
        } else if pictures_late || sounds_late {
            let what = amount(late.groups, late.sounds);
            notes.push(("MediaLate", format!("{what} came too late for a live broadcast so far")));
        }
        notes
    }
}

fn amount(groups: u64, sounds: u64) -> String {
    match (groups, sounds) {
        (groups, 0) => format!("{groups} groups of pictures"),
        (0, sounds) => format!("{sounds} frames of sound"),
        (groups, sounds) => format!("{groups} groups of pictures and {sounds} frames of sound"),
    }
}

#[derive(Debug, Default)]
struct Grown {
    seen: u64,
    /// When it was seen to grow last.
    at: Option<Instant>,
    /// What it was before it began to.
    before: u64,
}

impl Grown {
    /// Whether it has grown by `least` without a pause of [`TOLD`], and the last of it within that time.
    fn is_news(&mut self, count: u64, least: u64, now: Instant) -> bool {
        if self.at.is_none_or(|at| now.saturating_duration_since(at) >= TOLD) {
            (self.at, self.before) = (None, self.seen);
        }
        if count > self.seen {
            (self.seen, self.at) = (count, Some(now));
        }
        self.at.is_some() && self.seen - self.before >= least
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_is_news_for_a_while_and_little_of_it_is_none() {
        let (mut grown, start) = (Grown::default(), Instant::now());
        let mut said =
            |count, least, seconds| grown.is_news(count, least, start + Duration::from_secs(seconds));
        assert!(!said(0, 1, 0) && said(1, 1, 1) && said(1, 1, 30) && !said(1, 1, 31));
        assert!(!said(11, 24, 100) && !said(22, 24, 200), "a little now and then");
        assert!(!said(31, 24, 201) && said(62, 24, 210) && said(62, 24, 230) && !said(62, 24, 240));
    }
}
