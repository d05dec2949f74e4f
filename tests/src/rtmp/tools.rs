//! Programs that `cargo xtask test rtmp` unpacks instead of installing them: as packages they would start services.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tokio::process::Command;

use crate::agent::target;

/// `path` below the root of a system, as unpacked or as installed.
pub fn find(path: &str) -> Result<PathBuf> {
    let roots = [target()?.join("tools/rtmp"), PathBuf::from("/")];
    let found = roots.iter().map(|root| root.join(path)).find(|file| file.exists());
    found.with_context(|| format!("there is no {path}: run `cargo xtask test rtmp`, which fetches it"))
}

/// A command line of this program, with the libraries that were unpacked with it.
pub fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    if let Some(root) = program.ancestors().nth(3).filter(|root| *root != Path::new("/")) {
        command.env("LD_LIBRARY_PATH", root.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH)));
    }
    command
}
