#![no_main]
//! Any bytes as an ICE candidate.

use kvs_peer::sdp::{sendable_candidate, usable_candidate};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    if let Ok(candidate) = usable_candidate(&text) {
        assert_eq!(usable_candidate(&candidate), Ok(candidate));
    }
    if let Some(candidate) = sendable_candidate(&text) {
        assert!(candidate.len() <= 255 && candidate.is_ascii());
    }
});
