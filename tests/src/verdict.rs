//! What became of time: what was stored beside what was sent, as one row of a table.

use std::fmt;
use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::master::Sent;
use crate::sound::Heard;
use crate::stored::Stored;

/// The header of the rows.
pub const HEADER: &str = "scenario                       frames in/stored/lost  Opus in  beeps sent/heard/twice  silence   \
     video worst/steady   beep worst/steady   lip sync median/worst   late";

/// One row. Errors are in milliseconds, stored minus true; they are called steady where the sender's times are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    pub name: String,
    /// From the first stored frame to the last.
    pub frames_in: usize,
    pub frames_stored: usize,
    /// Sent, and not stored or not unchanged.
    pub frames_lost: usize,
    /// Stored more than once, or not in the order in which they were sent.
    pub out_of_order: usize,
    /// Where the first frame lies among those that were sent, and how many of the last are not stored.
    pub missing_ends: (usize, usize),
    pub packets_in: u64,
    pub beeps_sent: usize,
    pub beeps_heard: usize,
    /// Heard more often than sent.
    pub beeps_twice: usize,
    /// Milliseconds, where the agent tells.
    pub silence: Option<u64>,
    pub video: Errors,
    pub beeps: Errors,
    /// What a beep is late behind the frame that was captured with it; `steady` is the worst of them, `worst` too.
    pub lip_sync: Errors,
    pub lip_median: f64,
    /// What the master itself was late, on a busy machine.
    pub late: f64,
    /// Of each file with sound.
    pub channels: Vec<u64>,
    /// The first thing that a decoder has to say against what is stored.
    pub damage: Option<String>,
}

/// The largest errors: of all, and of those that are steady.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Errors {
    pub worst: f64,
    pub steady: f64,
}

impl Errors {
    fn add(&mut self, error: f64, steady: bool) {
        let larger = |old: &mut f64| {
            if error.abs() > old.abs() {
                *old = error;
            }
        };
        larger(&mut self.worst);
        if steady {
            larger(&mut self.steady);
        }
    }
}

/// Seconds of the master's time, from its first frame or packet, in which errors are not yet steady.
pub type Unsteady = [Range<f64>];

impl Verdict {
    pub fn new(name: &str, stored: &Stored, heard: &[Heard], sent: &Sent, unsteady: &Unsteady) -> Self {
        let mut verdict = Self {
            name: name.to_owned(),
            channels: stored.channels.clone(),
            packets_in: sent.audio_packets,
            late: sent.late.as_secs_f64() * 1e3,
            ..Self::default()
        };
        let start = sent.started.map_or(0.0, seconds);
        let steady = |at: f64| !unsteady.iter().any(|range| range.contains(&(at - start)));
        let video = verdict.video_errors(stored, sent);
        for (at, error) in &video {
            verdict.video.add(*error, steady(*at));
        }
        verdict.sound(heard, sent, &video, steady);
        verdict
    }

    /// True time and error of each stored frame, by true time.
    fn video_errors(&mut self, stored: &Stored, sent: &Sent) -> Vec<(f64, f64)> {
        let (Some(first), Some(last)) = (stored.frames.first(), stored.frames.last()) else {
            return Vec::new();
        };
        let expected =
            sent.frames.iter().filter(|frame| (first.number..=last.number).contains(&frame.number));
        self.frames_in = expected.clone().count();
        self.frames_stored = stored.frames.len();
        self.out_of_order = stored.frames.windows(2).filter(|pair| pair[1].number <= pair[0].number).count();
        let by_number: std::collections::HashMap<_, _> =
            stored.frames.iter().map(|frame| (frame.number, frame)).collect();
        self.frames_lost = expected
            .filter(|frame| by_number.get(&frame.number).is_none_or(|stored| stored.hash != frame.hash))
            .count();
        self.missing_ends = (first.number as usize, sent.frames.len() - 1 - last.number as usize);
        let mut errors: Vec<_> = stored
            .frames
            .iter()
            .filter_map(|frame| {
                let at = seconds(sent.frames.get(frame.number as usize)?.at);
                Some((at, frame.time_ms as f64 - at * 1e3))
            })
            .collect();
        errors.sort_by(|a, b| a.0.total_cmp(&b.0));
        errors
    }

