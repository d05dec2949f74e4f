//! Media timestamps of one sender to wall-clock capture times. `docs/time.md` has the model.
//!
//! **Time is a label.** The clock never refuses a timestamp: whatever it makes of a sender, a capture time lies at most
//! [`SenderClock::BOUND`] before and [`SenderClock::AHEAD`] after the arrival of what it belongs to.
//!
//! * The place of a track's media time is recovered from its own arrivals, rate and offset ([`line`]). Tracks share
//!   nothing but the local clock, so that what happens to one moves no other.
//! * Sender reports, once the packets confirm them ([`reports`]), tell one number: how far the tracks are apart at the
//!   sender. Without them both go by their shortest delays. Sound stays where it is, and pictures move, since sound
//!   must be bent to follow and pictures need not.
//! * The local clock is read once ([`wall`]).
//!
//! What was handed out never changes, so corrections are made up for while media goes on: what is due forwards by more
//! than 80 ms at once, the rest within a second or two. A capture time is asked for when a picture or packet is handed
//! on; while it is being found out what its timestamps mean (at the start, or when they have jumped) the answer is to
//! wait for less than half a second.
//!
//! Timestamps are presentation times (RFC 6184 section 5.1): those of B pictures go back, and so do their capture times.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

mod line;
mod nanos;
mod reports;
mod wall;

use crate::media_kind::{MediaKind, PerTrack};
use line::{Line, scaled};
use nanos::{MS, Nanos, SECOND};
use reports::Reports;
use wall::Wall;

/// From 1900 to 1970.
const NTP_TO_UNIX: i64 = 2_208_988_800;
/// Later than this after its line a capture time is not believed to the full,
const LATE: Nanos = 2_300 * MS;
/// and never later than this: what is between keeps its order.
const BOUND: Nanos = 2_500 * MS;
/// Never ahead of its arrival by more; it is while an error is made up for.
const AHEAD: Nanos = 150 * MS;
/// With a margin for the order of pictures.
const MOST_AHEAD: Nanos = 200 * MS;
/// What is due forwards by more is not made up for slowly.
const FORWARD: Nanos = 80 * MS;
/// A correction is made up for with this time constant.
const SLEW: Nanos = SECOND;
/// Tracks of one sender are not farther apart.
const MOST_APART: Nanos = 2 * SECOND;
/// How far pictures may move later, where sound is what comes late.
const LATER: Nanos = 200 * MS;
/// A distance that changed by less has not changed.
const DEAD_BAND: Nanos = 5 * MS;

/// Asked so long after now, a capture time is not waited for any more.
pub(crate) const FOREVER: Duration = Duration::from_secs(3600);

/// Where a track's capture times come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeSource {
    /// No packet has come yet.
    #[default]
    None,
    /// Spacing by RTP timestamps, distance of the tracks by sender reports.
    Reports,
    /// Spacing by RTP timestamps, distance of the tracks by arrival.
    Rtp,
    /// The rate of the RTP timestamps is off by more than 3 %: spacing is scaled by what arrivals tell.
    Arrival,
}

impl TimeSource {
    /// The word of `/status` and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Reports => "reports",
            Self::Rtp => "rtp",
            Self::Arrival => "arrival",
        }
    }
}

/// What is known of a track's time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockStats {
    /// Where its capture times come from.
    pub source: TimeSource,
    /// By how many millionths the track's timestamps go faster than time.
    pub rate_ppm: i64,
    /// Times that belief changed: timestamps that jumped, stood still or changed their rate.
    pub epochs: u64,
    /// Sender reports are not believed: they contradict the packets.
    pub reports_refused: u64,
}

/// An answer of [`SenderClock::capture_time`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// The capture time.
    At(SystemTime),
    /// It is being found out. Ask again then, or with the next packet.
    Wait(Instant),
}

/// Maps the media timestamps of one sender's audio and video to the local wall clock. See the [module](self).
#[derive(Debug)]
pub struct SenderClock {
    settle: Nanos,
    /// Units of RTP timestamps in a second.
    rates: PerTrack<u32>,
    began: Option<Instant>,
    wall: Wall,
    tracks: PerTrack<Track>,
    /// Video minus audio: delays from capture to arrival, by the sender's reports.
    distance: Option<Nanos>,
}

#[derive(Debug, Default)]
struct Track {
    line: Line,
    reports: Reports,
    line_changes: u64,
    observed: Option<u64>,
    emitted: Option<Emitted>,
    /// How far the track is moved to agree with the other.
    moved: Nanos,
}

/// What was handed out with the largest media time so far.
#[derive(Clone, Copy, Debug)]
struct Emitted {
    media: Nanos,
    capture: Nanos,
    /// What is left of corrections.
    left: Nanos,
}

fn media_nanos(rate: u32, timestamp: u64) -> Nanos {
    let nanos = i128::from(timestamp) * i128::from(SECOND) / i128::from(rate.max(1));
    // 146 years, which leaves room for sums.
    nanos.clamp(0, i128::from(i64::MAX / 2)) as i64
}

