//! Senders in virtual time: what they send, when it arrives, and how far the capture times are from the truth.

use super::*;
use crate::testing::{RATES, ms};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// What a track's sender does.
#[derive(Clone, Copy)]
struct Sends {
    /// Real time between pictures or packets, in µs.
    every: f64,
    /// Ticks of the media clock between them.
    ticks: f64,
    /// Shortest delay to us, ms.
    delay: f64,
    /// A jump of the media clock by so many ticks, at this second.
    jump: (f64, f64),
    /// A queue of this track alone, at the sender: ms by the time in seconds.
    pacer: fn(f64) -> f64,
    /// Nothing is sent in between, in seconds,
    off: (f64, f64),
    /// and the media clock stands still meanwhile.
    frozen: bool,
}

const VIDEO: Sends = Sends {
    every: 33_333.3,
    ticks: 3000.0,
    delay: 30.0,
    jump: (0.0, 0.0),
    pacer: |_| 0.0,
    off: (0.0, 0.0),
    frozen: false,
};
const AUDIO: Sends = Sends { every: 20_000.0, ticks: 960.0, delay: 20.0, ..VIDEO };

#[derive(Clone, Copy, PartialEq)]
enum ReportsBy {
    Nothing,
    /// The times of the packets.
    Packets,
    /// The sender's media clock at the moment of the report, as libwebrtc has it.
    Clock,
    /// The wall clock since the first packet, at the nominal rate.
    WallClock,
    /// As the packets, and the sender's clock is set by an hour every minute.
    SetClock,
    /// Of 1970, standing still.
    Stale,
}

#[derive(Clone, Copy)]
struct Scenario {
    video: Sends,
    audio: Sends,
    reports: ReportsBy,
    seconds: f64,
    /// Exponential, mean in ms.
    jitter: f64,
    /// Delay of everything on the path, by the time in seconds: ms.
    queue: fn(f64) -> f64,
}

const PLAIN: Scenario = Scenario {
    video: VIDEO,
    audio: AUDIO,
    reports: ReportsBy::Nothing,
    seconds: 60.0,
    jitter: 3.0,
    queue: |_| 0.0,
};

/// Capture time minus truth in ms, by the true time in seconds.
struct Track {
    errors: Vec<(f64, f64)>,
    beyond: usize,
    lost: usize,
}

struct Outcome {
    video: Track,
    audio: Track,
    stats: [ClockStats; 2],
}

enum Item {
    Media { kind: MediaKind, timestamp: u64, truth: f64 },
    Report { kind: MediaKind, ntp: u64, timestamp: u64 },
    End,
}

fn ntp(seconds: f64) -> u64 {
    let seconds = seconds + NTP_TO_UNIX as f64;
    ((seconds as u64) << 32) + ((seconds.fract() * 4_294_967_296.0) as u64)
}

const STARTS: [u64; 2] = [(1 << 32) + 4_000_000_000, (1 << 32) + 77];

