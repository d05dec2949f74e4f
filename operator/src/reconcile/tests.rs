//! Whole reconciles against an API server that answers from a script. The status says what AWS has, so AWS is not asked.

use kube::runtime::reflector::store;
use kube::runtime::watcher::Event;
use kvs_ingest_api::{KvsIngestStatus, ResolvedChannel, ResolvedStream, StreamConfig, condition};
use parking_lot::RwLock;
use serde_json::{Value, json};

use super::*;
use crate::build::{AgentDefaults, ResolvedNames};
use crate::conditions::find;
use crate::context::Settings;
use crate::names;
use crate::office::take_office;
use crate::relieve::relieve;
use crate::report::AgentView;
use crate::scripted::{ScriptedServer, server};
use crate::tenancy::Places;

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

/// The same, and the agent has said before that media flows: it is asked again some time later.
fn streaming() -> KvsIngestStatus {
    let mut status = resolved(Some(4));
    let media = status.conditions.iter_mut().find(|found| found.type_ == condition::MEDIA_FLOWING).unwrap();
    (media.status, media.reason) = ("True".to_owned(), "Streaming".to_owned());
    status
}

fn deployment(owner: &str) -> Value {
    let ingest = serde_json::from_value(ingest(json!({}), &resolved(None))).unwrap();
    let stream = StreamConfig { name: "door".into(), arn: "arn:s".into() };
    let names = ResolvedNames { channel_arn: "arn:c".into(), stream: Some(stream) };
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
    let (context, object) = operator(server, object, deployment);
    reconcile(&object, &context).await.unwrap()
}

/// An operator that leads, and whose caches hold this.
fn operator(server: &ScriptedServer, object: Value, deployment: Option<Value>) -> (Context, CachedIngest) {
    let settings = Settings::new("test", "agent:1");
    let (context, _woken) =
        Context::new(server.client.clone(), settings, Arc::default(), server.leading.subscribe());
    let object: CachedIngest = serde_json::from_value(object).unwrap();
    hold(&context, &object, deployment);
    take_office(&context);
    (context, object)
}

/// The caches show this now.
fn hold(context: &Context, object: &CachedIngest, deployment: Option<Value>) {
    let (objects, mut writer) = store();
    let mut places = Places::default();
    for event in [Event::Init, Event::InitApply(object.clone()), Event::InitDone] {
        writer.apply_watcher_event(&event);
        places.take(&event);
    }
    let places = Arc::new(RwLock::new(places));
    let (deployments, mut writer) = store();
    if let Some(deployment) = deployment {
        writer.apply_watcher_event(&Event::Apply(serde_json::from_value(deployment).unwrap()));
    }
    let caches = Caches { objects, deployments, deployment_filter: Arc::default(), places };
    context.caches.lock().insert(None, caches);
}

/// As the API server refuses.
fn refused(code: u16, message: &str) -> (u16, Value) {
    let reason = match code {
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        422 => "Invalid",
        500 => "InternalError",
        _ => "ServiceUnavailable",
    };
    (
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message}),
    )
}

/// Methods and paths, without queries.
fn asked(server: &ScriptedServer) -> Vec<String> {
    let requests = server.requests().into_iter();
    requests.map(|(method, path, _)| format!("{method} {}", path.split('?').next().unwrap())).collect()
}

const STATUS: &str = "PATCH /apis/kvs-ingest.dev/v1alpha1/namespaces/cameras/kvsingests/door/status";
const SCALE: &str = "PATCH /apis/apps/v1/namespaces/cameras/deployments/door-agent/scale";
const DELETE: &str = "DELETE /apis/apps/v1/namespaces/cameras/deployments/door-agent";
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

