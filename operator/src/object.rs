//! One `KvsIngest` as one reconcile sees it: what is declared, what the caches hold, what was said before.

use std::sync::Arc;
use std::time::Instant;

use kube::ResourceExt;
use kvs_ingest_api::{KvsIngest, KvsIngestStatus};
use parking_lot::Mutex;

use crate::aws::Subject;
use crate::cached::CachedIngest;
use crate::context::{Caches, Context, has_agent};
use crate::names;
use crate::state::ObjectState;
use crate::workload::DeploymentLite;

pub(crate) struct Object<'a> {
    pub(crate) context: &'a Context,
    pub(crate) caches: &'a Caches,
    pub(crate) cached: &'a CachedIngest,
    pub(crate) ingest: &'a KvsIngest,
    pub(crate) uid: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Of the agent's name, in the cache.
    pub(crate) deployment: Option<Arc<DeploymentLite>>,
    pub(crate) state: Arc<Mutex<ObjectState>>,
    /// The last status that is known.
    pub(crate) before: Option<KvsIngestStatus>,
}

/// The time, and a random number from 0 to 1, as a step is given them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tick {
    pub(crate) now: Instant,
    pub(crate) random: f64,
}

impl<'a> Object<'a> {
    pub(crate) fn new(
        context: &'a Context,
        caches: &'a Caches,
        cached: &'a CachedIngest,
        ingest: &'a KvsIngest,
        now: Instant,
    ) -> Self {
        let (uid, namespace) = (ingest.uid().unwrap_or_default(), ingest.namespace().unwrap_or_default());
        let name = ingest.name_any();
        let deployment = caches.deployment(&namespace, &names::deployment(&name));
        let state = context.states.of(&uid);
        // What was just written may not be in the cache yet.
        let before = state.lock().fresh_status(now).cloned().or_else(|| ingest.status.clone());
        Self { context, caches, cached, ingest, uid, namespace, name, deployment, state, before }
    }

    /// As AWS is asked about it.
    pub(crate) fn subject(&self) -> Subject<'_> {
        Subject {
            uid: &self.uid,
            namespace: &self.namespace,
            name: &self.name,
            spec: &self.ingest.spec,
            status: self.before.as_ref(),
        }
    }

    /// Is there an agent of it, as far as is known?
    pub(crate) fn has_agent(&self) -> bool {
        has_agent(self.deployment.as_deref(), &self.uid, || self.state.lock().applied.is_some())
    }

    /// It uses neither channel nor stream any more: others may have them.
    pub(crate) fn release_claims(&self) {
        for heir in self.context.owners.release(&self.uid) {
            self.context.wake_up(&heir);
        }
    }

    /// Its end waits for ours.
    pub(crate) fn has_finalizer(&self) -> bool {
        self.ingest.finalizers().iter().any(|name| name == names::FINALIZER)
    }
}
