//! Lives that chance writes, one a seed: objects come and go and are changed, AWS and the API server fail at random, the
//! operator ends. When all that is over, everything is as the objects say.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::cloud::Kind;
use super::world::{CLUSTER, World, says, spec, without_stream};
use crate::names;

/// With `--all`, and else.
const SEEDS: [u64; 2] = [1000, 100];
const PARTS: u64 = 4;
/// Of each: so many things happen, some seconds apart.
const STEPS: usize = 12;
const OBJECTS: [&str; 3] = ["a", "b", "c"];
const RESOURCES: [&str; 2] = ["x", "y"];

/// What of the objects that are gone has to be in AWS no more: their uids, unless something else may have kept it.
#[derive(Default)]
struct Past {
    /// By uid: their policy when they were deleted.
    policies: BTreeMap<String, String>,
    /// Something else used the same, at some time.
    shared: bool,
}

fn random_spec(world: &World) -> Value {
    let chaos = &world.chaos;
    let policy = chaos.pick(&["Delete", "Delete", "Retain"]);
    let channel = chaos.pick(&RESOURCES);
    let mut spec = if chaos.chance(0.2) {
        without_stream(channel, policy)
    } else {
        spec(channel, chaos.pick(&RESOURCES), policy)
    };
    for resource in
        ["channel", "stream"].into_iter().filter(|half| spec.get(half).is_some()).collect::<Vec<_>>()
    {
        spec[resource]["createIfMissing"] = json!(chaos.chance(0.8));
        spec[resource]["adopt"] = json!(chaos.chance(0.2));
    }
    spec["suspend"] = json!(chaos.chance(0.2));
    if spec.get("stream").is_some() && chaos.chance(0.3) {
        spec["mode"] = json!("ManagedStorage");
    }
    if spec.get("stream").is_some() && chaos.chance(0.3) {
        spec["stream"]["retentionHours"] = json!(chaos.pick(&[1, 24, 48]));
    }
    spec
}

/// Does another object name the same channel or stream?
fn is_shared(world: &World, spec: &Value) -> bool {
    let same = |half: &str, other: &Value| {
        !spec[half].is_null() && other["spec"][half]["name"] == spec[half]["name"]
    };
    world.api_server.ingests().iter().any(|other| same("channel", other) || same("stream", other))
}

fn happen(world: &mut World, past: &mut Past) {
    let name = world.chaos.pick(&OBJECTS);
    let found = world.api_server.ingest(name);
    match (world.chaos.pick(&[0, 0, 1, 1, 2, 2, 3, 4, 5, 6, 7]), found) {
        (0 | 1, None) => {
            let spec = random_spec(world);
            past.shared |= is_shared(world, &spec);
            world.api_server.create(name, &spec);
        }
        (1, Some(object)) => {
            let policy = object["spec"]["deletionPolicy"].as_str().unwrap().to_owned();
            past.policies.insert(object["metadata"]["uid"].as_str().unwrap().to_owned(), policy);
            world.api_server.delete(name);
        }
        (2, Some(object)) if object["metadata"]["deletionTimestamp"].is_null() => {
            let fields = ["suspend", "policy", "adopt", "mode"];
            let (field, value) = (world.chaos.pick(&fields), world.chaos.chance(0.5));
            // One without a stream gets one.
            let stream = spec("", world.chaos.pick(&RESOURCES), "Retain")["stream"].clone();
            let lacks = object["spec"]["stream"].is_null();
            past.shared |= lacks && field == "adopt" && is_shared(world, &json!({"stream": stream}));
            world.api_server.edit(name, |object| match field {
                "suspend" => object["spec"]["suspend"] = json!(value),
                "policy" => object["spec"]["deletionPolicy"] = json!(if value { "Delete" } else { "Retain" }),
                // One with outputs has an agent.
                "mode" if !object["spec"]["outputs"].is_null() => {}
                "mode" => object["spec"]["mode"] = json!(if value { "ManagedStorage" } else { "Agent" }),
                _ if lacks => object["spec"]["stream"] = stream.clone(),
                _ => object["spec"]["stream"]["adopt"] = json!(value),
            });
        }
        (3, _) => {
            let (kind, name) =
                (world.chaos.pick(&[Kind::Channel, Kind::Stream]), world.chaos.pick(&RESOURCES));
            world.cloud.lose(kind, name);
        }
        (4, _) => {
            let (kind, name) =
                (world.chaos.pick(&[Kind::Channel, Kind::Stream]), world.chaos.pick(&RESOURCES));
            world.cloud.found(kind, name, &kvs::Tags::new());
        }
        (5, _) => world.kill(),
        (6, _) => world.api_server.orphan_deployment(&names::deployment(name)),
        (7, _) => {
            let stream = world.cloud.get(Kind::Stream, world.chaos.pick(&RESOURCES));
            let stream = stream.filter(|_| world.chaos.chance(0.5)).map(|stream| stream.arn);
            world.cloud.map(world.chaos.pick(&RESOURCES), stream.as_deref());
        }
        _ => {}
    }
}

