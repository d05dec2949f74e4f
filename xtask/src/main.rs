//! `cargo xtask`: the two commands that do everything, `demo` and `test`, and their helpers.
#![forbid(unsafe_code)]

mod arrows;
mod bench;
mod circles;
mod cluster;
mod crds;
mod demo;
mod images;
mod packages;
mod process;
mod rtmp_server;
mod say;
mod soak;
mod suites;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Builds, shows and tests kvs-ingest")]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// KVS on localhost, a page that shares your camera, and the agent that stores it
    Demo(demo::Options),
    /// All tests; installs what they need
    Test(suites::Options),
    /// Writes crds/, docs/reference.md and the chart's copy, made from crates/api
    Crds(crds::Options),
    /// Speed and memory, side by side with a peer
    Bench(bench::Options),
    /// Recordings of minutes or hours, from senders whose clocks drift
    Soak(soak::Options),
    /// A Kubernetes control plane on this machine
    Cluster(cluster::Options),
    /// The container images of operator, agent and kvs-local
    Images(images::Options),
    /// Installs the system packages that demo and test need, and does nothing else
    Packages,
}

fn main() -> ExitCode {
    let result: Result<ExitCode> =
        process::catch_interrupts().and_then(|()| match Arguments::parse().command {
            Task::Demo(options) => demo::run(&options),
            Task::Test(options) => suites::run(&options),
            Task::Crds(options) => crds::run(&options),
            Task::Bench(options) => bench::run(&options),
            Task::Soak(options) => soak::run(&options),
            Task::Cluster(options) => cluster::run(&options),
            Task::Images(options) => images::run_command(&options),
            Task::Packages => packages::ensure(&packages::Group::ALL).map(|()| ExitCode::SUCCESS),
        });
    result.unwrap_or_else(|error| {
        #[allow(clippy::print_stderr, reason = "the one place that prints")]
        {
            eprintln!("error: {error:#}");
        }
        ExitCode::FAILURE
    })
}
