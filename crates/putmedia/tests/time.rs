//! Time is a label: whatever frames say of it, each is stored once, in its order, under its own time.
#![allow(clippy::unwrap_used, reason = "a test")]

mod reading;

use std::collections::BTreeMap;
use std::time::Duration;

use TrackKind::{Audio, Video};
use bytes::Bytes;
use kvs_putmedia::{DropReason, Event, ProducerConfig, Timecodes, TrackKind};
use proptest::prelude::*;
use reading::{Bench, Cluster, aac, check, h264};

/// The bench, and what was pushed into it.
struct Input {
    bench: Bench,
    scale_ms: u64,
    pushed: Vec<(TrackKind, u64, bool)>,
}

impl Input {
    fn new(config: ProducerConfig) -> Self {
        let scale_ms = u64::from(config.timecode_scale_ms);
        Self { bench: Bench::new(config, vec![h264(), aac()]), scale_ms, pushed: Vec::new() }
    }

    fn push(&mut self, track: TrackKind, ms: u64, key: bool) {
        let number = (self.pushed.len() as u64).to_be_bytes();
        self.pushed.push((track, ms, key));
        self.bench.push_data(track, ms, key, Bytes::copy_from_slice(&number));
    }

    /// Ends it, and checks that everything from the first key frame on is stored once, under its time, in its order.
    fn finish(&mut self) -> Vec<Cluster> {
        let clusters = self.bench.finish();
        check(&clusters);
        let mut stored = BTreeMap::new();
        let mut before: BTreeMap<(u64, u8), u64> = BTreeMap::new();
        for cluster in &clusters {
            for ((track, at, _), payload) in cluster.blocks.iter().zip(&cluster.payloads) {
                let number = u64::from_be_bytes(payload[..].try_into().unwrap());
                assert_eq!(stored.insert(number, *at), None, "frame {number} is stored twice");
                let last = before.insert((cluster.session, *track), number);
                assert!(last.is_none_or(|last| last < number), "decoding order");
                let (kind, ms, _) = self.pushed[number as usize];
                // The one documented exception, beside rounding.
                let near = kind == Video && *at == cluster.start_ms && (ms..=ms + 50).contains(at);
                assert!(
                    at.abs_diff(ms) <= self.scale_ms || near,
                    "{kind:?} {number} of {ms} is at {at}: {cluster:?}"
                );
            }
        }
        let first = self.pushed.iter().position(|(_, _, key)| *key).unwrap_or(self.pushed.len()) as u64;
        let missing: Vec<u64> =
            (0..self.pushed.len() as u64).filter(|number| !stored.contains_key(number)).collect();
        assert!(missing.iter().all(|number| *number < first), "lost: {missing:?}, the first key is {first}");
        let statistics = self.bench.producer.statistics();
        assert_eq!(statistics.frames_dropped.iter().sum::<u64>(), missing.len() as u64);
        let exact: Vec<_> = self.bench.events.iter().filter(|event| lost(event)).collect();
        assert!(exact.is_empty(), "{exact:?}");
        assert_eq!((statistics.buffered_bytes, statistics.buffered_fragments), (0, 0));
        clusters
    }
}

fn lost(event: &Event) -> bool {
    matches!(event, Event::Dropped { reason, .. } if *reason != DropReason::BeforeKeyFrame)
}

fn sessions(clusters: &[Cluster]) -> u64 {
    clusters.last().map_or(0, |cluster| cluster.session)
}

/// 25 fps with a key frame every two seconds and 20 ms of audio, in real time; each track comes when its delay is over,
/// with times that are shifted. `(delay, behind)` of video and of audio in ms.
fn live(seconds: u64, video: (u64, u64), audio: (u64, u64)) -> Input {
    let mut input = Input::new(ProducerConfig::default());
    let (base, end) = (100_000, seconds * 1000);
    // Both end at the same time of theirs.
    for now in (0..end + 8_000).step_by(20) {
        let at = |(delay, behind): (u64, u64)| (now >= delay).then(|| base + now - delay - behind);
        if let Some(at) = at(video).filter(|at| *at < base + end && (at + video.1).is_multiple_of(40)) {
            input.push(Video, at, (at + video.1 - base).is_multiple_of(2000));
        }
        if let Some(at) = at(audio).filter(|at| *at < base + end) {
            input.push(Audio, at, false);
        }
        input.bench.wait(20);
    }
    input
}

