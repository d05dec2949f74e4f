//! Payloads, each behind its length, through the depacketizer of a codec.

use bytes::Bytes;
use kvs_media::{Depacketizer, NalCodec};

/// `is_unit`: what may come out.
pub fn depacketize<C: NalCodec>(data: &[u8], is_unit: impl Fn(&[u8]) -> bool) {
    let mut depacketizer = Depacketizer::<C>::default();
    let mut nals = Vec::new();
    let mut rest = data;
    while let Some((&length, behind)) = rest.split_first() {
        let (payload, behind) = behind.split_at(behind.len().min(usize::from(length)));
        let _ = depacketizer.push(&Bytes::copy_from_slice(payload), u32::from(length & 1), &mut nals);
        rest = behind;
    }
    assert!(nals.iter().all(|nal| is_unit(nal)));
}
