#![no_main]
//! Payloads of H.264.

mod depacketize;

use depacketize::depacketize;
use kvs_media::H264;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| depacketize::<H264>(data, |nal| (1..=23).contains(&(nal[0] & 0x1f))));
