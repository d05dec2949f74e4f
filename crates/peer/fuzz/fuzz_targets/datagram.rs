#![no_main]
//! Any datagrams, of anybody, to a receiver that waits for its master: from the master's address, from a STUN and TURN
//! server's, and from others. Nothing is sent to where nothing may be.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use kvs_media::VideoCodec;
use kvs_peer::{Config, Destinations, IceServer, Receiver};
use libfuzzer_sys::fuzz_target;

const ANSWER: &str = include_str!("../../tests/answers/chromium.sdp");

fuzz_target!(|data: &[u8]| {
    let address = |text: &str| -> SocketAddr { text.parse().expect("an address") };
    let (ours, server) = (address("192.0.2.1:5000"), address("203.0.113.1:3478"));
    let from = [address("198.51.100.7:6000"), server, address("127.0.0.1:6000"), address("[2001:db8::1]:6000")];
    let config = Config {
        video: vec![VideoCodec::H264],
        audio: Vec::new(),
        data: None,
        start_bitrate_kbps: None,
        relay_only: false,
        ice_servers: vec![IceServer { address: server, credentials: Some(("user".to_owned(), "password".to_owned())) }],
        turn_streams: Vec::new(),
        sockets: vec![ours],
        receive_buffer: 1 << 20,
        destinations: Destinations::default(),
    };
    let mut now = Instant::now();
    let Ok(mut receiver) = Receiver::new(&config, now) else { return };
    let _ = receiver.accept_answer(&ANSWER.replace('\n', "\r\n"), now);
    let _ = receiver.add_remote_candidate("candidate:1 1 udp 1 198.51.100.7 6000 typ host", 0, now);
    let mut rest = data;
    while let [head, length, tail @ ..] = rest {
        let (datagram, after) = tail.split_at(usize::from(*length).min(tail.len()));
        rest = after;
        receiver.handle_datagram(ours, from[usize::from(*head) % from.len()], datagram, now);
        now += Duration::from_millis(u64::from(*head));
        if receiver.poll_timeout().is_some_and(|at| at <= now) {
            receiver.handle_timeout(now);
        }
        while let Some(transmit) = receiver.poll_transmit(now) {
            assert!(!transmit.remote.ip().is_loopback());
        }
        while receiver.poll_event().is_some() {}
    }
    assert_eq!(receiver.figures(now).pair, None, "nobody has proven anything");
});
