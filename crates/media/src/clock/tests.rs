use super::*;
use crate::testing::ms;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A sender whose clock is wrong by a day, with random starts of its timestamps.
struct Sender {
    clock: SenderClock,
    start: Instant,
    wall: SystemTime,
}

const STARTS: [u64; 2] = [(1 << 32) + 4_000_000_000, (1 << 32) + 77];

impl Sender {
    fn new() -> Self {
        let wall = UNIX_EPOCH + Duration::from_secs(1_900_000_000);
        Self { clock: SenderClock::default(), start: Instant::now(), wall }
    }

    fn timestamp(kind: Kind, at: Duration) -> u64 {
        STARTS[kind as usize] + at.as_micros() as u64 * u64::from(kind.clock_rate()) / 1_000_000
    }

    /// Something captured at `at` arrives `delay` later.
    fn arrives(&mut self, kind: Kind, at: Duration, delay: Duration) {
        let arrived = at + delay;
        let timestamp = Self::timestamp(kind, at);
        self.clock.arrival(kind, timestamp, self.start + arrived, self.wall + arrived);
    }

    fn reports(&mut self, kind: Kind, at: Duration) {
        let seconds = 1_900_000_000.0 + 86_400.0 + NTP_TO_UNIX as f64 + at.as_secs_f64();
        let ntp = ((seconds as u64) << 32) + ((seconds.fract() * 4_294_967_296.0) as u64);
        self.clock.sender_report(kind, ntp, Self::timestamp(kind, at));
    }

    /// Capture time minus the true one, in ms.
    fn error(&mut self, kind: Kind, at: Duration) -> f64 {
        let capture = self.clock.capture_time(kind, Self::timestamp(kind, at));
        let truth = self.wall + at;
        match capture.duration_since(truth) {
            Ok(late) => late.as_secs_f64() * 1e3,
            Err(early) => -early.duration().as_secs_f64() * 1e3,
        }
    }
}

#[test]
fn ntp_is_seconds_since_1900_and_turns_over_in_2036() {
    assert_eq!(ntp_nanos((NTP_TO_UNIX + 5) << 32 | 0x8000_0000), 5 * SECOND + SECOND / 2);
    assert_eq!(ntp_nanos(0), ((1i64 << 32) - NTP_TO_UNIX as i64) * SECOND);
    assert_eq!(ntp_nanos(u64::MAX) / SECOND, (1i64 << 32) - 1 - NTP_TO_UNIX as i64);
}

#[test]
fn jitter_does_not_reach_the_capture_times() {
    let mut sender = Sender::new();
    let mut random = StdRng::seed_from_u64(1);
    sender.arrives(Kind::Video, ms(0), ms(30));
    let mut last = sender.error(Kind::Video, ms(0));
    for frame in 1..600 {
        let at = ms(frame * 33);
        sender.arrives(Kind::Video, at, ms(30 + random.random_range(0..60)));
        let error = sender.error(Kind::Video, at);
        assert!((error - last).abs() < 0.01 && (error - 30.0).abs() < 5.1, "{error} after {last}");
        last = error;
    }
}

#[test]
fn late_reports_align_the_tracks_without_a_jump() {
    let mut sender = Sender::new();
    let (mut last_video, mut last_audio) = (f64::NAN, f64::NAN);
    let mut skew = 0.0;
    for step in 0..3_000u64 {
        let at = ms(step * 20);
        // Video takes 140 ms at least, audio 20.
        sender.arrives(Kind::Video, at, ms(140 + step % 7));
        sender.arrives(Kind::Audio, at, ms(20 + step % 5));
        if step == 100 {
            sender.reports(Kind::Video, at);
        }
        if step == 300 {
            sender.reports(Kind::Audio, at);
        }
        let (video, audio) = (sender.error(Kind::Video, at), sender.error(Kind::Audio, at));
        skew = video - audio;
        assert!(skew.abs() <= 150.0, "{skew} ms at {at:?}");
        if step > 0 {
            assert!((video - last_video).abs() < 2.1 && (audio - last_audio).abs() < 2.1, "jump at {at:?}");
        }
        (last_video, last_audio) = (video, audio);
    }
    assert!(skew.abs() < 10.0, "{skew} ms in the end");
    assert!((last_audio - 20.0).abs() < 10.0, "by the shortest delay: {last_audio}");
    assert_eq!(sender.clock.reanchored(Kind::Video) + sender.clock.reanchored(Kind::Audio), 0);
}

#[test]
fn reports_that_contradict_the_arrivals_are_not_believed() {
    let mut sender = Sender::new();
    for step in 0..1_000u64 {
        let at = ms(step * 20);
        sender.arrives(Kind::Video, at, ms(50));
        sender.arrives(Kind::Audio, at, ms(30));
        if step % 50 == 0 {
            sender.reports(Kind::Video, at);
            // As if the report of the other track had its timestamp from elsewhere.
            sender.clock.sender_report(Kind::Audio, 1 << 40, Sender::timestamp(Kind::Audio, at));
        }
        assert!((sender.error(Kind::Video, at) - 50.0).abs() < 0.1);
        assert!((sender.error(Kind::Audio, at) - 30.0).abs() < 0.1);
    }
}

