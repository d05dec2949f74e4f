//! A node for pods: containerd, kubelet and kube-proxy in a network namespace and a cgroup of their own, so that nothing
//! of it mixes with what else runs on the machine, and so that taking it down is complete.

mod cgroups;
mod clear;
mod image;
mod kubelet;
mod machine;
mod mounts;
mod network;
mod prepare;
mod run_folder;
mod runtime;
mod sysctls;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

pub use self::clear::clear;
pub use self::image::Image;
pub use self::machine::{node_missing, unsupported};
pub use self::run_folder::folders;

/// One node, as `cluster.json` describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// What Kubernetes calls it.
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
    /// A command in the node's network. nsenter becomes the program: the process is the program's.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.network_namespace.display())).arg("--").arg(program);
        command
    }
}
