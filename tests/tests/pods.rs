//! The whole path in pods, on a real node: the images, the chart, KVS in a pod, and what happens to media when pods, the
//! operator, the API server or the node go away. One at a time, in the order of their names: `cargo xtask test pods`.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use kvs_ingest_tests::kubernetes::condition;
use kvs_ingest_tests::master::Master;
use kvs_ingest_tests::pods::{DEADLINE, RELEASE, Room, SECCOMP_PROFILE, Stage};
use kvs_ingest_tests::stored::{most_is_there, nothing_lost};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

const NAME: &str = "door";

/// Media for so long are enough to see whether something is missing.
const SOME: Duration = Duration::from_secs(6);

async fn flowing(room: &Room) {
    room.says(NAME, "MediaFlowing", "True", "Streaming").await.unwrap();
    room.says(NAME, "Ready", "True", "Streaming").await.unwrap();
}

/// The longest time between the end of a fragment and the start of the next, in milliseconds.
fn longest_gap(fragments: &[Value]) -> u64 {
    let time = |fragment: &Value, member: &str| fragment[member].as_u64().unwrap();
    let mut covered = fragments.first().map_or(0, |fragment| time(fragment, "producerMs"));
    let mut longest = 0;
    for fragment in fragments {
        let from = time(fragment, "producerMs");
        longest = longest.max(from.saturating_sub(covered));
        covered = covered.max(from + time(fragment, "durationMs"));
    }
    longest
}

/// All of the one session that there was is stored, every frame once.
async fn all_of_one_session(room: &Room, master: &Master) {
    let stored = room.finish(NAME).await.unwrap();
    let sent = master.sent();
    let [sent] = &sent[..] else { panic!("{} viewers came, not one", sent.len()) };
    nothing_lost(&stored, sent);
    most_is_there(&stored, sent);
}

#[tokio::test]
async fn a_first_object_is_stored_and_a_camera_may_come_later() {
    let room = Room::new("pods-first").await.unwrap();
    room.ingest(NAME, json!({})).await.unwrap();
    // A camera that is off is no broken deployment.
    room.says(NAME, "Ready", "True", "WaitingForMaster").await.unwrap();
    let wait = ["-n", "pods-first", "wait", "--for=condition=Ready", "--timeout=180s", "kvsi/door"];
    room.stage.kubectl(&wait).await.unwrap();
    let master = room.master(NAME).await.unwrap();
    flowing(&room).await;
    room.persisted(NAME, SOME).await.unwrap();
    let path = "jsonpath={.items[0].spec.securityContext.seccompProfile.localhostProfile}";
    let profile = room.stage.kubectl(&["-n", "pods-first", "get", "pods", "-o", path]).await.unwrap();
    assert_eq!(profile, SECCOMP_PROFILE);
    let table = room.stage.kubectl(&["-n", "pods-first", "get", "kvsi", "-o", "wide"]).await.unwrap();
    assert!(table.contains("Streaming") && table.contains("pods-first-door"), "{table}");
    all_of_one_session(&room, &master).await;
    master.stop().await;
    room.end().await.unwrap();
}

/// What only the kubelet knows, and says in events alone.
#[tokio::test]
async fn a_missing_secret_is_told() {
    let room = Room::new("pods-missing").await.unwrap();
    room.ingest(NAME, json!({"credentialsSecretRef": {"name": "no-such"}})).await.unwrap();
    let found = room.says(NAME, "Ready", "False", "ContainerConfigError").await.unwrap();
    let message = condition(&found, "Ready").unwrap()["message"].as_str().unwrap();
    assert!(message.contains("no-such") && message.contains("spec.credentialsSecretRef"), "{message}");
    room.end().await.unwrap();
}

#[tokio::test]
async fn a_killed_and_an_evicted_pod_come_back() {
    let room = Room::new("pods-killed").await.unwrap();
    room.ingest(NAME, json!({})).await.unwrap();
    let master = room.master(NAME).await.unwrap();
    flowing(&room).await;
    room.persisted(NAME, SOME).await.unwrap();

    let first = room.ready_pod(NAME, None).await.unwrap();
    let kill = ["-n", "pods-killed", "delete", "pod", &first, "--force", "--grace-period=0"];
    room.stage.kubectl(&kill).await.unwrap();
    let second = room.ready_pod(NAME, Some(&first)).await.unwrap();
    master.wait_for("a second viewer", DEADLINE, |sent| sent.len() >= 2).await.unwrap();
    flowing(&room).await;

    let eviction = json!({
        "apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": {"name": second, "namespace": "pods-killed"},
    });
    let file = room.folder.path().join("eviction.json");
    std::fs::write(&file, eviction.to_string()).unwrap();
    let path = format!("/api/v1/namespaces/pods-killed/pods/{second}/eviction");
    room.stage.kubectl(&["create", "--raw", &path, "-f", &file.display().to_string()]).await.unwrap();
    room.ready_pod(NAME, Some(&second)).await.unwrap();
    master.wait_for("a third viewer", DEADLINE, |sent| sent.len() >= 3).await.unwrap();
    flowing(&room).await;
    let before = room.fragments(NAME).await.unwrap().len();
    let until = Instant::now() + DEADLINE;
    while room.fragments(NAME).await.unwrap().len() < before + 2 {
        assert!(Instant::now() < until, "nothing more is stored");
        sleep(Duration::from_millis(300)).await;
    }
    master.stop().await;
    room.end().await.unwrap();
}

