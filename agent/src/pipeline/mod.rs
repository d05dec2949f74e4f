//! The GStreamer half: access units and Opus packets in, [outputs](crate::outputs) at the end.
//!
//! ```text
//! appsrc ! output
//! appsrc ! voaacenc ! output
//! ```
//!
//! Sound is decoded, and put on one unbroken grid of samples, in front of its pipeline.
//!
//! Several outputs share one pipeline: the last element of each branch goes to all of them through a `tee`. Buffers carry
//! their capture time as nanoseconds since 1970 in PTS and DTS, and an output takes it from there. GStreamer never sees
//! RTP.

mod audio;
mod backlog;
mod gate;
mod graph;
#[cfg(test)]
mod live_tests;
mod pipelines;
mod sound;
mod stamp;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod untrusted;

pub use graph::check_installed;
pub use pipelines::{PipelineEvent, PipelineFigures, Pipelines};
pub use sound::SoundFigures;
