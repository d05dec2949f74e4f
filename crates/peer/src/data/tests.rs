//! Against SCTP as a master has it, over a network and in a time that are simulated.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sctp_proto::{
    Association, AssociationHandle, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Event, Payload,
    PayloadProtocolIdentifier as Kind, ServerConfig, TransportConfig,
};

use super::{DataChannels, Message, dcep};
use crate::sdp::offer::SCTP_PORT;

const OURS: &str = "0.0.0.0:5000";

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Flying {
    at: std::cmp::Reverse<Instant>,
    number: std::cmp::Reverse<u64>,
    to_us: bool,
    packet: Bytes,
}

/// Who begins anew whatever is there when the other side begins, as str0m does; usrsctp and dcsctp make one association of
/// both, which is easier for us.
struct World {
    now: Instant,
    rng: StdRng,
    loss: f64,
    air: BinaryHeap<Flying>,
    number: u64,
    /// Of the packets that come: a place, another byte for it, and what else is done.
    changes: Vec<(usize, u8, u8)>,
    ours: DataChannels,
    endpoint: Endpoint,
    association: Option<(AssociationHandle, Association)>,
    begins_at: Option<Instant>,
    connected: bool,
    got: Vec<Message>,
}

fn transport() -> Arc<TransportConfig> {
    Arc::new(TransportConfig::default().with_max_init_retransmits(None).with_rto_max_ms(5_000))
}

impl World {
    fn new(seed: u64, loss: f64, begins: Option<Duration>, open: &[&str]) -> Self {
        let now = Instant::now();
        let mut server = ServerConfig::new();
        server.transport = transport();
        let open = open.iter().map(|label| (*label).to_owned()).collect();
        let mut ours = DataChannels::new(open, SCTP_PORT, false, now);
        ours.begin(now);
        Self {
            now,
            rng: StdRng::seed_from_u64(seed),
            loss,
            air: BinaryHeap::new(),
            number: 0,
            changes: Vec::new(),
            ours,
            endpoint: Endpoint::new(Arc::new(EndpointConfig::default()), Some(Arc::new(server))),
            association: None,
            begins_at: begins.map(|begins| now + begins),
            connected: false,
            got: Vec::new(),
        }
    }

    fn throw(&mut self, to_us: bool, packet: Bytes) {
        if self.rng.random_bool(self.loss) {
            return;
        }
        let delay = Duration::from_millis(self.rng.random_range(15..30));
        self.number += 1;
        let at = std::cmp::Reverse(self.now + delay);
        self.air.push(Flying { at, number: std::cmp::Reverse(self.number), to_us, packet });
    }

    fn deliver(&mut self, flying: Flying) {
        if flying.to_us {
            self.ours.handle(&flying.packet, self.now);
            if let Some((place, byte, how)) = self.changes.pop() {
                assert_eq!(with_checksum(flying.packet.to_vec()), flying.packet);
                let mut packet = flying.packet.to_vec();
                let place = place.min(packet.len() - 1);
                match how {
                    0 => packet.truncate(place),
                    1 => packet.extend_from_within(place..),
                    _ => packet[place] = byte,
                }
                self.ours.handle(&with_checksum(packet), self.now);
            }
            return;
        }
        let address: SocketAddr = OURS.parse().unwrap();
        match self.endpoint.handle(self.now, address, None, None, flying.packet) {
            Some((handle, DatagramEvent::NewAssociation(association))) => {
                self.association = Some((handle, association));
            }
            Some((handle, DatagramEvent::AssociationEvent(event))) => {
                if let Some((own, association)) = &mut self.association
                    && *own == handle
                {
                    association.handle_event(event);
                }
            }
            None => {}
        }
    }

