#![no_main]
//! Any bytes as a spooled fragment, with checksums put right so that more than those is reached; what is read is written
//! as it was.

use bytes::Bytes;
use kvs_putmedia::spool::{PREFIX, SpooledFragment};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut file = data.to_vec();
    try_read(&file);
    if let Some(prefix) = file.first_chunk_mut::<PREFIX>() {
        prefix[..8].copy_from_slice(b"KVSSPOOL");
        let version = 1 + u32::from(prefix[8] & 1);
        prefix[8..12].copy_from_slice(&version.to_le_bytes());
        let head = (u32::from_le_bytes([prefix[12], prefix[13], prefix[14], prefix[15]]) as usize)
            .min(file.len() - PREFIX);
        let media = file.len() - PREFIX - head;
        file[12..16].copy_from_slice(&(head as u32).to_le_bytes());
        file[16..24].copy_from_slice(&(media as u64).to_le_bytes());
        let media_crc = crc32fast::hash(&file[PREFIX + head..]);
        file[24..28].copy_from_slice(&media_crc.to_le_bytes());
        let mut head_crc = crc32fast::Hasher::new();
        head_crc.update(&file[..PREFIX - 4]);
        head_crc.update(&file[PREFIX..PREFIX + head]);
        file[28..32].copy_from_slice(&head_crc.finalize().to_le_bytes());
        try_read(&file);
    }
});

fn try_read(file: &[u8]) {
    let file = Bytes::copy_from_slice(file);
    if let Ok(fragment) = SpooledFragment::parse(&file) {
        let mut written = Vec::new();
        fragment.write(&mut written).expect("memory takes it");
        assert_eq!(SpooledFragment::parse(&written.clone().into()).expect("it was just written"), fragment);
        assert_eq!(written.len() as u64, fragment.file_len());
    }
}
