//! One channel, one process: joins a KVS signaling channel as viewer, receives the master's media
//! over WebRTC and relays it through GStreamer into a KVS stream.
#![forbid(unsafe_code)]

pub mod bind;
pub mod channel;
pub mod cli;
pub mod delivery;
pub mod driver;
pub mod events;
mod failure;
pub mod http;
pub mod logging;
pub mod peer;
pub mod pipeline;
pub mod prepare;
pub mod receive;
mod servers;
pub mod session;
pub mod settings;
pub mod state;
pub mod tracks;
