//! What Kubernetes says of the agent: the Deployment from the cache, its pods on demand.

use std::net::IpAddr;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{ListParams, ObjectMeta};
use kube::{Api, Client};
use kvs_ingest_api::annotations;
use serde::Deserialize;

use crate::names;
use crate::report::Verdict;
use crate::stored::prune;

/// A Deployment without its spec: 10,000 of them are held in memory.
#[derive(Clone, Debug, Default, Deserialize, kube::Resource)]
#[resource(inherit = Deployment)]
#[serde(from = "Whole")]
pub struct DeploymentLite {
    /// Its metadata, pruned; the annotations that are read are below.
    pub metadata: ObjectMeta,
    /// What became of it, as far as [`verdict`] reads it.
    pub status: Option<DeploymentStatus>,
    hash: Option<Box<str>>,
    restarted_at: Option<Box<str>>,
}

/// As it comes.
#[derive(Deserialize)]
struct Whole {
    metadata: ObjectMeta,
    #[serde(default)]
    status: Option<DeploymentStatus>,
}

impl From<Whole> for DeploymentLite {
    fn from(Whole { metadata, status }: Whole) -> Self {
        let mut lite = Self { metadata, status, hash: None, restarted_at: None };
        if let Some(mut annotations) = lite.metadata.annotations.take() {
            let mut take = |name: &str| annotations.remove(name).map(String::into_boxed_str);
            (lite.hash, lite.restarted_at) = (take(names::HASH), take(annotations::RESTARTED_AT));
        }
        prune(&mut lite);
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

fn controller(owners: Option<&Vec<OwnerReference>>) -> Option<&OwnerReference> {
    owners?.iter().find(|owner| owner.controller == Some(true))
}

/// What is to be said of a Deployment, and whether its pods have to be looked at to say why.
#[must_use]
pub fn verdict(deployment: &DeploymentLite, run: bool) -> (Verdict, bool) {
    let empty = DeploymentStatus::default();
    let status = deployment.status.as_ref().unwrap_or(&empty);
    let current = status.observed_generation >= deployment.metadata.generation;
    let available = status.available_replicas.unwrap_or(0) > 0;
    if !run {
        let gone = current && status.replicas.unwrap_or(0) == 0;
        let message = "spec.suspend is true: no agent runs";
        return if gone {
            let verdict =
                Verdict { next: crate::report::Next::Settled, ..Verdict::waiting("Suspended", message) };
            (verdict, false)
        } else {
            (Verdict::waiting("Suspending", "the agent brings its last fragment to its end"), false)
        };
    }
    let condition = |kind: &str| status.conditions.iter().flatten().find(|condition| condition.type_ == kind);
    let updated =
        current && status.updated_replicas.unwrap_or(0) > 0 && status.replicas == status.updated_replicas;
    if available && updated {
        return (Verdict::yes("AgentAvailable", "the agent runs"), false);
    }
    if available {
        let stuck = condition("Progressing").filter(|progress| progress.status == "False");
        let verdict = match stuck {
            None => Verdict {
                next: crate::report::Next::Waiting,
                ..Verdict::yes("RollingOut", "the new agent takes over from the old")
            },
            Some(_) => Verdict {
                next: crate::report::Next::Person,
                ..Verdict::yes("RolloutStuck", "the old agent runs; the new one does not become ready")
            },
        };
        return (verdict, false);
    }
    if let Some(failure) = condition("ReplicaFailure").filter(|failure| failure.status == "True") {
        let message = failure.message.clone().unwrap_or_default();
        let reason = if message.contains("exceeded quota") { "QuotaExceeded" } else { "PodNotCreated" };
        return (Verdict::stalled(reason, message), false);
    }
    // Before the Deployment's controller has acted on it there are no pods to ask.
    (Verdict::waiting("AgentStarting", "the agent is being started"), current)
}

/// A pod of our own ReplicaSet.
#[derive(Clone, Debug)]
pub struct AgentPod {
    /// Where its `/status` is, when it runs.
    pub address: Option<IpAddr>,
    /// Why it is not available, if Kubernetes knows.
    pub trouble: Option<Verdict>,
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
            return Ok(Some(look(&pod)));
        }
    }
    Ok(None)
}

fn look(pod: &Pod) -> AgentPod {
    let Some(status) = &pod.status else { return AgentPod { address: None, trouble: None } };
    let phase = status.phase.as_deref().unwrap_or_default();
    let address = (phase == "Running").then(|| status.pod_ip.as_deref()?.parse().ok()).flatten();
    let unschedulable = status.conditions.iter().flatten().find(|condition| {
        condition.type_ == "PodScheduled"
            && condition.status == "False"
            && condition.reason.as_deref() == Some("Unschedulable")
    });
    let statuses = status.container_statuses.iter().flatten();
    let trouble = statuses
        .filter(|container| container.name == names::CONTAINER)
        .find_map(container)
        .or_else(|| {
            (phase == "Failed").then(|| {
                let reason = status.reason.clone().unwrap_or_default();
                Verdict::waiting(
                    "PodFailed",
                    format!("{reason}: {}", status.message.clone().unwrap_or_default()),
                )
            })
        })
        .or_else(|| {
            unschedulable.map(|condition| {
                Verdict::waiting("Unschedulable", condition.message.clone().unwrap_or_default())
            })
        });
    AgentPod { address, trouble }
}

/// Why a container does not run.
fn container(status: &ContainerStatus) -> Option<Verdict> {
    let last = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let state = status.state.as_ref()?;
    if let Some(waiting) = &state.waiting {
        let message = waiting.message.clone().unwrap_or_default();
        return Some(match waiting.reason.as_deref().unwrap_or_default() {
            "ErrImagePull"
            | "ImagePullBackOff"
            | "InvalidImageName"
            | "ErrImageNeverPull"
            | "RegistryUnavailable" => {
                Verdict::stalled("ImagePullBackOff", format!("image {}: {message}", status.image))
            }
            "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
                Verdict::stalled("ContainerConfigError", message)
            }
            "CrashLoopBackOff" => {
                let end = last.map_or_else(String::new, |last| {
                    let reason = last.reason.clone().unwrap_or_default();
                    let said = last.message.clone().unwrap_or_default();
                    format!("ended with exit code {} ({reason}) {said}", last.exit_code)
                });
                if last.is_some_and(|last| last.reason.as_deref() == Some("OOMKilled")) {
                    Verdict::stalled(
                        "OutOfMemory",
                        "the agent needs more memory than spec.resources gives it",
                    )
                } else {
                    Verdict::stalled("CrashLooping", format!("{end}; `kubectl logs` of the pod says more"))
                }
            }
            _ => return None,
        });
    }
    let terminated = state.terminated.as_ref()?;
    (terminated.reason.as_deref() == Some("OOMKilled"))
        .then(|| Verdict::waiting("OutOfMemory", "the agent needs more memory than spec.resources gives it"))
}

#[cfg(test)]
mod tests;