fn run(scenario: Scenario) -> Outcome {
    let mut random = StdRng::seed_from_u64(7);
    let mut items: Vec<(f64, Item)> = Vec::new();
    for (kind, sends) in [(MediaKind::Video, scenario.video), (MediaKind::Audio, scenario.audio)] {
        let start = STARTS[kind as usize];
        let (mut at, mut ticks, mut jumped) = (0.0, 0.0, false);
        let (mut arrived, mut reported) = (0.0f64, 0.0);
        while at < scenario.seconds {
            if at >= sends.jump.0 && !jumped && sends.jump.1 != 0.0 {
                (ticks, jumped) = (ticks + sends.jump.1, true);
            }
            let is_off = (sends.off.0..sends.off.1).contains(&at);
            let timestamp = (start as i64 + ticks as i64) as u64;
            if !is_off {
                let jitter = -scenario.jitter * (1.0 - random.random::<f64>()).ln();
                let late = sends.delay + jitter + (scenario.queue)(at) + (sends.pacer)(at);
                // One after the other.
                arrived = arrived.max(at + late / 1e3);
                items.push((arrived, Item::Media { kind, timestamp, truth: at }));
            }
            if at >= reported {
                reported = at + if kind == MediaKind::Audio { 5.0 } else { 1.0 };
                let nominal = start + (at * f64::from(RATES[kind])) as u64;
                let (clock, timestamp) = match scenario.reports {
                    ReportsBy::Nothing => (None, 0),
                    ReportsBy::Packets => (Some(86_400.0 + at), timestamp),
                    ReportsBy::WallClock => (Some(86_400.0 + at), nominal),
                    ReportsBy::Clock => {
                        let ticks = at * 1e6 / sends.every * sends.ticks;
                        (Some(86_400.0 + at), start + ticks as u64)
                    }
                    ReportsBy::SetClock => {
                        let hours = if ((at / 60.0) as u64).is_multiple_of(2) { 24.0 } else { 25.0 };
                        (Some(hours * 3600.0 + at), timestamp)
                    }
                    ReportsBy::Stale => (Some(-1.0), start),
                };
                if let Some(clock) = clock {
                    let jitter = random.random::<f64>() * scenario.jitter;
                    let late = at + (sends.delay + jitter + (scenario.queue)(at)) / 1e3;
                    let ntp = if clock < 0.0 { 5 } else { ntp(1.9e9 + clock) };
                    items.push((late, Item::Report { kind, ntp, timestamp }));
                }
            }
            at += sends.every / 1e6;
            if !(is_off && sends.frozen) {
                ticks += sends.ticks;
            }
        }
    }
    items.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (begin, wall) = (Instant::now(), UNIX_EPOCH + Duration::from_secs(1_900_000_000));
    let mut clock = SenderClock::new(ms(500), RATES);
    let mut held: [std::collections::VecDeque<(u64, f64, Instant)>; 2] = Default::default();
    let empty = || Track { errors: Vec::new(), beyond: 0, lost: 0 };
    let mut tracks = [empty(), empty()];
    let last = items.last().map_or(0.0, |(at, _)| *at) + 5.0;
    items.push((last, Item::End));
    for (at, item) in items {
        let now = begin + Duration::from_secs_f64(at);
        clock.tick(now, wall + Duration::from_secs_f64(at));
        match item {
            Item::Media { kind, timestamp, truth } => {
                clock.arrival(kind, timestamp, now);
                held[kind as usize].push_back((timestamp, truth, now));
            }
            Item::Report { kind, ntp, timestamp } => clock.sender_report(kind, ntp, timestamp, now),
            Item::End => {}
        }
        for kind in [MediaKind::Video, MediaKind::Audio] {
            while let Some((timestamp, truth, arrived)) = held[kind as usize].front().copied() {
                let Stamp::At(time) = clock.capture_time(kind, timestamp, arrived, now) else { break };
                held[kind as usize].pop_front();
                let since = |time: SystemTime| time.duration_since(wall).map_or(-1.0, |it| it.as_secs_f64());
                let track = &mut tracks[kind as usize];
                track.errors.push((truth, (since(time) - truth) * 1e3));
                let arrival = arrived.duration_since(begin).as_secs_f64();
                let early = arrival - since(time);
                track.beyond += usize::from(!(-0.2001..=2.5001).contains(&early));
            }
        }
    }
    for kind in [MediaKind::Video, MediaKind::Audio] {
        tracks[kind as usize].lost = held[kind as usize].len();
    }
    let stats = [clock.stats(MediaKind::Video), clock.stats(MediaKind::Audio)];
    let [video, audio] = tracks;
    Outcome { video, audio, stats }
}

impl Track {
    /// Least and largest error between two times.
    fn range(&self, from: f64, to: f64) -> (f64, f64) {
        let errors = || self.errors.iter().filter(|(at, _)| (from..to).contains(at)).map(|(_, error)| *error);
        (errors().fold(f64::INFINITY, f64::min), errors().fold(f64::NEG_INFINITY, f64::max))
    }
}

impl Outcome {
    /// Nothing is lost, and the bound holds.
    fn keeps_the_law(&self, name: &str) {
        for (track, kind) in [(&self.video, "video"), (&self.audio, "audio")] {
            assert_eq!(track.lost, 0, "{name}: {kind} waits for ever");
            assert_eq!(track.beyond, 0, "{name}: {kind} beyond the bound");
        }
    }

    /// The largest distance of sound and picture that were captured at the same time.
    fn sync(&self, from: f64, to: f64) -> f64 {
        let audio: Vec<_> = self.audio.errors.iter().filter(|(at, _)| (from..to).contains(at)).collect();
        let mut worst: f64 = 0.0;
        for (at, error) in self.video.errors.iter().filter(|(at, _)| (from..to).contains(at)) {
            let place = audio.partition_point(|(other, _)| other < at);
            if let Some((other, sound)) = audio.get(place)
                && (other - at).abs() < 0.1
            {
                worst = if (error - sound).abs() > worst.abs() { error - sound } else { worst };
            }
        }
        worst
    }
}

