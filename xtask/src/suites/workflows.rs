//! actionlint of `.github/workflows`, with shellcheck for the scripts in them.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::requirements::missing_commands;
use super::run::Run;
use crate::packages::on_path;
use crate::workspace::{root, target};

/// What is built when the machine has none.
fn built() -> PathBuf {
    target().join("tools/bin/actionlint")
}

pub fn missing() -> Option<String> {
    missing_commands(&["shellcheck"])
        .or_else(|| if on_path("actionlint") { None } else { missing_commands(&["go"]) })
}

pub fn run(suite: &mut Run<'_>) -> Result<()> {
    let mut actionlint = PathBuf::from("actionlint");
    if !on_path("actionlint") {
        actionlint = built();
        // Always: Go knows what is built already, and `xtask/actionlint/go.mod` says which version it has to be.
        suite.command(
            Command::new("go")
                .args(["build", "-trimpath", "-buildvcs=false", "-o"])
                .arg(&actionlint)
                .arg("github.com/rhysd/actionlint/cmd/actionlint")
                .env("CGO_ENABLED", "0")
                .env("GOTOOLCHAIN", "local")
                .env("GOWORK", "off")
                .current_dir(root().join("xtask/actionlint")),
        )?;
    }
    // Some machines have pyflakes, others have not: no script here is Python.
    suite.command(Command::new(actionlint).arg("-pyflakes=").current_dir(root()))
}
