//! The command line.

use crate::output_files::OutputFiles;
use crate::outputs::kvssink::Origin;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Joins a KVS signaling channel as viewer and stores the master's media in a KVS stream.
#[derive(Clone, Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,

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

/// What it does instead of recording.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Walks the way to a recording without recording, says what works, what does not and what to do, and ends with a status
    /// that says what kind of thing is wrong (docs/agent.md).
    Doctor(DoctorArguments),
}

/// Of `doctor`.
#[derive(Args, Clone, Debug)]
pub struct DoctorArguments {
    /// A KvsIngest manifest (YAML). Without it the configuration is taken from KVS_INGEST_CONFIG, as in a pod.
    #[arg(long, value_name = "FILE")]
    pub ingest: Option<PathBuf>,

    #[command(flatten)]
    pub output_files: OutputFiles,

    /// Local address for WebRTC, may be repeated. Default: as the agent.
    #[arg(long, value_name = "IP[:PORT]")]
    pub ice_bind: Vec<String>,

    /// What each step may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=120))]
    pub timeout: u64,

    /// Lines for people, each as soon as it is known; or one JSON object at the end.
    #[arg(long, value_enum, default_value_t = DoctorFormat::Text)]
    pub format: DoctorFormat,

    /// Log beside it on standard error: error, warn, info, debug, trace, or a filter as in RUST_LOG.
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
}

/// Form of what `doctor` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DoctorFormat {
    Text,
    Json,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}
