//! KVS on localhost: the control plane, signaling, TURN and media ingest of Amazon Kinesis Video Streams in one process,
//! with its data in a folder. It shares no code with the client crates, because it checks them.
#![forbid(unsafe_code)]

mod app;
pub mod archive;
pub mod auth;
mod config;
mod console;
pub mod control;
mod cors;
pub mod error;
mod ice;
pub mod members;
pub mod mkv;
pub mod page_token;
pub mod putmedia;
mod request_log;
mod router;
mod server;
pub mod signaling;
mod tls;

pub use app::App;
pub use auth::AccessKey;
pub use config::{Config, PutMediaLimits, SignalingLimits};
pub use router::router;
pub use server::{Abort, Connection, Server, StartError};