fn wall_nanos(wall: SystemTime) -> Nanos {
    wall.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX / 4))
}

fn ntp_nanos(ntp: u64) -> Nanos {
    let (seconds, fraction) = (ntp >> 32, ntp & 0xffff_ffff);
    // The counter turns over in February 2036.
    let seconds = if seconds & 0x8000_0000 == 0 { seconds + (1 << 32) } else { seconds };
    let nanos = (i128::from(fraction) * i128::from(SECOND)) >> 32;
    (seconds as i64 - NTP_TO_UNIX) * SECOND + nanos as i64
}

impl SenderClock {
    /// A capture time is never earlier before the arrival of what it belongs to.
    pub const BOUND: Duration = Duration::from_nanos(BOUND as u64);
    /// Nor later after it.
    pub const AHEAD: Duration = Duration::from_nanos(MOST_AHEAD as u64);
    /// How long a capture time waits at most, if the beginning is not waited for longer.
    pub const JUDGE: Duration = Duration::from_nanos(line::JUDGE as u64);

    /// A clock that looks at the first `settle` of a track before it gives a capture time. `rates`: units of the tracks'
    /// RTP timestamps in a second.
    pub fn new(settle: Duration, rates: PerTrack<u32>) -> Self {
        Self {
            settle: i64::try_from(settle.as_nanos()).unwrap_or(0),
            rates,
            began: None,
            wall: Wall::default(),
            tracks: PerTrack::default(),
            distance: None,
        }
    }

    fn moment(&mut self, at: Instant) -> Nanos {
        // A little room for what came before the first that was heard of.
        let began = *self.began.get_or_insert(at);
        match at.checked_duration_since(began) {
            Some(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX / 4),
            None => -i64::try_from(began.duration_since(at).as_nanos()).unwrap_or(i64::MAX / 4),
        }
    }

    /// The wall clock, which should follow AWS's.
    pub fn tick(&mut self, now: Instant, wall: SystemTime) {
        let now = self.moment(now);
        self.wall.read(now, wall_nanos(wall));
    }

    /// The wall-clock time of a moment, as this clock has it.
    pub fn wall(&mut self, at: Instant) -> SystemTime {
        let moment = self.moment(at);
        system(self.wall.time(moment))
    }

    /// How far the wall clock is ahead of what this clock goes by, in milliseconds: it was set meanwhile.
    pub fn wall_clock_off_ms(&self) -> i64 {
        self.wall.off() / MS
    }

    /// A packet with this extended timestamp arrived, for the first time and without having been asked for.
    pub fn arrival(&mut self, kind: MediaKind, timestamp: u64, now: Instant) {
        let (now, settle) = (self.moment(now), self.settle);
        let raised =
            self.tracks[kind].arrival(timestamp, media_nanos(self.rates[kind], timestamp), now, settle);
        let Some(distance) = &mut self.distance else { return };
        // Pictures are where reports and sound put them, so what their own line does moves them no more.
        let raised = if kind == MediaKind::Video { raised } else { -raised };
        *distance = distance.saturating_add(raised);
        self.tracks.video.moved = self.tracks.video.moved.saturating_sub(raised);
    }

    /// A sender report with this time and this extended timestamp.
    pub fn sender_report(&mut self, kind: MediaKind, ntp: u64, timestamp: u64, now: Instant) {
        let now = self.moment(now);
        let track = &mut self.tracks[kind];
        track.reports.take(ntp_nanos(ntp), media_nanos(self.rates[kind], timestamp), now, &track.line);
        self.compare();
    }

    /// How far video comes after audio, in milliseconds, for what was captured at the same time.
    pub fn distance_ms(&self) -> Option<i64> {
        self.distance.map(|distance| distance / MS)
    }

    fn compare(&mut self) {
        let PerTrack { video, audio } = &self.tracks;
        let (video, audio) = (&video.reports, &audio.reports);
        if video.is_refused() || audio.is_refused() {
            self.distance = None;
            return;
        }
        // What is known stands until both tracks tell anew, after the sender's clock was set or a track began again.
        let set = video.set_at().max(audio.set_at());
        let both = video.offset().zip(audio.offset());
        let Some((of_video, of_audio)) =
            both.filter(|_| video.confirmed_since(set) && audio.confirmed_since(set))
        else {
            return;
        };
        let distance = of_video.saturating_sub(of_audio);
        let known = self.distance.unwrap_or(Nanos::MAX);
        if distance.saturating_abs() <= MOST_APART
            && distance.saturating_sub(known).saturating_abs() > DEAD_BAND
        {
            self.distance = Some(distance);
        }
    }

    /// The timestamps of this track start afresh.
    pub fn reset(&mut self, kind: MediaKind) {
        let track = &mut self.tracks[kind];
        let epochs = track.line_changes + track.line.changes() + 1;
        let emitted = track.emitted.map(|emitted| Emitted { media: Nanos::MIN, ..emitted });
        *track = Track { emitted, line_changes: epochs, moved: track.moved, ..Track::default() };
    }

