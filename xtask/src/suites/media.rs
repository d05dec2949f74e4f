//! Whole systems on this machine: kvs-local, a master, the agent, and what is stored.

use std::env;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::compile;
use super::prepare::virtual_environment;
use super::run::Run;
use crate::workspace::{self, binary, root, target};
use crate::{rtmp_server, say};

/// The AWS producer SDK's libgstkvssink.so, with which the agent is tested, too.
const CPP: &str = "KVS_INGEST_CPP_KVSSINK";

/// Tests at a time that mostly wait, on two cores.
const TOGETHER: usize = 4;

/// The module of tests that take minutes.
const SOAK: &str = "soak::";

/// The module of tests that play an RTSP camera.
const RTSP: &str = "rtsp::";

pub fn e2e(suite: &mut Run<'_>) -> Result<()> {
    suite.binaries()?;
    // Each of these tests is a whole system, and waits more than half of the time. But some ask what the machine can take,
    // and a server of RTSP (GStreamer's) that has no time may forget to say that it is at the end.
    let alone: [(&str, &[&str]); 3] = [("bursts", &[]), ("hostile", &[]), ("kvssink", &[RTSP])];
    let others = [
        "browser",
        "bursts",
        "chart",
        "chart_install",
        "console",
        "delivery",
        "faults",
        "hostile",
        "operator",
        "pods",
        "rtmp",
        "strangers",
        "tenancy",
        "time",
    ];
    let names = tests()?.into_iter().filter(|test| !others.contains(&test.as_str()));
    let tests = names.chain([compile::LIBRARY.to_owned()]).map(|name| suite.end_to_end(&name));
    let tests: Vec<_> = tests.collect::<Result<_>>()?;
    let mut result = suite.each_test(&tests, RTSP, env::var_os(CPP).is_some(), TOGETHER);
    for (test, arguments) in alone {
        result = result.and(suite.test(test, &[&["--test-threads=1"], arguments].concat(), |_| {}));
    }
    result
}

pub fn time(suite: &mut Run<'_>) -> Result<()> {
    suite.binaries()?;
    // The table is what it has to say.
    suite.test("time", &["--test-threads=3", "--nocapture"], |_| {})
}

pub fn faults(suite: &mut Run<'_>) -> Result<()> {
    suite.binaries()?;
    // The table is what it has to say.
    suite.test("faults", &["--nocapture"], |_| {})
}

pub fn delivery(suite: &mut Run<'_>) -> Result<()> {
    suite.binaries()?;
    // The table is what it has to say.
    suite.test("delivery", &["--nocapture"], |_| {})
}

pub fn rtmp(suite: &mut Run<'_>) -> Result<()> {
    suite.binaries()?;
    rtmp_server::ensure()?;
    workspace::npm_ci(&root().join("tests/rtmp"))?;
    let test = suite.end_to_end("rtmp")?;
    suite.each_test(&[test], SOAK, false, TOGETHER)
}

/// The names of the tests in `tests/tests`, which are files or folders.
fn tests() -> Result<Vec<String>> {
    let folder = root().join("tests/tests");
    let mut names: Vec<_> = std::fs::read_dir(&folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

pub fn browser(suite: &mut Run<'_>) -> Result<()> {
    suite.binaries()?;
    let page = workspace::build_page()?;
    workspace::npm_ci(&root().join("tests/browser"))?;
    suite.command(
        Command::new("npm").args(["test", "--silent"]).current_dir(root().join("crates/local/web")),
    )?;
    // With what a test that passed has to say: which sizes the browser went through is different every time.
    suite.test("browser", &["--show-output"], |command| {
        command.env("KVS_INGEST_WEB_DIR", &page);
    })?;
    // Alone: what a person waits for must not depend on what else the machine does.
    suite.test("console", &["--show-output"], |command| {
        command.env("KVS_INGEST_WEB_DIR", &page);
    })
}

pub fn strangers(suite: &mut Run<'_>) -> Result<()> {
    suite.binaries()?;
    let folder = root().join("tests/masters");
    let python = virtual_environment("venv-masters", &folder.join("python/requirements.txt"))?;
    let pion = target().join("tools/bin/pion-master");
    // Always: Go knows what is built already, and go.sum says what it is built from.
    suite.command(
        Command::new("go")
            .args(["build", "-trimpath", "-buildvcs=false", "-o"])
            .arg(&pion)
            .arg(".")
            .env("CGO_ENABLED", "0")
            .env("GOTOOLCHAIN", "local")
            .env("GOWORK", "off")
            .current_dir(folder.join("pion")),
    )?;
    // Mostly waiting: several at a time.
    suite.test("strangers", &["--test-threads=4"], |command| {
        command.env("KVS_INGEST_MASTERS_PYTHON", python).env("KVS_INGEST_PION", pion);
    })
}

pub fn the_demo(suite: &mut Run<'_>) -> Result<()> {
    suite.binaries()?;
    let folder = target().join("suites/demo");
    let picture = folder.join("page.png");
    let _ = std::fs::remove_file(&picture);
    let mut demo = Command::new(binary("xtask"));
    demo.args(["demo", "--headless", "--seconds", "20", "--port", "0", "--no-build", "--record"])
        .arg(&folder);
    match rtmp_server::missing() {
        None => drop(demo.arg("--rtmp")),
        Some(reason) => say!("without --rtmp: {reason}"),
    }
    suite.command(demo.current_dir(root()))?;
    let picture = std::fs::read(&picture).with_context(|| format!("no picture {}", picture.display()))?;
    // Width and height are the first words of the header: PNG 11.2.1 IHDR.
    if !picture.starts_with(b"\x89PNG\r\n\x1a\n") || picture.get(16..24) != Some(&[0, 0, 4, 76, 0, 0, 3, 92])
    {
        bail!("the demo's picture of its page is no PNG of 1100 by 860 pixels");
    }
    Ok(())
}
