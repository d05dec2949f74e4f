//! What Argo CD's health check (`deploy/argocd/health.lua`) is tested with: status documents as the operator writes them,
//! each with the health that it means. `KVS_INGEST_BLESS=1` writes the file anew; `cargo xtask test policies` runs the check.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::Path;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kvs_ingest_api::{AgentStatus, KvsIngestStatus, Mode, Phase, ResolvedChannel, ResolvedStream};
use kvs_ingest_operator::conditions::{ConditionUpdate, Next};
use kvs_ingest_operator::reason::Reason;
use kvs_ingest_operator::report::{AgentView, Observed, report};
use serde_json::{Value, json};

/// Everything is found and the agent runs; nobody asked it yet.
fn good(generation: i64) -> Observed {
    let arn = |kind: &str| format!("arn:aws:kinesisvideo:eu-central-1:111122223333:{kind}/front-door/1");
    Observed {
        generation: Some(generation),
        paused: false,
        invalid: None,
        not_permitted: None,
        failed: None,
        channel: Some(ResolvedChannel {
            name: "front-door".into(),
            arn: Some(arn("channel")),
            created: false,
        }),
        channel_condition: Some(ConditionUpdate::met(Reason::Found, arn("channel"))),
        stream: Some(ResolvedStream {
            name: "front-door".into(),
            arn: Some(arn("stream")),
            retention_hours: Some(24),
            created: true,
        }),
        stream_condition: Some(ConditionUpdate::met(
            Reason::Created,
            format!("the operator created {}", arn("stream")),
        )),
        mode: Mode::Agent,
        media_storage: None,
        recording: None,
        outputs: Vec::new(),
        suspended: false,
        workload: Some(ConditionUpdate::met(Reason::AgentAvailable, "the agent runs")),
        agent: AgentView::NotAsked,
        image: Some("agent:1".into()),
        deployment_generation: Some(1),
        reconcile_requested_at: None,
    }
}

fn says(phase: Phase, reason: &str, message: &str) -> AgentView {
    let (reason, message) = (reason.into(), message.into());
    AgentView::Status(Box::new(AgentStatus { phase, reason, message, ..AgentStatus::default() }))
}

/// The status after these observations, one after the other.
fn after(observed: impl IntoIterator<Item = Observed>) -> Option<KvsIngestStatus> {
    let now = Time("2026-01-01T00:00:00Z".parse().unwrap());
    observed.into_iter().fold(None, |before, observed| Some(report(before.as_ref(), observed, &now)))
}

fn case(what: &str, generation: i64, observed: Vec<Observed>, health: &str, message: &str) -> Value {
    let mut object = json!({
        "apiVersion": "kvs-ingest.dev/v1alpha1",
        "kind": "KvsIngest",
        "metadata": {"name": "front-door", "namespace": "cameras", "generation": generation},
    });
    if let Some(status) = after(observed) {
        object["status"] = serde_json::to_value(status).unwrap();
    }
    json!({"what": what, "health": health, "message": message, "object": object})
}