    fn run(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            while self.air.peek().is_some_and(|flying| flying.at.0 <= self.now) {
                let flying = self.air.pop().unwrap();
                self.deliver(flying);
            }
            if self.begins_at.is_some_and(|at| at <= self.now) {
                self.begins_at = None;
                if self.association.is_none() {
                    let mut config = ClientConfig::new();
                    config.transport = transport();
                    self.association = Some(self.endpoint.connect(config, OURS.parse().unwrap()).unwrap());
                }
            }
            if self.ours.poll_timeout().is_some_and(|at| at <= self.now) {
                self.ours.handle_timeout(self.now);
            }
            while let Some(message) = self.ours.poll_message(self.now) {
                self.got.push(message);
            }
            while let Some(packet) = self.ours.poll_transmit() {
                self.throw(false, packet);
            }
            let mut packets = Vec::new();
            let mut due = None;
            if let Some((_, association)) = &mut self.association {
                association.handle_timeout(self.now);
                while let Some(event) = association.poll() {
                    self.connected |= matches!(event, Event::Connected);
                }
                while let Some(transmit) = association.poll_transmit(self.now) {
                    if let Payload::RawEncode(sent) = transmit.payload {
                        packets.extend(sent);
                    }
                }
                due = association.poll_timeout();
            }
            for packet in packets {
                self.throw(true, packet);
            }
            let air = self.air.peek().map(|flying| flying.at.0);
            let next = [due, self.ours.poll_timeout(), air, self.begins_at].into_iter().flatten().min();
            match next {
                Some(next) if next < until => self.now = next.max(self.now + Duration::from_millis(1)),
                _ => {
                    self.now = until;
                    return;
                }
            }
        }
    }

    fn connect(&mut self) {
        for _ in 0..120 {
            if self.connected {
                return;
            }
            self.run(Duration::from_millis(500));
        }
        panic!("no association: {:?}", self.ours.figures());
    }

    fn write(&mut self, stream: u16, kind: Kind, data: &[u8]) {
        let (_, association) = self.association.as_mut().unwrap();
        if association.stream(stream).is_err() {
            association.open_stream(stream, kind).unwrap();
        }
        association.stream(stream).unwrap().write_sctp(&Bytes::copy_from_slice(data), kind).unwrap();
    }
}

/// CRC32c as SCTP has it (RFC 9260, appendix A).
fn with_checksum(mut packet: Vec<u8>) -> Bytes {
    if packet.len() < 12 {
        return packet.into();
    }
    packet[8..12].fill(0);
    let mut crc = u32::MAX;
    for byte in &packet {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    packet[8..12].copy_from_slice(&(!crc).to_le_bytes());
    packet.into()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Whoever begins, and when, and whatever is lost: one association comes of it, and each message, once and in order. Not where
    /// both begin within one way of the network: of that, sctp-proto on the other side makes no association in some orders of
    /// arrival (seed 3830004404379116046 with 481 ms). A str0m that begins does so half a second before us.
    #[test]
    fn messages_arrive_once_and_in_order(
        seed in any::<u64>(),
        loss in prop_oneof![Just(0.0), 0.0..0.25],
        begins in prop::option::of(prop_oneof![Just(0_u64), 0..400_u64, 700..1500_u64, Just(4000)]),
        count in 1..60_u32,
    ) {
        let mut world = World::new(seed, loss, begins.map(Duration::from_millis), &["mine"]);
        world.connect();
        world.write(0, Kind::Dcep, &dcep::open("door"));
        for number in 0..count {
            world.write(0, Kind::String, format!("message {number}").as_bytes());
            world.run(Duration::from_millis(100));
        }
        world.run(Duration::from_secs(120));
        let got: Vec<_> = world.got.iter().map(|it| String::from_utf8(it.data.to_vec()).unwrap()).collect();
        let sent: Vec<_> = (0..count).map(|number| format!("message {number}")).collect();
        prop_assert_eq!(got, sent);
        prop_assert!(world.got.iter().all(|it| it.text && &*it.label == "door"));
        let figures = world.ours.figures();
        prop_assert_eq!(figures.open.iter().map(|label| &**label).collect::<Vec<_>>(), ["door", "mine"]);
        prop_assert_eq!(figures.lost, None);
    }

    /// What a master could have sent and did not: its packets with other bytes in their chunks, cut, repeated, and with the
    /// checksum of what they are.
    #[test]
    fn changed_packets_are_survived(
        seed in any::<u64>(),
        changes in prop::collection::vec((12..120_usize, any::<u8>(), 0..6_u8), 1..60),
    ) {
        let mut world = World::new(seed, 0.0, Some(Duration::ZERO), &["mine"]);
        world.changes = changes;
        world.run(Duration::from_millis(300));
        for number in 0..20_u16 {
            if let Some((_, association)) = &mut world.association
                && !association.is_closed()
                && !association.is_handshaking()
            {
                if association.stream(number % 5).is_err() {
                    let _ = association.open_stream(number % 5, Kind::String);
                }
                if let Ok(mut stream) = association.stream(number % 5) {
                    let _ = stream.write_sctp(&dcep::open("door"), Kind::Dcep);
                    let _ = stream.write_sctp(&Bytes::from(vec![1; 40 * usize::from(number)]), Kind::Binary);
                    if number % 7 == 6 {
                        let _ = stream.close();
                    }
                }
            }
            world.run(Duration::from_millis(200));
        }
        world.run(Duration::from_secs(20));
    }

    #[test]
    fn any_packets_are_survived(packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..20)) {
        let mut world = World::new(1, 0.0, Some(Duration::ZERO), &[]);
        world.run(Duration::from_millis(10));
        for packet in packets {
            world.ours.handle(&packet, world.now);
            world.run(Duration::from_millis(5));
        }
        world.run(Duration::from_secs(5));
        prop_assert!(world.connected);
    }
}

