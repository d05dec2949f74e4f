//! What the operator counts. Names are controller-runtime's where the meaning is the same, so that dashboards carry over;
//! no label names an object: there may be 10,000.

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabel, EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Labels<const N: usize>([(&'static str, String); N]);

impl<const N: usize> EncodeLabelSet for Labels<N> {
    fn encode(&self, encoder: &mut LabelSetEncoder) -> Result<(), std::fmt::Error> {
        for (name, value) in &self.0 {
            (*name, value.as_str()).encode(encoder.encode_label())?;
        }
        Ok(())
    }
}

const CONTROLLER: (&str, &str) = ("controller", "kvsingest");

/// The registry and what is in it.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: Family<Labels<2>, Counter>,
    errors: Family<Labels<1>, Counter>,
    terminal: Family<Labels<1>, Counter>,
    panics: Family<Labels<1>, Counter>,
    seconds: Histogram,
    active: Family<Labels<1>, Gauge>,
    leader: Family<Labels<1>, Gauge>,
    applies: Family<Labels<1>, Counter>,
    statuses: Family<Labels<1>, Counter>,
    aws: Family<Labels<2>, Counter>,
    watch_failures: Family<Labels<1>, Counter>,
    status_polls: Family<Labels<1>, Counter>,
    relieved: Family<Labels<1>, Counter>,
    time_to_ready: Histogram,
    backing_off: Gauge,
    waiting_for_rollout: Gauge,
    objects: Family<Labels<2>, Gauge>,
    /// What `objects` has been of so far: as many as there are words. What is gone is 0.
    seen: Mutex<HashSet<(&'static str, &'static str)>>,
    put_off: Family<Labels<1>, Counter>,
    connections_closed: Counter,
}

fn label(name: &'static str, value: &str) -> Labels<1> {
    Labels([(name, value.to_owned())])
}

impl Default for Metrics {
    fn default() -> Self {
        let seconds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
        let metrics = Self {
            registry: Registry::default(),
            reconciles: Family::default(),
            errors: Family::default(),
            terminal: Family::default(),
            panics: Family::default(),
            seconds: Histogram::new(seconds),
            active: Family::default(),
            leader: Family::default(),
            applies: Family::default(),
            statuses: Family::default(),
            aws: Family::default(),
            watch_failures: Family::default(),
            status_polls: Family::default(),
            relieved: Family::default(),
            time_to_ready: Histogram::new([1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0]),
            backing_off: Gauge::default(),
            waiting_for_rollout: Gauge::default(),
            objects: Family::default(),
            seen: Mutex::default(),
            put_off: Family::default(),
            connections_closed: Counter::default(),
        };
        metrics.registered()
    }
}

impl Metrics {
    fn registered(mut self) -> Self {
        let r = &mut self.registry;
        let c = "controller_runtime_";
        r.register(format!("{c}reconcile"), "Reconciles by result", self.reconciles.clone());
        r.register(format!("{c}reconcile_errors"), "Reconciles that failed", self.errors.clone());
        r.register(
            format!("{c}terminal_reconcile_errors"),
            "Reconciles that only a person can heal",
            self.terminal.clone(),
        );
        r.register(format!("{c}reconcile_panics"), "Reconciles that panicked", self.panics.clone());
        r.register(format!("{c}reconcile_time_seconds"), "How long a reconcile took", self.seconds.clone());
        r.register(format!("{c}active_workers"), "Reconciles under way", self.active.clone());
        r.register("leader_election_master_status", "1: this one leads", self.leader.clone());
        r.register(
            "kvsingest_apply",
            "Deployments by outcome: changed, unchanged, error",
            self.applies.clone(),
        );
        r.register("kvsingest_status_update", "Status writes by outcome", self.statuses.clone());
        r.register(
            "kvsingest_aws_requests",
            "Calls to AWS by operation and class of result",
            self.aws.clone(),
        );
        r.register("kvsingest_watch_failures", "Watches that failed, by kind", self.watch_failures.clone());
        r.register("kvsingest_agent_status_polls", "Agents asked, by outcome", self.status_polls.clone());
        r.register(
            "kvsingest_agents_relieved",
            "Agents that end and were told that they need not wait for another, by outcome",
            self.relieved.clone(),
        );
        r.register(
            "kvsingest_time_to_ready_seconds",
            "From creation of an object to its first Ready",
            self.time_to_ready.clone(),
        );
        r.register(
            "kvsingest_objects_in_backoff",
            "Objects that wait for another attempt",
            self.backing_off.clone(),
        );
        r.register(
            "kvsingest_rollout_queue",
            "Agents whose restart by an operator upgrade waits for the rollout budget, at the last look",
            self.waiting_for_rollout.clone(),
        );
        r.register(
            "kvsingest_objects",
            "Objects by status and reason of their condition Ready, at the operator that leads",
            self.objects.clone(),
        );
        r.register(
            "kvsingest_put_off",
            "Reconciles that left room for others: of other namespaces, or of other regions",
            self.put_off.clone(),
        );
        r.register(
            "kvsingest_http_connections_closed",
            "Connections with the HTTP server that were closed at once, because one address, or all, had too many",
            self.connections_closed.clone(),
        );
        // There from the start: a rate of what is absent is none, and no alert sees the first one.
        for counter in [&self.errors, &self.terminal, &self.panics] {
            let _ = counter.get_or_create(&label(CONTROLLER.0, CONTROLLER.1));
        }
        for by in ["namespace", "region"] {
            let _ = self.put_off.get_or_create(&label("by", by));
        }
        let build = Family::<Labels<1>, Gauge>::default();
        build.get_or_create(&label("version", env!("CARGO_PKG_VERSION"))).set(1);
        r.register("kvsingest_build_info", "The operator's version", build);
        self
    }

    /// A call to AWS came to `code`: `ok`, or a class of errors.
    pub fn aws_request(&self, operation: &str, code: &str) {
        let labels = [("operation", operation.to_owned()), ("code", code.to_owned())];
        self.aws.get_or_create(&Labels(labels)).inc();
    }

    /// A reconcile ended: `success`, `requeue_after`, `requeue` or `error`.
    pub fn reconciled(&self, result: &str, seconds: f64) {
        let labels = [(CONTROLLER.0, CONTROLLER.1.to_owned()), ("result", result.to_owned())];
        self.reconciles.get_or_create(&Labels(labels)).inc();
        self.seconds.observe(seconds);
        if result == "error" {
            self.errors.get_or_create(&label(CONTROLLER.0, CONTROLLER.1)).inc();
        }
    }

    /// A reconcile ended in what only a person can heal.
    pub fn stalled(&self) {
        self.terminal.get_or_create(&label(CONTROLLER.0, CONTROLLER.1)).inc();
    }

    pub fn panicked(&self) {
        self.panics.get_or_create(&label(CONTROLLER.0, CONTROLLER.1)).inc();
    }

    /// Reconciles under way: one more or less.
    pub fn active(&self, change: i64) {
        self.active.get_or_create(&label(CONTROLLER.0, CONTROLLER.1)).inc_by(change);
    }

    #[must_use]
    pub fn active_now(&self) -> i64 {
        self.active.get_or_create(&label(CONTROLLER.0, CONTROLLER.1)).get()
    }

    pub fn leading(&self, leads: bool) {
        self.leader.get_or_create(&label("name", crate::names::MANAGER)).set(i64::from(leads));
    }

    /// A Deployment was looked at: `changed`, `unchanged` or `error`.
    pub fn applied(&self, outcome: &str) {
        self.applies.get_or_create(&label("outcome", outcome)).inc();
    }

    /// A status was written: `changed` or `error`.
    pub fn status_written(&self, outcome: &str) {
        self.statuses.get_or_create(&label("outcome", outcome)).inc();
    }

    /// A watch failed and starts anew.
    pub fn watch_failed(&self, kind: &str) {
        self.watch_failures.get_or_create(&label("kind", kind)).inc();
    }

    /// An agent was asked: `ok` or `error`.
    pub fn polled(&self, outcome: &str) {
        self.status_polls.get_or_create(&label("outcome", outcome)).inc();
    }

    /// An agent that ends was told that it need not wait for another: `ok` or `error`.
    pub fn relieved(&self, outcome: &str) {
        self.relieved.get_or_create(&label("outcome", outcome)).inc();
    }

    /// An object became ready for the first time, so long after its creation.
    pub fn ready_after(&self, seconds: f64) {
        self.time_to_ready.observe(seconds);
    }

    /// How many objects wait: for another attempt, for the rollout budget.
    pub fn waiting(&self, backing_off: usize, rollout: usize) {
        self.backing_off.set(i64::try_from(backing_off).unwrap_or(i64::MAX));
        self.waiting_for_rollout.set(i64::try_from(rollout).unwrap_or(i64::MAX));
    }

    /// How many objects have which `Ready`: its status and the reason's label.
    pub fn objects(&self, counts: &HashMap<(&'static str, &'static str), i64>) {
        let mut seen = self.seen.lock();
        seen.extend(counts.keys());
        for ready in &*seen {
            let labels = Labels([("status", ready.0.to_owned()), ("reason", ready.1.to_owned())]);
            self.objects.get_or_create(&labels).set(counts.get(ready).copied().unwrap_or(0));
        }
    }

    /// A reconcile left room for others: `namespace` or `region`.
    pub fn put_off(&self, by: &str) {
        self.put_off.get_or_create(&label("by", by)).inc();
    }

    /// A connection was too much.
    pub fn connection_closed(&self) {
        self.connections_closed.inc();
    }

    /// As OpenMetrics text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_counted_one_day_is_there_from_the_start() {
        let text = Metrics::default().encode();
        for line in [
            r#"controller_runtime_reconcile_panics_total{controller="kvsingest"} 0"#,
            r#"controller_runtime_reconcile_errors_total{controller="kvsingest"} 0"#,
            r#"controller_runtime_terminal_reconcile_errors_total{controller="kvsingest"} 0"#,
            r#"kvsingest_put_off_total{by="region"} 0"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn objects_are_counted_by_their_ready() {
        let metrics = Metrics::default();
        metrics.objects(&[(("True", "Streaming"), 3), (("False", "CrashLooping"), 1)].into());
        metrics.objects(&[(("True", "Streaming"), 4)].into());
        let text = metrics.encode();
        for line in [
            r#"kvsingest_objects{status="True",reason="Streaming"} 4"#,
            r#"kvsingest_objects{status="False",reason="CrashLooping"} 0"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
