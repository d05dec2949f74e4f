//! What Kubernetes says of the agent: the Deployment from the cache, its pods on demand.

mod pod_events;

use std::net::IpAddr;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{ListParams, ObjectMeta};
use kube::{Api, Client};
use kvs_ingest_api::annotations;
use serde::Deserialize;

pub use self::pod_events::stuck;
use crate::cached::prune;
use crate::conditions::{ConditionUpdate, Next};
use crate::names;
use crate::reason::Reason;

/// A Deployment without its spec: 10,000 of them are held in memory.
#[derive(Clone, Debug, Default, Deserialize, kube::Resource)]
#[resource(inherit = Deployment)]
#[serde(from = "Received")]
pub struct DeploymentLite {
    /// Its metadata, pruned; the annotations that are read are below.
    pub metadata: ObjectMeta,
    /// What became of it, as far as [`availability`] reads it.
    pub status: Option<DeploymentStatus>,
    /// `spec.replicas`
    replicas: Option<i32>,
    hash: Option<Box<str>>,
    restarted_at: Option<Box<str>>,
}

/// A Deployment as the API server sends it, with hardly anything of its spec.
#[derive(Deserialize)]
struct Received {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: ReceivedSpec,
    #[serde(default)]
    status: Option<DeploymentStatus>,
}

#[derive(Default, Deserialize)]
struct ReceivedSpec {
    replicas: Option<i32>,
}

impl From<Received> for DeploymentLite {
    fn from(Received { metadata, spec: ReceivedSpec { replicas }, status }: Received) -> Self {
        let mut lite = Self { metadata, status, replicas, hash: None, restarted_at: None };
        if let Some(mut annotations) = lite.metadata.annotations.take() {
            let mut take = |name: &str| annotations.remove(name).map(String::into_boxed_str);
            (lite.hash, lite.restarted_at) = (take(names::HASH), take(annotations::RESTARTED_AT));
        }
        prune(&mut lite);
        // Whose it is, is its owner's uid; of what kind is known.
        for owner in lite.metadata.owner_references.iter_mut().flatten() {
            (owner.api_version, owner.kind, owner.name) = (String::new(), String::new(), String::new());
        }
        if let Some(status) = &mut lite.status {
            status.conditions = status.conditions.take().and_then(|mut conditions| {
                conditions.retain(|found| match found.type_.as_str() {
                    "Progressing" => found.status == "False",
                    "ReplicaFailure" => found.status == "True",
                    _ => false,
                });
                (!conditions.is_empty()).then_some(conditions)
            });
        }
        lite
    }
}

impl DeploymentLite {
    /// It asks for an agent, as far as is known.
    #[must_use]
    pub fn is_to_run(&self) -> bool {
        self.replicas != Some(0)
    }

    /// The hash of what was last applied.
    #[must_use]
    pub fn hash(&self) -> Option<&str> {
        self.hash.as_deref()
    }

    /// The object's annotation of that name when it was applied.
    #[must_use]
    pub fn restarted_at(&self) -> Option<&str> {
        self.restarted_at.as_deref()
    }

    /// Does it belong to the object with this uid?
    #[must_use]
    pub fn belongs_to(&self, uid: &str) -> bool {
        controller(self.metadata.owner_references.as_ref()).is_some_and(|owner| owner.uid == uid)
    }
}

impl DeploymentLite {
    /// It was made by this operator for an object of its name, and belongs to nobody: somebody has taken its owner away.
    #[must_use]
    pub fn is_orphan(&self) -> bool {
        controller(self.metadata.owner_references.as_ref()).is_none() && self.hash.is_some()
    }

    /// Does it belong to the object with this uid, or is to?
    #[must_use]
    pub fn is_of(&self, uid: &str) -> bool {
        self.belongs_to(uid) || self.is_orphan()
    }
}

fn controller(owners: Option<&Vec<OwnerReference>>) -> Option<&OwnerReference> {
    owners?.iter().find(|owner| owner.controller == Some(true))
}

