//! The operator on a real API server, under the rights that are shipped.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_kinesisvideo::types::{MediaStorageConfiguration, MediaStorageConfigurationStatus};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kvs::{ChannelId, ChannelInfo, ControlPlane, MediaStorage, NewStream, StreamId, StreamInfo, Tags};
use kvs_aws::{AwsContext, ErrorClass};
use kvs_ingest_tests::http::post_json;
use kvs_ingest_tests::kubernetes::{REGION, World, condition, merge, says};
use kvs_ingest_tests::master::channel::Access;
use kvs_ingest_tests::master::{Master, Settings};
use kvs_ingest_tests::otlp::{Collector, Span};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

const DEADLINE: Duration = Duration::from_secs(45);

async fn context(world: &World) -> AwsContext {
    AwsContext::builder()
        .region(REGION)
        .static_credentials("AKIDTEST", "secret", None)
        .endpoint_url(world.local.url())
        .build()
        .await
        .unwrap()
}

async fn aws(world: &World) -> ControlPlane {
    ControlPlane::new(&context(world).await)
}

/// A channel of this name, made if there is none.
async fn channel(control: &ControlPlane, name: &str) -> ChannelInfo {
    let id = ChannelId::Name(name.parse().unwrap());
    control.find_or_create_channel(&id, Some(&Tags::new())).await.unwrap().info
}

/// A stream of this name, made if there is none.
async fn stream(control: &ControlPlane, name: &str, new: &NewStream) -> StreamInfo {
    let id = StreamId::Name(name.parse().unwrap());
    control.find_or_create_stream(&id, Some(new)).await.unwrap().info
}

/// Waits until the operator has had nothing to do for a while, then says how often it has written so far.
async fn writes(world: &World) -> usize {
    let count = || {
        let requests = world.cluster.requests(&world.namespace).unwrap();
        requests.iter().filter(|(verb, ..)| !matches!(verb.as_str(), "get" | "list" | "watch")).count()
    };
    let (mut last, mut since) = (count(), Instant::now());
    // Longer than the longest time between two looks at an agent.
    while since.elapsed() < Duration::from_secs(5) {
        sleep(Duration::from_millis(250)).await;
        if count() != last {
            (last, since) = (count(), Instant::now());
        }
    }
    last
}

/// The object `door` with a Deployment that has one replica.
async fn door(world: &World) -> Value {
    world.create(world.manifest("door", json!({"logLevel": "debug"}))).await.unwrap();
    world
        .until(&world.deployments(), "door-agent", "a Deployment", |found| found["status"]["replicas"] == 1)
        .await
        .unwrap()
}

/// As [`door`], with a pod that runs. Nobody listens there: the agent is available, and what it does unknown.
async fn running_door(world: &World) -> Value {
    door(world).await;
    world.pod_runs("door", "127.0.0.77").await.unwrap();
    world.says("door", "MediaFlowing", "Unknown", "AgentSilent").await.unwrap()
}

