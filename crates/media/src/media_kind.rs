//! Video and audio: a sender has at most one track of each.

use std::ops::{Index, IndexMut};

/// Which of the two tracks of a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
}

impl MediaKind {
    /// Both, video first.
    pub const ALL: [Self; 2] = [Self::Video, Self::Audio];

    /// The word of SDP (RFC 8866, section 5.14), of logs and of metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Video => "video",
            Self::Audio => "audio",
        }
    }
}

/// One value for each track of a sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PerTrack<T> {
    /// Of the video track.
    pub video: T,
    /// Of the audio track.
    pub audio: T,
}

impl<T> PerTrack<T> {
    /// The values that `value` gives, video's first.
    pub fn from_fn(mut value: impl FnMut(MediaKind) -> T) -> Self {
        Self { video: value(MediaKind::Video), audio: value(MediaKind::Audio) }
    }
}

impl<T> Index<MediaKind> for PerTrack<T> {
    type Output = T;

    fn index(&self, kind: MediaKind) -> &T {
        match kind {
            MediaKind::Video => &self.video,
            MediaKind::Audio => &self.audio,
        }
    }
}

impl<T> IndexMut<MediaKind> for PerTrack<T> {
    fn index_mut(&mut self, kind: MediaKind) -> &mut T {
        match kind {
            MediaKind::Video => &mut self.video,
            MediaKind::Audio => &mut self.audio,
        }
    }
}
