//! The GStreamer half: access units and Opus packets in, a KVS stream out.
//!
//! ```text
//! appsrc ! h264parse ! video/x-h264,stream-format=avc,alignment=au ! kvssink
//! appsrc ! opusdec ! audioconvert ! audioresample ! audiorate ! voaacenc ! aacparse ! kvssink
//! ```
//!
//! Buffers carry their capture time as nanoseconds since 1970 in PTS and DTS, and `kvssink` takes
//! it from there. GStreamer never sees RTP.

mod backlog;
mod builtin;
mod elements;
mod gate;
mod graph;
mod plugin;
mod relay;
mod silence;
mod sink;
mod storage;
#[cfg(test)]
mod tests;

pub use builtin::KvsSink;
pub use elements::{PipelineError, check_installed};
pub use gate::Tracks;
pub use graph::{Graph, GraphEvent, Picture, Sound};
pub use plugin::PluginSink;
pub use relay::{Relay, RelayEvent, RelayFigures};
pub use sink::{SinkFactory, SinkFigures, SinkStatistics};
pub use storage::Storage;
