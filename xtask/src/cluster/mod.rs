//! `cargo xtask cluster`: a real Kubernetes control plane on this machine, for the tests and for looking around.

pub mod assets;
mod control_plane;
mod pki;

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};

pub use control_plane::ControlPlane;

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
            let running = ControlPlane::read(&folder.canonicalize().unwrap_or(folder.clone()));
            let mut plane = match running {
                Some(plane) if plane.is_running() => plane,
                stale => {
                    if let Some(mut stale) = stale {
                        stale.stop();
                    }
                    packages::ensure(&[packages::Group::Cluster])?;
                    ControlPlane::start(&folder, &assets::ensure()?, *audit_log)?
                }
            };
            if *json {
                say!("{}", serde_json::to_string(&plane)?);
            } else {
                say!("Kubernetes {} runs at {}", assets::KUBERNETES, plane.server);
                say!("  export KUBECONFIG={}", plane.kubeconfig.display());
                say!("  {} get namespaces", plane.kubectl.display());
                say!("  logs are in {}", plane.logs.display());
                say!(
                    "  cargo xtask cluster down{}",
                    dir.as_ref().map_or(String::new(), |dir| format!(" --dir {}", dir.display()))
                );
            }
            if *foreground {
                while !interrupted() && plane.is_running() {
                    thread::sleep(Duration::from_millis(200));
                }
                plane.stop();
            }
        }
        Task::Down { dir } => match ControlPlane::read(&folder(dir.as_ref())) {
            Some(mut plane) => {
                plane.stop();
                say!("stopped");
            }
            None => say!("there is none in {}", folder(dir.as_ref()).display()),
        },
        Task::Status { dir } => match ControlPlane::read(&folder(dir.as_ref())) {
            Some(plane) if plane.is_running() => say!("runs at {}", plane.server),
            Some(_) => bail!("some of its parts have ended: see the logs, then `cargo xtask cluster down`"),
            None => bail!("there is none in {}", folder(dir.as_ref()).display()),
        },
        Task::RestartApiserver { dir } => match ControlPlane::read(&folder(dir.as_ref())) {
            Some(mut plane) => plane.restart_apiserver(&assets::ensure()?)?,
            None => bail!("there is none in {}", folder(dir.as_ref()).display()),
        },
    }
    Ok(ExitCode::SUCCESS)
}
