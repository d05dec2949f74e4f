//! A frame of a track, and its time.

use std::ops::{Add, Sub};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::TrackKind;

/// A point on the producer's time line: nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaTime(u64);

impl MediaTime {
    /// From nanoseconds since the epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// From milliseconds since the epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// From a wall-clock time; times before 1970 become 0.
    pub fn from_system(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Nanoseconds since the epoch.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since the epoch: the resolution of a Matroska timecode.
    pub const fn millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// So many milliseconds later, or earlier; within what can be told.
    pub const fn shifted(self, delta_ms: i64) -> Self {
        let nanos = delta_ms.unsigned_abs().saturating_mul(1_000_000);
        Self(if delta_ms < 0 { self.0.saturating_sub(nanos) } else { self.0.saturating_add(nanos) })
    }

    /// How much later `self` is than `earlier`; zero when it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for MediaTime {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for MediaTime {
    type Output = Self;
    fn sub(self, rhs: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// One access unit of video or one packet of audio, in decoding order within its track.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Which of the two tracks it belongs to.
    pub track: TrackKind,
    /// Time of presentation, since the epoch.
    pub time: MediaTime,
    /// Video: decoding can start here (IDR, CRA, BLA, a recovery point). Ignored for audio.
    pub random_access: bool,
    /// The payload as Matroska stores it: length-prefixed NAL units, raw AAC, G.711 samples.
    pub data: Bytes,
}
