//! A node for pods: containerd, kubelet and kube-proxy in a network namespace and a cgroup of their own, so that nothing
//! of it mixes with what else runs on the machine, and so that taking it down is complete.

mod cgroups;
mod clear;
mod image;
mod kubelet;
mod machine;
mod mounts;
mod network;
mod runtime;
mod sysctls;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

pub use clear::clear;
pub use image::Image;
pub use machine::{never, node_missing};

/// The node's name in Kubernetes.
pub const NAME: &str = "node";

/// One node, as `cluster.json` describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// In Kubernetes.
    pub name: String,
    /// Where pods reach what listens on this machine.
    pub host_address: String,
    /// The node's own.
    pub address: String,
    /// Of pods; routed from this machine, so that it reaches them.
    pub pod_network: String,
    /// Of ClusterIPs; routed as well.
    pub service_network: String,
    /// Of the API server in pods: `kubernetes.default`.
    pub api_address: String,
    /// containerd's socket, for `ctr --address`.
    pub containerd: PathBuf,
    /// Its network namespace, for `nsenter --net=`.
    pub network_namespace: PathBuf,
    /// Names the cgroups and the network link.
    pub id: String,
}

impl Node {
    /// Makes its network and cgroups. From here on `clear` is needed.
    pub fn prepare(dir: &Path) -> Result<Self> {
        if let Some(reason) = node_missing() {
            bail!("{reason}");
        }
        kubelet::check_length(dir)?;
        let (id, run) = (id(dir), run_folder(dir));
        // Everything else is found by this folder's name, whatever happens from here on.
        std::fs::create_dir_all(&run).with_context(|| format!("cannot make {}", run.display()))?;
        std::fs::write(run.join("dir"), dir.as_os_str().as_encoded_bytes())?;
        sysctls::save()?;
        cgroups::make(&id)?;
        let network_namespace = run.join("net");
        let network = network::make(&id, &network_namespace)?;
        Ok(Self {
            name: NAME.to_owned(),
            host_address: network.host(),
            address: network.node(),
            pod_network: network.pods(),
            service_network: network.services(),
            api_address: network.api(),
            containerd: run.join("containerd.sock"),
            network_namespace,
            id,
        })
    }

    /// A command in the node's network. nsenter becomes the program: the process is the program's.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.network_namespace.display())).arg("--").arg(program);
        command
    }
}

/// Machine-wide, on a file system that a restart of the machine empties: what has to be cleaned up is there.
const RUN: &str = "/run/kvs-ingest";

fn run_folder(dir: &Path) -> PathBuf {
    Path::new(RUN).join(id(dir))
}

/// The folders of all clusters with a node on this machine, running or left by a crash.
pub fn folders() -> Vec<PathBuf> {
    let mut folders: Vec<_> = std::fs::read_dir(RUN)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| std::fs::read(entry.path().join("dir")).ok())
        .map(|bytes| PathBuf::from(OsString::from_vec(bytes)))
        .collect();
    folders.sort();
    folders
}

/// Has this machine a node of ours, of whichever folder?
fn are_there_any() -> bool {
    std::fs::read_dir(RUN).is_ok_and(|entries| entries.flatten().any(|entry| entry.path().is_dir()))
}

/// From the folder alone (FNV-1a), so that what a crash left is found without any file. A link's name has 15 bytes.
fn id(dir: &Path) -> String {
    let hash = dir
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    format!("kvsi-{hash:08x}")
}

/// Runs a tool of the system; its standard output, or an error with its standard error.
fn tool(command: &mut Command) -> Result<String> {
    let shown = crate::workspace::show(command);
    let output = command
        .stdin(std::process::Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    if !output.status.success() {
        bail!("`{shown}`: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folders_id_is_always_the_same_and_fits_a_links_name() {
        assert_eq!(id(Path::new("/a")), "kvsi-70d2182d");
        assert_ne!(id(Path::new("/a")), id(Path::new("/b")));
        assert!(id(Path::new("/a/very/long/one")).len() <= 15);
    }
}
