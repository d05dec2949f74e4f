//! FLV tags, as RTMP carries them ("Adobe Flash Video File Format Specification" 10.1, annex E).

use crate::aac::AacConfig;
use crate::media::VideoParameters;
use broadcast_common::Serialize;
use bytes::{BufMut, Bytes, BytesMut};
use rtmp_runtime::amf0::Amf0Value;
use std::time::Duration;

/// Codec 7, AVC; frame type 1 is a key frame, 2 is none.
const KEY: u8 = 0x17;
const INTER: u8 = 0x27;
/// Format 10, AAC; the other bits are always those of 44 kHz, 16 bit, stereo.
const AAC: u8 = 0xaf;
/// `AVCPacketType`, `AACPacketType`.
const CONFIG: u8 = 0;
const DATA: u8 = 1;
/// `videocodecid` and `audiocodecid`.
const AVC_ID: f64 = 7.0;
const AAC_ID: f64 = 10.0;

/// What a tag holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagKind {
    /// `onMetaData`.
    Metadata,
    /// A configuration record, which has no time of its own.
    VideoConfig,
    /// An access unit.
    Video,
    /// A key frame.
    KeyFrame,
    /// An AudioSpecificConfig.
    AudioConfig,
    /// A frame of AAC.
    Audio,
    /// A frame of AAC that nobody sent.
    Silence,
}

/// A message to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// What it holds.
    pub kind: TagKind,
    /// Milliseconds since the broadcast began, modulo 2^32: when it is decoded.
    pub timestamp: u32,
    /// The tag's data, without header.
    pub body: Bytes,
    /// When it was captured, since 1970, if that is known.
    pub captured: Option<Duration>,
}

/// How much later than it is decoded a picture is presented: 24 bits with a sign.
const MAX_COMPOSITION: u32 = 0x7f_ffff;

fn video(first: u8, packet: u8, composition: u32, data: &[u8]) -> Bytes {
    let mut body = BytesMut::with_capacity(5 + data.len());
    body.put_slice(&[first, packet]);
    body.put_uint(u64::from(composition.min(MAX_COMPOSITION)), 3);
    body.put_slice(data);
    body.freeze()
}

/// The body of a tag with a configuration record.
pub(crate) fn video_config(parameters: &VideoParameters) -> Bytes {
    video(KEY, CONFIG, 0, &parameters.record)
}

/// The body of a tag with an access unit that is presented `composition` milliseconds after it is decoded.
pub(crate) fn picture(idr: bool, composition: u32, data: &[u8]) -> Bytes {
    video(if idr { KEY } else { INTER }, DATA, composition, data)
}

/// The body of a tag with an AudioSpecificConfig.
pub(crate) fn audio_config(config: AacConfig) -> Bytes {
    Bytes::copy_from_slice(&[&[AAC, CONFIG], &config.bytes()[..]].concat())
}

/// The body of a tag with a frame of AAC.
pub(crate) fn sound(data: &[u8]) -> Bytes {
    Bytes::copy_from_slice(&[&[AAC, DATA], data].concat())
}

/// The body of a data message that tells what follows.
pub(crate) fn metadata(video: Option<&VideoParameters>, audio: Option<AacConfig>) -> Bytes {
    let number = |name: &str, value: f64| (name.to_owned(), Amf0Value::Number(value));
    let mut fields = Vec::new();
    if let Some(video) = video {
        fields.push(number("width", f64::from(video.width)));
        fields.push(number("height", f64::from(video.height)));
        fields.push(number("videocodecid", AVC_ID));
    }
    if let Some(audio) = audio {
        fields.push(number("audiocodecid", AAC_ID));
        fields.push(number("audiosamplerate", f64::from(audio.rate())));
        fields.push(number("audiosamplesize", 16.0));
        fields.push(("stereo".to_owned(), Amf0Value::Boolean(audio.channels() == 2)));
    }
    let encoder = format!("kvs-ingest/{}", env!("CARGO_PKG_VERSION"));
    fields.push(("encoder".to_owned(), Amf0Value::String(encoder)));
    let values = [
        Amf0Value::String("@setDataFrame".to_owned()),
        Amf0Value::String("onMetaData".to_owned()),
        Amf0Value::EcmaArray(fields),
    ];
    // Short strings and numbers: none of them fails.
    values.iter().filter_map(|value| value.try_to_bytes().ok()).flatten().collect::<Vec<u8>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_those_of_the_specification() {
        let record = VideoParameters { record: vec![1, 66, 0, 31].into(), width: 1280, height: 720 };
        assert_eq!(video_config(&record)[..], [0x17, 0, 0, 0, 0, 1, 66, 0, 31]);
        assert_eq!(picture(true, 0, &[9])[..], [0x17, 1, 0, 0, 0, 9]);
        assert_eq!(picture(false, 0x01_02_03, &[9])[..], [0x27, 1, 1, 2, 3, 9]);
        assert_eq!(audio_config(AacConfig::MONO)[..], [0xaf, 0, 0x11, 0x88]);
        assert_eq!(sound(&[5, 6])[..], [0xaf, 1, 5, 6]);
        let text = metadata(Some(&record), Some(AacConfig::MONO));
        assert_eq!(text[..16], *b"\x02\x00\x0d@setDataFrame");
        for word in ["onMetaData", "width", "height", "videocodecid", "audiosamplerate", "stereo", "encoder"]
        {
            assert!(text.windows(word.len()).any(|it| it == word.as_bytes()), "no {word}");
        }
    }
}
