//! The node's cgroups: every process of every pod is in one of them, so that none is overlooked.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const ROOT: &str = "/sys/fs/cgroup";
const WITHIN: Duration = Duration::from_secs(20);

/// The hierarchies: one of version 2, or one for each controller of version 1 (and perhaps one of version 2 beside them).
fn hierarchies() -> Vec<PathBuf> {
    let root = Path::new(ROOT);
    if root.join("cgroup.controllers").exists() {
        return vec![root.to_owned()];
    }
    let Ok(entries) = fs::read_dir(root) else { return Vec::new() };
    entries
        .flatten()
        // `cpu` may be a link to `cpu,cpuacct`.
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .filter(|path| path.join("cgroup.procs").exists())
        .collect()
}

/// Makes the cgroups that the kubelet puts its own under.
pub fn make(id: &str) -> Result<()> {
    for hierarchy in hierarchies() {
        if let Ok(controllers) = fs::read_to_string(hierarchy.join("cgroup.controllers")) {
            for controller in controllers.split_whitespace() {
                // Those that cannot be passed on are missed by the kubelet, which says so.
                let _ = fs::write(hierarchy.join("cgroup.subtree_control"), format!("+{controller}"));
            }
        }
        let ours = hierarchy.join(id);
        fs::create_dir_all(&ours).with_context(|| format!("cannot make the cgroup {}", ours.display()))?;
        // In version 1 it begins empty, and nothing runs on no processor.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let Ok(value) = fs::read(hierarchy.join(file)) {
                let _ = fs::write(ours.join(file), value);
            }
        }
    }
    Ok(())
}

/// Ends every process in them and takes them away.
pub fn clear(id: &str) -> Result<()> {
    let deadline = Instant::now() + WITHIN;
    loop {
        let ours: Vec<_> =
            hierarchies().into_iter().map(|root| root.join(id)).filter(|p| p.exists()).collect();
        if ours.is_empty() {
            return Ok(());
        }
        for cgroup in &ours {
            for process in processes(cgroup) {
                let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
            }
            // Busy until the last process is gone.
            let _ = remove(cgroup);
        }
        if Instant::now() >= deadline {
            let left: Vec<_> = ours.iter().flat_map(|cgroup| processes(cgroup)).collect();
            bail!("the cgroups {} cannot be removed; processes in them: {left:?}", ours[0].display());
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn children(cgroup: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(cgroup) else { return Vec::new() };
    entries.flatten().filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path()).collect()
}

fn processes(cgroup: &Path) -> Vec<i32> {
    let mut all: Vec<i32> = fs::read_to_string(cgroup.join("cgroup.procs"))
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.parse().ok())
        // 0: of another PID namespace. It would be the whole group of ours.
        .filter(|process| *process > 0)
        .collect();
    for child in children(cgroup) {
        all.extend(processes(&child));
    }
    all
}

fn remove(cgroup: &Path) -> io::Result<()> {
    for child in children(cgroup) {
        remove(&child)?;
    }
    fs::remove_dir(cgroup)
}
