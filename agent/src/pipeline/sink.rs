//! The end of the pipeline.

use super::elements::PipelineError;
use std::time::{Duration, SystemTime};

/// Puts the last element into a pipeline.
pub trait SinkFactory: Send + Sync {
    /// Adds a new sink to `pipeline` and returns the element with the request pads `video_%u`
    /// (`video/x-h264,stream-format=avc,alignment=au`) and `audio_%u` (`audio/mpeg`, raw AAC).
    ///
    /// # Errors
    ///
    /// When the element is missing or refuses its settings.
    fn attach(&self, pipeline: &gst::Pipeline) -> Result<gst::Element, PipelineError>;

    /// A change of the SPS needs another sink.
    fn replace_on_new_format(&self) -> bool {
        false
    }
}

/// What became of the media at KVS, over all sinks of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SinkStatistics {
    /// Fragments acknowledged as persisted.
    pub fragments_persisted: u64,
    /// Producer time of the newest of them.
    pub last_persisted_at: Option<SystemTime>,
    /// Fragments sent again.
    pub fragments_replayed: u64,
    /// Fragments given up.
    pub fragments_dropped: u64,
    /// Frames that came too late for their fragment, and are stored in a session of their own.
    pub frames_late: u64,
    /// PutMedia sessions that began because time went back.
    pub epochs: u64,
    /// Bytes in memory that wait to be persisted.
    pub buffered_bytes: u64,
    /// Bytes on disk that wait to be persisted.
    pub spooled_bytes: u64,
    /// What the disk could not do.
    pub spool_failures: u64,
    /// Media that waits to be persisted.
    pub buffered: Duration,
    /// PutMedia sessions.
    pub sessions: u64,
}

/// Tells what became of the media.
pub trait SinkFigures: Send + Sync {
    /// The figures now.
    fn figures(&self) -> SinkStatistics;
}
