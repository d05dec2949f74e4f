//! What was sent, and what was left out and why.

use super::timeline::Track;
use std::time::Duration;

/// Why something that was received is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// There was no connection, and a newer group of pictures came.
    Disconnected,
    /// The server, or the way to it, does not take as much.
    Slow,
    /// It came when later media had been sent.
    Late,
    /// The key frame that it needs was not there.
    NoKeyFrame,
}

impl DropReason {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Disconnected, Self::Slow, Self::Late, Self::NoKeyFrame];

    /// Of the metrics' label `reason`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::Slow => "slow",
            Self::Late => "late",
            Self::NoKeyFrame => "no_key_frame",
        }
    }
}

/// What was left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Access units.
    pub pictures: u64,
    /// Groups of pictures, whole ones and those that were cut short.
    pub groups: u64,
    /// Frames of sound.
    pub sounds: u64,
}

/// Sums since the beginning, and what waits now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Access units handed out, key frames among them.
    pub pictures: u64,
    /// Key frames handed out.
    pub key_frames: u64,
    /// Frames of sound handed out.
    pub sounds: u64,
    /// Frames of silence handed out.
    pub silences: u64,
    pub(super) dropped: [Counts; DropReason::ALL.len()],
    pub(super) holds: [Duration; Track::ALL.len()],
    /// Media that waits: from the oldest to the newest.
    pub queued: Duration,
    /// Bytes that wait.
    pub queued_bytes: usize,
    /// Times that capture times jumped.
    pub jumps: u64,
    /// Key frames that were asked for.
    pub key_frames_wanted: u64,
}

impl Figures {
    /// What was left out for this reason.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> Counts {
        self.dropped[reason as usize]
    }

    /// For how long the other track waits for this one now, at most.
    #[must_use]
    pub fn hold(&self, track: Track) -> Duration {
        self.holds[track as usize]
    }

    pub(super) fn count(&mut self, reason: DropReason) -> &mut Counts {
        &mut self.dropped[reason as usize]
    }
}
