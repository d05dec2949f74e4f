//! Media timestamps of one sender to wall-clock capture times.
//!
//! A media timestamp counts from a random start, one per track. Two things place it in time:
//!
//! * **Arrival.** `wall clock at arrival − media time` is the track's start plus the delay of that packet. Its minimum
//!   over the last 10 s is the start plus the shortest delay: jitter, repairs and bursts only make it larger.
//! * **Sender reports** (RFC 3550 section 6.4.1) give the track's start on the *sender's* clock, the same clock for audio
//!   and video.
//!
//! Without reports each track goes by its own arrival, so that audio and video differ by the difference of their
//! shortest delays (encoding, pacing). Once both tracks have a report, both go by the sender's clock, which is mapped to
//! the local one **once**, by the smaller of the two shortest delays: one offset for both, so that their skew is the
//! sender's own. Reports that contradict the arrivals by more than 2 s are not believed.
//!
//! What was handed out never changes, so a correction is slewed: at most 2 % of the media time (10 % while it is off by
//! more than 200 ms), and not at all below 5 ms. When it is off by more than 5 s, because a clock was set or the sender
//! restarted its timestamps, the mapping is anchored anew; if that goes backwards, capture times run at half speed until
//! they agree. Capture times of one track always increase strictly.
//!
//! The receivers of the two tracks of a sender are handed the same `&mut SenderClock`; [`crate::MediaReceiver`] owns one
//! and does that.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const MS: i64 = 1_000_000;
const SECOND: i64 = 1_000 * MS;
/// The minimum delay is looked for in this many buckets of
const BUCKETS: usize = 10;
/// this length.
const BUCKET: Duration = Duration::from_secs(1);
/// An error larger than this is not slewed.
const REANCHOR: i64 = 5 * SECOND;
/// How long all arrivals must be off by more than that.
const REANCHOR_AFTER: Duration = Duration::from_secs(2);
/// Audio and video of one sender cannot differ by more in their shortest delays.
const MAX_SKEW: i64 = 2 * SECOND;
const DEAD_BAND: i64 = 5 * MS;
const COARSE: i64 = 200 * MS;
/// From 1900 to 1970.
const NTP_TO_UNIX: u64 = 2_208_988_800;

/// Which of the two tracks of a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// 90 kHz.
    Video,
    /// 48 kHz.
    Audio,
}

impl Kind {
    /// Units of a media timestamp in a second.
    pub fn clock_rate(self) -> u32 {
        match self {
            Self::Video => 90_000,
            Self::Audio => 48_000,
        }
    }
}

/// Maps the media timestamps of one sender's audio and video to the local wall clock.
#[derive(Debug, Default)]
pub struct SenderClock {
    video: Track,
    audio: Track,
    /// The wall clock when the newest packet of any kind came.
    newest: i64,
}

/// All times in nanoseconds.
#[derive(Debug, Default)]
struct Track {
    /// Per bucket the smallest of `arrival − media time`. At most `BUCKETS`.
    delays: VecDeque<(Instant, i64)>,
    /// Since when all arrivals are later than the minimum by more than `REANCHOR`.
    far_since: Option<Instant>,
    /// `sender's clock − media time` of the last report.
    report: Option<i64>,
    /// What is added to media time now.
    applied: Option<i64>,
    /// Media time and capture time that were handed out last; the former only of this timeline.
    last_media: Option<i64>,
    last_capture: Option<i64>,
    reanchored: u64,
}

fn media_nanos(kind: Kind, timestamp: u64) -> i64 {
    (i128::from(timestamp) * i128::from(SECOND) / i128::from(kind.clock_rate())) as i64
}

fn wall_nanos(wall: SystemTime) -> i64 {
    wall.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX / 4))
}

fn ntp_nanos(ntp: u64) -> i64 {
    let (seconds, fraction) = (ntp >> 32, ntp & 0xffff_ffff);
    // The counter turns over in February 2036.
    let seconds = if seconds & 0x8000_0000 == 0 { seconds + (1 << 32) } else { seconds };
    let nanos = (i128::from(fraction) * i128::from(SECOND)) >> 32;
    (seconds as i64 - NTP_TO_UNIX as i64) * SECOND + nanos as i64
}

impl SenderClock {
    fn track(&mut self, kind: Kind) -> &mut Track {
        match kind {
            Kind::Video => &mut self.video,
            Kind::Audio => &mut self.audio,
        }
    }

