//! A producer whose sessions are read back from their bytes, and never acknowledged.
#![allow(dead_code, reason = "each test uses its part")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use kvs_putmedia::{
    CloseReason, Event, Frame, MediaTime, Output, Producer, ProducerConfig, SessionId, Timecodes,
    TrackFormat, TrackKind, Transmit,
};

pub const START_MS: u64 = 1_795_000_000_000;

/// Track number, milliseconds since the start, key flag.
pub type Block = (u8, u64, bool);

#[derive(Debug)]
pub struct Cluster {
    pub session: u64,
    pub tracks: usize,
    pub start_ms: u64,
    pub blocks: Vec<Block>,
    /// What each block holds.
    pub payloads: Vec<Vec<u8>>,
    /// Names of the tags before it.
    pub tags: Vec<String>,
}

impl Cluster {
    pub fn span(&self) -> (u64, u64) {
        let times = || self.blocks.iter().map(|(_, ms, _)| *ms);
        (times().min().unwrap(), times().max().unwrap())
    }
}

/// A producer whose sessions are read, and never acknowledged.
pub struct Bench {
    pub producer: Producer,
    pub now: Instant,
    pub events: Vec<Event>,
    /// The connection takes nothing.
    pub stuck: bool,
    session: Option<SessionId>,
    /// Of each session: what its timecodes count from, and its bytes.
    bodies: Vec<(u64, Vec<u8>)>,
    scale_ms: u64,
    relative: bool,
}

impl Bench {
    pub fn new(config: ProducerConfig, formats: Vec<TrackFormat>) -> Self {
        let config =
            ProducerConfig { fragment_acks: false, buffer_duration: Duration::from_secs(3600), ..config };
        let (scale_ms, relative) =
            (u64::from(config.timecode_scale_ms), config.timecodes == Timecodes::Relative);
        let mut producer = Producer::new(config);
        for format in formats {
            producer.set_format(format);
        }
        Self {
            producer,
            now: Instant::now(),
            events: Vec::new(),
            stuck: false,
            session: None,
            bodies: Vec::new(),
            scale_ms,
            relative,
        }
    }

    pub fn push(&mut self, track: TrackKind, ms: u64, random_access: bool) {
        self.push_data(track, ms, random_access, Bytes::from_static(b"frame"));
    }

    pub fn push_data(&mut self, track: TrackKind, ms: u64, random_access: bool, data: Bytes) {
        let time = MediaTime::from_millis(START_MS + ms);
        self.producer.push_frame(Frame { track, time, random_access, data }, self.now);
        self.pump();
    }

    pub fn wait(&mut self, ms: u64) {
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
                        let base = if self.relative { start.start_timestamp_ms } else { 0 };
                        self.bodies.push((base, Vec::new()));
                        self.producer.handle_connected(start.id);
                    }
                    // Its body is whole, and its end was not taken in time; otherwise something comes twice.
                    Output::Abort(id) => assert_eq!(self.session.take(), Some(id)),
                    Output::Event(event) => self.events.push(event),
                    other => panic!("there is no spool: {other:?}"),
                }
            }
            let Some(id) = self.session.filter(|_| !self.stuck) else { return };
            match self.producer.poll_transmit(id, self.now) {
                Transmit::Data(data) => self.bodies.last_mut().unwrap().1.extend(data.concat()),
                Transmit::Wait => return,
                Transmit::End => {
                    self.session = None;
                    self.producer.handle_closed(id, CloseReason::Lost("ended".to_owned()), self.now);
                }
            }
        }
    }

    pub fn finish(&mut self) -> Vec<Cluster> {
        self.producer.finish(self.now);
        for _ in 0..20_000 {
            self.wait(200);
            if self.producer.is_drained() {
                break;
            }
        }
        let read = |((base, body), session): (&(u64, Vec<u8>), u64)| {
            if body.is_empty() { Vec::new() } else { clusters(body, session, *base, self.scale_ms) }
        };
        self.bodies.iter().zip(1..).flat_map(read).collect()
    }
}

/// The layout is known: a cluster's head is 18 bytes, a block's 13.
pub fn clusters(body: &[u8], session: u64, base: u64, scale_ms: u64) -> Vec<Cluster> {
    let mut clusters: Vec<Cluster> = Vec::new();
    let mut tags = Vec::new();
    let mut at = body.windows(5).position(|window| window == [0x1F, 0x43, 0xB6, 0x75, 0xFF]).unwrap();
    let tracks = body[..at].windows(2).filter(|window| *window == [0xD7, 0x81]).count();
    while at < body.len() {
        match body[at] {
            0x1F => {
                let ms = u64::from_be_bytes(body[at + 7..at + 15].try_into().unwrap());
                clusters.push(Cluster {
                    session,
                    tracks,
                    start_ms: ms * scale_ms + base - START_MS,
                    blocks: Vec::new(),
                    payloads: Vec::new(),
                    tags: std::mem::take(&mut tags),
                });
                at += 18;
            }
            0xA3 => {
                let size = u64::from_be_bytes(body[at + 1..at + 9].try_into().unwrap()) & 0xFF_FFFF;
                let relative = i16::from_be_bytes([body[at + 10], body[at + 11]]);
                let cluster = clusters.last_mut().unwrap();
                let ms = cluster.start_ms.checked_add_signed(i64::from(relative) * scale_ms as i64).unwrap();
                cluster.payloads.push(body[at + 13..at + 9 + size as usize].to_vec());
                cluster.blocks.push((body[at + 9] & 0x7F, ms, body[at + 12] & 0x80 != 0));
                at += 9 + size as usize;
            }
            // Tags, Tag, SimpleTag, TagName, each with eight bytes of size.
            _ => {
                let size =
                    |at: usize| u64::from_be_bytes(body[at..at + 8].try_into().unwrap()) as usize % (1 << 24);
                let name = at + 12 + 10 + 10 + 2;
                tags.push(String::from_utf8_lossy(&body[name + 8..name + 8 + size(name)]).into_owned());
                at += 12 + size(at + 4);
            }
        }
    }
    clusters
}

pub fn h264() -> TrackFormat {
    TrackFormat::h264(Bytes::from_static(&[1, 66, 0, 30, 255, 224]), 320, 240)
}

pub fn aac() -> TrackFormat {
    TrackFormat::aac(Bytes::from_static(&[0x12, 0x10]), 44_100, 2)
}

/// What the service demands of every fragment.
pub fn check(clusters: &[Cluster]) {
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
