//! When the synthetic master sends what, and which times it claims: senders whose clocks do not agree with themselves.
//! Sans-IO.

use std::time::{Duration, Instant};

/// Time as a sender sees it. The default is a sender that is right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Time {
    pub video: Track,
    pub audio: Track,
    /// Between two sender reports of a track; `None` is str0m's own, 5 s for audio and 1 s for video.
    pub reports_every: Option<Duration>,
    /// The sender's wall clock, which its reports show, is ahead by this much.
    pub clock_ahead: Duration,
    pub slow_key_frames: Option<SlowKeyFrames>,
}

/// One track.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Track {
    /// Real time from one frame or packet to the next.
    pub every: Duration,
    /// What its RTP timestamps count meanwhile.
    pub ticks: u32,
    pub reports: Reports,
    pub jump: Option<Jump>,
    pub pause: Option<Pause>,
    /// It is sent so long after it was captured.
    pub late: Duration,
}

/// What sender reports say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reports {
    /// The RTP time of what is captured at that moment.
    Honest,
    /// Time since the first frame at the nominal rate, whatever the frames' own timestamps are: AWS's C SDK.
    WallClock,
    /// From then on, an RTP time that is ahead by so many seconds; behind when negative.
    Ahead { seconds: i32, from: Duration },
}

/// RTP time jumps once; SSRC and sequence numbers go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jump {
    pub after: Duration,
    pub seconds: i32,
}

/// Nothing is sent for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    pub after: Duration,
    pub length: Duration,
    /// RTP time goes on meanwhile; otherwise the first frame after it follows the last before it.
    pub counts: bool,
}

/// The network is so slow that a key frame's packets take this long, and what follows waits behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlowKeyFrames {
    pub takes: Duration,
    /// One of so many; never the first.
    pub every: u64,
}

impl Track {
    /// 30 frames a second.
    pub fn video() -> Self {
        Self::new(Duration::from_nanos(33_333_333), 3_000)
    }

    /// Packets of 20 ms at 48 kHz.
    pub fn audio() -> Self {
        Self::new(Duration::from_millis(20), 960)
    }

    pub fn new(every: Duration, ticks: u32) -> Self {
        Self { every, ticks, reports: Reports::Honest, jump: None, pause: None, late: Duration::ZERO }
    }
}

impl Default for Time {
    fn default() -> Self {
        Self {
            video: Track::video(),
            audio: Track::audio(),
            reports_every: None,
            clock_ahead: Duration::ZERO,
            slow_key_frames: None,
        }
    }
}

/// RTP timestamps count from here, which is 0 on the wire: none is negative after a jump back.
const ORIGIN: u64 = 1 << 32;

/// The clock of one track while it plays.
#[derive(Clone, Debug)]
pub struct Clock {
    track: Track,
    rate: u32,
    started: Instant,
    due: Instant,
    rtp: u64,
}

/// One frame's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// It was captured then.
    pub at: Instant,
    /// It says so,
    pub rtp: u64,
    /// and a sender report that counts on from this moment shows what [`Reports`] wants.
    pub wallclock: Instant,
}

impl Clock {
    pub fn new(track: Track, rate: u32, started: Instant) -> Self {
        Self { track, rate, started, due: started, rtp: ORIGIN }
    }

    /// As it stands `now`; and how many frames that is in.
    pub fn joined(mut self, now: Instant) -> (Self, u64) {
        let mut frames = 0;
        while self.due < now {
            self.advance();
            frames += 1;
        }
        (self, frames)
    }

    /// When the next frame is to be sent.
    pub fn due(&self) -> Instant {
        self.due + self.track.late
    }

    /// The next frame is shown `lead` frames later than its place in the order of decoding; the encoder held it back for
    /// `reorder` frames.
    pub fn take(&mut self, lead: i32, reorder: u32) -> Moment {
        let frames = i64::from(lead) - i64::from(reorder);
        let apart = self.track.every * u32::try_from(frames.unsigned_abs()).unwrap_or(u32::MAX);
        let at = if frames < 0 { self.due - apart } else { self.due + apart };
        let rtp = self.rtp.wrapping_add_signed(i64::from(lead) * i64::from(self.track.ticks));
        let wallclock = match self.track.reports {
            Reports::WallClock => {
                let media = Duration::from_nanos_u128(
                    u128::from(rtp.saturating_sub(ORIGIN)) * 1_000_000_000 / u128::from(self.rate),
                );
                // str0m reports nothing useful for a moment in the future. A whole turn of the timestamps changes nothing.
                self.started + media - self.turn()
            }
            Reports::Ahead { seconds, from } if at >= self.started + from => {
                let by = Duration::from_secs(u64::from(seconds.unsigned_abs()));
                if seconds < 0 { at + by - self.turn() } else { at - by }
            }
            Reports::Honest | Reports::Ahead { .. } => at,
        };
        self.advance();
        Moment { at, rtp, wallclock }
    }

