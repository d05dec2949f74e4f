//! Whole reconciles against an API server that answers from a script. The status says what AWS has, so AWS is not asked.

use kube::runtime::reflector::store;
use kube::runtime::watcher::Event;
use kvs_ingest_api::{KvsIngestStatus, ResolvedChannel, ResolvedStream, condition};
use serde_json::{Value, json};

use super::*;
use crate::build::{AgentDefaults, ResolvedNames};
use crate::conditions::find;
use crate::context::Settings;
use crate::names;
use crate::report::AgentView;
use crate::scripted::{ScriptedServer, server};

/// The object `door`, generation 1, with this spec beside its names, and its status.
fn ingest(annotations: Value, status: &KvsIngestStatus) -> Value {
    json!({
        "metadata": {"name": "door", "namespace": "cameras", "uid": "u-1", "generation": 1, "annotations": annotations},
        "spec": {"region": "eu-central-1", "channel": {"name": "door"}, "stream": {"name": "door"}},
        "status": status,
    })
}

/// The status of an object that was resolved, and whose Deployment has this generation.
fn resolved(deployment_generation: Option<i64>) -> KvsIngestStatus {
    let observed = Observed {
        channel: Some(ResolvedChannel { name: "door".into(), arn: Some("arn:c".into()), created: false }),
        channel_condition: Some(ConditionUpdate::met(Reason::Found, "arn:c")),
        stream: Some(ResolvedStream {
            name: "door".into(),
            arn: Some("arn:s".into()),
            ..ResolvedStream::default()
        }),
        stream_condition: Some(ConditionUpdate::met(Reason::Found, "arn:s")),
        workload: Some(ConditionUpdate::met(Reason::AgentAvailable, "the agent runs")),
        agent: AgentView::Silent("no answer".to_owned()),
        deployment_generation,
        image: deployment_generation.map(|_| "agent:1".to_owned()),
        ..Observed::unobserved(Some(1))
    };
    report(None, observed, &wall_clock())
}

fn deployment(owner: &str) -> Value {
    let ingest = serde_json::from_value(ingest(json!({}), &resolved(None))).unwrap();
    let names =
        ResolvedNames { channel_arn: "arn:c".into(), stream_name: "door".into(), stream_arn: "arn:s".into() };
    let built = build(&ingest, &names, &AgentDefaults::new("default", "agent:1"), true).unwrap();
    json!({
        "metadata": {"name": "door-agent", "namespace": "cameras", "uid": "d-1", "generation": 4,
            "annotations": {names::HASH: built.hash},
            "ownerReferences": [{"apiVersion": "x", "kind": "KvsIngest", "name": "door", "uid": owner, "controller": true}]},
        "status": {"observedGeneration": 4, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1},
    })
}

/// One reconcile of an object with what the caches hold, by an operator that leads.
async fn reconciled(server: &ScriptedServer, object: Value, deployment: Option<Value>) -> Action {
    let settings = Settings::new("test", "agent:1");
    let (context, _woken) =
        Context::new(server.client.clone(), settings, Arc::default(), server.leading.subscribe());
    let (objects, mut writer) = store();
    let object: CachedIngest = serde_json::from_value(object).unwrap();
    writer.apply_watcher_event(&Event::Apply(object.clone()));
    let (deployments, mut writer) = store();
    if let Some(deployment) = deployment {
        writer.apply_watcher_event(&Event::Apply(serde_json::from_value(deployment).unwrap()));
    }
    let caches = Caches { objects, deployments, deployment_filter: Arc::default() };
    context.caches.lock().insert(None, caches);
    context.ready.send_replace(true);
    reconcile(&object, &context).await.unwrap()
}

/// Methods and paths, without queries.
fn asked(server: &ScriptedServer) -> Vec<String> {
    let requests = server.requests().into_iter();
    requests.map(|(method, path, _)| format!("{method} {}", path.split('?').next().unwrap())).collect()
}

const STATUS: &str = "PATCH /apis/kvs-ingest.dev/v1alpha1/namespaces/cameras/kvsingests/door/status";
const DEPLOYMENT: &str = "PATCH /apis/apps/v1/namespaces/cameras/deployments/door-agent";

/// The status that was written by the request of this number.
fn written(server: &ScriptedServer, number: usize) -> KvsIngestStatus {
    serde_json::from_value(server.requests()[number].2["status"].clone()).unwrap()
}

fn reason(status: &KvsIngestStatus, kind: &str) -> String {
    find(status, kind).unwrap().reason.clone()
}

