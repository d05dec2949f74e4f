//! One channel, one process: joins a KVS signaling channel as viewer, receives the master's media
//! over WebRTC and hands it through GStreamer to its outputs.
#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "it has no users but the binary beside it")]

pub mod bind;
pub mod channel;
pub mod cli;
mod concealed;
pub mod connecting;
pub mod doctor;
pub mod driver;
mod elements;
pub mod events;
mod failure;
mod hand_over;
pub mod http;
pub mod logging;
pub mod metadata;
pub mod output_files;
pub mod outputs;
pub mod peer;
pub mod peer_config;
pub mod pipeline;
pub mod prepare;
pub mod receive;
mod rfc3339;
mod servers;
pub mod session;
pub mod settings;
mod signaling_figures;
pub mod state;
pub mod tracks;
