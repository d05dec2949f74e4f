//! KVS on localhost: the control plane, signaling, TURN and media ingest of Amazon Kinesis Video Streams in one process,
//! with its data in a folder. It shares no code with the client crates, because it checks them.
#![forbid(unsafe_code)]

mod agents;
mod answer;
mod app;
pub mod archive;
pub mod auth;
mod body;
mod clock;
mod config;
mod connection;
mod console;
pub mod control;
mod cors;
mod delivery;
pub mod error;
mod expiry;
pub mod faults;
mod ffmpeg;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod ice;
mod index;
mod listener;
pub mod members;
mod metrics;
pub mod mkv;
pub mod model;
mod names;
mod operations;
mod origin;
pub mod page_token;
mod playback;
mod private;
pub mod putmedia;
mod quotas;
mod rate;
mod request_log;
mod requests;
mod router;
mod server;
pub mod signaling;
mod snapshot;
mod start_error;
mod storage;
mod tls;

pub use self::app::App;
pub use self::auth::AccessKey;
pub use self::config::{
    Config, FragmentLimits, PutMediaLimits, RelayPorts, SignalingLimits, SnsUrl, StateTimes, StorageLimits,
};
pub use self::connection::{Abort, Connection};
pub use self::origin::Origin;
pub use self::router::router;
pub use self::server::Server;
pub use self::start_error::StartError;
