use kvs_ingest_api::KvsIngestStatus;
use serde_json::{Value, json};

use super::*;
use crate::build::{AgentDefaults, ResolvedNames, build};
use crate::scripted::{ScriptedServer, server};

fn applier(server: &ScriptedServer) -> Applier {
    Applier::new(server.client.clone(), "ours".to_owned(), server.leading.subscribe(), Arc::default())
}

fn cached() -> CachedIngest {
    serde_json::from_value(serde_json::to_value(ingest()).unwrap()).unwrap()
}

fn ingest() -> KvsIngest {
    serde_json::from_value(json!({
        "apiVersion": API_VERSION, "kind": KIND,
        "metadata": {"name": "door", "namespace": "cameras", "uid": "u-1", "resourceVersion": "7", "finalizers": ["other"]},
        "spec": {"region": "eu-central-1", "channel": {"name": "door"}, "stream": {"name": "door"}},
    }))
    .unwrap()
}

fn built() -> Built {
    let resolved = ResolvedNames { channel_arn: "c".into(), stream: None };
    build(&ingest(), &resolved, &AgentDefaults::new("default", "agent:1"), true).unwrap()
}

fn status(code: u16, reason: &str) -> (u16, Value) {
    (
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": "x"}),
    )
}

fn deployment(owner: &str) -> (u16, Value) {
    let owners =
        json!([{"apiVersion": "x", "kind": "KvsIngest", "name": "door", "uid": owner, "controller": true}]);
    (
        200,
        json!({"metadata": {"name": "door-agent", "namespace": "cameras", "generation": 1, "ownerReferences": owners}}),
    )
}

const PATH: &str = "/apis/apps/v1/namespaces/cameras/deployments/door-agent";

#[tokio::test]
async fn a_deployment_is_applied_without_force_the_first_time() {
    let server = server(true, vec![deployment("u-1")]);
    let applied = applier(&server).apply_deployment(&built(), false, "u-1").await.unwrap();
    assert_eq!(applied.metadata.generation, Some(1));
    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(
        (requests[0].0.as_str(), requests[0].1.as_str()),
        ("PATCH", &*format!("{PATH}?&fieldManager={MANAGER}"))
    );
    assert_eq!(
        (&requests[0].2["apiVersion"], &requests[0].2["kind"]),
        (&json!("apps/v1"), &json!("Deployment"))
    );
}

#[tokio::test]
async fn a_deployment_of_somebody_else_is_not_taken() {
    let server = server(true, vec![status(409, "Conflict"), deployment("u-2")]);
    let error = applier(&server).apply_deployment(&built(), false, "u-1").await.unwrap_err();
    assert!(matches!(&error, ApplyError::NotOurs(name) if name == "door-agent"), "{error}");
    assert_eq!(
        server.requests().iter().map(|request| request.0.as_str()).collect::<Vec<_>>(),
        ["PATCH", "GET"]
    );
}

#[tokio::test]
async fn a_field_of_our_deployment_is_taken_by_force() {
    let server = server(true, vec![status(409, "Conflict"), deployment("u-1"), deployment("u-1")]);
    applier(&server).apply_deployment(&built(), false, "u-1").await.unwrap();
    assert!(server.requests()[2].1.contains("force=true"));
}

#[tokio::test]
async fn who_else_changes_a_deployment_is_read_from_it() {
    let found: DeploymentLite = serde_json::from_value(deployment("u-1").1).unwrap();
    let entry = |manager: &str, time: &str| json!({"manager": manager, "operation": "Update", "time": time});
    for (annotations, expected) in [
        (json!({APPLIED_BY: "theirs"}), Rival::Release("theirs".to_owned())),
        (json!({APPLIED_BY: "ours"}), Rival::Manager("autoscaler".to_owned())),
        (json!({}), Rival::Manager("autoscaler".to_owned())),
    ] {
        let fields = json!([
            entry(MANAGER, "2026-01-03T00:00:00Z"),
            entry("kubectl", "2026-01-01T00:00:00Z"),
            entry("autoscaler", "2026-01-02T00:00:00Z")
        ]);
        let metadata = json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
            "metadata": {"name": "door-agent", "annotations": annotations, "managedFields": fields}});
        let server = server(true, vec![(200, metadata)]);
        assert_eq!(applier(&server).rival(&found).await.unwrap(), Some(expected));
    }
}

#[tokio::test]
async fn a_status_is_of_exactly_this_object() {
    let server = server(true, vec![(200, serde_json::to_value(ingest()).unwrap())]);
    let status = KvsIngestStatus { observed_generation: Some(3), ..KvsIngestStatus::default() };
    applier(&server).apply_status(&cached(), &status).await.unwrap();
    let (method, path, body) = server.requests()[0].clone();
    assert_eq!(method, "PATCH");
    assert!(
        path.starts_with("/apis/kvs-ingest.dev/v1alpha1/namespaces/cameras/kvsingests/door/status?"),
        "{path}"
    );
    assert_eq!(body["metadata"], json!({"name": "door", "uid": "u-1"}));
    assert_eq!(body["status"], json!({"observedGeneration": 3}));
}

#[tokio::test]
async fn a_finalizer_names_the_version_it_was_decided_on() {
    let server = server(true, vec![(200, serde_json::to_value(ingest()).unwrap())]);
    applier(&server).set_finalizer(&ingest(), false).await.unwrap();
    assert!(server.requests().is_empty(), "it has none");
    applier(&server).set_finalizer(&ingest(), true).await.unwrap();
    let body = server.requests()[0].2.clone();
    assert_eq!(
        body["metadata"],
        json!({"uid": "u-1", "resourceVersion": "7", "finalizers": ["other", FINALIZER]})
    );
}

#[tokio::test]
async fn who_does_not_lead_writes_nothing() {
    let server = server(false, vec![deployment("u-1")]);
    let applier = applier(&server);
    let error = applier.apply_deployment(&built(), true, "u-1").await.unwrap_err();
    assert!(matches!(error, ApplyError::NotLeading(_)), "{error}");
    applier.apply_status(&cached(), &KvsIngestStatus::default()).await.unwrap_err();
    applier.set_finalizer(&ingest(), true).await.unwrap_err();
    assert!(server.requests().is_empty());
    server.leading.send_replace(true);
    applier.apply_deployment(&built(), true, "u-1").await.unwrap();
}
