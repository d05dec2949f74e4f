//! A clock that agrees with AWS: the local one plus the skew measured from `Date` headers.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use aws_smithy_async::time::TimeSource;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// Below this a difference is network delay and the header's whole seconds, not skew.
const NOISE: Duration = Duration::from_secs(3);

/// Shared by everything that signs; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    skew_ms: Arc<AtomicI64>,
}

impl Clock {
    /// The time as AWS sees it.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        shift(SystemTime::now(), self.skew_ms.load(Ordering::Relaxed))
    }

    /// Milliseconds by which AWS's clock is ahead of this machine's.
    #[must_use]
    pub fn skew_ms(&self) -> i64 {
        self.skew_ms.load(Ordering::Relaxed)
    }

    /// Learns from the `Date` header of an answer (RFC 9110 section 6.6.1) that has just arrived. A header that is no
    /// date says nothing. SigV4 tolerates five minutes, so what is within three seconds counts as no skew.
    pub fn observe(&self, date_header: &str) {
        self.observe_at(date_header, SystemTime::now());
    }

    fn observe_at(&self, date_header: &str, local: SystemTime) {
        let Ok(remote) = OffsetDateTime::parse(&date_header.replace("GMT", "+0000"), &Rfc2822) else {
            tracing::debug!(date_header, "a Date header that is no date");
            return;
        };
        let local = OffsetDateTime::from(local);
        let skew = i64::try_from((remote - local).whole_milliseconds()).unwrap_or(0);
        let skew = if skew.unsigned_abs() < NOISE.as_millis() as u64 { 0 } else { skew };
        let before = self.skew_ms.swap(skew, Ordering::Relaxed);
        if (before - skew).unsigned_abs() >= NOISE.as_millis() as u64 {
            tracing::warn!(
                skew_ms = skew,
                "this machine's clock differs from AWS's; signatures are corrected"
            );
        }
    }
}

impl TimeSource for Clock {
    fn now(&self) -> SystemTime {
        Clock::now(self)
    }
}

fn shift(time: SystemTime, ms: i64) -> SystemTime {
    let by = Duration::from_millis(ms.unsigned_abs());
    let shifted = if ms < 0 { time.checked_sub(by) } else { time.checked_add(by) };
    shifted.unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Tue, 24 Nov 2026 00:00:00 GMT
    const LOCAL: u64 = 1_795_478_400;

    fn observed(header: &str) -> i64 {
        let clock = Clock::default();
        clock.observe_at(header, SystemTime::UNIX_EPOCH + Duration::from_secs(LOCAL));
        clock.skew_ms()
    }

    #[test]
    fn skew_is_measured_in_both_directions() {
        assert_eq!(observed("Tue, 24 Nov 2026 00:10:00 GMT"), 600_000);
        assert_eq!(observed("Mon, 23 Nov 2026 23:50:00 GMT"), -600_000);
    }

    #[test]
    fn noise_and_nonsense_are_no_skew() {
        assert_eq!(observed("Tue, 24 Nov 2026 00:00:02 GMT"), 0);
        assert_eq!(observed("yesterday"), 0);
        assert_eq!(observed(""), 0);
    }

    #[test]
    fn a_corrected_clock_stays_corrected() {
        let clock = Clock::default();
        clock
            .observe_at("Tue, 24 Nov 2026 00:10:00 GMT", SystemTime::UNIX_EPOCH + Duration::from_secs(LOCAL));
        let ahead = clock.now().duration_since(SystemTime::now()).unwrap();
        assert!(ahead > Duration::from_secs(599) && ahead < Duration::from_secs(601));
    }
}