/// What a Deployment says of its agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Availability {
    pub condition: ConditionUpdate,
    /// No agent is available, and only its pods can say why.
    pub unexplained: bool,
}

impl From<ConditionUpdate> for Availability {
    fn from(condition: ConditionUpdate) -> Self {
        Self { condition, unexplained: false }
    }
}

/// Is an agent available, where one is to `run`; is none left, where none is?
#[must_use]
pub fn availability(deployment: &DeploymentLite, run: bool) -> Availability {
    let empty = DeploymentStatus::default();
    let status = deployment.status.as_ref().unwrap_or(&empty);
    let current = status.observed_generation >= deployment.metadata.generation;
    let available = status.available_replicas.unwrap_or(0) > 0;
    if !run {
        let ended = current && status.replicas.unwrap_or(0) == 0;
        return if ended {
            ConditionUpdate::waiting(Reason::Suspended, "spec.suspend is true: no agent runs")
                .with_next(Next::Settled)
                .into()
        } else {
            ConditionUpdate::waiting(Reason::Suspending, "the agent brings its last fragment to its end")
                .into()
        };
    }
    let condition = |kind: &str| status.conditions.iter().flatten().find(|condition| condition.type_ == kind);
    let updated =
        current && status.updated_replicas.unwrap_or(0) > 0 && status.replicas == status.updated_replicas;
    if available && updated {
        return ConditionUpdate::met(Reason::AgentAvailable, "the agent runs").into();
    }
    if available {
        let stuck = condition("Progressing").filter(|progress| progress.status == "False");
        return match stuck {
            None => ConditionUpdate::met(Reason::RollingOut, "the new agent takes over from the old")
                .with_next(Next::Waiting)
                .into(),
            Some(_) => ConditionUpdate::met(
                Reason::RolloutStuck,
                "the old agent runs; the new one does not become ready",
            )
            .with_next(Next::Person)
            .into(),
        };
    }
    if let Some(failure) = condition("ReplicaFailure").filter(|failure| failure.status == "True") {
        let message = failure.message.clone().unwrap_or_default();
        let reason =
            if message.contains("exceeded quota") { Reason::QuotaExceeded } else { Reason::PodNotCreated };
        return ConditionUpdate::stalled(reason, message).into();
    }
    // Before the Deployment's controller has acted on it there are no pods to ask.
    Availability {
        condition: ConditionUpdate::waiting(Reason::AgentStarting, "the agent is being started"),
        unexplained: current,
    }
}

/// A pod of our own ReplicaSet.
#[derive(Clone, Debug)]
pub struct AgentPod {
    /// Where its `/status` is, when it runs.
    pub address: Option<IpAddr>,
    /// Why it is not available, if the pod itself says.
    pub problem: Option<ConditionUpdate>,
    /// Its uid, while it has a node and no container yet: what keeps it is told in events alone.
    pub preparing: Option<String>,
}

/// The newest pod of the Deployment: listed now, not cached.
///
/// # Errors
/// What the API server says.
pub async fn newest_pod(
    client: &Client,
    namespace: &str,
    ingest: &str,
    deployment_uid: &str,
) -> Result<Option<AgentPod>, kube::Error> {
    let selector = names::selector(ingest).into_iter().map(|(key, value)| format!("{key}={value}"));
    let selector = selector.collect::<Vec<_>>().join(",");
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let mut pods = pods.list(&ListParams::default().labels(&selector).limit(20)).await?.items;
    pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
    pods.sort_by_key(|pod| std::cmp::Reverse(pod.metadata.creation_timestamp.clone()));
    let sets: Api<ReplicaSet> = Api::namespaced(client.clone(), namespace);
    for pod in pods {
        // Labels can be had by anybody's pod; it is asked only when its ReplicaSet is our Deployment's.
        let Some(owner) =
            controller(pod.metadata.owner_references.as_ref()).filter(|owner| owner.kind == "ReplicaSet")
        else {
            continue;
        };
        let Some(set) = sets.get_metadata_opt(&owner.name).await? else { continue };
        let ours = set.metadata.uid.as_deref() == Some(owner.uid.as_str())
            && controller(set.metadata.owner_references.as_ref())
                .is_some_and(|owner| owner.uid == deployment_uid);
        if ours {
            return Ok(Some(inspect(&pod)));
        }
    }
    Ok(None)
}

