//! An API server in memory, as far as the operator needs one: `KvsIngest` objects, and Deployments whose pods run at once and
//! take a moment to end.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::chaos::{Chaos, Fate, Side};

/// Until the pods of a deleted Deployment have ended.
const ENDING: Duration = Duration::from_secs(2);
pub(super) const NAMESPACE: &str = "cameras";

#[derive(Default)]
struct Store {
    /// By name.
    ingests: BTreeMap<String, Value>,
    deployments: BTreeMap<String, (Value, Option<Instant>)>,
    count: u64,
}

#[derive(Clone)]
pub(super) struct ApiServer {
    store: Arc<Mutex<Store>>,
    chaos: Chaos,
}

type Answer = (u16, Value);

fn status(code: u16, reason: &str) -> Answer {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
        "message": format!("simulated {reason}")});
    (code, status)
}

impl Store {
    fn version(&mut self) -> String {
        self.count += 1;
        self.count.to_string()
    }

    /// What the garbage collector and the kubelet would do by now.
    fn settle(&mut self) {
        let uids: Vec<_> = self
            .ingests
            .values()
            .map(|ingest| ingest["metadata"]["uid"].as_str().unwrap().to_owned())
            .collect();
        let before = self.deployments.len();
        self.deployments.retain(|_, (deployment, deleted)| {
            let owner = deployment["metadata"]["ownerReferences"][0]["uid"].as_str();
            let owned = owner.is_none_or(|owner| uids.iter().any(|uid| uid == owner));
            owned && deleted.is_none_or(|at| at.elapsed() < ENDING)
        });
        if self.deployments.len() != before {
            self.count += 1;
        }
    }

    fn patch_status(&mut self, name: &str, body: &Value) -> Answer {
        let version = self.version();
        let Some(ingest) = self.ingests.get_mut(name) else { return status(404, "NotFound") };
        if ingest["metadata"]["uid"] != body["metadata"]["uid"] {
            return status(409, "Conflict");
        }
        if ingest["status"] != body["status"] {
            ingest["status"] = body["status"].clone();
            ingest["metadata"]["resourceVersion"] = version.into();
        }
        (200, ingest.clone())
    }

    fn patch_finalizers(&mut self, name: &str, body: &Value) -> Answer {
        let version = self.version();
        let Some(ingest) = self.ingests.get_mut(name) else { return status(404, "NotFound") };
        let metadata = &mut ingest["metadata"];
        if ["uid", "resourceVersion"].iter().any(|field| metadata[*field] != body["metadata"][*field]) {
            return status(409, "Conflict");
        }
        let finalizers = body["metadata"]["finalizers"].clone();
        let more =
            finalizers.as_array().unwrap().len() > metadata["finalizers"].as_array().map_or(0, Vec::len);
        if more && !metadata["deletionTimestamp"].is_null() {
            return status(422, "Invalid");
        }
        metadata["finalizers"] = finalizers;
        metadata["resourceVersion"] = version.into();
        let after = ingest.clone();
        if is_over(&after) {
            self.ingests.remove(name);
        }
        (200, after)
    }

    fn apply_deployment(&mut self, name: &str, body: &Value) -> Answer {
        let version = self.version();
        let (deployment, deleted) = self.deployments.entry(name.to_owned()).or_insert_with(|| {
            let metadata =
                json!({"name": name, "namespace": NAMESPACE, "uid": format!("d-{version}"), "generation": 0});
            (json!({"metadata": metadata}), None)
        });
        if deployment["spec"] != body["spec"] {
            deployment["spec"] = body["spec"].clone();
            let generation = deployment["metadata"]["generation"].as_i64().unwrap() + 1;
            deployment["metadata"]["generation"] = generation.into();
        }
        for field in ["labels", "annotations", "ownerReferences"] {
            deployment["metadata"][field] = body["metadata"][field].clone();
        }
        deployment["metadata"]["resourceVersion"] = version.into();
        let answer = (200, deployment.clone());
        if deleted.is_none() {
            let (generation, replicas) =
                (deployment["metadata"]["generation"].clone(), deployment["spec"]["replicas"].clone());
            deployment["status"] = json!({"observedGeneration": generation, "replicas": replicas,
                "updatedReplicas": replicas, "availableReplicas": replicas});
        }
        answer
    }

    fn scale_deployment(&mut self, name: &str, body: &Value) -> Answer {
        let Some((deployment, _)) = self.deployments.get(name) else { return status(404, "NotFound") };
        let mut scaled = json!({"spec": deployment["spec"], "metadata": deployment["metadata"]});
        scaled["spec"]["replicas"] = body["spec"]["replicas"].clone();
        self.apply_deployment(name, &scaled)
    }

