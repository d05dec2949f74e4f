//! What is true of the sources, and the tests of single crates.

use std::env;
use std::process::Command;

use anyhow::Result;

use super::prepare::virtual_environment;
use super::run::Run;
use crate::packages::on_path;
use crate::workspace::{binary, cargo, root, target};
use crate::{arrows, circles};

/// Installed under the target folder when the machine has none.
const CARGO_DENY: &str = "0.20.2";

pub fn fmt(suite: &mut Run) -> Result<()> {
    suite.command(cargo().args(["fmt", "--all", "--check"]))
}

pub fn crds(suite: &mut Run) -> Result<()> {
    suite.command(Command::new(binary("xtask")).args(["crds", "--check"]).current_dir(root()))
}

pub fn clippy(suite: &mut Run) -> Result<()> {
    suite.command(cargo().args([
        "clippy",
        "--locked",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    suite.command(cargo().args([
        "clippy",
        "--locked",
        "-p",
        "kvs-ingest-api",
        "--features",
        "crd",
        "--",
        "-D",
        "warnings",
    ]))
}

pub fn deny(suite: &mut Run) -> Result<()> {
    let tools = target().join("tools");
    if !on_path("cargo-deny") && !tools.join("bin/cargo-deny").exists() {
        suite.command(
            cargo()
                .args([
                    "install",
                    "--quiet",
                    "--locked",
                    "--debug",
                    "--version",
                    CARGO_DENY,
                    "cargo-deny",
                    "--root",
                ])
                .arg(&tools),
        )?;
    }
    let path = format!("{}:{}", tools.join("bin").display(), env::var("PATH").unwrap_or_default());
    suite
        .command(cargo().args(["deny", "--locked", "check", "bans", "licenses", "sources"]).env("PATH", path))
}

pub fn layers(_: &mut Run) -> Result<()> {
    arrows::check()?;
    circles::check()
}

pub fn policies(suite: &mut Run) -> Result<()> {
    let python = virtual_environment("venv", &root().join("tests/python/requirements.txt"))?;
    suite.command(Command::new(python).arg(root().join("tests/python/policies.py")))
}

pub fn unit(suite: &mut Run) -> Result<()> {
    suite.command(cargo().args(["test", "--locked", "--workspace", "--exclude", "kvs-ingest-tests"]))
}
