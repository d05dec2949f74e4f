//! What both kinds of `kvssink` are told.

use crate::elements::{PipelineError, set};
use clap::ValueEnum;
use kvs::{NewStream, StreamId, StreamName};
use std::path::PathBuf;
use std::time::Duration;

/// Where `kvssink` comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Origin {
    /// Linked into the agent.
    Builtin,
    /// From the GStreamer plugin path.
    Plugin,
}

/// Where and how media is stored.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which element does it.
    pub origin: Origin,
    /// AWS region, `ap-northeast-1`.
    pub region: String,
    /// The stream, as it was configured.
    pub stream: StreamId,
    /// The operator has found the stream: it is not looked up again (nor may it be).
    pub resolved: Option<StreamName>,
    /// Create the stream like this when it is missing. `None`: never.
    pub create: Option<NewStream>,
    /// Memory for what is not persisted yet, MiB.
    pub memory_mib: u32,
    /// Folder and bytes of the spool for what memory does not hold.
    pub spool: Option<(PathBuf, u64)>,
    /// Length of a fragment.
    pub fragment: Duration,
    /// How long the end of a recording waits for its acknowledgement.
    pub deliver_within: Duration,
}

impl Settings {
    /// The name, whether by itself or in the ARN.
    pub(super) fn stream_name(&self) -> &str {
        match &self.stream {
            StreamId::Name(name) => name.as_str(),
            StreamId::Arn(arn) => arn.name(),
        }
    }

    /// Sets the properties that the C++ element and ours have in common.
    pub(super) fn apply(&self, sink: &gst::Element) -> Result<(), PipelineError> {
        let stream = self.resolved.as_ref().map_or_else(|| self.stream_name(), StreamName::as_str);
        set(sink, "stream-name", stream)?;
        set(sink, "aws-region", &self.region)?;
        set(sink, "allow-create-stream", false)?;
        set(sink, "storage-size", self.memory_mib)?;
        let fragment = u32::try_from(self.fragment.as_millis()).unwrap_or(u32::MAX);
        set(sink, "fragment-duration", fragment)?;
        let seconds = u32::try_from(self.deliver_within.as_secs()).unwrap_or(u32::MAX);
        set(sink, "stop-stream-timeout", seconds)?;
        // Buffers carry their capture time, in nanoseconds since 1970.
        set(sink, "use-original-pts", true)?;
        set(sink, "disable-buffer-clipping", true)?;
        Ok(())
    }
}
