#![no_main]
//! Payloads of H.265.

mod depacketize;

use depacketize::depacketize;
use kvs_media::H265;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| depacketize::<H265>(data, |nal| nal.len() >= 2 && nal[0] >> 1 & 0x3f < 48));
