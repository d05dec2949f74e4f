//! A clock that agrees with AWS: the local one plus the skew measured from `Date` headers.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use aws_smithy_async::time::TimeSource;
use time::format_description::well_known::Rfc2822;
use time::macros::datetime;
use time::{OffsetDateTime, UtcOffset};

/// Below this a difference is network delay and the header's whole seconds, not skew. SigV4 tolerates five minutes.
const NOISE_MS: u64 = 3_000;
/// The header has whole seconds, cut: on average half a second is missing.
const HALF_SECOND: time::Duration = time::Duration::milliseconds(500);
/// A date outside these is no clock of AWS's, however far off the local one may be (a device without a battery
/// starts in 1970, and is to be corrected).
const PLAUSIBLE: std::ops::Range<OffsetDateTime> =
    datetime!(2025-01-01 0:00 UTC)..datetime!(2100-01-01 0:00 UTC);

/// Shared by everything that signs; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock {
    skew_ms: Arc<AtomicI64>,
}

impl Clock {
    /// The time as AWS sees it.
    #[must_use]
    pub(crate) fn now(&self) -> SystemTime {
        shift(SystemTime::now(), self.skew_ms.load(Ordering::Relaxed))
    }

    /// Milliseconds by which AWS's clock is ahead of this machine's.
    #[must_use]
    pub(crate) fn skew_ms(&self) -> i64 {
        self.skew_ms.load(Ordering::Relaxed)
    }

    /// Learns from the `Date` header of an answer (RFC 9110 section 6.6.1) that has just arrived from AWS. A header
    /// that is no date, or a date before 2025 or after 2099, says nothing. What is within three seconds counts as no
    /// skew; a measured skew is replaced only by one that differs by more, so that the time does not jitter.
    pub(crate) fn observe(&self, date_header: &str) {
        self.observe_at(date_header, SystemTime::now());
    }

    fn observe_at(&self, date_header: &str, local: SystemTime) {
        let date = OffsetDateTime::parse(&date_header.replace("GMT", "+0000"), &Rfc2822);
        let Some(remote) = date.ok().filter(|date| PLAUSIBLE.contains(&date.to_offset(UtcOffset::UTC)))
        else {
            tracing::debug!(date_header, "a Date header that is no date of AWS's");
            return;
        };
        let skew = remote + HALF_SECOND - OffsetDateTime::from(local);
        let skew = i64::try_from(skew.whole_milliseconds()).unwrap_or(0);
        let skew = if skew.unsigned_abs() < NOISE_MS { 0 } else { skew };
        let before = self.skew_ms.load(Ordering::Relaxed);
        if before.abs_diff(skew) < NOISE_MS {
            return;
        }
        self.skew_ms.store(skew, Ordering::Relaxed);
        if skew == 0 {
            tracing::info!("this machine's clock agrees with AWS's again");
        } else {
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

    // Tue, 24 Nov 2026 00:00:00 GMT, and a half.
    const LOCAL_MS: u64 = 1_795_478_400_500;

    fn local() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(LOCAL_MS)
    }

    fn observed(header: &str) -> i64 {
        let clock = Clock::default();
        clock.observe_at(header, local());
        clock.skew_ms()
    }

    #[test]
    fn skew_is_measured_in_both_directions() {
        assert_eq!(observed("Tue, 24 Nov 2026 00:10:00 GMT"), 600_000);
        assert_eq!(observed("Mon, 23 Nov 2026 23:50:00 GMT"), -600_000);
    }

    #[test]
    fn a_machine_that_starts_in_1970_is_corrected() {
        let clock = Clock::default();
        clock.observe_at("Tue, 24 Nov 2026 00:00:00 GMT", SystemTime::UNIX_EPOCH);
        assert_eq!(clock.skew_ms().unsigned_abs(), LOCAL_MS);
    }

    #[test]
    fn noise_and_nonsense_are_no_skew() {
        for header in [
            "Tue, 24 Nov 2026 00:00:02 GMT",
            "Mon, 23 Nov 2026 23:59:58 GMT",
            "yesterday",
            "",
            "Thu, 01 Jan 1970 00:00:00 GMT",
            "Fri, 01 Jan 2100 00:00:00 GMT",
            "Tue, 24 Nov 9999 00:00:00 GMT",
            "Tue, 24 Nov 2026 25:00:00 GMT",
        ] {
            assert_eq!(observed(header), 0, "{header}");
        }
    }

    #[test]
    fn a_corrected_clock_stays_corrected_until_it_is_set() {
        let clock = Clock::default();
        clock.observe_at("Tue, 24 Nov 2026 00:10:00 GMT", local());
        let ahead = clock.now().duration_since(SystemTime::now()).unwrap();
        assert!(ahead > Duration::from_secs(599) && ahead < Duration::from_secs(601));
        // Network delay.
        clock.observe_at("Tue, 24 Nov 2026 00:09:58 GMT", local());
        assert_eq!(clock.skew_ms(), 600_000);
        // Someone has set the local clock.
        clock.observe_at("Tue, 24 Nov 2026 00:00:01 GMT", local());
        assert_eq!(clock.skew_ms(), 0);
    }
}
