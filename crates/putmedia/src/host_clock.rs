//! A host's clock that nobody has confirmed, and what AWS's clock makes of the times that it has told.

/// A difference that says nothing: clocks that are right differ by so much.
const RIGHT_MS: u64 = 3000;

/// A clock, told by what it says of when the machine was started: time since then is known whatever the clock says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostClock {
    /// Which start of the machine, 128 random bits; zero where the system does not tell.
    pub boot: [u8; 16],
    /// When that was: milliseconds since the Unix epoch. Where the system does not tell, the start of the process.
    pub booted_ms: i64,
}

/// The clock that is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// The start of the machine by AWS's clock.
    pub(crate) clock: HostClock,
    /// By how much it is ahead of the host's.
    pub(crate) skew_ms: i64,
}

impl Known {
    /// By how much times are to be moved that `clock` has told in a process before this one, the last of them `latest_ms`.
    ///
    /// Since the same start of the machine that is exact, whatever was done to the clock. Before it, the clock was as wrong
    /// as it is now, as far as anybody knows; and what was recorded then was not recorded since: a machine that knows no
    /// time begins again with the same one.
    pub(crate) fn delta_ms(&self, clock: HostClock, latest_ms: u64) -> i64 {
        let told = clock.boot != [0; 16];
        let delta = if told && clock.boot == self.clock.boot {
            self.clock.booted_ms.saturating_sub(clock.booted_ms)
        } else {
            let latest = i64::try_from(latest_ms).unwrap_or(i64::MAX);
            self.skew_ms.min(self.clock.booted_ms.saturating_sub(latest))
        };
        if delta.unsigned_abs() <= RIGHT_MS { 0 } else { delta }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_000_000_000;
    const HOUR: i64 = 3_600_000;

    fn clock(boot: u8, booted_ms: i64) -> HostClock {
        HostClock { boot: [boot; 16], booted_ms }
    }

    fn known(boot: u8, booted_ms: i64, skew_ms: i64) -> Known {
        Known { clock: clock(boot, booted_ms), skew_ms }
    }

    #[test]
    fn since_the_same_start_it_is_exact_also_when_the_clock_was_set_since() {
        for skew in [NOW - HOUR, 0] {
            let known = known(1, NOW - HOUR, skew);
            assert_eq!(known.delta_ms(clock(1, 0), 60_000), NOW - HOUR);
            assert_eq!(known.delta_ms(clock(1, NOW - HOUR + 2000), NOW as u64), 0, "they only differ");
        }
    }

    #[test]
    fn before_another_start_it_is_no_later_than_that() {
        // A machine without a clock: it was off, and began at 1970 again.
        let without = known(2, NOW - HOUR, NOW - HOUR);
        assert_eq!(60_000 + without.delta_ms(clock(1, 0), 60_000), NOW - HOUR);
        // A clock that is an hour slow.
        let slow = known(2, NOW, HOUR);
        assert_eq!(slow.delta_ms(clock(1, NOW - 9 * HOUR), (NOW - 5 * HOUR) as u64), HOUR);
        // And one that is right, as far as anybody knows.
        let right = known(2, NOW, 0);
        assert_eq!(right.delta_ms(clock(1, NOW - 9 * HOUR), (NOW - 5 * HOUR) as u64), 0);
        // Where nothing is told of starts of the machine, the same holds for starts of the process.
        let process = known(0, NOW, NOW - HOUR);
        assert_eq!(HOUR + process.delta_ms(clock(0, 0), HOUR as u64), NOW);
    }
}
