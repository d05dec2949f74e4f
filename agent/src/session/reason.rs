//! Why the agent is where it is.

use super::failure::FailureKind;

/// The reason in status, logs and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Before anything was tried.
    Starting,
    JoiningChannel,
    Offering,
    ConnectingPeer,
    WaitingForMedia,
    WaitingForMaster,
    /// The master has said goodbye.
    MasterEnded,
    /// It is connected and sends nothing.
    MasterSilent,
    /// All that the master sends is stored.
    Streaming,
    /// Audio is stored; it is too early to tell of video.
    WaitingForVideo,
    WaitingForAudio,
    VideoNotStored,
    AudioNotStored,
    /// GStreamer cannot record what arrives.
    PipelineFailed,
    Stopping,
    /// A failure that is being dealt with.
    Failure(FailureKind),
    /// What is in an output's way, in its own CamelCase word.
    Output(&'static str),
}

impl Reason {
    /// One CamelCase word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "Starting",
            Self::JoiningChannel => "JoiningChannel",
            Self::Offering => "Offering",
            Self::ConnectingPeer => "ConnectingPeer",
            Self::WaitingForMedia => "WaitingForMedia",
            Self::WaitingForMaster => "WaitingForMaster",
            Self::MasterEnded => "MasterEnded",
            Self::MasterSilent => "MasterSilent",
            Self::Streaming => "Streaming",
            Self::WaitingForVideo => "WaitingForVideo",
            Self::WaitingForAudio => "WaitingForAudio",
            Self::VideoNotStored => "VideoNotStored",
            Self::AudioNotStored => "AudioNotStored",
            Self::PipelineFailed => "PipelineFailed",
            Self::Stopping => "Stopping",
            Self::Failure(kind) => kind.reason(),
            Self::Output(word) => word,
        }
    }

    /// A track is received and not stored, rather than waited for.
    pub(super) fn is_not_stored(self) -> bool {
        matches!(self, Self::VideoNotStored | Self::AudioNotStored)
    }

    /// A step on the way to media, at which nobody needs to look.
    pub fn is_progress(self) -> bool {
        matches!(self, Self::JoiningChannel | Self::Offering | Self::ConnectingPeer | Self::WaitingForMedia)
    }
}
