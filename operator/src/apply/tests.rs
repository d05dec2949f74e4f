//! Conversations with an API server that answers from a script.

use std::sync::{Arc, Mutex};

use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::*;
use crate::build::{AgentDefaults, ResolvedNames, build};
use crate::context::{Context, Settings};
use crate::metrics::Metrics;

/// Method, path with query, body.
type Seen = Arc<Mutex<Vec<(String, String, Value)>>>;

fn context(leads: bool, answers: Vec<(u16, Value)>) -> (Context, Seen, watch::Sender<bool>) {
    let seen = Seen::default();
    let log = seen.clone();
    let answers = Arc::new(Mutex::new(answers.into_iter()));
    let service = tower::service_fn(move |request: Request<Body>| {
        let (log, answers) = (log.clone(), answers.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let body = serde_json::from_slice(&body).unwrap_or_default();
            log.lock().unwrap().push((parts.method.to_string(), parts.uri.to_string(), body));
            let (status, answer) =
                answers.lock().unwrap().next().expect("a request that is not in the script");
            let response = Response::builder().status(StatusCode::from_u16(status).unwrap());
            Ok::<_, std::convert::Infallible>(
                response.body(Body::from(answer.to_string().into_bytes())).unwrap(),
            )
        }
    });
    let (leading, leadership) = watch::channel(leads);
    let settings = Settings::new("test", "agent:1");
    let (context, _woken) =
        Context::new(Client::new(service, "default"), settings, Arc::new(Metrics::default()), leadership);
    (context, seen, leading)
}

fn stored() -> StoredIngest {
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
    let resolved =
        ResolvedNames { channel_arn: "c".into(), stream_name: "door".into(), stream_arn: "s".into() };
    build(&ingest(), &resolved, &AgentDefaults::new("agent:1"), true).unwrap()
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
async fn a_deployment_is_taken_by_force_only_when_it_is_ours() {
    // The first time without force: one request.
    let (context, seen, _leading) = context(true, vec![deployment("u-1")]);
    let applied = context.apply_deployment(&built(), false, "u-1").await.unwrap();
    assert_eq!(applied.metadata.generation, Some(1));
    let requests = seen.lock().unwrap().clone();
    assert_eq!(requests.len(), 1);
    assert_eq!(
        (requests[0].0.as_str(), requests[0].1.as_str()),
        ("PATCH", &*format!("{PATH}?&fieldManager={MANAGER}"))
    );
    assert_eq!(
        (&requests[0].2["apiVersion"], &requests[0].2["kind"]),
        (&json!("apps/v1"), &json!("Deployment"))
    );

    // Refused, and it is somebody else's.
    let answers = vec![status(409, "Conflict"), deployment("u-2")];
    let (context, seen, _leading) = self::context(true, answers);
    let error = context.apply_deployment(&built(), false, "u-1").await.unwrap_err();
    assert!(matches!(&error, ApplyError::NotOurs(name) if name == "door-agent"), "{error}");
    assert_eq!(seen.lock().unwrap().iter().map(|seen| seen.0.as_str()).collect::<Vec<_>>(), ["PATCH", "GET"]);

    // Refused, and it is ours: a field has another manager.
    let answers = vec![status(409, "Conflict"), deployment("u-1"), deployment("u-1")];
    let (context, seen, _leading) = self::context(true, answers);
    context.apply_deployment(&built(), false, "u-1").await.unwrap();
    assert!(seen.lock().unwrap()[2].1.contains("force=true"));
}

#[tokio::test]
async fn a_status_is_of_exactly_this_object() {
    let (context, seen, _leading) = context(true, vec![(200, serde_json::to_value(ingest()).unwrap())]);
    let status = KvsIngestStatus { observed_generation: Some(3), ..KvsIngestStatus::default() };
    context.apply_status(&stored(), &status).await.unwrap();
    let (method, path, body) = seen.lock().unwrap()[0].clone();
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
    let answer = (200, serde_json::to_value(ingest()).unwrap());
    let (context, seen, _leading) = context(true, vec![answer]);
    context.set_finalizer(&ingest(), false).await.unwrap();
    assert!(seen.lock().unwrap().is_empty(), "it has none");
    context.set_finalizer(&ingest(), true).await.unwrap();
    let body = seen.lock().unwrap()[0].2.clone();
    assert_eq!(
        body["metadata"],
        json!({"uid": "u-1", "resourceVersion": "7", "finalizers": ["other", FINALIZER]})
    );
}

#[tokio::test]
async fn who_does_not_lead_writes_nothing() {
    let (context, seen, leading) = context(false, vec![deployment("u-1")]);
    let error = context.apply_deployment(&built(), true, "u-1").await.unwrap_err();
    assert!(matches!(error, ApplyError::NotLeading(_)), "{error}");
    context.apply_status(&stored(), &KvsIngestStatus::default()).await.unwrap_err();
    context.set_finalizer(&ingest(), true).await.unwrap_err();
    context.tell(&ingest(), true, "Nothing", "is written");
    assert!(seen.lock().unwrap().is_empty());
    leading.send_replace(true);
    context.apply_deployment(&built(), true, "u-1").await.unwrap();
}
