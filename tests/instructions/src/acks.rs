//! The parser of acknowledgements.

use kvs_putmedia::AckParser;

use crate::region::counted_region;

const FRAGMENTS: u64 = 100;
/// Answers come in pieces that know nothing of lines.
const PIECE: usize = 333;

/// As the service writes them, an error among them.
pub fn parsed() -> u64 {
    let mut body = Vec::new();
    for number in 0..FRAGMENTS {
        for kind in ["BUFFERING", "RECEIVED", "PERSISTED"] {
            let (timecode, fragment) = (1_800_000_000_000 + number * 2_000, 91_343_852_333_000 + number);
            body.extend(
                format!(
                    "{{\"EventType\":\"{kind}\",\"FragmentTimecode\":{timecode},\"FragmentNumber\":\"{fragment}\"}}\r\n"
                )
                .into_bytes(),
            );
        }
    }
    body.extend(br#"{"EventType":"ERROR","FragmentTimecode":1800000000000,"ErrorCode":"INVALID_MKV_DATA","ErrorId":4006}"#);
    let acks = counted_region(|| {
        let mut parser = AckParser::default();
        body.chunks(PIECE).flat_map(|piece| parser.push(piece)).count() as u64
    });
    assert_eq!(acks, 3 * FRAGMENTS + 1, "acknowledgements were understood");
    acks
}
