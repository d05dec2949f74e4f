//! What is known of a fragment without reading it.

use serde::{Deserialize, Serialize};

use crate::{
    mkv::{Track, TrackKind},
    model::Fragment,
};

/// One persisted fragment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FragmentInfo {
    /// 47 digits, rising within a stream.
    pub number: String,
    /// Producer's time of its first frame, milliseconds since 1970.
    pub producer_ms: u64,
    /// When its first byte came, milliseconds since 1970.
    pub server_ms: u64,
    /// When it was on disk, milliseconds since 1970.
    pub persisted_ms: u64,
    /// From its first frame to the end of its last.
    pub duration_ms: u64,
    /// Bytes as it came, metadata included.
    pub size: u64,
    /// Of all video tracks.
    pub video_frames: u64,
    /// Of all audio tracks.
    pub audio_frames: u64,
    /// File of its session's header.
    pub header: String,
    /// What its session said of itself.
    pub session: SessionInfo,
}

/// A PutMedia session, and what its header says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionInfo {
    /// Pixels of the video track.
    pub width: Option<u32>,
    /// Pixels of the video track.
    pub height: Option<u32>,
    /// `H.264`, `AAC` and the like.
    pub codecs: Vec<String>,
    /// When it began, milliseconds since 1970; 0 of what an older version stored.
    #[serde(default)]
    pub began_ms: u64,
}

impl SessionInfo {
    /// Of these tracks, in a session that began then (milliseconds since 1970).
    #[must_use]
    pub fn of(tracks: &[Track], began_ms: u64) -> Self {
        let video = tracks.iter().find(|track| track.kind == TrackKind::Video);
        Self {
            width: video.map(|track| track.width).filter(|pixels| *pixels > 0),
            height: video.map(|track| track.height).filter(|pixels| *pixels > 0),
            codecs: tracks.iter().map(|track| codec_name(&track.codec).to_owned()).collect(),
            began_ms,
        }
    }
}

fn codec_name(id: &str) -> &str {
    match id {
        "V_MPEG4/ISO/AVC" => "H.264",
        "V_MPEGH/ISO/HEVC" => "H.265",
        "A_AAC" => "AAC",
        "A_MS/ACM" => "G.711",
        other => other,
    }
}

impl FragmentInfo {
    /// Of a fragment that is about to be stored.
    #[must_use]
    pub fn of(
        fragment: &Fragment,
        number: String,
        producer_ms: u64,
        server_ms: u64,
        began_ms: u64,
        header: String,
    ) -> Self {
        Self {
            number,
            producer_ms,
            server_ms,
            persisted_ms: 0,
            duration_ms: fragment.duration_ms,
            size: fragment.raw.len() as u64,
            video_frames: fragment.video_frames,
            audio_frames: fragment.audio_frames,
            header,
            session: SessionInfo::of(&fragment.tracks, began_ms),
        }
    }

    /// Producer's time of its end.
    #[must_use]
    pub fn end_ms(&self) -> u64 {
        self.producer_ms + self.duration_ms
    }
}
