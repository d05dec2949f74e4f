//! From a track of a stored header to its [`Config`].

use super::{audio, config::Config, error::MediaError, video};
use crate::mkv::Track;

/// What the `CodecPrivate` of a track in a stored header says.
///
/// # Errors
/// The codec is none that any operation plays, or its `CodecPrivate` is missing or broken.
pub(super) fn config_of(track: &Track) -> Result<Config, MediaError> {
    let codec = track.codec.as_str();
    if !matches!(codec, "V_MPEG4/ISO/AVC" | "V_MPEGH/ISO/HEVC" | "A_AAC" | "A_MS/ACM") {
        return Err(MediaError::Unsupported(format!(
            "track {} is {codec:.40?}; V_MPEG4/ISO/AVC, V_MPEGH/ISO/HEVC, A_AAC and A_MS/ACM (G.711) can be played.",
            track.number
        )));
    }
    if track.codec_private.is_empty() {
        return Err(MediaError::MissingCodecPrivate(format!(
            "track {} ({codec}) has no CodecPrivate. The producer must send it in the header.",
            track.number
        )));
    }
    let config = match codec {
        "V_MPEG4/ISO/AVC" => video::h264(track).map(Config::Video),
        "V_MPEGH/ISO/HEVC" => video::h265(track).map(Config::Video),
        "A_AAC" => audio::aac(track).map(Config::Audio),
        _ => match audio::g711(track) {
            Err(audio::Acm::Other(tag)) => {
                return Err(MediaError::Unsupported(format!(
                    "track {} is A_MS/ACM with the format tag {tag:#06x}; A-law (0x0006) and µ-law (0x0007) can be played.",
                    track.number
                )));
            }
            Err(audio::Acm::Broken(reason)) => Err(reason),
            Ok(config) => Ok(Config::Audio(config)),
        },
    };
    config.map_err(|reason| {
        MediaError::InvalidCodecPrivate(format!(
            "CodecPrivate of track {} ({codec}): {reason}.",
            track.number
        ))
    })
}
