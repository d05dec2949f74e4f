//! `cargo xtask bench agent`.

use std::env;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::Result;
use clap::Args;

use crate::packages::{self, Group};
use crate::rtmp_server;
use crate::suites::prepare::virtual_environment;
use crate::workspace::{cargo, root, run as run_command, target};

#[derive(Args)]
pub struct Options {
    /// The usual stream alone, beside webrtcbin and the floor: four minutes
    #[arg(long, conflicts_with = "whole")]
    quick: bool,
    /// Every size, sound and way, and 10 and 50 channels, longer: 60 minutes
    #[arg(long)]
    whole: bool,
    /// Length of each measurement, of which each thing has three [default: 6, 5 with --quick, 30 with --whole]
    #[arg(long)]
    seconds: Option<u32>,
    /// Only what has this in its name: `webrtcbin`, `loss`, `AAC`
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Another build of the agent, run in turn with this one
    #[arg(long, value_name = "BINARY")]
    against: Option<PathBuf>,
    /// Instead of all that, what a second output costs: RTMPS to a server on this machine, in turn with the stream alone
    #[arg(long)]
    rtmp: bool,
    /// Instead of all that, a flame graph of an agent: needs perf (Debian's linux-perf)
    #[arg(long, conflicts_with = "rtmp")]
    flame_graph: bool,
    /// Without optimisation, which says nothing of the agent and takes no long build
    #[arg(long)]
    dev: bool,
    /// The tables and the chart of docs/performance.md are those of this run
    #[arg(long, conflicts_with_all = ["only", "dev"])]
    write_docs: bool,
}

pub fn run(options: &Options) -> Result<ExitCode> {
    let Options { quick, whole, seconds, only, against, rtmp, flame_graph, dev, write_docs } = options;
    packages::ensure(&[Group::Build, Group::Media, Group::Test, Group::Cluster])?;
    if *rtmp {
        rtmp_server::ensure()?;
    }
    let python = virtual_environment("venv-masters", &root().join("tests/masters/python/requirements.txt"))?;
    let (profile, folder) = if *dev { ("dev", "debug") } else { ("release", "release") };
    let built = ["-p", "kvs-ingest-agent", "-p", "gst-plugin-kvssink"];
    run_command(cargo().args(["build", "--locked", "--profile", profile]).args(built))?;
    // Master and KVS are not measured, but must not take the machine from fifty agents; and the floor is measured in it.
    let beside = if *dev { "dev" } else { "quick" };
    let plan = match (quick, whole) {
        (true, _) => "quick",
        (_, true) => "whole",
        _ => "page",
    };
    let typed: Vec<_> = env::args().skip(1).collect();
    let documents = format!("{0}/docs/performance.md {0}/docs/images", root().display());
    let mut command = cargo();
    command
        .args(["bench", "--locked", "--profile", beside, "-p", "kvs-ingest-tests", "--bench", "agent"])
        .env("KVS_INGEST_BENCH_PLAN", plan)
        .env("KVS_INGEST_BENCH_COMMAND", format!("cargo xtask {}", typed.join(" ")))
        .env("KVS_INGEST_BENCH_BUILD", format!("{}, {profile} build", commit()))
        .env("KVS_INGEST_BENCH_FOLDER", target().join("bench"))
        .env("KVS_INGEST_BIN_DIR", target().join(folder))
        .env("KVS_INGEST_MASTERS_PYTHON", python)
        .envs(seconds.map(|seconds| ("KVS_INGEST_BENCH_SECONDS", seconds.to_string())))
        .envs(only.as_ref().map(|only| ("KVS_INGEST_BENCH_ONLY", only)))
        .envs(against.as_ref().map(|binary| ("KVS_INGEST_BENCH_AGAINST", binary)))
        .envs(rtmp.then_some(("KVS_INGEST_BENCH_RTMP", "1")))
        .envs(flame_graph.then_some(("KVS_INGEST_BENCH_FLAME_GRAPH", "1")))
        .envs(write_docs.then_some(("KVS_INGEST_BENCH_DOCUMENTS", documents)));
    run_command(&mut command)?;
    Ok(ExitCode::SUCCESS)
}

/// What is measured, as far as git knows it.
fn commit() -> String {
    let git = |arguments: &[&str]| Command::new("git").args(arguments).current_dir(root()).output();
    let text = |output: std::io::Result<std::process::Output>| {
        let output = output.ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = text(git(&["rev-parse", "--short", "HEAD"])) else { return "No commit".to_owned() };
    let changed =
        text(git(&["status", "--porcelain", "--untracked-files=no"])).is_some_and(|it| !it.is_empty());
    let changes = if changed { " with changes" } else { "" };
    format!("Commit {commit}{changes}")
}
