//! From access units to the bytes of PutMedia, and its acknowledgements: as `kvssink` uses the producer.

use std::time::{Duration, Instant};

use bytes::Bytes;
use kvs_putmedia::{Frame, MediaTime, Output, Producer, ProducerConfig, TrackFormat, TrackKind, Transmit};

use crate::h264;
use crate::region::counted_region;

const FRAMES: u64 = 300;
const START_MS: u64 = 1_800_000_000_000;
/// What has come is sent so often: `kvssink` gathers for 250 ms.
const TOGETHER: u64 = 8;
/// A fragment is persisted so many frames after its first.
const PERSISTED: u64 = h264::GROUP + 15;
/// AAC of 48 kHz: a packet of 1024 samples, at 64 kbit/s.
const AAC_BYTES: usize = 171;
const AAC_SAMPLES: u64 = 1024;

pub fn at_2_megabits() -> u64 {
    walk(2_000_000)
}

pub fn at_20_megabits() -> u64 {
    walk(20_000_000)
}

fn walk(bits: u64) -> u64 {
    let begin = Instant::now();
    let mut producer = Producer::new(ProducerConfig::default());
    let avcc = [&[1, 0x42, 0xc0, 0x1f, 0xff, 0xe1, 0, 9], &h264::SPS[..], &[1, 0, 2], &h264::PPS].concat();
    producer.set_format(TrackFormat::h264(avcc.into(), h264::WIDTH, h264::HEIGHT));
    producer.set_format(TrackFormat::aac(Bytes::from_static(&[0x11, 0x88]), 48_000, 1));
    let frames = frames(bits);
    let bytes = frames.iter().map(|(_, frame)| frame.data.len()).sum::<usize>();
    let acks: Vec<_> = (0..FRAMES).step_by(h264::GROUP as usize).map(acknowledged).collect();
    let sent = counted_region(|| {
        let (mut session, mut sent, mut number) = (None, 0, 0);
        let mut acks = acks.iter().peekable();
        for (at_ms, frame) in frames {
            let now = begin + Duration::from_millis(at_ms);
            let is_video = frame.track == TrackKind::Video;
            producer.push_frame(frame, now);
            if !is_video {
                continue;
            }
            number += 1;
            if number % TOGETHER != 0 {
                continue;
            }
            if producer.poll_timeout().is_some_and(|due| due <= now) {
                producer.handle_timeout(now);
            }
            while let Some(output) = producer.poll_output() {
                if let Output::Connect(start) = output {
                    session = Some(start.id);
                    producer.handle_connected(start.id);
                }
            }
            let Some(id) = session else { continue };
            while let Transmit::Data(data) = producer.poll_transmit(id, now) {
                sent += data.iter().map(Bytes::len).sum::<usize>();
            }
            if let Some((_, text)) = acks.next_if(|(due, _)| *due <= number) {
                producer.handle_acks(id, text, now);
            }
        }
        sent
    });
    assert!(sent > bytes * 8 / 10, "{sent} of {bytes} bytes were sent");
    assert!(producer.statistics().fragments_persisted > 2, "{:?}", producer.statistics());
    FRAMES
}

/// What the service says of the fragment that begins with this frame, and after how many frames.
fn acknowledged(frame: u64) -> (u64, Vec<u8>) {
    let timecode = START_MS + frame * 1000 / h264::RATE;
    let line = |kind: &str| {
        format!(
            "{{\"EventType\":\"{kind}\",\"FragmentTimecode\":{timecode},\"FragmentNumber\":\"913438523330\"}}\r\n"
        )
    };
    (frame + PERSISTED, ["BUFFERING", "RECEIVED", "PERSISTED"].map(line).concat().into_bytes())
}

/// Frames of both tracks in the order of their time, each with the milliseconds at which it comes.
fn frames(bits: u64) -> Vec<(u64, Frame)> {
    let mut frames = Vec::new();
    for number in 0..FRAMES {
        let slice = h264::slice(number, h264::length(number, bits));
        let data = [&(slice.len() as u32).to_be_bytes()[..], &slice].concat();
        frames.push((number * 1000 / h264::RATE, TrackKind::Video, h264::is_key(number), data));
    }
    let packets = FRAMES * 48_000 / h264::RATE / AAC_SAMPLES;
    for number in 0..packets {
        let data = (0..AAC_BYTES).map(|at| (at as u64 + number) as u8).collect();
        frames.push((number * AAC_SAMPLES * 1000 / 48_000, TrackKind::Audio, false, data));
    }
    frames.sort_by_key(|(at, ..)| *at);
    let frame = |(at, track, random_access, data)| {
        let time = MediaTime::from_millis(START_MS + at);
        (at, Frame { track, time, random_access, data: Bytes::from(data) })
    };
    frames.into_iter().map(frame).collect()
}
