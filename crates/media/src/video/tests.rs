use std::collections::HashMap;
use std::time::UNIX_EPOCH;

use proptest::prelude::*;

use super::*;
use crate::codec::{NalError, PayloadError, VideoParameters};
use crate::keyframe::KeyFrameReason;
use crate::testing::{Encoder, Network, Path, RATES, ms, number, pps, slice, sps, typed_slice};

/// Sources whose key frames are no IDRs.
mod no_idr;

struct Bench {
    receiver: VideoReceiver,
    clock: SenderClock,
    start: Instant,
    wall: SystemTime,
}

impl Bench {
    fn new() -> Self {
        Self::with(VideoConfig::default())
    }

    fn with(config: VideoConfig) -> Self {
        Self {
            receiver: VideoReceiver::new(config),
            clock: SenderClock::new(Duration::ZERO, RATES),
            start: Instant::now(),
            wall: UNIX_EPOCH + Duration::from_secs(1_900_000_000),
        }
    }

    fn send(&mut self, packet: RtpPacket, at: Duration) {
        self.receiver.handle_rtp(packet, self.start + at, self.wall + at, &mut self.clock);
    }

    fn outputs(&mut self, at: Duration) -> Vec<VideoOutput> {
        self.receiver.handle_timeout(self.start + at, &mut self.clock);
        std::iter::from_fn(|| self.receiver.poll_output()).collect()
    }

    /// Sends packets and gives the numbers of the access units that come of it, some time later.
    fn frames(&mut self, packets: impl IntoIterator<Item = RtpPacket>, at: Duration) -> Vec<u64> {
        for packet in packets {
            self.send(packet, at);
        }
        numbers(&self.outputs(at + ms(15)))
    }
}

fn units(outputs: &[VideoOutput]) -> impl Iterator<Item = &AccessUnit> {
    outputs.iter().filter_map(|output| match output {
        VideoOutput::AccessUnit(unit) => Some(unit),
        _ => None,
    })
}

fn numbers(outputs: &[VideoOutput]) -> Vec<u64> {
    units(outputs).map(|unit| number(&unit.data)).collect()
}

fn has(outputs: &[VideoOutput], reason: KeyFrameReason) -> bool {
    outputs.contains(&VideoOutput::RequestKeyFrame(reason))
}

fn with_lengths(units: &[Vec<u8>]) -> Vec<u8> {
    units.iter().flat_map(|unit| [&(unit.len() as u32).to_be_bytes()[..], unit].concat()).collect()
}

/// ISO/IEC 14496-15, section 5.3.3.1.
fn record(sps: &[u8], pps: &[u8]) -> Vec<u8> {
    let (sps_length, pps_length) = ((sps.len() as u16).to_be_bytes(), (pps.len() as u16).to_be_bytes());
    [&[1, sps[1], sps[2], sps[3], 0xff, 0xe1][..], &sps_length, sps, &[1], &pps_length, pps].concat()
}

#[test]
fn nothing_before_the_first_idr_which_is_asked_for() {
    let (mut bench, mut encoder) = (Bench::new(), Encoder::new());
    encoder.frame(true);
    for packet in encoder.frame(false) {
        bench.send(packet, ms(0));
    }
    let outputs = bench.outputs(ms(15));
    assert!(units(&outputs).next().is_none() && has(&outputs, KeyFrameReason::First));
    // It was asked for after 15 ms.
    assert_eq!(bench.receiver.poll_timeout(), Some(bench.start + ms(215)));
    assert_eq!(bench.frames(encoder.frame(true), ms(33)), [2]);
    assert_eq!(bench.frames(encoder.frame(false), ms(66)), [3]);
    assert_eq!(bench.receiver.stats().frames_dropped, 0, "no one was promised what came before");
}

#[test]
fn an_idr_is_its_parameter_sets_and_slices_and_tells_its_format() {
    let (mut bench, mut encoder) = (Bench::new(), Encoder::new());
    for packet in encoder.frame(true) {
        bench.send(packet, ms(0));
    }
    let outputs = bench.outputs(ms(15));
    let format = VideoFormat {
        codec: VideoCodec::H264,
        profile_idc: 66,
        constraint_flags: 0xc0,
        level_idc: 31,
        width: 1280,
        height: 720,
    };
    let unit = units(&outputs).next().unwrap();
    assert_eq!(unit.data, with_lengths(&[slice(true, 0, 0, 0, 3000)]));
    let configuration_record = record(&sps(80, 45), &pps()).into();
    assert_eq!(unit.parameters, Some(VideoParameters { format, configuration_record }));
    assert!(unit.is_idr());
    assert_eq!(unit.capture_time, bench.wall);
    let at = outputs.iter().position(|output| *output == VideoOutput::FormatChanged(format)).unwrap();
    assert!(matches!(outputs[at + 1], VideoOutput::AccessUnit(_)));

    for packet in encoder.frame(false) {
        bench.send(packet, ms(34));
    }
    let outputs = bench.outputs(ms(49));
    let unit = units(&outputs).next().unwrap();
    assert_eq!(unit.data, with_lengths(&[slice(false, 1, 0, 1, 3000)]));
    assert_eq!((unit.is_idr(), &unit.parameters), (false, &None));
    assert_eq!(unit.capture_time.duration_since(bench.wall).unwrap().as_micros(), 33_333);
}

