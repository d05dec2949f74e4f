//! Takes checks down as they are made, each within its time.

use super::report::{Check, Fault, Report, Verdict};
use crate::failure;
use crate::session::{Failure, FailureKind};
use kvs_aws::ErrorClass;
use std::io::{Write, stdout};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// The checks so far.
pub(super) struct Checks {
    report: Report,
    /// Each is printed when it is made.
    prints: bool,
    /// What one may take.
    pub(super) limit: Duration,
}

impl Checks {
    pub(super) fn new(prints: bool, limit: Duration) -> Self {
        Self { report: Report::default(), prints, limit }
    }

    pub(super) fn finish(self) -> Report {
        self.report
    }

    pub(super) fn add(
        &mut self,
        name: &'static str,
        verdict: Verdict,
        took: Duration,
        found: impl Into<String>,
        remedy: Option<String>,
    ) {
        let check = Check { name, verdict, took, found: found.into(), remedy };
        if self.prints {
            // Nobody reads it any more.
            let _ = writeln!(stdout(), "{check}");
        }
        self.report.checks.push(check);
    }

    pub(super) fn failed(
        &mut self,
        name: &'static str,
        fault: Fault,
        found: impl Into<String>,
        remedy: Option<&str>,
    ) {
        self.add(name, Verdict::Failed(fault), Duration::ZERO, found, remedy.map(str::to_owned));
    }

    pub(super) fn skipped(&mut self, name: &'static str, found: impl Into<String>) {
        self.add(name, Verdict::Skipped, Duration::ZERO, found, None);
    }

    /// A call, within the limit. Says nothing: what it means is the caller's to say.
    pub(super) async fn within<T>(&self, what: impl Future<Output = T>) -> (Option<T>, Duration) {
        let began = Instant::now();
        let result = timeout(self.limit, what).await.ok();
        (result, began.elapsed())
    }

    /// A call of the service's: what it gave, and how long it took; a failure is said.
    pub(super) async fn call<T>(
        &mut self,
        name: &'static str,
        missing: Fault,
        call: impl Future<Output = Result<T, kvs::Error>>,
    ) -> Option<(T, Duration)> {
        self.taken(name, call, |checks, took, error| checks.refused(name, missing, took, &error)).await
    }

    /// The same of a step that the agent takes itself, told in its words.
    pub(super) async fn step<T>(
        &mut self,
        name: &'static str,
        missing: Fault,
        step: impl Future<Output = Result<T, Failure>>,
    ) -> Option<(T, Duration)> {
        self.taken(name, step, |checks, took, failure| checks.failure(name, missing, took, failure)).await
    }

    async fn taken<T, E>(
        &mut self,
        name: &'static str,
        what: impl Future<Output = Result<T, E>>,
        failed: impl FnOnce(&mut Self, Duration, E),
    ) -> Option<(T, Duration)> {
        let (result, took) = self.within(what).await;
        match result {
            Some(Ok(found)) => return Some((found, took)),
            Some(Err(error)) => failed(self, took, error),
            None => self.late(name, took),
        }
        None
    }

    /// A call that failed. `missing`: what is not there when it says so.
    pub(super) fn refused(&mut self, name: &'static str, missing: Fault, took: Duration, error: &kvs::Error) {
        let verdict = Verdict::Failed(fault(failure::call(error).kind, missing));
        self.add(name, verdict, took, error.to_string(), remedy(error.class, error.operation));
    }

    pub(super) fn late(&mut self, name: &'static str, took: Duration) {
        let found = format!("no answer within {} s", self.limit.as_secs());
        let remedy = "look whether the network lets HTTPS out, and whether a proxy is needed (HTTPS_PROXY)";
        self.add(name, Verdict::Failed(Fault::Network), took, found, Some(remedy.to_owned()));
    }

    /// What went wrong in the agent's words.
    pub(super) fn failure(&mut self, name: &'static str, missing: Fault, took: Duration, failure: Failure) {
        let verdict = Verdict::Failed(fault(failure.kind, missing));
        self.add(name, verdict, took, failure.message, None);
    }
}

/// What kind of fault a failure is. `missing`: what is not there then.
fn fault(kind: FailureKind, missing: Fault) -> Fault {
    match kind {
        FailureKind::AccessDenied | FailureKind::CredentialsExpired => Fault::Access,
        FailureKind::ChannelNotFound => missing,
        FailureKind::MediaStorageEnabled => Fault::Channel,
        FailureKind::Network | FailureKind::Timeout => Fault::Network,
        FailureKind::CodecMismatch | FailureKind::MediaTimeout => Fault::Media,
        FailureKind::PeerBuild
        | FailureKind::PeerFailed
        | FailureKind::RelayEnds
        | FailureKind::AnsweredTwice => Fault::Connection,
        FailureKind::InvalidRequest => Fault::Configuration,
        FailureKind::ClockSkew | FailureKind::Throttled | FailureKind::Service => Fault::Service,
    }
}

fn remedy(class: ErrorClass, operation: &str) -> Option<String> {
    Some(match class {
        ErrorClass::AccessDenied => format!(
            "look whose the credentials are and whether key and secret belong together; their policy has to allow \
             kinesisvideo:{operation} on this resource"
        ),
        ErrorClass::CredentialsExpired => "get other credentials: these have ended".to_owned(),
        ErrorClass::NotFound => "create it, or correct its name and region".to_owned(),
        ErrorClass::Network | ErrorClass::Timeout => {
            "look whether the network lets HTTPS out, and whether a proxy is needed (HTTPS_PROXY)".to_owned()
        }
        ErrorClass::Throttled | ErrorClass::LimitExceeded => {
            "wait, and look who else calls so often, or ask AWS for a higher quota".to_owned()
        }
        _ => return None,
    })
}
