//! Where fragments begin and end, read back from the bytes of the sessions.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use kvs_putmedia::{
    CloseReason, Codec, Frame, MediaTime, Output, Producer, ProducerConfig, SessionId, TrackFormat,
    TrackKind, Transmit,
};
use proptest::prelude::*;

const START_MS: u64 = 1_795_000_000_000;

/// Track number, milliseconds since the start, key flag.
type Block = (u8, u64, bool);

#[derive(Debug)]
struct Cluster {
    session: u64,
    tracks: usize,
    start_ms: u64,
    blocks: Vec<Block>,
}

impl Cluster {
    fn span(&self) -> (u64, u64) {
        let times = || self.blocks.iter().map(|(_, ms, _)| *ms);
        (times().min().unwrap(), times().max().unwrap())
    }
}

/// A producer whose sessions are read, and never acknowledged.
struct Bench {
    producer: Producer,
    now: Instant,
    session: Option<SessionId>,
    bodies: Vec<Vec<u8>>,
}

impl Bench {
    fn new(config: ProducerConfig, formats: Vec<TrackFormat>) -> Self {
        let config =
            ProducerConfig { fragment_acks: false, buffer_duration: Duration::from_secs(3600), ..config };
        let mut producer = Producer::new(config);
        for format in formats {
            producer.set_format(format);
        }
        Self { producer, now: Instant::now(), session: None, bodies: Vec::new() }
    }

    fn push(&mut self, track: TrackKind, ms: u64, random_access: bool) {
        let time = MediaTime::from_millis(START_MS + ms);
        let data = Bytes::from_static(b"frame");
        self.producer.push_frame(Frame { track, time, random_access, data }, self.now);
        self.pump();
    }

    fn wait(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
        self.producer.handle_timeout(self.now);
        self.pump();
    }

    fn pump(&mut self) {
        loop {
            while let Some(output) = self.producer.poll_output() {
                match output {
                    Output::Connect(start) => {
                        self.session = Some(start.id);
                        self.bodies.push(Vec::new());
                        self.producer.handle_connected(start.id);
                    }
                    Output::Abort(_) => panic!("nothing fails here"),
                    Output::Event(_) => {}
                    other => panic!("there is no spool: {other:?}"),
                }
            }
            let Some(id) = self.session else { return };
            match self.producer.poll_transmit(id, self.now) {
                Transmit::Data(data) => self.bodies.last_mut().unwrap().extend_from_slice(&data),
                Transmit::Wait => return,
                Transmit::End => {
                    self.session = None;
                    self.producer.handle_closed(id, CloseReason::Lost("ended".to_owned()), self.now);
                }
            }
        }
    }

    fn finish(mut self) -> (Producer, Vec<Cluster>) {
        self.producer.finish(self.now);
        for _ in 0..100 {
            self.wait(200);
        }
        let clusters =
            self.bodies.iter().zip(1..).flat_map(|(body, session)| clusters(body, session)).collect();
        (self.producer, clusters)
    }
}

/// The layout is known: a cluster's head is 18 bytes, a block's 13.
fn clusters(body: &[u8], session: u64) -> Vec<Cluster> {
    let tracks = body.windows(2).filter(|window| *window == [0xD7, 0x81]).count();
    let mut clusters: Vec<Cluster> = Vec::new();
    let mut at = body.windows(5).position(|window| window == [0x1F, 0x43, 0xB6, 0x75, 0xFF]).unwrap();
    while at < body.len() {
        match body[at] {
            0x1F => {
                let ms = u64::from_be_bytes(body[at + 7..at + 15].try_into().unwrap());
                clusters.push(Cluster { session, tracks, start_ms: ms - START_MS, blocks: Vec::new() });
                at += 18;
            }
            0xA3 => {
                let size = u64::from_be_bytes(body[at + 1..at + 9].try_into().unwrap()) & 0xFF_FFFF;
                let relative = i16::from_be_bytes([body[at + 10], body[at + 11]]);
                let cluster = clusters.last_mut().unwrap();
                let ms = cluster.start_ms.checked_add_signed(relative.into()).unwrap();
                cluster.blocks.push((body[at + 9] & 0x7F, ms, body[at + 12] & 0x80 != 0));
                at += 9 + size as usize;
            }
            _ => {
                at += 12 + u64::from_be_bytes(body[at + 4..at + 12].try_into().unwrap()) as usize % (1 << 24)
            }
        }
    }
    clusters
}

fn h264() -> TrackFormat {
    TrackFormat::h264(Bytes::from_static(&[1, 66, 0, 30, 255, 224]), 320, 240)
}

fn aac() -> TrackFormat {
    TrackFormat::aac(Bytes::from_static(&[0x12, 0x10]), 44_100, 2)
}

/// What the service demands of every fragment.
fn check(clusters: &[Cluster]) {
    let mut latest: Option<(u64, u64)> = None;
    for cluster in clusters {
        let (first, last) = cluster.span();
        assert!(first >= cluster.start_ms, "a block before its cluster: {cluster:?}");
        assert!(last - first <= 20_000, "4002: {} ms", last - first);
        let mut tracks: Vec<u8> = cluster.blocks.iter().map(|(track, _, _)| *track).collect();
        tracks.sort_unstable();
        tracks.dedup();
        assert_eq!(tracks.len(), cluster.tracks, "4011: {cluster:?}");
        if let Some((session, latest)) = latest {
            assert!(session != cluster.session || first > latest, "4004: {first} after {latest}");
        }
        latest = Some((cluster.session, last));
    }
}

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
    let (producer, clusters) = bench.finish();
    check(&clusters);
    assert_eq!(starts(&clusters), [1920, 3920, 5920, 7920, 9920]);
    for cluster in &clusters {
        let video: Vec<_> = cluster.blocks.iter().filter(|block| block.0 == 1).map(|block| block.1).collect();
        let start = cluster.start_ms;
        assert_eq!(video[..4], [start + 80, start, start + 40, start + 120], "as they were");
    }
    assert_eq!(producer.statistics().frames_dropped, [0, 0]);
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
    let (_, clusters) = bench.finish();
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
    let (producer, clusters) = bench.finish();
    check(&clusters);
    assert_eq!(clusters.len(), 6);
    assert_eq!(producer.statistics().frames_dropped, [0, 0]);
}

#[test]
fn frequent_key_frames_do_not_make_fragments_of_less_than_a_second() {
    let mut bench = Bench::new(ProducerConfig::default(), vec![h264()]);
    for n in 0..100 {
        bench.push(TrackKind::Video, n * 100, true);
    }
    let (_, clusters) = bench.finish();
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
        let (_, clusters) = bench.finish();
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
        let (producer, clusters) = bench.finish();
        check(&clusters);
        let statistics = producer.statistics();
        prop_assert_eq!(statistics.frames_in, frames);
        let stored: usize = clusters.iter().map(|cluster| cluster.blocks.len()).sum();
        let dropped: u64 = statistics.frames_dropped.iter().sum();
        prop_assert_eq!(stored as u64 + dropped, frames[0] + frames[1]);
    }
}
