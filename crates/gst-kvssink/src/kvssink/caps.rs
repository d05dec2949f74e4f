//! Pad templates, and what caps say of a track.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use kvs_putmedia::{Codec, NalCodec, TrackFormat, nal_length_size};

/// `video_%u` and `audio_%u`, as the C++ element has them. H.265 may come as a byte stream, too: parsers are told first
/// that they need not make one.
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
        .structure(
            gst::Structure::builder("video/x-h265")
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

/// Why a pad cannot take these caps, and what helps; `None` when it can.
pub(super) fn refusal(template: &gst::Caps, caps: &gst::CapsRef) -> Option<String> {
    if caps.can_intersect(template) {
        return None;
    }
    let structure = caps.structure(0)?;
    let help = match structure.name().as_str() {
        "video/x-h264" => "put `h264parse ! video/x-h264,stream-format=avc,alignment=au` in front of kvssink",
        "video/x-h265" => "put `h265parse ! video/x-h265,alignment=au` in front of kvssink",
        "audio/mpeg" => "put `aacparse ! audio/mpeg,mpegversion=4,stream-format=raw` in front of kvssink",
        _ => "Kinesis Video Streams stores H.264, H.265, AAC, A-law and mu-law",
    };
    Some(format!("cannot store {caps}: {help}"))
}

/// How long a video frame lasts: by the caps, or by `framerate` frames a second.
pub(super) fn frame_duration(caps: &gst::CapsRef, framerate: u32) -> Duration {
    let stated = caps.structure(0).and_then(|structure| structure.get::<gst::Fraction>("framerate").ok());
    match stated.map(|rate| (u64::try_from(rate.numer()), u64::try_from(rate.denom()))) {
        Some((Ok(numer @ 1..), Ok(denom @ 1..))) => Duration::from_nanos(denom * 1_000_000_000 / numer),
        _ => Duration::from_secs(1) / framerate.max(1),
    }
}

/// Whether these are caps of an H.265 byte stream: its parameter sets, and with them its format, come with its pictures.
pub(super) fn is_byte_stream(caps: &gst::CapsRef) -> bool {
    caps.structure(0).is_some_and(|structure| {
        let form = structure.get::<&str>("stream-format").ok();
        structure.name() == "video/x-h265"
            && (form == Some("byte-stream") || (form.is_none() && !structure.has_field("codec_data")))
    })
}

/// The format of such caps with this record.
pub(super) fn byte_stream_format(
    caps: &gst::CapsRef,
    record: Bytes,
    track_name: &str,
) -> Result<TrackFormat, String> {
    let mut caps = caps.copy();
    if let Some(caps) = caps.get_mut() {
        caps.set("codec_data", gst::Buffer::from_slice(record));
    }
    format(&caps, track_name)
}

/// The format that caps describe; the error names what they lack.
pub(super) fn format(caps: &gst::CapsRef, track_name: &str) -> Result<TrackFormat, String> {
    let caps_text = caps.to_string();
    let structure = caps.structure(0).ok_or("empty caps")?;
    let number = |field: &str| {
        let value = structure.get::<i32>(field).map_err(|_| format!("no {field} in {caps_text}"))?;
        u32::try_from(value).map_err(|_| format!("{field} is negative in {caps_text}"))
    };
    let codec_data = |what: &str, valid: fn(&[u8]) -> bool| {
        let buffer = structure
            .get::<gst::Buffer>("codec_data")
            .map_err(|_| format!("no codec_data in {caps_text}: is there a parser in front of kvssink?"))?;
        let map = buffer.map_readable().map_err(|_| format!("unreadable codec_data in {caps_text}"))?;
        valid(&map)
            .then(|| Bytes::copy_from_slice(&map))
            .ok_or_else(|| format!("codec_data is no {what} in {caps_text}"))
    };
    Ok(match structure.name().as_str() {
        "video/x-h264" => {
            let record = codec_data("AVCDecoderConfigurationRecord", |record| {
                record.first() == Some(&1) && nal_length_size(NalCodec::H264, record).is_some()
            })?;
            TrackFormat::h264(record, number("width")?, number("height")?).with_name(track_name)
        }
        "video/x-h265" => {
            let record = codec_data("HEVCDecoderConfigurationRecord", |record| {
                record.len() >= 23 && nal_length_size(NalCodec::H265, record).is_some()
            })?;
            TrackFormat::h265(record, number("width")?, number("height")?).with_name(track_name)
        }
        "audio/mpeg" => {
            let config = codec_data("AudioSpecificConfig", |config| config.len() >= 2)?;
            TrackFormat::aac(config, number("rate")?, number("channels")?)
        }
        "audio/x-alaw" => TrackFormat::g711(Codec::Alaw, number("rate")?, number("channels")?),
        "audio/x-mulaw" => TrackFormat::g711(Codec::Mulaw, number("rate")?, number("channels")?),
        other => return Err(format!("{other} cannot be stored")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(caps: &str) -> gst::Caps {
        gst::init().unwrap();
        caps.parse().unwrap()
    }

    #[test]
    fn caps_become_formats() {
        let hvcc = format!("01{}fc", "00".repeat(20)) + "0f";
        for (caps, codec) in [
            ("video/x-h264,codec_data=(buffer)0142001effe0,width=640,height=360".to_owned(), Codec::H264),
            (format!("video/x-h265,codec_data=(buffer){hvcc}00,width=640,height=360"), Codec::H265),
            ("audio/mpeg,mpegversion=4,codec_data=(buffer)1210,rate=44100,channels=2".to_owned(), Codec::Aac),
            ("audio/x-alaw,rate=8000,channels=1".to_owned(), Codec::Alaw),
            ("audio/x-mulaw,rate=8000,channels=2".to_owned(), Codec::Mulaw),
        ] {
            let format = format(&parsed(&caps), "camera").unwrap();
            assert_eq!(format.codec, codec);
            assert_eq!(format.name, if caps.starts_with("video") { "camera" } else { "audio" });
        }
    }

    #[test]
    fn what_caps_lack_is_named() {
        for (caps, words) in [
            ("video/x-h264,width=640,height=360", "codec_data"),
            ("video/x-h264,codec_data=(buffer)00,width=640,height=360", "AVCDecoderConfigurationRecord"),
            ("video/x-h265,codec_data=(buffer)0101,width=640,height=360", "HEVCDecoderConfigurationRecord"),
            ("video/x-h264,codec_data=(buffer)0142001effe0,width=640", "height"),
            ("audio/mpeg,codec_data=(buffer)12,rate=44100,channels=2", "AudioSpecificConfig"),
            ("audio/x-alaw,rate=8000", "channels"),
            ("video/x-vp8", "video/x-vp8"),
        ] {
            let error = format(&parsed(caps), "camera").unwrap_err();
            assert!(error.contains(words), "{error:?} does not say {words:?}");
        }
    }

    #[test]
    fn what_cannot_be_taken_is_refused_with_help() {
        gst::init().unwrap();
        let refused = |caps: &str| {
            let refused = TEMPLATES.iter().map(|template| refusal(template.caps(), &parsed(caps)));
            refused.collect::<Option<Vec<_>>>().map(|messages| messages[0].clone())
        };
        let good = "video/x-h265,stream-format=hvc1,alignment=au,width=640,height=360";
        for good in [good, &good.replace("hvc1", "byte-stream"), &good.replace("stream-format=hvc1,", "")] {
            assert_eq!(refused(good), None);
        }
        let message = refused(&good.replace("=au", "=nal")).unwrap();
        assert!(message.contains("=(string)nal") && message.contains("h265parse"), "{message}");
        let message = refused(&good.replace("h265", "h264").replace("hvc1", "byte-stream")).unwrap();
        assert!(message.contains("byte-stream") && message.contains("h264parse"), "{message}");
        let message = refused("audio/mpeg,mpegversion=4,stream-format=adts,rate=8000,channels=1").unwrap();
        assert!(message.contains("aacparse"), "{message}");
    }

    #[test]
    fn a_frame_lasts_as_the_caps_or_the_property_say() {
        let duration = |caps: &str| frame_duration(&parsed(caps), 25).as_millis();
        assert_eq!(duration("video/x-h264,framerate=(fraction)50/1"), 20);
        assert_eq!(duration("video/x-h264,framerate=(fraction)0/1"), 40);
        assert_eq!(duration("video/x-h264"), 40);
    }
}
