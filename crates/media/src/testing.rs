//! A sender and a network for tests, in virtual time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::codec::nal::bits::Writer;
use crate::codec::{VideoCodec, VideoFormat, VideoParameters};
use crate::media_kind::PerTrack;
use crate::rtp::RtpPacket;

/// Of H.264 and Opus.
pub(crate) const RATES: PerTrack<u32> = PerTrack { video: 90_000, audio: 48_000 };

pub(crate) const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// A packet with a payload of its own.
pub(crate) fn packet(sequence: u16) -> RtpPacket {
    RtpPacket {
        ssrc: 1,
        payload_type: 102,
        sequence,
        timestamp: u32::from(sequence) * 3000,
        marker: false,
        padding: 0,
        payload: Bytes::copy_from_slice(&sequence.to_be_bytes()),
    }
}

pub(crate) fn sps(columns: u32, rows: u32) -> Vec<u8> {
    let fields = Writer::default().ue(0).ue(0).ue(2).ue(1).bits(0, 1).ue(columns - 1).ue(rows - 1);
    [vec![0x67, 66, 0xc0, 31], fields.bits(0b1100, 4).finish()].concat()
}

pub(crate) fn pps() -> Vec<u8> {
    [vec![0x68], Writer::default().ue(0).ue(0).bits(0b10, 2).finish()].concat()
}

/// Those of a decoder that is never asked.
pub(crate) fn parameters() -> VideoParameters {
    let format = VideoFormat {
        codec: VideoCodec::H264,
        profile_idc: 66,
        constraint_flags: 0,
        level_idc: 31,
        width: 320,
        height: 180,
    };
    VideoParameters { format, configuration_record: Bytes::from_static(&[1, 66, 0, 31, 0xff]) }
}

/// A slice that carries the number of its frame; `frame_num` has 4 bits.
pub(crate) fn slice(idr: bool, frame_num: u32, first_macroblock: u32, number: u64, length: usize) -> Vec<u8> {
    let (header, slice_type) = if idr { (0x65, 7) } else { (0x61, 5) };
    typed_slice((header, slice_type), frame_num, first_macroblock, number, length)
}

/// The same with this header byte and `slice_type`.
pub(crate) fn typed_slice(
    (header, slice_type): (u8, u32),
    frame_num: u32,
    first_macroblock: u32,
    number: u64,
    length: usize,
) -> Vec<u8> {
    let mut nal = vec![header];
    nal.extend(Writer::default().ue(first_macroblock).ue(slice_type).ue(0).bits(frame_num, 4).finish());
    nal.extend(format!("<{number}>").bytes());
    nal.resize(nal.len().max(length), 0xaa);
    nal
}

/// The number in a slice of [`slice()`].
pub(crate) fn number(data: &[u8]) -> u64 {
    let text: String = data.iter().map(|byte| char::from(*byte)).collect();
    let inside = text.split_once('<').unwrap().1.split_once('>').unwrap().0;
    inside.parse().unwrap()
}

/// An H.264 sender of 30 frames a second.
pub(crate) struct Encoder {
    pub(crate) ssrc: u32,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) number: u64,
    pub(crate) size: (u32, u32),
    /// Bytes of a frame and of a payload.
    pub(crate) length: usize,
    pub(crate) payload: usize,
    pub(crate) frame_num: u32,
}

impl Encoder {
    pub(crate) fn new() -> Self {
        Self {
            ssrc: 0xcafe,
            // Both counters wrap soon.
            sequence: 65_500,
            timestamp: u32::MAX - 30_000,
            number: 0,
            size: (80, 45),
            length: 3000,
            payload: 700,
            frame_num: 0,
        }
    }

    pub(crate) fn packet(&mut self, payload: Vec<u8>, marker: bool) -> RtpPacket {
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        RtpPacket {
            ssrc: self.ssrc,
            payload_type: 102,
            sequence,
            timestamp: self.timestamp,
            marker,
            padding: 0,
            payload: Bytes::from(payload),
        }
    }

