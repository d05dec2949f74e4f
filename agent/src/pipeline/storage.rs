//! What both kinds of `kvssink` are told.

use super::elements::{PipelineError, set};
use std::path::PathBuf;
use std::time::Duration;

/// Where and how media is stored.
#[derive(Clone, Debug)]
pub struct Storage {
    /// AWS region.
    pub region: String,
    /// The stream, which exists.
    pub stream: String,
    /// Memory for what is not persisted yet, MiB.
    pub memory_mib: u32,
    /// Folder and bytes of the spool for what memory does not hold.
    pub spool: Option<(PathBuf, u64)>,
    /// Length of a fragment.
    pub fragment: Duration,
    /// How long the end of a recording waits for its acknowledgement.
    pub deliver_within: Duration,
}

impl Storage {
    /// Sets the properties that the C++ element and ours have in common.
    pub(super) fn apply(&self, sink: &gst::Element) -> Result<(), PipelineError> {
        set(sink, "stream-name", &self.stream)?;
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