fn inspect(pod: &Pod) -> AgentPod {
    let Some(status) = &pod.status else {
        return AgentPod { address: None, problem: None, preparing: None };
    };
    let phase = status.phase.as_deref().unwrap_or_default();
    let address = (phase == "Running").then(|| status.pod_ip.as_deref()?.parse().ok()).flatten();
    let unschedulable = status.conditions.iter().flatten().find(|condition| {
        condition.type_ == "PodScheduled"
            && condition.status == "False"
            && condition.reason.as_deref() == Some("Unschedulable")
    });
    let statuses = status.container_statuses.iter().flatten();
    let problem = statuses
        .filter(|container| container.name == names::CONTAINER)
        .find_map(container_problem)
        .or_else(|| {
            (phase == "Failed").then(|| {
                let reason = status.reason.clone().unwrap_or_default();
                ConditionUpdate::waiting(
                    Reason::PodFailed,
                    format!("{reason}: {}", status.message.clone().unwrap_or_default()),
                )
            })
        })
        .or_else(|| {
            unschedulable.map(|condition| {
                ConditionUpdate::waiting(Reason::Unschedulable, condition.message.clone().unwrap_or_default())
            })
        });
    let scheduled = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
    let started = status.container_statuses.iter().flatten().any(|container| {
        let state = container.state.as_ref();
        state.is_some_and(|state| state.running.is_some() || state.terminated.is_some())
    });
    let preparing = phase == "Pending" && scheduled && !started && problem.is_none();
    AgentPod { address, problem, preparing: pod.metadata.uid.clone().filter(|_| preparing) }
}

/// Why a container does not run.
fn container_problem(status: &ContainerStatus) -> Option<ConditionUpdate> {
    let last = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let state = status.state.as_ref()?;
    if let Some(waiting) = &state.waiting {
        let message = waiting.message.clone().unwrap_or_default();
        return Some(match waiting.reason.as_deref().unwrap_or_default() {
            "ErrImagePull"
            | "ImagePullBackOff"
            | "InvalidImageName"
            | "ErrImageNeverPull"
            | "RegistryUnavailable" => ConditionUpdate::stalled(
                Reason::ImagePullBackOff,
                format!("image {}: {}", status.image, pull_error(&message)),
            ),
            "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
                ConditionUpdate::stalled(Reason::ContainerConfigError, message)
            }
            "CrashLoopBackOff" => {
                let end = last.map_or_else(String::new, |last| {
                    let reason = last.reason.clone().unwrap_or_default();
                    let said = last.message.clone().unwrap_or_default();
                    format!("ended with exit code {} ({reason}) {said}", last.exit_code)
                });
                if last.is_some_and(|last| last.reason.as_deref() == Some("OOMKilled")) {
                    ConditionUpdate::stalled(
                        Reason::OutOfMemory,
                        "the agent needs more memory than spec.resources gives it",
                    )
                } else {
                    ConditionUpdate::stalled(
                        Reason::CrashLooping,
                        format!("{end}; `kubectl logs` of the pod says more"),
                    )
                }
            }
            _ => return None,
        });
    }
    let terminated = state.terminated.as_ref()?;
    (terminated.reason.as_deref() == Some("OOMKilled")).then(|| {
        ConditionUpdate::waiting(
            Reason::OutOfMemory,
            "the agent needs more memory than spec.resources gives it",
        )
    })
}

/// While the kubelet waits to pull again it says that in front of why. (Before Kubernetes 1.32 it says nothing else then.)
fn pull_error(message: &str) -> &str {
    let cause =
        message.strip_prefix("Back-off pulling image ").and_then(|rest| rest.split_once(": ErrImagePull: "));
    match cause {
        Some((_, cause)) => cause,
        None if message.starts_with("Back-off pulling image ") => "it cannot be pulled",
        None => message,
    }
}

#[cfg(test)]
mod tests;
