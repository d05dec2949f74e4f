//! The GStreamer element `kvssink`: stores H.264, H.265, AAC and G.711 in Amazon Kinesis Video Streams.
//!
//! It has the pads, properties and signals of the C++ element of the AWS producer SDK, so that pipelines written for
//! that one run unchanged. In a process that links this crate, [`plugin_register_static`] registers it and [`KvsSink`]
//! is its Rust face.

mod kvssink;
mod plugin;

pub use self::kvssink::{KvsSink, Predecessor, SinkEvent, Statistics, abi};
pub use self::plugin::plugin_register_static;
pub use kvs_putmedia::{AckKind, CloseReason, Event, Stored};