fn slow(by: f64) -> Sends {
    Sends { every: AUDIO.every * (1.0 + by), ..AUDIO }
}

#[test]
fn ntp_is_seconds_since_1900_and_turns_over_in_2036() {
    assert_eq!(ntp_nanos((NTP_TO_UNIX as u64 + 5) << 32 | 0x8000_0000), 5 * SECOND + SECOND / 2);
    assert_eq!(ntp_nanos(0), ((1i64 << 32) - NTP_TO_UNIX) * SECOND);
    assert_eq!(ntp_nanos(u64::MAX) / SECOND, (1i64 << 32) - 1 - NTP_TO_UNIX);
}

/// The senders of the field. Errors in ms: of each track from its third second on, of both together.
#[test]
fn whatever_a_sender_stamps_it_is_recorded_when_it_was_captured() {
    let at_15 = Sends { every: 66_667.0, ticks: 3600.0, ..VIDEO };
    let rows: Vec<(&str, Scenario, (f64, f64), f64)> = vec![
        ("honest", PLAIN, (30.0, 30.0), 20.0),
        ("honest, 20 ms of jitter", Scenario { jitter: 20.0, ..PLAIN }, (60.0, 60.0), 60.0),
        ("audio 1.4 % slow", Scenario { audio: slow(0.014), ..PLAIN }, (40.0, 80.0), 80.0),
        ("audio 1 % slow, jitter", Scenario { audio: slow(0.01), jitter: 10.0, ..PLAIN }, (50.0, 80.0), 80.0),
        ("audio 16 % slow", Scenario { audio: slow(0.16), ..PLAIN }, (40.0, 40.0), 40.0),
        ("audio 8 % fast", Scenario { audio: slow(-0.08), ..PLAIN }, (40.0, 40.0), 40.0),
        (
            "30 fps stamped 40 ms",
            Scenario { video: Sends { ticks: 3600.0, ..VIDEO }, ..PLAIN },
            (45.0, 40.0),
            40.0,
        ),
        ("15 fps stamped 40 ms", Scenario { video: at_15, ..PLAIN }, (45.0, 40.0), 40.0),
        (
            "video 2 % fast, audio 2 % slow",
            Scenario { video: Sends { every: 34_000.0, ..VIDEO }, audio: slow(0.02), ..PLAIN },
            (80.0, 80.0),
            80.0,
        ),
        ("200 ppm", Scenario { audio: slow(0.0002), seconds: 600.0, ..PLAIN }, (40.0, 40.0), 50.0),
    ];
    for (name, scenario, (video, audio), sync) in rows {
        for reports in [
            ReportsBy::Nothing,
            ReportsBy::Packets,
            ReportsBy::WallClock,
            ReportsBy::SetClock,
            ReportsBy::Stale,
        ] {
            let outcome = run(Scenario { reports, ..scenario });
            outcome.keeps_the_law(name);
            let (least, most) = outcome.video.range(3.0, 1e9);
            assert!(least > -20.0 && most < video + 30.0, "{name}: video {least} to {most}");
            let (least, most) = outcome.audio.range(3.0, 1e9);
            assert!(least > -20.0 && most < audio + 30.0, "{name}: audio {least} to {most}");
            let apart = outcome.sync(3.0, 1e9);
            assert!(apart.abs() < sync, "{name}: {apart} ms apart");
        }
    }
}

