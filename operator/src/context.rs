//! What all reconciles share: clients, caches, and the state of each object.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::Client;
use kube::api::ObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store};
use parking_lot::{Mutex, RwLock};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::{mpsc, watch};

use crate::agent::AgentClient;
use crate::apply::Applier;
use crate::aws::{Aws, Regions};
use crate::build::AgentDefaults;
use crate::bulkhead::Bulkhead;
use crate::cached::CachedIngest;
use crate::change_filter::ChangeFilter;
use crate::events::Events;
use crate::lease::Leadership;
use crate::metrics::Metrics;
use crate::names;
use crate::owners::{Claim, Owners};
use crate::pace::{Backoff, Bucket, RolloutBudget};
use crate::poll::PollIntervals;
use crate::state::ObjectStates;
use crate::tenancy::{Places, Policies, ReleaseRules};
use crate::workload::DeploymentLite;

/// What a person sets for the operator.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Marks what is created in AWS.
    pub cluster: String,
    /// Tells this release from others in the cluster: namespace and name of its lease.
    pub release: String,
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
    /// Regions that objects may name; empty: all that AWS has.
    pub regions: Vec<String>,
    /// Share of each AWS quota of the account that the operator uses; more than 0.
    pub aws_quota_share: f64,
    pub poll: PollIntervals,
    /// What authors of objects may ask for, in every namespace.
    pub tenancy: ReleaseRules,
}

impl Settings {
    /// Defaults around this agent image.
    #[must_use]
    pub fn new(cluster: impl Into<String>, agent_image: impl Into<String>) -> Self {
        let cluster = cluster.into();
        Self {
            agents: AgentDefaults::new(&cluster, agent_image),
            release: cluster.clone(),
            cluster,
            rollouts_per_minute: 60.0,
            concurrency: 32,
            debounce: Duration::from_secs(1),
            label_selector: None,
            aws_resync: Duration::from_secs(10 * 3600),
            regions: Vec::new(),
            aws_quota_share: 0.5,
            poll: PollIntervals { shortest: Duration::from_secs(10), longest: Duration::from_secs(300) },
            tenancy: ReleaseRules::default(),
        }
    }
}

/// The caches of the whole cluster, or of one namespace.
#[derive(Clone)]
pub struct Caches {
    pub(crate) objects: Store<CachedIngest>,
    pub(crate) deployments: Store<DeploymentLite>,
    /// Of the events of Deployments, those that a reconcile has to look at.
    pub(crate) deployment_filter: Arc<ChangeFilter>,
    /// Which objects come before which, where a policy counts them.
    pub(crate) places: Arc<RwLock<Places>>,
}

impl Caches {
    pub(crate) fn deployment(&self, namespace: &str, name: &str) -> Option<Arc<DeploymentLite>> {
        self.deployments.get(&ObjectRef::new(name).within(namespace))
    }

    /// Is there an agent of this object, as far as is known?
    fn has_agent(&self, states: &ObjectStates, namespace: &str, name: &str, uid: &str) -> bool {
        let deployment = self.deployment(namespace, &names::deployment(name));
        let applied = || states.find(uid).is_some_and(|state| state.lock().applied.is_some());
        has_agent(deployment.as_deref(), uid, applied)
    }
}

/// Is there an agent of the object with this `uid`? `deployment` is that of its name in the cache; `applied`: this process has
/// applied one.
pub(crate) fn has_agent(
    deployment: Option<&DeploymentLite>,
    uid: &str,
    applied: impl FnOnce() -> bool,
) -> bool {
    // What this process has applied, and the cache does not show yet, is there.
    deployment.map_or_else(applied, |found| found.is_of(uid))
}