    fn advance(&mut self) {
        let before = self.due;
        self.due += self.track.every;
        self.rtp += u64::from(self.track.ticks);
        let comes = |after: Duration| before < self.started + after && self.due >= self.started + after;
        if let Some(jump) = self.track.jump.filter(|jump| comes(jump.after)) {
            self.rtp = self.rtp.wrapping_add_signed(i64::from(jump.seconds) * i64::from(self.rate));
        }
        if let Some(pause) = self.track.pause.filter(|pause| comes(pause.after)) {
            self.due += pause.length;
            if pause.counts {
                self.rtp += (pause.length.as_secs_f64() * f64::from(self.rate)) as u64;
            }
        }
    }

    /// The time in which 32 bits of timestamps come round.
    fn turn(&self) -> Duration {
        Duration::from_nanos_u128((1u128 << 32) * 1_000_000_000 / u128::from(self.rate))
    }
}

/// The way out: at once, or as [`SlowKeyFrames`] wants.
#[derive(Debug)]
pub struct Link<T> {
    slow: Option<SlowKeyFrames>,
    key_frames: u64,
    /// Of the frame that is being written, and how long they shall take.
    packets: Vec<T>,
    takes: Option<Duration>,
    /// The last of what waits goes out then.
    busy_until: Option<Instant>,
}

impl<T> Link<T> {
    pub fn new(slow: Option<SlowKeyFrames>) -> Self {
        Self { slow, key_frames: 0, packets: Vec::new(), takes: None, busy_until: None }
    }

    /// A video frame is written: what [`Link::enter`]s until [`Link::leave`] is its packets.
    pub fn frame(&mut self, key: bool) {
        let Some(slow) = self.slow else { return };
        let is_slow = key && self.key_frames > 0 && self.key_frames.is_multiple_of(slow.every);
        self.key_frames += u64::from(key);
        self.takes = Some(if is_slow { slow.takes } else { Duration::ZERO });
    }

    /// The packet again when it need not wait.
    pub fn enter(&mut self, packet: T) -> Option<T> {
        if self.takes.is_none() {
            return Some(packet);
        }
        self.packets.push(packet);
        None
    }

