//! `cargo xtask crds`: the CustomResourceDefinitions and the API reference, made from `crates/api`, and what the Helm
//! chart repeats: Helm reads no file outside of a chart.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::say;
use crate::workspace::{cargo, root, show};

const CHARTS: [&str; 2] = ["charts/kvs-ingest/Chart.yaml", "charts/kvs-local/Chart.yaml"];

#[derive(Args)]
pub struct Options {
    /// Write nothing; fail when a file is not what would be written
    #[arg(long)]
    check: bool,
    /// The compiled example `crds`, when it is there already
    #[arg(long, hide = true, value_name = "PROGRAM")]
    made_by: Option<PathBuf>,
}

pub fn run(options: &Options) -> Result<ExitCode> {
    let make = |arguments: &[&str]| make(options.made_by.as_deref(), arguments);
    let (ingest, policy) = (make(&[])?, make(&["--policy"])?);
    let files = [
        ("crds/kvs-ingest.dev_kvsingests.yaml", ingest.clone()),
        ("charts/kvs-ingest/files/crds/kvs-ingest.dev_kvsingests.yaml", ingest),
        ("crds/kvs-ingest.dev_kvsingestpolicies.yaml", policy.clone()),
        ("charts/kvs-ingest/files/crds/kvs-ingest.dev_kvsingestpolicies.yaml", policy),
        ("docs/reference.md", make(&["--reference"])?),
        (CHARTS[0], versioned(CHARTS[0])?),
        (CHARTS[1], versioned(CHARTS[1])?),
    ];
    let mut stale = Vec::new();
    for (file, made) in files {
        let path = root().join(file);
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

fn make(made_by: Option<&Path>, arguments: &[&str]) -> Result<String> {
    let mut command = match made_by {
        Some(program) => Command::new(program),
        None => {
            let mut cargo = cargo();
            cargo.args(["run", "--locked", "--quiet", "-p", "kvs-ingest-api", "--features", "crd"]);
            cargo.args(["--example", "crds", "--"]);
            cargo
        }
    };
    command.args(arguments).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().with_context(|| format!("cannot run `{}`", show(&command)))?;
    if !output.status.success() {
        bail!("`{}` ended with {}", show(&command), output.status);
    }
    String::from_utf8(output.stdout).context("what the example printed is not UTF-8")
}

/// The chart with the version of the workspace, which is this program's.
fn versioned(chart: &str) -> Result<String> {
    let path = root().join(chart);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(with_version(&text, env!("CARGO_PKG_VERSION")))
}

fn with_version(chart: &str, version: &str) -> String {
    let lines = chart.lines().map(|line| match line.split_once(':') {
        Some(("version", _)) => format!("version: {version}\n"),
        // Quoted: 1.10 would be a number.
        Some(("appVersion", _)) => format!("appVersion: \"{version}\"\n"),
        _ => format!("{line}\n"),
    });
    lines.collect()
}

fn write(path: &PathBuf, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_gets_the_version_and_nothing_else() {
        let chart =
            "name: x\n# version: stays\nversion: 0.0.1\nappVersion: \"0.0.1\"\nkubeVersion: \">=1\"\n";
        let expected =
            "name: x\n# version: stays\nversion: 1.10.0\nappVersion: \"1.10.0\"\nkubeVersion: \">=1\"\n";
        assert_eq!(with_version(chart, "1.10.0"), expected);
    }
}
