//! `cargo xtask test instructions`: what hot paths cost, in instructions, which callgrind counts alike on every machine and
//! however busy that is; beside what they cost before.

mod counts;
mod machine;

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use self::counts::{Counts, Measured};
pub use self::machine::missing;
use super::run::Run;
use crate::process::output;
use crate::say;
use crate::workspace::{cargo, root, show, target};

/// Where the numbers are that are compared with.
const FILE: &str = "tests/instructions/counts.txt";

/// Writes them anew.
const BLESS: &str = "KVS_INGEST_BLESS";
const COMMAND: &str = "KVS_INGEST_BLESS=1 cargo xtask test instructions";

/// Optimised as a release is, but each crate for itself.
const PROFILE: &str = "instructions";

const PACKAGE: &str = "kvs-ingest-instructions";

/// callgrind counts while a function of this name runs.
const REGION: &str = "*counted_region*";

pub fn run(suite: &mut Run<'_>) -> Result<()> {
    let program = target().join(PROFILE).join(PACKAGE);
    let paths = paths(suite, &program)?;
    let folder = target().join("suites/instructions");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut measured = Vec::new();
    for path in &paths {
        measured.push(count(&program, path, &folder)?);
    }
    let path = root().join(FILE);
    let now = Counts { with: machine::tools()?, measured };
    if env::var_os(BLESS).is_some() {
        fs::write(&path, now.to_string()).with_context(|| format!("cannot write {}", path.display()))?;
        say!("{FILE} is written:\n\n{now}");
        return Ok(());
    }
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let before = Counts::read(&text).with_context(|| format!("in {FILE}"))?;
    let comparison = now.compare(&before);
    say!("{comparison}");
    suite.passed += comparison.rows.iter().filter(|row| row.holds()).count() as u64;
    suite.failed += comparison.rows.iter().filter(|row| !row.holds()).count() as u64;
    if !comparison.holds() {
        bail!(
            "{comparison}\nWhere they go: callgrind_annotate {}/PATH.callgrind. If it is meant to be so: {COMMAND}",
            folder.display()
        );
    }
    Ok(())
}

/// The names of all paths, their program built.
fn paths(suite: &mut Run<'_>, program: &Path) -> Result<Vec<String>> {
    suite.compile(&mut build())?;
    Ok(output(&mut Command::new(program))?.lines().map(str::to_owned).collect())
}

/// Builds the program in its profile, with nothing that would make other code of it.
fn build() -> Command {
    let mut command = cargo();
    command.args(["build", "--locked", "--profile", PROFILE, "--package", PACKAGE]);
    for variable in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS"] {
        command.env_remove(variable);
    }
    command
}

/// Walks a path under callgrind.
fn count(program: &Path, name: &str, folder: &Path) -> Result<Measured> {
    let out = folder.join(format!("{name}.callgrind"));
    let mut command = Command::new("valgrind");
    command
        .args(["--quiet", "--tool=callgrind", "--error-exitcode=1"])
        .arg(format!("--toggle-collect={REGION}"))
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(program)
        .arg(name)
        // What the environment holds lies on the stack, and moves everything else there.
        .env_clear()
        .envs(machine::environment());
    let said = output(&mut command)?;
    let (times, unit) = counted(&said)
        .with_context(|| format!("`{}` does not say what it counted:\n{said}", show(&command)))?;
    let profile = fs::read_to_string(&out).with_context(|| format!("cannot read {}", out.display()))?;
    let total = profile.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse::<u64>().ok());
    match total {
        Some(total) if total > 0 => Ok(Measured { name: name.to_owned(), instructions: total / times, unit }),
        _ => bail!("callgrind saw nothing of `{}`: no function is called {REGION}", show(&command)),
    }
}

/// Of `counted 300 frames`.
fn counted(said: &str) -> Option<(u64, String)> {
    let (times, unit) = said.lines().find_map(|line| line.strip_prefix("counted "))?.split_once(' ')?;
    Some((times.parse().ok().filter(|times| *times > 0)?, unit.trim_end_matches('s').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_read() {
        assert_eq!(counted("counted 300 frames\n"), Some((300, "frame".to_owned())));
        for wrong in ["", "srtp-gcm", "counted 0 frames", "counted frames"] {
            assert_eq!(counted(wrong), None, "{wrong}");
        }
    }
}