#[test]
fn confirmed_reports_align_the_tracks_and_others_do_not_move_them() {
    // Pictures take 140 ms to encode, and the reports know it.
    let video = Sends { delay: 160.0, ..VIDEO };
    let scenario = Scenario { video, ..PLAIN };
    for (reports, aligned) in
        [(ReportsBy::Packets, true), (ReportsBy::Nothing, false), (ReportsBy::Stale, false)]
    {
        let outcome = run(Scenario { reports, ..scenario });
        outcome.keeps_the_law("aligned");
        let apart = outcome.sync(40.0, 60.0);
        assert_eq!(apart.abs() < 25.0, aligned, "{apart} ms apart, {:?}", outcome.stats);
        let source = if aligned { TimeSource::Reports } else { TimeSource::Rtp };
        assert_eq!(outcome.stats[0].source, source);
        // Slowly.
        let steps = outcome.video.errors.windows(2).map(|pair| (pair[1].1 - pair[0].1).abs());
        assert!(steps.fold(0.0, f64::max) < 12.0);
    }
    // A path that is half full for a while, and later half full for good, changes nothing.
    let fills: fn(f64) -> f64 = |at| match at {
        20.0..28.0 => 120.0,
        60.0.. => 100.0,
        _ => 0.0,
    };
    let outcome = run(Scenario { reports: ReportsBy::Packets, queue: fills, seconds: 180.0, ..scenario });
    outcome.keeps_the_law("fills");
    assert_eq!(outcome.stats.map(|stats| stats.source), [TimeSource::Reports; 2]);
    // While it is being found out, one track may be believed a moment before the other.
    for (from, to, most) in [(20.0, 75.0, 40.0), (75.0, 102.0, 100.0), (102.0, 180.0, 40.0)] {
        let apart = outcome.sync(from, to);
        assert!(apart.abs() < most, "{apart} ms apart from {from} s on");
    }
    // So does one that makes pictures wait at the sender, which reports them as they were captured.
    let pacer: fn(f64) -> f64 = |at| ((at - 40.0) * 100.0).clamp(0.0, 400.0);
    let outcome = run(Scenario { reports: ReportsBy::Clock, video: Sends { pacer, ..video }, ..scenario });
    outcome.keeps_the_law("pacer");
    let apart = outcome.sync(30.0, 60.0);
    assert!(apart.abs() < 40.0, "{apart} ms apart behind a pacer");
    // Jitter does not make them unbelievable.
    let outcome = run(Scenario { reports: ReportsBy::Clock, jitter: 20.0, seconds: 600.0, ..scenario });
    assert_eq!(outcome.stats.map(|stats| stats.source), [TimeSource::Reports; 2], "jitter");
    // By the wall clock, and audio falls behind it.
    let outcome = run(Scenario { reports: ReportsBy::WallClock, audio: slow(0.014), ..scenario });
    assert_ne!(outcome.stats[1].source, TimeSource::Reports);
    assert!((outcome.stats[1].rate_ppm + 13_800).abs() < 500, "{:?}", outcome.stats[1]);
}

#[test]
fn timestamps_that_jump_or_stand_still_move_one_track_for_a_moment() {
    for (name, sends) in [
        ("+10 s", Sends { jump: (20.0, 900_000.0), ..VIDEO }),
        ("+3 s", Sends { jump: (20.0, 270_000.0), ..VIDEO }),
        ("-10 s", Sends { jump: (20.0, -900_000.0), ..VIDEO }),
        ("-3 s", Sends { jump: (20.0, -270_000.0), ..VIDEO }),
        ("-1 s", Sends { jump: (20.0, -90_000.0), ..VIDEO }),
        ("5.5 h", Sends { jump: (20.0, 5.5 * 3600.0 * 90_000.0), ..VIDEO }),
        ("off for 20 s, frozen", Sends { off: (20.0, 40.0), frozen: true, ..VIDEO }),
        ("off for 2 s, frozen", Sends { off: (20.0, 22.0), frozen: true, ..VIDEO }),
        ("off for 20 s", Sends { off: (20.0, 40.0), ..VIDEO }),
    ] {
        for reports in [ReportsBy::Nothing, ReportsBy::Packets] {
            let outcome = run(Scenario { video: sends, reports, ..PLAIN });
            outcome.keeps_the_law(name);
            // What a queue may be is asked of the sender, if it can be believed.
            let asks = reports == ReportsBy::Packets;
            let (least, most) = outcome.video.range(3.0, if asks { 20.0 } else { 1e9 });
            assert!(least > -60.0 && most < 60.0, "{name}: {least} to {most}");
            let (least, most) = outcome.video.range(if asks { 24.0 } else { 3.0 }, 1e9);
            assert!(least > -60.0 && most < 60.0, "{name}: {least} to {most}");
            let (least, most) = outcome.audio.range(3.0, 1e9);
            assert!(least > -10.0 && most < 40.0, "{name}: audio {least} to {most}");
            assert!(
                outcome.stats[0].epochs <= 2 && outcome.stats[1].epochs == 0,
                "{name}: {:?}",
                outcome.stats
            );
        }
    }
}

