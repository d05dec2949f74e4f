//! [`Fragment`]: a piece of media that is complete, before it is stored.

use bytes::Bytes;

use crate::mkv::Track;

/// A complete fragment.
#[derive(Debug, Clone, PartialEq)]
pub struct Fragment {
    /// Timecode of its cluster as it came, in units of `timecode_scale`.
    pub timecode: u64,
    /// The same in milliseconds.
    pub timecode_ms: u64,
    /// From its earliest frame to the end of its last.
    pub duration_ms: u64,
    /// The producer's header of the session.
    pub header: Bytes,
    /// Tags in front of the cluster and the cluster, as they came.
    pub raw: Bytes,
    /// Names and values of those tags.
    pub tags: Vec<(String, String)>,
    /// Frames of video tracks.
    pub video_frames: u64,
    /// Frames of audio tracks.
    pub audio_frames: u64,
    /// The tracks of its session.
    pub tracks: Vec<Track>,
    /// Nanoseconds of one unit of its timecodes.
    pub timecode_scale: u64,
}
