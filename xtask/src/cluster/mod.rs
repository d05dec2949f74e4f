//! `cargo xtask cluster`: a real Kubernetes control plane on this machine, for the tests and for looking around.

pub mod assets;
mod control_plane;
mod pki;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};

use assets::Assets;
use control_plane::ControlPlane;

use crate::process::interrupted;
use crate::workspace::target;
use crate::{packages, say};

#[derive(Args)]
pub struct Options {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Starts it, or says where it runs
    Up {
        /// etcd, API server, controller manager and scheduler; no node
        #[arg(long)]
        api_only: bool,
        /// Its folder; several clusters need several
        #[arg(long)]
        dir: Option<PathBuf>,
        /// Write every request to audit.log in the folder
        #[arg(long)]
        audit_log: bool,
        /// Print one line of JSON: dir, kubeconfig, server, logs, auditLog, kubectl, processes
        #[arg(long)]
        json: bool,
        /// Stay until Ctrl-C, and take it down then
        #[arg(long)]
        foreground: bool,
    },
    /// Stops it and takes its folder away, also after a crash
    Down {
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Says whether it runs
    Status {
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Restarts the API server, with its port and its data
    RestartApiserver {
        #[arg(long)]
        dir: Option<PathBuf>,
    },
}

fn folder(dir: Option<&PathBuf>) -> PathBuf {
    dir.cloned().unwrap_or_else(|| target().join("cluster"))
}

pub fn run(options: &Options) -> Result<ExitCode> {
    match &options.command {
        Task::Up { api_only, dir, audit_log, json, foreground } => {
            if !api_only {
                bail!("only `cluster up --api-only` exists yet: a control plane without a node");
            }
            let folder = folder(dir.as_ref());
            let plane = up(&folder, *audit_log)?;
            if *json {
                say!("{}", serde_json::to_string(&plane)?);
            } else {
                introduce(&plane, dir.as_ref());
            }
            if *foreground {
                stay(&folder)?;
            }
        }
        Task::Down { dir } => {
            let folder = folder(dir.as_ref());
            let _turn = turn()?;
            if control_plane::clear(&folder)? {
                say!("stopped");
            } else {
                say!("there is none in {}", folder.display());
            }
        }
        Task::Status { dir } => {
            let plane = find(&folder(dir.as_ref()))?;
            if let Some(part) = plane.ended() {
                bail!("{part}`cargo xtask cluster down` clears it away");
            }
            introduce(&plane, dir.as_ref());
        }
        Task::RestartApiserver { dir } => {
            let _turn = turn()?;
            let mut plane = find(&folder(dir.as_ref()))?;
            let assets = Assets::beside(&plane.kubectl);
            plane.restart_apiserver(&assets)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Commands that start or end something do it one at a time, whatever their folders: two would choose the same ports.
fn turn() -> Result<std::fs::File> {
    assets::turn("clusters.lock")
}

fn find(folder: &Path) -> Result<ControlPlane> {
    ControlPlane::read(folder).with_context(|| format!("there is none in {}", folder.display()))
}

/// The control plane of this folder, started when it does not run.
fn up(folder: &Path, audit_log: bool) -> Result<ControlPlane> {
    packages::ensure(&[packages::Group::Cluster])?;
    let assets = assets::ensure()?;
    let _turn = turn()?;
    if let Some(plane) = ControlPlane::read(folder).filter(|plane| plane.ended().is_none()) {
        if audit_log && plane.audit_log.is_none() {
            bail!("the one in {} runs without an audit log: take it down first", folder.display());
        }
        return Ok(plane);
    }
    start(folder, &assets, audit_log)
}

/// A control plane without a past, for a suite: whatever is left of an earlier run in this folder goes first.
pub fn fresh(folder: &Path, audit_log: bool) -> Result<ControlPlane> {
    let assets = assets::ensure()?;
    let _turn = turn()?;
    start(folder, &assets, audit_log)
}

fn start(folder: &Path, assets: &Assets, audit_log: bool) -> Result<ControlPlane> {
    control_plane::clear(folder)?;
    control_plane::claim(folder)?;
    ControlPlane::start(folder, assets, audit_log)
}

fn introduce(plane: &ControlPlane, dir: Option<&PathBuf>) {
    say!("Kubernetes runs at {}", plane.server);
    say!("  export KUBECONFIG={}", plane.kubeconfig.display());
    say!("  {} get namespaces", plane.kubectl.display());
    say!("  logs are in {}", plane.logs.display());
    if let Some(log) = &plane.audit_log {
        say!("  every request is in {}", log.display());
    }
    let dir = dir.map_or(String::new(), |dir| format!(" --dir {}", dir.display()));
    say!("  cargo xtask cluster down{dir}");
}

/// Until Ctrl-C, which takes it down, or until somebody else did, or until a part of it ends.
fn stay(folder: &Path) -> Result<()> {
    loop {
        thread::sleep(Duration::from_millis(200));
        if interrupted() {
            // Not `turn`: it gives up when interrupted.
            control_plane::clear(folder)?;
            return Ok(());
        }
        match ControlPlane::read(folder) {
            Some(plane) if plane.is_running() => continue,
            Some(_) => (),
            None => return Ok(()),
        }
        // Perhaps the API server is just being restarted.
        let _turn = match turn() {
            Err(_) if interrupted() => continue,
            turn => turn?,
        };
        if let Some(part) = ControlPlane::read(folder).and_then(|plane| plane.ended()) {
            control_plane::clear(folder)?;
            bail!("{part}");
        }
    }
}
