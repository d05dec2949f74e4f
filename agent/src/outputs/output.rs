//! What the agent asks of an output, whatever its kind.

use super::delivery::Delivery;
use crate::elements::PipelineError;
use crate::session::{Phase, Reason};
use crate::tracks::Tracks;
use async_trait::async_trait;
use kvs_ingest_api::AgentStatus;
use prometheus_client::encoding::DescriptorEncoder;

/// Takes media of a pipeline.
///
/// Outputs share a pipeline, and what one of them does must not be felt by another. So its inlets take every buffer at
/// once (a muxer does not: it waits for its other track, and has a queue in front): what cannot be sent yet waits in a
/// buffer of its own, which is bounded, and what does not fit is dropped by its own rules and counted. A connection that
/// breaks is opened again behind that buffer, with a backoff of its own. An error on the bus ends the whole pipeline, which
/// is then built anew, and is for what nothing else heals.
#[async_trait]
pub trait Output: Send + Sync {
    /// Sees to it that there is something to write to. Until it succeeds it is called again, with backoff, and pipelines are
    /// built without it; no media is asked for before one of the outputs is ready.
    ///
    /// # Errors
    ///
    /// What is in the way.
    async fn prepare(&self) -> Result<(), NotReady>;

    /// Adds its elements to `pipeline`, with an inlet for each of `tracks`. Called for every pipeline: one that ended
    /// its input still writes out what it has while the next one runs.
    ///
    /// # Errors
    ///
    /// When an element is missing or refuses its settings.
    fn attach(&self, pipeline: &gst::Pipeline, tracks: Tracks) -> Result<Inlets, PipelineError>;

    /// A change of the SPS needs another pipeline.
    fn replace_on_new_format(&self) -> bool {
        false
    }

    /// Whether it takes what it is given. One that is [`Delivery::watched`] has its pipeline replaced, and in the end its
    /// process, when it is given media and says neither that some was delivered nor what is in the way.
    fn delivery(&self) -> &Delivery;

    /// Writes its part of `/status`.
    fn describe(&self, status: &mut AgentStatus);

    /// Writes its part of `/metrics`.
    ///
    /// # Errors
    ///
    /// Those of `encoder`.
    fn encode_metrics(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result;

    /// No media follows: what it has of its own beside pipelines comes to an end, within two seconds.
    async fn finish(&self) {}
}

/// The sink pads of an output. Buffers carry their capture time, nanoseconds since 1970, in PTS, and in DTS where the
/// decoding time is known.
#[derive(Debug, Default)]
pub struct Inlets {
    /// Takes `video/x-h264,stream-format=avc,alignment=au`.
    pub video: Option<gst::Pad>,
    /// Takes `audio/mpeg,mpegversion=4,stream-format=raw`.
    pub audio: Option<gst::Pad>,
}

/// Why there is nothing to write to yet, as the agent says it meanwhile.
#[derive(Debug)]
pub struct NotReady {
    /// [`Phase::Failed`] when a person must mend it.
    pub phase: Phase,
    pub reason: Reason,
    /// With the remedy.
    pub message: String,
    /// The service knows who is asking.
    pub authenticated: bool,
}