    fn sound(&mut self, heard: &[Heard], sent: &Sent, video: &[(f64, f64)], steady: impl Fn(f64) -> bool) {
        let (Some(first), Some(last)) = (video.first(), video.last()) else { return };
        // What is sent in the last second may still be under way when the agent is stopped.
        let counted = first.0 + SETTLED..last.0 - 1.0;
        let beeps: Vec<_> = sent.beeps.iter().map(|beep| (beep.tone, seconds(beep.at))).collect();
        let mut times = vec![0usize; beeps.len()];
        let mut lip_sync = Vec::new();
        for heard in heard {
            let nearest = (0..beeps.len())
                .filter(|index| beeps[*index].0 == heard.tone)
                .min_by(|a, b| (beeps[*a].1 - heard.at).abs().total_cmp(&(beeps[*b].1 - heard.at).abs()));
            let Some(index) = nearest else { continue };
            times[index] += 1;
            let at = beeps[index].1;
            let error = (heard.at - at) * 1e3;
            self.beeps.add(error, steady(at));
            if let Some(frame) = frame_at(video, at) {
                self.lip_sync.add(error - frame.1, steady(at));
                if steady(at) {
                    lip_sync.push(error - frame.1);
                }
            }
        }
        let counted = beeps.iter().zip(&times).filter(|(beep, _)| counted.contains(&beep.1));
        self.beeps_sent = counted.clone().count();
        self.beeps_heard = counted.filter(|(_, times)| **times > 0).count();
        self.beeps_twice = times.iter().filter(|times| **times > 1).count();
        lip_sync.sort_by(f64::total_cmp);
        self.lip_median = lip_sync.get(lip_sync.len() / 2).copied().unwrap_or(f64::NAN);
    }

    /// What is wrong with it.
    pub fn failures(&self, limits: &Limits) -> Vec<String> {
        let mut failures = Vec::new();
        let mut check = |right: bool, text: String| {
            if !right {
                failures.push(text);
            }
        };
        check(self.frames_stored > 0, "nothing stored".to_owned());
        check(self.damage.is_none(), self.damage.clone().unwrap_or_default());
        check(self.frames_lost == 0, format!("{} frames lost", self.frames_lost));
        check(self.out_of_order == 0, format!("{} frames out of order", self.out_of_order));
        check(self.missing_ends.0 <= 45, format!("the first stored frame is {}", self.missing_ends.0));
        check(
            self.missing_ends.1 <= limits.tail,
            format!("the last {} frames are missing", self.missing_ends.1),
        );
        check(self.beeps_sent > 0, "no beeps sent".to_owned());
        if let Some(wanted) = limits.channels {
            let right = self.channels.iter().all(|channels| *channels == wanted);
            check(right, format!("{:?} channels, not {wanted}", self.channels));
        }
        let silent = self.beeps_sent - self.beeps_heard;
        check(silent == 0, format!("{silent} of {} beeps not heard", self.beeps_sent));
        check(self.beeps_twice == 0, format!("{} beeps heard twice", self.beeps_twice));
        let mut within = |what: &str, error: f64, limit: f64| {
            check(error.abs() <= limit, format!("{what} {error:.0} ms off, more than {limit:.0}"));
        };
        within("video", self.video.worst, limits.worst);
        within("beeps", self.beeps.worst, limits.worst);
        within("steady video", self.video.steady, limits.steady);
        within("steady beeps", self.beeps.steady, limits.steady);
        within("lip sync", self.lip_sync.steady, limits.lip_sync);
        failures
    }
}

/// What is allowed, in milliseconds and frames.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub worst: f64,
    pub steady: f64,
    pub lip_sync: f64,
    /// Frames at the end that may still be under way when the agent is stopped.
    pub tail: usize,
    /// What sound must have, where that matters.
    pub channels: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { worst: 2_500.0, steady: 80.0, lip_sync: 80.0, tail: 45, channels: None }
    }
}