#[tokio::test]
async fn an_agent_out_of_memory_and_an_image_that_is_not_there_are_told() {
    let room = Room::new("pods-broken").await.unwrap();
    // Hardly enough to wait for a master, and not enough for its media: 8 MiB would do. An object that is new and runs is
    // refused so little, one that is suspended is not, and then it is not new any more.
    let little = json!({"resources": {"requests": {"memory": "4Mi"}, "limits": {"memory": "4Mi"}}});
    room.ingest("small", little).await.unwrap();
    room.says("small", "Ready", "False", "InvalidSpec").await.unwrap();
    room.patch("small", json!({"spec": {"suspend": true}})).await.unwrap();
    room.says("small", "Ready", "True", "Suspended").await.unwrap();
    room.patch("small", json!({"spec": {"suspend": false}})).await.unwrap();
    let master = room.master("small").await.unwrap();
    let absent = json!({"image": "localhost/kvs-ingest-agent:no-such-tag"});
    room.ingest("absent", absent).await.unwrap();
    let until = Instant::now() + DEADLINE;
    loop {
        let text = room.stage.kubectl(&["-n", "pods-broken", "get", "kvsi", "-o", "json"]).await.unwrap();
        let list: Value = serde_json::from_str(&text).unwrap();
        let reason = |name: &str| {
            let object =
                list["items"].as_array()?.iter().find(|object| object["metadata"]["name"] == name)?;
            Some(condition(object, "AgentAvailable")?["reason"].as_str()?.to_owned())
        };
        let (small, absent) = (reason("small"), reason("absent"));
        let told = matches!(small.as_deref(), Some("OutOfMemory"))
            && matches!(absent.as_deref(), Some("ImagePullBackOff"));
        if told {
            break;
        }
        let stage = room.stage;
        assert!(
            Instant::now() < until,
            "small: {small:?}, absent: {absent:?}\n{}",
            stage.look("pods-broken").await
        );
        sleep(Duration::from_millis(500)).await;
    }
    room.says("small", "Ready", "False", "OutOfMemory").await.unwrap();
    master.stop().await;
    // What was wrong is mended, and the object recovers by itself.
    room.patch("absent", json!({"spec": {"image": null}})).await.unwrap();
    room.says("absent", "Ready", "True", "WaitingForMaster").await.unwrap();
    room.end().await.unwrap();
}

#[tokio::test]
async fn a_drained_node_stops_the_agent_and_an_uncordoned_one_starts_it() {
    let room = Room::new("pods-drained").await.unwrap();
    room.ingest(NAME, json!({})).await.unwrap();
    let master = room.master(NAME).await.unwrap();
    flowing(&room).await;
    let node =
        room.stage.kubectl(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]).await.unwrap();
    let drain = room
        .stage
        .kubectl(&["drain", &node, "--pod-selector=app.kubernetes.io/name=kvs-ingest-agent", "--timeout=90s"])
        .await;
    let told = match drain {
        Ok(_) => room.says(NAME, "AgentAvailable", "False", "Unschedulable").await,
        Err(error) => Err(error),
    };
    room.stage.kubectl(&["uncordon", &node]).await.unwrap();
    told.unwrap();
    flowing(&room).await;
    master.stop().await;
    room.end().await.unwrap();
}

#[tokio::test]
async fn media_flow_on_while_the_operator_and_the_api_server_are_away() {
    let room = Room::new("pods-alone").await.unwrap();
    room.ingest(NAME, json!({})).await.unwrap();
    let master = room.master(NAME).await.unwrap();
    flowing(&room).await;
    let stage = room.stage;
    let deployment = "deployment/kvs-ingest-operator";
    stage.kubectl(&["-n", RELEASE, "scale", deployment, "--replicas=0"]).await.unwrap();
    let label = "--selector=app.kubernetes.io/name=kvs-ingest-operator";
    stage
        .until(RELEASE, &["pods", label], "no operator", |list| {
            list["items"].as_array().is_some_and(Vec::is_empty)
        })
        .await
        .unwrap();
    stage.restart_apiserver().await.unwrap();
    let more = room.fragments(NAME).await.unwrap().len() + 3;
    let until = Instant::now() + DEADLINE;
    while room.fragments(NAME).await.unwrap().len() < more {
        assert!(Instant::now() < until, "nothing is stored without the operator");
        sleep(Duration::from_millis(300)).await;
    }
    stage.kubectl(&["-n", RELEASE, "scale", deployment, "--replicas=2"]).await.unwrap();
    stage.kubectl(&["-n", RELEASE, "rollout", "status", deployment, "--timeout=120s"]).await.unwrap();
    all_of_one_session(&room, &master).await;
    master.stop().await;
    room.end().await.unwrap();
}

