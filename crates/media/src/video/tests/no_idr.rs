use super::*;

/// Header byte and `slice_type`: IDR; I, P and B pictures that are none.
const IDR: (u8, u32) = (0x65, 7);
const I: (u8, u32) = (0x61, 7);
const P: (u8, u32) = (0x61, 5);
const B: (u8, u32) = (0x01, 6);

/// Recovery points as x264 writes them: of an open group of pictures, and of intra refresh, right after 18 pictures.
const AT_ONCE: &[u8] = &[6, 6, 1, 0xc4, 0x80];
const LATER: &[u8] = &[6, 6, 2, 0x09, 0xc4, 0x80];

/// A sender of pictures of one packet each.
struct Sender {
    encoder: Encoder,
    bench: Bench,
    at: u64,
}

impl Sender {
    fn new() -> Self {
        Self { encoder: Encoder { timestamp: 1_000_000, ..Encoder::new() }, bench: Bench::new(), at: 0 }
    }

    fn packets(&mut self, kind: (u8, u32), sei: &[u8], with_sets: bool, shown: i32) -> Vec<RtpPacket> {
        let is_reference = kind.0 & 0x60 != 0;
        self.encoder.frame_num = match kind {
            IDR => 0,
            _ => (self.encoder.frame_num + 1) % 16,
        };
        let slice = typed_slice(kind, self.encoder.frame_num, 0, self.encoder.number, 100);
        if !is_reference {
            self.encoder.frame_num = self.encoder.frame_num.wrapping_sub(1) % 16;
        }
        let sets = if with_sets { vec![sps(80, 45), pps()] } else { Vec::new() };
        let units = sets.into_iter().chain([sei.to_vec()].into_iter().filter(|sei| !sei.is_empty()));
        let presented = self.encoder.timestamp;
        self.encoder.timestamp = presented.wrapping_add_signed(shown * 3_000);
        let mut packets: Vec<_> = units.map(|unit| self.encoder.packet(unit, false)).collect();
        packets.push(self.encoder.packet(slice, true));
        self.encoder.timestamp = presented.wrapping_add(3_000);
        self.encoder.number += 1;
        packets
    }

    fn outputs(&mut self, packets: Vec<RtpPacket>) -> Vec<VideoOutput> {
        self.at += 33;
        let at = ms(self.at);
        packets.into_iter().for_each(|packet| self.bench.send(packet, at));
        self.bench.outputs(at + ms(15))
    }

    /// Sends a picture that is shown so many pictures later than its turn, and gives the numbers of those that come of it.
    fn send(&mut self, kind: (u8, u32), sei: &[u8], shown: i32) -> Vec<u64> {
        let packets = self.packets(kind, sei, !sei.is_empty() || kind == IDR, shown);
        numbers(&self.outputs(packets))
    }

    /// Nothing is captured for so long.
    fn pause(&mut self, millis: u32) {
        self.at += u64::from(millis);
        self.encoder.timestamp += millis * 90;
    }

    /// A picture none of whose packets arrives.
    fn lose(&mut self, kind: (u8, u32)) {
        self.packets(kind, &[], false, 0);
    }

    /// An open group of pictures: I, the two B pictures in front of it, then P B B, again and again.
    fn open_group(&mut self, groups: usize) -> Vec<u64> {
        let mut found = self.send(I, AT_ONCE, 2);
        for _ in 0..groups {
            found.extend(self.send(B, &[], -1));
            found.extend(self.send(B, &[], -1));
            found.extend(self.send(P, &[], 2));
        }
        found
    }
}

