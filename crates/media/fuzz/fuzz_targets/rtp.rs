#![no_main]
//! Any bytes as an RTP packet.

use bytes::Bytes;
use kvs_media::{RtpPacket, opus_duration};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(packet) = RtpPacket::parse(&Bytes::copy_from_slice(data)) {
        assert!(packet.payload.len() + usize::from(packet.padding) + 12 <= data.len());
        let _ = opus_duration(&packet.payload);
    }
});