#[test]
fn a_new_size_is_told_at_its_idr() {
    let (mut bench, mut encoder) = (Bench::new(), Encoder::new());
    let mut sizes = Vec::new();
    for frame in 0..12 {
        let idr = frame % 3 == 0;
        if idr {
            encoder.size = [(40, 23), (60, 34), (60, 34), (80, 45)][frame / 3];
        }
        let at = ms(33 * frame as u64);
        for packet in encoder.frame(idr) {
            bench.send(packet, at);
        }
        for output in bench.outputs(at + ms(15)) {
            match output {
                VideoOutput::FormatChanged(format) => sizes.push((frame, format.width, format.height)),
                VideoOutput::AccessUnit(unit) => assert_eq!(unit.is_idr(), idr),
                _ => {}
            }
        }
    }
    assert_eq!(sizes, [(0, 640, 368), (3, 960, 544), (9, 1280, 720)]);
}

#[test]
fn parameter_sets_of_their_own_timestamp_or_marker_are_put_in_front() {
    let (mut bench, mut encoder) = (Bench::new(), Encoder::new());
    // What C SDK masters do: each unit in a packet of its own; here even with markers.
    let packets = vec![
        encoder.packet(sps(80, 45), true),
        encoder.packet(pps(), true),
        encoder.packet(slice(true, 0, 0, 7, 50), true),
    ];
    assert_eq!(bench.frames(packets, ms(0)), [7]);
    encoder.timestamp += 3000;
    let early = encoder.packet(sps(60, 34), false);
    encoder.timestamp += 90;
    let slices = encoder.packet(slice(true, 0, 0, 8, 50), true);
    bench.send(early, ms(33));
    bench.send(slices, ms(33));
    let outputs = bench.outputs(ms(48));
    let unit = units(&outputs).next().unwrap();
    assert_eq!(unit.data, with_lengths(&[slice(true, 0, 0, 8, 50)]));
    let parameters = unit.parameters.as_ref().unwrap();
    assert_eq!(parameters.configuration_record, record(&sps(60, 34), &pps()));
    assert_eq!(parameters.format.width, 960);
}

#[test]
fn an_idr_without_parameter_sets_is_of_no_use() {
    let (mut bench, mut encoder) = (Bench::new(), Encoder::new());
    let packet = encoder.packet(slice(true, 0, 0, 0, 50), true);
    assert_eq!(bench.frames([packet], ms(0)), Vec::<u64>::new());
    assert_eq!(bench.receiver.stats().frames_received, 0);
}

#[test]
fn a_missing_marker_is_made_good_by_the_next_timestamp() {
    let (mut bench, mut encoder) = (Bench::new(), Encoder::new());
    let unmarked = |packets: Vec<RtpPacket>| packets.into_iter().map(|it| RtpPacket { marker: false, ..it });
    assert_eq!(bench.frames(unmarked(encoder.frame(true)), ms(0)), []);
    assert_eq!(bench.frames(unmarked(encoder.frame(false)), ms(33)), [0]);
    assert_eq!(bench.frames(encoder.frame(false), ms(66)), [1, 2]);
}

