//! `cargo xtask test`: every suite in order, each with a budget, and one closing line.

pub mod compile;
mod node;
mod pods;
mod requirements;
mod run;
mod workflows;

use std::collections::BTreeSet;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use self::requirements::{
    no_browser, no_chart_in_pods, no_ffmpeg, no_helm, no_kubernetes, no_lua, no_node, no_pods, no_python,
    no_strangers, nothing_missing,
};
use self::run::{Common, Run};
use crate::cluster::{self, helm};
use crate::packages::{self, Group, on_path};
use crate::process::{Running, interrupted};
use crate::workspace::{binary, cargo, root, target};
use crate::{arrows, circles, demo, images, say, workspace};

/// Names the suites (comma-separated, or `all`) for which a skip is a failure. CI sets it.
const REQUIRE: &str = "KVS_INGEST_REQUIRE";
/// The AWS producer SDK's libgstkvssink.so, with which the agent is tested, too.
const CPP: &str = "KVS_INGEST_CPP_KVSSINK";
/// Installed under the target folder when the machine has none.
const CARGO_DENY: &str = "0.20.2";

#[derive(Args)]
pub struct Options {
    /// Run only these suites
    #[arg(value_name = "SUITE")]
    only: Vec<String>,
    /// Recordings of minutes instead of seconds, and ten times the budget
    #[arg(long)]
    all: bool,
    /// List the suites and end
    #[arg(long)]
    list: bool,
}

