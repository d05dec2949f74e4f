//! [`Run`]: the commands of one suite, within its budget.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::process::{Outcome, run_within};
use crate::say;
use crate::workspace::show;

/// Tells the end-to-end suites to record for minutes.
const REAL_TIME: &str = "KVS_INGEST_REAL_TIME";
/// What one suite may do, and what its tests counted.
pub struct Run {
    pub deadline: Instant,
    real_time: bool,
    pub passed: u64,
    pub failed: u64,
    pub ignored: u64,
}

impl Run {
    /// With so much time from `started` on. `real_time`: recordings of minutes instead of seconds.
    pub fn new(started: Instant, budget: Duration, real_time: bool) -> Self {
        Self { deadline: started + budget, real_time, passed: 0, failed: 0, ignored: 0 }
    }

    /// Runs one command of the suite within what is left of its budget.
    pub fn command(&mut self, command: &mut Command) -> Result<()> {
        let command_line = show(command);
        if self.real_time {
            command.env(REAL_TIME, "1");
        }
        let mut counts = Counts::default();
        let budget = self.deadline.saturating_duration_since(Instant::now());
        let outcome = run_within(command, budget, |line| {
            say!("{line}");
            counts.add(line);
        })?;
        self.passed += counts.passed;
        self.failed += counts.failed;
        self.ignored += counts.ignored;
        match outcome {
            Outcome::Ended(status) if status.success() => Ok(()),
            Outcome::Ended(status) => bail!("`{command_line}` ended with {status}"),
            Outcome::TimedOut => bail!("`{command_line}` did not end within the suite's budget"),
            Outcome::Interrupted => bail!("`{command_line}` was interrupted"),
        }
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
