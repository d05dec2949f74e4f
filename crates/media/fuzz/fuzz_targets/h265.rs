#![no_main]
//! Payloads, each behind its length, through the depacketizer.

use bytes::Bytes;
use kvs_media::{Depacketizer, H265};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut depacketizer = Depacketizer::<H265>::default();
    let mut nals = Vec::new();
    let mut rest = data;
    while let Some((&length, behind)) = rest.split_first() {
        let (payload, behind) = behind.split_at(behind.len().min(usize::from(length)));
        let _ = depacketizer.push(&Bytes::copy_from_slice(payload), u32::from(length & 1), &mut nals);
        rest = behind;
    }
    assert!(nals.iter().all(|nal| nal.len() >= 2 && nal[0] >> 1 & 0x3f < 48));
});