    /// Only padding, with the timestamp of the frame before, as libwebrtc sends it.
    pub(crate) fn probe(&mut self) -> RtpPacket {
        self.timestamp = self.timestamp.wrapping_sub(3000);
        let packet = RtpPacket { padding: 255, ..self.packet(Vec::new(), false) };
        self.timestamp = self.timestamp.wrapping_add(3000);
        packet
    }

    /// STAP-A of SPS and PPS in front of an IDR; slices in FU-A.
    pub(crate) fn frame(&mut self, idr: bool) -> Vec<RtpPacket> {
        self.frame_num = if idr { 0 } else { (self.frame_num + 1) % 16 };
        let mut packets = Vec::new();
        if idr {
            let mut aggregate = vec![0x78];
            for unit in [sps(self.size.0, self.size.1), pps()] {
                aggregate.extend((unit.len() as u16).to_be_bytes());
                aggregate.extend(unit);
            }
            packets.push(self.packet(aggregate, false));
        }
        let nal = slice(idr, self.frame_num, 0, self.number, self.length);
        let chunks: Vec<_> = nal[1..].chunks(self.payload).collect();
        for (at, chunk) in chunks.iter().enumerate() {
            let last = at + 1 == chunks.len();
            let flags = if at == 0 { 0x80 } else { 0 } | if last { 0x40 } else { 0 };
            let payload = [&[nal[0] & 0x60 | 28, flags | nal[0] & 0x1f][..], chunk].concat();
            packets.push(self.packet(payload, last));
        }
        self.number += 1;
        self.timestamp = self.timestamp.wrapping_add(3000);
        packets
    }
}

/// What a path does.
#[derive(Clone, Copy, Default)]
pub(crate) struct Path {
    /// The share that is lost,
    pub(crate) drop: f64,
    /// so many in a row on average (Gilbert's model); 0: each for itself.
    pub(crate) burst: u32,
    pub(crate) duplicate: f64,
    pub(crate) delay: Duration,
    pub(crate) jitter: Duration,
}

/// One direction of a path.
pub(crate) struct Network<T> {
    path: Path,
    random: StdRng,
    queue: BTreeMap<(Instant, u64), T>,
    count: u64,
    in_burst: bool,
    pub(crate) dropped: u64,
}

impl<T: Clone> Network<T> {
    pub(crate) fn new(seed: u64, path: Path) -> Self {
        let random = StdRng::seed_from_u64(seed);
        Self { path, random, queue: BTreeMap::new(), count: 0, in_burst: false, dropped: 0 }
    }

    fn drops(&mut self) -> bool {
        let Path { drop, burst, .. } = self.path;
        if burst == 0 {
            return self.random.random_bool(drop);
        }
        let ends = 1.0 / f64::from(burst);
        let chance = if self.in_burst { 1.0 - ends } else { ends * drop / (1.0 - drop) };
        self.in_burst = self.random.random_bool(chance);
        self.in_burst
    }

    pub(crate) fn send(&mut self, item: T, now: Instant) {
        if self.drops() {
            self.dropped += 1;
            return;
        }
        for _ in 0..if self.random.random_bool(self.path.duplicate) { 2 } else { 1 } {
            self.count += 1;
            let late = self.path.delay + self.path.jitter.mul_f64(self.random.random::<f64>());
            self.queue.insert((now + late, self.count), item.clone());
        }
    }

    /// As [`Self::send`], and what is lost is not counted: nothing that was sent for the first time.
    pub(crate) fn send_again(&mut self, item: T, now: Instant) {
        let dropped = self.dropped;
        self.send(item, now);
        self.dropped = dropped;
    }

    pub(crate) fn receive(&mut self, now: Instant) -> Option<T> {
        let entry = self.queue.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.queue.first_key_value().map(|((due, _), _)| *due)
    }
}