#[test]
fn a_drifting_clock_is_followed() {
    let mut sender = Sender::new();
    for step in 0..180_000u64 {
        // The sender's crystal is 100 ppm fast: half a minute of real time per 5 minutes would show at once.
        let at = ms(step * 20);
        let media = at.mul_f64(1.0001);
        let timestamp = Sender::timestamp(Kind::Audio, media);
        sender.clock.arrival(Kind::Audio, timestamp, sender.start + at + ms(40), sender.wall + at + ms(40));
        let capture = sender.clock.capture_time(Kind::Audio, timestamp);
        let error = capture.duration_since(sender.wall + at).unwrap().as_secs_f64() * 1e3;
        assert!((error - 40.0).abs() < 8.0, "{error} ms after {at:?}");
    }
    assert_eq!(sender.clock.reanchored(Kind::Audio), 0);
}

#[test]
fn when_the_local_clock_is_set_forward_it_is_anchored_anew_within_seconds() {
    let mut sender = Sender::new();
    let mut settled = None;
    for step in 0..1_000u64 {
        let at = ms(step * 20);
        if step == 500 {
            sender.wall += Duration::from_secs(60);
        }
        sender.arrives(Kind::Audio, at, ms(30));
        let error = sender.error(Kind::Audio, at);
        if step > 500 && (error - 30.0).abs() < 1.0 && settled.is_none() {
            settled = Some(step);
        }
    }
    assert!(settled.is_some_and(|step| step <= 605), "{settled:?}");
    assert_eq!(sender.clock.reanchored(Kind::Audio), 1);
}

#[test]
fn when_the_local_clock_is_set_back_capture_times_go_on_at_half_speed() {
    let mut sender = Sender::new();
    let mut last = UNIX_EPOCH;
    for step in 0..2_000u64 {
        let at = ms(step * 20);
        if step == 500 {
            sender.wall -= Duration::from_secs(10);
        }
        sender.arrives(Kind::Audio, at, ms(30));
        let capture = sender.clock.capture_time(Kind::Audio, Sender::timestamp(Kind::Audio, at));
        if step > 0 {
            let advance = capture.duration_since(last).unwrap();
            assert!(
                advance >= Duration::from_micros(9_999) && advance < ms(23),
                "{advance:?} at step {step}"
            );
        }
        last = capture;
    }
    let error = last.duration_since(sender.wall + ms(1_999 * 20)).unwrap();
    assert!(error < ms(60), "{error:?}");
}

#[test]
fn a_burst_after_a_stall_moves_nothing() {
    let mut sender = Sender::new();
    for step in 0..1_500u64 {
        let at = ms(step * 20);
        // Nothing comes for 8 s; then all of it within a second.
        let delay = if (500..900).contains(&step) { ms((900 - step) * 20 + step / 20) } else { ms(30) };
        sender.arrives(Kind::Video, at, delay);
        let error = sender.error(Kind::Video, at);
        assert!((error - 30.0).abs() < 0.1, "{error} at {at:?}");
    }
}

#[test]
fn a_restarted_sender_goes_on_in_time_and_in_order() {
    let mut sender = Sender::new();
    for step in 0..500u64 {
        sender.arrives(Kind::Video, ms(step * 33), ms(30));
        sender.error(Kind::Video, ms(step * 33));
    }
    sender.clock.reset(Kind::Video);
    let mut last = UNIX_EPOCH;
    for step in 0..100u64 {
        let at = ms(500 * 33 + step * 33);
        let timestamp = (1 << 32) + 5 + step * 2_970;
        sender.clock.arrival(Kind::Video, timestamp, sender.start + at + ms(30), sender.wall + at + ms(30));
        let capture = sender.clock.capture_time(Kind::Video, timestamp);
        assert!(capture > last);
        assert!(capture.duration_since(sender.wall + at).unwrap() < ms(50));
        last = capture;
    }
}

#[test]
fn capture_times_increase_strictly_whatever_comes() {
    let mut random = StdRng::seed_from_u64(3);
    let mut clock = SenderClock::default();
    let (start, wall) = (Instant::now(), UNIX_EPOCH + Duration::from_secs(1_900_000_000));
    let mut last = UNIX_EPOCH;
    for step in 0..5_000u64 {
        let timestamp = (1 << 33) + random.random_range(0..1u64 << 32);
        let arrived = ms(step * 20 + random.random_range(0..10_000));
        clock.arrival(Kind::Video, timestamp, start + arrived, wall + arrived);
        if step % 50 == 0 {
            clock.sender_report(Kind::Video, random.random(), timestamp);
            clock.sender_report(Kind::Audio, random.random(), timestamp);
        }
        let capture = clock.capture_time(Kind::Video, timestamp);
        assert!(capture > last, "step {step}");
        last = capture;
    }
}
