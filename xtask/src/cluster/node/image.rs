//! Images of static programs, as archives that every container engine loads: no registry is needed for them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::json;

use crate::process::output;

/// What an image is made of.
pub struct Image<'a> {
    /// With its tag.
    pub name: &'a str,
    /// The static program, `/program` in the image.
    pub program: &'a Path,
    /// Other names of it, as links: `bin/sh`.
    pub links: &'a [&'a str],
    /// Without a command of the pod's.
    pub entrypoint: &'a [&'a str],
}

impl Image<'_> {
    /// Writes `FOLDER/image.tar`, a docker-archive of one layer.
    pub fn pack(&self, folder: &Path) -> Result<PathBuf> {
        let _ = fs::remove_dir_all(folder);
        let root = folder.join("root");
        for path in ["", "tmp", "etc"].into_iter().map(Path::new).chain(self.links.iter().map(Path::new)) {
            let path = root.join(path);
            let is_link = self.links.iter().any(|link| path == root.join(link));
            let folder = if is_link { path.parent().unwrap_or(&root) } else { &path };
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
            if is_link {
                std::os::unix::fs::symlink("/program", &path)?;
            }
        }
        fs::copy(self.program, root.join("program"))
            .with_context(|| format!("cannot copy {}", self.program.display()))?;
        fs::write(root.join("etc/passwd"), "root:x:0:0::/:\nnonroot:x:65532:65532::/:\n")?;
        tar(folder, "layer.tar", "root", &["."])?;
        let sum = output(Command::new("sha256sum").arg("layer.tar").current_dir(folder))?;
        let layer = format!("sha256:{}", sum.split_whitespace().next().unwrap_or_default());
        let config = json!({
            "architecture": architecture(),
            "os": "linux",
            "config": {"Entrypoint": self.entrypoint, "User": "65532:65532", "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [layer]},
        });
        let manifest = json!([{"Config": "config.json", "RepoTags": [self.name], "Layers": ["layer.tar"]}]);
        fs::write(folder.join("config.json"), config.to_string())?;
        fs::write(folder.join("manifest.json"), manifest.to_string())?;
        tar(folder, "image.tar", ".", &["manifest.json", "config.json", "layer.tar"])?;
        Ok(folder.join("image.tar"))
    }
}

fn tar(folder: &Path, archive: &str, root: &str, members: &[&str]) -> Result<()> {
    output(
        Command::new("tar")
            .args(["--create", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0", "--sort=name"])
            .args(["--file", archive, "--directory", root])
            .args(members)
            .current_dir(folder),
    )
    .map(drop)
}

/// As images call it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// What holds the namespaces of a pod: it does nothing, ends when asked, and waits for orphans.
const PAUSE: &str = include_str!("pause.c");
pub const PAUSE_NAME: &str = "kvs-ingest.test/pause:1";

/// The image of pause, compiled into `folder`.
pub fn pause(folder: &Path) -> Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let (source, program) = (folder.join("pause.c"), folder.join("pause"));
    fs::write(&source, PAUSE)?;
    output(Command::new("cc").args(["-static", "-Os", "-s", "-o"]).arg(&program).arg(&source))
        .context("the pause program needs a C compiler and a static C library (Debian: libc6-dev)")?;
    let image = Image { name: PAUSE_NAME, program: &program, links: &[], entrypoint: &["/program"] };
    image.pack(&folder.join("image"))
}
