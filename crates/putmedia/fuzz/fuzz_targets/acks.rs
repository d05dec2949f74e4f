#![no_main]
//! Any bytes as acknowledgements, to the parser in any pieces and to a producer that waits for them:
//! `[length of the pieces, bytes …]`.

use std::time::{Duration, Instant};

use bytes::Bytes;
use kvs_putmedia::{
    AckParser, Frame, MediaTime, Output, Producer, ProducerConfig, TrackFormat, TrackKind, Transmit,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [length, bytes @ ..] = data else { return };
    let piece = usize::from(*length) + 1;
    let whole = AckParser::default().push(bytes);
    let mut parser = AckParser::default();
    let pieces: Vec<_> = bytes.chunks(piece).flat_map(|bytes| parser.push(bytes)).collect();
    assert_eq!(pieces, whole);

    // Three fragments with the timecodes 1, 2 and 3 s: what is said may well be about them.
    let mut producer = Producer::new(ProducerConfig::default());
    let mut now = Instant::now();
    producer.set_format(TrackFormat::h264(Bytes::from_static(&[1, 0x42, 0, 0x1e]), 16, 16));
    for second in 1..=3 {
        let time = MediaTime::from_millis(second * 1000);
        let data = Bytes::from_static(b"frame");
        producer.push_frame(Frame { track: TrackKind::Video, time, random_access: true, data }, now);
    }
    let mut session = None;
    for bytes in bytes.chunks(piece) {
        while let Some(output) = producer.poll_output() {
            match output {
                Output::Connect(start) => session = Some(start.id),
                Output::Abort(_) => session = None,
                _ => {}
            }
        }
        if let Some(id) = session {
            producer.handle_connected(id);
            while let Transmit::Data(_) = producer.poll_transmit(id, now) {}
            producer.handle_acks(id, bytes, now);
        }
        now += Duration::from_millis(300);
        producer.handle_timeout(now);
        let statistics = producer.statistics();
        let kept = producer.statistics().buffered_frames[0];
        assert_eq!(statistics.frames_persisted[0] + statistics.frames_dropped[0] + kept, 3);
    }
});
