//! Pods of a Deployment that end, and whether another one is ready: listed now, not cached.

use std::collections::BTreeSet;
use std::net::IpAddr;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};

use super::{address, agent_pods, owner_set};

/// A pod that ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndingPod {
    pub uid: String,
    /// Where its agent is, while it runs.
    pub address: Option<IpAddr>,
    /// It was given less time to end than its spec says: none of it is for waiting.
    pub hurries: bool,
}

/// The pods of a Deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pods {
    pub ending: Vec<EndingPod>,
    /// There is one that is ready, and does not end.
    pub ready: bool,
    /// There is any, ready or not.
    pub any: bool,
}

/// Of the Deployment with this uid. `sets` remembers which ReplicaSets are its own: they may be gone before their pods.
///
/// # Errors
/// What the API server says.
pub async fn pods_that_end(
    client: &Client,
    namespace: &str,
    ingest: &str,
    deployment_uid: &str,
    sets: &mut BTreeSet<String>,
) -> Result<Pods, kube::Error> {
    let api: Api<ReplicaSet> = Api::namespaced(client.clone(), namespace);
    let mut found = Pods::default();
    for pod in agent_pods(client, namespace, ingest).await? {
        found.any = true;
        let ends = pod.metadata.deletion_timestamp.is_some();
        if !ends && !is_ready(&pod) {
            continue;
        }
        let Some(set) = owner_set(&pod) else { continue };
        if !sets.contains(&set.uid) {
            if !super::is_set_of(&api, set, deployment_uid).await? {
                continue;
            }
            sets.insert(set.uid.clone());
        }
        match ends.then(|| ending(&pod)) {
            Some(pod) => found.ending.extend(pod),
            None => found.ready = true,
        }
    }
    Ok(found)
}

fn ending(pod: &Pod) -> Option<EndingPod> {
    let given = pod.metadata.deletion_grace_period_seconds;
    let said = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
    let hurries = given.zip(said).is_some_and(|(given, said)| given < said);
    Some(EndingPod { uid: pod.metadata.uid.clone()?, address: address(pod), hurries })
}

fn is_ready(pod: &Pod) -> bool {
    let mut conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::scripted::server;

    fn pod(uid: &str, set: &str, ready: bool, deleted: Value) -> Value {
        let mut pod = json!({
            "metadata": {"name": uid, "uid": uid, "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": set, "uid": set, "controller": true}]},
            "spec": {"containers": [], "terminationGracePeriodSeconds": 60},
            "status": {"phase": "Running", "podIP": "10.0.0.7",
                "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
        });
        if let Some(seconds) = deleted.as_i64() {
            pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            pod["metadata"]["deletionGracePeriodSeconds"] = json!(seconds);
        }
        pod
    }

    fn set(name: &str, owner: &str) -> Value {
        json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {"name": name, "uid": name,
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "uid": owner, "controller": true}]}})
    }

    #[tokio::test]
    async fn pods_that_end_are_told_from_those_that_are_ready_and_from_strangers() {
        let pods = [
            pod("old", "rs-1", true, json!(60)),
            pod("hurried", "rs-1", false, json!(5)),
            // Labels can be had by anybody's pod.
            pod("stranger", "rs-9", true, json!(60)),
            pod("new", "rs-2", true, Value::Null),
            pod("newer", "rs-2", false, Value::Null),
        ];
        let answers = vec![
            (200, json!({"metadata": {}, "items": pods})),
            (200, set("rs-1", "d-1")),
            (200, set("rs-9", "d-9")),
            (200, set("rs-2", "d-1")),
            // Its ReplicaSet is gone by now.
            (200, json!({"metadata": {}, "items": [pods[0]]})),
        ];
        let server = server(true, answers);
        let mut sets = BTreeSet::new();
        let found = pods_that_end(&server.client, "cameras", "door", "d-1", &mut sets).await.unwrap();
        let address = Some("10.0.0.7".parse().unwrap());
        let ends = |uid: &str, hurries| EndingPod { uid: uid.to_owned(), address, hurries };
        assert_eq!(
            found,
            Pods { ending: vec![ends("old", false), ends("hurried", true)], ready: true, any: true }
        );
        let found = pods_that_end(&server.client, "cameras", "door", "d-1", &mut sets).await.unwrap();
        assert_eq!(found, Pods { ending: vec![ends("old", false)], ready: false, any: true });
    }
}