    fn delete_deployment(&mut self, name: &str, body: &Value) -> Answer {
        let Some((deployment, deleted)) = self.deployments.get_mut(name) else {
            return status(404, "NotFound");
        };
        if deployment["metadata"]["uid"] != body["preconditions"]["uid"] {
            return status(409, "Conflict");
        }
        deleted.get_or_insert_with(Instant::now);
        deployment["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        (200, deployment.clone())
    }
}

fn is_over(ingest: &Value) -> bool {
    !ingest["metadata"]["deletionTimestamp"].is_null()
        && ingest["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty)
}

impl ApiServer {
    pub(super) fn new(chaos: Chaos) -> Self {
        Self { store: Arc::default(), chaos }
    }

    pub(super) fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let body = serde_json::from_slice(&body).unwrap_or_default();
                let (code, answer) = server.answer(&parts.method, parts.uri.path(), &body).await;
                let response = Response::builder().status(StatusCode::from_u16(code).unwrap());
                Ok::<_, std::convert::Infallible>(
                    response.body(Body::from(answer.to_string().into_bytes())).unwrap(),
                )
            }
        });
        Client::new(service, NAMESPACE)
    }

    async fn answer(&self, method: &Method, path: &str, body: &Value) -> Answer {
        let parts: Vec<_> = path.trim_start_matches('/').split('/').collect();
        let at = parts.iter().position(|part| *part == NAMESPACE).expect("a request within the namespace");
        let (resource, name, sub) = (parts[at + 1], parts.get(at + 2).copied(), parts.get(at + 3).copied());
        if method == Method::GET {
            if self.chaos.read(Side::ApiServer) == Fate::Refused {
                return status(500, "InternalError");
            }
            let mut store = self.store.lock();
            store.settle();
            let found = match (resource, name) {
                ("kvsingests", Some(name)) => store.ingests.get(name).cloned(),
                ("deployments", Some(name)) => store.deployments.get(name).map(|found| found.0.clone()),
                ("pods", None) => Some(json!({"metadata": {}, "items": []})),
                _ => panic!("GET {path} is not simulated"),
            };
            return found.map_or_else(|| status(404, "NotFound"), |found| (200, found));
        }
        let effect = |store: &mut Store| {
            store.settle();
            match (method.as_str(), resource, name, sub) {
                ("PATCH", "kvsingests", Some(name), Some("status")) => store.patch_status(name, body),
                ("PATCH", "kvsingests", Some(name), None) => store.patch_finalizers(name, body),
                ("PATCH", "deployments", Some(name), None) => store.apply_deployment(name, body),
                ("PATCH", "deployments", Some(name), Some("scale")) => store.scale_deployment(name, body),
                ("DELETE", "deployments", Some(name), None) => store.delete_deployment(name, body),
                _ => panic!("{method} {path} is not simulated"),
            }
        };
        let what = [Some(method.as_str()), Some(resource), name, sub];
        let what = what.into_iter().flatten().collect::<Vec<_>>().join(" ");
        match self.chaos.write(Side::ApiServer, what) {
            Fate::Done => effect(&mut self.store.lock()),
            Fate::Refused => status(500, "InternalError"),
            Fate::AnswerLost => {
                effect(&mut self.store.lock());
                status(500, "InternalError")
            }
            Fate::KilledBefore => pending().await,
            Fate::KilledAfter => {
                effect(&mut self.store.lock());
                pending().await
            }
        }
    }

    /// A person applies an object that is new; its uid.
    pub(super) fn create(&self, name: &str, spec: &Value) -> String {
        let mut store = self.store.lock();
        let version = store.version();
        let uid = format!("u-{version}");
        let created = format!("2026-01-01T00:{:02}:{:02}Z", store.count / 60 % 60, store.count % 60);
        let object = json!({
            "metadata": {"name": name, "namespace": NAMESPACE, "uid": uid, "generation": 1,
                "creationTimestamp": created, "resourceVersion": version},
            "spec": spec,
        });
        store.ingests.insert(name.to_owned(), object);
        uid
    }

    /// A person changes the object, if it is there.
    pub(super) fn edit(&self, name: &str, edit: impl FnOnce(&mut Value)) {
        let mut store = self.store.lock();
        let version = store.version();
        let Some(ingest) = store.ingests.get_mut(name) else { return };
        let before = ingest["spec"].clone();
        edit(ingest);
        if ingest["spec"] != before {
            let generation = ingest["metadata"]["generation"].as_i64().unwrap() + 1;
            ingest["metadata"]["generation"] = generation.into();
        }
        ingest["metadata"]["resourceVersion"] = version.into();
    }

    /// A person deletes the object, if it is there.
    pub(super) fn delete(&self, name: &str) {
        self.edit(name, |ingest| ingest["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"));
        self.store.lock().ingests.retain(|_, ingest| !is_over(ingest));
    }

    /// Somebody takes away whose the Deployment is.
    pub(super) fn orphan_deployment(&self, name: &str) {
        let mut store = self.store.lock();
        let version = store.version();
        if let Some((deployment, _)) = store.deployments.get_mut(name) {
            deployment["metadata"]["ownerReferences"] = json!([]);
            deployment["metadata"]["resourceVersion"] = version.into();
        }
    }

    /// Another one when something has changed.
    pub(super) fn version(&self) -> u64 {
        let mut store = self.store.lock();
        store.settle();
        store.count
    }

    pub(super) fn ingests(&self) -> Vec<Value> {
        self.store.lock().ingests.values().cloned().collect()
    }

    pub(super) fn ingest(&self, name: &str) -> Option<Value> {
        self.store.lock().ingests.get(name).cloned()
    }

    pub(super) fn deployments(&self) -> Vec<Value> {
        let mut store = self.store.lock();
        store.settle();
        store.deployments.values().map(|(deployment, _)| deployment.clone()).collect()
    }
}
