//! The operator and the chart on a real API server, and the images.

use std::env;
use std::process::Command;

use anyhow::{Context, Result};

use super::run::Run;
use crate::cluster::{self, ControlPlane, helm};
use crate::workspace::{root, target};
use crate::{images, say};

pub fn operator(suite: &mut Run<'_>) -> Result<()> {
    suite.binaries()?;
    let folder = target().join("suites/operator");
    // The audit log tells what the operator asked for, and what it was refused.
    let cluster = cluster::fresh(&folder, true)?;
    let myself = env::current_exe()?;
    let mut tests = |name: &str, arguments: &[&str]| {
        suite.test(name, arguments, |command| {
            command
                .env("KVS_INGEST_TEST_CLUSTER", folder.join("cluster.json"))
                .env("KVS_INGEST_XTASK", &myself);
        })
    };
    // What takes the API server away from everybody goes last, alone.
    let alone = "the_api_server_may_go_and_come_back";
    let result = tests("operator", &["--test-threads=2", "--skip", alone])
        .and_then(|()| tests("tenancy", &[]))
        .and_then(|()| tests("operator", &[alone]));
    ended(cluster, result)
}

/// Takes the cluster of a suite down: in order after a success, else at once, and says where its logs are.
pub fn ended(mut cluster: ControlPlane, result: Result<()>) -> Result<()> {
    if result.is_ok() {
        cluster.stop();
    } else {
        say!("the cluster's logs are in {}", cluster.logs.display());
        cluster.end_all();
    }
    result
}

pub fn chart(suite: &mut Run<'_>) -> Result<()> {
    let helm = helm::ensure()?;
    for chart in ["charts/kvs-ingest", "charts/kvs-local"] {
        let folder = root().join(chart);
        let mut values: Vec<_> = std::fs::read_dir(folder.join("ci"))
            .with_context(|| format!("cannot read {}/ci", folder.display()))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        values.sort();
        for values in std::iter::once(None).chain(values.iter().map(Some)) {
            let mut lint = Command::new(&helm);
            lint.args(["lint", "--strict", "--quiet"]).arg(&folder);
            if let Some(values) = values {
                lint.arg("--values").arg(values);
            }
            suite.command(&mut lint)?;
        }
    }

    // The operator's flags are compared with the chart's.
    suite.binaries()?;
    let cluster_folder = target().join("suites/chart");
    let cluster = cluster::fresh(&cluster_folder, false)?;
    let mut test = |name: &str, threads: &str| {
        suite.test(name, &[threads], |command| {
            command
                .env("KVS_INGEST_TEST_HELM", &helm)
                .env("KVS_INGEST_TEST_CLUSTER", cluster_folder.join("cluster.json"));
        })
    };
    // There is one CustomResourceDefinition in a cluster: installations take turns.
    let result = test("chart", "--test-threads=2").and_then(|()| test("chart_install", "--test-threads=1"));
    ended(cluster, result)
}

pub fn images(suite: &mut Run<'_>) -> Result<()> {
    suite.command(
        Command::new(env::current_exe()?)
            .args(["images", "--check", "--profile", images::QUICK])
            .current_dir(root()),
    )
}
