//! Helm: from `KUBEBUILDER_ASSETS` or `PATH` when it is there, otherwise built once, from `xtask/helm/go.mod`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::assets::{self, GO, READY_MADE};

/// The Helm that `xtask/helm/go.mod` requires.
const HELM: &str = "3.19.5";
/// The oldest that the chart's documentation names: `--take-ownership` came with it.
const OLDEST: (u32, u32) = (3, 17);
/// Of the client libraries in it: what `helm template` and `helm lint` take the cluster for.
const KUBERNETES: (u32, u32) = (1, 34);

#[derive(Debug, PartialEq, Eq)]
enum Source {
    Found(PathBuf),
    Build(PathBuf),
}

/// The first of `found` that is new enough, or what is in the cache, or what a Go can build.
fn source(
    found: impl IntoIterator<Item = PathBuf>,
    version: impl Fn(&Path) -> Option<(u32, u32)>,
    cached: PathBuf,
    go: impl FnOnce() -> Option<(u32, u32)>,
) -> Result<Source, String> {
    if let Some(helm) = found.into_iter().find(|helm| version(helm).is_some_and(|found| found >= OLDEST)) {
        return Ok(Source::Found(helm));
    }
    if cached.is_file() {
        return Ok(Source::Found(cached));
    }
    match go() {
        Some(version) if version >= GO => Ok(Source::Build(cached)),
        found => Err(format!(
            "there is no Helm {}.{} or newer, and to build it there is {}. Install Helm (https://helm.sh/docs/intro/install), \
             or Go {}.{} or newer (Debian 13: apt-get install golang-go; anywhere: https://go.dev/dl)",
            OLDEST.0,
            OLDEST.1,
            match found {
                Some((major, minor)) => format!("only Go {major}.{minor}"),
                None => "no Go".to_owned(),
            },
            GO.0,
            GO.1,
        )),
    }
}

fn source_here() -> Result<Source, String> {
    let ready_made = env::var_os(READY_MADE).filter(|value| !value.is_empty()).map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = ready_made.into_iter().chain(env::split_paths(&path));
    let found = folders.map(|folder| folder.join("helm")).filter(|file| file.is_file());
    source(found, version, assets::cache_of("helm", HELM).join("helm"), assets::go_version)
}

/// Why this machine cannot have it, if it cannot.
pub fn missing() -> Option<String> {
    source_here().err()
}

/// Where it is; built when it is not there yet.
pub fn ensure() -> Result<PathBuf> {
    let find = || source_here().map_err(anyhow::Error::msg);
    let mut source = find()?;
    if let Source::Build(_) = source {
        // Two runs at once: one builds, the other waits for it and finds it.
        let _lock = assets::lock("helm.lock")?;
        source = find()?;
        if let Source::Build(file) = &source {
            build(file)?;
        }
    }
    let (Source::Found(file) | Source::Build(file)) = source;
    Ok(file)
}

fn build(file: &Path) -> Result<()> {
    assets::note(&format!("Building Helm {HELM} from its Go module (once, some minutes)"));
    let folder = file.parent().context("the cache has a parent")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let work = file.with_extension("building");
    assets::go_build("helm", "helm.sh/helm/v3/cmd/helm", &ldflags(), &work)?;
    fs::rename(&work, file).with_context(|| format!("cannot make {}", file.display()))
}

/// Without them Helm says that it is 3.19, and takes every cluster that it cannot ask for 1.20.
fn ldflags() -> String {
    let (major, minor) = KUBERNETES;
    let mut flags = format!("-s -w -X helm.sh/helm/v3/internal/version.version=v{HELM}");
    for package in ["lint/rules", "chartutil"] {
        for (name, value) in [("Major", major), ("Minor", minor)] {
            flags.push_str(&format!(" -X helm.sh/helm/v3/pkg/{package}.k8sVersion{name}={value}"));
        }
    }
    flags
}

fn version(helm: &Path) -> Option<(u32, u32)> {
    let output = Command::new(helm).args(["version", "--template", "{{.Version}}"]).output().ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

/// `v3.19.5`
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim().strip_prefix('v')?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::root;

    #[test]
    fn versions_are_read() {
        assert_eq!(parse_version("v3.19.5\n"), Some((3, 19)));
        assert_eq!(parse_version("v4.0.0-rc.1"), Some((4, 0)));
        assert_eq!(parse_version("Client: &version.Version{}"), None);
    }

    #[test]
    fn one_that_is_new_enough_comes_first_then_the_cache_then_go() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new, cached) = (PathBuf::from("old"), PathBuf::from("new"), folder.path().join("helm"));
        let version = |helm: &Path| Some(if helm == Path::new("old") { (3, 16) } else { (3, 17) });
        let find = |found: &[&PathBuf], go| {
            source(found.iter().map(|&file| file.clone()).collect::<Vec<_>>(), version, cached.clone(), || go)
        };
        assert_eq!(find(&[&old, &new], None), Ok(Source::Found(new.clone())));
        assert_eq!(find(&[&old], Some(GO)), Ok(Source::Build(cached.clone())));
        let none = find(&[], None).unwrap_err();
        assert!(none.contains("no Helm 3.17 or newer, and to build it there is no Go."), "{none}");
        let too_old = find(&[&old], Some((1, 19))).unwrap_err();
        assert!(too_old.contains("only Go 1.19"), "{too_old}");
        fs::write(&cached, "").unwrap();
        assert_eq!(find(&[&old], None), Ok(Source::Found(cached.clone())));
    }

    #[test]
    fn the_module_requires_this_helm_and_no_newer_go_than_is_promised() {
        let module = fs::read_to_string(root().join("xtask/helm/go.mod")).unwrap();
        assert!(module.contains(&format!("helm.sh/helm/v3 v{HELM}")));
        assert!(module.contains(&format!("\ngo {}.{}.0\n", GO.0, GO.1)));
        // Kubernetes' libraries count 0.34 where Kubernetes is 1.34.
        assert!(module.contains(&format!("k8s.io/client-go v0.{}.", KUBERNETES.1)));
    }
}