/// What is wrong, when nothing happens any more.
fn wrong(world: &World, past: &Past) -> Vec<String> {
    let mut wrong = Vec::new();
    let objects = world.api_server.ingests();
    let deployments = world.api_server.deployments();
    let mut writers: BTreeMap<String, usize> = BTreeMap::new();
    for object in &objects {
        let name = object["metadata"]["name"].as_str().unwrap();
        let uid = &object["metadata"]["uid"];
        if !object["metadata"]["deletionTimestamp"].is_null() {
            wrong.push(format!("{name} is stuck: {:#}", object["status"]));
            continue;
        }
        let mut resolved = true;
        for (kind, half, condition) in
            [(Kind::Channel, "channel", "ChannelResolved"), (Kind::Stream, "stream", "StreamResolved")]
        {
            let said = says(object, condition);
            resolved &= said.starts_with("True");
            if object["spec"][half].is_null() {
                if said != "True NotUsed" || !object["status"][half].is_null() {
                    wrong.push(format!("{name} names no {half}, and says {said} {}", object["status"][half]));
                }
                continue;
            }
            let there = world.cloud.get(kind, object["spec"][half]["name"].as_str().unwrap());
            let status = &object["status"][half];
            if !said.starts_with("True") {
                continue;
            }
            match there {
                Some(thing) if thing.is_active() && status["arn"] == thing.arn => {
                    let tagged = thing.tags.get(names::TAG_UID).is_some_and(|tag| *uid == *tag);
                    if tagged != (status["created"] == true) {
                        wrong.push(format!("{name} says of its {half} {status}, tagged {:?}", thing.tags));
                    }
                    // What another object has raised since is seen at the next look, within ten hours.
                    let raised =
                        past.shared && status["retentionHours"].as_u64() < Some(thing.retention_hours.into());
                    if half == "stream" && status["retentionHours"] != thing.retention_hours && !raised {
                        wrong.push(format!("{name} says {status}, and it is {}", thing.retention_hours));
                    }
                }
                other => wrong.push(format!("{name} says {said} {status}, and there is {other:?}")),
            }
        }
        let deployment =
            deployments.iter().find(|found| found["metadata"]["name"] == names::deployment(name));
        let runs = deployment.is_some_and(|found| found["spec"]["replicas"] == 1);
        let suspended = object["spec"]["suspend"] == true;
        let managed = object["spec"]["mode"] == "ManagedStorage";
        if runs && suspended {
            wrong.push(format!("{name} is suspended, and its agent runs"));
        }
        if resolved && !suspended && !managed && !runs {
            wrong.push(format!("{name} has all it needs, and no agent: {:#}", object["status"]));
        }
        let channel = world.cloud.get(Kind::Channel, object["spec"]["channel"]["name"].as_str().unwrap());
        let recorded = channel.is_some_and(|channel| {
            channel.is_recorded() && object["status"]["stream"]["arn"] == json!(channel.stored_in)
        });
        if resolved && !suspended && managed && (!recorded || deployment.is_some()) {
            wrong.push(format!("{name} is to be recorded by AWS alone: {recorded}, {:#}", object["status"]));
        }
        if !object["status"]["mediaStorage"].is_null() && (suspended || !managed) {
            let storage = &object["status"]["mediaStorage"];
            if storage["enabledByOperator"] == true {
                wrong.push(format!("{name} is not to be recorded by AWS, and says {storage}"));
            }
        }
        let writes = runs || recorded && object["status"]["mediaStorage"]["enabledByOperator"] == true;
        if writes && !object["spec"]["stream"].is_null() {
            *writers.entry(object["spec"]["stream"]["name"].to_string()).or_default() += 1;
        }
        let ready = says(object, "Ready");
        if (ready.starts_with("True")) != (resolved && (runs || suspended || managed)) {
            wrong.push(format!("{name} says Ready {ready}: {:#}", object["status"]));
        }
        if object["status"]["observedGeneration"] != object["metadata"]["generation"] {
            wrong.push(format!("{name} was not looked at as it is now"));
        }
    }
    wrong.extend(
        writers
            .iter()
            .filter(|(_, count)| **count > 1)
            .map(|(stream, count)| format!("{count} write {stream}")),
    );
    for deployment in &deployments {
        let owner = &deployment["metadata"]["ownerReferences"][0]["uid"];
        if owner.is_null() {
            // Somebody took its owner away and deleted the object before the operator saw it, as `--cascade=orphan` does.
            continue;
        }
        if !objects.iter().any(|object| object["metadata"]["uid"] == *owner) {
            wrong.push(format!("{} is nobody's", deployment["metadata"]["name"]));
        }
    }
    for (kind, name, thing) in world.cloud.all() {
        let mapped_for = |object: &Value| {
            let storage = &object["status"]["mediaStorage"];
            storage["enabledByOperator"] == true
                && storage["streamArn"] == json!(thing.stored_in)
                && storage["channelArn"] == thing.arn
        };
        if thing.stored_in.is_some() && !thing.by_hand && !objects.iter().any(mapped_for) {
            wrong.push(format!("AWS goes on recording {name}, for nobody"));
        }
        let Some(uid) = thing.tags.get(names::TAG_UID) else { continue };
        assert_eq!(thing.tags.get(names::TAG_CLUSTER).map(String::as_str), Some(CLUSTER));
        if past.policies.get(uid).is_some_and(|policy| policy == "Delete") && !past.shared {
            wrong.push(format!("{kind:?} {name} is left of an object that is gone"));
        }
    }
    wrong
}