#[test]
fn tracks_that_are_apart_stay_apart_in_one_session_and_nothing_is_late() {
    for (video, audio) in [
        ((0, 0), (0, 0)),
        ((0, 0), (0, 2_000)),
        ((0, 0), (0, 4_000)),
        ((1_500, 0), (0, 0)),
        ((4_000, 0), (0, 0)),
        ((0, 0), (1_500, 0)),
        ((2_300, 0), (100, 0)),
        ((0, 700), (0, 0)),
    ] {
        let mut input = live(40, video, audio);
        let clusters = input.finish();
        assert_eq!(sessions(&clusters), 1, "{video:?} {audio:?}");
        let statistics = input.bench.producer.statistics();
        assert_eq!((statistics.frames_late, statistics.epochs), ([0, 0], 0), "{video:?} {audio:?}");
        assert_eq!(statistics.frames_dropped, [0, 0], "{video:?} {audio:?}");
        // Each fragment has what belongs to it.
        for pair in clusters.windows(2) {
            assert_eq!(pair[1].span().0 - pair[0].span().1, 20, "{video:?} {audio:?}");
        }
    }
}

#[test]
fn audio_that_falls_behind_while_it_runs_is_stored_late_and_then_waited_for() {
    let mut input = Input::new(ProducerConfig::default());
    for now in (0..60_000).step_by(20) {
        // From 20 s on a jitter buffer holds it for three seconds.
        let held = if now < 20_000 { 0 } else { 3_000 };
        if now % 40 == 0 {
            input.push(Video, 10_000 + now, now % 2000 == 0);
        }
        if !(20_000..23_000).contains(&now) {
            input.push(Audio, 10_000 + now - held, false);
        }
        input.bench.wait(20);
    }
    let clusters = input.finish();
    let statistics = input.bench.producer.statistics();
    assert!((1..=150).contains(&statistics.frames_late[1]), "{:?}", statistics.frames_late);
    assert_eq!(statistics.epochs, 0, "video was never late");
    assert!(sessions(&clusters) <= 6, "{}", sessions(&clusters));
    assert!(input.bench.events.iter().any(|event| matches!(event, Event::StoredLate { .. })));
    assert!(statistics.track_distance[1] >= Duration::from_millis(2_000));
}

#[test]
fn video_that_is_late_keeps_its_time_in_an_epoch_of_its_own() {
    let mut input = Input::new(ProducerConfig::default());
    for now in (0..30_000).step_by(20) {
        if now % 40 == 0 && !(10_000..16_000).contains(&now) {
            input.push(Video, 10_000 + now, now % 2000 == 0);
        }
        if now == 16_000 {
            // All that an encoder without time had not done.
            for at in (10_000..16_000).step_by(40) {
                input.push(Video, 10_000 + at, at % 2000 == 0);
            }
        }
        input.push(Audio, 10_000 + now, false);
        input.bench.wait(20);
    }
    input.finish();
    let statistics = input.bench.producer.statistics();
    assert_eq!(statistics.frames_dropped, [0, 0]);
    assert!(statistics.epochs <= 3, "{}", statistics.epochs);
}

/// A queue in front of the element is drained at the end of the stream: sound has ended long before picture.
#[test]
fn a_track_that_ends_first_is_in_the_fragments_that_it_belongs_to() {
    let mut input = Input::new(ProducerConfig::default());
    for now in (0..8_000).step_by(20) {
        if now >= 4_000 && now % 40 == 0 {
            input.push(Video, 10_000 + now - 4_000, now % 2000 == 0);
        }
        input.push(Audio, 10_000 + now, false);
        input.bench.wait(20);
    }
    let now = input.bench.now;
    input.bench.producer.end_track(Audio, now);
    input.bench.wait(1);
    for at in (4_000..8_000).step_by(40) {
        input.push(Video, 10_000 + at, at % 2000 == 0);
        input.bench.wait(1);
    }
    let clusters = input.finish();
    assert_eq!(sessions(&clusters), 1);
    assert_eq!(input.bench.producer.statistics().frames_late, [0, 0]);
}

#[test]
fn a_clock_that_is_set_loses_nothing_even_without_a_connection() {
    for step in [3_600_000_i64, -3_600_000, 400_000, -5_000] {
        let mut input = Input::new(ProducerConfig::default());
        input.bench.stuck = true;
        for now in (0..40_000_u64).step_by(20) {
            let at = (10_000_000 + now).saturating_add_signed(if now < 20_000 { 0 } else { step });
            if now % 40 == 0 {
                input.push(Video, at, now % 2000 == 0);
            }
            input.push(Audio, at, false);
            input.bench.wait(20);
        }
        let statistics = input.bench.producer.statistics();
        let seconds = statistics.buffered_duration.as_secs_f64();
        assert!((35.0..=41.0).contains(&seconds), "{seconds} s of media are kept, whatever the clock says");
        input.bench.stuck = false;
        let clusters = input.finish();
        let statistics = input.bench.producer.statistics();
        // Both tracks go back, and together.
        assert!(statistics.epochs <= 2 && sessions(&clusters) <= 4, "{step}: {statistics:?}");
    }
}