#[test]
fn a_marker_on_every_packet_is_not_believed_twice() {
    let (mut bench, mut encoder) = (Bench::new(), Encoder::new());
    let picture = |encoder: &mut Encoder, idr: bool, frame_num| {
        let number = encoder.number;
        let mut packets = Vec::new();
        if idr {
            packets.push(encoder.packet(sps(80, 45), true));
            packets.push(encoder.packet(pps(), true));
        }
        packets.push(encoder.packet(slice(idr, frame_num, 0, number, 50), true));
        packets.push(encoder.packet(slice(idr, frame_num, 1800, number, 50), true));
        encoder.timestamp = encoder.timestamp.wrapping_add(3000);
        encoder.number += 1;
        packets
    };
    // The first comes in half, which shows what the markers are worth; from then on only timestamps count.
    let first = picture(&mut encoder, true, 0);
    for packet in first {
        bench.send(packet, ms(0));
    }
    let outputs = bench.outputs(ms(15));
    assert!(
        outputs
            .iter()
            .any(|it| matches!(it, VideoOutput::Incomplete { reason: AccessUnitError::Marker, .. }))
    );
    assert!(has(&bench.outputs(ms(2000)), KeyFrameReason::Loss));
    let mut got = Vec::new();
    for frame in 0..4 {
        let packets = picture(&mut encoder, frame == 0, frame);
        for packet in packets {
            bench.send(packet, ms(2000));
        }
        got.extend(bench.outputs(ms(2015)));
    }
    // Two seconds passed that the timestamps do not tell: what that means is waited for.
    got.extend(bench.outputs(ms(2500)));
    assert_eq!(numbers(&got), [1, 2, 3]);
    let slices = with_lengths(&[slice(false, 1, 0, 2, 50), slice(false, 1, 1800, 2, 50)]);
    assert_eq!(units(&got).nth(1).unwrap().data, slices);
}

/// Feeds frames with one packet missing for good, and gives the numbers of what came out.
fn without(frame: usize, packet: usize, frames: usize, idr_again: usize) -> (Vec<u64>, Bench) {
    let (mut bench, mut encoder) = (Bench::new(), Encoder::new());
    let mut got = Vec::new();
    let mut asked = Vec::new();
    for at in 0..frames {
        let mut packets = encoder.frame(at == 0 || at == idr_again);
        if at == frame {
            packets.remove(packet);
        }
        let time = ms(33 * at as u64);
        for packet in packets {
            bench.send(packet, time);
        }
        // The second look is after the longest wait for this packet.
        for time in [time + ms(15), time + ms(32)] {
            let outputs = bench.outputs(time);
            got.extend(numbers(&outputs));
            asked.extend(has(&outputs, KeyFrameReason::Loss).then_some(time));
        }
    }
    let outputs = bench.outputs(ms(33 * frames as u64 + 1000));
    got.extend(numbers(&outputs));
    asked.extend(has(&outputs, KeyFrameReason::Loss).then_some(ms(0)));
    if frame < idr_again {
        assert!(!asked.is_empty(), "a key frame is asked for");
    }
    (got, bench)
}

#[test]
fn after_a_loss_nothing_until_the_next_idr() {
    // Frames have 5 packets, the IDR 6. Whichever packet of frame 3 is lost, all up to the IDR go.
    for packet in 0..5 {
        let (got, bench) = without(3, packet, 60, 50);
        let expected: Vec<u64> = (0..3).chain(50..60).collect();
        assert_eq!(got, expected, "packet {packet}");
        let stats = bench.receiver.stats();
        assert_eq!((stats.packets_lost, stats.frames_dropped), (1, 47), "packet {packet}");
        assert!(stats.nack_count >= 2);
    }
}

#[test]
fn an_idr_that_misses_a_packet_is_no_idr() {
    for packet in 0..6 {
        let (got, _) = without(10, packet, 60, 10);
        assert_eq!(got, Vec::from_iter(0..10), "packet {packet}");
    }
}

#[test]
fn lost_padding_costs_nothing() {
    let (mut bench, mut encoder) = (Bench::new(), Encoder::new());
    let mut got = Vec::new();
    let mut lost = 0;
    for frame in 0..90 {
        let at = ms(33 * frame);
        for packet in encoder.frame(frame == 0) {
            bench.send(packet, at);
        }
        let probe = encoder.probe();
        if frame % 20 == 19 {
            lost += 1;
        } else {
            bench.send(probe, at);
        }
        got.extend(numbers(&bench.outputs(at + ms(16))));
    }
    got.extend(numbers(&bench.outputs(ms(5000))));
    assert_eq!(got, Vec::from_iter(0..90));
    let stats = bench.receiver.stats();
    assert_eq!((stats.packets_lost, stats.packets_padding, stats.frames_dropped), (lost, 90 - lost, 0));
}

#[test]
fn a_malformed_packet_is_named_and_costs_its_picture() {
    let (mut bench, mut encoder) = (Bench::new(), Encoder::new());
    assert_eq!(bench.frames(encoder.frame(true), ms(0)), [0]);
    let bad = encoder.packet(vec![0x78, 0, 99, 1], true);
    let sequence = bad.sequence;
    bench.send(bad, ms(33));
    let outputs = bench.outputs(ms(48));
    let error =
        PayloadError::Nal { codec: VideoCodec::H264, error: NalError::Aggregate { unit: 99, available: 1 } };
    let malformed = MalformedPacket { ssrc: 0xcafe, sequence, error };
    assert!(outputs.contains(&VideoOutput::Malformed(malformed)), "{outputs:?}");
    assert_eq!(
        malformed.to_string(),
        format!("SSRC 0x0000cafe sequence {sequence}: H.264: aggregated unit of 99 bytes with 1 left")
    );
    assert_eq!(bench.receiver.stats().packets_malformed, 1);
    encoder.timestamp = encoder.timestamp.wrapping_add(3000);
    assert_eq!(bench.frames(encoder.frame(false), ms(66)), []);
    assert_eq!(bench.frames(encoder.frame(true), ms(100)), [2]);
}

