//! What a machine must have for a suite: each says what is missing, if something is.

use crate::cluster::{assets, helm, node_missing};
use crate::images;
use crate::packages::on_path;
use crate::rtmp_server;

/// For suites that run everywhere.
pub fn nothing_missing() -> Option<String> {
    None
}

pub fn missing_commands(commands: &[&str]) -> Option<String> {
    let missing: Vec<_> = commands.iter().copied().filter(|command| !on_path(command)).collect();
    (!missing.is_empty()).then(|| format!("this machine has no {}", missing.join(", no ")))
}

pub fn no_ffmpeg() -> Option<String> {
    missing_commands(&["ffmpeg", "gst-launch-1.0"])
}

pub fn no_python() -> Option<String> {
    missing_commands(&["python3", "gst-launch-1.0"])
}

pub fn no_policies() -> Option<String> {
    let tool = || missing_commands(&["promtool"]).filter(|_| !on_path("apt-get"));
    missing_commands(&["python3", "lua5.1"]).or_else(tool)
}

pub fn no_node() -> Option<String> {
    missing_commands(&["node", "npm", "gst-launch-1.0"])
}

pub fn no_kubernetes() -> Option<String> {
    assets::missing(false).or_else(no_ffmpeg)
}

pub fn no_pods() -> Option<String> {
    node_missing().or_else(|| assets::missing(true)).or_else(|| missing_commands(&["busybox"]))
}

pub fn no_helm() -> Option<String> {
    helm::missing().or_else(|| assets::missing(false))
}

pub fn no_chart_in_pods() -> Option<String> {
    no_pods().or_else(helm::missing).or_else(images::missing)
}

pub fn no_browser() -> Option<String> {
    missing_commands(&["chromium", "node", "npm", "ffmpeg"])
}

pub fn no_rtmp() -> Option<String> {
    no_ffmpeg().or_else(|| missing_commands(&["node", "npm"])).or_else(rtmp_server::missing)
}

pub fn no_players() -> Option<String> {
    no_python().or_else(no_browser)
}

pub fn no_strangers() -> Option<String> {
    let (major, minor) = assets::GO;
    no_python().or_else(no_ffmpeg).or_else(|| match assets::go_version() {
        None => Some(format!("this machine has no Go {major}.{minor} or newer, in which Pion is written")),
        Some(found) if found < assets::GO => Some(format!(
            "Pion needs Go {major}.{minor} or newer, and this machine has {}.{}",
            found.0, found.1
        )),
        Some(_) => None,
    })
}
