//! The Matroska layout of a PutMedia session: EBML header, one segment and one cluster per fragment, all of
//! unknown size; then simple blocks and, between clusters, tags. Nothing else: no cues, no seek head, no
//! duration, no second track list (the service answers 4006 to those).

use bytes::{Bytes, BytesMut};

use crate::ebml::{SizeWidth, put_bytes, put_float, put_head, put_master, put_size, put_uint, put_unknown};
use crate::{TrackDetails, TrackFormat};

const EBML: u32 = 0x1a45_dfa3;
const SEGMENT: u32 = 0x1853_8067;
const INFO: u32 = 0x1549_a966;
const TRACKS: u32 = 0x1654_ae6b;
const CLUSTER: u32 = 0x1f43_b675;
const TAGS: u32 = 0x1254_c367;

const APPLICATION: &str = concat!("kvs-ingest ", env!("CARGO_PKG_VERSION"));

/// Name of the tag that tells the service that the fragment before it is whole.
const END_OF_FRAGMENT: &str = "AWS_KINESISVIDEO_END_OF_FRAGMENT";

/// Header of a session. `tracks` in track-number order, from 1.
pub(crate) fn session_header<'a>(
    segment_uid: &[u8; 16],
    timecode_scale_ms: u32,
    tracks: impl Iterator<Item = &'a TrackFormat>,
) -> Bytes {
    let mut out = BytesMut::with_capacity(512);
    put_master(&mut out, EBML, SizeWidth::Shortest, |ebml| {
        put_uint(ebml, 0x4286, 1, 1); // EBMLVersion
        put_uint(ebml, 0x42f7, 1, 1); // EBMLReadVersion
        put_uint(ebml, 0x42f2, 4, 1); // EBMLMaxIDLength
        put_uint(ebml, 0x42f3, 8, 1); // EBMLMaxSizeLength
        put_bytes(ebml, 0x4282, b"matroska"); // DocType
        put_uint(ebml, 0x4287, 2, 1); // DocTypeVersion
        put_uint(ebml, 0x4285, 2, 1); // DocTypeReadVersion
    });
    put_unknown(&mut out, SEGMENT);
    put_master(&mut out, INFO, SizeWidth::Fixed(2), |info| {
        // The same in all sessions of one producer, which marks them as one recording.
        put_bytes(info, 0x73a4, segment_uid); // SegmentUID
        put_uint(info, 0x002a_d7b1, u64::from(timecode_scale_ms) * 1_000_000, 8); // TimestampScale
        put_bytes(info, 0x7ba9, b"Kinesis Video"); // Title
        put_bytes(info, 0x4d80, APPLICATION.as_bytes()); // MuxingApp
        put_bytes(info, 0x5741, APPLICATION.as_bytes()); // WritingApp
    });
    put_master(&mut out, TRACKS, SizeWidth::Fixed(4), |list| {
        for (number, track) in (1u64..).zip(tracks) {
            put_master(list, 0xae, SizeWidth::Fixed(4), |entry| put_track(entry, number, track));
        }
    });
    out.freeze()
}

fn put_track(entry: &mut BytesMut, number: u64, track: &TrackFormat) {
    put_uint(entry, 0xd7, number, 1); // TrackNumber
    put_uint(entry, 0x73c5, number, 8); // TrackUID
    let kind = match track.details {
        TrackDetails::Video { .. } => 1,
        TrackDetails::Audio { .. } => 2,
    };
    put_uint(entry, 0x83, kind, 1); // TrackType
    put_bytes(entry, 0x536e, track.name.as_bytes()); // Name
    put_bytes(entry, 0x86, track.codec.codec_id().as_bytes()); // CodecID
    match track.details {
        TrackDetails::Video { width, height } => {
            let bytes = if width.max(height) > u32::from(u16::MAX) { 4 } else { 2 };
            put_master(entry, 0xe0, SizeWidth::Fixed(4), |video| {
                put_uint(video, 0xb0, u64::from(width), bytes); // PixelWidth
                put_uint(video, 0xba, u64::from(height), bytes); // PixelHeight
            });
        }
        TrackDetails::Audio { sample_rate, channels, bit_depth } => {
            put_master(entry, 0xe1, SizeWidth::Fixed(4), |audio| {
                put_float(audio, 0xb5, f64::from(sample_rate)); // SamplingFrequency
                put_uint(audio, 0x9f, u64::from(channels.min(255)), 1); // Channels
                if let Some(bits) = bit_depth {
                    put_uint(audio, 0x6264, u64::from(bits), 1); // BitDepth
                }
            });
        }
    }
    if !track.codec_private.is_empty() {
        put_bytes(entry, 0x63a2, &track.codec_private); // CodecPrivate
    }
}

/// Start of a cluster, and with it of a fragment.
pub(crate) fn put_cluster(out: &mut BytesMut, timecode: u64) {
    put_unknown(out, CLUSTER);
    put_uint(out, 0xe7, timecode, 8); // Timestamp
    put_uint(out, 0xa7, 0, 1); // Position: unknown in a live stream
}