async fn live(seed: u64) -> Vec<String> {
    let mut world = World::new(seed);
    let mut past = Past::default();
    let (aws, api_server) = (world.chaos.pick(&[0.0, 0.1, 0.3, 0.6]), world.chaos.pick(&[0.0, 0.05, 0.3]));
    world.chaos.fail(aws, api_server);
    for _ in 0..STEPS {
        happen(&mut world, &mut past);
        let seconds = world.chaos.pick(&[0, 1, 3, 8]);
        world.pass(Duration::from_secs(seconds)).await;
    }
    world.chaos.fail(0.0, 0.0);
    // What was lost while nobody looked is found at the next look.
    for name in OBJECTS {
        world.api_server.edit(name, |object| {
            object["metadata"]["annotations"] = json!({"kvs-ingest.dev/reconcile-requested-at": "now"});
        });
    }
    world.rest(Duration::from_secs(60)).await;
    let waits = |object: &Value| {
        !says(object, "Ready").starts_with("True")
            || says(object, "StreamResolved").ends_with("AdoptionRefused")
    };
    if world.api_server.ingests().iter().any(waits) {
        // What it waits for is asked for again within five minutes.
        world.rest(Duration::from_secs(360)).await;
    }
    // And a new operator finds nothing to do.
    let writes = world.chaos.writes().len();
    let before = (world.api_server.ingests(), world.api_server.deployments());
    world.kill();
    world.pass(Duration::from_secs(30)).await;
    let mut wrong = wrong(&world, &past);
    let since = &world.chaos.writes()[writes..];
    if !since.is_empty() {
        let after = (world.api_server.ingests(), world.api_server.deployments());
        wrong.push(format!("at rest: {since:#?}\nbefore: {before:#?}\nafter: {after:#?}"));
    }
    wrong
}

/// One of the parts, which are tried beside each other.
async fn play(part: u64) {
    let only = std::env::var("KVS_INGEST_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let all = only.is_some() || std::env::var_os("KVS_INGEST_REAL_TIME").is_some();
    let seeds = 0..SEEDS[usize::from(!all)];
    let seeds = seeds.filter(|seed| seed % PARTS == part && only.is_none_or(|only| only == *seed));
    for seed in seeds {
        let wrong = live(seed).await;
        assert!(wrong.is_empty(), "KVS_INGEST_SEED={seed}: {wrong:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_fails_everything_is_as_the_objects_say_in_the_end_1() {
    play(0).await;
}

#[tokio::test(start_paused = true)]
async fn whatever_fails_everything_is_as_the_objects_say_in_the_end_2() {
    play(1).await;
}

#[tokio::test(start_paused = true)]
async fn whatever_fails_everything_is_as_the_objects_say_in_the_end_3() {
    play(2).await;
}

#[tokio::test(start_paused = true)]
async fn whatever_fails_everything_is_as_the_objects_say_in_the_end_4() {
    play(3).await;
}
