//! `cargo xtask cluster`: a real Kubernetes on this machine, for the tests and for looking around.

pub mod assets;
mod control_plane;
mod existing;
pub mod helm;
mod node;
mod pki;
mod ports;
mod processes;
mod state_folder;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, Subcommand};

use self::assets::Assets;
pub use self::control_plane::ControlPlane;
use self::existing::Existing;
pub use self::node::{Image, node_missing};

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
        /// No node: etcd, API server, controller manager and scheduler; needs no root
        #[arg(long)]
        api_only: bool,
        /// Start nothing, and use the cluster of the current kubeconfig
        #[arg(long, conflicts_with_all = ["api_only", "audit_log", "foreground"])]
        existing: bool,
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
    /// Loads images into its node: docker-archive or OCI archives
    Load {
        #[arg(value_name = "IMAGE.tar", required = true)]
        images: Vec<PathBuf>,
        #[arg(long)]
        dir: Option<PathBuf>,
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
        Task::Up { existing: true, dir, json, .. } => {
            let folder = folder(dir.as_ref());
            let _lock = lock()?;
            if ControlPlane::read(&folder).is_some() {
                bail!("one was started in {}: take it down first, or name another folder", folder.display());
            }
            let existing = Existing::adopt(&folder)?;
            if *json {
                say!("{}", serde_json::to_string(&existing)?);
            } else {
                say!("the cluster of context {}, at {}, is used", existing.existing, existing.server);
            }
        }
        Task::Up { api_only, dir, audit_log, json, foreground, .. } => {
            let folder = folder(dir.as_ref());
            let plane = up(&folder, *audit_log, !api_only)?;
            if *json {
                say!("{}", serde_json::to_string(&plane)?);
            } else {
                introduce(&plane, dir.as_ref());
            }
            if *foreground {
                stay(&folder)?;
            }
        }
        Task::Load { images, dir } => {
            let folder = folder(dir.as_ref());
            if let Some(existing) = Existing::read(&folder) {
                bail!("{}", existing.how_to_load(images));
            }
            let plane = find(&folder)?;
            let Some(node) = &plane.node else {
                bail!("the one in {} has no node to load images into", folder.display());
            };
            for archive in images {
                for name in node.load(archive)? {
                    say!("{name}");
                }
            }
        }
        Task::Down { dir } => {
            let folder = folder(dir.as_ref());
            let _lock = lock()?;
            if let Some(existing) = Existing::read(&folder) {
                state_folder::clear(&folder)?;
                say!("the cluster of context {} is no longer used; it goes on", existing.existing);
            } else if state_folder::clear(&folder)? {
                say!("stopped");
            } else {
                say!("there is none in {}", folder.display());
                for other in node::folders() {
                    say!("there is one that `cargo xtask cluster down --dir {}` ends", other.display());
                }
            }
        }
        Task::Status { dir } => {
            let folder = folder(dir.as_ref());
            if let Some(existing) = Existing::read(&folder) {
                existing.check()?;
                say!("the cluster of context {}, at {}, is ready", existing.existing, existing.server);
                return Ok(ExitCode::SUCCESS);
            }
            let plane = find(&folder)?;
            if let Some(part) = plane.ended() {
                bail!("{part}`cargo xtask cluster down` clears it away");
            }
            introduce(&plane, dir.as_ref());
        }
        Task::RestartApiserver { dir } => {
            let _lock = lock()?;
            let mut plane = find(&folder(dir.as_ref()))?;
            let assets = Assets::beside(&plane.kubectl);
            plane.restart_apiserver(&assets)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Commands that start or end something do it one at a time, whatever their folders: two would choose the same ports.
fn lock() -> Result<std::fs::File> {
    assets::lock("clusters.lock")
}

fn find(folder: &Path) -> Result<ControlPlane> {
    if let Some(existing) = Existing::read(folder) {
        bail!("the cluster of context {} was not started here", existing.existing);
    }
    ControlPlane::read(folder).with_context(|| format!("there is none in {}", folder.display()))
}

/// The control plane of this folder, started when it does not run.
fn up(folder: &Path, audit_log: bool, with_node: bool) -> Result<ControlPlane> {
    if with_node {
        let or_else = |reason| anyhow!("{reason}; without a node: cluster up --api-only");
        // Before anything is installed that does not help.
        node::unsupported().map_or(Ok(()), |reason| Err(or_else(reason)))?;
        packages::ensure(&[packages::Group::Cluster, packages::Group::Node])?;
        node_missing().map_or(Ok(()), |reason| Err(or_else(reason)))?;
    } else {
        packages::ensure(&[packages::Group::Cluster])?;
    }
    let assets = assets::ensure(with_node)?;
    let _lock = lock()?;
    if let Some(existing) = Existing::read(folder) {
        let context = existing.existing;
        bail!("{} stands for the cluster of context {context}: `cluster down` forgets it", folder.display());
    }
    if let Some(plane) = ControlPlane::read(folder).filter(|plane| plane.ended().is_none()) {
        for (wanted, present, what) in [
            (audit_log, plane.audit_log.is_some(), "an audit log"),
            (with_node, plane.node.is_some(), "a node"),
        ] {
            if wanted && !present {
                bail!("the one in {} runs without {what}: take it down first", folder.display());
            }
        }
        return Ok(plane);
    }
    start(folder, &assets, audit_log, with_node)
}

/// A control plane without a past, for a suite: whatever is left of an earlier run in this folder goes first.
pub fn fresh(folder: &Path, audit_log: bool) -> Result<ControlPlane> {
    start_fresh(folder, audit_log, false)
}

/// The same with a node.
pub fn fresh_with_node(folder: &Path) -> Result<ControlPlane> {
    start_fresh(folder, false, true)
}

fn start_fresh(folder: &Path, audit_log: bool, with_node: bool) -> Result<ControlPlane> {
    let assets = assets::ensure(with_node)?;
    let _lock = lock()?;
    start(folder, &assets, audit_log, with_node)
}

/// Takes down what runs in this folder, or what is left of it.
pub fn down(folder: &Path) -> Result<()> {
    // Not `lock`: it gives up when interrupted.
    state_folder::clear(folder).map(drop)
}

fn start(folder: &Path, assets: &Assets, audit_log: bool, with_node: bool) -> Result<ControlPlane> {
    state_folder::clear(folder)?;
    state_folder::claim(folder)?;
    ControlPlane::start(folder, assets, audit_log, with_node)
}

fn introduce(plane: &ControlPlane, dir: Option<&PathBuf>) {
    say!("Kubernetes runs at {}", plane.server);
    say!("  export KUBECONFIG={}", plane.kubeconfig.display());
    say!("  {} get namespaces", plane.kubectl.display());
    say!("  logs are in {}", plane.logs.display());
    if let Some(node) = &plane.node {
        say!(
            "  pods run: they have {}, ClusterIPs {}, both routed from here",
            node.pod_network,
            node.service_network
        );
        say!("  pods reach what listens on this machine at {}", node.host_address);
    }
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
            // Not `lock`: it gives up when interrupted.
            state_folder::clear(folder)?;
            return Ok(());
        }
        match ControlPlane::read(folder) {
            Some(plane) if plane.is_running() => continue,
            Some(_) => (),
            None => return Ok(()),
        }
        // Perhaps the API server is just being restarted.
        let _lock = match lock() {
            Err(_) if interrupted() => continue,
            lock => lock?,
        };
        if let Some(part) = ControlPlane::read(folder).and_then(|plane| plane.ended()) {
            state_folder::clear(folder)?;
            bail!("{part}");
        }
    }
}
