//! [`Clock`]: when what a peer sends was seen and heard. Sans-IO.
//!
//! The picture goes by the peer's own clock from the moment of its first frame on. Where the sender reports of both tracks
//! are believable, sound is put where they say (RFC 3550 section 6.4.1); before that, and without them, where it arrived.

use std::time::{Duration, Instant, SystemTime};

use str0m::media::MediaTime;

/// A peer's clock that is this far from ours has been set, or its timestamps are those of another track: it is taken anew.
const JUMP_US: i64 = 5_000_000;
/// Reports that put sound further from its arrival than this are not those of one clock.
const BELIEVABLE_US: i64 = 2_000_000;

/// A sender report: this RTP time was at this time of the peer's clock.
pub(super) type Report = (SystemTime, MediaTime);

#[derive(Debug, Clone, Copy)]
struct Anchor {
    rtp: MediaTime,
    us: i64,
}

impl Anchor {
    fn at(self, rtp: MediaTime) -> i64 {
        self.us.saturating_add(between(self.rtp, rtp))
    }
}

/// Times are in microseconds since 1970.
#[derive(Debug)]
pub(super) struct Clock {
    /// An instant, and the time of day that it was.
    epoch: (Instant, i64),
    video: Option<Anchor>,
    sound: Option<Anchor>,
    video_report: Option<Report>,
}

impl Clock {
    pub(super) fn new(now: Instant, unix_ms: u64) -> Self {
        let us = i64::try_from(unix_ms).unwrap_or(0).saturating_mul(1000);
        Self { epoch: (now, us), video: None, sound: None, video_report: None }
    }

    fn wall(&self, at: Instant) -> i64 {
        let since = at.saturating_duration_since(self.epoch.0);
        self.epoch.1.saturating_add(micros(since))
    }

    /// Another peer sends from here on.
    pub(super) fn forget(&mut self) {
        (self.video, self.sound, self.video_report) = (None, None, None);
    }

    /// When a picture was seen, and whether its track begins anew with it.
    pub(super) fn video(&mut self, rtp: MediaTime, arrival: Instant, report: Option<Report>) -> (i64, bool) {
        self.video_report = report;
        let wall = self.wall(arrival);
        let at = self.video.map(|anchor| anchor.at(rtp)).filter(|us| us.abs_diff(wall) < JUMP_US as u64);
        match at {
            Some(us) => (us, false),
            None => {
                self.video = Some(Anchor { rtp, us: wall });
                (wall, true)
            }
        }
    }

    /// When a packet of sound was heard.
    pub(super) fn sound(&mut self, rtp: MediaTime, arrival: Instant, report: Option<Report>) -> i64 {
        let wall = self.wall(arrival);
        let reported = self.reported(rtp, report).filter(|us| us.abs_diff(wall) < BELIEVABLE_US as u64);
        let arrived = self.sound.map(|anchor| anchor.at(rtp));
        match reported.or(arrived).filter(|us| us.abs_diff(wall) < JUMP_US as u64) {
            Some(us) => us,
            None => {
                self.sound = Some(Anchor { rtp, us: wall });
                wall
            }
        }
    }

    fn reported(&self, rtp: MediaTime, report: Option<Report>) -> Option<i64> {
        let (ntp, at) = report?;
        let (video_ntp, video_at) = self.video_report?;
        let anchor = self.video?;
        let apart = match ntp.duration_since(video_ntp) {
            Ok(later) => micros(later),
            Err(earlier) => -micros(earlier.duration()),
        };
        let behind = between(at, rtp);
        Some(anchor.at(video_at).saturating_add(apart).saturating_add(behind))
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Microseconds from one RTP time to another of the same track.
fn between(from: MediaTime, to: MediaTime) -> i64 {
    let rate = i128::from(from.denom().max(1));
    let units = i128::from(to.numer()) - i128::from(from.numer());
    i64::try_from(units * 1_000_000 / rate).unwrap_or(if units < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use str0m::media::Frequency;

    use super::*;

    fn video(numer: u64) -> MediaTime {
        MediaTime::new(numer, Frequency::NINETY_KHZ)
    }

    fn sound(numer: u64) -> MediaTime {
        MediaTime::new(numer, Frequency::FORTY_EIGHT_KHZ)
    }

    const DAY_MS: u64 = 1_795_827_600_000;
    const DAY: i64 = DAY_MS as i64 * 1000;

    #[test]
    fn sound_is_where_the_reports_say() {
        let now = Instant::now();
        let later = |ms| now + Duration::from_millis(ms);
        let mut clock = Clock::new(now, DAY_MS);
        assert_eq!(clock.video(video(900_000), later(100), None), (DAY + 100_000, true));
        // without reports: as it arrives, 30 ms after what was seen with it
        assert_eq!(clock.sound(sound(5_000), later(130), None), DAY + 130_000);
        assert_eq!(
            clock.sound(sound(5_960), later(170), None),
            DAY + 150_000,
            "what arrives late was not heard later"
        );
        // 10 s of the picture's track and 4 s of the sound's are one moment of a clock that is wrong
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        assert_eq!(
            clock.video(video(903_000), later(134), Some((at, video(900_000)))),
            (DAY + 133_333, false)
        );
        let report = Some((at + Duration::from_millis(20), sound(5_960)));
        assert_eq!(clock.sound(sound(6_920), later(190), report), DAY + 140_000);
        // reports that cannot be are not believed
        let report = Some((at + Duration::from_secs(100), sound(5_960)));
        assert_eq!(clock.sound(sound(7_880), later(210), report), DAY + 190_000);
    }

    #[test]
    fn a_clock_that_jumps_is_taken_anew() {
        let now = Instant::now();
        let mut clock = Clock::new(now, DAY_MS);
        clock.video(video(0), now, None);
        let second = now + Duration::from_secs(1);
        assert_eq!(clock.video(video(90_000 * 600), second, None), (DAY + 1_000_000, true));
        assert_eq!(
            clock.video(video(90_000 * 601), second + Duration::from_secs(1), None),
            (DAY + 2_000_000, false)
        );
        clock.forget();
        assert_eq!(clock.video(video(90_000 * 601), second, None), (DAY + 1_000_000, true));
    }
}
