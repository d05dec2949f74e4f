//! The TURN server without sockets, for a fuzzer.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use super::credentials::TurnCredentials;
use super::turn::{At, Client, Frame, Link, Opened, Output, RelayId, Relays, Settings, Turn, next_frame};

struct Never;

impl Relays for Never {
    fn open(&mut self, _even: bool, _pair: bool) -> io::Result<Opened> {
        panic!("a relay for somebody who has signed nothing");
    }
}

/// Any bytes of somebody without credentials, once as the messages of a stream and once as datagrams of their lengths: each is
/// answered at most once, and with no more than is known before anybody has signed.
pub fn turn(bytes: &[u8]) {
    let settings = Settings {
        relays: Ipv4Addr::LOCALHOST.into(),
        loopback: true,
        per_channel: Some(1),
        bytes_per_second: Some(1_000),
    };
    let mut turn = Turn::new(settings, TurnCredentials::new(Duration::from_secs(300)), Instant::now());
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 4_000));
    let mut rest = bytes;
    while let Frame::Whole { length, padded } = next_frame(rest) {
        assert!(0 < length && length <= padded && padded <= rest.len());
        for link in [Link::Stream(1), Link::Datagram] {
            let client = Client { link, address };
            turn.handle_client(client, &rest[..length], At::now(), &mut Never);
            let outputs: Vec<Output> = std::iter::from_fn(|| turn.poll_output()).collect();
            match &outputs[..] {
                [] => {}
                // a Binding answer and a challenge are of some hundred bytes, whatever was sent
                [Output::ToClient(to, packet)] => assert!(*to == client && packet.len() < 1_000),
                other => panic!("{other:?}"),
            }
            assert!(!turn.has_allocation(client));
        }
        turn.handle_peer(RelayId(0), address, &rest[..length], Instant::now());
        rest = &rest[padded..];
    }
}
