//! What of a node is there before its programs are: folder, network, cgroups.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::machine::node_missing;
use super::run_folder::{id, run_folder};
use super::{Node, cgroups, kubelet, network, sysctls};

/// The node's name in Kubernetes.
const NAME: &str = "node";

impl Node {
    /// Makes its network and cgroups. From here on `clear` is needed.
    pub fn prepare(dir: &Path) -> Result<Self> {
        if let Some(reason) = node_missing() {
            bail!("{reason}");
        }
        kubelet::check_length(dir)?;
        let (id, run) = (id(dir), run_folder(dir));
        // Everything else is found by this folder's name, whatever happens from here on.
        fs::create_dir_all(&run).with_context(|| format!("cannot make {}", run.display()))?;
        fs::write(run.join("dir"), dir.as_os_str().as_encoded_bytes())?;
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
}
