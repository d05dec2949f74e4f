//! `cargo xtask test`: every suite in order, each with a budget, and one closing line.

mod checks;
mod clients;
pub mod compile;
mod instructions;
mod kubernetes;
mod media;
mod node;
mod pods;
pub mod prepare;
mod requirements;
mod run;
mod workflows;

use std::collections::BTreeSet;
use std::env;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;

use self::prepare::images_in_background;
use self::requirements::{
    no_browser, no_chart_in_pods, no_ffmpeg, no_helm, no_kubernetes, no_node, no_players, no_pods,
    no_policies, no_python, no_rtmp, no_strangers, nothing_missing,
};
use self::run::{Common, Run};
use crate::packages::{self, Group};
use crate::process::interrupted;
use crate::{images, say};

/// Names the suites (comma-separated, or `all`) for which a skip is a failure. CI sets it.
const REQUIRE: &str = "KVS_INGEST_REQUIRE";

/// The first of the suites that wait more than they compute: what is compiled beside them costs no time.
const WAITS: &str = "e2e";

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
    Suite { name: "fmt", about: "formatting", minutes: 1, missing: nothing_missing, run: checks::fmt },
    Suite {
        name: "clippy",
        about: "lints, warnings denied",
        minutes: 12,
        missing: nothing_missing,
        run: checks::clippy,
    },
    Suite {
        name: "crds",
        about: "crds/, docs/reference.md and the chart's copy are those of crates/api",
        minutes: 5,
        missing: nothing_missing,
        run: checks::crds,
    },
    Suite {
        name: "deny",
        about: "banned crates, licences, sources",
        minutes: 10,
        missing: nothing_missing,
        run: checks::deny,
    },
    Suite {
        name: "layers",
        about: "crates depend on those below them, and no files of a crate import each other in a circle",
        minutes: 1,
        missing: nothing_missing,
        run: checks::layers,
    },
    Suite {
        name: "policies",
        about: "IAM policies, alerts, Argo CD's health check, and what the pages say of them",
        minutes: 10,
        missing: no_policies,
        run: checks::policies,
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
        run: checks::unit,
    },
    Suite {
        name: "instructions",
        about: "what hot paths cost, in instructions, beside what they cost before",
        minutes: 12,
        missing: instructions::missing,
        run: instructions::run,
    },
    Suite {
        name: "e2e",
        about: "kvs-local, a synthetic master, the agent",
        minutes: 20,
        missing: no_ffmpeg,
        run: media::e2e,
    },
    Suite {
        name: "time",
        about: "senders whose clocks are wrong: when what they send is stored, and whether it is heard",
        minutes: 10,
        missing: no_ffmpeg,
        run: media::time,
    },
    Suite {
        name: "faults",
        about: "the fault matrix: network, signaling, master, service and process fail, and what is stored",
        minutes: 15,
        missing: no_ffmpeg,
        run: media::faults,
    },
    Suite {
        name: "delivery",
        about: "kvssink under every fault: what it stores and what it counts",
        minutes: 15,
        missing: no_ffmpeg,
        run: media::delivery,
    },
    Suite {
        name: "rtmp",
        about: "every frame at servers of RTMP and RTMPS that nobody here wrote, and what they do to the stream",
        minutes: 10,
        missing: no_rtmp,
        run: media::rtmp,
    },
    Suite {
        name: "operator",
        about: "the operator on a real API server",
        minutes: 25,
        missing: no_kubernetes,
        run: kubernetes::operator,
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
        run: kubernetes::chart,
    },
    Suite {
        name: "images",
        about: "the container images: their size, their user, and that they start",
        minutes: 30,
        missing: images::missing,
        run: kubernetes::images,
    },
    Suite {
        name: "pods",
        about: "images and chart on a real node, and media while things go away",
        minutes: 40,
        missing: no_chart_in_pods,
        run: pods::run,
    },
    Suite {
        name: "boto3",
        about: "kvs-local driven by boto3",
        minutes: 12,
        missing: no_python,
        run: clients::boto3,
    },
    Suite {
        name: "js",
        about: "kvs-local driven by AWS's SDKs for JavaScript",
        minutes: 12,
        missing: no_node,
        run: clients::js,
    },
    Suite {
        name: "players",
        about: "what kvs-local has stored, played: ffmpeg, hls.js and dash.js in Chromium, clips, images",
        minutes: 12,
        missing: no_players,
        run: clients::players,
    },
    Suite {
        name: "browser",
        about: "every frame that Chromium sends is stored; the console by mouse, by keyboard and by axe",
        minutes: 12,
        missing: no_browser,
        run: media::browser,
    },
    Suite {
        name: "strangers",
        about: "masters that nobody here wrote: aiortc, Pion, GStreamer's webrtcbin",
        minutes: 15,
        missing: no_strangers,
        run: media::strangers,
    },
    Suite {
        name: "demo",
        about: "cargo xtask demo --headless",
        minutes: 10,
        missing: no_browser,
        run: media::the_demo,
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
