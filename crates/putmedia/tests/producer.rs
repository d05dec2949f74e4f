//! The producer in virtual time: no socket, no clock, hours in milliseconds.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use kvs_putmedia::{
    AckParser, CloseReason, Event, Frame, MediaTime, Output, Producer, ProducerConfig, SessionId,
    TrackFormat, TrackKind, Transmit,
};
use proptest::prelude::*;

const CLUSTER: [u8; 4] = [0x1F, 0x43, 0xB6, 0x75];
const EBML: [u8; 4] = [0x1A, 0x45, 0xDF, 0xA3];
const START_MS: u64 = 1_795_000_000_000;

struct Bench {
    producer: Producer,
    now: Instant,
    frames: u64,
    session: Option<SessionId>,
    body: Vec<u8>,
    events: Vec<Event>,
}

impl Bench {
    fn new(config: ProducerConfig) -> Self {
        let mut producer = Producer::new(config);
        producer.add_track(TrackKind::Video);
        producer.set_format(format(320));
        Self { producer, now: Instant::now(), frames: 0, session: None, body: Vec::new(), events: Vec::new() }
    }

    /// Seconds of 10 frames with an IDR every two seconds, sent as they come.
    fn play(&mut self, seconds: u64) {
        for _ in 0..seconds * 10 {
            let time = MediaTime::from_millis(START_MS + self.frames * 100);
            let random_access = self.frames.is_multiple_of(20);
            let data = Bytes::from(vec![0x42; 1000]);
            self.producer.push_frame(Frame { track: TrackKind::Video, time, random_access, data }, self.now);
            self.frames += 1;
            self.pump();
            self.now += Duration::from_millis(100);
            self.producer.handle_timeout(self.now);
            self.pump();
        }
    }

    fn pump(&mut self) {
        loop {
            while let Some(output) = self.producer.poll_output() {
                match output {
                    Output::Connect(start) => {
                        self.session = Some(start.id);
                        self.body.clear();
                        self.producer.handle_connected(start.id);
                    }
                    Output::Abort(id) => assert_eq!(self.session.take(), Some(id)),
                    Output::Event(event) => self.events.push(event),
                    other => panic!("there is no spool: {other:?}"),
                }
            }
            let Some(id) = self.session else { return };
            match self.producer.poll_transmit(id, self.now) {
                Transmit::Data(data) => self.body.extend(data.concat()),
                Transmit::Wait => return,
                Transmit::End => {
                    self.session = None;
                    self.producer.handle_closed(id, CloseReason::Lost("ended".to_owned()), self.now);
                }
            }
        }
    }

    fn ack(&mut self, kind: &str, timecode_ms: u64) {
        let line = format!(
            "{{\"EventType\":\"{kind}\",\"FragmentTimecode\":{timecode_ms},\"FragmentNumber\":\"1\"}}\r\n"
        );
        self.producer.handle_acks(self.session.unwrap(), line.as_bytes(), self.now);
        self.pump();
    }

    fn lose_connection(&mut self) {
        let id = self.session.take().unwrap();
        self.producer.handle_closed(id, CloseReason::Lost("reset".to_owned()), self.now);
        self.pump();
    }

    /// Timecodes of the clusters in the current session's body, in order.
    fn clusters(&self) -> Vec<u64> {
        let starts = self.body.windows(4).enumerate().filter(|(_, window)| *window == CLUSTER);
        // Id, unknown size, then Timecode: id E7, size 88, eight bytes.
        starts
            .map(|(at, _)| u64::from_be_bytes(self.body[at + 7..at + 15].try_into().unwrap()) - START_MS)
            .collect()
    }
}

fn format(width: u32) -> TrackFormat {
    TrackFormat::h264(Bytes::from(vec![1, 0x42, 0, 0x1e, 0xff, 0xe0, width as u8]), width, 240)
}

#[test]
fn one_cluster_for_each_idr_and_one_header_for_the_session() {
    let mut bench = Bench::new(ProducerConfig::default());
    bench.play(7);
    assert_eq!(bench.clusters(), [0, 2_000, 4_000, 6_000]);
    assert!(bench.body.starts_with(&EBML));
    assert_eq!(bench.body.windows(4).filter(|window| *window == EBML).count(), 1);
    assert_eq!(bench.producer.statistics().frames_in, [70, 0]);
}

