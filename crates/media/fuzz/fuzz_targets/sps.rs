#![no_main]
//! Any bytes as a sequence parameter set.

use kvs_media::{H265Sps, Sps};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(sps) = Sps::parse(data) {
        assert!(sps.format.width > 0 && sps.format.height > 0);
    }
    if let Ok(sps) = H265Sps::parse(data) {
        assert!(sps.format.width > 0 && sps.format.height > 0);
    }
});