#[test]
fn an_open_group_is_entered_without_the_pictures_that_refer_to_the_one_before() {
    let mut sender = Sender::new();
    // In the middle of a group.
    assert_eq!([sender.send(P, &[], 2), sender.send(B, &[], -1), sender.send(B, &[], -1)].concat(), [0; 0]);
    let found = sender.open_group(3);
    assert_eq!(found, [3, 6, 7, 8, 9, 10, 11, 12], "4 and 5 are shown before 3");
    let packets = sender.packets(B, &[], false, -1);
    assert_eq!(numbers(&sender.outputs(packets)), [13]);
    assert_eq!(sender.send(B, &[], -1), [14]);
    // The next group is recorded whole, and is a point to enter at.
    let packets = sender.packets(I, AT_ONCE, true, 2);
    let outputs = sender.outputs(packets);
    let unit = units(&outputs).next().unwrap();
    let parameters = unit.parameters.as_ref().unwrap();
    assert_eq!(parameters.configuration_record, record(&sps(80, 45), &pps()));
    let expected = with_lengths(&[AT_ONCE.to_vec(), typed_slice(I, sender.encoder.frame_num, 0, 15, 100)]);
    assert_eq!(unit.data, expected, "as it came, but for the parameter sets");
    assert_eq!([sender.send(B, &[], -1), sender.send(B, &[], -1)].concat(), [16, 17]);
    let stats = sender.bench.receiver.stats();
    assert_eq!((stats.key_frames_received, stats.frames_dropped), (2, 0));
}

#[test]
fn behind_a_loss_an_open_group_is_entered_as_at_the_beginning() {
    let mut sender = Sender::new();
    assert_eq!(sender.send(IDR, &[], 0), [0]);
    assert_eq!(sender.send(P, &[], 0), [1]);
    for _ in 0..3 {
        sender.lose(P);
    }
    assert_eq!(sender.send(P, &[], 0), [0; 0]);
    sender.pause(1_000);
    assert_eq!(sender.open_group(2), [6, 9, 10, 11, 12]);
    assert_eq!(sender.bench.receiver.stats().frames_dropped, 3);
}

#[test]
fn intra_refresh_is_recorded_from_its_recovery_point_on() {
    let mut sender = Sender::new();
    assert_eq!(sender.send(P, &[], 0), [0; 0]);
    let found: Vec<u64> =
        (0..60).flat_map(|picture| sender.send(P, if picture % 30 == 10 { LATER } else { &[] }, 0)).collect();
    assert_eq!(found, Vec::from_iter(11..61));
    assert_eq!(sender.bench.receiver.stats().key_frames_received, 2);
    // No key frame is asked for while recovery points come.
    assert_eq!(sender.bench.receiver.flow(sender.bench.start + ms(sender.at)), Flow::Flowing);
    sender.lose(P);
    assert_eq!(sender.send(P, &[], 0), [0; 0]);
    sender.pause(1_000);
    let found = [sender.send(P, &[], 0), sender.send(P, LATER, 0), sender.send(P, &[], 0)].concat();
    assert_eq!(found, [64, 65]);
}

#[test]
fn a_recovery_point_without_parameter_sets_is_named() {
    let mut sender = Sender::new();
    let packets = sender.packets(P, LATER, false, 0);
    assert_eq!(numbers(&sender.outputs(packets)), [0; 0]);
    assert_eq!(sender.bench.receiver.withheld().get(Withheld::NoParameterSets), 1);
}

#[test]
fn a_recovery_point_that_cannot_be_one_is_none() {
    let mut sender = Sender::new();
    // All is right from a picture on that refers to others.
    assert_eq!(sender.send(P, AT_ONCE, 0), [0; 0]);
    assert_eq!(sender.send(I, AT_ONCE, 0), [1]);
}

#[test]
fn what_is_said_in_a_packet_with_a_timestamp_of_its_own_counts() {
    let mut sender = Sender::new();
    let said: Vec<_> = [sps(80, 45), pps(), LATER.to_vec()]
        .into_iter()
        .map(|unit| sender.encoder.packet(unit, true))
        .collect();
    sender.encoder.timestamp += 90;
    let packets = [said, sender.packets(P, &[], false, 0)].concat();
    let outputs = sender.outputs(packets);
    let unit = units(&outputs).next().unwrap();
    assert!(unit.is_idr());
    let expected = with_lengths(&[LATER.to_vec(), typed_slice(P, sender.encoder.frame_num, 0, 0, 100)]);
    assert_eq!(unit.data, expected);
}

