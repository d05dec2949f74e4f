use std::time::UNIX_EPOCH;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::testing::{RATES, ms};

struct Bench {
    receiver: AudioReceiver,
    clock: SenderClock,
    start: Instant,
    wall: SystemTime,
}

impl Bench {
    fn new(config: AudioConfig) -> Self {
        Self {
            receiver: AudioReceiver::new(config),
            clock: SenderClock::new(Duration::ZERO, RATES),
            start: Instant::now(),
            wall: UNIX_EPOCH + Duration::from_secs(1_900_000_000),
        }
    }

    fn send(&mut self, packet: RtpPacket, at: Duration) {
        self.receiver.handle_rtp(packet, self.start + at, self.wall + at, &mut self.clock);
    }

    fn outputs(&mut self, at: Duration) -> Vec<AudioOutput> {
        self.receiver.handle_timeout(self.start + at, &mut self.clock);
        std::iter::from_fn(|| self.receiver.poll_output()).collect()
    }
}

/// The `number`th packet of 20 ms, all counters about to wrap.
fn packet(number: u32) -> RtpPacket {
    RtpPacket {
        ssrc: 5,
        payload_type: 111,
        sequence: 65_530u16.wrapping_add(number as u16),
        timestamp: (u32::MAX - 4000).wrapping_add(number * 960),
        marker: false,
        padding: 0,
        payload: Bytes::from([&[0xf8][..], &number.to_be_bytes()].concat()),
    }
}

/// P(number), G(ms), L(count)
fn short(outputs: &[AudioOutput]) -> Vec<String> {
    outputs
        .iter()
        .map(|output| match output {
            AudioOutput::Packet(packet) => {
                format!("P{}", u32::from_be_bytes(packet.data[1..5].try_into().unwrap()))
            }
            AudioOutput::Gap { duration, .. } => format!("G{}", duration.as_micros().div_ceil(1000)),
            AudioOutput::Lost(loss) => format!("L{}", loss.count),
            AudioOutput::Nack { sequences, .. } => format!("N{}", sequences.len()),
            AudioOutput::Malformed(packet) => packet.to_string(),
        })
        .collect()
}

#[test]
fn packets_pass_in_order_with_their_duration() {
    let mut bench = Bench::new(AudioConfig::default());
    let mut packets = Vec::new();
    for number in [0, 1, 3, 2, 4, 4, 5] {
        bench.send(packet(number), ms(u64::from(number) * 20));
    }
    for output in bench.outputs(ms(110)) {
        let AudioOutput::Packet(packet) = output else { panic!("{output:?}") };
        packets.push(packet);
    }
    assert_eq!(packets.len(), 6);
    for pair in packets.windows(2) {
        assert_eq!(pair[1].rtp_timestamp - pair[0].rtp_timestamp, 960);
        let step = pair[1].capture_time.duration_since(pair[0].capture_time).unwrap();
        assert!((19_900..20_100).contains(&step.as_micros()), "{step:?}");
        assert_eq!(pair[0].duration, ms(20));
    }
    assert_eq!(bench.receiver.stats().packets_duplicated, 1);
}

#[test]
fn a_lost_packet_is_a_gap_of_its_length() {
    let mut bench = Bench::new(AudioConfig::default());
    for number in [0, 1, 4] {
        bench.send(packet(number), ms(u64::from(number) * 20));
    }
    assert_eq!(short(&bench.outputs(ms(90))), ["P0", "P1"]);
    assert_eq!(short(&bench.outputs(ms(200))), ["L2", "G40", "P4"]);
    assert_eq!(bench.receiver.stats().packets_lost, 2);
}

#[test]
fn silence_of_the_sender_is_a_gap_and_no_loss() {
    let mut bench = Bench::new(AudioConfig::default());
    bench.send(packet(0), ms(0));
    // DTX: the next packet follows in number, 400 ms later in time.
    bench.send(RtpPacket { timestamp: packet(20).timestamp, ..packet(1) }, ms(400));
    assert_eq!(short(&bench.outputs(ms(420))), ["P0", "G380", "P1"]);
    assert_eq!(bench.receiver.stats().packets_lost, 0);
}

