//! [`Run`]: the commands of one suite, within its budget.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, bail};

use super::compile::{self, Test};
use crate::process::{Outcome, output, run_within};
use crate::say;
use crate::workspace::{root, show};

/// Tells the end-to-end suites to record for minutes.
const REAL_TIME: &str = "KVS_INGEST_REAL_TIME";

/// What all suites have in common.
#[derive(Default)]
pub struct Common {
    /// All suites run: what they need is compiled together.
    pub all: bool,
    /// `--all`: recordings of minutes instead of seconds.
    pub real_time: bool,
    /// The executables of the tests that were compiled together, once they were.
    pub tests: Option<Vec<Test>>,
}

/// What one suite may do, and what its tests counted.
pub struct Run<'a> {
    pub deadline: Instant,
    pub common: &'a mut Common,
    /// How much of the suite's time went into compiling.
    pub compiling: Duration,
    pub passed: u64,
    pub failed: u64,
    pub ignored: u64,
}

impl<'a> Run<'a> {
    /// With so much time from `started` on.
    pub fn new(started: Instant, budget: Duration, common: &'a mut Common) -> Self {
        let deadline = started + budget;
        Self { deadline, common, compiling: Duration::ZERO, passed: 0, failed: 0, ignored: 0 }
    }

    /// Runs one command of the suite within what is left of its budget.
    pub fn command(&mut self, command: &mut Command) -> Result<()> {
        if self.common.real_time {
            command.env(REAL_TIME, "1");
        }
        let mut counts = Counts::default();
        let result = self.run(command, |line| {
            say!("{line}");
            counts.add(line);
        });
        self.add(&counts);
        result
    }

    fn add(&mut self, counts: &Counts) {
        self.passed += counts.passed;
        self.failed += counts.failed;
        self.ignored += counts.ignored;
    }

    fn run(&self, command: &mut Command, line: impl FnMut(&str) + Send) -> Result<()> {
        let command_line = show(command);
        let budget = self.deadline.saturating_duration_since(Instant::now());
        match run_within(command, budget, line)? {
            Outcome::Ended(status) if status.success() => Ok(()),
            Outcome::Ended(status) => bail!("`{command_line}` ended with {status}"),
            Outcome::TimedOut => bail!("`{command_line}` did not end within the suite's budget"),
            Outcome::Interrupted => bail!("`{command_line}` was interrupted"),
        }
    }

    /// Runs a command of cargo's that compiles tests.
    pub fn compile(&mut self, command: &mut Command) -> Result<Vec<Test>> {
        let started = Instant::now();
        let mut tests = Vec::new();
        let result = self.run(command, |line| tests.extend(compile::test(line)));
        self.compiling += started.elapsed();
        result.map(|()| tests)
    }

    /// See [`compile::binaries`].
    pub fn binaries(&mut self) -> Result<()> {
        if self.common.tests.is_some() {
            return Ok(());
        }
        let started = Instant::now();
        let result = compile::binaries();
        self.compiling += started.elapsed();
        result
    }

    /// An executable of the end-to-end tests: of the file or folder `tests/tests/NAME`, or of their library.
    pub fn end_to_end(&mut self, name: &str) -> Result<Test> {
        let folder = root().join("tests");
        let is_it = |test: &Test| test.folder == folder && test.name == name;
        if let Some(test) = self.common.tests.iter().flatten().find(|test| is_it(test)) {
            return Ok(test.clone());
        }
        let selection = if name == compile::LIBRARY { vec!["--lib"] } else { vec!["--test", name] };
        let compiled = self.compile(compile::some(["-p", compile::TESTS]).args(selection))?;
        compiled.into_iter().find(is_it).with_context(|| format!("cargo made no test {name}"))
    }

    /// Runs one of them.
    pub fn test(&mut self, name: &str, arguments: &[&str], with: impl FnOnce(&mut Command)) -> Result<()> {
        let mut command = self.end_to_end(name)?.command();
        command.args(arguments);
        with(&mut command);
        say!("     Running {}", show(&command));
        self.command(&mut command)
    }

    /// Runs each test of some executables in a process of its own, so many at a time: for tests that mostly wait. All of
    /// them but those whose names begin with `except`, whatever becomes of the others; what one says is printed when it
    /// failed. `ignored`: the ignored ones, too.
    pub fn each_test(
        &mut self,
        executables: &[Test],
        except: &str,
        ignored: bool,
        at_once: usize,
    ) -> Result<()> {
        let mut tests = Vec::new();
        for executable in executables {
            let names = output(executable.command().args(["--list", "--format", "terse"]))?;
            let names = names.lines().filter_map(|line| line.strip_suffix(": test"));
            let names = names.filter(|name| !name.starts_with(except));
            tests.extend(names.map(|name| (executable, name.to_owned())));
        }
        let next = AtomicUsize::new(0);
        let this = &*self;
        let lane = || {
            let (mut counts, mut errors) = (Counts::default(), Vec::new());
            while let Some((executable, name)) = tests.get(next.fetch_add(1, Ordering::Relaxed)) {
                let mut command = executable.command();
                command.args(["--exact", name]);
                if ignored {
                    command.arg("--include-ignored");
                }
                let (started, mut said) = (Instant::now(), String::new());
                let result = this.run(&mut command, |line| {
                    counts.add(line);
                    said.extend([line, "\n"]);
                });
                let seconds = started.elapsed().as_secs_f64();
                let verdict = if result.is_ok() { "ok" } else { "FAILED" };
                say!("test {}: {name} ... {verdict} ({seconds:.1} s)", executable.name);
                if let Err(error) = result {
                    say!("{said}");
                    errors.push(error);
                }
            }
            (counts, errors)
        };
        let lanes: Vec<_> = thread::scope(|scope| {
            let lanes: Vec<_> = (0..at_once).map(|_| scope.spawn(lane)).collect();
            lanes.into_iter().map(|lane| lane.join().expect("a lane does not panic")).collect()
        });
        let mut errors = Vec::<Error>::new();
        for (counts, failures) in lanes {
            self.add(&counts);
            errors.extend(failures);
        }
        errors.into_iter().next().map_or(Ok(()), Err)
    }
}

/// The counts of cargo's closing lines.
#[derive(Default)]
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Counts {
    fn add(&mut self, line: &str) {
        let Some(rest) = line.strip_prefix("test result: ") else { return };
        let number = |word: &str| {
            rest.split([';', '.'])
                .filter_map(|part| part.trim().strip_suffix(word))
                .find_map(|part| part.trim().parse::<u64>().ok())
                .unwrap_or(0)
        };
        self.passed += number(" passed");
        self.failed += number(" failed");
        self.ignored += number(" ignored");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_cargos_closing_line() {
        let mut counts = Counts::default();
        counts.add(
            "test result: ok. 12 passed; 0 failed; 3 ignored; 0 measured; 0 filtered out; finished in 0.01s",
        );
        counts.add("test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out");
        counts.add("test foo ... ok");
        assert_eq!((counts.passed, counts.failed, counts.ignored), (13, 2, 3));
    }
}
