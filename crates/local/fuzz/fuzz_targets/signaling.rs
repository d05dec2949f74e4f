#![no_main]
//! Any bytes as a text frame of signaling, from a viewer and from a master.

use std::time::{Duration, Instant};

use kvs_local::{
    SignalingLimits,
    signaling::{Hub, Role},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let (mut hub, now) = (Hub::new(SignalingLimits::default()), Instant::now());
    let ttl = Duration::from_secs(60);
    let roles = [Role::Master, Role::Viewer("v".to_owned())];
    let sockets: Vec<_> =
        roles.into_iter().filter_map(|role| hub.connect("c", ttl, role, now).ok()).collect();
    for socket in sockets {
        hub.message(socket, &text, now);
        // to the other, or a complaint to the sender
        assert!(std::iter::from_fn(|| hub.poll_output()).count() <= 1);
    }
});
