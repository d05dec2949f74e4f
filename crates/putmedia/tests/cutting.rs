//! Where fragments begin and end, read back from the bytes of the sessions.
#![allow(clippy::unwrap_used, reason = "a test")]

mod reading;

use std::time::Duration;

use bytes::Bytes;
use kvs_putmedia::{Codec, ProducerConfig, TrackFormat, TrackKind};
use proptest::prelude::*;
use reading::{Bench, Cluster, aac, check, h264};

fn starts(clusters: &[Cluster]) -> Vec<u64> {
    clusters.iter().map(|cluster| cluster.start_ms).collect()
}

#[test]
fn a_fragment_of_h265_begins_with_its_leading_pictures_and_takes_their_audio() {
    let video = TrackFormat::h265(Bytes::from_static(&[1; 23]), 320, 240);
    let mut bench = Bench::new(ProducerConfig::default(), vec![video, aac()]);
    // In decoding order, every two seconds: a CRA, two leading pictures before it, then the rest.
    for second in (2..12).step_by(2) {
        let cra = second * 1000;
        let rest = (1..48).map(|n| n * 40).map(|offset| (cra + offset, false));
        let video: Vec<_> =
            [(cra, true), (cra - 80, false), (cra - 40, false)].into_iter().chain(rest).collect();
        for (n, (ms, key)) in (0..).zip(video) {
            bench.push(TrackKind::Audio, cra - 80 + n * 40, false);
            bench.push(TrackKind::Video, ms, key);
            bench.wait(40);
        }
    }
    let clusters = bench.finish();
    check(&clusters);
    assert_eq!(starts(&clusters), [1920, 3920, 5920, 7920, 9920]);
    for cluster in &clusters {
        let video: Vec<_> = cluster.blocks.iter().filter(|block| block.0 == 1).map(|block| block.1).collect();
        let start = cluster.start_ms;
        assert_eq!(video[..4], [start + 80, start, start + 40, start + 120], "as they were");
    }
    assert_eq!(bench.producer.statistics().frames_dropped, [0, 0]);
}

#[test]
fn rare_key_frames_are_used_before_the_service_s_limit_forces_a_cut() {
    let config = ProducerConfig {
        key_frame_fragmentation: false,
        fragment_duration: Duration::from_secs(18),
        ..ProducerConfig::default()
    };
    let mut bench = Bench::new(config, vec![h264()]);
    for n in 0..480 {
        bench.push(TrackKind::Video, n * 100, n % 75 == 0);
    }
    let clusters = bench.finish();
    check(&clusters);
    assert_eq!(starts(&clusters), [0, 15_000, 30_000, 45_000]);
    assert!(clusters.iter().all(|cluster| cluster.blocks[0].2), "each begins with a key frame");
}

#[test]
fn without_key_frames_a_fragment_ends_before_the_limit() {
    let mut bench = Bench::new(ProducerConfig::default(), vec![h264(), aac()]);
    for n in 0..1000 {
        bench.push(TrackKind::Audio, n * 100, false);
        bench.push(TrackKind::Video, n * 100, n == 0);
    }
    let clusters = bench.finish();
    check(&clusters);
    assert_eq!(clusters.len(), 6);
    assert_eq!(bench.producer.statistics().frames_dropped, [0, 0]);
}

#[test]
fn frequent_key_frames_do_not_make_fragments_of_less_than_a_second() {
    let mut bench = Bench::new(ProducerConfig::default(), vec![h264()]);
    for n in 0..100 {
        bench.push(TrackKind::Video, n * 100, true);
    }
    let clusters = bench.finish();
    assert_eq!(starts(&clusters), (0..10).map(|n| n * 1000).collect::<Vec<_>>());
}

#[test]
fn audio_alone_is_cut_by_duration_and_never_longer_than_ten_seconds() {
    for (target, want) in [(2_000, 2_000), (30_000, 10_000), (10, 1_000)] {
        let fragment_duration = Duration::from_millis(target);
        let config = ProducerConfig { fragment_duration, ..ProducerConfig::default() };
        let mut bench = Bench::new(config, vec![TrackFormat::g711(Codec::Alaw, 8000, 1)]);
        for n in 0..1500 {
            bench.push(TrackKind::Audio, n * 20, false);
        }
        let clusters = bench.finish();
        check(&clusters);
        assert_eq!(starts(&clusters), (0..30_000 / want).map(|n| n * want).collect::<Vec<_>>());
        assert!(clusters.iter().flat_map(|cluster| &cluster.blocks).all(|block| block.0 == 1 && block.2));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Two tracks, each of which pauses now and then, key frames anywhere, times that jitter and fall back.
    #[test]
    fn fragments_are_what_the_service_takes(
        steps in prop::collection::vec((0..3_u8, 1..400_u64, 0..30_u8, 0..200_u64), 50..600),
        every_key in any::<bool>(),
        h265 in any::<bool>(),
    ) {
        let config = ProducerConfig { key_frame_fragmentation: every_key, ..ProducerConfig::default() };
        let video = if h265 { TrackFormat::h265(Bytes::from_static(&[1; 23]), 320, 240) } else { h264() };
        let mut bench = Bench::new(config, vec![video, aac()]);
        let (mut clock, mut frames) = (1_000, [0, 0]);
        for (what, step, key, back) in steps {
            clock += step;
            let time = clock - back;
            if what != 1 {
                bench.push(TrackKind::Video, time, key == 0);
                frames[0] += 1;
            }
            if what != 2 {
                bench.push(TrackKind::Audio, time, false);
                frames[1] += 1;
            }
            bench.wait(step);
        }
        let clusters = bench.finish();
        check(&clusters);
        let statistics = bench.producer.statistics();
        prop_assert_eq!(statistics.frames_in, frames);
        let stored: usize = clusters.iter().map(|cluster| cluster.blocks.len()).sum();
        let dropped: u64 = statistics.frames_dropped.iter().sum();
        prop_assert_eq!(stored as u64 + dropped, frames[0] + frames[1]);
    }
}