struct Suite {
    name: &'static str,
    about: &'static str,
    minutes: u64,
    /// Why this machine cannot run it, if it cannot.
    missing: fn() -> Option<String>,
    run: fn(&mut Run<'_>) -> Result<()>,
}

const SUITES: &[Suite] = &[
    Suite { name: "fmt", about: "formatting", minutes: 1, missing: nothing_missing, run: fmt },
    Suite {
        name: "clippy",
        about: "lints, warnings denied",
        minutes: 12,
        missing: nothing_missing,
        run: clippy,
    },
    Suite {
        name: "crds",
        about: "crds/, docs/reference.md and the chart's copy are those of crates/api",
        minutes: 5,
        missing: nothing_missing,
        run: crds,
    },
    Suite {
        name: "deny",
        about: "banned crates, licences, sources",
        minutes: 10,
        missing: nothing_missing,
        run: deny,
    },
    Suite {
        name: "layers",
        about: "crates depend on those below them, and no files of a crate import each other in a circle",
        minutes: 1,
        missing: nothing_missing,
        run: |_| arrows::check().and_then(|()| circles::check()),
    },
    Suite {
        name: "policies",
        about: "IAM policies, Argo CD's health check, and what the pages say of them",
        minutes: 10,
        missing: no_lua,
        run: policies,
    },
    Suite {
        name: "workflows",
        about: "actionlint of .github/workflows",
        minutes: 10,
        missing: workflows::missing,
        run: workflows::run,
    },
    Suite {
        name: "unit",
        about: "unit, property and crate tests",
        minutes: 25,
        missing: nothing_missing,
        run: unit,
    },
    Suite {
        name: "e2e",
        about: "kvs-local, a synthetic master, the agent",
        minutes: 20,
        missing: no_ffmpeg,
        run: e2e,
    },
    Suite {
        name: "time",
        about: "senders whose clocks are wrong: when what they send is stored, and whether it is heard",
        minutes: 10,
        missing: no_ffmpeg,
        run: time,
    },
    Suite {
        name: "delivery",
        about: "kvssink under every fault: what it stores and what it counts",
        minutes: 15,
        missing: no_ffmpeg,
        run: delivery,
    },
    Suite {
        name: "operator",
        about: "the operator on a real API server",
        minutes: 25,
        missing: no_kubernetes,
        run: operator,
    },
    Suite {
        name: "node",
        about: "pods run on a node of our own, which leaves nothing",
        minutes: 25,
        missing: no_pods,
        run: node::run,
    },
    Suite {
        name: "chart",
        about: "the Helm chart: linted, rendered, and installed on a real API server",
        minutes: 25,
        missing: no_helm,
        run: chart,
    },
    Suite {
        name: "images",
        about: "the container images: their size, their user, and that they start",
        minutes: 30,
        missing: images::missing,
        run: images,
    },
    Suite {
        name: "pods",
        about: "images and chart on a real node, and media while things go away",
        minutes: 40,
        missing: no_chart_in_pods,
        run: pods::run,
    },
    Suite { name: "boto3", about: "kvs-local driven by boto3", minutes: 12, missing: no_python, run: boto3 },
    Suite {
        name: "js",
        about: "kvs-local driven by AWS's SDKs for JavaScript",
        minutes: 12,
        missing: no_node,
        run: js,
    },
    Suite {
        name: "browser",
        about: "every frame that Chromium sends is stored",
        minutes: 12,
        missing: no_browser,
        run: browser,
    },
    Suite {
        name: "strangers",
        about: "masters that nobody here wrote: aiortc, Pion, GStreamer's webrtcbin",
        minutes: 15,
        missing: no_strangers,
        run: strangers,
    },
    Suite {
        name: "demo",
        about: "cargo xtask demo --headless",
        minutes: 10,
        missing: no_browser,
        run: the_demo,
    },
];

pub fn run(options: &Options) -> Result<ExitCode> {
    if options.list {
        for suite in SUITES {
            say!("{:9} {:3} min  {}", suite.name, suite.minutes, suite.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let known: BTreeSet<_> = SUITES.iter().map(|suite| suite.name).collect();
    let required = required(env::var(REQUIRE).ok().as_deref(), &known)?;
    if let Some(unknown) = options.only.iter().find(|name| !known.contains(name.as_str())) {
        bail!(
            "there is no suite {unknown:?}; the suites are {}",
            Vec::from_iter(&known).iter().map(|n| **n).collect::<Vec<_>>().join(", ")
        );
    }
    packages::ensure(&Group::ALL)?;

    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    let mut table = Vec::new();
    let all = options.only.is_empty();
    let mut common = Common { all, real_time: options.all, tests: None };
    let mut in_background = None;
    for suite in SUITES {
        if !all && !options.only.iter().any(|name| name == suite.name) {
            continue;
        }
        if interrupted() {
            failed += 1;
            break;
        }
        let started = Instant::now();
        let mut compiling = Duration::ZERO;
        let verdict = if let Some(reason) = (suite.missing)() {
            if required.contains(suite.name) {
                failed += 1;
                format!("FAILED   {reason} ({REQUIRE} names this suite)")
            } else {
                skipped += 1;
                format!("skipped  {reason}")
            }
        } else {
            say!("\n==== {}: {}", suite.name, suite.about);
            if all && suite.name == WAITS && images::missing().is_none() {
                in_background = Some(images_in_background()?);
            }
            let factor = if options.all { 10 } else { 1 };
            let budget = Duration::from_secs(60 * suite.minutes * factor);
            let mut state = Run::new(started, budget, &mut common);
            let result = (suite.run)(&mut state);
            // A suite without counted tests is one test.
            compiling = state.compiling;
            let counted = state.passed + state.failed > 0;
            passed += if counted { state.passed } else { u64::from(result.is_ok()) };
            failed += state.failed;
            skipped += state.ignored;
            match result {
                Ok(()) => "ok".to_owned(),
                Err(error) => {
                    failed += u64::from(state.failed == 0);
                    format!("FAILED   {error:#}")
                }
            }
        };
        say!("---- {}: {verdict}", suite.name);
        table.push((suite.name, started.elapsed(), compiling, verdict));
    }
    drop(in_background);
    let minutes = |time: Duration| format!("{:4}:{:02}", time.as_secs() / 60, time.as_secs() % 60);
    say!("\nsuite       took  of it compiling");
    for (name, took, compiling, verdict) in &table {
        say!("{name:9} {}  {}  {verdict}", minutes(*took), minutes(*compiling));
    }
    let sum =
        |times: fn(&(&str, Duration, Duration, String)) -> Duration| minutes(table.iter().map(times).sum());
    say!("all       {}  {}", sum(|row| row.1), sum(|row| row.2));
    say!("\n{passed} passed, {failed} failed, {skipped} skipped");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The first of the suites that wait more than they compute: what is compiled beside them costs no time.
const WAITS: &str = "e2e";

/// The images of the tests, made by a process that gives way to all others.
fn images_in_background() -> Result<Running> {
    let folder = target().join("suites");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut command = Command::new("nice");
    command.args(["-n", "19"]).arg(env::current_exe()?).args(["images", "--profile", images::QUICK]);
    Running::start("images", command.current_dir(root()), &folder.join("images.log"))
}

fn required<'a>(value: Option<&str>, known: &BTreeSet<&'a str>) -> Result<BTreeSet<&'a str>> {
    let mut required = BTreeSet::new();
    for name in value.unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty()) {
        match known.get(name) {
            Some(name) => {
                required.insert(*name);
            }
            None if name == "all" => required.extend(known),
            None => bail!("{REQUIRE} names the suite {name:?}, which does not exist"),
        }
    }
    Ok(required)
}

// The suites.

fn fmt(suite: &mut Run<'_>) -> Result<()> {
    suite.command(cargo().args(["fmt", "--all", "--check"]))
}

fn crds(suite: &mut Run<'_>) -> Result<()> {
    suite.command(Command::new(binary("xtask")).args(["crds", "--check"]).current_dir(root()))
}

fn clippy(suite: &mut Run<'_>) -> Result<()> {
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

fn deny(suite: &mut Run<'_>) -> Result<()> {
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

fn policies(suite: &mut Run<'_>) -> Result<()> {
    let python = virtual_environment("venv", &root().join("tests/python/requirements.txt"))?;
    suite.command(Command::new(python).arg(root().join("tests/python/policies.py")))
}

fn unit(suite: &mut Run<'_>) -> Result<()> {
    let Some(tests) = suite.common.tests.clone() else {
        return suite.command(cargo().args(["test", "--locked", "--workspace", "--exclude", compile::TESTS]));
    };
    let end_to_end = root().join("tests");
    for test in tests.iter().filter(|test| test.folder != end_to_end) {
        let mut command = test.command();
        say!("     Running {}", workspace::show(&command));
        suite.command(&mut command)?;
    }
    suite.command(&mut compile::documentation()?)?;
    suite.command(cargo().args(["test", "--locked", "--package", compile::XTASK]))
}

fn e2e(suite: &mut Run<'_>) -> Result<()> {
    suite.binaries()?;
    // One at a time: each of these tests is a whole system on two shared cores.
    suite.test(compile::LIBRARY, &["--test-threads=1"], |_| {})?;
    // These have suites of their own.
    let others = ["browser", "chart", "chart_install", "delivery", "operator", "pods", "strangers", "time"];
    for test in tests()?.iter().filter(|test| !others.contains(&test.as_str())) {
        let mut arguments = vec!["--test-threads=1"];
        if test == "ingest" && env::var_os(CPP).is_some() {
            arguments.push("--include-ignored");
        }
        suite.test(test, &arguments, |_| {})?;
    }
    Ok(())
}

fn time(suite: &mut Run<'_>) -> Result<()> {
    suite.binaries()?;
    // Mostly waiting: two at a time. The table is what it has to say.
    suite.test("time", &["--test-threads=2", "--nocapture"], |_| {})
}

fn delivery(suite: &mut Run<'_>) -> Result<()> {
    suite.binaries()?;
    // The table is what it has to say.
    suite.test("delivery", &["--nocapture"], |_| {})
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

fn browser(suite: &mut Run<'_>) -> Result<()> {
    suite.binaries()?;
    let page = workspace::build_page()?;
    workspace::npm_ci(&root().join("tests/browser"))?;
    // With what a test that passed has to say: which sizes the browser went through is different every time.
    suite.test("browser", &["--show-output"], |command| {
        command.env("KVS_INGEST_WEB_DIR", page);
    })
}

fn strangers(suite: &mut Run<'_>) -> Result<()> {
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

fn operator(suite: &mut Run<'_>) -> Result<()> {
    suite.binaries()?;
    let folder = target().join("suites/operator");
    // The audit log tells what the operator asked for, and what it was refused.
    let mut cluster = cluster::fresh(&folder, true)?;
    let myself = env::current_exe()?;
    let mut tests = |arguments: &[&str]| {
        suite.test("operator", arguments, |command| {
            command
                .env("KVS_INGEST_TEST_CLUSTER", folder.join("cluster.json"))
                .env("KVS_INGEST_XTASK", &myself);
        })
    };
    // What takes the API server away from everybody goes last, alone.
    let alone = "the_api_server_may_go_and_come_back";
    let result = tests(&["--test-threads=2", "--skip", alone]).and_then(|()| tests(&[alone]));
    if result.is_ok() {
        cluster.stop();
    } else {
        say!("the control plane's logs are in {}", cluster.logs.display());
        cluster.end_all();
    }
    result
}

fn chart(suite: &mut Run<'_>) -> Result<()> {
    let helm = helm::ensure()?;
    let folder = root().join("charts/kvs-ingest");
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

    // The operator's flags are compared with the chart's.
    suite.binaries()?;
    let cluster_folder = target().join("suites/chart");
    let mut cluster = cluster::fresh(&cluster_folder, false)?;
    let mut test = |name: &str, threads: &str| {
        suite.test(name, &[threads], |command| {
            command
                .env("KVS_INGEST_TEST_HELM", &helm)
                .env("KVS_INGEST_TEST_CLUSTER", cluster_folder.join("cluster.json"));
        })
    };
    // There is one CustomResourceDefinition in a cluster: installations take turns.
    let result = test("chart", "--test-threads=2").and_then(|()| test("chart_install", "--test-threads=1"));
    if result.is_ok() {
        cluster.stop();
    } else {
        say!("the control plane's logs are in {}", cluster.logs.display());
        cluster.end_all();
    }
    result
}

fn images(suite: &mut Run<'_>) -> Result<()> {
    suite.command(
        Command::new(env::current_exe()?)
            .args(["images", "--check", "--profile", images::QUICK])
            .current_dir(root()),
    )
}

fn boto3(suite: &mut Run<'_>) -> Result<()> {
    suite.binaries()?;
    let python = virtual_environment("venv", &root().join("tests/python/requirements.txt"))?;
    let local = demo::LocalKvs::start_for_tests("boto3")?;
    let script = |name: &str| {
        let mut command = Command::new(&python);
        command.arg(root().join("crates/local/tests").join(name)).arg(&local.url).envs(local.credentials());
        command
    };
    suite.command(&mut script("boto3_control.py"))?;
    store_media(suite, &local, "boto3-media")?;
    suite.command(script("boto3_media.py").args(["boto3-media", &FRAMES.to_string(), demo::REGION]))
}

fn js(suite: &mut Run<'_>) -> Result<()> {
    suite.binaries()?;
    let folder = root().join("tests/js");
    workspace::npm_ci(&folder)?;
    let local = demo::LocalKvs::start_for_tests("js")?;
    store_media(suite, &local, "js-media")?;
    suite.command(
        Command::new("node")
            .arg(folder.join("conformance.mjs"))
            .args([&local.url, demo::REGION, "js-media", &FRAMES.to_string()])
            .envs(local.credentials())
            .envs(kvssink(&local)),
    )
}

/// The video frames of `store_media`: eight seconds.
const FRAMES: u32 = 240;

/// The environment with which a plain GStreamer finds our kvssink, and that finds `local`.
fn kvssink(local: &demo::LocalKvs) -> [(&'static str, std::ffi::OsString); 2] {
    [
        ("CONTROL_PLANE_URI", local.url.clone().into()),
        ("GST_PLUGIN_PATH", target().join("debug").into_os_string()),
    ]
}

/// Eight seconds of picture and sound in a stream: four fragments, by kvssink in a plain gst-launch-1.0.
fn store_media(suite: &mut Run, local: &demo::LocalKvs, stream: &str) -> Result<()> {
    let pipeline = format!(
        "videotestsrc num-buffers={FRAMES} is-live=true ! video/x-raw,width=320,height=240,framerate=30/1 \
        ! x264enc tune=zerolatency key-int-max=60 ! h264parse ! video/x-h264,stream-format=avc,alignment=au ! k.video_0 \
        audiotestsrc num-buffers=370 is-live=true ! audioconvert ! voaacenc ! aacparse \
        ! audio/mpeg,mpegversion=4,stream-format=raw ! k.audio_0 kvssink name=k"
    );
    suite.command(
        Command::new("gst-launch-1.0")
            .args(["-q", "-e"])
            .args(pipeline.split_whitespace())
            .arg(format!("stream-name={stream}"))
            .arg(format!("aws-region={}", demo::REGION))
            .envs(kvssink(local))
            .envs(local.credentials()),
    )
}

/// The Python of the virtual environment `name` with the packages of `requirements`, made when it is missing or older.
fn virtual_environment(name: &str, requirements: &Path) -> Result<PathBuf> {
    let folder = target().join(name);
    let stamp = folder.join("requirements.txt");
    let wanted =
        std::fs::read(requirements).with_context(|| format!("cannot read {}", requirements.display()))?;
    if std::fs::read(&stamp).ok().as_ref() != Some(&wanted) {
        workspace::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
        workspace::run(
            Command::new(folder.join("bin/pip"))
                .args(["install", "--quiet", "--requirement"])
                .arg(requirements),
        )?;
        std::fs::write(&stamp, wanted)?;
    }
    Ok(folder.join("bin/python"))
}

fn the_demo(suite: &mut Run<'_>) -> Result<()> {
    suite.binaries()?;
    let folder = target().join("suites/demo");
    let picture = folder.join("page.png");
    let _ = std::fs::remove_file(&picture);
    suite.command(
        Command::new(binary("xtask"))
            .args(["demo", "--headless", "--seconds", "20", "--port", "0", "--no-build", "--record"])
            .arg(&folder)
            .current_dir(root()),
    )?;
    let picture = std::fs::read(&picture).with_context(|| format!("no picture {}", picture.display()))?;
    // Width and height are the first words of the header: PNG 11.2.1 IHDR.
    if !picture.starts_with(b"\x89PNG\r\n\x1a\n") || picture.get(16..24) != Some(&[0, 0, 4, 76, 0, 0, 3, 92])
    {
        bail!("the demo's picture of its page is no PNG of 1100 by 860 pixels");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn required_suites_are_known_or_all() {
        let known = BTreeSet::from(["fmt", "unit"]);
        assert_eq!(required(None, &known).unwrap().len(), 0);
        assert_eq!(required(Some("unit, fmt"), &known).unwrap().len(), 2);
        assert_eq!(required(Some("all"), &known).unwrap(), known);
        assert!(required(Some("brwser"), &known).unwrap_err().to_string().contains("brwser"));
    }
}
