//! What is true of the sources, and the tests of single crates.

use std::env;
use std::process::Command;

use anyhow::Result;

use super::compile;
use super::prepare::{promtool, virtual_environment};
use super::run::Run;
use crate::packages::on_path;
use crate::workspace::{binary, cargo, root, show, target};
use crate::{arrows, circles, say};

/// Installed under the target folder when the machine has none.
const CARGO_DENY: &str = "0.20.2";

pub fn fmt(suite: &mut Run<'_>) -> Result<()> {
    suite.command(cargo().args(["fmt", "--all", "--check"]))
}

pub fn crds(suite: &mut Run<'_>) -> Result<()> {
    let mut command = Command::new(binary("xtask"));
    command.args(["crds", "--check"]).current_dir(root());
    // On its own, cargo would compile its dependencies again, with fewer features.
    if suite.common.tests.is_some() {
        command.arg("--made-by").arg(binary("examples/crds"));
    }
    suite.command(&mut command)
}

pub fn clippy(suite: &mut Run<'_>) -> Result<()> {
    let lint = |arguments: &[&str]| {
        let mut command = cargo();
        command.args(["clippy", "--locked"]).args(arguments).args(["--all-targets", "--", "-D", "warnings"]);
        command
    };
    if suite.common.all {
        suite.common.tests = Some(suite.compile(&mut compile::whole()?)?);
        suite.command(&mut lint(&["--package", compile::XTASK]))
    } else {
        suite.command(&mut lint(&["--workspace"]))
    }
}

pub fn deny(suite: &mut Run<'_>) -> Result<()> {
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

pub fn layers(_: &mut Run<'_>) -> Result<()> {
    arrows::check()?;
    circles::check()
}

pub fn policies(suite: &mut Run<'_>) -> Result<()> {
    let python = virtual_environment("venv", &root().join("tests/python/requirements.txt"))?;
    suite.command(
        Command::new(python)
            .arg(root().join("tests/python/policies.py"))
            .env("KVS_INGEST_TEST_PROMTOOL", promtool()?),
    )
}

pub fn unit(suite: &mut Run<'_>) -> Result<()> {
    let Some(tests) = suite.common.tests.clone() else {
        return suite.command(cargo().args(["test", "--locked", "--workspace", "--exclude", compile::TESTS]));
    };
    let end_to_end = root().join("tests");
    for test in tests.iter().filter(|test| test.folder != end_to_end) {
        let mut command = test.command();
        say!("     Running {}", show(&command));
        suite.command(&mut command)?;
    }
    suite.command(&mut compile::documentation()?)?;
    suite.command(cargo().args(["test", "--locked", "--package", compile::XTASK]))
}