#[test]
fn who_comes_in_the_middle_of_a_picture_finds_no_packet_malformed() {
    let (mut bench, mut encoder) = (Bench::new(), Encoder::new());
    // Continuation and end of an IDR, and a slice behind it: none of it can be used, and none of it is wrong.
    bench.send(encoder.packet(vec![0x7c, 0x05, 1], false), ms(0));
    bench.send(encoder.packet(vec![0x7c, 0x45, 2], false), ms(1));
    bench.send(encoder.packet(vec![0x65, 3], true), ms(2));
    let outputs = bench.outputs(ms(20));
    assert!(!outputs.iter().any(|output| matches!(output, VideoOutput::AccessUnit(_))), "{outputs:?}");
    assert_eq!(bench.receiver.stats().packets_malformed, 0, "{outputs:?}");
    encoder.timestamp = encoder.timestamp.wrapping_add(3000);
    assert_eq!(bench.frames(encoder.frame(true), ms(33)), [0]);
    // In step, it is wrong.
    bench.send(encoder.packet(vec![0x7c, 0x05, 1], true), ms(66));
    bench.outputs(ms(80));
    assert_eq!(bench.receiver.stats().packets_malformed, 1);
}

#[test]
fn a_new_ssrc_takes_over_once_it_is_proved() {
    let (mut bench, mut encoder) = (Bench::new(), Encoder::new());
    assert_eq!(bench.frames(encoder.frame(true), ms(0)), [0]);
    let mut other = Encoder { ssrc: 0xbeef, sequence: 9, timestamp: 5, number: 100, ..Encoder::new() };
    let stray = other.packet(vec![0x61, 1, 2], true);
    bench.send(stray, ms(20));
    assert_eq!(bench.frames(encoder.frame(false), ms(33)), [1]);
    assert_eq!(bench.receiver.stats().packets_discarded, 1);
    let mut got = bench.frames(other.frame(true), ms(66));
    got.extend(bench.frames(other.frame(false), ms(100)));
    assert_eq!(got, [100, 101]);
    // What trails of the old one is nothing.
    assert_eq!(bench.frames(encoder.frame(false).into_iter().take(2), ms(110)), []);
    assert_eq!(bench.frames(other.frame(false), ms(133)), [102]);
    assert_eq!((bench.receiver.ssrc(), bench.receiver.stats().restarts), (Some(0xbeef), 1));
}

#[test]
fn a_foreign_payload_type_is_no_gap_and_no_video() {
    let config = VideoConfig { payload_types: [(102, Vec::new())].into(), ..VideoConfig::default() };
    let (mut bench, mut encoder) = (Bench::with(config), Encoder::new());
    assert_eq!(bench.frames(encoder.frame(true), ms(0)), [0]);
    let foreign = RtpPacket { payload_type: 96, ..encoder.packet(vec![0x61; 20], true) };
    bench.send(foreign, ms(20));
    assert_eq!(bench.frames(encoder.frame(false), ms(33)), [1]);
}

#[test]
fn capture_times_do_not_depend_on_delay_repair_or_order() {
    let (mut bench, mut encoder) = (Bench::new(), Encoder::new());
    let mut last: Option<AccessUnit> = None;
    for frame in 0..200u64 {
        let at = ms(frame * 100 / 3);
        let mut packets = encoder.frame(frame == 0);
        packets.reverse();
        for packet in packets {
            bench.send(packet, at + ms(frame % 5));
        }
        for unit in units(&bench.outputs(at + ms(20))) {
            if let Some(last) = last.replace(unit.clone()) {
                assert_eq!(unit.rtp_timestamp - last.rtp_timestamp, 3000);
                let step = unit.capture_time.duration_since(last.capture_time).unwrap();
                assert!((33_000..33_700).contains(&step.as_micros()), "{step:?}");
            }
        }
    }
    assert_eq!(number(&last.unwrap().data), 199);
}