/// The rule came after the object: what ran goes on, and is told; what is new is refused.
#[tokio::test]
async fn a_memory_limit_that_is_too_small_is_told_and_refused_of_what_never_ran() {
    let little = |status: &KvsIngestStatus| {
        let mut object = ingest(json!({}), status);
        object["spec"]["resources"] = json!({"limits": {"memory": "128Mi"}});
        object
    };
    let applied = json!({"metadata": {"name": "door-agent", "generation": 2}});
    for (status, there) in [
        (resolved(Some(1)), Some(deployment("u-1"))),
        (resolved(None), Some(deployment("u-1"))),
        (resolved(Some(1)), None),
    ] {
        let server = server(true, vec![(200, applied.clone()), (200, json!({}))]);
        reconciled(&server, little(&status), there).await;
        assert_eq!(asked(&server), [DEPLOYMENT, STATUS]);
        let status = written(&server, 1);
        let agent = find(&status, condition::AGENT_AVAILABLE).unwrap();
        assert_eq!(agent.reason, "AgentStarting");
        assert!(agent.message.contains("spec.resources.limits.memory: 128Mi"), "{}", agent.message);
    }
    let server = server(true, vec![(200, json!({}))]);
    reconciled(&server, little(&resolved(None)), None).await;
    assert_eq!(asked(&server), [STATUS]);
    assert_eq!(reason(&written(&server, 0), condition::READY), "InvalidSpec");
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

#[tokio::test]
async fn a_refused_deployment_is_told_in_the_words_of_the_api_server() {
    for (code, words, remedy) in [
        (422, "spec.template.labels: Invalid value: \"a b\"", "spec.pod.labels"),
        (422, "spec.template.spec.containers[0].resources.requests: Invalid value", "spec.resources"),
        (422, "spec.template.spec.tolerations[0].effect: Unsupported value", "spec.pod.tolerations"),
        (403, "exceeded quota: few, requested: count/deployments.apps=1", "ResourceQuota"),
        (403, "ValidatingAdmissionPolicy 'images' with binding 'all' denied request: not ours", ""),
        // Codes that a webhook chose, or that the API server uses for one that does not answer.
        (409, "admission webhook \"x.example\" denied the request: not now", ""),
        (500, "Internal error occurred: failed calling webhook \"x.example\": connection refused", ""),
    ] {
        let mut answers = vec![refused(code, words), (200, json!({}))];
        if matches!(code, 409 | 422) {
            // There might have been one of somebody else: that is looked at.
            answers.insert(1, refused(404, "not found"));
        }
        let server = server(true, answers);
        let next = reconciled(&server, ingest(json!({}), &resolved(None)), None).await;
        assert_eq!(asked(&server).last().unwrap(), STATUS, "{words}");
        let status = written(&server, server.requests().len() - 1);
        let ready = find(&status, condition::READY).unwrap();
        assert_eq!((&*ready.status, &*ready.reason), ("False", "DeploymentRefused"), "{words}");
        assert!(ready.message.contains(words) && ready.message.contains(remedy), "{}", ready.message);
        assert_eq!(reason(&status, condition::AGENT_AVAILABLE), "DeploymentRefused");
        assert_eq!(reason(&status, condition::STALLED), "DeploymentRefused");
        assert_eq!(reason(&status, condition::MEDIA_FLOWING), "AgentUnavailable");
        assert_eq!(status.channel.unwrap().arn.unwrap(), "arn:c", "what is known is written all the same");
        assert_ne!(next, Action::await_change(), "it is tried again");
    }
}

/// The agent that was there before goes on, and what is said of its media still holds.
#[tokio::test]
async fn a_refused_change_is_told_and_the_agent_before_goes_on() {
    let server = server(true, vec![refused(422, "no"), (200, json!({}))]);
    let mut changed = deployment("u-1");
    changed["metadata"]["annotations"][names::HASH] = json!("of the release before");
    reconciled(&server, ingest(json!({}), &streaming()), Some(changed)).await;
    assert_eq!(asked(&server), [DEPLOYMENT, STATUS]);
    let status = written(&server, 1);
    assert_eq!(reason(&status, condition::READY), "DeploymentRefused");
    assert!(find(&status, condition::READY).unwrap().message.contains("goes on"));
    assert_eq!(reason(&status, condition::MEDIA_FLOWING), "Streaming");
    assert_eq!(status.deployment_generation, Some(4));
}

#[tokio::test]
async fn an_error_that_passes_is_not_told_and_one_that_lasts_is() {
    let away = || refused(503, "the server is currently unable to handle the request");
    let server = server(true, vec![away(), away(), (200, json!({}))]);
    let (context, object) = operator(&server, ingest(json!({}), &streaming()), None);
    reconcile(&object, &context).await.unwrap_err();
    assert_eq!(asked(&server), [DEPLOYMENT], "an API server in trouble is left alone");
    for _ in 0..LASTS {
        context.backoff.next("u-1", Some(1), 0.5);
    }
    reconcile(&object, &context).await.unwrap_err();
    assert_eq!(asked(&server), [DEPLOYMENT, DEPLOYMENT, STATUS]);
    let status = written(&server, 2);
    let ready = find(&status, condition::READY).unwrap();
    assert_eq!((&*ready.status, &*ready.reason), ("Unknown", "DeploymentNotApplied"));
    assert!(ready.message.contains("unable to handle the request"), "{}", ready.message);
    assert_eq!(reason(&status, condition::RECONCILING), "DeploymentNotApplied");
}

#[tokio::test]
async fn a_bug_is_told_in_the_status() {
    let server = server(true, vec![(200, json!({}))]);
    let (context, object) = operator(&server, ingest(json!({}), &streaming()), None);
    tell_panic(&object, &context, "index out of bounds").await;
    let status = written(&server, 0);
    let ready = find(&status, condition::READY).unwrap();
    assert_eq!((&*ready.status, &*ready.reason), ("Unknown", "ReconcileFailed"));
    assert!(ready.message.contains("index out of bounds"), "{}", ready.message);
    // Of the rest nothing is new.
    assert_eq!(reason(&status, condition::CHANNEL_RESOLVED), "Found");
    assert_eq!(reason(&status, condition::MEDIA_FLOWING), "Streaming");
}

/// A camera that should be off is off, whatever else is wrong.
#[tokio::test]
async fn suspend_stops_the_agent_whatever_else_is_refused() {
    let scaled = || (200, json!({"metadata": {"name": "door-agent"}, "spec": {"replicas": 0}}));
    let suspended = |more: Value| {
        let mut object = ingest(json!({}), &streaming());
        object["spec"]["suspend"] = json!(true);
        object["spec"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        object
    };
    let invalid = || json!({"channel": {}});
    let taken = || refused(422, "no");
    for (spec, answers, expected, told) in [
        (
            json!({}),
            vec![scaled(), taken(), (200, json!({}))],
            vec![SCALE, DEPLOYMENT, STATUS],
            "DeploymentRefused",
        ),
        (invalid(), vec![scaled(), (200, json!({}))], vec![SCALE, STATUS], "InvalidSpec"),
        // Not even that is allowed: then it goes.
        (
            invalid(),
            vec![taken(), (200, deployment("u-1")), (200, json!({}))],
            vec![SCALE, DELETE, STATUS],
            "InvalidSpec",
        ),
    ] {
        let server = server(true, answers);
        reconciled(&server, suspended(spec), Some(deployment("u-1"))).await;
        assert_eq!(asked(&server), expected);
        let status = written(&server, expected.len() - 1);
        assert_eq!(reason(&status, condition::READY), told);
        assert_eq!(reason(&status, condition::MEDIA_FLOWING), "Suspended");
        let (_, _, body) = server.requests().remove(0);
        assert_eq!(body, json!({"metadata": {"uid": "d-1"}, "spec": {"replicas": 0}}), "replicas alone");
    }
}

/// A newer operator's object: that much of it is read.
#[tokio::test]
async fn suspend_stops_the_agent_of_an_object_that_cannot_be_read() {
    for (annotations, expected) in
        [(json!({}), vec![SCALE, STATUS]), (json!({"kvs-ingest.dev/paused": "true"}), vec![STATUS])]
    {
        let scaled = (200, json!({"metadata": {"name": "door-agent"}, "spec": {"replicas": 0}}));
        let mut answers = vec![scaled, (200, json!({}))];
        let server = server(true, answers.split_off(2 - expected.len()));
        let mut object = ingest(annotations, &streaming());
        object["spec"]["suspend"] = json!(true);
        object["spec"]["region"] = json!(7);
        reconciled(&server, object, Some(deployment("u-1"))).await;
        assert_eq!(asked(&server), expected);
    }
}

const RIVAL: &str = "GET /apis/apps/v1/namespaces/cameras/deployments/door-agent";

/// What the API server answers to a request for its scale, and for who changed it.
fn fight(request: &str) -> (u16, Value) {
    match request {
        SCALE => (200, json!({"metadata": {"name": "door-agent"}, "spec": {"replicas": 0}})),
        RIVAL => {
            (200, json!({"metadata": {"name": "door-agent", "managedFields": [{"manager": "autoscaler"}]}}))
        }
        _ => (200, json!({})),
    }
}

/// Somebody starts the agent of a suspended object again and again: that is said, also of one about which nothing else is done.
#[tokio::test]
async fn who_starts_again_what_is_stopped_is_named() {
    for (spec, expected) in [
        (json!({"channel": {}}), vec![SCALE, STATUS, SCALE, SCALE, SCALE, RIVAL, STATUS]),
        // Its status is taken from the cache, which does not show what was written.
        (
            json!({"region": 7}),
            vec![SCALE, STATUS, SCALE, STATUS, SCALE, STATUS, SCALE, STATUS, RIVAL, STATUS],
        ),
    ] {
        let server = server(true, expected.iter().map(|request| fight(request)).collect());
        let mut object = ingest(json!({}), &streaming());
        object["spec"]["suspend"] = json!(true);
        object["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let (context, object) = operator(&server, object, None);
        let mut next = Action::await_change();
        for generation in 5..10 {
            let mut started = deployment("u-1");
            started["metadata"]["generation"] = json!(generation);
            hold(&context, &object, Some(started));
            next = reconcile(&object, &context).await.unwrap();
        }
        assert_eq!(asked(&server), expected);
        let status = written(&server, expected.len() - 1);
        let agent = find(&status, condition::AGENT_AVAILABLE).unwrap();
        assert_eq!((&*agent.status, &*agent.reason), ("False", "DeploymentContested"), "{agent:?}");
        assert!(agent.message.contains("autoscaler"), "{}", agent.message);
        assert_ne!(next, Action::await_change(), "it is stopped again some time later");
    }
}

#[tokio::test]
async fn who_starts_again_what_is_stopped_is_not_answered_each_time() {
    let answers = [SCALE, SCALE, SCALE, SCALE, RIVAL].into_iter().chain([SCALE; 30]).map(fight);
    let server = server(true, answers.collect());
    let (context, cached) = operator(&server, ingest(json!({}), &streaming()), None);
    let (ingest, start) = (cached.read().unwrap(), Instant::now());
    let mut at_once = 0;
    // Each second, for half an hour.
    for second in 0..1800 {
        let mut started = deployment("u-1");
        started["metadata"]["generation"] = json!(5 + second);
        hold(&context, &cached, Some(started));
        let caches = context.caches("cameras").unwrap();
        let now = start + Duration::from_secs(second);
        let object = Object::new(&context, &caches, &cached, &ingest, now);
        let contest = stop(&object, Tick { now, random: 1.0 }).await.unwrap();
        at_once += usize::from(contest.is_none());
    }
    let stopped = asked(&server).iter().filter(|request| *request == SCALE).count();
    assert_eq!(at_once, 4, "a person is answered at once");
    assert!((8..20).contains(&stopped), "{stopped} times in half an hour");
}

#[tokio::test]
async fn only_an_agent_of_this_object_that_is_to_run_is_stopped() {
    for (annotations, owner, replicas) in
        [(json!({"kvs-ingest.dev/paused": "true"}), "u-1", 1), (json!({}), "u-2", 1), (json!({}), "u-1", 0)]
    {
        let server = server(true, vec![(200, json!({}))]);
        let mut object = ingest(annotations, &streaming());
        object["spec"]["suspend"] = json!(true);
        object["spec"]["channel"] = json!({});
        let mut found = deployment(owner);
        found["spec"] = json!({"replicas": replicas});
        reconciled(&server, object, Some(found)).await;
        assert_eq!(asked(&server), [STATUS], "{owner} {replicas}");
    }
}

/// Nobody is asked, either: only when the agent or AWS are due.
#[tokio::test]
async fn an_object_in_sync_costs_no_request() {
    let server = server(true, vec![]);
    let next = reconciled(&server, ingest(json!({}), &streaming()), Some(deployment("u-1"))).await;
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

/// One that is due and cannot be done is no reason to come back at once, again and again.
#[tokio::test]
async fn a_look_at_aws_that_is_due_and_not_had_does_not_make_haste() {
    let unanswered = || Converged {
        unanswered: true,
        ..Observed {
            channel_condition: Some(ConditionUpdate::met(Reason::Found, "arn:c")),
            stream_condition: Some(ConditionUpdate::met(Reason::Found, "arn:s")),
            ..Observed::unobserved(Some(1))
        }
        .into()
    };
    let not_permitted =
        || Observed { not_permitted: Some("not here".into()), ..Observed::unobserved(Some(1)) }.into();
    for converged in [&unanswered as &dyn Fn() -> Converged, &not_permitted] {
        let server = server(true, vec![(200, json!({})), (200, json!({}))]);
        let (context, cached) = operator(&server, ingest(json!({}), &streaming()), None);
        let (caches, ingest) = (context.caches("cameras").unwrap(), cached.read().unwrap());
        let mut waits = Vec::new();
        for _ in 0..6 {
            let Tick { now, random } = tick(&context);
            let object = Object::new(&context, &caches, &cached, &ingest, now);
            object.state.lock().resync.doubt(now, random);
            waits.push(finish(&object, converged()).await.unwrap().unwrap());
        }
        assert!(waits[0] > SOONEST && waits[5] > Duration::from_secs(10), "{waits:?}");
    }
}

/// `door`, which is being deleted.
fn deleted(policy: &str) -> Value {
    let mut object = ingest(json!({}), &streaming());
    object["spec"]["deletionPolicy"] = json!(policy);
    object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    object["metadata"]["finalizers"] = json!([names::FINALIZER]);
    object
}

const OBJECT: &str = "PATCH /apis/kvs-ingest.dev/v1alpha1/namespaces/cameras/kvsingests/door";

#[tokio::test]
async fn a_deletion_that_the_api_server_refuses_says_so() {
    let words = "admission webhook \"x.example\" denied the request: not now";
    for (policy, request, remedy) in [("Delete", DELETE, true), ("Retain", OBJECT, false)] {
        let server = server(true, vec![refused(403, words), (200, json!({}))]);
        let next = reconciled(&server, deleted(policy), Some(deployment("u-1"))).await;
        assert_eq!(asked(&server), [request, STATUS]);
        let status = written(&server, 1);
        let ready = find(&status, condition::READY).unwrap();
        assert_eq!((&*ready.status, &*ready.reason), ("False", "DeletionBlocked"));
        assert!(ready.message.contains(words), "{}", ready.message);
        assert_eq!(ready.message.contains("spec.deletionPolicy: Retain"), remedy, "{}", ready.message);
        assert_eq!(reason(&status, condition::STALLED), "DeletionBlocked");
        assert_ne!(next, Action::await_change(), "it is tried again");
    }
}

#[tokio::test]
async fn a_deletion_that_fails_for_a_while_says_so_in_the_end() {
    let away = || refused(503, "the server is currently unable to handle the request");
    let server = server(true, vec![away(), away(), (200, json!({}))]);
    let (context, object) = operator(&server, deleted("Delete"), Some(deployment("u-1")));
    reconcile(&object, &context).await.unwrap_err();
    assert_eq!(asked(&server), [DELETE]);
    for _ in 0..LASTS {
        context.backoff.next("u-1", Some(1), 0.5);
    }
    reconcile(&object, &context).await.unwrap_err();
    assert_eq!(asked(&server), [DELETE, DELETE, STATUS]);
    assert_eq!(reason(&written(&server, 2), condition::READY), "Deleting");
}

/// An operator that permits names of the namespace alone, and the object is not named so.
fn forbidding(server: &ScriptedServer, object: Value, deployment: Option<Value>) -> (Context, CachedIngest) {
    let (mut context, object) = operator(server, object, deployment);
    context.settings.tenancy.names = vec!["theirs-*".parse().unwrap()];
    (context, object)
}

#[tokio::test]
async fn what_is_not_permitted_keeps_its_stream_until_its_agent_is_gone() {
    let claimed = |context: &Context| context.owners.other_users("arn:s", "another").len();
    // Its agent is ended first.
    let answers = vec![(200, deployment("u-1")), (200, json!({}))];
    let server = crate::scripted::server(true, answers);
    let (context, object) = forbidding(&server, ingest(json!({}), &streaming()), Some(deployment("u-1")));
    reconcile(&object, &context).await.unwrap();
    assert_eq!(asked(&server), [DELETE, STATUS]);
    let agent = |status: &KvsIngestStatus| find(status, condition::AGENT_AVAILABLE).unwrap().message.clone();
    assert!(agent(&written(&server, 1)).ends_with("ends"), "{}", agent(&written(&server, 1)));
    assert_eq!(claimed(&context), 1, "it still writes");
    // That is refused, and told in the end.
    let words = "admission webhook \"x.example\" denied the request: not now";
    let server = crate::scripted::server(true, vec![refused(403, words), (200, json!({}))]);
    let (context, object) = forbidding(&server, ingest(json!({}), &streaming()), Some(deployment("u-1")));
    for _ in 0..LASTS {
        context.backoff.next("u-1", Some(1), 0.5);
    }
    reconcile(&object, &context).await.unwrap_err();
    assert_eq!(asked(&server), [DELETE, STATUS]);
    assert!(agent(&written(&server, 1)).contains(words), "{}", agent(&written(&server, 1)));
    assert_eq!(claimed(&context), 1, "it still writes");
    // And when it is gone.
    let server = crate::scripted::server(true, vec![(200, json!({}))]);
    let (context, object) = forbidding(&server, ingest(json!({}), &streaming()), None);
    assert_eq!(claimed(&context), 1);
    reconcile(&object, &context).await.unwrap();
    assert_eq!(asked(&server), [STATUS]);
    assert!(agent(&written(&server, 0)).starts_with("no agent runs"));
    assert_eq!(claimed(&context), 0);
}

/// Nor is it a way around policies to be of another kind, as far as it can be read.
#[tokio::test]
async fn what_cannot_be_read_and_is_not_permitted_has_no_agent() {
    let server = server(true, vec![(200, deployment("u-1")), (200, json!({}))]);
    let mut object = ingest(json!({"kvs-ingest.dev/paused": "true"}), &streaming());
    object["spec"]["media"] = json!("of another kind");
    let (context, object) = forbidding(&server, object, Some(deployment("u-1")));
    let next = reconcile(&object, &context).await.unwrap();
    assert_eq!(asked(&server), [DELETE, STATUS]);
    let status = written(&server, 1);
    for kind in [condition::READY, condition::AGENT_AVAILABLE] {
        let found = find(&status, kind).unwrap();
        assert_eq!((&*found.status, &*found.reason), ("False", "NotPermitted"), "{kind}");
    }
    let message = &find(&status, condition::READY).unwrap().message;
    assert!(message.contains("spec.channel") && message.contains("cannot be read"), "{message}");
    assert!(find(&status, condition::MEDIA_FLOWING).is_none());
    assert_ne!(next, Action::await_change());
}

/// A finalizer of its author's holds it, for ever, or the annotation does.
#[tokio::test]
async fn what_is_not_permitted_and_held_in_its_deletion_has_no_agent() {
    let (paused, plain) = (json!({"kvs-ingest.dev/paused": "true"}), json!({}));
    for (annotations, policy, finalizer, permitted, expected) in [
        (&plain, "Retain", "example.com/mine", true, vec![]),
        (&plain, "Retain", "example.com/mine", false, vec![DELETE]),
        (&paused, "Retain", "example.com/mine", false, vec![DELETE]),
        (&paused, "Delete", names::FINALIZER, true, vec![STATUS]),
        (&paused, "Delete", names::FINALIZER, false, vec![DELETE, STATUS]),
        (&plain, "Delete", names::FINALIZER, false, vec![DELETE, STATUS]),
    ] {
        let answer = |request: &&str| if *request == DELETE { deployment("u-1") } else { json!({}) };
        let server = server(true, expected.iter().map(|request| (200, answer(request))).collect());
        let mut object = deleted(policy);
        object["metadata"]["annotations"] = annotations.clone();
        object["metadata"]["finalizers"] = json!([finalizer]);
        let agent = Some(deployment("u-1"));
        let (context, object) =
            if permitted { operator(&server, object, agent) } else { forbidding(&server, object, agent) };
        reconcile(&object, &context).await.unwrap();
        assert_eq!(asked(&server), expected, "{annotations} {policy} {permitted}");
    }
}

/// It was made while the policy was `Retain`, and is to be deleted with the object now.
#[tokio::test]
async fn what_was_made_holds_an_object_that_is_not_resolved() {
    for (annotations, permitted, expected) in [
        (json!({}), true, vec![OBJECT, STATUS]),
        (json!({}), false, vec![OBJECT, STATUS]),
        (json!({"kvs-ingest.dev/paused": "true"}), false, vec![STATUS]),
    ] {
        let mut status = resolved(None);
        status.stream.as_mut().unwrap().created = true;
        let mut object = ingest(annotations, &status);
        object["spec"]["deletionPolicy"] = json!("Delete");
        if permitted {
            object["spec"]["channel"] = json!({});
        }
        let server = server(true, vec![(200, json!({})); expected.len()]);
        let (context, object) =
            if permitted { operator(&server, object, None) } else { forbidding(&server, object, None) };
        reconcile(&object, &context).await.unwrap();
        assert_eq!(asked(&server), expected, "{permitted}");
        if expected.len() == 2 {
            assert_eq!(server.requests()[0].2["metadata"]["finalizers"], json!([names::FINALIZER]));
        }
    }
}

/// Why a pod does not start is in the namespace's events, which are listed only so often.
#[tokio::test(start_paused = true)]
async fn what_was_found_of_a_pod_holds_until_its_events_may_be_listed_again() {
    let owner = |kind: &str, uid: &str| json!([{"apiVersion": "apps/v1", "kind": kind, "name": "x", "uid": uid, "controller": true}]);
    let pod = json!({"metadata": {"name": "p", "uid": "p-1", "ownerReferences": owner("ReplicaSet", "r-1")},
        "spec": {"containers": [], "nodeName": "node-1"}, "status": {"phase": "Pending"}});
    let set = json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
        "metadata": {"name": "x", "uid": "r-1", "ownerReferences": owner("Deployment", "d-1")}});
    let server = server(true, vec![(200, json!({"metadata": {}, "items": [pod]})), (200, set)]);
    let observed = Observed {
        channel: resolved(None).channel,
        channel_condition: Some(ConditionUpdate::met(Reason::Found, "arn:c")),
        stream: resolved(None).stream,
        stream_condition: Some(ConditionUpdate::met(Reason::Found, "arn:s")),
        workload: Some(ConditionUpdate::stalled(Reason::ContainerConfigError, "no such Secret")),
        deployment_generation: Some(4),
        image: Some("agent:1".to_owned()),
        ..Observed::unobserved(Some(1))
    };
    let status = report(None, observed, &wall_clock());
    let mut starting = deployment("u-1");
    starting["status"]["availableReplicas"] = json!(0);
    let (context, object) = operator(&server, ingest(json!({}), &status), Some(starting));
    *context.event_looks.lock() = crate::pace::Bucket::new(0.001, 0.0, Instant::now());
    reconcile(&object, &context).await.unwrap();
    assert_eq!(asked(&server), Vec::<String>::new(), "the status says why");
    tokio::time::advance(Duration::from_secs(20)).await;
    reconcile(&object, &context).await.unwrap();
    let requests = asked(&server);
    assert_eq!(requests.len(), 2, "its pod and the ReplicaSet of that, and no status: {requests:?}");
}

/// An agent of this address that was told to end, and hears of it at the second attempt: how often it was told to finish.
async fn ending_agent(address: &str) -> Arc<std::sync::atomic::AtomicUsize> {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let told = Arc::new(AtomicUsize::new(0));
    let listener = tokio::net::TcpListener::bind((address, names::PORT)).await.unwrap();
    let count = told.clone();
    let finish = move || {
        let before = count.fetch_add(1, Ordering::SeqCst);
        std::future::ready(if before == 0 {
            http::StatusCode::CONFLICT
        } else {
            http::StatusCode::NO_CONTENT
        })
    };
    let router = axum::Router::new().route("/finish", axum::routing::post(finish));
    tokio::spawn(async move { axum::serve(listener, router).await });
    told
}

#[tokio::test]
async fn an_evicted_agent_hears_when_its_successor_is_ready() {
    let told = ending_agent("127.0.3.21").await;
    let pod = |name: &str, ready: &str, deleted: Value| {
        let mut pod = json!({
            "metadata": {"name": name, "uid": name, "ownerReferences":
                [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs", "uid": "rs", "controller": true}]},
            "status": {"phase": "Running", "podIP": "127.0.3.21", "conditions": [{"type": "Ready", "status": ready}]},
        });
        pod["metadata"]["deletionTimestamp"] = deleted;
        pod
    };
    let old = pod("old", "True", json!("2026-01-01T00:00:00Z"));
    let pods = |more: Value| (200, json!({"metadata": {}, "items": [old.clone(), more]}));
    let set = json!({"metadata": {"name": "rs", "uid": "rs", "ownerReferences":
        [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "door-agent", "uid": "d-1", "controller": true}]}});
    let (starts, ready) = (pod("new", "False", Value::Null), pod("new", "True", Value::Null));
    let server =
        server(true, vec![pods(starts), (200, set), pods(ready.clone()), pods(ready.clone()), pods(ready)]);
    let runs = deployment("u-1");
    let (context, cached) = operator(&server, ingest(json!({}), &streaming()), Some(runs.clone()));
    let look = async |deployment: &Value| {
        hold(&context, &cached, Some(deployment.clone()));
        let (caches, ingest) = (context.caches("cameras").unwrap(), cached.read().unwrap());
        let now = tick(&context);
        let object = Object::new(&context, &caches, &cached, &ingest, now.now);
        let next = relieve(&object, now).await.map(|next| next.saturating_duration_since(now.now).as_secs());
        (next, told.load(std::sync::atomic::Ordering::SeqCst), server.requests().len())
    };
    assert_eq!(look(&runs).await, (None, 0, 0), "all is well");
    let mut evicted = runs.clone();
    evicted["status"]["availableReplicas"] = json!(0);
    assert_eq!(look(&evicted).await, (Some(5), 0, 2), "its successor starts");
    assert_eq!(look(&runs).await, (Some(1), 1, 3), "it has not had the signal yet");
    let mut changed = runs.clone();
    changed["status"]["replicas"] = json!(2);
    assert_eq!(look(&changed).await, (None, 2, 4), "it is told");
    assert_eq!(look(&runs).await, (None, 2, 5), "and not again");
    assert_eq!(look(&runs).await, (None, 2, 5), "nothing is new");
}

/// One that is stopped has nobody to wait for, and is told as soon as its pod is marked.
#[tokio::test]
async fn a_suspended_agent_need_not_wait() {
    let told = ending_agent("127.0.3.22").await;
    told.store(1, std::sync::atomic::Ordering::SeqCst);
    let pod = json!({
        "metadata": {"name": "old", "uid": "old", "deletionTimestamp": "2026-01-01T00:00:00Z", "ownerReferences":
            [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs", "uid": "rs", "controller": true}]},
        "status": {"phase": "Running", "podIP": "127.0.3.22"},
    });
    let set = json!({"metadata": {"name": "rs", "uid": "rs", "ownerReferences":
        [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "door-agent", "uid": "d-1", "controller": true}]}});
    let mut unmarked = pod.clone();
    unmarked["metadata"]["deletionTimestamp"] = Value::Null;
    let nobody = (200, json!({"metadata": {}, "items": [unmarked]}));
    let server = server(true, vec![nobody, (200, json!({"metadata": {}, "items": [pod]})), (200, set)]);
    let runs = deployment("u-1");
    let (context, cached) = operator(&server, ingest(json!({}), &streaming()), Some(runs.clone()));
    let (caches, ingest) = (context.caches("cameras").unwrap(), cached.read().unwrap());
    let now = tick(&context);
    assert_eq!(relieve(&Object::new(&context, &caches, &cached, &ingest, now.now), now).await, None);
    let mut suspended = runs;
    suspended["spec"] = json!({"replicas": 0});
    hold(&context, &cached, Some(suspended));
    let caches = context.caches("cameras").unwrap();
    let object = Object::new(&context, &caches, &cached, &ingest, now.now);
    let next = relieve(&object, now).await.expect("no pod is marked yet");
    relieve(&object, Tick { now: next, ..now }).await;
    assert_eq!(told.load(std::sync::atomic::Ordering::SeqCst), 2);
}