#[test]
fn what_waits_for_the_other_track_is_bounded() {
    let mut bench = Bench::new(ProducerConfig::default(), vec![h264(), aac()]);
    bench.stuck = true;
    let frame = Bytes::from(vec![0; 200_000]);
    bench.push(Audio, 0, false);
    // Audio is an hour behind and dead, and upstream says that it comes any moment.
    bench.producer.set_latency(Duration::from_secs(3600));
    for n in 0..500 {
        bench.push_data(Video, 3_600_000 + n, n == 0, frame.clone());
    }
    let buffered = bench.producer.statistics().buffered_bytes;
    assert!(buffered + (33 << 20) >= 500 * 200_000, "no more than 32 MiB wait: {buffered}");
}

#[test]
fn late_audio_without_end_is_bounded_and_counted() {
    let mut bench = Bench::new(ProducerConfig::default(), vec![h264(), aac()]);
    bench.push(Video, 10_000, true);
    bench.push(Audio, 10_000, false);
    let data = Bytes::from(vec![0; 10_000]);
    for n in 0..2000 {
        bench.push(Video, 10_001 + n / 200, false);
        bench.push_data(Audio, 9_000, false, data.clone());
    }
    let clusters = bench.finish();
    check(&clusters);
    let statistics = bench.producer.statistics();
    assert_eq!(statistics.frames_late[1] + statistics.frames_dropped[1], 2000);
    assert!((800..900).contains(&statistics.frames_late[1]), "8 MiB: {statistics:?}");
}

#[test]
fn after_a_loss_video_waits_for_a_key_frame_and_audio_goes_on() {
    let mut bench = Bench::new(ProducerConfig::default(), vec![h264(), aac()]);
    for n in 0..100 {
        if n == 20 {
            bench.producer.await_key();
        }
        bench.push(Video, n * 40, n % 50 == 0);
        bench.push(Audio, n * 40, false);
        bench.wait(40);
    }
    let clusters = bench.finish();
    check(&clusters);
    assert_eq!(clusters.iter().map(|cluster| cluster.start_ms).collect::<Vec<_>>(), [0, 2_000]);
    assert_eq!(bench.producer.statistics().frames_dropped, [30, 0]);
    let told = bench.events.iter().filter_map(|event| match event {
        Event::Dropped { frames, reason: DropReason::AfterLoss, .. } => Some(frames[0]),
        _ => None,
    });
    assert_eq!(told.sum::<u64>(), 30);
}

#[test]
fn video_that_goes_on_after_a_silence_is_stored_and_a_key_frame_is_asked_for() {
    let mut input = Input::new(ProducerConfig::default());
    for n in 0..50 {
        let now = n * 40 + if n < 25 { 0 } else { 30_000 };
        if n == 25 {
            input.bench.wait(30_000);
        }
        input.push(Video, 10_000 + now, n == 0);
        input.push(Audio, 10_000 + now, false);
        input.bench.wait(40);
    }
    let clusters = input.finish();
    assert_eq!(clusters.len(), 2);
    let asked = input.bench.events.iter().filter(|event| **event == Event::KeyFrameWanted).count();
    assert_eq!(asked, 1);
}

#[test]
fn metadata_belongs_to_the_fragment_that_begins_after_it() {
    let mut bench = Bench::new(ProducerConfig::default(), vec![h264(), aac()]);
    for n in 0..300_u64 {
        // Audio is 200 ms behind: the key frame still waits for it when the tag is put.
        bench.push(Audio, (1_000 + n * 40) - 200, false);
        bench.push(Video, 1_000 + n * 40, n.is_multiple_of(50));
        if n.is_multiple_of(50) {
            assert!(bench.producer.put_metadata(&format!("after-{}", 1_000 + n * 40), "x", false));
        }
        bench.wait(40);
    }
    let clusters = bench.finish();
    // What lies before a cluster is its own.
    for cluster in &clusters {
        let key = cluster.blocks.iter().find(|(track, _, key)| *track == 1 && *key).unwrap().1;
        let want: Vec<String> = if key == 1_000 { vec![] } else { vec![format!("after-{}", key - 2_000)] };
        let tags: Vec<_> = cluster.tags.iter().filter(|tag| !tag.starts_with("AWS_")).cloned().collect();
        assert_eq!(tags, want);
    }
    assert_eq!(clusters.len(), 6);
}

