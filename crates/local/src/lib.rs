//! KVS on localhost: the control plane, signaling, TURN and media ingest of Amazon Kinesis Video Streams in one process,
//! with its data in a folder. It shares no code with the client crates, because it checks them.
#![forbid(unsafe_code)]

mod answer;
mod app;
pub mod archive;
pub mod auth;
mod clock;
mod config;
mod connection;
mod console;
pub mod control;
mod cors;
pub mod error;
mod expiry;
pub mod faults;
mod ice;
mod listener;
pub mod members;
pub mod mkv;
pub mod model;
mod names;
pub mod page_token;
pub mod putmedia;
mod request_log;
mod router;
mod server;
pub mod signaling;
mod start_error;
mod tls;

pub use app::App;
pub use auth::AccessKey;
pub use config::{Config, FragmentLimits, PutMediaLimits, SignalingLimits};
pub use connection::{Abort, Connection};
pub use router::router;
pub use server::Server;
pub use start_error::StartError;
