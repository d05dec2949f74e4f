//! The little Matroska that this side writes: tags of GetMedia, and what storage sessions put into a stream.

use bytes::{BufMut, Bytes, BytesMut};

/// A track of a [`header`] (RFC 9559 section 5.1.4).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NewTrack {
    pub(crate) number: u8,
    /// `CodecID`.
    pub(crate) codec: &'static str,
    pub(crate) codec_private: Bytes,
    pub(crate) form: Form,
}

/// What a track is of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Form {
    /// Pixels.
    Video { width: u32, height: u32 },
    /// Hz.
    Audio { rate: u32, channels: u8 },
}

/// A frame of a [`cluster`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) track: u8,
    /// Milliseconds from the cluster's timecode on.
    pub(crate) after_ms: i16,
    /// Whether decoding can begin with it.
    pub(crate) key: bool,
    pub(crate) data: Bytes,
}

/// Everything up to the first cluster. Timecodes are milliseconds.
pub(crate) fn header(tracks: &[NewTrack]) -> BytesMut {
    let mut ebml = element(&[0x42, 0x86], &[1]);
    for (id, content) in [
        ([0x42, 0xF7], &[1][..]),
        ([0x42, 0xF2], &[4]),
        ([0x42, 0xF3], &[8]),
        ([0x42, 0x82], b"matroska"),
        ([0x42, 0x87], &[4]),
        ([0x42, 0x85], &[2]),
    ] {
        ebml.extend_from_slice(&element(&id, content));
    }
    let mut info = element(&[0x2A, 0xD7, 0xB1], &1_000_000_u32.to_be_bytes());
    info.extend_from_slice(&element(&[0x4D, 0x80], b"kvs-local"));
    info.extend_from_slice(&element(&[0x57, 0x41], b"kvs-local"));
    let entries: Vec<u8> = tracks.iter().flat_map(|track| element(&[0xAE], &entry(track))).collect();
    let mut out = element(&[0x1A, 0x45, 0xDF, 0xA3], &ebml);
    // a segment whose size is not known
    out.put_slice(&[0x18, 0x53, 0x80, 0x67, 0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]);
    out.extend_from_slice(&element(&[0x15, 0x49, 0xA9, 0x66], &info));
    out.extend_from_slice(&element(&[0x16, 0x54, 0xAE, 0x6B], &entries));
    out
}

fn entry(track: &NewTrack) -> BytesMut {
    let kind = if matches!(track.form, Form::Video { .. }) { 1 } else { 2 };
    let mut entry = element(&[0xD7], &[track.number]);
    entry.extend_from_slice(&element(&[0x73, 0xC5], &[track.number]));
    entry.extend_from_slice(&element(&[0x83], &[kind]));
    // no lacing
    entry.extend_from_slice(&element(&[0x9C], &[0]));
    entry.extend_from_slice(&element(&[0x86], track.codec.as_bytes()));
    entry.extend_from_slice(&element(&[0x63, 0xA2], &track.codec_private));
    entry.extend_from_slice(&match track.form {
        Form::Video { width, height } => {
            let mut video = element(&[0xB0], &width.to_be_bytes());
            video.extend_from_slice(&element(&[0xBA], &height.to_be_bytes()));
            element(&[0xE0], &video)
        }
        Form::Audio { rate, channels } => {
            let mut audio = element(&[0xB5], &f64::from(rate).to_be_bytes());
            audio.extend_from_slice(&element(&[0x9F], &[channels]));
            element(&[0xE1], &audio)
        }
    });
    entry
}

/// A cluster of simple blocks (RFC 9559 section 10.2), in the order that they are given in.
pub(crate) fn cluster(timecode_ms: u64, blocks: &[Block]) -> BytesMut {
    let mut content = element(&[0xE7], &timecode_ms.to_be_bytes());
    for block in blocks {
        let mut simple = BytesMut::with_capacity(block.data.len() + 4);
        simple.put_u8(0x80 | block.track);
        simple.put_i16(block.after_ms);
        simple.put_u8(if block.key { 0x80 } else { 0 });
        simple.put_slice(&block.data);
        content.extend_from_slice(&element(&[0xA3], &simple));
    }
    element(&[0x1F, 0x43, 0xB6, 0x75], &content)
}

/// A `Tags` element with one `Tag` that holds these names and values, sizes in four bytes as the service writes them.
#[must_use]
pub fn tags(pairs: &[(&str, &str)]) -> BytesMut {
    let mut simple = BytesMut::new();
    for (name, value) in pairs {
        let mut content = element(&[0x45, 0xA3], name.as_bytes());
        content.extend_from_slice(&element(&[0x44, 0x87], value.as_bytes()));
        simple.extend_from_slice(&element(&[0x67, 0xC8], &content));
    }
    element(&[0x12, 0x54, 0xC3, 0x67], &element(&[0x73, 0x73], &simple))
}

fn element(id: &[u8], content: &[u8]) -> BytesMut {
    let mut out = BytesMut::with_capacity(id.len() + 4 + content.len());
    out.put_slice(id);
    // Tags, and fragments of 50 MB, are far below the 2^28 that four bytes hold.
    out.put_u32(0x1000_0000 | (content.len() as u32 & 0x0FFF_FFFF));
    out.put_slice(content);
    out
}