#[test]
fn what_is_not_persisted_is_sent_again_whole_with_the_same_timecodes() {
    let mut bench = Bench::new(ProducerConfig::default());
    bench.play(7);
    bench.ack("RECEIVED", START_MS);
    bench.ack("PERSISTED", START_MS);
    bench.ack("RECEIVED", START_MS + 2_000);
    bench.lose_connection();
    bench.play(3);
    // Received is not persisted; the open fragment starts over too.
    assert_eq!(bench.clusters(), [2_000, 4_000, 6_000, 8_000]);
    let statistics = bench.producer.statistics();
    assert_eq!((statistics.fragments_persisted, statistics.fragments_replayed), (1, 3));
    assert_eq!(statistics.fragments_dropped, 0);
}

#[test]
fn new_codec_data_opens_a_new_session_and_loses_no_fragment() {
    let mut bench = Bench::new(ProducerConfig::default());
    bench.play(4);
    assert_eq!(bench.clusters(), [0, 2_000]);
    bench.producer.set_format(format(640));
    bench.ack("PERSISTED", START_MS);
    bench.play(1);
    bench.ack("PERSISTED", START_MS + 2_000);
    bench.play(2);
    assert_eq!(bench.clusters(), [4_000, 6_000]);
    assert_eq!(bench.producer.statistics().sessions, 2);
    assert_eq!(bench.producer.statistics().fragments_dropped, 0);
}

#[test]
fn an_outage_keeps_what_fits_and_drops_whole_fragments_oldest_first() {
    // A fragment is 20 frames of 1000 bytes: about four fit.
    let mut bench = Bench::new(ProducerConfig { storage_bytes: 90_000, ..ProducerConfig::default() });
    bench.play(1);
    bench.lose_connection();
    for _ in 0..30 {
        bench.play(1);
        if bench.session.is_some() {
            bench.lose_connection();
        }
    }
    let statistics = bench.producer.statistics();
    assert!(statistics.fragments_dropped >= 10, "{statistics:?}");
    assert!(statistics.buffered_bytes <= 110_000, "{statistics:?}");
    bench.play(60);
    let clusters = bench.clusters();
    assert!(clusters[0] >= 20_000 && clusters.is_sorted(), "{clusters:?}");
    // No hot loop: 30 losses are answered by fewer sessions than that, and not by thousands.
    assert!(bench.producer.statistics().sessions < 60);
}

#[test]
fn the_end_is_drained_when_the_last_fragment_is_persisted() {
    let mut bench = Bench::new(ProducerConfig::default());
    bench.play(3);
    bench.producer.finish(bench.now);
    bench.pump();
    let tag = b"AWS_KINESISVIDEO_END_OF_FRAGMENT";
    assert!(bench.body.windows(tag.len()).any(|window| window == tag));
    assert!(!bench.events.contains(&Event::Drained));
    bench.ack("PERSISTED", START_MS);
    bench.ack("PERSISTED", START_MS + 2_000);
    assert!(bench.events.contains(&Event::Drained));
}

#[test]
fn the_end_does_not_wait_out_the_delays_of_a_long_outage() {
    for seed in 1..=20 {
        let mut bench = Bench::new(ProducerConfig { seed, ..ProducerConfig::default() });
        bench.play(1);
        for _ in 0..60 {
            bench.lose_connection();
            while bench.session.is_none() {
                bench.now += Duration::from_millis(100);
                bench.producer.handle_timeout(bench.now);
                bench.pump();
            }
        }
        bench.lose_connection();
        bench.producer.finish(bench.now);
        bench.now += Duration::from_millis(250);
        bench.producer.handle_timeout(bench.now);
        bench.pump();
        assert!(bench.session.is_some(), "{seed}");
    }
}

proptest! {
    #[test]
    fn acknowledgements_are_read_in_any_pieces(cuts in prop::collection::vec(0..200_usize, 0..8)) {
        let text = b"{\"EventType\":\"BUFFERING\",\"FragmentTimecode\":1,\"FragmentNumber\":\"7\"}\r\n{\"EventType\":\"ERROR\",\"ErrorCode\":\"INVALID_MKV_DATA\",\"ErrorId\":4006}\n{\"EventType\":\"IDLE\"}";
        let whole = AckParser::default().push(text);
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
        cuts.push(text.len());
        cuts.sort_unstable();
        let (mut parser, mut found, mut from) = (AckParser::default(), Vec::new(), 0);
        for to in cuts {
            found.extend(parser.push(&text[from..to]));
            from = to;
        }
        prop_assert_eq!(whole.len(), 3);
        prop_assert_eq!(found, whole);
    }

    #[test]
    fn no_bytes_make_the_acknowledgement_parser_panic(data in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = AckParser::default().push(&data);
    }
}
