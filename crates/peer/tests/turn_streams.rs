//! TURN servers over streams that do what they like, in virtual time.
#![allow(clippy::unwrap_used, reason = "a test")]

use kvs_media::VideoCodec;
use kvs_peer::{Config, Destinations, Receiver, RelayProtocol, StreamAction, TurnStream};
use proptest::prelude::*;
use std::time::{Duration, Instant};

const NAME: &str = "turns:relay.example:443?transport=tcp";

struct World {
    receiver: Receiver,
    start: Instant,
    now: Instant,
    actions: Vec<(Duration, StreamAction)>,
}

impl World {
    fn new() -> Self {
        let start = Instant::now();
        let config = Config {
            video: vec![VideoCodec::H264],
            audio: Vec::new(),
            data: None,
            start_bitrate_kbps: None,
            relay_only: true,
            ice_servers: Vec::new(),
            turn_streams: vec![TurnStream {
                name: NAME.to_owned(),
                protocol: RelayProtocol::Tls,
                credentials: ("user".to_owned(), "topsecret".to_owned()),
            }],
            sockets: vec!["192.0.2.1:4000".parse().unwrap()],
            receive_buffer: 1 << 20,
            destinations: Destinations::default(),
        };
        assert!(!format!("{config:?}").contains("topsecret"));
        Self { receiver: Receiver::new(&config, start).unwrap(), start, now: start, actions: Vec::new() }
    }

    fn take(&mut self) {
        assert!(self.receiver.poll_transmit(self.now).is_none(), "nothing goes by UDP");
        while let Some(transmit) = self.receiver.poll_stream_transmit() {
            assert_eq!(transmit.stream, 0);
            self.actions.push((self.now - self.start, transmit.action));
        }
    }

    fn run(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            self.take();
            let Some(next) = self.receiver.poll_timeout().filter(|next| *next <= until) else {
                self.now = until;
                return;
            };
            self.now = next.max(self.now);
            self.receiver.handle_timeout(self.now);
            let after = self.receiver.poll_timeout();
            assert!(after.is_none_or(|after| after > self.now), "time stands still");
        }
    }

    fn opened(&self) -> usize {
        self.actions.iter().filter(|(_, action)| *action == StreamAction::Open).count()
    }

    fn failures(&self) -> String {
        self.receiver.server_failures().join("; ")
    }
}

#[test]
fn a_server_that_never_answers_is_named_and_given_up() {
    let mut world = World::new();
    world.run(Duration::from_millis(249));
    assert_eq!(world.opened(), 0, "UDP has the first word");
    world.run(Duration::from_millis(1));
    assert_eq!(world.opened(), 1);
    world.receiver.stream_opened(0, world.now);
    world.run(Duration::from_millis(1));
    assert!(
        matches!(&world.actions[1].1, StreamAction::Send(data) if data[..2] == [0, 3]),
        "an Allocate request"
    );
    world.run(Duration::from_secs(14));
    assert_eq!(world.actions.len(), 2, "a request is sent once over a stream");
    world.run(Duration::from_secs(1));
    assert_eq!(world.actions[2].1, StreamAction::Close);
    assert!(
        world.failures().contains(&format!("{NAME}: connected, but no relay within 15 s")),
        "{}",
        world.failures()
    );
    world.run(Duration::from_secs(3600));
    assert_eq!(world.opened(), 8);
    assert!(world.failures().ends_with("it is not tried again for this connection"), "{}", world.failures());
    assert!(!world.failures().contains("topsecret"));
}

#[test]
fn one_that_speaks_something_else_is_closed_at_once() {
    let mut world = World::new();
    world.run(Duration::from_millis(250));
    world.receiver.stream_opened(0, world.now);
    world.receiver.handle_stream(0, b"HTTP/1.1 400 Bad Request\r\n\r\n", world.now);
    world.take();
    assert_eq!(world.actions.last().unwrap().1, StreamAction::Close);
    assert!(world.failures().starts_with(NAME), "{}", world.failures());
    // What still comes of it is nobody's.
    world.receiver.handle_stream(0, &[0; 100], world.now);
    world.run(Duration::from_millis(1001));
    assert_eq!(world.opened(), 2, "once more, in case it was a stumble");
}

#[test]
fn what_was_asked_for_is_given_back_at_the_end() {
    let mut world = World::new();
    world.run(Duration::from_millis(250));
    world.receiver.stream_opened(0, world.now);
    world.receiver.close(world.now);
    world.take();
    assert_eq!(world.actions.last().unwrap().1, StreamAction::Close);
}

#[derive(Clone, Debug)]
enum Event {
    Wait(u64),
    Opened(usize),
    Closed(usize),
    Data(Vec<u8>),
    /// An error to the newest request.
    Refused(u8),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0..40_000_u64).prop_map(Event::Wait),
        (0..2_usize).prop_map(Event::Opened),
        (0..2_usize).prop_map(Event::Closed),
        proptest::collection::vec(any::<u8>(), 0..600).prop_map(Event::Data),
        (0..99_u8).prop_map(Event::Refused),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Nothing that a server or the network does makes it panic, spin, or ask for ever.
    #[test]
    fn whatever_a_server_does_is_bounded(events in proptest::collection::vec(event(), 0..120)) {
        let mut world = World::new();
        for event in events {
            match event {
                Event::Wait(millis) => world.run(Duration::from_millis(millis)),
                Event::Opened(stream) => world.receiver.stream_opened(stream, world.now),
                Event::Closed(stream) => world.receiver.stream_closed(stream, "reset", world.now),
                Event::Data(data) => world.receiver.handle_stream(0, &data, world.now),
                Event::Refused(code) => {
                    let request = world.actions.iter().rev().find_map(|(_, action)| match action {
                        StreamAction::Send(data) => Some(data.clone()),
                        _ => None,
                    });
                    if let Some(request) = request.filter(|request| request.len() >= 20) {
                        let mut answer = vec![request[0] | 1, request[1] | 0x10, 0, 8];
                        answer.extend(&request[4..20]);
                        answer.extend([0, 9, 0, 4, 0, 0, 4, code]);
                        world.receiver.handle_stream(0, &answer, world.now);
                    }
                }
            }
            world.take();
            while world.receiver.poll_event().is_some() {}
        }
        world.run(Duration::from_secs(3600));
        prop_assert!(world.opened() <= 8);
        prop_assert!(world.receiver.server_failures().len() <= 64);
        prop_assert!(world.actions.len() < 2_000, "{}", world.actions.len());
    }
}
