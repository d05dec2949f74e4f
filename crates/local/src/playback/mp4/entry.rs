//! Sample entries: what a decoder is set up with.

use super::boxes::{boxed, full, put16, put32};
use crate::playback::media::{AudioCodec, AudioConfig, Config, VideoCodec, VideoConfig};

/// The only `SampleEntry` of a track. `CodecPrivate` goes into it as it came.
pub(super) fn sample_entry(out: &mut Vec<u8>, config: &Config) {
    match config {
        Config::Video(video) => visual(out, video),
        Config::Audio(audio) => sound(out, audio),
    }
}

/// ISO/IEC 14496-15 sections 5.4.2 and 8.4.1.
fn visual(out: &mut Vec<u8>, video: &VideoConfig) {
    let (entry, record) = match (video.codec, video.complete) {
        (VideoCodec::H264, _) => (b"avc1", b"avcC"),
        (VideoCodec::H265, true) => (b"hvc1", b"hvcC"),
        (VideoCodec::H265, false) => (b"hev1", b"hvcC"),
    };
    boxed(out, entry, |out| {
        out.extend([0; 6]);
        put16(out, 1);
        out.extend([0; 16]);
        put16(out, pixels(video.width));
        put16(out, pixels(video.height));
        put32(out, 0x0048_0000);
        put32(out, 0x0048_0000);
        put32(out, 0);
        put16(out, 1);
        out.extend([0; 32]);
        put16(out, 24);
        put16(out, 0xFFFF);
        boxed(out, record, |out| out.extend(&video.record[..]));
    });
}

fn pixels(count: u32) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

fn sound(out: &mut Vec<u8>, audio: &AudioConfig) {
    let entry = match audio.codec {
        AudioCodec::Aac { .. } => b"mp4a",
        AudioCodec::Alaw => b"alaw",
        AudioCodec::Ulaw => b"ulaw",
    };
    boxed(out, entry, |out| {
        out.extend([0; 6]);
        put16(out, 1);
        out.extend([0; 8]);
        put16(out, audio.channels);
        put16(out, 16);
        put32(out, 0);
        // 16.16; rates that do not fit are told by the decoder's configuration alone
        put32(out, u16::try_from(audio.rate).map_or(0, |rate| u32::from(rate) << 16));
        if let AudioCodec::Aac { config, .. } = &audio.codec {
            full(out, b"esds", 0, 0, |out| elementary_stream(out, config));
        }
    });
}

/// `ES_Descriptor` (ISO/IEC 14496-1 section 7.2.6.5) of AAC.
fn elementary_stream(out: &mut Vec<u8>, config: &[u8]) {
    descriptor(out, 0x03, |out| {
        put16(out, 0);
        out.push(0);
        descriptor(out, 0x04, |out| {
            out.extend([0x40, 0x15]); // MPEG-4 audio, an audio stream
            out.extend([0; 3]);
            put32(out, 0);
            put32(out, 0);
            descriptor(out, 0x05, |out| out.extend(config));
        });
        descriptor(out, 0x06, |out| out.push(2));
    });
}

/// With its length in four bytes of seven bits.
fn descriptor(out: &mut Vec<u8>, tag: u8, content: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    let start = out.len();
    out.extend([0; 4]);
    content(out);
    let length = out.len() - start - 4;
    for (index, shift) in [21, 14, 7, 0].into_iter().enumerate() {
        let more = if shift == 0 { 0 } else { 0x80 };
        out[start + index] = (length >> shift & 0x7F) as u8 | more;
    }
}
