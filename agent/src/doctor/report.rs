//! What was found, for a person and for a program. Pure.

use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// What kind of thing is wrong, and with that the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The manifest, a variable, what is installed.
    Configuration = 2,
    /// A host is not found or not reached, by TCP, TLS or a proxy.
    Network = 10,
    /// Credentials, or a permission.
    Access = 11,
    /// The channel is not there, or AWS stores it itself.
    Channel = 12,
    /// The stream is not there.
    Stream = 13,
    /// No master answers.
    Master = 14,
    /// A master answers, and no connection comes up.
    Connection = 15,
    /// It is connected, and sends nothing that can be stored.
    Media = 16,
    /// The service refuses, fails, or is too slow.
    Service = 17,
}

/// It would record, and something is worth mending.
const WARNED: u8 = 1;

/// How one check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Ok,
    /// It would record all the same.
    Warning,
    Failed(Fault),
    /// What it needs is not there.
    Skipped,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed(_) => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Check {
    /// What: a step of the time line, or a name of its own.
    pub(super) name: &'static str,
    pub(super) verdict: Verdict,
    pub(super) took: Duration,
    /// What was seen, in one line.
    pub(super) found: String,
    /// What to do about it.
    pub(super) remedy: Option<String>,
}

/// One line, and behind it what to do.
impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.verdict {
            Verdict::Failed(_) => "FAILED",
            other => other.word(),
        };
        write!(f, "{word:<8} {:<33} {}", self.name, self.found)?;
        if !self.took.is_zero() {
            write!(f, " ({:.3} s)", self.took.as_secs_f64())?;
        }
        match &self.remedy {
            Some(remedy) => write!(f, ". To do: {remedy}"),
            None => Ok(()),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    check: &'a str,
    result: &'a str,
    seconds: f64,
    found: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    records: bool,
    exit_code: u8,
    checks: Vec<Line<'a>>,
}

/// Everything that was tried, in order.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) checks: Vec<Check>,
}

impl Report {
    /// That of the first thing that failed; 1 when something is to be mended; 0 when all is well.
    pub(super) fn exit_code(&self) -> u8 {
        let fault = self.checks.iter().find_map(|check| match check.verdict {
            Verdict::Failed(fault) => Some(fault as u8),
            _ => None,
        });
        let warned = self.checks.iter().any(|check| check.verdict == Verdict::Warning);
        fault.unwrap_or(if warned { WARNED } else { 0 })
    }

    /// In one sentence.
    pub(super) fn verdict(&self) -> &'static str {
        match self.exit_code() {
            0 => "all is well: this would be recorded",
            WARNED => "this would be recorded; see the warnings",
            _ => "this would not be recorded",
        }
    }

    pub(super) fn json(&self) -> String {
        let checks = self.checks.iter().map(|check| Line {
            check: check.name,
            result: check.verdict.word(),
            seconds: (check.took.as_secs_f64() * 1e3).round() / 1e3,
            found: &check.found,
            remedy: check.remedy.as_deref(),
        });
        let exit_code = self.exit_code();
        let document = Document { records: exit_code <= WARNED, exit_code, checks: checks.collect() };
        serde_json::to_string_pretty(&document).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn check(verdict: Verdict) -> Check {
        let remedy = matches!(verdict, Verdict::Failed(_)).then(|| "mend it".to_owned());
        Check {
            name: "GetDataEndpoint",
            verdict,
            took: Duration::from_millis(1),
            found: "seen".into(),
            remedy,
        }
    }

    #[test]
    fn the_first_that_failed_decides() {
        let code = |verdicts: &[Verdict]| {
            Report { checks: verdicts.iter().copied().map(check).collect() }.exit_code()
        };
        use Verdict::{Failed, Ok, Skipped, Warning};
        assert_eq!(code(&[Ok, Skipped]), 0);
        assert_eq!(code(&[Ok, Warning]), 1);
        assert_eq!(code(&[Warning, Failed(Fault::Stream), Skipped, Failed(Fault::Master)]), 13);
    }

    #[test]
    fn a_line_for_a_person_and_a_document_for_a_program() {
        let report = Report { checks: vec![check(Verdict::Ok), check(Verdict::Failed(Fault::Access))] };
        let lines: Vec<_> = report.checks.iter().map(ToString::to_string).collect();
        assert!(lines[0].starts_with("ok       GetDataEndpoint ") && lines[0].ends_with("seen (0.001 s)"));
        assert!(lines[1].starts_with("FAILED ") && lines[1].ends_with(". To do: mend it"), "{}", lines[1]);
        let document: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!((document["records"].as_bool(), document["exitCode"].as_u64()), (Some(false), Some(11)));
        assert_eq!(document["checks"][1]["remedy"], "mend it");
        assert_eq!(document["checks"][0].get("remedy"), None);
    }
}
