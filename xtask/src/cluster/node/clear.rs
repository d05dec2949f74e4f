//! Taking a node down: also one that crashed or half started, and again.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::run_folder::{RUN, any_node, id, run_folder};
use super::{cgroups, kubelet, mounts, network, sysctls};
use crate::cluster::processes::{is_control_plane, processes_of};

const WITHIN: Duration = Duration::from_secs(20);
/// Where kubelet, libcni and containerd's shims write, whatever they are told.
const POD_LOG_LINKS: &str = "/var/log/containers";
const CNI_RESULTS: &str = "/var/lib/cni/results";
const SHIM_SOCKETS: &str = "/run/containerd/s";

/// Ends the node of this folder with all pods, at once, and takes away what it made outside of the folder. The control
/// plane, and what is in the folder, stay. False: there was none.
pub fn clear(dir: &Path) -> Result<bool> {
    let (id, run) = (id(dir), run_folder(dir));
    if !run.exists() {
        return Ok(false);
    }
    if !nix::unistd::geteuid().is_root() {
        bail!("{} has a node, which only root can take down", dir.display());
    }
    end_processes(dir)?;
    cgroups::clear(&id)?;
    let sockets = shim_sockets(&run);
    network::clear(&id)?;
    mounts::clear(&run)?;
    mounts::clear(dir)?;
    for socket in sockets {
        let _ = fs::remove_file(socket);
    }
    remove_where(Path::new(POD_LOG_LINKS), |path| fs::read_link(path).is_ok_and(|to| to.starts_with(dir)));
    let name = run.display().to_string();
    remove_where(Path::new(CNI_RESULTS), |path| {
        fs::read_to_string(path).is_ok_and(|text| text.contains(&name))
    });
    // Only those that are empty; a containerd of the system has something in its own.
    for folder in [POD_LOG_LINKS, CNI_RESULTS, "/var/lib/cni", SHIM_SOCKETS, "/run/containerd"] {
        let _ = fs::remove_dir(folder);
    }
    fs::remove_dir_all(&run).with_context(|| format!("cannot remove {}", run.display()))?;
    if !any_node() {
        sysctls::restore()?;
        kubelet::clear_device_plugins();
        fs::remove_dir_all(RUN).with_context(|| format!("cannot remove {RUN}"))?;
    }
    Ok(true)
}

/// kubelet, kube-proxy, containerd, its shims and what they just start: everything of this folder that is not the control
/// plane. It is asked until nobody is left, because those that end may still have started others.
fn end_processes(dir: &Path) -> Result<()> {
    let deadline = Instant::now() + WITHIN;
    loop {
        let left: Vec<_> =
            processes_of(dir)?.into_iter().filter(|process| !is_control_plane(*process)).collect();
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            bail!("the processes {left:?} do not end");
        }
        for process in left {
            let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// A killed shim leaves its socket behind, in a folder of all shims of the machine.
fn shim_sockets(run: &Path) -> Vec<PathBuf> {
    let tasks = run.join("state/io.containerd.runtime.v2.task/k8s.io");
    let Ok(entries) = fs::read_dir(tasks) else { return Vec::new() };
    entries
        .flatten()
        .flat_map(|entry| ["address", "bootstrap.json"].map(|file| entry.path().join(file)))
        .filter_map(|file| {
            let text = fs::read_to_string(file).ok()?;
            let (_, name) = text.split_once(&format!("unix://{SHIM_SOCKETS}/"))?;
            let length = name.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(name.len());
            Some(Path::new(SHIM_SOCKETS).join(&name[..length]))
        })
        .collect()
}

fn remove_where(folder: &Path, ours: impl Fn(&Path) -> bool) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| ours(path)) {
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shims_sockets_are_found_in_both_spellings() {
        let run = tempfile::tempdir().unwrap();
        let tasks = run.path().join("state/io.containerd.runtime.v2.task/k8s.io");
        for (pod, file, text) in [
            ("a", "address", "unix:///run/containerd/s/0a1b"),
            (
                "b",
                "bootstrap.json",
                r#"{"version":3,"address":"unix:///run/containerd/s/2c","protocol":"ttrpc"}"#,
            ),
            ("c", "address", "unix:///elsewhere/s/3d"),
        ] {
            fs::create_dir_all(tasks.join(pod)).unwrap();
            fs::write(tasks.join(pod).join(file), text).unwrap();
        }
        let mut found = shim_sockets(run.path());
        found.sort();
        assert_eq!(found, ["0a1b", "2c"].map(|name| Path::new(SHIM_SOCKETS).join(name)));
    }
}
