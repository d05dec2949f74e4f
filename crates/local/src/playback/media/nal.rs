//! The NAL units of a frame.

use bytes::Bytes;

use super::{
    config::{VideoCodec, VideoConfig},
    error::MediaError,
};

/// Cuts a frame into its NAL units, without their lengths.
///
/// # Errors
/// The lengths do not add up to the frame.
pub(crate) fn units(frame: &Bytes, length_size: usize) -> Result<Vec<Bytes>, MediaError> {
    let (mut units, mut at) = (Vec::new(), 0);
    while at < frame.len() {
        let length = frame.get(at..at + length_size);
        let length =
            length.map(|bytes| bytes.iter().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte)));
        let start = at + length_size;
        let end = length.filter(|length| *length > 0).and_then(|length| start.checked_add(length));
        match end.filter(|end| *end <= frame.len()) {
            Some(end) => {
                units.push(frame.slice(start..end));
                at = end;
            }
            None => {
                return Err(MediaError::InvalidFrame(format!(
                    "a frame of {} bytes has no NAL unit with a length of {length_size} bytes in front at byte {at}.",
                    frame.len()
                )));
            }
        }
    }
    if units.is_empty() {
        return Err(MediaError::InvalidFrame("a frame of video without a NAL unit.".to_owned()));
    }
    Ok(units)
}

/// `nal_unit_type`.
pub(crate) fn kind(codec: VideoCodec, unit: &[u8]) -> u8 {
    let first = unit.first().copied().unwrap_or(0);
    match codec {
        VideoCodec::H264 => first & 0x1F,
        VideoCodec::H265 => first >> 1 & 0x3F,
    }
}

/// Whether decoding can begin with this frame: an IDR picture, or any that is a random access point of H.265.
pub(super) fn is_random_access(video: &VideoConfig, units: &[Bytes]) -> bool {
    units.iter().any(|unit| match video.codec {
        VideoCodec::H264 => kind(video.codec, unit) == 5,
        VideoCodec::H265 => (16..=23).contains(&kind(video.codec, unit)),
    })
}
