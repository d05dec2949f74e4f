//! The GStreamer half: access units and Opus packets in, a KVS stream out.
//!
//! ```text
//! appsrc ! kvssink
//! appsrc ! opusdec ! retime ! voaacenc ! aacparse ! kvssink
//! ```
//!
//! Buffers carry their capture time as nanoseconds since 1970 in PTS and DTS, and `kvssink` takes
//! it from there. GStreamer never sees RTP.

mod audio;
mod backlog;
mod builtin;
mod elements;
mod gate;
mod graph;
mod plugin;
mod relay;
mod sink;
mod storage;
#[cfg(test)]
mod tests;

pub use builtin::KvsSink;
pub use elements::{PipelineError, check_installed};
pub use gate::Tracks;
pub use graph::{Graph, GraphEvent, Picture, PictureFormat, Sound, SoundFigures};
pub use plugin::PluginSink;
pub use relay::{Relay, RelayEvent, RelayFigures};
pub use sink::{SinkFactory, SinkFigures, SinkStatistics};
pub use storage::Storage;
