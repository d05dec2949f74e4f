//! The wall clock of one run of the element: read once, and monotonic since. A host's clock that is set while media is
//! recorded (NTP at boot, a person) moves no timecode; time in which the machine slept is made up for. What AWS says of
//! the host's clock is added where times leave the element. Pure but for [`WallClock::now`].

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kvs_putmedia::{HostClock, MediaTime};

/// Nanoseconds.
type Nanos = i128;

/// What the clocks differ by when a machine has slept is looked into from here on.
const WORTH_A_LOOK: Nanos = 2_000_000_000;

#[derive(Clone, Copy, Debug)]
pub(super) struct WallClock {
    wall: Nanos,
    monotonic: Instant,
    /// Time since boot, sleep included.
    boot: Option<Duration>,
    /// How long the machine has slept since.
    slept: Nanos,
    /// By how much the wall clock was ahead when that was looked into.
    looked_at: Nanos,
}

fn nanos(time: SystemTime) -> Nanos {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_nanos() as Nanos,
        Err(before) => -(before.duration().as_nanos() as Nanos),
    }
}

impl Default for WallClock {
    fn default() -> Self {
        Self::at(SystemTime::now(), Instant::now(), boot_time())
    }
}

impl WallClock {
    pub(super) fn at(wall: SystemTime, monotonic: Instant, boot: Option<Duration>) -> Self {
        Self { wall: nanos(wall), monotonic, boot, slept: 0, looked_at: 0 }
    }

    /// What it says of when the machine was started, or this process where the system does not tell.
    pub(super) fn host(&self) -> HostClock {
        let (boot, since) = match (boot_id(), self.boot) {
            (Some(boot), Some(since)) => (boot, since),
            _ => ([0; 16], Duration::ZERO),
        };
        let booted = (self.wall - since.as_nanos() as Nanos) / 1_000_000;
        HostClock { boot, booted_ms: i64::try_from(booted).unwrap_or_default() }
    }

    /// The time that it is now.
    pub(super) fn now(&mut self) -> MediaTime {
        self.read(SystemTime::now(), Instant::now(), boot_time)
    }

    /// Milliseconds by which a clock that says `other` now is ahead of this one.
    pub(super) fn behind_ms(&mut self, other: SystemTime) -> i64 {
        let ahead = nanos(other) - Nanos::from(self.now().nanos());
        i64::try_from(ahead / 1_000_000).unwrap_or_default()
    }

    fn read(
        &mut self,
        wall: SystemTime,
        monotonic: Instant,
        boot: impl FnOnce() -> Option<Duration>,
    ) -> MediaTime {
        let elapsed = monotonic.saturating_duration_since(self.monotonic);
        let awake = self.wall + elapsed.as_nanos() as Nanos;
        let ahead = nanos(wall) - awake - self.slept;
        // Once for each step: a clock that was set stays so.
        if (ahead - self.looked_at).abs() >= WORTH_A_LOOK {
            let since = self.boot.zip(boot()).map(|(then, now)| now.saturating_sub(then));
            let slept = since.map_or(0, |since| since.as_nanos() as Nanos - elapsed.as_nanos() as Nanos);
            if slept - self.slept >= WORTH_A_LOOK {
                self.slept = slept;
            }
            self.looked_at = nanos(wall) - awake - self.slept;
        }
        MediaTime::from_nanos(u64::try_from((awake + self.slept).max(0)).unwrap_or(u64::MAX))
    }
}

/// Time since boot, sleep included; where the system tells it. Of the kernel itself: containers may have a /proc/uptime
/// of their own, which counts from their start.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn boot_time() -> Option<Duration> {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).ok().map(Duration::from)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn boot_time() -> Option<Duration> {
    None
}

/// Which start of the machine this is; where the system tells it.
fn boot_id() -> Option<[u8; 16]> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(u128::from_str_radix(&text.trim().replace('-', ""), 16).ok()?.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1_795_000_000);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// What it says after so many seconds, when the wall clock was set by `step` and the machine slept for `slept`.
    fn after(clock: &mut WallClock, start: Instant, elapsed: u64, step: i64, slept: u64) -> u64 {
        let wall = (START + seconds(elapsed + slept)).as_secs().saturating_add_signed(step);
        let boot = || Some(seconds(100 + elapsed + slept));
        clock.read(UNIX_EPOCH + seconds(wall), start + seconds(elapsed), boot).millis() / 1000
            - START.as_secs()
    }

    #[test]
    fn a_wall_clock_that_is_set_moves_nothing() {
        let start = Instant::now();
        let mut clock = WallClock::at(UNIX_EPOCH + START, start, Some(seconds(100)));
        assert_eq!(after(&mut clock, start, 10, 0, 0), 10);
        assert_eq!(after(&mut clock, start, 20, 3600, 0), 20);
        assert_eq!(after(&mut clock, start, 30, -86_400, 0), 30);
        assert_eq!(after(&mut clock, start, 40, 0, 0), 40);
    }

    #[test]
    fn sleep_is_time_that_passes() {
        let start = Instant::now();
        let mut clock = WallClock::at(UNIX_EPOCH + START, start, Some(seconds(100)));
        assert_eq!(after(&mut clock, start, 10, 0, 600), 610);
        // And the clock is set when it wakes up.
        assert_eq!(after(&mut clock, start, 11, 50, 600), 611);
        assert_eq!(after(&mut clock, start, 12, 50, 900), 912);
    }

    #[test]
    fn the_start_of_the_machine_is_as_long_ago_as_it_is() {
        let clock = WallClock::at(UNIX_EPOCH + START, Instant::now(), Some(seconds(100)));
        if boot_id().is_some() {
            assert_eq!(clock.host().booted_ms, (START - seconds(100)).as_millis() as i64);
        }
        let untold = WallClock::at(UNIX_EPOCH + START, Instant::now(), None).host();
        assert_eq!(untold, HostClock { boot: [0; 16], booted_ms: START.as_millis() as i64 });
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn time_since_boot_is_the_kernel_s() {
        let time = || boot_time().unwrap();
        let (first, start) = (time(), Instant::now());
        // A file of /proc has hundredths of a second.
        assert!((0..100).any(|_| time().subsec_nanos() % 10_000_000 != 0));
        while start.elapsed() < Duration::from_millis(2) {}
        assert!(time() - first >= Duration::from_millis(2));
    }

    #[test]
    fn without_a_boot_clock_it_goes_on() {
        let start = Instant::now();
        let mut clock = WallClock::at(UNIX_EPOCH + START, start, None);
        assert_eq!(after(&mut clock, start, 10, 7, 0), 10);
    }
}