#[test]
fn kinds_of_messages_are_told_apart() {
    let mut world = World::new(1, 0.0, Some(Duration::ZERO), &[]);
    world.connect();
    world.write(4, Kind::String, b"nobody opened this");
    world.write(0, Kind::Dcep, &dcep::open("door"));
    world.write(0, Kind::String, "offen ✓".as_bytes());
    world.write(0, Kind::StringEmpty, &[0]);
    world.write(0, Kind::Binary, &[0, 255]);
    world.write(0, Kind::BinaryEmpty, &[0]);
    world.write(0, Kind::Dcep, &[77]);
    world.run(Duration::from_secs(2));
    let got: Vec<_> = world.got.iter().map(|it| (it.text, it.data.to_vec())).collect();
    let text = "offen ✓".as_bytes().to_vec();
    assert_eq!(got, [(true, text), (true, vec![]), (false, vec![0, 255]), (false, vec![])]);
    let figures = world.ours.figures();
    assert_eq!((figures.messages_received, figures.unknown), (5, 1));
    // The channel is closed, and another opened on its stream.
    world.association.as_mut().unwrap().1.stream(0).unwrap().close().unwrap();
    world.run(Duration::from_secs(2));
    let figures = world.ours.figures();
    assert_eq!((figures.open.len(), figures.channels_closed), (0, 1));
    world.write(0, Kind::Dcep, &dcep::open("gate"));
    world.write(0, Kind::String, b"again");
    world.run(Duration::from_secs(2));
    assert_eq!(world.got.last().map(|it| &*it.label), Some("gate"));
}

#[test]
fn a_message_beyond_what_was_agreed_ends_it_and_is_said() {
    let mut world = World::new(1, 0.0, Some(Duration::ZERO), &[]);
    world.connect();
    world.write(0, Kind::Dcep, &dcep::open("door"));
    let (_, association) = world.association.as_mut().unwrap();
    association.set_max_send_message_size(1 << 20);
    world.write(0, Kind::Binary, &[1; 70_000]);
    world.run(Duration::from_secs(30));
    let figures = world.ours.figures();
    assert!(figures.lost.is_some_and(|lost| lost.contains("65536")), "{:?}", world.got.len());
    assert_eq!((world.got.len(), figures.channels_closed), (0, 1));
}

#[test]
fn streams_without_end_are_not_followed() {
    let mut world = World::new(1, 0.0, Some(Duration::ZERO), &[]);
    world.connect();
    for stream in 0..2_000 {
        world.write(stream, Kind::String, b"x");
        world.run(Duration::from_millis(5));
    }
    let figures = world.ours.figures();
    assert!(figures.lost.is_some_and(|lost| lost.contains("streams")));
    assert!(world.ours.association.is_none());
    assert!(figures.unknown <= 400, "{}", figures.unknown);
}

#[test]
fn what_comes_too_fast_is_slowed_and_not_lost() {
    let mut world = World::new(1, 0.0, Some(Duration::ZERO), &[]);
    world.connect();
    world.write(0, Kind::Dcep, &dcep::open("door"));
    for number in 0..3_000_u32 {
        world.write(0, Kind::Binary, &number.to_be_bytes());
    }
    world.run(Duration::from_secs(60));
    let got: Vec<_> =
        world.got.iter().map(|it| u32::from_be_bytes(it.data[..].try_into().unwrap())).collect();
    assert!(got.len() == 3_000 && got.is_sorted(), "{}", got.len());
    assert!(world.ours.figures().packets_discarded > 0);
}