#[tokio::test]
async fn what_is_resolved_and_not_there_is_applied_and_reported() {
    let applied = json!({"metadata": {"name": "door-agent", "generation": 1}});
    let server = server(true, vec![(200, applied), (200, json!({}))]);
    reconciled(&server, ingest(json!({}), &resolved(None)), None).await;
    assert_eq!(asked(&server), [DEPLOYMENT, STATUS]);
    let status = written(&server, 1);
    assert_eq!(reason(&status, condition::READY), "AgentStarting");
    assert_eq!((status.deployment_generation, status.image.as_deref()), (Some(1), Some("agent:1")));
}

#[tokio::test]
async fn a_deployment_of_somebody_else_is_a_conflict() {
    let server = server(true, vec![(200, json!({}))]);
    reconciled(&server, ingest(json!({}), &resolved(None)), Some(deployment("u-2"))).await;
    assert_eq!(asked(&server), [STATUS]);
    assert_eq!(reason(&written(&server, 0), condition::READY), "DeploymentConflict");
}

#[tokio::test]
async fn a_paused_object_gets_a_status_and_nothing_else() {
    let server = server(true, vec![(200, json!({}))]);
    let paused = json!({"kvs-ingest.dev/paused": "true"});
    let next = reconciled(&server, ingest(paused, &resolved(Some(3))), Some(deployment("u-1"))).await;
    assert_eq!(asked(&server), [STATUS], "the drift of its Deployment is left alone");
    assert_eq!(reason(&written(&server, 0), condition::PAUSED), "PausedByAnnotation");
    assert_eq!(next, Action::await_change());
}

#[tokio::test]
async fn an_object_that_cannot_be_read_says_so_and_waits_for_a_change() {
    let server = server(true, vec![(200, json!({}))]);
    let mut object = ingest(json!({}), &resolved(None));
    object["spec"]["region"] = json!(7);
    let next = reconciled(&server, object, None).await;
    assert_eq!(asked(&server), [STATUS]);
    let ready = find(&written(&server, 0), condition::READY).unwrap().clone();
    assert_eq!(ready.reason, "InvalidSpec");
    assert!(ready.message.contains("cannot be read by this operator"), "{}", ready.message);
    assert_eq!(next, Action::await_change());
}

/// Nobody is asked, either: only when the agent or AWS are due.
#[tokio::test]
async fn an_object_in_sync_costs_no_request() {
    let server = server(true, vec![]);
    let mut status = resolved(Some(4));
    // The agent has said so before: it is asked again some time later.
    let media = status.conditions.iter_mut().find(|found| found.type_ == condition::MEDIA_FLOWING).unwrap();
    (media.status, media.reason) = ("True".to_owned(), "Streaming".to_owned());
    let next = reconciled(&server, ingest(json!({}), &status), Some(deployment("u-1"))).await;
    assert_eq!(asked(&server), Vec::<String>::new());
    assert_ne!(next, Action::await_change());
}

fn outlook(channel: ConditionUpdate, stream: ConditionUpdate) -> Outlook {
    Outlook::of(&Observed {
        channel_condition: Some(channel),
        stream_condition: Some(stream),
        ..Observed::unobserved(Some(1))
    })
}

#[test]
fn what_follows_from_what_was_observed() {
    let found = || ConditionUpdate::met(Reason::Found, "arn");
    let creating = || ConditionUpdate::waiting(Reason::Creating, "soon");
    let throttled = || ConditionUpdate::unknown(Reason::Throttled, "wait");
    let missing = || ConditionUpdate::stalled(Reason::NotFound, "create it");
    for (channel, stream, retry, needs_a_person) in [
        (found(), found(), Retry::No, false),
        (creating(), found(), Retry::Soon, false),
        (throttled(), found(), Retry::BackOff, false),
        (found(), missing(), Retry::BackOff, true),
        // What is being created is looked at soon, whatever else there is.
        (creating(), missing(), Retry::Soon, true),
    ] {
        let case = format!("{} {}", channel.reason, stream.reason);
        assert_eq!(outlook(channel, stream), Outlook { retry, needs_a_person }, "{case}");
    }
}

#[test]
fn an_invalid_spec_and_a_paused_object_wait_for_a_change() {
    let invalid = Observed { invalid: Some("spec.x".into()), ..Observed::unobserved(Some(1)) };
    assert_eq!(Outlook::of(&invalid), Outlook { retry: Retry::Never, needs_a_person: true });
    let paused = Observed { paused: true, ..Observed::unobserved(Some(1)) };
    assert_eq!(Outlook::of(&paused), Outlook { retry: Retry::Never, needs_a_person: false });
}
