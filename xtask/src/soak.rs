//! `cargo xtask soak`: what takes real minutes or hours. The same rows as in `test time`, for as long as one likes, a million
//! forged packets, a thousand kills of kvs-local while it writes, and a thousand masters that come and go.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

use crate::packages::{self, Group};
use crate::suites::compile::binaries;
use crate::workspace::{cargo, run as run_command};
use crate::{process, rtmp_server, say};

#[derive(Args)]
pub struct Options {
    /// Length of each recording; without it, ten minutes of beeps, also over RTMP, an hour of drift, and one around a long pause
    #[arg(long)]
    minutes: Option<u32>,
    /// Name of a row of `cargo xtask test time`, or `RTMP`; without it, those that drift
    #[arg(long)]
    scenario: Option<String>,
}

/// Sound and picture at a server of RTMP: a scenario that is no row of the suite `time`.
const RTMP: &str = "RTMP";

/// Audio that runs 1.4 % slow behind reports by wall clock, crystals that differ, and a camera that is off for 20 s.
const DEFAULT: [(&str, u32); 4] = [
    ("audio 20 ms per 20.28", 10),
    (RTMP, 10),
    ("crystals 200 ppm apart", 60),
    ("video off 20 s, clock counts", 1),
];

/// Forged packets beside a recording.
const FORGED: u32 = 1_000_000;

/// Times that kvs-local is killed while it writes.
const KILLS: u32 = 1000;

/// Times that a master comes and goes, five seconds each.
const CYCLES: u32 = 1000;

fn record(scenario: &str, minutes: u32) -> Result<()> {
    let (suite, test) = if scenario == RTMP { ("rtmp", "soak::soak") } else { ("time", "soak") };
    if scenario == RTMP {
        rtmp_server::ensure()?;
    }
    run_command(
        cargo()
            .args(["test", "--locked", "-p", "kvs-ingest-tests", "--test", suite, "--"])
            .args(["--ignored", "--exact", test, "--nocapture"])
            .env("KVS_INGEST_SOAK_SCENARIO", scenario)
            .env("KVS_INGEST_SOAK_MINUTES", minutes.to_string()),
    )
}

pub fn run(options: &Options) -> Result<ExitCode> {
    packages::ensure(&[Group::Build, Group::Media])?;
    binaries()?;
    let mut failed = 0;
    for (scenario, minutes) in DEFAULT {
        let name = options.scenario.as_deref().unwrap_or(scenario);
        let minutes = options.minutes.unwrap_or(minutes);
        if process::interrupted() {
            bail!("interrupted");
        }
        say!("\n==== {name}: {minutes} min");
        let result = record(name, minutes);
        if let Err(error) = result {
            say!("FAILED   {error:#}");
            failed += 1;
        }
        if options.scenario.is_some() {
            break;
        }
    }
    let once = [
        (
            format!("{FORGED} forged packets"),
            ["-p", "kvs-ingest-tests", "--test", "hostile"],
            "forged_packets",
            vec![("KVS_INGEST_FORGED_PACKETS", FORGED.to_string())],
        ),
        (
            format!("{KILLS} kills of kvs-local"),
            ["-p", "kvs-local", "--test", "durability"],
            "kill_at_any_moment",
            vec![("KVS_INGEST_KILLS", KILLS.to_string())],
        ),
        (
            format!("{CYCLES} masters, one after the other"),
            ["-p", "kvs-ingest-tests", "--test", "faults"],
            "the_fault_matrix",
            vec![
                ("KVS_INGEST_FAULTS", "a master comes and goes".to_owned()),
                ("KVS_INGEST_CYCLES", CYCLES.to_string()),
            ],
        ),
    ];
    for (what, test, name, variables) in once {
        if options.scenario.is_some() || process::interrupted() {
            break;
        }
        say!("\n==== {what}");
        let mut command = cargo();
        command.args(["test", "--locked"]).args(test).args(["--", "--nocapture", name]).envs(variables);
        if let Err(error) = run_command(&mut command) {
            say!("FAILED   {error:#}");
            failed += 1;
        }
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
