//! `cargo xtask bench`: speed and memory, beside a peer in the same run.

use std::env;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::cluster::{self, assets};
use crate::packages;
use crate::rtmp_server;
use crate::workspace::{cargo, run as run_command, target};

#[derive(Args)]
pub struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// The operator on a real API server, beside a bare client that writes the same
    Operator {
        #[arg(long, default_value_t = 10_000)]
        objects: u32,
    },
    /// One agent over TLS, with a master in another process
    Agent {
        /// Length of each run: with and without sound, three times
        #[arg(long, default_value_t = 60)]
        seconds: u32,
        /// Another build of the agent, run in turn with this one: the figures side by side, and their ratio
        #[arg(long, value_name = "BINARY")]
        against: Option<std::path::PathBuf>,
        /// What a second output costs, too: RTMPS to a server on this machine, in turn with the stream alone
        #[arg(long)]
        rtmp: bool,
    },
    /// kvs-local by the number of streams that come in, with the HLS of ten of them
    Local {
        /// Length of each run
        #[arg(long, default_value_t = 60)]
        seconds: u32,
        /// The most streams
        #[arg(long, default_value_t = 200)]
        streams: u32,
        /// Without optimisation, which says little and takes no long build
        #[arg(long)]
        dev: bool,
    },
    /// kvssink over TLS, beside a fakesink at the end of the same pipeline and the element for C++
    Kvssink {
        /// Length of each run: three bitrates, three times
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
}

pub fn run(options: &Options) -> Result<ExitCode> {
    match &options.what {
        What::Operator { objects } => operator(*objects),
        What::Agent { seconds, against, rtmp } => agent(*seconds, against.as_deref(), *rtmp),
        What::Kvssink { seconds } => kvssink(*seconds),
        What::Local { seconds, streams, dev } => local(*seconds, *streams, *dev),
    }
}

fn operator(objects: u32) -> Result<ExitCode> {
    packages::ensure(&[packages::Group::Build, packages::Group::Cluster])?;
    // Before the long build: whether there will be a cluster.
    assets::ensure(false)?;
    run_command(cargo().args(["build", "--locked", "--release", "-p", "kvs-ingest-operator"]))?;
    let folder = target().join("bench/operator");
    let mut cluster = cluster::fresh(&folder, true)?;
    let result = run_command(
        cargo()
            .args(["bench", "--locked", "-p", "kvs-ingest-tests", "--bench", "operator"])
            .env("KVS_INGEST_BENCH_OBJECTS", objects.to_string())
            .env("KVS_INGEST_TEST_CLUSTER", folder.join("cluster.json"))
            .env("KVS_INGEST_XTASK", env::current_exe()?)
            .env("KVS_INGEST_BIN_DIR", target().join("release")),
    );
    cluster.stop();
    result.map(|()| ExitCode::SUCCESS)
}

fn kvssink(seconds: u32) -> Result<ExitCode> {
    // Its clip comes out of an MP4.
    packages::ensure(&[packages::Group::Build, packages::Group::Media, packages::Group::Test])?;
    run_command(cargo().args(["build", "--locked", "--release", "-p", "gst-plugin-kvssink"]))?;
    run_command(
        cargo()
            // Only the element is measured; KVS needs no such long build.
            .args(["bench", "--locked", "--profile", "dev", "-p", "kvs-ingest-tests", "--bench", "kvssink"])
            .env("KVS_INGEST_BENCH_SECONDS", seconds.to_string())
            .env("KVS_INGEST_BIN_DIR", target().join("release")),
    )?;
    Ok(ExitCode::SUCCESS)
}

fn local(seconds: u32, streams: u32, dev: bool) -> Result<ExitCode> {
    packages::ensure(&[packages::Group::Build])?;
    let (profile, folder) = if dev { ("dev", "debug") } else { ("release", "release") };
    run_command(cargo().args(["build", "--locked", "--profile", profile, "-p", "kvs-local"]))?;
    run_command(
        cargo()
            // Only kvs-local is measured; what sends to it needs no such long build.
            .args(["bench", "--locked", "--profile", "dev", "-p", "kvs-ingest-tests", "--bench", "local"])
            .env("KVS_INGEST_BENCH_SECONDS", seconds.to_string())
            .env("KVS_INGEST_BENCH_STREAMS", streams.to_string())
            .env("KVS_INGEST_BIN_DIR", target().join(folder)),
    )?;
    Ok(ExitCode::SUCCESS)
}

fn agent(seconds: u32, against: Option<&std::path::Path>, rtmp: bool) -> Result<ExitCode> {
    packages::ensure(&[packages::Group::Build, packages::Group::Media])?;
    if rtmp {
        rtmp_server::ensure()?;
    }
    run_command(cargo().args(["build", "--locked", "--release", "-p", "kvs-ingest-agent"]))?;
    run_command(
        cargo()
            // Only the agent is measured; master and KVS need no such long build.
            .args(["bench", "--locked", "--profile", "dev", "-p", "kvs-ingest-tests", "--bench", "agent"])
            .env("KVS_INGEST_BENCH_SECONDS", seconds.to_string())
            .env("KVS_INGEST_BIN_DIR", target().join("release"))
            .envs(against.map(|binary| ("KVS_INGEST_BENCH_AGAINST", binary)))
            .envs(rtmp.then_some(("KVS_INGEST_BENCH_RTMP", "1"))),
    )?;
    Ok(ExitCode::SUCCESS)
}