/// Everything a reconcile needs.
pub struct Context {
    /// Reads; what is written goes through the [`Applier`].
    pub(crate) client: Client,
    pub(crate) applier: Applier,
    pub(crate) events: Events,
    pub(crate) aws: Aws,
    pub(crate) agents: AgentClient,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) settings: Settings,
    /// Who owns which stream, and whose agents are on which channel.
    pub(crate) owners: Owners,
    /// What the administrator of the cluster permits.
    pub(crate) policies: Policies,
    pub(crate) backoff: Backoff,
    /// Spreads what would happen at one time.
    pub(crate) chance: Mutex<StdRng>,
    pub(crate) rollouts: Mutex<RolloutBudget>,
    /// The API server reads all events of a namespace to find those of a pod.
    pub(crate) event_looks: Mutex<Bucket>,
    pub(crate) leading: Leadership,
    /// By namespace; `None`: of the whole cluster.
    pub(crate) caches: Mutex<HashMap<Option<String>, Caches>>,
    pub(crate) states: ObjectStates,
    /// Of namespaces, so that the objects of one do not keep all others waiting.
    pub(crate) namespaces: Bulkhead,
    /// Objects to be looked at now. Bounded; when it is full they are found at their next requeue.
    wake: mpsc::Sender<ObjectRef<CachedIngest>>,
    /// All caches have been filled once.
    pub(crate) ready: watch::Sender<bool>,
    /// This operator leads, and what it remembers is of this term.
    pub(crate) in_office: watch::Sender<bool>,
}

impl Context {
    /// A context, and who is to be woken.
    pub fn new(
        client: Client,
        settings: Settings,
        metrics: Arc<Metrics>,
        leading: Leadership,
    ) -> (Self, mpsc::Receiver<ObjectRef<CachedIngest>>) {
        let (wake, woken) = mpsc::channel(1024);
        let regions = Regions::new(
            settings.regions.clone(),
            usize::from(settings.concurrency),
            settings.aws_quota_share,
            leading.clone(),
            metrics.clone(),
        );
        let context = Self {
            applier: Applier::new(client.clone(), settings.release.clone(), leading.clone(), metrics.clone()),
            events: Events::new(client.clone(), leading.clone()),
            client,
            aws: Aws::new(settings.cluster.clone(), regions),
            agents: AgentClient::default(),
            metrics,
            owners: Owners::default(),
            policies: Policies::default(),
            backoff: Backoff::default(),
            chance: Mutex::new(StdRng::from_os_rng()),
            rollouts: Mutex::new(RolloutBudget::new(settings.rollouts_per_minute, Instant::now())),
            event_looks: Mutex::new(Bucket::new(5.0, 10.0, Instant::now())),
            namespaces: Bulkhead::new(usize::from(settings.concurrency)),
            settings,
            leading,
            caches: Mutex::default(),
            states: ObjectStates::default(),
            wake,
            ready: watch::Sender::new(false),
            in_office: watch::Sender::new(false),
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

    /// The object is gone.
    pub(crate) fn forget(&self, uid: &str) {
        self.states.forget(uid);
        self.backoff.forget(uid);
        self.rollouts.lock().forget(uid);
        for heir in self.owners.release(uid) {
            self.wake_up(&heir);
        }
    }

    /// Does an object come after the `most` oldest of its namespace?
    pub(crate) fn is_beyond(&self, caches: &Caches, object: &ObjectMeta, most: u32) -> bool {
        let namespace = object.namespace.as_deref().unwrap_or_default();
        let has_agent = |name: &str, uid: &str| caches.has_agent(&self.states, namespace, name, uid);
        caches.places.read().is_beyond(object, most, has_agent)
    }

    /// An object has no agent any more, and gets none: where their number is limited, another may have its place.
    pub(crate) fn leave_place(&self, caches: &Caches, object: &ObjectMeta) {
        let namespace = object.namespace.as_deref().unwrap_or_default();
        if !caches.places.write().leave(object) {
            return;
        }
        let Some(most) = self.policies.max_objects(namespace) else { return };
        let has_agent = |name: &str, uid: &str| caches.has_agent(&self.states, namespace, name, uid);
        let last = caches.places.read().last(namespace, most, has_agent).map(str::to_owned);
        if let Some(name) = last {
            self.wake_up_named(namespace, &name);
        }
    }

    pub(crate) fn wake_up(&self, claim: &Claim) {
        self.wake_up_named(&claim.namespace, &claim.name);
    }

    pub(crate) fn wake_up_named(&self, namespace: &str, name: &str) {
        if self.wake.try_send(ObjectRef::new(name).within(namespace)).is_err() {
            tracing::warn!(namespace, name, "not woken: it is looked at later");
        }
    }

    pub(crate) fn count_waiting(&self) {
        let rollouts = self.rollouts.lock().waiting();
        self.metrics.waiting(self.backoff.len(), rollouts);
        self.metrics.objects(&self.states.count_ready());
    }
}