    /// The frame is complete: its packets, each with when it goes out.
    pub fn leave(&mut self, now: Instant) -> Vec<(T, Instant)> {
        let Some(takes) = self.takes.take() else { return Vec::new() };
        let from = self.busy_until.map_or(now, |until| until.max(now));
        let step = takes / u32::try_from(self.packets.len().max(1)).unwrap_or(u32::MAX);
        self.busy_until = Some(from + takes);
        self.packets
            .drain(..)
            .enumerate()
            .map(|(index, packet)| (packet, from + step * (index as u32 + 1)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What str0m reports at `now` (`StreamTx::current_rtp_time`), as on the wire.
    fn reported(moment: Moment, rate: u32, now: Instant) -> u32 {
        (moment.rtp as u128 + (now - moment.wallclock).as_nanos() * u128::from(rate) / 1_000_000_000) as u32
    }

    #[test]
    fn the_default_is_what_was_always_sent() {
        let start = Instant::now();
        let mut video = Clock::new(Track::video(), 90_000, start);
        let mut audio = Clock::new(Track::audio(), 48_000, start);
        for number in 0..1_000u32 {
            let moment = video.take(0, 0);
            assert_eq!(moment.rtp as u32, number * 3_000);
            assert_eq!(moment.wallclock, moment.at);
            let off = (moment.at - start).abs_diff(Duration::from_micros(u64::from(number) * 1_000_000 / 30));
            assert!(off < Duration::from_micros(2), "{off:?}");
            let moment = audio.take(0, 0);
            assert_eq!(
                (moment.rtp as u32, moment.at),
                (number * 960, start + Duration::from_millis(20) * number)
            );
        }
    }

    #[test]
    fn reports_by_wall_clock_count_real_time_whatever_the_frames_say() {
        let start = Instant::now();
        for (every, ticks) in [(33_333_333, 3_600), (66_666_667, 3_600), (33_333_333, 3_000)] {
            let track =
                Track { reports: Reports::WallClock, ..Track::new(Duration::from_nanos(every), ticks) };
            let mut clock = Clock::new(track, 90_000, start);
            for _ in 0..1_000 {
                let moment = clock.take(0, 0);
                let now = moment.at + Duration::from_millis(3);
                let expected = (now - start).as_secs_f64() * 90_000.0;
                assert!((f64::from(reported(moment, 90_000, now)) - expected).abs() < 3.0);
            }
        }
    }

    #[test]
    fn reports_are_ahead_or_behind_when_it_is_wanted() {
        let start = Instant::now();
        for seconds in [3600, -3600] {
            let reports = Reports::Ahead { seconds, from: Duration::from_secs(2) };
            let mut clock = Clock::new(Track { reports, ..Track::audio() }, 48_000, start);
            for number in 0..200u32 {
                let moment = clock.take(0, 0);
                let off = reported(moment, 48_000, moment.at).wrapping_sub(moment.rtp as u32) as i32;
                let expected = if number < 100 { 0 } else { seconds * 48_000 };
                assert!(off.abs_diff(expected) < 3, "{off}");
            }
        }
    }

    #[test]
    fn a_jump_happens_once_and_a_pause_counts_or_does_not() {
        let start = Instant::now();
        let jump = Some(Jump { after: Duration::from_secs(1), seconds: -10 });
        let mut clock = Clock::new(Track { jump, ..Track::audio() }, 48_000, start);
        let times: Vec<u64> = (0..150).map(|_| clock.take(0, 0).rtp).collect();
        let jumps: Vec<_> = times
            .windows(2)
            .map(|pair| pair[1] as i64 - pair[0] as i64)
            .enumerate()
            .filter(|(_, by)| *by != 960)
            .collect();
        assert_eq!(jumps, [(49, 960 - 480_000)]);
        for (counts, ticks) in [(false, 960), (true, 960 + 96_000)] {
            let pause = Some(Pause { after: Duration::from_secs(1), length: Duration::from_secs(2), counts });
            let mut clock = Clock::new(Track { pause, ..Track::audio() }, 48_000, start);
            let moments: Vec<_> = (0..150).map(|_| clock.take(0, 0)).collect();
            assert_eq!(moments[50].at - moments[49].at, Duration::from_millis(2_020));
            assert_eq!(moments[50].rtp - moments[49].rtp, ticks);
        }
    }

    #[test]
    fn what_is_late_is_captured_when_it_would_have_been_sent() {
        let start = Instant::now();
        let late = Duration::from_millis(1_500);
        let mut clock = Clock::new(Track { late, ..Track::audio() }, 48_000, start);
        for number in 0..100u32 {
            assert_eq!(clock.due(), start + Duration::from_millis(20) * number + late);
            let moment = clock.take(0, 0);
            assert_eq!(
                (moment.at, moment.rtp as u32),
                (clock.due() - late - Duration::from_millis(20), number * 960)
            );
        }
    }

    #[test]
    fn pictures_with_b_frames_are_captured_before_they_are_sent() {
        let start = Instant::now();
        let mut clock = Clock::new(Track::video(), 90_000, start);
        // I0 P3 B1 B2
        for (index, (lead, shown)) in [(0, 0u32), (2, 3), (-1, 1), (-1, 2)].into_iter().enumerate() {
            let due = clock.due();
            let moment = clock.take(lead, 2);
            assert_eq!(moment.rtp as u32, shown * 3_000, "{index}");
            assert!(moment.at <= due);
        }
    }

    #[test]
    fn a_slow_key_frame_takes_its_time_and_the_rest_waits_behind_it() {
        let start = Instant::now();
        let slow = SlowKeyFrames { takes: Duration::from_millis(1_700), every: 1 };
        let mut link = Link::new(Some(slow));
        assert_eq!(link.enter(0), Some(0), "sound waits for nothing");
        link.frame(true);
        assert_eq!(link.enter(1), None);
        assert_eq!(link.leave(start), [(1, start)]);
        link.frame(true);
        assert_eq!((link.enter(2), link.enter(3)), (None, None));
        let late = start + slow.takes;
        assert_eq!(link.leave(start), [(2, start + slow.takes / 2), (3, late)]);
        link.frame(false);
        assert_eq!(link.enter(4), None);
        assert_eq!(link.leave(start + Duration::from_millis(33)), [(4, late)]);
        assert_eq!(link.enter(5), Some(5));
    }
}
