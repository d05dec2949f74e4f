//! What a session says of itself before its first cluster: Info and Tracks (RFC 9559 sections 5.1.2 and 5.1.4).

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::element::{children, float, uint};

/// Video or audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrackKind {
    /// `TrackType` 1.
    Video,
    /// `TrackType` 2.
    Audio,
    /// Any other `TrackType`: its frames are stored and not counted.
    Other,
}

/// A `TrackEntry`, as far as anyone here asks.
#[derive(Debug, Clone, PartialEq)]
pub struct Track {
    /// `TrackNumber`, as blocks name it.
    pub number: u64,
    /// `TrackType`.
    pub kind: TrackKind,
    /// `CodecID`, `V_MPEG4/ISO/AVC`.
    pub codec: String,
    /// `CodecPrivate`.
    pub codec_private: Bytes,
    /// Pixels; 0 in audio.
    pub width: u32,
    /// Pixels; 0 in audio.
    pub height: u32,
    /// Hz; 0 in video.
    pub sampling_frequency: f64,
    /// Channels; 0 in video.
    pub channels: u32,
    /// Nanoseconds of a frame, where `DefaultDuration` says so.
    pub default_duration_ns: Option<u64>,
}

impl Track {
    /// Milliseconds of one frame, where the header tells: by `DefaultDuration`, or because an AAC frame is 1024 samples.
    #[must_use]
    pub fn frame_ms(&self) -> Option<f64> {
        match self.default_duration_ns {
            Some(ns) if ns > 0 => Some(ns as f64 / 1e6),
            _ if self.codec == "A_AAC" && self.sampling_frequency >= 1.0 => {
                Some(1024.0 * 1000.0 / self.sampling_frequency)
            }
            _ => None,
        }
    }
}

/// Nanoseconds of one timecode unit.
pub(super) fn timecode_scale(info: &[u8]) -> Result<u64, String> {
    let mut scale = 1_000_000;
    for child in children(info) {
        let (id, data) = child?;
        if id == 0x2A_D7B1 {
            scale = uint(data)?;
        }
    }
    if scale == 0 {
        return Err("a TimecodeScale of 0".to_owned());
    }
    Ok(scale)
}

pub(super) fn tracks(data: &[u8]) -> Result<Vec<Track>, String> {
    let mut tracks = Vec::new();
    for child in children(data) {
        let (id, entry) = child?;
        if id == 0xAE {
            tracks.push(track(entry)?);
        }
    }
    if tracks.is_empty() {
        return Err("Tracks without a track".to_owned());
    }
    Ok(tracks)
}

fn track(entry: &[u8]) -> Result<Track, String> {
    let mut track = Track {
        number: 0,
        kind: TrackKind::Other,
        codec: String::new(),
        codec_private: Bytes::new(),
        width: 0,
        height: 0,
        sampling_frequency: 0.0,
        channels: 0,
        default_duration_ns: None,
    };
    let pixels = |data: &[u8]| uint(data).map(|value| u32::try_from(value).unwrap_or(u32::MAX));
    for child in children(entry) {
        let (id, data) = child?;
        match id {
            0xD7 => track.number = uint(data)?,
            0x83 => {
                track.kind = match uint(data)? {
                    1 => TrackKind::Video,
                    2 => TrackKind::Audio,
                    _ => TrackKind::Other,
                }
            }
            0x86 => track.codec = String::from_utf8_lossy(data).trim_end_matches('\0').to_owned(),
            0x23_E383 => track.default_duration_ns = Some(uint(data)?),
            0x63A2 => track.codec_private = Bytes::copy_from_slice(data),
            0xE0 => {
                for child in children(data) {
                    match child? {
                        (0xB0, data) => track.width = pixels(data)?,
                        (0xBA, data) => track.height = pixels(data)?,
                        _ => {}
                    }
                }
            }
            0xE1 => {
                for child in children(data) {
                    match child? {
                        (0xB5, data) => track.sampling_frequency = float(data)?,
                        (0x9F, data) => track.channels = pixels(data)?,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    if track.number == 0 {
        return Err("a TrackEntry without TrackNumber".to_owned());
    }
    Ok(track)
}

/// Names and values of the simple tags in a `Tags` element, without those that describe a single track.
pub(super) fn simple_tags(data: &[u8]) -> Result<Vec<(String, String)>, String> {
    let mut tags = Vec::new();
    for tag in children(data) {
        let (0x7373, tag) = tag? else { continue };
        if of_a_track(tag)? {
            continue;
        }
        for simple in children(tag) {
            let (0x67C8, simple) = simple? else { continue };
            let (mut name, mut value) = (String::new(), String::new());
            for child in children(simple) {
                match child? {
                    (0x45A3, data) => name = String::from_utf8_lossy(data).into_owned(),
                    (0x4487, data) => value = String::from_utf8_lossy(data).into_owned(),
                    _ => {}
                }
            }
            tags.push((name, value));
        }
    }
    Ok(tags)
}

/// Whether `Targets` names a track (RFC 9559 section 5.1.8.1.1.3); muxers write such tags about their encoder.
fn of_a_track(tag: &[u8]) -> Result<bool, String> {
    for child in children(tag) {
        let (0x63C0, targets) = child? else { continue };
        for target in children(targets) {
            if let (0x63C5, uid) = target?
                && uint(uid)? != 0
            {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
