#![no_main]
//! Any bytes at the TURN server.

use kvs_local::fuzzing::turn;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| turn(data));
