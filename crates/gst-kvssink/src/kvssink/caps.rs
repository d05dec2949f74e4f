//! Pad templates, and what caps say of a track.

use std::sync::LazyLock;

use bytes::Bytes;
use kvs_putmedia::{Codec, TrackFormat};

/// `video_%u` and `audio_%u`, as the C++ element has them. H.265 must be length-prefixed: byte-stream has no
/// CodecPrivate, and KVS could not play it.
pub(super) static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
    let pixels = || gst::IntRange::new(16, i32::MAX);
    let video = gst::Caps::builder_full()
        .structure(
            gst::Structure::builder("video/x-h264")
                .field("stream-format", "avc")
                .field("alignment", "au")
                .field("width", pixels())
                .field("height", pixels())
                .build(),
        )
        .structure(
            gst::Structure::builder("video/x-h265")
                .field("stream-format", gst::List::new(["hvc1", "hev1"]))
                .field("alignment", "au")
                .field("width", pixels())
                .field("height", pixels())
                .build(),
        )
        .build();
    let g711 = |name: &str| {
        gst::Structure::builder(name)
            .field("channels", gst::List::new([1, 2]))
            .field("rate", gst::IntRange::new(8000, 192_000))
            .build()
    };
    let audio = gst::Caps::builder_full()
        .structure(
            gst::Structure::builder("audio/mpeg")
                .field("mpegversion", gst::List::new([2, 4]))
                .field("stream-format", "raw")
                .field("channels", gst::IntRange::new(1, i32::MAX))
                .field("rate", gst::IntRange::new(1, i32::MAX))
                .build(),
        )
        .structure(g711("audio/x-alaw"))
        .structure(g711("audio/x-mulaw"))
        .build();
    [("video_%u", video), ("audio_%u", audio)]
        .into_iter()
        .filter_map(|(name, caps)| {
            gst::PadTemplate::new(name, gst::PadDirection::Sink, gst::PadPresence::Request, &caps).ok()
        })
        .collect()
});

/// The format that caps describe; the error names what they lack.
pub(super) fn format(caps: &gst::CapsRef, track_name: &str) -> Result<TrackFormat, String> {
    let caps_text = caps.to_string();
    let structure = caps.structure(0).ok_or("empty caps")?;
    let number = |field: &str| {
        let value = structure.get::<i32>(field).map_err(|_| format!("no {field} in {caps_text}"))?;
        u32::try_from(value).map_err(|_| format!("{field} is negative in {caps_text}"))
    };
    let codec_data = || {
        let buffer = structure
            .get::<gst::Buffer>("codec_data")
            .map_err(|_| format!("no codec_data in {caps_text}"))?;
        let map = buffer.map_readable().map_err(|_| format!("unreadable codec_data in {caps_text}"))?;
        Ok::<_, String>(Bytes::copy_from_slice(&map))
    };
    Ok(match structure.name().as_str() {
        "video/x-h264" => {
            TrackFormat::h264(codec_data()?, number("width")?, number("height")?).with_name(track_name)
        }
        "video/x-h265" => {
            TrackFormat::h265(codec_data()?, number("width")?, number("height")?).with_name(track_name)
        }
        "audio/mpeg" => TrackFormat::aac(codec_data()?, number("rate")?, number("channels")?),
        "audio/x-alaw" => TrackFormat::g711(Codec::Alaw, number("rate")?, number("channels")?),
        "audio/x-mulaw" => TrackFormat::g711(Codec::Mulaw, number("rate")?, number("channels")?),
        other => return Err(format!("{other} cannot be stored")),
    })
}