    /// The wall clock, for a track whose packets have not been timed when the first of them is handed out.
    pub(crate) fn tick(&mut self, wall: SystemTime) {
        self.newest = wall_nanos(wall);
    }

    /// A packet with this extended timestamp arrived, for the first time.
    pub fn arrival(&mut self, kind: Kind, timestamp: u64, now: Instant, wall: SystemTime) {
        self.tick(wall);
        let delay = self.newest - media_nanos(kind, timestamp);
        self.track(kind).arrival(delay, now);
    }

    /// A sender report with this time and this extended timestamp.
    pub fn sender_report(&mut self, kind: Kind, ntp: u64, timestamp: u64) {
        self.track(kind).report = Some(ntp_nanos(ntp) - media_nanos(kind, timestamp));
    }

    /// The timestamps of this track start afresh. Capture times go on increasing.
    pub fn reset(&mut self, kind: Kind) {
        let track = self.track(kind);
        let (last_capture, reanchored) = (track.last_capture, track.reanchored);
        *track = Track { last_capture, reanchored, ..Track::default() };
    }

    /// Times that a track was anchored anew since the start.
    pub fn reanchored(&self, kind: Kind) -> u64 {
        match kind {
            Kind::Video => self.video.reanchored,
            Kind::Audio => self.audio.reanchored,
        }
    }

    /// The capture time of this extended timestamp, which is handed out: to be called once for each, in order.
    pub fn capture_time(&mut self, kind: Kind, timestamp: u64) -> SystemTime {
        let media = media_nanos(kind, timestamp);
        let target = self.target(kind).unwrap_or(self.newest - media);
        let capture = self.track(kind).capture(media, target);
        UNIX_EPOCH + Duration::from_nanos(u64::try_from(capture).unwrap_or(0))
    }

    /// What should be added to media time.
    fn target(&self, kind: Kind) -> Option<i64> {
        let (own, other) = match kind {
            Kind::Video => (&self.video, &self.audio),
            Kind::Audio => (&self.audio, &self.video),
        };
        let arrival = own.shortest()?;
        let both = own.report.zip(other.report).zip(other.shortest());
        let Some(((report, other_report), other_arrival)) = both else { return Some(arrival) };
        // From the sender's clock to ours, with the shortest delay of either track.
        let (mapping, other_mapping) = (arrival - report, other_arrival - other_report);
        if (mapping - other_mapping).abs() > MAX_SKEW {
            return Some(arrival);
        }
        Some(report + mapping.min(other_mapping))
    }
}

impl Track {
    fn shortest(&self) -> Option<i64> {
        self.delays.iter().map(|(_, delay)| *delay).min()
    }

    fn arrival(&mut self, delay: i64, now: Instant) {
        if let Some(shortest) = self.shortest() {
            let off = delay - shortest;
            if off > REANCHOR {
                // A burst after a stall looks the same, for a moment.
                let since = *self.far_since.get_or_insert(now);
                if now.saturating_duration_since(since) < REANCHOR_AFTER {
                    return;
                }
            }
            if off.abs() > REANCHOR {
                self.delays.clear();
                self.report = None;
            }
        }
        self.far_since = None;
        match self.delays.back_mut() {
            Some((since, least)) if now.saturating_duration_since(*since) < BUCKET => {
                *least = delay.min(*least);
            }
            _ => self.delays.push_back((now, delay)),
        }
        if self.delays.len() > BUCKETS {
            self.delays.pop_front();
        }
    }

    fn capture(&mut self, media: i64, target: i64) -> i64 {
        let elapsed = self.last_media.map_or(0, |last| (media - last).clamp(0, REANCHOR));
        let applied = match self.applied {
            None => target,
            Some(applied) => {
                let error = target - applied;
                if error.abs() > REANCHOR {
                    self.reanchored += 1;
                    target
                } else if error.abs() > DEAD_BAND {
                    let limit = elapsed / if error.abs() > COARSE { 10 } else { 50 };
                    applied + error.clamp(-limit, limit)
                } else {
                    applied
                }
            }
        };
        let mut capture = media + applied;
        if let Some(last) = self.last_capture {
            capture = capture.max(last + (elapsed / 2).max(1_000));
        }
        (self.applied, self.last_media, self.last_capture) = (Some(applied), Some(media), Some(capture));
        capture
    }
}

#[cfg(test)]
mod tests;
