//! `cargo xtask crds`: the CustomResourceDefinition and the API reference, made from `crates/api`.

use std::fs;
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::say;
use crate::workspace::{cargo, root, show};

#[derive(Args)]
pub struct Options {
    /// Write nothing; fail when a file is not what would be written
    #[arg(long)]
    check: bool,
}

pub fn run(options: &Options) -> Result<ExitCode> {
    let mut stale = Vec::new();
    for (file, arguments) in
        [("crds/kvs-ingest.dev_kvsingests.yaml", &[][..]), ("docs/reference.md", &["--reference"])]
    {
        let path = root().join(file);
        let made = make(arguments)?;
        if fs::read(&path).ok().as_deref() == Some(made.as_bytes()) {
            continue;
        }
        if options.check {
            stale.push(file);
        } else {
            write(&path, &made)?;
            say!("wrote {file}");
        }
    }
    if stale.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    bail!("{} would change: run `cargo xtask crds` and commit", stale.join(" and "))
}

fn make(arguments: &[&str]) -> Result<String> {
    let mut command = cargo();
    command
        .args([
            "run",
            "--locked",
            "--quiet",
            "-p",
            "kvs-ingest-api",
            "--features",
            "crd",
            "--example",
            "crds",
            "--",
        ])
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    let output = command.output().with_context(|| format!("cannot run `{}`", show(&command)))?;
    if !output.status.success() {
        bail!("`{}` ended with {}", show(&command), output.status);
    }
    String::from_utf8(output.stdout).context("what the example printed is not UTF-8")
}

fn write(path: &PathBuf, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
