//! The processes of a cluster, found by what their environment says.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// Names the cluster in the environment of its processes.
pub const FOLDER: &str = "KVS_INGEST_CLUSTER_DIR";

/// The programs of a control plane.
pub const CONTROL_PLANE: [&str; 4] = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];
const POLL: Duration = Duration::from_millis(50);

/// Whether the process is a part of a control plane, not of a node.
pub fn is_control_plane(id: i32) -> bool {
    // The kernel keeps 15 bytes of a name.
    fs::read_to_string(format!("/proc/{id}/comm"))
        .is_ok_and(|name| CONTROL_PLANE.iter().any(|part| part[..part.len().min(15)] == *name.trim_end()))
}

/// All processes that were started in this folder, the first started first.
pub fn processes_of(dir: &Path) -> Result<Vec<i32>> {
    let mut ours: Vec<i32> = fs::read_dir("/proc")
        .context("cannot read /proc")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|id| is_ours(*id, dir))
        .collect();
    ours.sort_unstable();
    Ok(ours)
}

/// Whether the process runs; one that has ended and that nobody asked for does not.
pub fn is_alive(id: i32) -> bool {
    fs::read_to_string(format!("/proc/{id}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}

/// A process id may be another's by now: ours has this folder in its environment.
pub fn is_ours(id: i32, dir: &Path) -> bool {
    let wanted = format!("{FOLDER}={}", dir.display());
    is_alive(id)
        && fs::read(format!("/proc/{id}/environ"))
            .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes()))
}

/// SIGTERM to the process, up to `patience` for it to end, then SIGKILL to its whole group.
pub fn end(id: i32, dir: &Path, patience: Duration) {
    if !is_ours(id, dir) {
        return;
    }
    let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
    let deadline = Instant::now() + patience;
    while is_ours(id, dir) && Instant::now() < deadline {
        thread::sleep(POLL);
    }
    if is_ours(id, dir) {
        let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
    }
}
