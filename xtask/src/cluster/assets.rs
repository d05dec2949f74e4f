//! The binaries of a control plane: from `KUBEBUILDER_ASSETS`, from the cache, or built from their Go modules.

use std::env;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::packages::on_path;
use crate::process::{Outcome, interrupted, run_within};
use crate::workspace::{root, show};

/// The Kubernetes that `xtask/kubernetes/go.mod` requires.
pub const KUBERNETES: &str = "1.34.9";
/// What setup-envtest's users have set already.
pub const READY_MADE: &str = "KUBEBUILDER_ASSETS";
/// The oldest Go that builds it: what the modules ask for. Debian 13 has it.
pub const GO: (u32, u32) = (1, 24);
/// One binary never takes longer; kube-apiserver takes five minutes of two cores.
const BUILD_WITHIN: Duration = Duration::from_secs(3600);

/// Where the binaries are.
pub struct Assets {
    folder: PathBuf,
}

/// Binary, module folder under `xtask/`, import path.
type Part = (&'static str, &'static str, &'static str);

const CONTROL_PLANE: [Part; 5] = [
    ("etcd", "etcd", "go.etcd.io/etcd/server/v3"),
    ("kube-apiserver", "kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver"),
    ("kube-controller-manager", "kubernetes", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    ("kube-scheduler", "kubernetes", "k8s.io/kubernetes/cmd/kube-scheduler"),
    ("kubectl", "kubernetes", "k8s.io/kubernetes/cmd/kubectl"),
];
const NODE: [Part; 2] = [
    ("kubelet", "kubernetes", "k8s.io/kubernetes/cmd/kubelet"),
    ("kube-proxy", "kubernetes", "k8s.io/kubernetes/cmd/kube-proxy"),
];

/// Those of a control plane, and of a node when there is to be one.
fn parts(node: bool) -> Vec<Part> {
    let mut parts = CONTROL_PLANE.to_vec();
    if node {
        parts.extend(NODE);
    }
    parts
}

impl Assets {
    pub fn binary(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Those of a control plane that runs, `kubectl` being one of them.
    pub fn beside(kubectl: &Path) -> Self {
        Self { folder: kubectl.parent().unwrap_or(Path::new("/")).to_owned() }
    }
}

/// Where the binaries come from.
#[derive(Debug, PartialEq, Eq)]
enum Source {
    /// They are there.
    Folder(PathBuf),
    /// They are to be built into this folder.
    Build(PathBuf),
}

/// Decides it, or says what the person can do. `go` is asked only when something is to be built.
fn source(
    parts: &[Part],
    ready_made: Option<PathBuf>,
    cache: PathBuf,
    go: impl FnOnce() -> Option<(u32, u32)>,
) -> Result<Source, String> {
    if let Some(folder) = ready_made {
        // setup-envtest brings neither a controller manager nor a scheduler.
        let lacking: Vec<_> = lacking(parts, &folder).iter().map(|(name, ..)| *name).collect();
        return if lacking.is_empty() {
            Ok(Source::Folder(folder))
        } else {
            Err(format!(
                "{READY_MADE} is {}, which lacks {}; put them there, or unset {READY_MADE} to have all of them built",
                folder.display(),
                lacking.join(", ")
            ))
        };
    }
    if lacking(parts, &cache).is_empty() {
        return Ok(Source::Folder(cache));
    }
    let wanted = format!("{}.{}", GO.0, GO.1);
    match go() {
        Some(version) if version >= GO => Ok(Source::Build(cache)),
        found => Err(format!(
            "Kubernetes {KUBERNETES} is built here once, from its Go modules, and {}. Install Go {wanted} or newer \
             (Debian 13: apt-get install golang-go; anywhere: https://go.dev/dl), or set {READY_MADE} to a folder with {}",
            match found {
                Some((major, minor)) => format!("Go {major}.{minor} is too old"),
                None => "there is no Go".to_owned(),
            },
            parts.iter().map(|(name, ..)| *name).collect::<Vec<_>>().join(", "),
        )),
    }
}

fn source_here(node: bool) -> Result<Source, String> {
    let ready_made = env::var_os(READY_MADE).filter(|value| !value.is_empty()).map(PathBuf::from);
    source(&parts(node), ready_made, cache(), go_version)
}

/// Why this machine cannot have them, if it cannot.
pub fn missing(node: bool) -> Option<String> {
    source_here(node).err()
}

/// A kubectl for somebody else's cluster: the person's own, or one that was built here.
pub fn kubectl() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).chain([cache()]).map(|folder| folder.join("kubectl")).find(|path| path.is_file())
}

/// The binaries, those of a node too if wanted, built when they are not there yet.
pub fn ensure(node: bool) -> Result<Assets> {
    let find = || source_here(node).map_err(anyhow::Error::msg);
    let mut source = find()?;
    if let Source::Build(_) = source {
        // Two runs at once: one builds, the other waits for it and finds them.
        let _lock = lock("lock")?;
        source = find()?;
        if let Source::Build(folder) = &source {
            build(&lacking(&parts(node), folder), folder)?;
        }
    }
    let (Source::Folder(folder) | Source::Build(folder)) = source;
    Ok(Assets { folder })
}

/// Waits until this process is the only one that holds `name` in the cache's folder. Let go of when dropped.
pub fn lock(name: &str) -> Result<File> {
    let cache = cache();
    let above = cache.parent().context("the cache has a parent")?;
    fs::create_dir_all(above).with_context(|| format!("cannot make {}", above.display()))?;
    let path = above.join(name);
    let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    let mut noted = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if interrupted() => bail!("interrupted"),
            Err(TryLockError::WouldBlock) => {
                if !noted {
                    note(&format!("Another cargo xtask holds {}; waiting for it", path.display()));
                    noted = true;
                }
                thread::sleep(Duration::from_millis(100));
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
    }
}

/// A line that is not part of the answer: with `--json` standard output belongs to the answer.
pub fn note(text: &str) {
    #[allow(clippy::print_stderr, reason = "standard output may be read by a program")]
    {
        eprintln!("{text}");
    }
}

/// Builds what is lacking; what is there stays as it is.
fn build(lacking: &[Part], folder: &Path) -> Result<()> {
    note(&format!(
        "Building Kubernetes {KUBERNETES} from Go modules (once; ten minutes for all of it): {} to go",
        lacking.len()
    ));
    let work = folder.with_extension("building");
    let _ = fs::remove_dir_all(&work);
    for folder in [&work, folder] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    for (name, module, path) in lacking {
        note(&format!("  {name}"));
        go_build(module, path, &ldflags(), &work.join(name))?;
        // Whole or not at all.
        let done = folder.join(name);
        fs::rename(work.join(name), &done).with_context(|| format!("cannot make {}", done.display()))?;
    }
    let _ = fs::remove_dir_all(&work);
    Ok(())
}

/// Builds one binary of a module under `xtask/`, to this file.
pub fn go_build(module: &str, path: &str, ldflags: &str, to: &Path) -> Result<()> {
    let mut go = Command::new("go");
    go.args(["build", "-trimpath", "-buildvcs=false", "-ldflags", ldflags, "-o"])
        .arg(to)
        .arg(path)
        .env("CGO_ENABLED", "0")
        .env("GOTOOLCHAIN", "local")
        .env("GOWORK", "off")
        .current_dir(root().join("xtask").join(module));
    match run_within(&mut go, BUILD_WITHIN, |_| ())? {
        Outcome::Ended(status) if status.success() => Ok(()),
        Outcome::Ended(status) => bail!("`{}` ended with {status}", show(&go)),
        Outcome::TimedOut => bail!("`{}` takes more than an hour", show(&go)),
        Outcome::Interrupted => bail!("interrupted; what is compiled so far is in Go's cache"),
    }
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
    cache_of("kubernetes", KUBERNETES)
}

/// Where this version of something that is built once is kept.
pub fn cache_of(what: &str, version: &str) -> PathBuf {
    cache_root().join(what).join(version)
}

/// Where what takes minutes to make is kept, for all clones of the repository.
pub fn cache_root() -> PathBuf {
    env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .unwrap_or_else(env::temp_dir)
        .join("kvs-ingest")
}

/// The parts that `folder` does not have.
fn lacking(parts: &[Part], folder: &Path) -> Vec<Part> {
    parts.iter().copied().filter(|(name, ..)| !folder.join(name).is_file()).collect()
}

/// The Go of this machine.
pub fn go_version() -> Option<(u32, u32)> {
    if !on_path("go") {
        return None;
    }
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

    fn folder_with(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            fs::write(folder.path().join(name), "").unwrap();
        }
        folder
    }

    fn unasked() -> Option<(u32, u32)> {
        panic!("Go is asked for although nothing is to be built")
    }

    #[test]
    fn ready_made_binaries_come_first_and_must_be_all_of_them() {
        let all = folder_with(&CONTROL_PLANE.map(|(name, ..)| name));
        let empty = folder_with(&[]);
        let found = source(&CONTROL_PLANE, Some(all.path().to_owned()), empty.path().to_owned(), unasked);
        assert_eq!(found, Ok(Source::Folder(all.path().to_owned())));

        let envtest = folder_with(&["etcd", "kube-apiserver", "kubectl"]);
        let error = source(&CONTROL_PLANE, Some(envtest.path().to_owned()), all.path().to_owned(), unasked)
            .unwrap_err();
        assert!(error.contains("lacks kube-controller-manager, kube-scheduler;"), "{error}");
    }

    #[test]
    fn what_is_not_in_the_cache_is_built_by_a_go_that_can() {
        let all = folder_with(&CONTROL_PLANE.map(|(name, ..)| name));
        assert_eq!(
            source(&CONTROL_PLANE, None, all.path().to_owned(), unasked),
            Ok(Source::Folder(all.path().to_owned()))
        );

        let half = folder_with(&["etcd"]);
        let with_go = |go| source(&CONTROL_PLANE, None, half.path().to_owned(), move || go);
        assert_eq!(with_go(Some(GO)), Ok(Source::Build(half.path().to_owned())));
        let old = with_go(Some((1, 19))).unwrap_err();
        assert!(old.contains("Go 1.19 is too old") && old.contains("Go 1.24 or newer"), "{old}");
        let none = with_go(None).unwrap_err();
        assert!(none.contains("there is no Go") && none.contains(READY_MADE), "{none}");
    }

    #[test]
    fn a_node_needs_more_and_what_is_there_is_not_built_again() {
        let control_plane = folder_with(&CONTROL_PLANE.map(|(name, ..)| name));
        let dir = control_plane.path();
        assert_eq!(lacking(&parts(false), dir), []);
        assert_eq!(lacking(&parts(true), dir), NODE);
        assert_eq!(
            source(&parts(true), None, dir.to_owned(), || Some(GO)),
            Ok(Source::Build(dir.to_owned()))
        );
        let error = source(&parts(true), Some(dir.to_owned()), dir.to_owned(), unasked).unwrap_err();
        assert!(error.contains("lacks kubelet, kube-proxy;"), "{error}");
    }

    #[test]
    fn the_modules_ask_for_no_newer_go_than_is_promised() {
        for folder in ["kubernetes", "etcd"] {
            let module = fs::read_to_string(root().join("xtask").join(folder).join("go.mod")).unwrap();
            assert!(module.contains(&format!("\ngo {}.{}.0\n", GO.0, GO.1)), "{folder}");
        }
    }

    #[test]
    fn the_module_requires_this_kubernetes() {
        let module = fs::read_to_string(root().join("xtask/kubernetes/go.mod")).unwrap();
        assert!(module.contains(&format!("k8s.io/kubernetes v{KUBERNETES}")));
        for (_, folder, path) in parts(true) {
            let module = fs::read_to_string(root().join("xtask").join(folder).join("go.mod")).unwrap();
            assert!(module.contains(path), "{path}");
        }
    }
}
