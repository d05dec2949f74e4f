//! Stored fragments for the tests of players: headers and clusters as PutMedia takes them.

use bytes::Bytes;

pub(in crate::playback) const SPS: &str = "6742c00bda0507ec044000000300400000030083c50aa8";
const PPS: &str = "68ce0fc8";
const H265: [(u8, &str); 3] = [
    (32, "40010c01ffff01600000030090000003000003003c959409"),
    (33, "42010101600000030090000003000003003ca00a080f16595952930bc05a020000030002000003000210"),
    (34, "4401c073c189"),
];

fn element(id: &[u8], content: &[u8]) -> Vec<u8> {
    let mut out = id.to_vec();
    out.push(0x01);
    out.extend(&(content.len() as u64).to_be_bytes()[1..]);
    out.extend(content);
    out
}

fn with_length(nal: &str) -> Vec<u8> {
    let nal = hex::decode(nal).unwrap();
    [&(nal.len() as u16).to_be_bytes()[..], &nal].concat()
}

/// An AVC decoder configuration record with lengths of four bytes.
pub(in crate::playback) fn avcc(sps: &str) -> Vec<u8> {
    let profile = hex::decode(&sps[2..8]).unwrap();
    [&[1][..], &profile, &[0xFF, 0xE1], &with_length(sps), &[1], &with_length(PPS)].concat()
}

/// An HEVC decoder configuration record.
pub(in crate::playback) fn hvcc() -> Vec<u8> {
    let mut out = hex::decode("0101600000009000000000003cf000fcfdf8f800000f03").unwrap();
    for (kind, nal) in H265 {
        out.extend([0x80 | kind, 0, 1]);
        out.extend(with_length(nal));
    }
    out
}

/// AAC LC, 48 kHz, two channels.
pub(in crate::playback) const AAC: [u8; 2] = [0x11, 0x90];

/// A-law, or µ-law with the tag 7, at 8 kHz.
pub(in crate::playback) fn g711(tag: u8) -> Vec<u8> {
    [&[tag, 0, 1, 0][..], &8_000_u32.to_le_bytes(), &8_000_u32.to_le_bytes(), &[1, 0, 8, 0, 0, 0]].concat()
}

/// A header with these tracks: codec and `CodecPrivate`, numbered from 1.
pub(in crate::playback) fn header(tracks: &[(&str, &[u8])]) -> Bytes {
    let entries: Vec<u8> = (1_u8..)
        .zip(tracks)
        .flat_map(|(number, (codec, private))| {
            let kind = if codec.starts_with('V') { 1 } else { 2 };
            let private = if private.is_empty() { Vec::new() } else { element(&[0x63, 0xA2], private) };
            let audio = element(&[0xE1], &element(&[0xB5], &48_000_f64.to_be_bytes()));
            let audio = if kind == 2 { audio } else { Vec::new() };
            let fields = [
                element(&[0xD7], &[number]),
                element(&[0x83], &[kind]),
                element(&[0x86], codec.as_bytes()),
                private,
                audio,
            ];
            element(&[0xAE], &fields.concat())
        })
        .collect();
    let tracks = element(&[0x16, 0x54, 0xAE, 0x6B], &entries);
    [element(&[0x1A, 0x45, 0xDF, 0xA3], &[]), vec![0x18, 0x53, 0x80, 0x67, 0xFF], tracks].concat().into()
}

/// A cluster of blocks: track, milliseconds after its timecode, key frame, frame.
pub(in crate::playback) fn cluster(timecode: u64, blocks: &[(u8, i16, bool, Vec<u8>)]) -> Bytes {
    let mut out = vec![0x1F, 0x43, 0xB6, 0x75, 0xFF];
    out.extend(element(&[0xE7], &timecode.to_be_bytes()));
    for (track, time, key, frame) in blocks {
        let head = [&[0x80 | track][..], &time.to_be_bytes(), &[u8::from(*key) << 7]].concat();
        out.extend(element(&[0xA3], &[&head[..], frame].concat()));
    }
    out.into()
}

/// A frame of one NAL unit of this many bytes: an IDR slice of H.264 when it is a key frame, else another slice.
pub(in crate::playback) fn slice(key: bool, length: usize) -> Vec<u8> {
    let mut nal = vec![0xAA; length.max(1)];
    nal[0] = if key { 0x65 } else { 0x41 };
    [&(nal.len() as u32).to_be_bytes()[..], &nal].concat()
}
