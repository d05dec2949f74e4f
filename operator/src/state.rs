//! What one reconcile of an object leaves for the next. Lost with the process, and not missed then.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kvs_ingest_api::{KvsIngestStatus, condition};
use parking_lot::Mutex;

use crate::conditions::{ConditionStatus, ConditionUpdate, find};
use crate::endings::Endings;
use crate::poll::AgentPoller;
use crate::reason::Reason;
use crate::recording::Recording;
use crate::resync::Resync;
use crate::rivalry::Rivalry;

/// How long a status that was just written may be newer than the cache.
const CACHE_LAG: Duration = Duration::from_secs(10);

/// Of one object.
#[derive(Debug, Default)]
pub(crate) struct ObjectState {
    /// The last apply, until the cache shows it.
    pub(crate) applied: Option<AppliedDeployment>,
    /// The generation of the Deployment whose agent was stopped last. One that is to run in a later generation was started by
    /// somebody else.
    pub(crate) stopped: Option<i64>,
    written: Option<Box<WrittenStatus>>,
    pub(crate) poller: AgentPoller,
    pub(crate) endings: Endings,
    /// What was found when this process last looked at the pods; `None` before that.
    pub(crate) pods: Option<PodFinding>,
    pub(crate) resync: Resync,
    /// Since when AWS says that there is nothing of what may have been created.
    unseen: Option<Instant>,
    /// AWS was told to delete its channel, and its stream, by this process.
    pub(crate) deleted: [bool; 2],
    /// What AWS records of it by itself; `None`: nothing is known, or an agent does.
    pub(crate) recording: Option<Box<Recording>>,
    /// What others undo of it.
    pub(crate) rivalry: Option<Box<Rivalry>>,
    /// Status and reason of its `Ready`, as labels.
    pub(crate) ready: Option<(&'static str, &'static str)>,
}

#[derive(Clone, Debug)]
pub(crate) struct AppliedDeployment {
    pub(crate) hash: String,
    pub(crate) generation: Option<i64>,
}

#[derive(Debug)]
struct WrittenStatus {
    status: KvsIngestStatus,
    at: Instant,
}

#[derive(Clone, Debug)]
pub(crate) struct PodFinding {
    /// Why the newest pod is not available, if Kubernetes knows.
    pub(crate) problem: Option<Box<ConditionUpdate>>,
}

impl ObjectState {
    pub(crate) fn record_status(&mut self, status: KvsIngestStatus, now: Instant) {
        self.written = Some(Box::new(WrittenStatus { status, at: now }));
    }

    /// The status that was just written: the cache may be older.
    pub(crate) fn fresh_status(&self, now: Instant) -> Option<&KvsIngestStatus> {
        self.written.as_ref().filter(|written| written.is_fresh(now)).map(|written| &written.status)
    }

    /// Since when AWS says that there is nothing to delete: since now, if it said otherwise before.
    pub(crate) fn unseen_since(&mut self, now: Instant) -> Instant {
        *self.unseen.get_or_insert(now)
    }

    /// Takes note of its `Ready`, to be counted.
    pub(crate) fn record_ready(&mut self, status: &KvsIngestStatus) {
        self.ready = find(status, condition::READY)
            .map(|ready| (ConditionStatus::of(ready).as_str(), Reason::from(&*ready.reason).label()));
    }

    /// What others undid was done again.
    pub(crate) fn answer_rival(&mut self) {
        if let Some(rivalry) = &mut self.rivalry {
            rivalry.answer();
        }
    }

    /// Gives back the memory of what the cache shows by now.
    pub(crate) fn drop_stale_status(&mut self, now: Instant) {
        self.written.take_if(|written| !written.is_fresh(now));
    }
}

impl WrittenStatus {
    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) < CACHE_LAG
    }
}

/// Of all objects, by uid. One entry an object: bounded by their number.
#[derive(Debug, Default)]
pub(crate) struct ObjectStates(Mutex<HashMap<String, Arc<Mutex<ObjectState>>>>);

impl ObjectStates {
    /// Of an object that is reconciled; all who ask for it share it.
    pub(crate) fn of(&self, uid: &str) -> Arc<Mutex<ObjectState>> {
        self.0.lock().entry(uid.to_owned()).or_default().clone()
    }

    /// If there is one: who is deleted gets none anew.
    pub(crate) fn find(&self, uid: &str) -> Option<Arc<Mutex<ObjectState>>> {
        self.0.lock().get(uid).cloned()
    }

    /// The object is gone.
    pub(crate) fn forget(&self, uid: &str) {
        self.0.lock().remove(uid);
    }

    /// In place: a reconcile that has begun goes on with the state that it holds.
    pub(crate) fn clear(&self) {
        self.for_each(|state| *state = ObjectState::default());
    }

    /// How many have which `Ready`.
    pub(crate) fn count_ready(&self) -> HashMap<(&'static str, &'static str), i64> {
        let mut counts = HashMap::new();
        self.for_each(|state| {
            if let Some(ready) = state.ready {
                *counts.entry(ready).or_default() += 1;
            }
        });
        counts
    }

    pub(crate) fn for_each(&self, mut change: impl FnMut(&mut ObjectState)) {
        for state in self.0.lock().values() {
            change(&mut state.lock());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_status_counts_until_the_cache_shows_it() {
        let start = Instant::now();
        let mut state = ObjectState::default();
        let status = KvsIngestStatus { observed_generation: Some(3), ..KvsIngestStatus::default() };
        state.record_status(status.clone(), start);
        let lagging = start + CACHE_LAG - Duration::from_millis(1);
        state.drop_stale_status(lagging);
        assert_eq!(state.fresh_status(lagging), Some(&status));
        assert_eq!(state.fresh_status(start + CACHE_LAG), None);
        state.drop_stale_status(start + CACHE_LAG);
        assert!(state.written.is_none());
    }

    #[test]
    fn who_is_gone_is_not_counted() {
        let states = ObjectStates::default();
        let ready = |reason: &str| {
            let time =
                k8s_openapi::apimachinery::pkg::apis::meta::v1::Time("2026-01-01T00:00:00Z".parse().unwrap());
            KvsIngestStatus {
                conditions: vec![k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition {
                    type_: condition::READY.to_owned(),
                    status: "False".to_owned(),
                    reason: reason.to_owned(),
                    message: String::new(),
                    observed_generation: None,
                    last_transition_time: time,
                }],
                ..KvsIngestStatus::default()
            }
        };
        for (uid, reason) in [("a", "CrashLooping"), ("b", "NobodyKnows"), ("c", "CrashLooping")] {
            states.of(uid).lock().record_ready(&ready(reason));
        }
        states.forget("c");
        assert_eq!(states.count_ready(), [(("False", "CrashLooping"), 1), (("False", "Other"), 1)].into());
    }

    #[test]
    fn two_that_look_at_one_object_see_the_same_state() {
        let states = ObjectStates::default();
        let (reconcile, watch) = (states.of("u"), states.of("u"));
        reconcile.lock().applied = Some(AppliedDeployment { hash: "h".to_owned(), generation: Some(1) });
        watch.lock().applied = None;
        assert!(reconcile.lock().applied.is_none());
        states.forget("u");
        assert!(states.find("u").is_none());
    }
}
