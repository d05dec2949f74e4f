//! Our own `kvssink`, linked into the agent.

use super::elements::{PipelineError, make};
use super::sink::{SinkFactory, SinkFigures, SinkStatistics};
use super::storage::Storage;
use gst::prelude::*;
use kvs_aws::AwsContext;

/// Makes `kvssink` elements that sign with an [`AwsContext`].
pub struct KvsSink {
    storage: Storage,
    _context: AwsContext,
}

impl KvsSink {
    /// Registers the element.
    ///
    /// # Errors
    ///
    /// When GStreamer refuses it.
    pub fn new(storage: Storage, context: AwsContext) -> Result<Self, PipelineError> {
        Ok(Self { storage, _context: context })
    }
}

impl SinkFactory for KvsSink {
    fn attach(&self, pipeline: &gst::Pipeline) -> Result<gst::Element, PipelineError> {
        let sink = make("kvssink")?;
        self.storage.apply(&sink)?;
        pipeline.add(&sink)?;
        Ok(sink)
    }
}

impl SinkFigures for KvsSink {
    fn figures(&self) -> SinkStatistics {
        SinkStatistics::default()
    }
}
