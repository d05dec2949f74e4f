//! One clock for a whole connection: the time that passes, from one reading of the wall clock.

use super::nanos::{Nanos, SECOND};

/// More than drift: the wall clock was set. The connection goes on with the time it had.
const STEP: Nanos = SECOND;
/// Drift is made up for by one part in this many of the time that passes: 200 ppm.
const SLEW: Nanos = 5_000;

/// Nanoseconds since 1970 of a moment that is given in nanoseconds since the connection began.
///
/// The wall clock is read once; afterwards it is followed only as far as it drifts. Whoever sets it (NTP after an outage,
/// a virtual machine that was asleep) moves nothing that is recorded.
#[derive(Debug, Default)]
pub(super) struct Wall {
    anchor: Option<Nanos>,
    read_at: Nanos,
    off: Nanos,
}

impl Wall {
    /// The wall clock says `wall` now.
    pub(super) fn read(&mut self, now: Nanos, wall: Nanos) {
        let Some(anchor) = &mut self.anchor else {
            (self.anchor, self.read_at) = (Some(wall - now), now);
            return;
        };
        self.off = wall.saturating_sub(now).saturating_sub(*anchor);
        if self.off.abs() < STEP {
            let most = (now - self.read_at).max(0) / SLEW;
            *anchor += self.off.clamp(-most, most);
        }
        self.read_at = now;
    }

    /// The time of a moment.
    pub(super) fn time(&self, moment: Nanos) -> Nanos {
        moment.saturating_add(self.anchor.unwrap_or(0))
    }

    /// How far the wall clock is ahead of this one.
    pub(super) fn off(&self) -> Nanos {
        self.off
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_moves_nothing_and_one_that_drifts_is_followed() {
        let mut wall = Wall::default();
        wall.read(0, 1_000 * SECOND);
        wall.read(SECOND, 1_001 * SECOND + SECOND / 10);
        assert_eq!(wall.time(SECOND), 1_001 * SECOND + SECOND / SLEW);
        for hour in [3_600, -7_200] {
            wall.read(2 * SECOND, (1_002 + hour) * SECOND);
            assert!((wall.time(2 * SECOND) - 1_002 * SECOND).abs() < SECOND / 1000);
            assert!((wall.off() - hour * SECOND).abs() < SECOND / 1000);
        }
        for second in 3..2_000 {
            wall.read(second * SECOND, (1_000 + second) * SECOND + SECOND / 10);
        }
        assert!((wall.off()).abs() < SECOND / 1000, "{}", wall.off());
    }
}
