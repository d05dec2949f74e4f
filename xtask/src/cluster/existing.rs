//! A cluster that is there already, of whichever kind: the one of the current kubeconfig. Nothing of it is started or
//! ended here.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::assets;
use super::state_folder::{FILE, claim, clear};

/// What `cluster.json` says of it; those of these names are the same in every `cluster.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Existing {
    pub dir: PathBuf,
    /// The current context alone, with everything in it.
    pub kubeconfig: PathBuf,
    pub server: String,
    pub kubectl: PathBuf,
    /// The current context's name.
    pub existing: String,
}

impl Existing {
    pub fn read(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(dir.join(FILE)).ok()?).ok()
    }

    /// Takes note of it when it answers.
    pub fn adopt(dir: &Path) -> Result<Self> {
        claim(dir)?;
        let dir = dir.canonicalize()?;
        let adopted = Self::note(dir.clone());
        if adopted.is_err() {
            clear(&dir)?;
        }
        adopted
    }

    fn note(dir: PathBuf) -> Result<Self> {
        let kubectl = assets::kubectl().context("there is no kubectl on the PATH")?;
        let view = |output: &str| {
            run(Command::new(&kubectl).args(["config", "view", "--minify", "--flatten", "--raw", output]))
                .context("a current context is needed, of KUBECONFIG or ~/.kube/config")
        };
        let existing = Self {
            kubeconfig: dir.join("kubeconfig"),
            server: view("-o=jsonpath={.clusters[0].cluster.server}")?,
            existing: view("-o=jsonpath={.current-context}")?,
            kubectl: kubectl.clone(),
            dir,
        };
        let text = view("-o=yaml")?;
        // It has keys in it.
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&existing.kubeconfig).context("cannot write the kubeconfig")?;
        file.write_all(text.as_bytes())?;
        existing.check()?;
        fs::write(existing.dir.join(FILE), serde_json::to_vec_pretty(&existing)?)?;
        Ok(existing)
    }

    /// Does it answer?
    pub fn check(&self) -> Result<()> {
        let mut kubectl = Command::new(&self.kubectl);
        kubectl.arg("--kubeconfig").arg(&self.kubeconfig);
        run(kubectl.args(["--request-timeout=10s", "get", "--raw=/readyz"]))
            .with_context(|| {
                format!("the cluster of context {} ({}) is not ready", self.existing, self.server)
            })
            .map(drop)
    }

    /// What a person does instead of `cluster load`: how images get to its nodes depends on what it is.
    pub fn how_to_load(&self, archives: &[PathBuf]) -> String {
        let files: Vec<_> = archives.iter().map(|path| path.display().to_string()).collect();
        let (files, context) = (files.join(" "), &self.existing);
        let how = if let Some(name) = context.strip_prefix("kind-") {
            format!("it looks like kind: kind load image-archive --name {name} {files}")
        } else if let Some(name) = context.strip_prefix("k3d-") {
            format!("it looks like k3d: k3d image import --cluster {name} {files}")
        } else if context == "minikube" {
            format!("it looks like minikube: minikube image load {files}")
        } else {
            format!(
                "push the images to a registry that its nodes reach, or on each node: ctr -n k8s.io images import {files}"
            )
        };
        format!("the cluster of context {context} was not started here, so nothing is loaded into it; {how}")
    }
}

/// Standard output, or an error with standard error.
fn run(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().context("cannot run kubectl")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::super::ControlPlane;
    use super::*;

    #[test]
    fn how_to_load_goes_by_the_context() {
        let advice = |context: &str| {
            let path = PathBuf::from("/x");
            Existing {
                dir: path.clone(),
                kubeconfig: path.clone(),
                server: String::new(),
                kubectl: path,
                existing: context.to_owned(),
            }
            .how_to_load(&[PathBuf::from("a.tar"), PathBuf::from("b.tar")])
        };
        assert!(advice("kind-dev").ends_with("kind load image-archive --name dev a.tar b.tar"));
        assert!(advice("minikube").ends_with("minikube image load a.tar b.tar"));
        assert!(advice("arn:aws:eks:x").contains("registry"));
    }

    #[test]
    fn its_file_is_no_control_planes() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().canonicalize().unwrap();
        let existing = Existing {
            kubeconfig: dir.join("kubeconfig"),
            server: "https://x".to_owned(),
            kubectl: PathBuf::from("kubectl"),
            existing: "x".to_owned(),
            dir: dir.clone(),
        };
        fs::write(dir.join(FILE), serde_json::to_vec(&existing).unwrap()).unwrap();
        assert_eq!(Existing::read(&dir), Some(existing));
        assert!(ControlPlane::read(&dir).is_none());
        assert!(clear(&dir).unwrap());
        assert!(!dir.exists());
    }
}
