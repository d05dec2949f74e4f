//! What a machine must have and allow, asked by trying it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::kubelet;
use super::run_folder::any_node;
use crate::packages::on_path;
use crate::process::output;
use crate::workspace::target;

const COMMANDS: [&str; 9] =
    ["containerd", "ctr", "runc", "ip", "iptables", "nsenter", "unshare", "umount", "cc"];
/// Debian's folder, and the one of those who install by hand.
const CNI: [&str; 2] = ["/usr/lib/cni", "/opt/cni/bin"];

/// Why no package would help, if none would.
pub fn unsupported() -> Option<String> {
    if !cfg!(target_os = "linux") {
        return Some("a node needs Linux".to_owned());
    }
    if !nix::unistd::geteuid().is_root() {
        return Some("a node needs root: it makes network namespaces, cgroups and mounts".to_owned());
    }
    None
}

/// Why this machine cannot run pods, if it cannot.
pub fn node_missing() -> Option<String> {
    if let Some(reason) = unsupported() {
        return Some(reason);
    }
    if let Some(command) = COMMANDS.into_iter().find(|command| !on_path(command)) {
        return Some(format!(
            "a node needs {command} on the PATH (/usr/sbin, too); `cargo xtask packages` installs it on Debian"
        ));
    }
    if cni_plugins().is_none() {
        return Some(format!("a node needs the CNI plugins bridge and host-local, in {}", CNI.join(" or ")));
    }
    if !any_node() && kubelet::answers() {
        return Some("this machine is a node of another Kubernetes already: a kubelet runs here".to_owned());
    }
    // Compiled in, or loaded, or there is none and the tries below tell.
    if on_path("modprobe") {
        let _ =
            output(Command::new("modprobe").args(["--quiet", "--all", "overlay", "br_netfilter", "veth"]));
    }
    cgroups().or_else(kernel)
}

/// The folder with the plugins that are used.
pub fn cni_plugins() -> Option<PathBuf> {
    let plugins = ["bridge", "host-local", "loopback"];
    CNI.map(PathBuf::from).into_iter().find(|folder| plugins.iter().all(|name| folder.join(name).is_file()))
}

fn cgroups() -> Option<String> {
    let root = Path::new("/sys/fs/cgroup");
    let unified = fs::read_to_string(root.join("cgroup.controllers")).ok();
    let lacking = ["cpu", "cpuset", "memory", "pids"].into_iter().find(|name| match &unified {
        Some(controllers) => !controllers.split_whitespace().any(|found| found == *name),
        None => !root.join(name).join("cgroup.procs").exists(),
    })?;
    Some(format!("a node needs the cgroup controller {lacking}, which is not in {}", root.display()))
}

/// In namespaces of its own, which end with it.
const TRIES: [(&str, &str); 4] = [
    ("bridges", "ip link add kvsi-try type bridge"),
    ("pairs of virtual Ethernet links", "ip link add kvsi-try type veth peer name kvsi-try2"),
    ("bridged packets in iptables (br_netfilter)", "test -e /proc/sys/net/bridge/bridge-nf-call-iptables"),
    (
        "iptables with what kube-proxy uses",
        "iptables -w -t nat -A OUTPUT -m comment --comment try -m statistic --mode random --probability 0.5 \
         -j MARK --or-mark 0x4000 && iptables -w -t nat -A POSTROUTING -m conntrack --ctstate NEW \
         -j MASQUERADE --random-fully",
    ),
];

const OVERLAY: &str = "mkdir -p \"$1\"; cd \"$1\"; mkdir a b c d; \
                       mount -t overlay overlay -o lowerdir=a,upperdir=b,workdir=c d";

fn kernel() -> Option<String> {
    let refused = |what: &str, error: anyhow::Error| {
        let text = format!("{error:#}");
        let reason = text.rsplit("`: ").next().unwrap_or_default().trim();
        let reason = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
        format!("a node needs {what}, which this machine does not allow{reason}")
    };
    let alone = |script: &str, folder: &Path| {
        output(Command::new("unshare").args(["--net", "--mount", "sh", "-ec", script, "sh"]).arg(folder))
    };
    for (what, script) in TRIES {
        if let Err(error) = alone(script, Path::new("/")) {
            return Some(refused(what, error));
        }
    }
    // On the file system that the images will be on.
    let folder = target().join(format!("overlay-try-{}", std::process::id()));
    let tried = alone(OVERLAY, &folder);
    let _ = fs::remove_dir_all(&folder);
    tried.err().map(|error| refused(&format!("overlay mounts in {}", target().display()), error))
}
