//! kubelet and kube-proxy: their configuration and command lines.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::Node;
use super::run_folder::run_folder;
use crate::cluster::assets::Assets;
use crate::cluster::pki::Pki;

/// A Unix socket's path has at most 107 bytes, and this is the longest that the kubelet makes.
const LONGEST: &str = "/kubelet/pod-resources/kubelet.sock";
/// A kubelet listens there, whatever its root is.
const DEVICE_PLUGINS: &str = "/var/lib/kubelet/device-plugins";

/// Does a kubelet run here?
pub fn answers() -> bool {
    UnixStream::connect(Path::new(DEVICE_PLUGINS).join("kubelet.sock")).is_ok()
}

/// Of kubelets that have ended. What is not empty stays.
pub fn clear_device_plugins() {
    if !answers() {
        let _ = fs::remove_file(Path::new(DEVICE_PLUGINS).join("kubelet.sock"));
    }
    let _ = fs::remove_dir(DEVICE_PLUGINS);
    let _ = fs::remove_dir("/var/lib/kubelet");
}

pub fn check_length(dir: &Path) -> Result<()> {
    let most = 107 - LONGEST.len();
    let length = dir.as_os_str().len();
    if length > most {
        bail!(
            "{} has {length} bytes, and a node's folder at most {most}: name another with --dir",
            dir.display()
        );
    }
    Ok(())
}

impl Node {
    pub fn kubelet_command(&self, dir: &Path, assets: &Assets, pki: &Pki) -> Result<Command> {
        let run = run_folder(dir);
        let resolv = run.join("resolv.conf");
        fs::write(&resolv, "")?;
        let config = json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": self.address,
            "port": 10250,
            "readOnlyPort": 0,
            "healthzBindAddress": "127.0.0.1",
            "authentication": {
                "anonymous": {"enabled": false},
                "webhook": {"enabled": false},
                "x509": {"clientCAFile": pki.path("ca.crt")},
            },
            "authorization": {"mode": "AlwaysAllow"},
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": format!("/{}", self.id),
            "cgroupsPerQOS": true,
            "enforceNodeAllocatable": ["pods"],
            "failSwapOn": false,
            "failCgroupV1": false,
            "containerRuntimeEndpoint": format!("unix://{}", self.containerd.display()),
            "podLogsDir": dir.join("logs/pods"),
            "volumePluginDir": run.join("volume-plugins"),
            // Chains in the node's own network, but nobody needs them.
            "makeIPTablesUtilChains": false,
            "resolvConf": resolv,
            "clusterDomain": "cluster.local",
            // No name server answers there: who asks for a name fails at once, and pods get no event about it.
            "clusterDNS": [self.address],
            "nodeStatusUpdateFrequency": "5s",
            "syncFrequency": "10s",
            "maxPods": 60,
            // Loaded images come from nowhere else: none is ever collected.
            "imageGCHighThresholdPercent": 100,
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        });
        let mut command = self.command(&assets.binary("kubelet"));
        command
            .arg(format!("--config={}", write(&run, "kubelet.json", &config)?))
            .arg(format!("--kubeconfig={}", pki.path("kubelet.kubeconfig").display()))
            .arg(format!("--hostname-override={}", self.name))
            .arg(format!("--node-ip={}", self.address))
            .arg(format!("--root-dir={}", dir.join("kubelet").display()))
            .arg(format!("--cert-dir={}", dir.join("pki/kubelet").display()));
        Ok(command)
    }

    pub fn proxy_command(&self, dir: &Path, assets: &Assets, pki: &Pki) -> Result<Command> {
        let config = json!({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "iptables",
            "hostnameOverride": self.name,
            "bindAddress": self.address,
            "healthzBindAddress": "127.0.0.1:10256",
            "metricsBindAddress": "127.0.0.1:10249",
            "clusterCIDR": self.pod_network,
            "clientConnection": {"kubeconfig": pki.path("kube-proxy.kubeconfig")},
            // The table of connections is the whole machine's.
            "conntrack": {
                "maxPerCore": 0,
                "min": 0,
                "tcpEstablishedTimeout": "0s",
                "tcpCloseWaitTimeout": "0s",
                "udpTimeout": "0s",
                "udpStreamTimeout": "0s",
            },
        });
        let mut command = self.command(&assets.binary("kube-proxy"));
        command.arg(format!("--config={}", write(&run_folder(dir), "kube-proxy.json", &config)?));
        Ok(command)
    }
}

/// JSON is YAML.
fn write(run: &Path, name: &str, config: &serde_json::Value) -> Result<String> {
    let path = run.join(name);
    fs::write(&path, config.to_string()).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_whose_sockets_would_have_too_long_a_path_is_refused() {
        let longest = format!("/{}", "d".repeat(71));
        check_length(Path::new(&longest)).unwrap();
        let error = check_length(Path::new(&format!("{longest}d"))).unwrap_err().to_string();
        assert!(error.contains("73 bytes") && error.contains("at most 72"), "{error}");
    }
}