fn cases() -> Vec<Value> {
    let streaming =
        || Observed { agent: says(Phase::Streaming, "Streaming", "H.264 1280x720, AAC"), ..good(1) };
    let workload = |verdict| Observed { workload: Some(verdict), ..good(1) };
    let channel =
        |verdict| Observed { channel: None, channel_condition: Some(verdict), workload: None, ..good(1) };
    let suspended = |verdict| Observed { suspended: true, workload: Some(verdict), ..good(2) };
    let suspending =
        ConditionUpdate::waiting(Reason::Suspending, "the agent brings its last fragment to its end");
    let gone = || {
        ConditionUpdate::waiting(Reason::Suspended, "spec.suspend is true: no agent runs")
            .with_next(Next::Settled)
    };
    let paused = |generation| Observed { paused: true, ..good(generation) };
    vec![
        case("just created", 1, vec![], "Progressing", "Waiting for the operator"),
        case(
            "the agent starts",
            1,
            vec![workload(ConditionUpdate::waiting(Reason::AgentStarting, "the agent is being started"))],
            "Progressing",
            "AgentStarting: the agent is being started",
        ),
        case(
            "the agent runs, and nobody asked it yet",
            1,
            vec![good(1)],
            "Healthy",
            "AgentAvailable: the agent runs",
        ),
        case(
            "a camera that is off",
            1,
            vec![Observed {
                agent: says(Phase::WaitingForMaster, "WaitingForMaster", "no master"),
                ..good(1)
            }],
            "Healthy",
            "WaitingForMaster: no master",
        ),
        case("streaming", 1, vec![streaming()], "Healthy", "Streaming: H.264 1280x720, AAC"),
        case(
            "the agent cannot be asked",
            1,
            vec![Observed { agent: AgentView::Silent("no answer within 2 s".into()), ..good(1) }],
            "Healthy",
            "AgentAvailable: the agent runs",
        ),
        case(
            "a new spec",
            2,
            vec![streaming()],
            "Progressing",
            "Waiting for the operator to look at generation 2",
        ),
        case(
            "a rollout",
            1,
            vec![
                streaming(),
                workload(
                    ConditionUpdate::met(Reason::RollingOut, "the new agent takes over from the old")
                        .with_next(Next::Waiting),
                ),
            ],
            "Progressing",
            "RollingOut: the new agent takes over from the old",
        ),
        case(
            "a rollout that does not end",
            1,
            vec![
                streaming(),
                workload(
                    ConditionUpdate::met(
                        Reason::RolloutStuck,
                        "the old agent runs; the new one does not become ready",
                    )
                    .with_next(Next::Person),
                ),
            ],
            "Degraded",
            "RolloutStuck: the old agent runs; the new one does not become ready",
        ),
        case(
            "AWS throttles",
            1,
            vec![channel(ConditionUpdate::unknown(
                Reason::Throttled,
                "AWS throttles DescribeSignalingChannel",
            ))],
            "Progressing",
            "ChannelThrottled: AWS throttles DescribeSignalingChannel",
        ),
        case(
            "no such channel",
            1,
            vec![channel(ConditionUpdate::stalled(
                Reason::NotFound,
                "c does not exist in eu-central-1: create it",
            ))],
            "Degraded",
            "ChannelNotFound: c does not exist in eu-central-1: create it",
        ),
        case(
            "another's stream",
            1,
            vec![Observed {
                stream_condition: Some(ConditionUpdate::stalled(
                    Reason::StreamInUse,
                    "stream s is of the older KvsIngest a/b",
                )),
                workload: None,
                ..good(1)
            }],
            "Degraded",
            "StreamInUse: stream s is of the older KvsIngest a/b",
        ),
        case(
            "no such image",
            1,
            vec![workload(ConditionUpdate::stalled(Reason::ImagePullBackOff, "image agent:9: not found"))],
            "Degraded",
            "ImagePullBackOff: image agent:9: not found",
        ),
        case(
            "the agent says what is wrong",
            1,
            vec![Observed {
                workload: Some(ConditionUpdate::waiting(Reason::AgentStarting, "0 of 1 ready")),
                agent: says(Phase::Failed, "MediaStorageEnabled", "disable it"),
                ..good(1)
            }],
            "Degraded",
            "MediaStorageEnabled: disable it",
        ),
        case(
            "a rule is broken",
            1,
            vec![Observed {
                invalid: Some("spec.stream: exactly one of name and arn must be set".into()),
                channel: None,
                channel_condition: None,
                stream: None,
                stream_condition: None,
                workload: None,
                ..good(1)
            }],
            "Degraded",
            "InvalidSpec: spec.stream: exactly one of name and arn must be set",
        ),
        case(
            "suspending",
            2,
            vec![streaming(), suspended(suspending)],
            "Progressing",
            "Suspending: the agent brings its last fragment",
        ),
        case(
            "suspended",
            2,
            vec![streaming(), suspended(gone())],
            "Suspended",
            "Suspended: spec.suspend is true",
        ),
        case("resumed", 3, vec![streaming(), suspended(gone()), good(3)], "Healthy", "AgentAvailable"),
        case(
            "paused",
            1,
            vec![streaming(), paused(1)],
            "Suspended",
            "PausedByAnnotation: kvs-ingest.dev/paused is set",
        ),
        case("paused, and changed since", 2, vec![streaming(), paused(2)], "Suspended", "PausedByAnnotation"),
        case("paused before anything was done", 1, vec![paused(1)], "Suspended", "PausedByAnnotation"),
    ]
}

#[test]
fn the_cases_are_what_the_operator_writes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/argocd.json");
    let found = serde_json::to_string_pretty(&cases()).unwrap() + "\n";
    if std::env::var_os("KVS_INGEST_BLESS").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    assert_eq!(found, expected, "argocd.json: KVS_INGEST_BLESS=1 writes it anew");
}
