//! The policies of the cluster, and the labels of its namespaces, as their watches tell of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Namespace as CoreNamespace;
use kube::ResourceExt;
use kube::api::ObjectMeta;
use kube::runtime::watcher::Event;
use kvs_ingest_api::{KvsIngest, KvsIngestPolicy, KvsIngestPolicySpec};
use parking_lot::RwLock;
use serde::Deserialize;
use tokio::sync::watch;

use super::{Namespace, applies, forbidden_by_policy};

/// A Namespace, of which policies see name and labels.
#[derive(Clone, Debug, Default, Deserialize, kube::Resource)]
#[resource(inherit = CoreNamespace)]
pub(crate) struct NamespaceLite {
    pub(crate) metadata: ObjectMeta,
}

/// What a watch has told. One entry an object: bounded by their number.
#[derive(Debug)]
struct Watched<T> {
    now: HashMap<String, Arc<T>>,
    /// Of a list that is not complete: what was before holds until then.
    coming: HashMap<String, Arc<T>>,
    listed: bool,
}

impl<T> Default for Watched<T> {
    fn default() -> Self {
        Self { now: HashMap::new(), coming: HashMap::new(), listed: false }
    }
}

/// What an event brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    None,
    /// Something came, or went; all that was there and is there is as it was.
    Another,
    /// Something that was there is not what it was.
    Changed,
}

impl<T: PartialEq> Watched<T> {
    fn take<K: ResourceExt>(&mut self, event: Event<K>, of: impl Fn(K) -> T) -> News {
        match event {
            Event::Init => {
                self.coming.clear();
                News::None
            }
            Event::InitApply(object) => {
                self.coming.insert(object.name_any(), Arc::new(of(object)));
                News::None
            }
            Event::InitDone => {
                let before = std::mem::replace(&mut self.now, std::mem::take(&mut self.coming));
                let was_listed = std::mem::replace(&mut self.listed, true);
                let differs = |(name, value)| self.now.get(name).is_some_and(|now| now != value);
                if before.iter().any(differs) {
                    News::Changed
                } else if !was_listed || before != self.now {
                    News::Another
                } else {
                    News::None
                }
            }
            Event::Apply(object) => {
                let (name, value) = (object.name_any(), Arc::new(of(object)));
                match self.now.insert(name, value.clone()) {
                    None => News::Another,
                    Some(before) if before != value => News::Changed,
                    Some(_) => News::None,
                }
            }
            Event::Delete(object) => match self.now.remove(&object.name_any()) {
                Some(_) => News::Another,
                None => News::None,
            },
        }
    }
}

#[derive(Debug, Default)]
struct Known {
    policies: Watched<KvsIngestPolicySpec>,
    namespaces: Watched<BTreeMap<String, String>>,
}

/// What policies say of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Permitted,
    /// Every field that is not, with the policy.
    Refused(String),
    /// The labels of its namespace are not known yet.
    Unknown,
}

/// What the administrator has said.
#[derive(Debug)]
pub(crate) struct Policies {
    known: RwLock<Known>,
    complete: watch::Sender<bool>,
    /// Counts: every object has to be looked at again.
    changes: watch::Sender<u64>,
}

impl Default for Policies {
    fn default() -> Self {
        Self { known: RwLock::default(), complete: watch::Sender::new(false), changes: watch::Sender::new(0) }
    }
}

impl Policies {
    /// There are none here: an operator of a few namespaces may not read what is the cluster's.
    pub(crate) fn are_not_watched(&self) {
        self.complete.send_replace(true);
    }

    /// The API server does not know the kind: then there is none.
    pub(crate) fn do_not_exist(&self) {
        let mut known = self.known.write();
        known.policies.listed = true;
        self.completed(&known);
    }

    pub(crate) fn take_policy(&self, event: Event<KvsIngestPolicy>) {
        let mut known = self.known.write();
        let news = known.policies.take(event, |policy| policy.spec);
        self.completed(&known);
        if news != News::None {
            self.changes.send_modify(|count| *count += 1);
        }
    }

    pub(crate) fn take_namespace(&self, event: Event<NamespaceLite>) {
        let mut known = self.known.write();
        let news = known.namespaces.take(event, |namespace| namespace.metadata.labels.unwrap_or_default());
        self.completed(&known);
        // Who waits for a namespace that is new asks again by himself, and in one that is gone there is nobody: where
        // namespaces come and go all day, nobody else has to be looked at for that.
        if news == News::Changed
            && known.policies.now.values().any(|policy| policy.namespace_selector.is_some())
        {
            self.changes.send_modify(|count| *count += 1);
        }
    }

    fn completed(&self, known: &Known) {
        if known.policies.listed && known.namespaces.listed {
            self.complete.send_if_modified(|complete| !std::mem::replace(complete, true));
        }
    }

    /// Until everything is known that was there: before, nothing may be permitted.
    pub(crate) async fn complete(&self) {
        // The sender is ours.
        let _ = self.complete.subscribe().wait_for(|complete| *complete).await;
    }

    /// Whenever every object has to be looked at again.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// What the policies that apply say. `is_beyond` tells whether so many older objects are in the namespace.
    pub(crate) fn verdict(&self, ingest: &KvsIngest, is_beyond: impl Fn(u32) -> bool) -> Verdict {
        let namespace = ingest.namespace().unwrap_or_default();
        let found = match self.of(&namespace) {
            Ok(found) => found,
            Err(verdict) => return verdict,
        };
        let mut errors = Vec::new();
        for (name, policy) in &found {
            errors.extend(forbidden_by_policy(name, policy, ingest).iter().map(ToString::to_string));
            if let Some(most) = policy.max_objects.filter(|most| is_beyond(*most)) {
                errors.push(format!(
                    "metadata.namespace: KvsIngestPolicy {name} permits the {most} oldest objects of a namespace \
                     (maxObjects), and this is none of them"
                ));
            }
        }
        if errors.is_empty() { Verdict::Permitted } else { Verdict::Refused(errors.join("; ")) }
    }

    /// The fewest objects that a policy permits in this namespace, if one counts them.
    pub(crate) fn max_objects(&self, namespace: &str) -> Option<u32> {
        self.of(namespace).ok()?.iter().filter_map(|(_, policy)| policy.max_objects).min()
    }

    /// The policies that apply there, by name.
    fn of(&self, namespace: &str) -> Result<Vec<(String, Arc<KvsIngestPolicySpec>)>, Verdict> {
        let known = self.known.read();
        let none = BTreeMap::new();
        let labels = known.namespaces.now.get(namespace);
        let mut found = Vec::new();
        for (name, policy) in &known.policies.now {
            if policy.namespace_selector.is_some() && labels.is_none() {
                return Err(Verdict::Unknown);
            }
            let here = Namespace { name: namespace, labels: labels.map_or(&none, |labels| labels) };
            match applies(policy, here) {
                Ok(true) => found.push((name.clone(), policy.clone())),
                Ok(false) => {}
                Err(error) => return Err(Verdict::Refused(format!("KvsIngestPolicy {name}: {error}"))),
            }
        }
        found.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(found)
    }
}