/// A key frame of 1.7 s on a thin path: all behind it is late, and was captured when it was captured.
#[test]
fn a_queue_that_drains_moves_nothing() {
    // The first packet of a key frame is late, its last much later, and what waited behind it comes at once.
    let pacer: fn(f64) -> f64 = |at| match at % 4.0 {
        _ if at < 4.0 => 0.0,
        since if since < 0.02 => 425.0,
        since => ((1.7 - since) * 1e3).max(0.0),
    };
    let outcome = run(Scenario { video: Sends { pacer, ..VIDEO }, ..PLAIN });
    outcome.keeps_the_law("a key frame of 1.7 s");
    let (least, most) = outcome.video.range(3.0, 1e9);
    assert!(least > -20.0 && most < 60.0, "a key frame of 1.7 s: {least} to {most}");
    let drains: fn(f64) -> f64 = |at| if at < 20.0 { 0.0 } else { (1_700.0 - (at - 20.0) * 640.0).max(0.0) };
    let stalls: fn(f64) -> f64 = |at| if (20.0..22.0).contains(&at) { (22.0 - at) * 1e3 } else { 0.0 };
    for (name, queue) in [("drains", drains), ("stalls", stalls)] {
        let outcome = run(Scenario { queue, ..PLAIN });
        outcome.keeps_the_law(name);
        for track in [&outcome.video, &outcome.audio] {
            let (least, most) = track.range(3.0, 1e9);
            assert!(least > -20.0 && most < 60.0, "{name}: {least} to {most}");
        }
    }
}

#[test]
fn a_burst_at_the_start_is_put_where_it_belongs() {
    let burst: fn(f64) -> f64 = |at| (1_500.0 - at * 1e3).max(0.0);
    let outcome = run(Scenario { queue: burst, ..PLAIN });
    outcome.keeps_the_law("burst");
    let (least, most) = outcome.video.range(0.0, 1e9);
    assert!(least > -20.0 && most < 60.0, "{least} to {most}");
}

#[test]
fn a_rate_that_changes_is_followed() {
    // From 30 to 15 pictures a second, each stamped 40 ms, as a camera at nightfall.
    let mut clock = SenderClock::new(ms(500), RATES);
    let (begin, wall) = (Instant::now(), UNIX_EPOCH + Duration::from_secs(1_900_000_000));
    let (mut at, mut worst) = (0.0, 0.0f64);
    for number in 0..2_400u64 {
        at += if (number / 600) % 2 == 0 { 1.0 / 30.0 } else { 1.0 / 15.0 };
        let now = begin + Duration::from_secs_f64(at);
        clock.tick(now, wall + Duration::from_secs_f64(at));
        clock.arrival(MediaKind::Video, STARTS[0] + number * 3600, now);
        // A second later, as it would wait.
        let Stamp::At(time) = clock.capture_time(
            MediaKind::Video,
            STARTS[0] + number * 3600,
            now,
            now + Duration::from_secs(1),
        ) else {
            panic!("it waits for ever")
        };
        let error = (time.duration_since(wall).unwrap().as_secs_f64() - at).abs();
        if number > 60 {
            worst = worst.max(error);
        }
    }
    assert!(worst < 0.6, "{worst}");
}

/// Crystals are off by some 100 ppm, bad ones by 500. Pictures and sound of few packets: a day of them has a million.
#[test]
fn a_day_of_clocks_that_drift_apart_stays_in_step() {
    let drifts = |sends: Sends, ppm: f64| Sends { every: sends.every * (1.0 + ppm / 1e6), ..sends };
    // Five pictures a second, which take 90 ms longer than sound; Opus of 120 ms.
    let video = Sends { every: 200_000.0, ticks: 18_000.0, delay: 110.0, ..VIDEO };
    let audio = Sends { every: 120_000.0, ticks: 5_760.0, ..AUDIO };
    for ppm in [500.0, -500.0] {
        let outcome = run(Scenario {
            video: drifts(video, ppm),
            audio: drifts(audio, -ppm),
            seconds: 86_400.0,
            reports: ReportsBy::Clock,
            ..PLAIN
        });
        outcome.keeps_the_law("a day");
        for (track, name) in [(&outcome.video, "video"), (&outcome.audio, "audio")] {
            let (least, most) = track.range(10.0, 1e9);
            assert!(least > -30.0 && most < 120.0, "{ppm} ppm: {name} {least} to {most}");
        }
        assert_eq!(outcome.stats.map(|stats| stats.source), [TimeSource::Reports; 2], "{ppm} ppm");
        let rates = outcome.stats.map(|stats| stats.rate_ppm);
        assert!((rates[0] + ppm as i64).abs() < 60 && (rates[1] - ppm as i64).abs() < 60, "{rates:?}");
        // From when the reports are confirmed and what they say is made up for.
        let apart = outcome.sync(60.0, 1e9);
        assert!(apart.abs() <= 40.0, "{ppm} ppm: {apart} ms apart");
    }
}