fn annotation(key: &str, value: Value) -> Value {
    json!({"metadata": {"annotations": {key: value}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_becomes_a_deployment_and_a_status() {
    let world = World::new("life").await.unwrap();
    let operator = world.operator("one", &[]).await.unwrap();
    let deployment = door(&world).await;
    // The pod was admitted by a namespace that enforces the restricted policy.
    let owner = &deployment["metadata"]["ownerReferences"][0];
    assert_eq!((owner["kind"].as_str(), owner["controller"].as_bool()), (Some("KvsIngest"), Some(true)));
    world.pod_runs("door", "127.0.0.77").await.unwrap();
    let found = world.says("door", "MediaFlowing", "Unknown", "AgentSilent").await.unwrap();
    assert!(says(&found, "Ready", "True", "AgentAvailable"), "{found:#}");
    assert!(condition(&found, "Stalled").is_none() && condition(&found, "Reconciling").is_none());
    assert_eq!(found["status"]["observedGeneration"], 1);
    let arn = found["status"]["channel"]["arn"].as_str().unwrap();
    let tags = aws(&world).await.channel_tags(&arn.parse().unwrap()).await.unwrap();
    assert_eq!(tags["kvs-ingest.dev/ingest"], format!("{}/door", world.namespace));
    world
        .cluster
        .kubectl(&["wait", "-n", &world.namespace, "--for=condition=Ready", "kvsi/door"])
        .await
        .unwrap();
    operator.stop().await.unwrap();
    world.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_does_not_run_says_why() {
    let world = World::new("pods").await.unwrap();
    let _operator = world.operator("one", &[]).await.unwrap();
    door(&world).await;
    world.says("door", "Ready", "False", "Unschedulable").await.unwrap();
    world
        .pod_status(
            "door",
            json!({"phase": "Pending", "conditions": [], "containerStatuses": [{"name": "agent", "image": "test.local/agent:1",
                "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}}]}),
        )
        .await
        .unwrap();
    let found = world.says("door", "Ready", "False", "ImagePullBackOff").await.unwrap();
    assert!(condition(&found, "Ready").unwrap()["message"].as_str().unwrap().contains("test.local/agent:1"));
    assert!(says(&found, "Stalled", "True", "ImagePullBackOff"));
    // It is pulled after all.
    world.pod_runs("door", "127.0.0.77").await.unwrap();
    let found = world.says("door", "Ready", "True", "AgentAvailable").await.unwrap();
    assert!(condition(&found, "Stalled").is_none(), "{found:#}");
    world.end().await.unwrap();
}

/// Nothing is written, not after a change that is nobody's business, nor by a new operator.
#[tokio::test(flavor = "multi_thread")]
async fn an_object_in_sync_costs_no_write() {
    let world = World::new("sync").await.unwrap();
    let operator = world.operator("one", &[]).await.unwrap();
    running_door(&world).await;
    let before = writes(&world).await;
    let label = json!({"metadata": {"labels": {"team": "doors"}}});
    world.patch("door", label).await.unwrap();
    assert_eq!(writes(&world).await, before);
    operator.stop().await.unwrap();
    let operator = world.operator("two", &[]).await.unwrap();
    assert_eq!(writes(&world).await, before, "{}", operator.log());
    assert!(
        operator
            .metric("controller_runtime_reconcile_total{controller=\"kvsingest\",result=\"requeue_after\"}")
            .await
            .unwrap()
            > 0.0
    );
    operator.stop().await.unwrap();
    world.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_do_to_a_deployment_is_undone() {
    let world = World::new("drift").await.unwrap();
    let _operator = world.operator("one", &[]).await.unwrap();
    let deployment = door(&world).await;
    let patch = Patch::Merge(json!({"spec": {"replicas": 3}}));
    world.deployments().patch("door-agent", &PatchParams::default(), &patch).await.unwrap();
    world
        .until(&world.deployments(), "door-agent", "its one replica", |found| {
            found["spec"]["replicas"] == 1 && found["metadata"]["generation"].as_u64() >= Some(3)
        })
        .await
        .unwrap();
    let uid = deployment["metadata"]["uid"].clone();
    world.deployments().delete("door-agent", &DeleteParams::background()).await.unwrap();
    world
        .until(&world.deployments(), "door-agent", "another Deployment", |found| {
            found["metadata"]["uid"].is_string() && found["metadata"]["uid"] != uid
        })
        .await
        .unwrap();
    world.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_suspended_and_restarted_on_demand() {
    let world = World::new("suspend").await.unwrap();
    let _operator = world.operator("one", &[]).await.unwrap();
    running_door(&world).await;
    world.patch("door", json!({"spec": {"suspend": true}})).await.unwrap();
    world
        .until(&world.deployments(), "door-agent", "no replica", |found| found["spec"]["replicas"] == 0)
        .await
        .unwrap();
    let found = world.says("door", "Ready", "True", "Suspended").await.unwrap();
    assert!(says(&found, "MediaFlowing", "False", "Suspended"));
    world.patch("door", json!({"spec": {"suspend": false}})).await.unwrap();
    world
        .patch("door", annotation("kvs-ingest.dev/restarted-at", json!("2026-01-01T00:00:00Z")))
        .await
        .unwrap();
    world
        .until(&world.deployments(), "door-agent", "a restart", |found| {
            found["spec"]["replicas"] == 1
                && found["spec"]["template"]["metadata"]["annotations"]["kvs-ingest.dev/restarted-at"]
                    == "2026-01-01T00:00:00Z"
        })
        .await
        .unwrap();
    world.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_object_is_left_alone_until_it_is_not_paused() {
    let world = World::new("pause").await.unwrap();
    let _operator = world.operator("one", &[]).await.unwrap();
    door(&world).await;
    world.patch("door", annotation("kvs-ingest.dev/paused", json!("true"))).await.unwrap();
    world.says("door", "Paused", "True", "PausedByAnnotation").await.unwrap();
    let patch = Patch::Merge(json!({"spec": {"replicas": 2}}));
    world.deployments().patch("door-agent", &PatchParams::default(), &patch).await.unwrap();
    writes(&world).await;
    assert_eq!(
        world.deployments().get("door-agent").await.unwrap().data["spec"]["replicas"],
        2,
        "it is paused"
    );
    world.patch("door", annotation("kvs-ingest.dev/paused", Value::Null)).await.unwrap();
    world
        .until(&world.deployments(), "door-agent", "repair", |found| found["spec"]["replicas"] == 1)
        .await
        .unwrap();
    world
        .until(&world.ingests(), "door", "not paused", |found| condition(found, "Paused").is_none())
        .await
        .unwrap();
    world.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_to_reconcile_is_answered_in_the_status() {
    let world = World::new("request").await.unwrap();
    let _operator = world.operator("one", &[]).await.unwrap();
    door(&world).await;
    world.patch("door", annotation("kvs-ingest.dev/reconcile-requested-at", json!("now"))).await.unwrap();
    world
        .until(&world.ingests(), "door", "its request", |found| {
            found["status"]["lastHandledReconcileAt"] == "now"
        })
        .await
        .unwrap();
    world.end().await.unwrap();
}

const URL: &str = "rtmp://media.test/live/door";

/// An output by RTMP.
fn rtmp(rtmp: Value) -> Value {
    json!({"outputs": [{"name": "live", "rtmp": rtmp}]})
}

/// Outputs of these names.
fn outputs<const N: usize>(names: [&str; N]) -> Value {
    let output = |name: &&str| json!({"name": name, "rtmp": {"url": URL}});
    json!({"outputs": names.iter().map(output).collect::<Vec<_>>()})
}

/// One with what is only in the other.
fn merged(one: &Value, other: Value) -> Value {
    let mut both = one.clone();
    both.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
    both
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_refuses_what_breaks_a_rule() {
    let world = World::new("rules").await.unwrap();
    let arn = |kind: &str, region: &str| format!("arn:aws:kinesisvideo:{region}:111122223333:{kind}/x/1");
    for (more, words) in [
        (json!({"region": "tokyo"}), "spec.region"),
        (json!({"channel": {"name": null, "createIfMissing": null}}), "exactly one of name and arn"),
        (json!({"channel": {"arn": arn("channel", REGION)}}), "exactly one of name and arn"),
        (json!({"channel": {"name": "a b"}}), "spec.channel.name"),
        (json!({"channel": {"name": "a".repeat(257)}}), "spec.channel.name"),
        (json!({"channel": {"name": null, "arn": arn("channel", REGION)}}), "only be created by name"),
        (
            json!({"channel": {"name": null, "createIfMissing": false, "arn": arn("channel", "us-east-1")}}),
            "channel.arn is in another region",
        ),
        (
            json!({"stream": {"name": null, "createIfMissing": false, "arn": arn("stream", "us-east-1")}}),
            "stream.arn is in another region",
        ),
        (json!({"stream": {"name": null, "createIfMissing": false, "arn": "x"}}), "spec.stream.arn"),
        (json!({"stream": {"arn": arn("stream", REGION)}}), "exactly one of name and arn"),
        (json!({"stream": {"retentionHours": 0}}), "spec.stream.retentionHours"),
        (json!({"stream": {"retentionHours": 87_601}}), "spec.stream.retentionHours"),
        (json!({"stream": {"kmsKeyId": ""}}), "spec.stream.kmsKeyId"),
        (json!({"stream": {"tags": {"aws:x": "y"}}}), "does not start with aws:"),
        (json!({"stream": {"tags": {"x": "y".repeat(257)}}}), "a value of at most 256"),
        (json!({"deletionPolicy": "Orphan"}), "spec.deletionPolicy"),
        (
            json!({"media": {"video": {"enabled": false}, "audio": {"enabled": false}}}),
            "nothing would be stored",
        ),
        (json!({"media": {"video": {"codecs": ["VP8"]}}}), "spec.media.video.codecs"),
        (json!({"media": {"video": {"codecs": []}}}), "spec.media.video.codecs"),
        (json!({"media": {"video": {"startBitrateKbps": 1}}}), "spec.media.video.startBitrateKbps"),
        (json!({"media": {"audio": {"aacBitrateKbps": 1}}}), "spec.media.audio.aacBitrateKbps"),
        (json!({"ice": {"transportPolicy": "None"}}), "spec.ice.transportPolicy"),
        (json!({"buffering": {"memoryMiB": 1}}), "spec.buffering.memoryMiB"),
        (json!({"roleArn": "admin"}), "spec.roleArn"),
        (json!({"externalId": "ours"}), "externalId is used with roleArn only"),
        (json!({"credentialsSecretRef": {"name": "a", "key": "b/c"}}), "spec.credentialsSecretRef.key"),
        (json!({"terminationGracePeriodSeconds": 1}), "spec.terminationGracePeriodSeconds"),
        (json!({"logLevel": "loud"}), "spec.logLevel"),
        (json!({"pod": {"labels": {"app.kubernetes.io/name": "x"}}}), "are the operator's"),
        (json!({"pod": {"annotations": {"kvs-ingest.dev/x": "y"}}}), "are the operator's"),
        (json!({"pod": {"env": [{"name": "KVS_INGEST_CONFIG"}]}}), "KVS_INGEST_* is the operator's"),
        (json!({"pod": {"env": [{"name": "AWS_SECRET_ACCESS_KEY"}]}}), "credentials come from"),
        (
            json!({"pod": {"env": [{"name": "AWS_ROLE_ARN", "value": "arn:aws:iam::111122223333:role/r"}]}}),
            "credentials come from",
        ),
        (json!({"pod": {"env": [{"name": "1A"}]}}), "spec.pod.env[0].name"),
        (json!({"stream": null}), "stream is required where outputs names no output"),
        (json!({"stream": null, "outputs": []}), "stream is required where outputs names no output"),
        (
            merged(
                &json!({"stream": null, "buffering": {"spool": {"sizeMiB": 16}}}),
                rtmp(json!({"url": URL})),
            ),
            "the spool is for what goes to the stream",
        ),
        (outputs(["a", "b", "c", "d", "e"]), "must have at most 4 items"),
        (outputs(["a", "b", "a"]), "Duplicate value"),
        (outputs(["A"]), "spec.outputs[0].name"),
        (outputs(["x".repeat(64).as_str()]), "spec.outputs[0].name"),
        (outputs(["kvs"]), "kvs is what goes to spec.stream"),
        (json!({"outputs": [{"name": "a"}]}), "an output has its kind: rtmp"),
        (rtmp(json!({})), "exactly one of url and urlSecretRef"),
        (
            rtmp(json!({"url": URL, "urlSecretRef": {"name": "a", "key": "b"}})),
            "exactly one of url and urlSecretRef",
        ),
        (rtmp(json!({"url": "http://h/a/b"})), "it is not rtmp://HOST[:PORT]/APP"),
        (rtmp(json!({"url": "rtmp://h:65536/a/b"})), "it is not rtmp://HOST[:PORT]/APP"),
        (rtmp(json!({"url": "rtmp://user:hunter2@h/a/b"})), "user and password have no place here"),
        (rtmp(json!({"url": "rtmps://h/app/"})), "without streamKeySecretRef the URL ends with the name"),
        (rtmp(json!({"url": format!("rtmp://h/a/{}", "b".repeat(1024))})), "spec.outputs[0].rtmp.url"),
        (rtmp(json!({"urlSecretRef": {"name": "A", "key": "b"}})), "spec.outputs[0].rtmp.urlSecretRef.name"),
        (rtmp(json!({"urlSecretRef": {"name": "a"}})), "spec.outputs[0].rtmp.urlSecretRef.key"),
        (
            rtmp(json!({"url": URL, "caBundleRef": {"name": "a", "key": "b/c"}})),
            "spec.outputs[0].rtmp.caBundleRef.key",
        ),
    ] {
        let error = world
            .create(world.manifest("door", more.clone()))
            .await
            .expect_err(&more.to_string())
            .to_string();
        assert!(error.contains(words), "{more}: {error:?} does not say {words:?}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    let error = world.create(world.manifest(&"a".repeat(53), json!({}))).await.unwrap_err().to_string();
    assert!(error.contains("at most 52 characters"), "{error}");
    world.end().await.unwrap();
}

/// The part of a Deployment's pod template that the operator makes of such a spec.
fn deployment_of(spec: &Value) -> Value {
    let pod = &spec["pod"];
    let mut labels = json!({"app": "x"});
    if pod["labels"].is_object() {
        merge(&mut labels, pod["labels"].clone());
    }
    let mut template =
        json!({"containers": [{"name": "agent", "image": "agent:1", "resources": spec["resources"]}]});
    for field in ["tolerations", "topologySpreadConstraints", "affinity", "nodeSelector", "priorityClassName"]
    {
        template[field] = pod[field].clone();
    }
    template["serviceAccountName"] = spec["serviceAccountName"].clone();
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "tried"},
        "spec": {"selector": {"matchLabels": {"app": "x"}},
            "template": {"metadata": {"labels": labels, "annotations": pod["annotations"]}, "spec": template}}})
}

/// What the API server would refuse of the Deployment it refuses of the object, in one answer.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_deployment_would_be_refused_for_is_refused_of_the_object() {
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    let world = World::new("pods-rules").await.unwrap();
    let pod = |field: &str, value: Value| json!({"pod": {field: value}});
    let affinity = |kind: &str, list: &str, terms: Value| pod("affinity", json!({kind: {list: terms}}));
    let nodes = |requirement: Value| {
        affinity(
            "nodeAffinity",
            REQUIRED,
            json!({"nodeSelectorTerms": [{"matchExpressions": [requirement]}]}),
        )
    };
    let spread = |more: Value| {
        let mut constraint =
            json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"});
        merge(&mut constraint, more);
        constraint
    };
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let plain = serde_json::from_value(deployment_of(&json!({}))).unwrap();
    world.deployments().create(&dry, &plain).await.expect("the rest of it is right");
    for refused in [
        json!({"serviceAccountName": "Cameras"}),
        json!({"resources": {"limits": {"memory": "1GB"}}}),
        json!({"resources": {"limits": {"memory": -1}}}),
        json!({"resources": {"limits": {"ram": "1"}}}),
        json!({"resources": {"limits": {"cpu": 1}, "requests": {"cpu": "1100m"}}}),
        json!({"resources": {"requests": {"example.com/encoder": "1"}}}),
        json!({"resources": {"limits": {"example.com/encoder": "1500m"}}}),
        json!({"resources": {"claims": [{"name": "gpu"}]}}),
        pod("labels", json!({"team": "front doors"})),
        pod("labels", json!({"team": "x".repeat(64)})),
        pod("labels", json!({"-team": "x"})),
        pod("labels", json!({"Example.com/team": "x"})),
        pod("annotations", json!({"a b": "x"})),
        pod("annotations", json!({"a": "x".repeat(256 * 1024)})),
        pod("nodeSelector", json!({"a/b/c": "x"})),
        pod("nodeSelector", json!({"a": "x y"})),
        pod("priorityClassName", json!("High")),
        pod("tolerations", json!([{"key": "a", "operator": "Is"}])),
        pod("tolerations", json!([{"key": "a", "operator": "Exists", "value": "b"}])),
        pod("tolerations", json!([{"value": "b"}])),
        pod("tolerations", json!([{"operator": "Exists", "effect": "Never"}])),
        pod("tolerations", json!([{"operator": "Exists", "tolerationSeconds": 3}])),
        pod("tolerations", json!([{"key": "a b", "operator": "Exists"}])),
        pod("topologySpreadConstraints", json!([spread(json!({"maxSkew": 0}))])),
        pod("topologySpreadConstraints", json!([spread(json!({"topologyKey": ""}))])),
        pod("topologySpreadConstraints", json!([spread(json!({"whenUnsatisfiable": "Wait"}))])),
        pod("topologySpreadConstraints", json!([spread(json!({"minDomains": 2}))])),
        pod("topologySpreadConstraints", json!([spread(json!({})), spread(json!({"maxSkew": 2}))])),
        affinity("nodeAffinity", REQUIRED, json!({"nodeSelectorTerms": []})),
        nodes(json!({"key": "zone", "operator": "Is", "values": ["a"]})),
        nodes(json!({"key": "zone", "operator": "In"})),
        nodes(json!({"key": "zone", "operator": "Exists", "values": ["a"]})),
        nodes(json!({"key": "cores", "operator": "Gt", "values": ["a", "b"]})),
        affinity("nodeAffinity", PREFERRED, json!([{"weight": 0, "preference": {}}])),
        affinity("podAffinity", REQUIRED, json!([{"topologyKey": ""}])),
        affinity(
            "podAntiAffinity",
            PREFERRED,
            json!([{"weight": 101, "podAffinityTerm": {"topologyKey": "zone"}}]),
        ),
    ] {
        let deployment = serde_json::from_value(deployment_of(&refused)).unwrap();
        world
            .deployments()
            .create(&dry, &deployment)
            .await
            .expect_err(&format!("{refused}: not even of a Deployment"));
        world.create(world.manifest("door", refused.clone())).await.expect_err(&refused.to_string());
    }
    world.end().await.unwrap();
}

/// What neither schema nor rule of the object can know: a quota, and an admission policy of the cluster.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_told_and_suspend_stops_all_the_same() {
    let world = World::new("refused").await.unwrap();
    let _operator = world.operator("one", &[]).await.unwrap();
    running_door(&world).await;
    let kubectl = async |arguments: &[&str]| world.cluster.kubectl(arguments).await.unwrap();
    let quota = ["create", "quota", "few", "--hard=count/deployments.apps=1", "-n", &world.namespace];
    kubectl(&quota).await;
    let used = r"--for=jsonpath={.status.used.count/deployments\.apps}=1";
    let filled = ["wait", "quota/few", "-n", &world.namespace, "--timeout=30s", used];
    kubectl(&filled).await;
    world.create(world.manifest("second", json!({}))).await.unwrap();
    let found = world.says("second", "Ready", "False", "DeploymentRefused").await.unwrap();
    assert!(says(&found, "Stalled", "True", "DeploymentRefused"), "{found:#}");
    assert!(says(&found, "AgentAvailable", "False", "DeploymentRefused"));
    let message = condition(&found, "Ready").unwrap()["message"].as_str().unwrap();
    assert!(message.contains("exceeded quota: few") && message.contains("ResourceQuota"), "{message}");
    // What was made in AWS is written down all the same.
    assert_eq!(
        (&found["status"]["channel"]["created"], &found["status"]["stream"]["created"]),
        (&json!(true), &json!(true))
    );

    let policy = format!("no-cameras-{}", world.namespace);
    let definition = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": policy},
            "spec": {"failurePolicy": "Fail", "matchConstraints": {"resourceRules": [{"apiGroups": ["apps"],
                "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["deployments"]}]},
                "validations": [{"expression": "false", "message": "no cameras here"}]}},
        {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": policy},
            "spec": {"policyName": policy, "validationActions": ["Deny"], "matchResources": {"namespaceSelector":
                {"matchLabels": {"kubernetes.io/metadata.name": world.namespace}}}}}]});
    let file = world.folder.path().join("policy.json");
    std::fs::write(&file, definition.to_string()).unwrap();
    kubectl(&["apply", "-f", file.to_str().unwrap()]).await;
    // Until the API server goes by it.
    let deployment = serde_json::from_value(deployment_of(&json!({}))).unwrap();
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let deadline = Instant::now() + DEADLINE;
    while !world
        .deployments()
        .create(&dry, &deployment)
        .await
        .is_err_and(|error| error.to_string().contains("no cameras"))
    {
        assert!(Instant::now() < deadline, "the policy is not heeded");
        sleep(Duration::from_millis(200)).await;
    }
    world.patch("door", json!({"spec": {"logLevel": "trace"}})).await.unwrap();
    let found = world.says("door", "Ready", "False", "DeploymentRefused").await.unwrap();
    assert_eq!(found["status"]["observedGeneration"], 2);
    let message = condition(&found, "Ready").unwrap()["message"].as_str().unwrap();
    assert!(message.contains("no cameras here") && message.contains("goes on"), "{message}");
    assert!(says(&found, "MediaFlowing", "Unknown", "AgentSilent"), "of the agent that goes on: {found:#}");
    world.patch("door", json!({"spec": {"suspend": true}})).await.unwrap();
    world
        .until(&world.deployments(), "door-agent", "no replica", |found| found["spec"]["replicas"] == 0)
        .await
        .unwrap();
    kubectl(&["delete", "-f", file.to_str().unwrap()]).await;
    world.end().await.unwrap();
}

/// Both look after the same objects, and build another Deployment each.
#[tokio::test(flavor = "multi_thread")]
async fn two_releases_that_fight_say_so_and_slow_down() {
    let world = World::new("rivals").await.unwrap();
    let ours = world.operator("ours", &[]).await.unwrap();
    door(&world).await;
    let lease = format!("--lease-name={}-other", world.namespace);
    let theirs = world.operator("theirs", &[&lease, "--agent-env=THEIRS=yes"]).await.unwrap();
    let contested = |found: &Value| {
        condition(found, "AgentAvailable").is_some_and(|agent| agent["reason"] == "DeploymentContested")
    };
    let found = world.until(&world.ingests(), "door", "a fight that is told", contested).await.unwrap();
    let message = condition(&found, "AgentAvailable").unwrap()["message"].as_str().unwrap();
    assert!(
        message.contains(&format!("release kvs-ingest/{}", world.namespace))
            && message.contains("--selector"),
        "{message}"
    );
    assert!(condition(&found, "Stalled").is_some(), "{found:#}");
    // Slowed, it ends in a generation every few minutes.
    theirs.stop().await.unwrap();
    let generation = world.deployments().get("door-agent").await.unwrap().metadata.generation.unwrap();
    assert!(generation < 30, "{generation}");
    drop(ours);
    world.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_missing_is_told() {
    let world = World::new("secret").await.unwrap();
    let _operator = world.operator("one", &[]).await.unwrap();
    world.create(world.manifest("door", json!({"credentialsSecretRef": {"name": "cam"}}))).await.unwrap();
    world.says("door", "AgentAvailable", "False", "Unschedulable").await.unwrap();
    // As the scheduler and the kubelet do.
    let pod = world.pods().list(&ListParams::default()).await.unwrap().items.remove(0);
    let (name, uid) = (pod.metadata.name.unwrap(), pod.metadata.uid.unwrap());
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
        "target": {"apiVersion": "v1", "kind": "Node", "name": "node-1"}});
    let path = format!("/api/v1/namespaces/{}/pods/{name}/binding", world.namespace);
    let request = http::Request::post(path).header("content-type", "application/json");
    world.client.request::<Value>(request.body(binding.to_string().into_bytes()).unwrap()).await.unwrap();
    let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "mount"}, "type": "Warning",
        "reason": "FailedMount", "message": "MountVolume.SetUp failed for volume \"aws\" : secret \"cam\" not found",
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "namespace": world.namespace, "name": name, "uid": uid},
        "source": {"component": "kubelet"}, "firstTimestamp": "2030-01-01T00:00:00Z", "lastTimestamp": "2030-01-01T00:00:00Z", "count": 1});
    world.events().create(&PostParams::default(), &serde_json::from_value(event).unwrap()).await.unwrap();
    let waiting = json!({"phase": "Pending", "conditions": [], "containerStatuses": [{"name": "agent", "image": "test.local/agent:1",
        "imageID": "", "ready": false, "restartCount": 0, "state": {"waiting": {"reason": "ContainerCreating"}}}]});
    world.pod_status("door", waiting).await.unwrap();
    let found = world.says("door", "Ready", "False", "ContainerConfigError").await.unwrap();
    let message = condition(&found, "Ready").unwrap()["message"].as_str().unwrap();
    assert!(
        message.contains("secret \"cam\" not found") && message.contains("spec.credentialsSecretRef"),
        "{message}"
    );
    world.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_takes_everything_that_is_right() {
    let world = World::new("everything").await.unwrap();
    let everything = json!({
        "stream": {"retentionHours": 48, "kmsKeyId": "alias/x", "tags": {"a": "b"}},
        "deletionPolicy": "Delete",
        "media": {"video": {"startBitrateKbps": 2000}, "audio": {"enabled": false}},
        "ice": {"transportPolicy": "Relay"}, "buffering": {"memoryMiB": 128}, "suspend": true,
        "serviceAccountName": "cameras", "credentialsSecretRef": {"name": "aws"},
        "roleArn": "arn:aws:iam::111122223333:role/r", "externalId": "ours",
        "image": "agent:2", "imagePullPolicy": "Always", "imagePullSecrets": [{"name": "p"}],
        "resources": {"limits": {"memory": "1Gi", "cpu": 1}}, "logLevel": "debug", "terminationGracePeriodSeconds": 60,
        "pod": {"labels": {"a": "b"}, "annotations": {"a": "b"}, "nodeSelector": {"a": "b"},
            "tolerations": [{"operator": "Exists"}], "priorityClassName": "high", "env": [{"name": "A", "value": "b"}],
            "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}],
            "affinity": {"podAntiAffinity": {}}}
    });
    let key = json!({"name": "live", "key": "streamKey"});
    let live = json!({"outputs": [
        {"name": "ivs", "required": true,
            "rtmp": {"url": "rtmps://a1b2c3d4e5f6.global-contribute.live-video.net:443/app/", "streamKeySecretRef": key}},
        {"name": "own-2", "rtmp": {"urlSecretRef": key, "caBundleRef": {"name": "ca"}, "silence": false}},
        {"name": "six", "rtmp": {"url": "rtmp://[2001:db8::7]:1935/live/door?token=a"}},
        {"name": &"x".repeat(63), "rtmp": {"url": URL}},
    ]});
    let alone = merged(&json!({"stream": null}), live.clone());
    let made = world.create(world.manifest("live", alone)).await.unwrap();
    assert!(made.data["spec"]["stream"].is_null());
    assert_eq!(made.data["spec"]["outputs"][0]["rtmp"]["silence"], true, "a default");
    let made = world.create(world.manifest("door", merged(&everything, live))).await.unwrap();
    assert_eq!(made.data["spec"]["credentialsSecretRef"]["key"], "credentials", "a default");
    assert!(
        made.data["spec"]["media"]["audio"]["aacBitrateKbps"].is_null(),
        "decided by the operator's release"
    );
    let fields = format!("spec.region={REGION},spec.channel.name=door,spec.stream.name=door");
    assert_eq!(world.ingests().list(&ListParams::default().fields(&fields)).await.unwrap().items.len(), 1);
    world.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_object_is_about_cannot_be_changed() {
    let world = World::new("immutable").await.unwrap();
    world.create(world.manifest("door", json!({"deletionPolicy": "Delete", "suspend": true}))).await.unwrap();
    for (change, words) in [
        (json!({"region": "us-east-1"}), "region is immutable"),
        (json!({"channel": {"name": "other"}}), "name is immutable"),
        (json!({"stream": {"name": "other"}}), "name is immutable"),
        (
            json!({"stream": {"name": null, "createIfMissing": false,
                "arn": format!("arn:aws:kinesisvideo:{REGION}:111122223333:stream/x/1")}}),
            "is immutable",
        ),
    ] {
        let error =
            world.patch("door", json!({"spec": change.clone()})).await.expect_err(&change.to_string());
        assert!(error.to_string().contains(words), "{change}: {error}");
    }
    world.patch("door", json!({"spec": {"deletionPolicy": "Retain", "suspend": false}})).await.unwrap();
    // A stream can be added, and not be taken away; outputs come and go.
    let live = rtmp(json!({"url": URL}));
    let alone = merged(&json!({"stream": null}), live.clone());
    let error = world.patch("door", json!({"spec": alone})).await.unwrap_err().to_string();
    assert!(error.contains("a stream can be added, and not be taken away"), "{error}");
    world.patch("door", json!({"spec": live})).await.unwrap();
    world.patch("door", json!({"spec": {"outputs": null}})).await.unwrap();
    world.create(world.manifest("live", alone)).await.unwrap();
    world.patch("live", json!({"spec": {"stream": {"name": "live"}}})).await.unwrap();
    world.end().await.unwrap();
}

/// What an agent says of itself, at an address of its own.
async fn agent_says(address: &str, status: Arc<Mutex<Value>>) {
    let listener = TcpListener::bind((address, 8080)).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let body = status.lock().unwrap().to_string();
            if connection.read(&mut request).await.is_ok() {
                let head =
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                let _ = connection.write_all((head + &body).as_bytes()).await;
            }
        }
    });
}

/// Nothing of a stream is asked for, made or waited for; each output has a condition that `kubectl wait` takes.
#[tokio::test(flavor = "multi_thread")]
async fn an_object_without_a_stream_has_its_outputs() {
    const ADDRESS: &str = "127.0.0.98";
    let world = World::new("outputs").await.unwrap();
    let _operator = world.operator("one", &[]).await.unwrap();
    let live = json!({"stream": null, "deletionPolicy": "Delete", "outputs": [
        {"name": "ivs", "required": true,
            "rtmp": {"url": "rtmps://ingest.test/app/", "streamKeySecretRef": {"name": "ivs", "key": "streamKey"}}},
        {"name": "own", "rtmp": {"url": URL}}]});
    world.create(world.manifest("door", live)).await.unwrap();
    let deployment =
        world.until(&world.deployments(), "door-agent", "a Deployment", Value::is_object).await.unwrap();
    let volume = &deployment["spec"]["template"]["spec"]["volumes"][0];
    assert_eq!(volume["projected"]["sources"][0]["secret"]["name"], "ivs", "{volume:#}");
    let output = |name: &str, state: &str, reason: &str| json!({"name": name, "type": "rtmp", "state": state, "reason": reason, "message": format!("{reason} it is")});
    let says_both = |ivs: Value, own: Value| json!({"phase": "Streaming", "reason": "Streaming", "message": "media", "outputs": [ivs, own]});
    let receives = || output("ivs", "Receiving", "Receiving");
    let status = Arc::new(Mutex::new(says_both(receives(), output("own", "Failed", "HostUnknown"))));
    agent_says(ADDRESS, Arc::clone(&status)).await;
    world.pod_runs("door", ADDRESS).await.unwrap();
    let found = world.says("door", "Output-own", "False", "HostUnknown").await.unwrap();
    assert!(says(&found, "Ready", "True", "Streaming"), "it is best effort: {found:#}");
    assert!(says(&found, "Output-ivs", "True", "Receiving"), "{found:#}");
    assert!(says(&found, "StreamResolved", "True", "NotUsed"), "{found:#}");
    assert!(found["status"]["stream"].is_null(), "{found:#}");
    for met in ["--for=condition=Output-ivs", "--for=condition=Output-own=False"] {
        let wait = ["wait", "-n", &world.namespace, met, "kvsi/door", "--timeout=30s"];
        world.cluster.kubectl(&wait).await.unwrap();
    }
    // What is required decides, until it receives again.
    *status.lock().unwrap() =
        says_both(output("ivs", "Failed", "KeyRefused"), output("own", "Receiving", "Receiving"));
    let found = world.says("door", "Ready", "False", "OutputFailed").await.unwrap();
    assert!(
        says(&found, "Stalled", "True", "OutputFailed") && says(&found, "MediaFlowing", "True", "Streaming")
    );
    assert_eq!(condition(&found, "Ready").unwrap()["message"], "output ivs: KeyRefused it is");
    *status.lock().unwrap() = says_both(receives(), output("own", "Receiving", "Receiving"));
    world.says("door", "Ready", "True", "Streaming").await.unwrap();
    // There is no stream: not made, and not there to be deleted.
    let aws = aws(&world).await;
    assert_eq!(exists(&aws, "door").await, (true, false));
    world.ingests().delete("door", &DeleteParams::default()).await.unwrap();
    world.until(&world.ingests(), "door", "its end", Value::is_null).await.unwrap();
    assert_eq!(exists(&aws, "door").await, (false, false));
    world.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_found_when_somebody_creates_it() {
    let world = World::new("found").await.unwrap();
    let aws = aws(&world).await;
    let _operator = world.operator("one", &[]).await.unwrap();
    let keep = json!({"channel": {"createIfMissing": false}, "stream": {"createIfMissing": false, "retentionHours": 48}});
    world.create(world.manifest("found", keep)).await.unwrap();
    let found = world.says("found", "Ready", "False", "ChannelNotFound").await.unwrap();
    assert!(
        says(&found, "StreamResolved", "False", "NotFound")
            && says(&found, "Stalled", "True", "ChannelNotFound")
    );
    assert!(
        condition(&found, "Ready").unwrap()["message"]
            .as_str()
            .unwrap()
            .contains("spec.channel.createIfMissing")
    );
    channel(&aws, "found").await;
    let day = NewStream { retention_hours: 24, ..NewStream::default() };
    stream(&aws, "found", &day).await;
    let found = world.says("found", "StreamResolved", "True", "Found").await.unwrap();
    assert_eq!(found["status"]["stream"]["retentionHours"], 24);
    assert!(found["status"]["stream"]["created"].is_null());
    let message = condition(&found, "StreamResolved").unwrap()["message"].as_str().unwrap();
    assert!(message.contains("spec.stream.adopt"), "{message}");
    let stream = StreamId::Name("found".parse().unwrap());
    assert_eq!(aws.describe_stream(&stream).await.unwrap().retention_hours, 24, "it is somebody's");
    world.patch("found", json!({"spec": {"stream": {"adopt": true}}})).await.unwrap();
    world.says("found", "StreamResolved", "True", "Adopted").await.unwrap();
    assert_eq!(aws.describe_stream(&stream).await.unwrap().retention_hours, 48, "raised as declared");
    world.patch("found", json!({"spec": {"stream": {"retentionHours": 1}}})).await.unwrap();
    world
        .until(&world.ingests(), "found", "a look at it", |found| found["status"]["observedGeneration"] == 3)
        .await
        .unwrap();
    assert_eq!(aws.describe_stream(&stream).await.unwrap().retention_hours, 48, "never lowered");
    world.end().await.unwrap();
}

/// No viewer gets media peer to peer then.
#[tokio::test(flavor = "multi_thread")]
async fn media_storage_on_the_channel_is_in_the_way() {
    let world = World::new("storage").await.unwrap();
    let aws = aws(&world).await;
    let _operator = world.operator("one", &[]).await.unwrap();
    let made = channel(&aws, "stored").await;
    let day = NewStream { retention_hours: 24, ..NewStream::default() };
    let into = stream(&aws, "storage", &day).await;
    let configuration = MediaStorageConfiguration::builder()
        .status(MediaStorageConfigurationStatus::Enabled)
        .stream_arn(into.arn.as_str())
        .build()
        .unwrap();
    let sdk = aws_sdk_kinesisvideo::Client::new(context(&world).await.sdk_config());
    sdk.update_media_storage_configuration()
        .channel_arn(made.arn.as_str())
        .media_storage_configuration(configuration)
        .send()
        .await
        .unwrap();
    world.create(world.manifest("stored", json!({}))).await.unwrap();
    let found = world.says("stored", "Ready", "False", "MediaStorageEnabled").await.unwrap();
    assert!(says(&found, "ChannelResolved", "False", "MediaStorageEnabled"));
    assert!(world.deployments().get_opt("stored-agent").await.unwrap().is_none());
    world.end().await.unwrap();
}

/// With `mode: ManagedStorage` the channel is mapped and no agent runs, for as long as the object says so.
#[tokio::test(flavor = "multi_thread")]
async fn aws_records_for_who_says_so() {
    let world = World::new("managed").await.unwrap();
    let aws = aws(&world).await;
    let _operator = world.operator("one", &[]).await.unwrap();
    world.create(world.manifest("door", json!({}))).await.unwrap();
    let there = |found: &Value| found["status"]["replicas"] == 1;
    world.until(&world.deployments(), "door-agent", "a Deployment", there).await.unwrap();
    let set = |spec: Value| world.patch("door", json!({"spec": spec}));
    // What is an agent's is refused by name, and nothing is ended.
    let refused = set(json!({"mode": "ManagedStorage", "logLevel": "debug"})).await.unwrap_err().to_string();
    assert!(refused.contains("spec.logLevel") && refused.contains("ManagedStorage"), "{refused}");
    set(json!({"mode": "ManagedStorage"})).await.unwrap();
    // Nobody is on the channel.
    let found = world.says("door", "Ready", "True", "WaitingForMaster").await.unwrap();
    let arn = |found: &Value, of: &str| found["status"][of]["arn"].as_str().unwrap().to_owned();
    let stream = arn(&found, "stream");
    assert!(says(&found, "AgentAvailable", "True", "NotUsed"), "{found:#}");
    assert!(says(&found, "MediaFlowing", "False", "WaitingForMaster"), "{found:#}");
    assert_eq!(
        found["status"]["mediaStorage"],
        json!({"channelArn": arn(&found, "channel"), "streamArn": stream, "enabledByOperator": true})
    );
    assert!(has_finalizer(&found) && found["spec"]["deletionPolicy"] == "Retain");
    assert!(world.deployments().get_opt("door-agent").await.unwrap().is_none());
    let channel = arn(&found, "channel").parse().unwrap();
    let mapped = MediaStorage::Enabled { stream_arn: Some(stream) };
    assert_eq!(aws.media_storage(&channel).await.unwrap(), mapped);
    // Suspended, nothing is recorded; then it is again.
    set(json!({"suspend": true})).await.unwrap();
    let found = world.says("door", "Ready", "True", "Suspended").await.unwrap();
    assert!(found["status"]["mediaStorage"].is_null(), "{found:#}");
    assert_eq!(aws.media_storage(&channel).await.unwrap(), MediaStorage::Disabled);
    set(json!({"suspend": false})).await.unwrap();
    world.says("door", "Ready", "True", "WaitingForMaster").await.unwrap();
    assert_eq!(aws.media_storage(&channel).await.unwrap(), mapped);
    // An agent takes its place, and gives it back.
    set(json!({"mode": "Agent"})).await.unwrap();
    world.until(&world.deployments(), "door-agent", "a Deployment", there).await.unwrap();
    assert_eq!(aws.media_storage(&channel).await.unwrap(), MediaStorage::Disabled);
    set(json!({"mode": "ManagedStorage"})).await.unwrap();
    world.says("door", "AgentAvailable", "True", "NotUsed").await.unwrap();
    assert_eq!(aws.media_storage(&channel).await.unwrap(), mapped);
    // It stays behind, and is not recorded by anybody any more.
    delete(&world, "door").await;
    assert_eq!(aws.media_storage(&channel).await.unwrap(), MediaStorage::Disabled);
    world.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_belongs_to_the_oldest_object() {
    let world = World::new("owner").await.unwrap();
    let operator = world.operator("one", &[]).await.unwrap();
    world.create(world.manifest("old", json!({"stream": {"name": "shared"}}))).await.unwrap();
    world.says("old", "StreamResolved", "True", "Created").await.unwrap();
    // Kubernetes counts in seconds.
    sleep(Duration::from_millis(1100)).await;
    world.create(world.manifest("young", json!({"stream": {"name": "shared"}}))).await.unwrap();
    let found = world.says("young", "Ready", "False", "StreamInUse").await.unwrap();
    let message = condition(&found, "Ready").unwrap()["message"].as_str().unwrap();
    assert!(message.contains(&format!("{}/old", world.namespace)), "{message}");
    assert!(world.deployments().get_opt("young-agent").await.unwrap().is_none());
    // A new operator decides the same, from the statuses.
    operator.stop().await.unwrap();
    let _operator = world.operator("two", &[]).await.unwrap();
    assert!(says(
        &serde_json::to_value(world.ingests().get("young").await.unwrap()).unwrap(),
        "Ready",
        "False",
        "StreamInUse"
    ));
    world.ingests().delete("old", &DeleteParams::default()).await.unwrap();
    world
        .until(&world.deployments(), "young-agent", "the heir's Deployment", |found| found.is_object())
        .await
        .unwrap();
    world.says("young", "StreamResolved", "True", "Found").await.unwrap();
    world.end().await.unwrap();
}

/// Are a channel and a stream of this name there?
async fn exists(aws: &ControlPlane, name: &str) -> (bool, bool) {
    let channel = aws.describe_channel(&ChannelId::Name(name.parse().unwrap())).await;
    let stream = aws.describe_stream(&StreamId::Name(name.parse().unwrap())).await;
    for error in [channel.as_ref().err(), stream.as_ref().err()].into_iter().flatten() {
        assert_eq!(error.class, ErrorClass::NotFound, "{error}");
    }
    (channel.is_ok(), stream.is_ok())
}

async fn delete(world: &World, name: &str) {
    world.ingests().delete(name, &DeleteParams::default()).await.unwrap();
    world.until(&world.ingests(), name, "its end", Value::is_null).await.unwrap();
}

fn has_finalizer(found: &Value) -> bool {
    found["metadata"]["finalizers"] == json!(["kvs-ingest.dev/aws"])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_retained_stays_and_is_not_the_next_objects() {
    let world = World::new("retain").await.unwrap();
    let aws = aws(&world).await;
    let _operator = world.operator("one", &[]).await.unwrap();
    world.create(world.manifest("retained", json!({}))).await.unwrap();
    let found = world.says("retained", "StreamResolved", "True", "Created").await.unwrap();
    assert!(found["metadata"]["finalizers"].is_null(), "nothing holds it back");
    delete(&world, "retained").await;
    assert_eq!(exists(&aws, "retained").await, (true, true));

    // Nothing of it is made for the next object, and nothing deleted with it.
    let delete_policy =
        json!({"deletionPolicy": "Delete", "channel": {"name": "retained"}, "stream": {"name": "retained"}});
    world.create(world.manifest("next", delete_policy.clone())).await.unwrap();
    world.says("next", "StreamResolved", "True", "Found").await.unwrap();
    delete(&world, "next").await;
    assert_eq!(exists(&aws, "retained").await, (true, true));

    // Unless it says that it takes them.
    let mut adopt = delete_policy;
    (adopt["channel"]["adopt"], adopt["stream"]["adopt"]) = (json!(true), json!(true));
    world.create(world.manifest("retained", adopt)).await.unwrap();
    let found = world.says("retained", "StreamResolved", "True", "Adopted").await.unwrap();
    assert!(has_finalizer(&found) && says(&found, "ChannelResolved", "True", "Adopted"), "{found:#}");
    delete(&world, "retained").await;
    assert_eq!(exists(&aws, "retained").await, (false, false));
    world.end().await.unwrap();
}

/// The stream was there before, the channel was not.
#[tokio::test(flavor = "multi_thread")]
async fn only_what_the_operator_created_is_deleted() {
    let world = World::new("delete").await.unwrap();
    let aws = aws(&world).await;
    let _operator = world.operator("one", &[]).await.unwrap();
    let day = NewStream { retention_hours: 24, ..NewStream::default() };
    stream(&aws, "deleted", &day).await;
    world.create(world.manifest("deleted", json!({"deletionPolicy": "Delete"}))).await.unwrap();
    let found = world.says("deleted", "ChannelResolved", "True", "Created").await.unwrap();
    assert!(has_finalizer(&found), "{found:#}");
    world.says("deleted", "StreamResolved", "True", "Found").await.unwrap();
    delete(&world, "deleted").await;
    assert_eq!(exists(&aws, "deleted").await, (false, true));
    world.end().await.unwrap();
}

/// Each operator ends at the first write it makes, which is done and never answered; the next one goes on.
#[tokio::test(flavor = "multi_thread")]
async fn operators_that_end_at_each_write_leave_nothing_behind() {
    let mut world = World::new("walk").await.unwrap();
    world.tripwire().await.unwrap();
    // As the service does, it takes its time.
    let times = json!({"creatingMs": 1500, "deletingMs": 1000});
    let (code, answer) = post_json(&format!("{}/_kvs/states", world.local.url()), &times).await.unwrap();
    assert_eq!(code, 200, "{answer}");
    let aws = aws(&world).await;
    world.create(world.manifest("mortal", json!({"deletionPolicy": "Delete"}))).await.unwrap();
    let made = walk(&world, |found| {
        says(found, "StreamResolved", "True", "Created") && !found["status"]["deploymentGeneration"].is_null()
    })
    .await;
    // The finalizer, both resources, what they are, the Deployment, the status.
    assert!(made >= 6, "{made} writes");
    assert_eq!(exists(&aws, "mortal").await, (true, true));
    world.ingests().delete("mortal", &DeleteParams::default()).await.unwrap();
    let ended = walk(&world, Value::is_null).await;
    // The Deployment, both resources, the finalizer.
    assert!(ended >= 4, "{ended} writes");
    assert_eq!(exists(&aws, "mortal").await, (false, false));
    assert!(world.deployments().get_opt("mortal-agent").await.unwrap().is_none());
    world.end().await.unwrap();
}

/// One operator after the other, until the object `mortal` is as it has to be; how many there were.
async fn walk(world: &World, done: impl Fn(&Value) -> bool) -> usize {
    let wire = world.wire().unwrap();
    let mut operators = 0;
    loop {
        wire.arm();
        let operator = world.operator(&format!("mortal-{operators}"), &[]).await.unwrap();
        let is_done = async {
            let until = Instant::now() + DEADLINE;
            loop {
                let found = serde_json::to_value(world.ingests().get_opt("mortal").await.unwrap()).unwrap();
                if done(&found) {
                    return;
                }
                assert!(Instant::now() < until, "{found:#}\n{}", operator.log());
                sleep(Duration::from_millis(100)).await;
            }
        };
        let ends = tokio::select! {
            biased;
            () = wire.tripped() => true,
            () = is_done => false,
        };
        operator.kill().await.unwrap();
        world.drop_lease().await.unwrap();
        if !ends {
            return operators;
        }
        operators += 1;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deletion_policy_may_change_either_way() {
    let world = World::new("policy").await.unwrap();
    let _operator = world.operator("one", &[]).await.unwrap();
    world.create(world.manifest("undecided", json!({}))).await.unwrap();
    world.says("undecided", "StreamResolved", "True", "Created").await.unwrap();
    world.patch("undecided", json!({"spec": {"deletionPolicy": "Delete"}})).await.unwrap();
    world.until(&world.ingests(), "undecided", "its finalizer", has_finalizer).await.unwrap();
    world.patch("undecided", json!({"spec": {"deletionPolicy": "Retain"}})).await.unwrap();
    world
        .until(&world.ingests(), "undecided", "no finalizer", |found| {
            found["metadata"]["finalizers"].is_null()
        })
        .await
        .unwrap();
    world.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_ends_and_takes_along_what_was_created_for_it() {
    let world = World::new("ending").await.unwrap();
    let aws = aws(&world).await;
    let operator = world.operator("one", &[]).await.unwrap();
    world.create(world.manifest("last", json!({"deletionPolicy": "Delete"}))).await.unwrap();
    world.says("last", "StreamResolved", "True", "Created").await.unwrap();
    world.cluster.kubectl(&["delete", "namespace", &world.namespace, "--timeout=180s"]).await.unwrap();
    assert_eq!(exists(&aws, "last").await, (false, false));
    assert!(!operator.log().contains("panicked"), "{}", operator.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_of_somebody_else_is_not_taken_over() {
    let world = World::new("conflict").await.unwrap();
    let _operator = world.operator("one", &[]).await.unwrap();
    world
        .cluster
        .kubectl(&["create", "deployment", "-n", &world.namespace, "door-agent", "--image=theirs:1"])
        .await
        .unwrap();
    world.create(world.manifest("door", json!({}))).await.unwrap();
    world.says("door", "Ready", "False", "DeploymentConflict").await.unwrap();
    let theirs = world.deployments().get("door-agent").await.unwrap();
    assert_eq!(theirs.data["spec"]["template"]["spec"]["containers"][0]["image"], "theirs:1");
    assert!(theirs.metadata.owner_references.is_none());
    world.deployments().delete("door-agent", &DeleteParams::background()).await.unwrap();
    world
        .patch("door", json!({"metadata": {"annotations": {"kvs-ingest.dev/reconcile-requested-at": "x"}}}))
        .await
        .unwrap();
    world
        .until(&world.deployments(), "door-agent", "our own", |found| {
            found["metadata"]["ownerReferences"][0]["name"] == "door"
        })
        .await
        .unwrap();
    world.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_operators_one_leads_and_the_other_takes_over() {
    let world = World::new("leader").await.unwrap();
    const LEADS: &str = "leader_election_master_status{name=\"kvs-ingest-operator\"}";
    let first = world.operator("first", &[]).await.unwrap();
    world.create(world.manifest("one", json!({}))).await.unwrap();
    world.until(&world.deployments(), "one-agent", "a Deployment", Value::is_object).await.unwrap();
    let second = world.operator("second", &[]).await.unwrap();
    assert_eq!((first.metric(LEADS).await.unwrap(), second.metric(LEADS).await.unwrap()), (1.0, 0.0));
    // SIGTERM: the lease is given back, and nobody waits until it runs out.
    let asked = Instant::now();
    first.stop().await.unwrap();
    world.create(world.manifest("two", json!({}))).await.unwrap();
    world.until(&world.deployments(), "two-agent", "a Deployment", Value::is_object).await.unwrap();
    assert!(asked.elapsed() < Duration::from_secs(14), "it waited for the lease: {:?}", asked.elapsed());
    assert!((second.metric(LEADS).await.unwrap() - 1.0).abs() < 0.1);
    // Killed midway: another one goes on when the lease has run out.
    second.kill().await.unwrap();
    world.create(world.manifest("three", json!({}))).await.unwrap();
    let third = world.operator("third", &[]).await.unwrap();
    world.until(&world.deployments(), "three-agent", "a Deployment", Value::is_object).await.unwrap();
    drop(third);
    world.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_may_go_and_come_back() {
    let world = World::new("restart").await.unwrap();
    let operator = world.operator("one", &[]).await.unwrap();
    world.create(world.manifest("one", json!({}))).await.unwrap();
    world.until(&world.deployments(), "one-agent", "a Deployment", Value::is_object).await.unwrap();
    writes(&world).await;
    // What the watch saw last is older than anything that the new API server remembers: it expires.
    world.patch("one", json!({"metadata": {"labels": {"a": "b"}}})).await.unwrap();
    let noise = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "noise"}});
    world.configmaps().create(&PostParams::default(), &serde_json::from_value(noise).unwrap()).await.unwrap();
    world.cluster.restart_apiserver().await.unwrap();
    world.create(world.manifest("two", json!({}))).await.unwrap();
    world.until(&world.deployments(), "two-agent", "a Deployment", Value::is_object).await.unwrap();
    let deadline = Instant::now() + DEADLINE;
    for kind in ["KvsIngest", "Deployment"] {
        let expired = |line: &str| {
            line.contains("too old resource version") && line.contains(&format!("kind=\"{kind}\""))
        };
        while !operator.log().lines().any(expired) {
            assert!(Instant::now() < deadline, "no watch of {kind} expired:\n{}", operator.log());
            sleep(Duration::from_millis(100)).await;
        }
    }
    assert!(!operator.log().contains("panicked"), "{}", operator.log());
    world.end().await.unwrap();
}

/// A newer operator's objects, met by an older one.
#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_cannot_be_read_does_not_stop_the_others() {
    let world = World::new("unread").await.unwrap();
    let _operator = world.operator("one", &[]).await.unwrap();
    let add = r#"[{"op": "add", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/logLevel/enum/-",
        "value": "whisper"}]"#;
    world
        .cluster
        .kubectl(&["patch", "crd", "kvsingests.kvs-ingest.dev", "--type=json", "-p", add])
        .await
        .unwrap();
    let deadline = Instant::now() + DEADLINE;
    while let Err(error) = world.create(world.manifest("newer", json!({"logLevel": "whisper"}))).await {
        assert!(Instant::now() < deadline, "{error}");
        sleep(Duration::from_millis(200)).await;
    }
    let found = world.says("newer", "Ready", "False", "InvalidSpec").await.unwrap();
    assert!(
        condition(&found, "Ready").unwrap()["message"].as_str().unwrap().contains("whisper"),
        "{found:#}"
    );
    world.create(world.manifest("usual", json!({}))).await.unwrap();
    world.until(&world.deployments(), "usual-agent", "a Deployment", Value::is_object).await.unwrap();
    world.ingests().delete("newer", &DeleteParams::default()).await.unwrap();
    world.until(&world.ingests(), "newer", "its end", Value::is_null).await.unwrap();
    world.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_share_a_cluster_by_label() {
    let world = World::new("shard").await.unwrap();
    let shard = format!("shard={}", world.namespace);
    let _operator = world.operator("one", &[&format!("--selector={shard}")]).await.unwrap();
    let mut ours = world.manifest("ours", json!({}));
    ours["metadata"]["labels"] = json!({"shard": world.namespace});
    world.create(world.manifest("others", json!({}))).await.unwrap();
    world.create(ours).await.unwrap();
    world.until(&world.deployments(), "ours-agent", "a Deployment", Value::is_object).await.unwrap();
    writes(&world).await;
    assert!(world.deployments().get_opt("others-agent").await.unwrap().is_none());
    assert!(world.ingests().get("others").await.unwrap().data["status"].is_null());
    world.end().await.unwrap();
}

/// A real agent, started as its Deployment says, behind the address of its pod; a master that comes and goes.
#[tokio::test(flavor = "multi_thread")]
async fn conditions_follow_a_master_that_comes_and_goes() {
    const ADDRESS: &str = "127.0.0.99";
    let world = World::new("media").await.unwrap();
    let _operator = world.operator("one", &[]).await.unwrap();
    world.create(world.manifest("door", json!({}))).await.unwrap();
    let deployment =
        world.until(&world.deployments(), "door-agent", "a Deployment", Value::is_object).await.unwrap();
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let mut command =
        tokio::process::Command::new(kvs_ingest_tests::agent::binary("kvs-ingest-agent").unwrap());
    for env in container["env"].as_array().unwrap() {
        command.env(env["name"].as_str().unwrap(), env["value"].as_str().unwrap_or_default());
    }
    let log = std::fs::File::create(world.folder.path().join("agent.log")).unwrap();
    let agent = command
        .args(["--log-format=json", &format!("--listen={ADDRESS}:8080")])
        .env("AWS_ACCESS_KEY_ID", "AKIDTEST")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    world.pod_runs("door", ADDRESS).await.unwrap();
    let found = world.says("door", "Ready", "True", "WaitingForMaster").await.unwrap();
    assert!(says(&found, "MediaFlowing", "False", "WaitingForMaster"));
    let access = Access {
        endpoint: world.local.url(),
        region: REGION.to_owned(),
        access_key: "AKIDTEST".to_owned(),
        secret_key: "secret".to_owned(),
    };
    let master = Master::start(&access, "door", Settings::default()).await.unwrap();
    let found = world.says("door", "MediaFlowing", "True", "Streaming").await.unwrap();
    assert!(says(&found, "Ready", "True", "Streaming"));
    master.stop().await;
    let gone =
        |found: &Value| condition(found, "MediaFlowing").is_some_and(|media| media["status"] == "False");
    let found = world.until(&world.ingests(), "door", "media gone", gone).await.unwrap();
    assert_eq!(
        condition(&found, "Ready").unwrap()["status"],
        "True",
        "a camera that is off is no failure: {found:#}"
    );
    let events =
        world.cluster.kubectl(&["get", "events", "-n", &world.namespace, "-o", "name"]).await.unwrap();
    assert!(events.lines().count() >= 2, "{events}");
    // The stream is deleted while media flows: the agent says so, and the operator makes it again.
    let master = Master::start(&access, "door", Settings::default()).await.unwrap();
    let found = world.says("door", "MediaFlowing", "True", "Streaming").await.unwrap();
    let aws = aws(&world).await;
    let before = found["status"]["stream"]["arn"].clone();
    let stream = aws.describe_stream(&StreamId::Name("door".parse().unwrap())).await.unwrap();
    aws.delete_stream(&stream).await.unwrap();
    let anew = |found: &Value| {
        found["status"]["stream"]["arn"] != before && says(found, "StreamResolved", "True", "Created")
    };
    world.until(&world.ingests(), "door", "another stream", anew).await.unwrap();
    master.stop().await;
    drop(agent);
    world.end().await.unwrap();
}

/// An upgrade of the operator brings another image: not all agents at once. A change of an object does not wait.
#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_restarts_no_more_agents_than_the_budget_allows() {
    let world = World::new("rollout").await.unwrap();
    let operator = world.operator("old", &[]).await.unwrap();
    for name in ["a", "b", "c"] {
        world.create(world.manifest(name, json!({}))).await.unwrap();
        let running = |found: &Value| found["status"]["replicas"] == 1;
        world.until(&world.deployments(), &format!("{name}-agent"), "a replica", running).await.unwrap();
        world.says(name, "ChannelResolved", "True", "Created").await.unwrap();
    }
    writes(&world).await;
    operator.stop().await.unwrap();
    let operator =
        world.operator("new", &["--agent-env=UPGRADED=yes", "--rollouts-per-minute=1"]).await.unwrap();
    let upgraded = async || {
        let mut names = Vec::new();
        for deployment in world.deployments().list(&ListParams::default()).await.unwrap() {
            if deployment.data["spec"]["template"]["spec"]["containers"][0]["env"]
                .to_string()
                .contains("UPGRADED")
            {
                names.push(deployment.metadata.name.unwrap().replace("-agent", ""));
            }
        }
        names
    };
    let until = Instant::now() + DEADLINE;
    while operator.metric("kvsingest_rollout_queue").await.unwrap() < 2.0 {
        assert!(Instant::now() < until, "{:?}\n{}", upgraded().await, operator.log());
        sleep(Duration::from_millis(200)).await;
    }
    let first = upgraded().await;
    assert_eq!(first.len(), 1, "{first:?}");
    let waiting = ["a", "b", "c"].into_iter().find(|name| !first.contains(&(*name).to_owned())).unwrap();
    world.patch(waiting, json!({"spec": {"logLevel": "debug"}})).await.unwrap();
    let until = Instant::now() + DEADLINE;
    while !upgraded().await.contains(&waiting.to_owned()) {
        assert!(Instant::now() < until, "{:?}\n{}", upgraded().await, operator.log());
        sleep(Duration::from_millis(200)).await;
    }
    world.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reconcile_is_a_trace() {
    let world = World::new("traces").await.unwrap();
    let collector = Collector::start().await.unwrap();
    let operator = world.operator("one", &["--otlp-endpoint", &collector.url]).await.unwrap();
    world.create(world.manifest("door", json!({}))).await.unwrap();
    world.says("door", "ChannelResolved", "True", "Created").await.unwrap();
    let missing = json!({"channel": {"createIfMissing": false}, "stream": {"createIfMissing": false}});
    world.create(world.manifest("lost", missing)).await.unwrap();
    world.says("lost", "Ready", "False", "ChannelNotFound").await.unwrap();
    let started = Instant::now();
    // What the processor still holds is sent before the process ends.
    operator.stop().await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    let spans = collector.spans();
    let of = |ingest: &str| {
        let roots = spans.iter().filter(|span| {
            span.name == "reconcile"
                && span.attributes.get("kvs_ingest.name").is_some_and(|name| name == ingest)
        });
        roots.cloned().collect::<Vec<Span>>()
    };
    let below = |root: &Span, path: &[&str]| -> Vec<Span> {
        path.iter().fold(vec![root.clone()], |parents, name| {
            let child = |span: &&Span| {
                span.name == *name
                    && parents.iter().any(|parent| span.parent == parent.id && span.trace == parent.trace)
            };
            spans.iter().filter(child).cloned().collect()
        })
    };
    let door = of("door");
    let applied: Vec<_> = door.iter().flat_map(|root| below(root, &["apply", "apply Deployment"])).collect();
    assert_eq!(applied.len(), 1, "{spans:#?}");
    let asked: Vec<_> = door.iter().flat_map(|root| below(root, &["resolve", "CreateStream"])).collect();
    assert_eq!(asked.len(), 1, "{spans:#?}");
    assert_eq!(asked[0].attributes["rpc.system"], "aws-api");
    assert!(door.iter().any(|root| !below(root, &["report", "apply status"]).is_empty()), "{spans:#?}");
    let root = &door[0];
    assert!(root.parent.is_empty());
    assert_eq!(root.attributes["k8s.namespace.name"], world.namespace);
    assert_eq!(root.resource["service.name"], "kvs-ingest-operator");
    assert_eq!(root.resource["service.instance.id"], "one");
    let lost = of("lost");
    let failed = lost.iter().flat_map(|root| below(root, &["resolve", "DescribeSignalingChannel"]));
    let failed: Vec<_> = failed.filter(|span| span.status == 2).collect();
    assert!(
        failed.first().is_some_and(|span| span.attributes["error.type"] == "not_found"),
        "{lost:#?} {failed:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_there_changes_nothing() {
    let world = World::new("untraced").await.unwrap();
    let operator = world.operator("one", &["--otlp-endpoint=http://127.0.0.1:9"]).await.unwrap();
    world.create(world.manifest("door", json!({}))).await.unwrap();
    world.says("door", "ChannelResolved", "True", "Created").await.unwrap();
    operator.stop().await.unwrap();
}
