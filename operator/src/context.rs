//! What all reconciles share: clients, caches, and the little that is remembered of each object.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Client, ResourceExt};
use kvs_ingest_api::{KvsIngest, KvsIngestStatus};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use crate::agent::Asker;
use crate::aws::Aws;
use crate::build::AgentDefaults;
use crate::controller::Seen;
use crate::events::Events;
use crate::lease::Leadership;
use crate::metrics::Metrics;
use crate::owners::{Claim, Owners};
use crate::pace::{Backoff, Bucket};
use crate::stored::StoredIngest;
use crate::workload::DeploymentLite;

/// How long a status that was just written may be newer than the cache.
pub(crate) const STATUS_LAG: Duration = Duration::from_secs(10);

/// What a person sets for the operator.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Marks what is created in AWS.
    pub cluster: String,
    /// For all agents.
    pub agents: AgentDefaults,
    /// At most so many agents a minute are restarted because the operator changed, not their object.
    pub rollouts_per_minute: f64,
    /// Reconciles at the same time.
    pub concurrency: u16,
    /// Waits for more events of an object before it is reconciled.
    pub debounce: Duration,
    /// Only objects with these labels.
    pub label_selector: Option<String>,
    /// Asks AWS again after so long, ± 20 %.
    pub aws_resync: Duration,
    /// Share of each AWS quota of the account that the operator uses.
    pub aws_quota_share: f64,
    /// Shortest and longest time between two looks at an agent.
    pub ask: (Duration, Duration),
}

impl Settings {
    /// Defaults around this agent image.
    #[must_use]
    pub fn new(cluster: impl Into<String>, agent_image: impl Into<String>) -> Self {
        Self {
            cluster: cluster.into(),
            agents: AgentDefaults::new(agent_image),
            rollouts_per_minute: 60.0,
            concurrency: 32,
            debounce: Duration::from_secs(1),
            label_selector: None,
            aws_resync: Duration::from_secs(10 * 3600),
            aws_quota_share: 0.5,
            ask: (Duration::from_secs(10), Duration::from_secs(300)),
        }
    }
}

/// The caches of the whole cluster, or of one namespace.
#[derive(Clone)]
pub struct Caches {
    /// The objects.
    pub objects: Store<StoredIngest>,
    /// Their Deployments.
    pub deployments: Store<DeploymentLite>,
    /// Versions of Deployments that no reconcile has to look at any more.
    pub(crate) touched: Arc<Seen>,
}

/// What is remembered of an object between two reconciles; lost with the process, and not missed then.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Hash and generation of the last apply, until the cache shows it.
    pub(crate) applied: Option<(String, Option<i64>)>,
    /// The last status written, and when: the cache may be older for a while.
    pub(crate) status: Option<Box<(KvsIngestStatus, Instant)>>,
    /// The agent's address, of the Deployment's version beside it.
    pub(crate) address: Option<IpAddr>,
    /// `resourceVersion` of the Deployment when the agent or its pods were last looked at.
    pub(crate) seen: Option<String>,
    /// When to look at the agent again, and the delay after that.
    pub(crate) ask_at: Option<Instant>,
    pub(crate) ask_delay: Duration,
    /// It was looked at by this process.
    pub(crate) asked: bool,
    /// What was found then.
    pub(crate) trouble: Option<Box<crate::report::Verdict>>,
    /// When AWS is asked again.
    pub(crate) aws_at: Option<Instant>,
}

/// Everything a reconcile needs.
pub struct Context {
    /// For objects, Deployments, pods.
    pub client: Client,
    /// For events.
    pub events: Events,
    /// AWS.
    pub aws: Aws,
    /// Agents.
    pub asker: Asker,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Settings.
    pub settings: Settings,
    /// Who owns which stream.
    pub owners: Owners,
    /// Objects in trouble.
    pub backoff: Backoff,
    /// Do we lead?
    pub leading: Leadership,
    pub(crate) caches: Mutex<HashMap<Option<String>, Caches>>,
    pub(crate) memories: Mutex<HashMap<String, Memory>>,
    pub(crate) rollout: Mutex<(Bucket, HashSet<String>)>,
    /// Objects to be looked at now. Bounded; when it is full they are found at their next requeue.
    pub(crate) wake: mpsc::Sender<ObjectRef<StoredIngest>>,
    pub(crate) ready: watch::Sender<bool>,
}

impl Context {
    /// A context, and who is to be woken.
    pub fn new(
        client: Client,
        settings: Settings,
        metrics: Arc<Metrics>,
        leading: Leadership,
    ) -> (Self, mpsc::Receiver<ObjectRef<StoredIngest>>) {
        let (wake, woken) = mpsc::channel(1024);
        let budget = Bucket::new(
            settings.rollouts_per_minute / 60.0,
            (settings.rollouts_per_minute / 12.0).max(1.0),
            Instant::now(),
        );
        let context = Self {
            events: Events::new(client.clone()),
            client,
            aws: Aws::new(settings.cluster.clone(), settings.aws_quota_share, metrics.clone()),
            asker: Asker::default(),
            metrics,
            settings,
            owners: Owners::default(),
            backoff: Backoff::default(),
            leading,
            caches: Mutex::default(),
            memories: Mutex::default(),
            rollout: Mutex::new((budget, HashSet::new())),
            wake,
            ready: watch::Sender::new(false),
        };
        (context, woken)
    }

    pub(crate) fn caches(&self, namespace: &str) -> Option<Caches> {
        let caches = self.caches.lock();
        caches.get(&Some(namespace.to_owned())).or_else(|| caches.get(&None)).cloned()
    }

    /// Have all caches been filled once?
    #[must_use]
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    pub(crate) fn remember<T>(&self, uid: &str, change: impl FnOnce(&mut Memory) -> T) -> T {
        change(self.memories.lock().entry(uid.to_owned()).or_default())
    }

    /// The object is gone.
    pub(crate) fn forget(&self, object: &StoredIngest) {
        if let Some(uid) = object.uid() {
            self.forget_uid(&uid);
        }
    }

    /// As [`Context::forget`].
    pub(crate) fn forget_uid(&self, uid: &str) {
        self.memories.lock().remove(uid);
        self.backoff.forget(uid);
        self.rollout.lock().1.remove(uid);
        if let Some(heir) = self.owners.release(uid) {
            self.wake_up(&heir);
        }
    }

    pub(crate) fn wake_up(&self, claim: &Claim) {
        let object = ObjectRef::new(&claim.name).within(&claim.namespace);
        if self.wake.try_send(object).is_err() {
            tracing::warn!(
                namespace = claim.namespace,
                name = claim.name,
                "not woken: it is looked at later"
            );
        }
    }

    /// By now the cache shows what was written.
    pub(crate) fn forget_statuses(&self) {
        for memory in self.memories.lock().values_mut() {
            memory.status.take_if(|status| status.1.elapsed() >= STATUS_LAG);
        }
    }

    pub(crate) fn backing_off(&self) {
        let waiting = self.rollout.lock().1.len();
        self.metrics.waiting(self.backoff.len(), waiting);
    }
}

/// The claim of an object on its stream.
pub(crate) fn claim(ingest: &KvsIngest) -> Claim {
    let created = ingest.metadata.creation_timestamp.as_ref().map_or(Timestamp::MAX, |time| time.0);
    Claim {
        created: created.to_string(),
        uid: ingest.uid().unwrap_or_default(),
        namespace: ingest.namespace().unwrap_or_default(),
        name: ingest.name_any(),
    }
}