#[test]
fn ten_hours_are_as_the_first_minute() {
    for (name, audio, video) in
        [("-1.4 %", slow(0.014), VIDEO), ("+20 %", AUDIO, Sends { ticks: 3600.0, ..VIDEO })]
    {
        let outcome =
            run(Scenario { video, audio, seconds: 36_000.0, reports: ReportsBy::WallClock, ..PLAIN });
        outcome.keeps_the_law(name);
        let (least, most) = outcome.video.range(10.0, 1e9);
        assert!(least > -20.0 && most < 60.0, "{name}: video {least} to {most}");
        let (least, most) = outcome.audio.range(10.0, 1e9);
        assert!(least > -20.0 && most < 60.0, "{name}: audio {least} to {most}");
        let apart = outcome.sync(10.0, 1e9);
        assert!(apart.abs() < 40.0, "{name}: {apart} ms apart");
    }
}

/// I B B P in the order of decoding: timestamps are presentation times.
#[test]
fn pictures_that_are_presented_before_others_keep_their_times() {
    let mut clock = SenderClock::new(ms(500), RATES);
    let (begin, wall) = (Instant::now(), UNIX_EPOCH + Duration::from_secs(1_900_000_000));
    let mut random = StdRng::seed_from_u64(3);
    let mut sent = Vec::new();
    for group in 0..400u64 {
        // P, B, B are sent when the P is there.
        for number in [group * 3 + 3, group * 3 + 1, group * 3 + 2] {
            let at = (group * 3 + 3) as f64 / 30.0 + 0.02 + random.random::<f64>() * 0.01;
            sent.push((number, at + sent.len() as f64 * 1e-9));
        }
    }
    sent.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut first = None;
    for (number, at) in sent {
        let now = begin + Duration::from_secs_f64(at);
        clock.tick(now, wall + Duration::from_secs_f64(at));
        clock.arrival(MediaKind::Video, STARTS[0] + number * 3000, now);
        let later = now + Duration::from_secs(1);
        let Stamp::At(time) = clock.capture_time(MediaKind::Video, STARTS[0] + number * 3000, now, later)
        else {
            panic!("it waits for ever")
        };
        let error = time.duration_since(wall).unwrap().as_secs_f64() - number as f64 / 30.0;
        let first = *first.get_or_insert(error);
        assert!((error - first).abs() < 0.021, "picture {number}: {error} s, the first {first} s");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100_000))]

    /// Whatever comes, in whatever order: a capture time for everything, within the bound.
    #[test]
    fn any_arrivals_timestamps_and_reports_keep_the_bound(
        steps in prop::collection::vec(
            (0u64..4_000, prop_oneof![0u64..200_000, any::<u64>()], any::<u64>(), 0u8..8), 1..48
        ),
        far in any::<bool>(),
    ) {
        let mut clock = SenderClock::new(ms(500), RATES);
        let (begin, mut wall) = (Instant::now(), UNIX_EPOCH + Duration::from_secs(1_900_000_000));
        let (mut at, mut media) = (Duration::ZERO, [1u64 << 33; 2]);
        let mut anchor = None;
        for (pause, ticks, word, what) in steps {
            at += if far { ms(pause * 100) } else { Duration::from_micros(pause * 30) };
            let now = begin + at;
            if what == 7 {
                wall = UNIX_EPOCH + Duration::from_secs(word % 4_000_000_000);
            }
            clock.tick(now, wall + at);
            let kind = if what & 1 == 0 { MediaKind::Video } else { MediaKind::Audio };
            if what >= 6 {
                clock.sender_report(kind, word, media[kind as usize].wrapping_add(word % 1_000_000), now);
                continue;
            }
            let media = &mut media[kind as usize];
            *media = if what < 4 { media.saturating_add(ticks % (1 << 31)) } else { media.saturating_sub(ticks % (1 << 31)) };
            clock.arrival(kind, *media, now);
            let stamp = clock.capture_time(kind, *media, now, now + Duration::from_secs(3600));
            let Stamp::At(time) = stamp else { panic!("it waits for ever") };
            let arrival = clock.wall(now);
            let anchor = *anchor.get_or_insert(arrival);
            prop_assert!(arrival >= anchor);
            prop_assert!(time >= arrival - SenderClock::BOUND, "{:?} early", arrival.duration_since(time));
            prop_assert!(time <= arrival + SenderClock::AHEAD, "{:?} ahead", time.duration_since(arrival));
        }
    }
}
