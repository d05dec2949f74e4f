#![no_main]
//! Any bytes as the body of PutMedia, in any pieces: `[length of the pieces, bytes …]`.

use kvs_local::{
    FragmentLimits,
    putmedia::{Ingest, Output},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [length, bytes @ ..] = data else { return };
    let limits = FragmentLimits { fragment_bytes: 10_000, ..FragmentLimits::default() };
    let mut ingest = Ingest::new(limits);
    let mut outputs: Vec<Output> =
        bytes.chunks(usize::from(*length) + 1).flat_map(|piece| ingest.push(piece)).collect();
    outputs.extend(ingest.finish());
    let mut refused = 0;
    for output in &outputs {
        assert_eq!(refused, 0, "nothing comes after a refusal");
        match output {
            Output::Complete(fragment) => {
                assert!(!fragment.raw.is_empty() && fragment.raw.len() <= bytes.len())
            }
            Output::Refused { .. } => refused += 1,
            Output::Begun { .. } => {}
        }
    }
});
