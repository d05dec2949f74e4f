//! The command line.

use crate::output_files::OutputFiles;
use crate::outputs::kvssink::Origin;
use clap::{Parser, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Joins a KVS signaling channel as viewer and stores the master's media in a KVS stream.
#[derive(Clone, Debug, Parser)]
#[command(version)]
pub struct Cli {
    /// A KvsIngest manifest (YAML). Without it the configuration is taken from KVS_INGEST_CONFIG.
    #[arg(long, value_name = "FILE")]
    pub ingest: Option<PathBuf>,

    /// Address of /livez, /readyz, /metrics and /status. Port 0 picks a free one; the first line on
    /// standard output says which.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,

    /// Which kvssink: the one built into the agent, or the C++ plugin of the AWS producer SDK from
    /// the plugin path.
    #[arg(long, value_enum, default_value_t = Origin::Builtin)]
    pub kvssink: Origin,

    /// Local address for WebRTC, may be repeated. Default: every interface, and loopback when the
    /// AWS endpoint is a custom one.
    #[arg(long, value_name = "IP[:PORT]")]
    pub ice_bind: Vec<String>,

    /// Receive buffer to ask the kernel for, for each UDP socket (it may give less: net.core.rmem_max).
    #[arg(long, value_name = "BYTES", default_value_t = crate::peer::RECEIVE_BUFFER)]
    pub receive_buffer: usize,

    /// Folder for fragments that memory does not hold. The operator gives one; on a laptop a manifest with
    /// spec.buffering.spool needs this.
    #[arg(long, value_name = "FOLDER")]
    pub spool_dir: Option<PathBuf>,

    #[command(flatten)]
    pub output_files: OutputFiles,

    /// Form of the log on standard error.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// Log level: error, warn, info, debug or trace, or a filter as in RUST_LOG. Goes before
    /// RUST_LOG and the manifest's logLevel.
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}