#[test]
fn pictures_that_refer_to_none_serve_where_nothing_better_comes_and_say_so() {
    let mut sender = Sender::new();
    let mut found = Vec::new();
    for picture in 0..450_u64 {
        let kind = if picture % 30 == 10 { I } else { P };
        let packets = sender.packets(kind, &[], picture == 0, 0);
        let outputs = sender.outputs(packets);
        let told = outputs.iter().filter(|output| **output == VideoOutput::KeyFramesAssumed).count();
        assert_eq!(told, usize::from(picture == 310), "{picture}");
        for unit in units(&outputs) {
            assert_eq!(unit.is_idr(), kind == I, "{picture}");
            let own = with_lengths(&[typed_slice(kind, sender.encoder.frame_num, 0, picture, 100)]);
            let said = with_lengths(&[vec![6, 6, 1, 0x84, 0x80]]);
            assert_eq!(unit.data, if kind == I { [said, own].concat() } else { own }, "{picture}");
            found.push(number(&unit.data));
        }
        if found.is_empty() && (160..300).contains(&picture) {
            let flow = sender.bench.receiver.flow(sender.bench.start + ms(sender.at));
            assert_eq!(flow, Flow::Withheld(Withheld::NoKeyFrame), "{picture}");
        }
    }
    // The first behind ten seconds.
    assert_eq!(found, Vec::from_iter(310..450));
    assert_eq!(sender.bench.receiver.flow(sender.bench.start + ms(sender.at)), Flow::Flowing);
}

#[test]
fn an_i_picture_of_several_slices_refers_to_none_only_if_none_of_them_does() {
    for second in [I, P] {
        let mut sender = Sender::new();
        assert_eq!(sender.send(P, &[], 0), [0; 0]);
        sender.pause(10_000);
        let mut packets = sender.packets((I.0, 2), &[], true, 0);
        let last = packets.len() - 1;
        packets[last].marker = false;
        sender.encoder.timestamp -= 3_000;
        let slice = typed_slice((second.0, second.1 - 5), sender.encoder.frame_num, 1_800, 1, 100);
        packets.push(sender.encoder.packet(slice, true));
        assert_eq!(numbers(&sender.outputs(packets)).len(), usize::from(second == I), "{second:?}");
    }
}

proptest! {
    /// Whatever is lost of whatever kind of group: nothing that is handed on needs what was not.
    #[test]
    fn nothing_is_handed_on_that_refers_to_what_is_not(
        lost in prop::collection::btree_set(0usize..240, 0..5),
        joins in 0usize..60,
    ) {
        let mut sender = Sender::new();
        let (mut sent, mut passed) = (Vec::new(), std::collections::BTreeSet::new());
        for picture in 0..240 {
            // I B B P B B P B B P B B, of which the pictures behind an I are shown before it.
            let (kind, sei, shown) = match picture % 12 {
                0 => (I, AT_ONCE, 2),
                place if place % 3 == 0 => (P, &[][..], 2),
                _ => (B, &[][..], -1),
            };
            let packets = sender.packets(kind, sei, picture % 12 == 0, shown);
            let arrives = picture >= joins && !lost.contains(&picture);
            sent.push(kind);
            let outputs = sender.outputs(if arrives { packets } else { Vec::new() });
            passed.extend(numbers(&outputs));
        }
        sender.pause(5_000);
        passed.extend(numbers(&sender.outputs(Vec::new())));
        for &picture in &passed {
            let at = picture as usize;
            let refers: &[usize] = match (sent[at], at % 3) {
                (I, _) => &[],
                (P, _) => &[3],
                (_, 1) => &[1, 4],
                (_, _) => &[2, 5],
            };
            for back in refers {
                prop_assert!(at >= *back && passed.contains(&(picture - *back as u64)), "{picture} of {passed:?}");
            }
        }
        // And what can be decoded is: every group that came whole behind its entry, but for what is shown before that.
        for group in (0..228).step_by(12).filter(|group| *group >= joins) {
            if (group..group + 24).all(|it| !lost.contains(&it)) {
                prop_assert!((group + 3..group + 12).all(|it| passed.contains(&(it as u64))), "{group} of {passed:?}");
            }
        }
    }
}