/// A simple block without its payload: `relative` to the cluster, in timecode units.
pub(crate) fn put_block_head(out: &mut BytesMut, track: u8, relative: i16, key: bool, payload: usize) {
    put_head(out, 0xa3, payload as u64 + 4, SizeWidth::Fixed(8));
    put_size(out, u64::from(track), SizeWidth::Fixed(1));
    out.extend_from_slice(&relative.to_be_bytes());
    out.extend_from_slice(&[if key { 0x80 } else { 0 }]);
}

/// The metadata of a fragment; between clusters it belongs to the fragment that follows. An element for each piece,
/// and one for an event of the service (its names begin with `AWS`) with everything behind it, which describes it.
pub(crate) fn put_tags(out: &mut BytesMut, tags: &[(String, String)]) {
    let event = tags.iter().position(|(name, _)| name.starts_with("AWS")).unwrap_or(tags.len());
    let (plain, event) = tags.split_at(event);
    for tag in plain {
        put_tag(out, std::slice::from_ref(tag));
    }
    if !event.is_empty() {
        put_tag(out, event);
    }
}

fn put_tag<S: AsRef<str>>(out: &mut BytesMut, simple_tags: &[(S, S)]) {
    let width = SizeWidth::Fixed(8);
    put_master(out, TAGS, width, |tags| {
        put_master(tags, 0x7373, width, |tag| {
            for (name, value) in simple_tags {
                put_master(tag, 0x67c8, width, |simple| {
                    let (name, value) = (name.as_ref(), value.as_ref());
                    put_head(simple, 0x45a3, name.len() as u64, width); // TagName
                    simple.extend_from_slice(name.as_bytes());
                    put_head(simple, 0x4487, value.len() as u64, width); // TagString
                    simple.extend_from_slice(value.as_bytes());
                });
            }
        });
    });
}

/// The mark that the fragment before it is whole, so that the service need not wait for the next cluster.
pub(crate) fn put_end_of_fragment(out: &mut BytesMut) {
    put_tag(out, &[(END_OF_FRAGMENT, "")]);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn header_has_the_documented_offsets() {
        let video = TrackFormat::h264(Bytes::from_static(&[1, 2, 3]), 640, 480);
        let header = session_header(&[7; 16], 1, std::iter::once(&video));
        assert_eq!(header[..5], [0x1a, 0x45, 0xdf, 0xa3, 0x80 | 35]);
        assert_eq!(header[40..45], [0x18, 0x53, 0x80, 0x67, 0xff]);
        assert_eq!(header[45..50], [0x15, 0x49, 0xa9, 0x66, 0x40]);
        let tracks = 51 + usize::from(header[50]);
        assert_eq!(header[tracks..tracks + 4], [0x16, 0x54, 0xae, 0x6b]);
        assert_eq!(header[tracks + 8], 0xae);
        assert_eq!(header[header.len() - 6..], [0x63, 0xa2, 0x83, 1, 2, 3]);
    }

    #[test]
    fn cluster_and_block_match_the_capture() {
        let mut out = BytesMut::new();
        put_cluster(&mut out, 0x0102_0304_0506_0708);
        assert_eq!(
            &out[..],
            [0x1f, 0x43, 0xb6, 0x75, 0xff, 0xe7, 0x88, 1, 2, 3, 4, 5, 6, 7, 8, 0xa7, 0x81, 0]
        );
        out.clear();
        put_block_head(&mut out, 1, 33, true, 5);
        assert_eq!(&out[..], [0xa3, 0x01, 0, 0, 0, 0, 0, 0, 9, 0x81, 0, 33, 0x80]);
    }

    #[test]
    fn tags_match_the_capture() {
        let mut out = BytesMut::new();
        put_end_of_fragment(&mut out);
        let mut want = vec![0x12, 0x54, 0xc3, 0x67, 1, 0, 0, 0, 0, 0, 0, 0x48];
        want.extend([0x73, 0x73, 1, 0, 0, 0, 0, 0, 0, 0x3e, 0x67, 0xc8, 1, 0, 0, 0, 0, 0, 0, 0x34]);
        want.extend([0x45, 0xa3, 1, 0, 0, 0, 0, 0, 0, 0x20]);
        want.extend(END_OF_FRAGMENT.bytes());
        want.extend([0x44, 0x87, 1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(out.len(), 84);
        assert_eq!(&out[..], want);
        out.clear();
        let tag = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        put_tags(&mut out, &[tag("color", "red")]);
        assert_eq!(out.len(), 60);
        out.clear();
        let event = [tag("color", "red"), tag("AWS_KINESISVIDEO_NOTIFICATION", ""), tag("door", "open")];
        put_tags(&mut out, &event);
        let elements = out.windows(4).filter(|window| *window == [0x12, 0x54, 0xc3, 0x67]).count();
        assert_eq!(elements, 2, "an event and what describes it are one element");
    }
}