/// Seconds that a receiver has to learn what it needs to know of a sender.
pub const SETTLED: f64 = 3.0;

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let frames = format!("{}/{}/{}", self.frames_in, self.frames_stored, self.frames_lost);
        let beeps = format!("{}/{}/{}", self.beeps_sent, self.beeps_heard, self.beeps_twice);
        let silence = self.silence.map_or_else(|| "?".to_owned(), |ms| format!("{ms} ms"));
        let pair = |errors: Errors| format!("{:+.0}/{:+.0} ms", errors.worst, errors.steady);
        let lips = format!("{:+.0}/{:+.0} ms", self.lip_median, self.lip_sync.steady);
        write!(
            f,
            "{:30} {frames:>21}  {:>7}  {beeps:>22}  {silence:>7}   {:>18}   {:>17}   {lips:>21}   {:.0} ms",
            self.name,
            self.packets_in,
            pair(self.video),
            pair(self.beeps),
            self.late
        )
    }
}

/// The frame that was captured with what was captured then, unless the camera was off.
fn frame_at(video: &[(f64, f64)], at: f64) -> Option<(f64, f64)> {
    let after = video.partition_point(|frame| frame.0 < at);
    [after.checked_sub(1), Some(after)]
        .into_iter()
        .flatten()
        .filter_map(|index| video.get(index).copied())
        .min_by(|a, b| (a.0 - at).abs().total_cmp(&(b.0 - at).abs()))
        .filter(|frame| (frame.0 - at).abs() < 0.1)
}

pub(crate) fn seconds(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::master::{Beep, SentFrame};
    use crate::stored::StoredFrame;

    /// Twenty seconds at 30 frames a second with a beep each second, and the same stored by `off` milliseconds later.
    fn world(off: impl Fn(f64) -> i64) -> (Sent, Stored, Vec<Heard>) {
        let at = |seconds: f64| UNIX_EPOCH + Duration::from_secs_f64(1e9 + seconds);
        let hash = String::new;
        let frames = (0..600u64).map(|number| SentFrame {
            number,
            idr: number == 0,
            hash: hash(),
            width: 4,
            height: 4,
            at: at(number as f64 / 30.0),
        });
        let beeps = (0..20).map(|number| Beep { tone: number % TONES, at: at(number as f64 + 0.5) });
        let sent = Sent {
            frames: frames.collect(),
            beeps: beeps.collect(),
            started: Some(at(0.0)),
            ..Sent::default()
        };
        let stored = sent.frames.iter().map(|frame| StoredFrame {
            number: frame.number,
            idr: frame.idr,
            hash: hash(),
            time_ms: (seconds(frame.at) * 1e3) as i64 + off(frame.number as f64 / 30.0),
        });
        let stored = Stored {
            files: Vec::new(),
            frames: stored.collect(),
            video: None,
            audio: None,
            sizes: Vec::new(),
            channels: Vec::new(),
        };
        let heard = sent.beeps.iter().map(|beep| Heard { tone: beep.tone, at: seconds(beep.at) + 0.02 });
        let heard = heard.collect();
        (sent, stored, heard)
    }

    const TONES: usize = crate::master::clip::TONES.len();

    #[test]
    fn what_is_right_is_right() {
        let (sent, stored, heard) = world(|_| 0);
        let verdict = Verdict::new("right", &stored, &heard, &sent, &[]);
        assert_eq!(verdict.failures(&Limits::default()), Vec::<String>::new(), "{verdict}");
        assert_eq!((verdict.frames_in, verdict.frames_lost, verdict.beeps_sent), (600, 0, 16));
        assert!((verdict.lip_median - 20.0).abs() < 2.0, "{verdict:?}");
    }

    #[test]
    fn what_is_lost_or_late_is_told() {
        let (sent, mut stored, mut heard) = world(|at| if at < 2.0 { 2_000 } else { -100 });
        stored.frames.remove(50);
        heard.remove(10);
        heard.push(heard[9]);
        let verdict = Verdict::new("wrong", &stored, &heard, &sent, &[0.0..3.0]);
        assert_eq!((verdict.frames_lost, verdict.beeps_heard, verdict.beeps_twice), (1, 15, 1));
        assert!((verdict.video.worst - 2_000.0).abs() < 2.0 && (verdict.video.steady + 100.0).abs() < 2.0);
        assert!((verdict.lip_sync.steady - 120.0).abs() < 2.0, "{verdict:?}");
        assert_eq!(
            verdict.failures(&Limits::default()).len(),
            5,
            "{:?}",
            verdict.failures(&Limits::default())
        );
    }
}
