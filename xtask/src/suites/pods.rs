//! The images and the chart on a real node, with a master's media: `tests/tests/pods.rs`.

use std::env;
use std::process::Command;

use anyhow::{Context, Result};

use super::kubernetes;
use super::run::Run;
use crate::cluster::{self, ControlPlane, helm};
use crate::images;
use crate::workspace::{root, target};

pub fn run(suite: &mut Run<'_>) -> Result<()> {
    let myself = env::current_exe()?;
    let helm = helm::ensure()?;
    suite.command(Command::new(&myself).args(["images", "--profile", images::QUICK]).current_dir(root()))?;
    let images = images::ensure(&images::ALL, images::QUICK)?;
    // Built before anything runs that would be slowed down.
    suite.end_to_end("pods")?;
    let folder = target().join("suites/pods");
    let cluster = cluster::fresh_with_node(&folder)?;
    let result = load(&cluster, &images).and_then(|()| {
        suite.test("pods", &["--test-threads=1", "--show-output"], |command| {
            command
                .env("KVS_INGEST_TEST_CLUSTER", folder.join("cluster.json"))
                .env("KVS_INGEST_XTASK", &myself)
                .env("KVS_INGEST_HELM", &helm);
        })
    });
    kubernetes::ended(cluster, result)
}

fn load(cluster: &ControlPlane, images: &[images::Image]) -> Result<()> {
    let node = cluster.node.as_ref().context("it has a node")?;
    for image in images {
        node.load(&image.archive)?;
    }
    Ok(())
}
