//! The element and its parts.

pub mod abi;
mod byte_stream;
mod caps;
mod category;
mod clock;
mod control;
mod element;
mod event;
mod hevc;
mod hold;
mod input;
mod log;
mod metadata;
mod metrics;
mod properties;
mod report;
mod rounds;
mod runtime;
mod settings;
mod shared;
mod spool;
mod statistics;
mod status;
mod threads;
mod timeline;
mod track;
mod uploader;
mod warnings;

pub use self::element::KvsSink;
pub use self::event::SinkEvent;
pub use self::hold::Predecessor;
pub use kvs_putmedia::Statistics;