    /// What is known of a track's time.
    pub fn stats(&self, kind: MediaKind) -> ClockStats {
        let track = &self.tracks[kind];
        let rate = track.line.rate();
        let source = match track.emitted {
            None => TimeSource::None,
            Some(_) if (rate - 1.0).abs() > 0.03 => TimeSource::Arrival,
            Some(_) if track.reports.is_confirmed() => TimeSource::Reports,
            Some(_) => TimeSource::Rtp,
        };
        ClockStats {
            source,
            rate_ppm: ((1.0 / rate - 1.0) * 1e6).round() as i64,
            epochs: track.line_changes + track.line.changes(),
            reports_refused: track.reports.refused(),
        }
    }

    /// The capture time of this extended timestamp, the first of whose packets came at `arrived`. To be asked for in the
    /// order of decoding, once for each.
    pub fn capture_time(&mut self, kind: MediaKind, timestamp: u64, arrived: Instant, now: Instant) -> Stamp {
        let (now_nanos, arrival, settle) = (self.moment(now), self.moment(arrived), self.settle);
        let target = match (kind, self.distance) {
            (_, None) => 0,
            (MediaKind::Video, Some(distance)) => -distance.max(-LATER),
            (MediaKind::Audio, Some(distance)) => (distance + LATER).min(0),
        };
        let track = &mut self.tracks[kind];
        let media = media_nanos(self.rates[kind], timestamp);
        if track.line.time(media).is_none() {
            // All its packets had to be asked for.
            track.arrival(timestamp, media, arrival, settle);
        }
        if let Some(until) = track.line.undecided(arrival, settle) {
            let wait = until - now_nanos;
            if wait > 0 {
                return Stamp::Wait(now + Duration::from_nanos(wait.unsigned_abs()));
            }
            track.line.settle();
        }
        let capture = track.capture(media, arrival, target);
        Stamp::At(system(self.wall.time(capture)))
    }
}

fn system(nanos: Nanos) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}

impl Track {
    /// Gives how far the line was raised, if it is still the same line.
    fn arrival(&mut self, timestamp: u64, media: Nanos, now: Nanos, settle: Nanos) -> Nanos {
        // The first packet of a picture tells when it was sent; how long the others take is the network's affair.
        if self.observed.replace(timestamp) == Some(timestamp) {
            return 0;
        }
        let (changes, before) = (self.line.changes(), self.line.time(media));
        let vouched = self.reports.vouch_for(self.line.rate());
        self.line.observe(now, media, settle, vouched);
        if self.line.changes() != changes {
            self.reports.forget();
            // What follows is not an earlier picture.
            if let Some(emitted) = &mut self.emitted {
                emitted.media = Nanos::MIN;
            }
            return 0;
        }
        let raised = self.line.time(media).zip(before).map_or(0, |(after, before)| after - before);
        self.reports.line_was_raised(raised);
        raised
    }

    fn capture(&mut self, media: Nanos, arrival: Nanos, target: Nanos) -> Nanos {
        let rate = self.line.rate();
        let line = self.line.time(media).unwrap_or(arrival);
        let before = self.emitted;
        let is_newest = before.is_none_or(|emitted| media > emitted.media);
        // How far it goes on from what was handed out last, as far as that is known.
        let step = before
            .filter(|emitted| emitted.media != Nanos::MIN && is_newest)
            .map(|emitted| scaled(media - emitted.media, rate).max(0));
        if let Some(step) = step {
            let error = target - self.moved;
            let most = (step / 50).max(scaled(step, (error.abs() as f64 / (4 * SECOND) as f64).min(0.1)));
            self.moved += error.clamp(-most, most);
        } else if before.is_none() {
            self.moved = target;
        }
        let line = line.saturating_add(self.moved);
        let left = match (before, step) {
            (Some(emitted), Some(step)) => {
                let error = emitted.capture.saturating_add(step).saturating_sub(line);
                let fades = (-(step as f64) / SLEW as f64).exp();
                if error < -FORWARD { 0 } else { scaled(error.min(AHEAD), fades) }
            }
            (Some(emitted), None) if !is_newest => emitted.left,
            _ => 0,
        };
        let mut capture = line.saturating_add(left);
        let late = arrival.saturating_sub(capture);
        if late > LATE {
            capture = arrival - LATE - scaled(BOUND - LATE, 1.0 - LATE as f64 / late as f64);
        }
        capture = capture.min(arrival + AHEAD);
        if let Some(emitted) = before.filter(|_| is_newest) {
            let least = emitted.capture + step.unwrap_or(MS).clamp(1, MS);
            capture = capture.max(least.min(arrival + MOST_AHEAD));
        }
        if is_newest {
            self.emitted = Some(Emitted { media, capture, left });
        }
        capture
    }
}

#[cfg(test)]
mod tests;
