//! The binaries of a control plane: from `KUBEBUILDER_ASSETS`, from the cache, or built from their Go modules.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::packages::on_path;
use crate::say;
use crate::workspace::{root, run};

/// The Kubernetes that `xtask/kubernetes/go.mod` requires.
pub const KUBERNETES: &str = "1.34.9";
/// What setup-envtest's users have set already.
const READY_MADE: &str = "KUBEBUILDER_ASSETS";
/// The oldest Go that builds it.
const GO: (u32, u32) = (1, 26);

/// Where the binaries are.
pub struct Assets {
    folder: PathBuf,
}

/// Binary, module folder under `xtask/`, import path.
const PARTS: [(&str, &str, &str); 5] = [
    ("etcd", "etcd", "go.etcd.io/etcd/server/v3"),
    ("kube-apiserver", "kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver"),
    ("kube-controller-manager", "kubernetes", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    ("kube-scheduler", "kubernetes", "k8s.io/kubernetes/cmd/kube-scheduler"),
    ("kubectl", "kubernetes", "k8s.io/kubernetes/cmd/kubectl"),
];

impl Assets {
    pub fn binary(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// Why this machine cannot have them, if it cannot.
pub fn missing() -> Option<String> {
    if env::var_os(READY_MADE).is_some() || is_complete(&cache()) {
        return None;
    }
    if !on_path("go") {
        return Some(format!(
            "no Kubernetes: install Go {}.{} or newer (it is built once, in some ten minutes), or set {READY_MADE}",
            GO.0, GO.1
        ));
    }
    match go_version() {
        Some(version) if version < GO => Some(format!(
            "Go {}.{} is too old for Kubernetes {KUBERNETES}: it needs {}.{}; or set {READY_MADE}",
            version.0, version.1, GO.0, GO.1
        )),
        _ => None,
    }
}

/// The binaries, built when they are not there yet.
pub fn ensure() -> Result<Assets> {
    if let Some(folder) = env::var_os(READY_MADE) {
        let folder = PathBuf::from(folder);
        for name in ["etcd", "kube-apiserver"] {
            if !folder.join(name).is_file() {
                bail!("{READY_MADE} is {}, and there is no {name} in it", folder.display());
            }
        }
        return Ok(Assets { folder });
    }
    let folder = cache();
    if is_complete(&folder) {
        return Ok(Assets { folder });
    }
    if let Some(reason) = missing() {
        bail!("{reason}");
    }
    let above = folder.parent().context("the cache has a parent")?;
    fs::create_dir_all(above).with_context(|| format!("cannot make {}", above.display()))?;
    // Two runs at once: one builds, the other waits for it.
    let lock = File::create(above.join("lock")).context("cannot make the lock of the cache")?;
    lock.lock().context("cannot lock the cache")?;
    if !is_complete(&folder) {
        build(&folder)?;
    }
    Ok(Assets { folder })
}

fn build(folder: &Path) -> Result<()> {
    say!("Building Kubernetes {KUBERNETES} and etcd from their Go modules (once, some ten minutes)");
    let work = folder.with_extension("building");
    let _ = fs::remove_dir_all(&work);
    fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
    for (name, module, path) in PARTS {
        say!("  {name}");
        run(Command::new("go")
            .args(["build", "-trimpath", "-buildvcs=false", "-ldflags", &ldflags(), "-o"])
            .arg(work.join(name))
            .arg(path)
            .env("CGO_ENABLED", "0")
            .env("GOTOOLCHAIN", "local")
            .env("GOWORK", "off")
            .current_dir(root().join("xtask").join(module)))?;
    }
    // Whole or not at all.
    let _ = fs::remove_dir_all(folder);
    fs::rename(&work, folder).with_context(|| format!("cannot make {}", folder.display()))
}

/// Without it the server says that it is v0.0.0-master, and clients judge it by that.
fn ldflags() -> String {
    let mut flags = String::from("-s -w");
    let (major, minor) =
        (KUBERNETES.split('.').next().unwrap_or("1"), KUBERNETES.split('.').nth(1).unwrap_or("0"));
    for package in ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"] {
        for (name, value) in [
            ("gitMajor", major),
            ("gitMinor", minor),
            ("gitVersion", &format!("v{KUBERNETES}")),
            ("gitTreeState", "clean"),
        ] {
            flags.push_str(&format!(" -X {package}.{name}={value}"));
        }
    }
    flags
}

fn cache() -> PathBuf {
    let base = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .unwrap_or_else(env::temp_dir);
    base.join("kvs-ingest/kubernetes").join(KUBERNETES)
}

fn is_complete(folder: &Path) -> bool {
    PARTS.iter().all(|(name, ..)| folder.join(name).is_file())
}

fn go_version() -> Option<(u32, u32)> {
    let output = Command::new("go").arg("version").env("GOTOOLCHAIN", "local").output().ok()?;
    parse_go_version(&String::from_utf8_lossy(&output.stdout))
}

/// `go version go1.26.8 linux/amd64`
fn parse_go_version(text: &str) -> Option<(u32, u32)> {
    let version = text.split_whitespace().find_map(|word| {
        word.strip_prefix("go").filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    })?;
    let mut parts = version.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_versions_are_read() {
        assert_eq!(parse_go_version("go version go1.26.8 linux/amd64"), Some((1, 26)));
        assert_eq!(parse_go_version("go version go1.27rc1 linux/arm64"), Some((1, 27)));
        assert_eq!(parse_go_version("go: command not found"), None);
    }

    #[test]
    fn the_module_requires_this_kubernetes() {
        let module = fs::read_to_string(root().join("xtask/kubernetes/go.mod")).unwrap();
        assert!(module.contains(&format!("k8s.io/kubernetes v{KUBERNETES}")));
        for (_, folder, path) in PARTS {
            let module = fs::read_to_string(root().join("xtask").join(folder).join("go.mod")).unwrap();
            assert!(module.contains(path), "{path}");
        }
    }
}
