//! The end of the pipeline.

use super::elements::PipelineError;

/// Puts the last element into a pipeline.
pub trait SinkFactory: Send + Sync {
    /// Adds a new sink to `pipeline` and returns the element with the request pads `video_%u`
    /// (`video/x-h264,stream-format=avc,alignment=au`) and `audio_%u` (`audio/mpeg`, raw AAC).
    ///
    /// # Errors
    ///
    /// When the element is missing or refuses its settings.
    fn attach(&self, pipeline: &gst::Pipeline) -> Result<gst::Element, PipelineError>;
}
