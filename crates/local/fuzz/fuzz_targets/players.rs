#![no_main]
//! Any header and fragment as what players are given: `[length of the header, two bytes; its bytes; the fragment]`.

use kvs_local::fuzzing::players;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((length, rest)) = data.split_first_chunk() else { return };
    let (header, fragment) = rest.split_at(usize::from(u16::from_be_bytes(*length)).min(rest.len()));
    players(header, fragment, 1_700_000_000_000);
});