/// 20 s over a bad path, with a sender that answers NACK and PLI.
fn run(seed: u64, path: Path) -> (Vec<u64>, HashMap<u64, u64>, InboundStats, u64) {
    const FRAMES: u64 = 600;
    enum Feedback {
        Nack(Vec<u16>),
        Pli,
    }
    let (mut bench, mut encoder) = (Bench::new(), Encoder::new());
    let mut out = Network::new(seed, path);
    let mut back: Network<std::sync::Arc<Feedback>> = Network::new(!seed, Path { duplicate: 0.0, ..path });
    let mut sent = HashMap::new();
    let mut got = Vec::new();
    let mut hashes = HashMap::new();
    let (mut frame, mut pli) = (0, true);
    let (mut now, start) = (bench.start, bench.start);
    loop {
        let next = (frame < FRAMES).then(|| start + Duration::from_micros(frame * 33_333));
        // A second to repair what came last.
        let alive = now < start + Duration::from_millis(FRAMES * 100 / 3 + 1000);
        let timeout = bench.receiver.poll_timeout().filter(|_| alive);
        let Some(due) = [next, out.next(), back.next(), timeout].into_iter().flatten().min() else { break };
        now = now.max(due);
        let at = now - start;
        if next.is_some_and(|next| next <= now) {
            let mut packets = encoder.frame(std::mem::take(&mut pli));
            if frame % 3 == 0 {
                packets.push(encoder.probe());
            }
            for packet in packets {
                sent.insert(packet.sequence, packet.clone());
                out.send(packet, now);
            }
            frame += 1;
        }
        while let Some(feedback) = back.receive(now) {
            match &*feedback {
                Feedback::Pli => pli = true,
                Feedback::Nack(sequences) => {
                    for sequence in sequences {
                        // libwebrtc does not repeat padding.
                        if let Some(packet) = sent.get(sequence).filter(|it| !it.payload.is_empty()) {
                            out.send(packet.clone(), now);
                        }
                    }
                }
            }
        }
        while let Some(packet) = out.receive(now) {
            bench.send(packet, at);
        }
        for output in bench.outputs(at) {
            match output {
                VideoOutput::AccessUnit(unit) => {
                    let number = number(&unit.data);
                    got.push(number);
                    hashes.insert(number, unit.data.len() as u64);
                }
                VideoOutput::Nack { sequences, .. } => back.send(Feedback::Nack(sequences).into(), now),
                VideoOutput::RequestKeyFrame(_) => back.send(Feedback::Pli.into(), now),
                _ => {}
            }
        }
    }
    let stats = bench.receiver.stats().clone();
    (got, hashes, stats, out.dropped)
}

#[test]
fn no_frame_is_lost_where_repair_is_possible() {
    for (seed, drop, delay, jitter, duplicate) in
        [(1, 0.0, 20, 0, 0.0), (2, 0.03, 1, 0, 0.2), (3, 0.03, 40, 10, 0.2), (4, 0.10, 20, 10, 0.2)]
    {
        let path = Path { drop, duplicate, delay: ms(delay), jitter: ms(jitter), ..Path::default() };
        let (got, lengths, stats, dropped) = run(seed, path);
        let expected: Vec<u64> = (got[0]..got[0] + got.len() as u64).collect();
        assert_eq!(got, expected, "seed {seed}");
        assert!(got[0] == 0 && got.len() >= 599, "seed {seed}: {} frames from {}", got.len(), got[0]);
        assert!(lengths.values().all(|length| *length >= 3000));
        assert_eq!(stats.frames_dropped, 0, "seed {seed}");
        assert!((8..=25).contains(&stats.key_frames_received), "one each 2 s: {stats:?}");
        if drop > 0.0 {
            assert!(stats.packets_repaired > 50, "seed {seed}: {stats:?}");
            // Padding is asked for in vain.
            let padding = dropped / 10 + 5;
            assert!(
                stats.nack_count < 2 * dropped + 8 * padding,
                "seed {seed}: {stats:?}, {dropped} dropped"
            );
        }
    }
}

#[test]
fn on_a_terrible_path_what_comes_can_be_decoded() {
    for seed in 20..24 {
        let path = Path { drop: 0.35, delay: ms(150), jitter: ms(100), duplicate: 0.1, ..Path::default() };
        let (got, _, stats, _) = run(seed, path);
        assert!(got.windows(2).all(|pair| pair[0] < pair[1]), "seed {seed}");
        assert_eq!(stats.frames_emitted, got.len() as u64);
    }
}

