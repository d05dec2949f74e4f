//! H.265 through the receiver: what comes of packets, and what after a loss.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, UNIX_EPOCH};

use bytes::Bytes;
use proptest::prelude::*;

use super::sps::tests::sps;
use crate::codec::nal::bits::Writer;
use crate::testing::{RATES, ms, number};
use crate::{
    AccessUnit, RtpPacket, SenderClock, VideoCodec, VideoConfig, VideoOutput, VideoReceiver, Withheld,
};

const VPS: &[u8] = &[0x40, 1, 0x0c, 1, 0xff];
const PPS: &[u8] = &[0x44, 1, 0xc0, 0x80];
const TRAIL: u8 = 1;
const RADL: u8 = 6;
const RASL: u8 = 8;
const IDR: u8 = 19;
const CRA: u8 = 21;
const SEI: u8 = 39;

struct Bench {
    receiver: VideoReceiver,
    clock: SenderClock,
    start: Instant,
    sequence: u16,
    pictures: u64,
}

impl Bench {
    fn new(told: Vec<Bytes>) -> Self {
        let config = VideoConfig {
            codec: VideoCodec::H265,
            payload_types: BTreeMap::from([(127, told)]),
            ..VideoConfig::default()
        };
        Self {
            receiver: VideoReceiver::new(config),
            clock: SenderClock::new(Duration::ZERO, RATES),
            start: Instant::now(),
            sequence: 65_530,
            pictures: 0,
        }
    }

    /// A picture as x265 and NVENC send it: parameter sets in an aggregate, an SEI message, the slices in fragments.
    fn picture(&mut self, kind: u8, with_sets: bool) -> Vec<RtpPacket> {
        let mut payloads = Vec::new();
        if with_sets {
            let sps = sps(1280, 720);
            let units = [VPS, &sps, PPS].map(|unit| [&(unit.len() as u16).to_be_bytes()[..], unit].concat());
            payloads.push([&[0x60, 1][..], &units.concat()].concat());
        }
        payloads.push(vec![SEI << 1, 1, 5, 0x80]);
        for first in [true, false] {
            let unit = slice(kind, first, self.pictures);
            let chunks: Vec<_> = unit[2..].chunks(700).collect();
            for (at, chunk) in chunks.iter().enumerate() {
                let flags = if at == 0 { 0x80 } else { 0 } | if at + 1 == chunks.len() { 0x40 } else { 0 };
                payloads.push([&[0x62, 1, flags | kind][..], chunk].concat());
            }
        }
        let timestamp = self.pictures as u32 * 3000;
        self.pictures += 1;
        let last = payloads.len() - 1;
        let packet = |(at, payload): (usize, Vec<u8>)| {
            self.sequence = self.sequence.wrapping_add(1);
            RtpPacket {
                ssrc: 7,
                payload_type: 127,
                sequence: self.sequence,
                timestamp,
                marker: at == last,
                padding: 0,
                payload: payload.into(),
            }
        };
        payloads.into_iter().enumerate().map(packet).collect()
    }

    fn send(&mut self, packets: impl IntoIterator<Item = RtpPacket>) -> Vec<VideoOutput> {
        let at = ms(33 * self.pictures);
        let (now, wall) = (self.start + at, UNIX_EPOCH + Duration::from_secs(1_900_000_000) + at);
        for packet in packets {
            self.receiver.handle_rtp(packet, now, wall, &mut self.clock);
        }
        self.receiver.handle_timeout(now + ms(15), &mut self.clock);
        std::iter::from_fn(|| self.receiver.poll_output()).collect()
    }

    /// The numbers of the pictures that come of one more.
    fn play(&mut self, kind: u8, with_sets: bool) -> Vec<u64> {
        let packets = self.picture(kind, with_sets);
        numbers(&self.send(packets))
    }
}

fn slice(kind: u8, first: bool, number: u64) -> Vec<u8> {
    let header = Writer::default().bits(u32::from(first), 1);
    let header = if kind >= 16 { header.bits(0, 1) } else { header }.ue(0);
    let mut unit = [&[kind << 1, 1][..], &header.finish()].concat();
    unit.extend(format!("<{number}>").bytes());
    unit.resize(1500, 0xaa);
    unit
}

fn units(outputs: &[VideoOutput]) -> Vec<&AccessUnit> {
    let units = outputs.iter().filter_map(|output| match output {
        VideoOutput::AccessUnit(unit) => Some(unit),
        _ => None,
    });
    units.collect()
}

fn numbers(outputs: &[VideoOutput]) -> Vec<u64> {
    units(outputs).iter().map(|unit| number(&unit.data)).collect()
}

#[test]
fn a_key_frame_is_its_slices_and_tells_its_parameters() {
    let mut bench = Bench::new(Vec::new());
    let packets = bench.picture(IDR, true);
    let outputs = bench.send(packets);
    let [unit] = units(&outputs)[..] else { panic!("{outputs:?}") };
    let own = [vec![SEI << 1, 1, 5, 0x80], slice(IDR, true, 0), slice(IDR, false, 0)];
    let expected: Vec<u8> =
        own.iter().flat_map(|unit| [&(unit.len() as u32).to_be_bytes()[..], unit].concat()).collect();
    assert_eq!(unit.data, expected);
    let parameters = unit.parameters.as_ref().unwrap();
    assert_eq!((parameters.format.width, parameters.format.height), (1280, 720));
    assert_eq!(parameters.format.profile_name(), "main");
    assert!(parameters.configuration_record.ends_with(PPS));
    assert_eq!(bench.play(TRAIL, false), [1]);
    assert_eq!(bench.play(CRA, false), [2], "its sets came before");
}