#[tokio::test]
async fn credentials_from_a_secret_are_used_and_their_rotation_is_seen() {
    let room = Room::new("pods-secret").await.unwrap();
    room.credentials("wrong").await.unwrap();
    room.ingest(NAME, json!({})).await.unwrap();
    let master = room.master(NAME).await.unwrap();
    room.stage
        .until("pods-secret", &["kvsingest", NAME], "a word about the credentials", |object| {
            condition(object, "MediaFlowing").is_some_and(|found| {
                found["status"] == "False"
                    && found["message"].as_str().is_some_and(|text| text.contains("credentials"))
            })
        })
        .await
        .unwrap();
    let pods = room.pods(NAME).await.unwrap();
    room.credentials(Room::right_key()).await.unwrap();
    flowing(&room).await;
    // Nobody had to restart it.
    let now = room.pods(NAME).await.unwrap();
    assert_eq!(pods[0]["metadata"]["uid"], now[0]["metadata"]["uid"]);
    master.stop().await;
    room.end().await.unwrap();
}

#[tokio::test]
async fn the_chart_is_upgraded_and_the_agents_run_on() {
    let room = Room::new("pods-chart").await.unwrap();
    room.ingest(NAME, json!({})).await.unwrap();
    let master = room.master(NAME).await.unwrap();
    flowing(&room).await;
    let pod = room.ready_pod(NAME, None).await.unwrap();
    room.stage.install(&["podAnnotations.upgraded=yes"]).await.unwrap();
    room.says(NAME, "Ready", "True", "Streaming").await.unwrap();
    assert_eq!(room.ready_pod(NAME, None).await.unwrap(), pod);
    all_of_one_session(&room, &master).await;
    master.stop().await;
    room.end().await.unwrap();
}

#[tokio::test]
async fn the_image_of_an_agent_is_changed_under_live_media() {
    let room = Room::new("pods-image").await.unwrap();
    room.ingest(NAME, json!({})).await.unwrap();
    let master = room.master(NAME).await.unwrap();
    flowing(&room).await;
    room.persisted(NAME, SOME).await.unwrap();
    let old = room.ready_pod(NAME, None).await.unwrap();
    room.stage.tag("localhost/kvs-ingest-agent:dev", "localhost/kvs-ingest-agent:next").await.unwrap();
    room.patch(NAME, json!({"spec": {"image": "localhost/kvs-ingest-agent:next"}})).await.unwrap();
    let new = room.ready_pod(NAME, Some(&old)).await.unwrap();
    assert_ne!(old, new);
    let fragments = room.fragments(NAME).await.unwrap().len();
    let until = Instant::now() + DEADLINE;
    while room.fragments(NAME).await.unwrap().len() < fragments + 3 {
        assert!(
            Instant::now() < until,
            "the new agent stores nothing\n{}",
            room.stage.look("pods-image").await
        );
        sleep(Duration::from_millis(300)).await;
    }
    flowing(&room).await;
    let gap = longest_gap(&room.fragments(NAME).await.unwrap());
    println!("longest gap in the stored media over the change of the image: {gap} ms");
    // Old and new overlap, as the Deployment's strategy wants it; the gap is to be closed by a later version.
    assert!(gap < 20_000, "{gap} ms are missing");
    master.stop().await;
    room.end().await.unwrap();
}

#[tokio::test]
async fn zz_uninstalled_nothing_stays_but_what_retain_says() {
    let room = Room::new("pods-last").await.unwrap();
    room.ingest(NAME, json!({})).await.unwrap();
    room.ingest("gone", json!({"deletionPolicy": "Delete"})).await.unwrap();
    room.says("gone", "Ready", "True", "WaitingForMaster").await.unwrap();
    room.says(NAME, "Ready", "True", "WaitingForMaster").await.unwrap();
    let stage: &Stage = room.stage;
    stage.kubectl(&["-n", "pods-last", "delete", "kvsi", "--all", "--timeout=90s"]).await.unwrap();
    stage.helm(&["uninstall", RELEASE, "--wait"]).await.unwrap();
    let kinds = "deployments,replicasets,pods,services,poddisruptionbudgets,serviceaccounts,roles,rolebindings,networkpolicies";
    stage
        .until(RELEASE, &[kinds], "nothing of the release", |list| {
            list["items"]
                .as_array()
                .is_some_and(|items| items.iter().all(|item| item["metadata"]["name"] == "default"))
        })
        .await
        .unwrap();
    let cluster = ["get", "clusterroles,clusterrolebindings", "-o", "name"];
    let left = stage.kubectl(&cluster).await.unwrap();
    assert!(!left.contains("kvs-ingest"), "{left}");
    let streams = kvs_ingest_tests::http::get_json(&format!("{}/_kvs/state", stage.kvs)).await.unwrap();
    let streams: Vec<_> =
        streams["streams"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert!(streams.contains(&"pods-last-door"), "Retain: {streams:?}");
    assert!(!streams.contains(&"pods-last-gone"), "Delete: {streams:?}");
    room.end().await.unwrap();
}