#[test]
fn times_of_a_wrong_clock_are_moved_as_long_as_nobody_has_had_them() {
    // Nothing was sent: all of it moves, and it is one session.
    let mut input = Input::new(ProducerConfig::default());
    input.bench.stuck = true;
    let run = |input: &mut Input, from: u64, offset: u64| {
        for now in (from..from + 7_000).step_by(40) {
            input.push(Video, offset + now, now % 2000 == 0);
            input.push(Audio, offset + now, false);
            input.bench.wait(40);
        }
    };
    run(&mut input, 0, 0);
    input.bench.producer.shift_time(50_000_000, input.bench.now);
    for (_, ms, _) in &mut input.pushed {
        *ms += 50_000_000;
    }
    run(&mut input, 7_000, 50_000_000);
    input.bench.stuck = false;
    let clusters = input.finish();
    assert_eq!(sessions(&clusters), 1);
    assert_eq!(clusters.len(), 7);
    assert!(clusters.iter().all(|cluster| cluster.start_ms >= 50_000_000));

    // What was sent stays as it is; what follows is another session.
    for relative in [false, true] {
        let timecodes = if relative { Timecodes::Relative } else { Timecodes::Absolute };
        let mut input = Input::new(ProducerConfig { timecodes, ..ProducerConfig::default() });
        run(&mut input, 60_000_000, 0);
        let before = input.bench.producer.statistics();
        assert!(input.bench.producer.has_sent() && before.sessions == 1);
        input.bench.producer.shift_time(-50_000_000, input.bench.now);
        run(&mut input, 10_007_000, 0);
        let clusters = input.finish();
        assert_eq!(sessions(&clusters), 2);
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Video, with a key frame or not, this much off its time.
    Video {
        key: bool,
        off: i64,
    },
    Audio {
        off: i64,
    },
    Wait(u64),
    /// The track's clock jumps: 0 video, 1 audio, 2 both.
    Jump(u8, i64),
    /// Nobody takes anything, or somebody does again.
    Stuck(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let off = || prop_oneof![6 => Just(0_i64), 3 => -200..200_i64, 1 => -6_000..3_000_i64];
    let jump = prop_oneof![-3_000..3_000_i64, -25_000..25_000_i64, Just(3_600_000), Just(-3_600_000)];
    prop_oneof![
        20 => (prop::bool::weighted(0.08), off()).prop_map(|(key, off)| Step::Video { key, off }),
        20 => off().prop_map(|off| Step::Audio { off }),
        20 => (1..120_u64).prop_map(Step::Wait),
        1 => (200..30_000_u64).prop_map(Step::Wait),
        2 => (0..3_u8, jump).prop_map(|(track, by)| Step::Jump(track, by)),
        1 => any::<bool>().prop_map(Step::Stuck),
    ]
}

/// `PROPTEST_CASES` for more: 100,000 take some minutes.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(200)
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, ..ProptestConfig::with_cases(cases()) })]

    #[test]
    fn every_frame_is_stored_once_under_its_time(
        steps in prop::collection::vec(step(), 20..300),
        every_key in any::<bool>(),
        relative in any::<bool>(),
        scale in prop_oneof![Just(1_u32), Just(10), Just(33)],
    ) {
        let timecodes = if relative { Timecodes::Relative } else { Timecodes::Absolute };
        let mut input = Input::new(ProducerConfig {
            key_frame_fragmentation: every_key,
            timecodes,
            timecode_scale_ms: scale,
            ..ProducerConfig::default()
        });
        // What the clocks of the tracks say, in the middle of a day.
        let mut clocks = [40_000_000_i64; 2];
        for step in steps {
            match step {
                Step::Video { key, off } => input.push(Video, (clocks[0] + off) as u64, key),
                Step::Audio { off } => input.push(Audio, (clocks[1] + off) as u64, false),
                Step::Wait(ms) => {
                    input.bench.wait(ms);
                    clocks.iter_mut().for_each(|clock| *clock += ms as i64);
                }
                Step::Jump(track, by) => {
                    for (index, clock) in clocks.iter_mut().enumerate() {
                        if track == 2 || usize::from(track) == index {
                            *clock = (*clock + by).max(10_000_000);
                        }
                    }
                }
                Step::Stuck(stuck) => input.bench.stuck = stuck,
            }
        }
        input.bench.stuck = false;
        input.finish();
    }
}