#[test]
fn decoding_starts_at_any_random_access_point_and_at_no_other_picture() {
    for kind in 16..=21 {
        let mut bench = Bench::new(Vec::new());
        assert_eq!(bench.play(TRAIL, true), Vec::<u64>::new());
        assert_eq!(bench.play(kind, false), [1], "{kind}");
        // Leading pictures that nobody can decode are left out; those that refer to nothing in front of it are not.
        assert_eq!(bench.play(RASL, false), Vec::<u64>::new());
        assert_eq!(bench.play(RADL, false), [3]);
        assert_eq!(bench.play(TRAIL, false), [4]);
        // Behind the next one all are there that they refer to.
        assert_eq!([bench.play(CRA, false), bench.play(RASL, false)].concat(), [5, 6]);
        assert_eq!(bench.receiver.withheld().get(Withheld::NoKeyFrame), 2);
        assert_eq!(bench.receiver.stats().frames_dropped, 0, "of what was promised nothing");
        // Unless packets were lost there.
        bench.picture(TRAIL, false);
        let mut found: Vec<_> =
            [(CRA, true), (RASL, false), (TRAIL, false)].map(|(kind, sets)| bench.play(kind, sets)).concat();
        bench.pictures += 100;
        found.extend(numbers(&bench.send([])));
        assert_eq!(found, [8, 10]);
        assert_eq!(bench.receiver.stats().frames_dropped, 1);
    }
    let mut bench = Bench::new(Vec::new());
    assert_eq!(bench.play(IDR, false), Vec::<u64>::new());
    assert_eq!(bench.receiver.withheld().get(Withheld::NoParameterSets), 1);
}

#[test]
fn intra_refresh_is_recorded_from_its_recovery_point_on() {
    // `recovery_poc_cnt` of 20, as x265 says it; 0, of a picture whose type does not say so; none.
    let message =
        |count: u32| [vec![SEI << 1, 1, 6, 2], Writer::default().ue(count).bits(0, 2).finish()].concat();
    for (sei, starts) in [(message(39), true), (message(0), false), (vec![SEI << 1, 1, 5, 0x80], false)] {
        let mut bench = Bench::new(Vec::new());
        assert_eq!(bench.play(TRAIL, true), Vec::<u64>::new());
        let mut packets = bench.picture(TRAIL, false);
        packets[0].payload = sei.clone().into();
        let outputs = bench.send(packets);
        assert_eq!(numbers(&outputs), if starts { vec![1] } else { vec![] }, "{sei:?}");
        if starts {
            let unit = units(&outputs)[0];
            assert_eq!(unit.parameters.as_ref().unwrap().format.width, 1280);
            assert_eq!(bench.play(TRAIL, false), [2]);
        }
    }
}

#[test]
fn sets_that_were_told_beforehand_serve_a_stream_without() {
    let told = [VPS, &sps(640, 360), PPS].map(Bytes::copy_from_slice);
    let mut bench = Bench::new(told.into());
    let packets = bench.picture(IDR, false);
    let outputs = bench.send(packets);
    assert_eq!(units(&outputs)[0].parameters.as_ref().unwrap().format.width, 640);
}

#[test]
fn sets_of_another_layer_do_not_replace_those_of_the_base() {
    let mut bench = Bench::new(Vec::new());
    let mut packets = bench.picture(IDR, true);
    // Layer 1.
    let mut other = sps(320, 180);
    other[1] |= 1 << 3;
    packets[1].payload = other.into();
    let outputs = bench.send(packets);
    assert_eq!(units(&outputs)[0].parameters.as_ref().unwrap().format.width, 1280);
}

proptest! {
    #[test]
    fn after_a_loss_nothing_passes_before_the_next_key_frame(lost in prop::collection::btree_set(0usize..150, 1..6)) {
        let mut bench = Bench::new(Vec::new());
        let mut passed = Vec::new();
        let mut whole = BTreeMap::new();
        let mut index = 0;
        for picture in 0..30_u64 {
            let is_key = picture % 10 == 0;
            let mut packets = bench.picture(if is_key { IDR } else { TRAIL }, is_key);
            let all = packets.len();
            packets.retain(|_| { index += 1; !lost.contains(&(index - 1)) });
            whole.insert(picture, packets.len() == all);
            passed.extend(numbers(&bench.send(packets)));
        }
        bench.pictures += 1000;
        passed.extend(numbers(&bench.send([])));
        for picture in &passed {
            let since = picture - picture % 10;
            prop_assert!((since..=*picture).all(|it| whole[&it]), "{picture} of {passed:?}: {lost:?}");
        }
        // What came before the first loss of its group does.
        for picture in 0..30_u64 {
            let since = picture - picture % 10;
            let intact = (since..=picture + 1).all(|it| whole.get(&it).copied().unwrap_or(true));
            prop_assert!(!intact || passed.contains(&picture), "{picture} of {passed:?}: {lost:?}");
        }
    }
}