proptest! {
    #[test]
    fn never_panics(packets in prop::collection::vec(
        (0u32..3, any::<u16>(), 0u16..20, 0u32..4, any::<bool>(), prop::collection::vec(any::<u8>(), 0..30), 0u64..300),
        0..120,
    )) {
        let mut bench = Bench::new();
        let mut at = ms(0);
        for (ssrc, random, near, timestamp, marker, payload, pause) in packets {
            at += ms(pause);
            // Mostly near each other.
            let sequence = if random % 16 == 0 { random } else { near };
            let timestamp = if random % 16 == 1 { timestamp << 30 } else { timestamp * 3000 };
            let packet = RtpPacket { ssrc: ssrc / 2, payload_type: 102, sequence, timestamp, marker, padding: 0, payload: payload.into() };
            bench.send(packet, at);
            bench.outputs(at);
            prop_assert!(bench.receiver.poll_timeout().is_none_or(|timeout| timeout > bench.start + at));
        }
    }

    #[test]
    fn never_panics_on_damaged_video(damage in prop::collection::vec((0usize..200, any::<u8>(), 0usize..40), 0..30)) {
        let (mut bench, mut encoder) = (Bench::new(), Encoder::new());
        let mut packets: Vec<_> = (0..30).flat_map(|frame| encoder.frame(frame % 10 == 0)).collect();
        for (packet, byte, at) in damage {
            let index = packet % packets.len();
            let mut payload = packets[index].payload.to_vec();
            if let Some(place) = payload.get_mut(at) {
                *place = byte;
            }
            packets[index].payload = payload.into();
        }
        let mut last = UNIX_EPOCH;
        for (index, packet) in packets.into_iter().enumerate() {
            let at = ms(index as u64 * 7);
            bench.send(packet, at);
            for unit in units(&bench.outputs(at)) {
                prop_assert!(unit.capture_time > last);
                last = unit.capture_time;
            }
        }
    }
}

/// How a sender sends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sends {
    Well,
    /// Intra refresh, joined late.
    NoIdr,
    NoParameterSets,
    /// VP8 with and without an extended descriptor (RFC 7741 section 4.2).
    Vp8(u8),
    OtherPayloadType,
    Nothing,
}

/// Frames of 30 a second from `from` on; gives the numbers of what comes out.
fn play(bench: &mut Bench, encoder: &mut Encoder, sends: Sends, from: u64, frames: u64) -> Vec<u64> {
    let mut found = Vec::new();
    for frame in 0..frames {
        let at = ms(from + frame * 33);
        let idr = frame % 30 == 0 && sends != Sends::NoIdr;
        let mut packets = encoder.frame(idr);
        match sends {
            Sends::Well | Sends::NoIdr => {}
            Sends::NoParameterSets if idr => {
                packets.remove(0);
                for packet in &mut packets {
                    packet.sequence = packet.sequence.wrapping_sub(1);
                }
                encoder.sequence = encoder.sequence.wrapping_sub(1);
            }
            Sends::NoParameterSets => {}
            Sends::Vp8(first) => {
                for packet in &mut packets {
                    packet.payload = Bytes::from([&[first], &packet.payload[1..]].concat());
                }
            }
            Sends::OtherPayloadType => packets.iter_mut().for_each(|packet| packet.payload_type = 96),
            Sends::Nothing => packets.clear(),
        }
        found.extend(bench.frames(packets, at));
    }
    found
}

#[test]
fn what_is_received_and_not_handed_on_has_a_name() {
    for (sends, reason) in [
        (Sends::NoIdr, Withheld::NoKeyFrame),
        (Sends::NoParameterSets, Withheld::NoParameterSets),
        (Sends::Vp8(0x90), Withheld::NotTheCodec),
        (Sends::Vp8(0x10), Withheld::NotTheCodec),
        (Sends::OtherPayloadType, Withheld::PayloadType),
    ] {
        let config = VideoConfig { payload_types: [(102, Vec::new())].into(), ..VideoConfig::default() };
        let (mut bench, mut encoder) = (Bench::with(config), Encoder::new());
        assert_eq!(bench.receiver.flow(bench.start), Flow::Nothing);
        assert_eq!(play(&mut bench, &mut encoder, sends, 0, 60), [0; 0], "{sends:?}");
        assert_eq!(bench.receiver.flow(bench.start + ms(2_000)), Flow::Waiting, "{sends:?}");
        assert_eq!(play(&mut bench, &mut encoder, sends, 2_000, 120), [0; 0], "{sends:?}");
        assert_eq!(bench.receiver.flow(bench.start + ms(5_980)), Flow::Withheld(reason), "{sends:?}");
        // Packets whose units are of a reserved type are no error, and no pictures.
        assert_eq!(bench.receiver.withheld().get(reason) > 0, sends != Sends::Vp8(0x10), "{sends:?}");
        assert!(!play(&mut bench, &mut encoder, Sends::Well, 6_000, 60).is_empty(), "{sends:?}");
        assert_eq!(bench.receiver.flow(bench.start + ms(7_990)), Flow::Flowing, "{sends:?}");
        assert_eq!(bench.receiver.flow(bench.start + ms(14_000)), Flow::Stopped, "{sends:?}");
    }
}