#[test]
fn a_long_silence_is_told_while_it_lasts() {
    let mut bench = Bench::new(AudioConfig::default());
    bench.send(packet(0), ms(0));
    let mut got = Vec::new();
    let mut covered = bench.wall;
    bench.outputs(ms(0));
    while let Some(timeout) = bench.receiver.poll_timeout().filter(|it| *it < bench.start + ms(9000)) {
        for output in bench.outputs(timeout - bench.start) {
            match &output {
                AudioOutput::Packet(packet) => covered = packet.capture_time + packet.duration,
                AudioOutput::Gap { at, duration } => {
                    assert_eq!(*at, covered);
                    covered = *at + *duration;
                    let now = bench.wall + (timeout - bench.start);
                    assert!(
                        covered <= now - SenderClock::BOUND - ms(750),
                        "up to where nothing can come any more"
                    );
                }
                _ => {}
            }
            got.push(output);
        }
    }
    assert!(got.len() > 4, "{:?}", short(&got));
    bench.send(RtpPacket { timestamp: packet(450).timestamp, ..packet(1) }, ms(9000));
    let rest = bench.outputs(ms(9000));
    let [AudioOutput::Gap { at, duration }, AudioOutput::Packet(next)] = &rest[..] else {
        panic!("{rest:?}")
    };
    assert_eq!(*at, covered);
    assert_eq!(*at + *duration, next.capture_time, "no hole and no overlap");
}

#[test]
fn what_is_no_opus_is_named() {
    let mut bench = Bench::new(AudioConfig::default());
    bench.send(packet(0), ms(0));
    bench.send(RtpPacket { payload: Bytes::from_static(&[0xfb, 0]), ..packet(1) }, ms(20));
    bench.send(packet(2), ms(40));
    let expected = ["SSRC 0x00000005 sequence 65531: 2 bytes are not an Opus packet", "P0", "G20", "P2"];
    assert_eq!(short(&bench.outputs(ms(60))), expected);
}

#[test]
fn can_ask_again_where_that_was_negotiated() {
    let reorder = ReorderConfig { nack: true, ..ReorderConfig::audio() };
    let mut bench = Bench::new(AudioConfig { reorder, ..AudioConfig::default() });
    for number in [0, 1, 3] {
        bench.send(packet(number), ms(u64::from(number) * 20));
    }
    assert_eq!(short(&bench.outputs(ms(75))), ["P0", "P1", "N1"]);
    bench.send(packet(2), ms(80));
    assert_eq!(short(&bench.outputs(ms(80))), ["P2", "P3"]);
    assert_eq!(bench.receiver.stats().packets_repaired, 1);
}

proptest! {
    #[test]
    fn never_panics(packets in prop::collection::vec(
        (0u32..3, any::<u16>(), 0u16..20, any::<u32>(), prop::collection::vec(any::<u8>(), 0..6), 0u64..3000),
        0..100,
    )) {
        let mut bench = Bench::new(AudioConfig::default());
        let mut at = ms(0);
        for (ssrc, random, near, far, payload, pause) in packets {
            at += ms(pause);
            let sequence = if random % 16 == 0 { random } else { near };
            let timestamp = if random % 16 == 1 { far } else { u32::from(near) * 960 };
            bench.send(RtpPacket { ssrc: ssrc / 2, payload_type: 111, sequence, timestamp, marker: false, padding: 0, payload: payload.into() }, at);
            for output in bench.outputs(at) {
                if let AudioOutput::Packet(packet) = output {
                    let now = bench.wall + at;
                    prop_assert!(packet.capture_time <= now + SenderClock::AHEAD);
                }
            }
            prop_assert!(bench.receiver.poll_timeout().is_none_or(|timeout| timeout > bench.start + at));
        }
    }
}