#[test]
fn key_frames_that_never_arrive_whole_are_called_incomplete() {
    let (mut bench, mut encoder) = (Bench::new(), Encoder::new());
    for frame in 0..200u64 {
        let mut packets = encoder.frame(frame % 30 == 0);
        if frame % 30 == 0 {
            // The end of each is lost on the way.
            packets.pop();
        }
        assert_eq!(bench.frames(packets, ms(frame * 33)), [0; 0]);
    }
    assert_eq!(bench.receiver.flow(bench.start + ms(6_600)), Flow::Withheld(Withheld::Incomplete));
}

#[test]
fn packets_that_come_twice_are_no_sign_of_a_sender() {
    let (mut bench, mut encoder) = (Bench::new(), Encoder::new());
    let packets = encoder.frame(true);
    for second in 0..20 {
        bench.frames(packets.clone(), ms(second * 1_000));
    }
    assert_eq!(bench.receiver.flow(bench.start + ms(19_100)), Flow::Stopped);
}

#[test]
fn half_a_picture_at_the_end_is_not_stored_before_any_ended_without_a_marker() {
    let (mut bench, mut encoder) = (Bench::new(), Encoder::new());
    encoder.timestamp = encoder.timestamp.wrapping_add(3_000);
    let begun = [sps(80, 45), pps(), slice(true, 0, 0, 0, 500)];
    let packets: Vec<_> = begun.into_iter().map(|unit| encoder.packet(unit, false)).collect();
    assert_eq!(bench.frames(packets, ms(0)), [0; 0]);
    bench.receiver.finish(bench.start + ms(400), &mut bench.clock);
    assert_eq!(numbers(&std::iter::from_fn(|| bench.receiver.poll_output()).collect::<Vec<_>>()), [0; 0]);
}

#[test]
fn parameter_sets_that_were_told_beforehand_serve_a_stream_without_and_give_way_to_its_own() {
    let parameter_sets = vec![Bytes::from(sps(80, 45)), Bytes::from(pps()), Bytes::from_static(&[0x67, 1])];
    let config = VideoConfig { payload_types: [(102, parameter_sets)].into(), ..VideoConfig::default() };
    let (mut bench, mut encoder) = (Bench::with(config), Encoder::new());
    let found = play(&mut bench, &mut encoder, Sends::NoParameterSets, 0, 60);
    assert_eq!(found, (0..found.len() as u64).collect::<Vec<_>>());
    assert!(found.len() >= 58, "{}", found.len());
    encoder.size = (40, 23);
    for packet in encoder.frame(true) {
        bench.send(packet, ms(2_000));
    }
    let outputs = bench.outputs(ms(2_015));
    let parameters = units(&outputs).find_map(|unit| unit.parameters.as_ref()).unwrap();
    assert_eq!(parameters.configuration_record, record(&sps(40, 23), &pps()));
}

#[test]
fn parameter_sets_of_two_payload_types_are_told_apart() {
    let told = |columns, rows| vec![Bytes::from(sps(columns, rows)), Bytes::from(pps())];
    // Either is SPS 0.
    let payload_types = [(102, told(80, 45)), (104, told(40, 23)), (106, Vec::new())].into();
    let config = VideoConfig { payload_types, ..VideoConfig::default() };
    let (mut bench, mut encoder) = (Bench::with(config), Encoder::new());
    let mut records = Vec::new();
    let sent =
        [(102, false), (102, false), (104, false), (102, false), (102, true), (102, false), (106, false)];
    for (frame, (payload_type, with_own)) in sent.into_iter().enumerate() {
        encoder.size = (60, 34);
        let mut packets = encoder.frame(true);
        if !with_own {
            // The aggregate in front; nothing was lost.
            packets.remove(0);
            packets.iter_mut().for_each(|packet| packet.sequence = packet.sequence.wrapping_sub(1));
            encoder.sequence = encoder.sequence.wrapping_sub(1);
        }
        packets.iter_mut().for_each(|packet| packet.payload_type = payload_type);
        let at = ms(33 * frame as u64);
        packets.into_iter().for_each(|packet| bench.send(packet, at));
        for unit in units(&bench.outputs(at + ms(15))) {
            records.push(unit.parameters.as_ref().unwrap().configuration_record.clone());
        }
    }
    let sizes = [(80, 45), (80, 45), (40, 23), (80, 45), (60, 34), (60, 34), (60, 34)];
    assert_eq!(records, sizes.map(|(columns, rows)| Bytes::from(record(&sps(columns, rows), &pps()))));
}

#[test]
fn a_last_picture_without_its_marker_is_stored_where_none_has_one() {
    for (marks, cut, expected) in [(true, 0, 10), (false, 0, 10), (false, 1, 9), (true, 1, 9)] {
        let (mut bench, mut encoder) = (Bench::new(), Encoder::new());
        let mut found = Vec::new();
        for frame in 0..10u64 {
            let mut packets = encoder.frame(frame == 0);
            packets.iter_mut().for_each(|packet| packet.marker &= marks);
            let left = packets.len() - if frame == 9 { cut } else { 0 };
            packets.truncate(left);
            found.extend(bench.frames(packets, ms(frame * 33)));
        }
        bench.receiver.finish(bench.start + ms(400), &mut bench.clock);
        found.extend(numbers(&std::iter::from_fn(|| bench.receiver.poll_output()).collect::<Vec<_>>()));
        assert_eq!(found, (0..expected).collect::<Vec<_>>(), "marker {marks}, {cut} packets cut off");
    }
    // Whole units in packets of their own: the end of a picture is seen by its marker only.
    for (marks, expected) in [(true, 1), (false, 2)] {
        let (mut bench, mut encoder) = (Bench::new(), Encoder::new());
        let mut found = Vec::new();
        for frame in 0..2u32 {
            encoder.timestamp = encoder.timestamp.wrapping_add(3_000);
            let mut packets = Vec::new();
            if frame == 0 {
                packets.push(encoder.packet(sps(80, 45), false));
                packets.push(encoder.packet(pps(), false));
            }
            let first = slice(frame == 0, frame, 0, u64::from(frame), 500);
            packets.push(encoder.packet(first, false));
            if frame == 0 {
                packets.push(encoder.packet(slice(true, 0, 100, 0, 500), marks));
            }
            found.extend(bench.frames(packets, ms(u64::from(frame) * 33)));
        }
        bench.receiver.finish(bench.start + ms(400), &mut bench.clock);
        found.extend(numbers(&std::iter::from_fn(|| bench.receiver.poll_output()).collect::<Vec<_>>()));
        assert_eq!(found.len(), expected, "marker {marks}");
    }
}

proptest! {
    /// Whatever a sender does, and in whatever order: what comes and is not handed on is never said to flow, and what is
    /// handed on is never said to be withheld.
    #[test]
    fn nothing_unusable_is_silent(stretches in prop::collection::vec((0usize..6, 1u64..10), 1..6)) {
        let kinds = [
            Sends::Well, Sends::NoIdr, Sends::NoParameterSets, Sends::Vp8(0x90), Sends::OtherPayloadType, Sends::Nothing,
        ];
        let config = VideoConfig { payload_types: [(102, Vec::new())].into(), ..VideoConfig::default() };
        let (mut bench, mut encoder) = (Bench::with(config), Encoder::new());
        let (mut at, mut handed_on, mut came, mut paused) = (0, None, None, 0);
        for (kind, seconds) in stretches {
            for _ in 0..seconds {
                let found = play(&mut bench, &mut encoder, kinds[kind], at, 30);
                at += 1_000;
                if kinds[kind] != Sends::Nothing {
                    paused = paused.max(at - came.unwrap_or(at));
                    came = Some(at);
                }
                // Pauses are learnt.
                let silent = 6_000u64.max(paused + paused / 2);
                if !found.is_empty() { handed_on = Some(at); }
                let since = |moment: Option<u64>| moment.map_or(u64::MAX, |moment| at - moment);
                match bench.receiver.flow(bench.start + ms(at)) {
                    Flow::Nothing => prop_assert_eq!(came, None),
                    Flow::Stopped => prop_assert!(since(came) >= 4_000),
                    Flow::Flowing => prop_assert!(handed_on.is_some() && since(came) <= silent),
                    Flow::Waiting => prop_assert!(handed_on.is_none() && at <= 70_000),
                    Flow::Withheld(_) => {
                        prop_assert!(since(came) <= silent && since(handed_on) >= 4_000);
                    }
                }
                if since(came) == 0 && since(handed_on) > 12_000 && bench.receiver.ssrc().is_some() {
                    let flow = bench.receiver.flow(bench.start + ms(at));
                    let is_new = matches!(flow, Flow::Waiting | Flow::Flowing);
                    prop_assert!(matches!(flow, Flow::Withheld(_)) || is_new, "{flow:?}");
                }
            }
        }
    }
}
