//! The operator ends at each write of the life of an object, before it and after it; another one goes on.

use std::time::Duration;

use kvs_aws::ErrorClass;
use serde_json::{Value, json};

use super::chaos::Fate;
use super::cloud::Kind;
use super::world::{World, managed, says, spec, tags, without_stream};

const QUIET: Duration = Duration::from_secs(30);

/// What a life begins with, and when the object is deleted.
#[derive(Clone, Copy, Debug)]
struct Life {
    spec: fn() -> Value,
    /// There before the object.
    before: fn(&World),
    /// From its creation to its deletion; a long one ends when nothing more is done.
    long: bool,
    /// What is left in AWS.
    left: &'static [&'static str],
}

const LIVES: &[Life] = &[
    Life { spec: || spec("c", "s", "Delete"), before: |_| {}, long: true, left: &[] },
    Life { spec: || spec("c", "s", "Delete"), before: |_| {}, long: false, left: &[] },
    Life {
        spec: || spec("c", "s", "Delete"),
        before: |world| world.cloud.found(Kind::Stream, "s", &kvs::Tags::new()),
        long: true,
        left: &["s"],
    },
    Life {
        // Restored from a backup: what its former self made is its own again.
        spec: || {
            let mut spec = spec("c", "s", "Delete");
            spec["stream"]["adopt"] = json!(true);
            spec["stream"]["retentionHours"] = json!(48);
            spec["channel"]["adopt"] = json!(true);
            spec
        },
        before: |world| {
            world.cloud.found(Kind::Channel, "c", &tags("u-former", "door"));
            world.cloud.found(Kind::Stream, "s", &tags("u-former", "door"));
        },
        long: true,
        left: &[],
    },
    Life { spec: || spec("c", "s", "Retain"), before: |_| {}, long: true, left: &["c", "s"] },
    Life { spec: || managed("c", "s", "Delete"), before: |_| {}, long: true, left: &[] },
    Life { spec: || managed("c", "s", "Delete"), before: |_| {}, long: false, left: &[] },
    Life { spec: || managed("c", "s", "Retain"), before: |_| {}, long: true, left: &["c", "s"] },
    Life {
        spec: || managed("c", "s", "Delete"),
        before: |world| {
            world.cloud.found(Kind::Channel, "c", &kvs::Tags::new());
            world.cloud.found(Kind::Stream, "s", &kvs::Tags::new());
        },
        long: true,
        left: &["c", "s"],
    },
    Life { spec: || without_stream("c", "Delete"), before: |_| {}, long: true, left: &[] },
    // One of the name of the channel is somebody else's.
    Life {
        spec: || without_stream("c", "Delete"),
        before: |world| world.cloud.found(Kind::Stream, "c", &kvs::Tags::new()),
        long: false,
        left: &["c"],
    },
];

/// The writes of the life; the operator ends at the one of this number, if there is one.
async fn live(life: &Life, kill: Option<(usize, Fate)>) -> Vec<String> {
    let mut world = World::new(0);
    (life.before)(&world);
    if let Some((number, fate)) = kill {
        world.chaos.kill_at(number, fate);
    }
    world.api_server.create("door", &(life.spec)());
    let what = || format!("{life:?}, killed at {kill:?}");
    if life.long {
        world.rest(QUIET).await;
        let door = world.api_server.ingest("door").unwrap();
        let agents = usize::from(door["spec"]["mode"] != "ManagedStorage");
        let said = if agents == 1 { "True AgentAvailable" } else { "True Streaming" };
        assert_eq!(says(&door, "Ready"), said, "{} {:#}", what(), door["status"]);
        assert_eq!(world.api_server.deployments().len(), agents, "{}", what());
    } else {
        world.pass(Duration::from_millis(500)).await;
    }
    world.api_server.delete("door");
    world.rest(QUIET).await;
    assert_eq!(world.api_server.ingest("door"), None, "{}: {:#?}", what(), world.chaos.writes());
    assert_eq!(world.api_server.deployments(), [] as [Value; 0], "{}", what());
    let left: Vec<_> = world.cloud.all().into_iter().map(|(_, name, _)| name).collect();
    assert_eq!(left, life.left, "{}: {:#?}", what(), world.chaos.writes());
    let mapped = world.cloud.all().into_iter().any(|(.., thing)| thing.stored_in.is_some());
    assert!(!mapped, "{}: AWS goes on recording", what());
    assert!(kill.is_none() || !world.chaos.is_to_kill() || !life.long, "{}: it lived on", what());
    world.chaos.writes()
}

#[tokio::test(start_paused = true)]
async fn an_operator_that_ends_between_two_writes_leaves_nothing_behind() {
    for life in LIVES {
        let writes = live(life, None).await;
        assert!(writes.len() >= 4, "{writes:#?}");
        for number in 1..=writes.len() {
            for fate in [Fate::KilledBefore, Fate::KilledAfter] {
                live(life, Some((number, fate))).await;
            }
        }
    }
}

/// Not what is done, but in which order: nothing exists before it can be found again.
#[tokio::test(start_paused = true)]
async fn what_may_be_made_is_written_down_first() {
    let writes = live(&LIVES[0], None).await;
    let at = |what: &str| writes.iter().position(|write| write == what).expect(what);
    assert_eq!(writes[0], "PATCH kvsingests door", "the finalizer: {writes:#?}");
    assert!(at("CreateSignalingChannel c") < at("PATCH kvsingests door status"), "{writes:#?}");
    assert!(at("PATCH kvsingests door status") < at("PATCH deployments door-agent"), "{writes:#?}");
    let end = at("DELETE deployments door-agent");
    assert!(end < at("DeleteSignalingChannel c") && end < at("DeleteStream s"), "{writes:#?}");
    assert_eq!(writes.last().unwrap(), "PATCH kvsingests door", "the finalizer, at last: {writes:#?}");
    let finalizers = writes.iter().filter(|write| *write == "PATCH kvsingests door").count();
    assert_eq!(finalizers, 2, "it is not taken away in between: {writes:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_paused_object_that_is_deleted_waits() {
    let mut world = World::new(0);
    world.api_server.create("door", &spec("c", "s", "Delete"));
    world.rest(QUIET).await;
    let pause = |value: Value| {
        move |door: &mut Value| door["metadata"]["annotations"] = json!({"kvs-ingest.dev/paused": value})
    };
    world.api_server.edit("door", pause(json!("true")));
    world.rest(QUIET).await;
    world.api_server.delete("door");
    world.rest(QUIET).await;
    let door = world.api_server.ingest("door").expect("it is paused");
    assert_eq!(says(&door, "Paused"), "True PausedByAnnotation");
    assert_eq!((world.cloud.all().len(), world.api_server.deployments().len()), (2, 1));
    world.api_server.edit("door", pause(json!("false")));
    world.rest(QUIET).await;
    assert_eq!((world.cloud.all().len(), world.api_server.ingests().len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_aws_loses_is_made_again_for_who_asks_and_its_agent_told() {
    let mut world = World::new(0);
    world.api_server.create("door", &spec("c", "s", "Delete"));
    world.rest(QUIET).await;
    let (env, door) =
        (world.api_server.deployments()[0]["spec"].to_string(), world.api_server.ingest("door").unwrap());
    let old = door["status"]["channel"]["arn"].as_str().unwrap().to_owned();
    assert!(env.contains(&old), "{env}");
    world.cloud.lose(Kind::Channel, "c");
    world.api_server.edit("door", |door| {
        door["metadata"]["annotations"] = json!({"kvs-ingest.dev/reconcile-requested-at": "now"});
    });
    world.pass(Duration::from_secs(2)).await;
    let door = world.api_server.ingest("door").unwrap();
    assert_eq!(says(&door, "Ready"), "False ChannelCreating", "{:#}", door["status"]);
    world.rest(QUIET).await;
    let door = world.api_server.ingest("door").unwrap();
    let new = door["status"]["channel"]["arn"].as_str().unwrap();
    assert_ne!(new, old);
    let env = world.api_server.deployments()[0]["spec"].to_string();
    assert!(env.contains(new) && !env.contains(&old), "{env}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_created_for_an_object_whose_other_half_is_not_found() {
    for (missing, other) in [("channel", "stream"), ("stream", "channel")] {
        let mut world = World::new(0);
        let mut half = spec("c", "s", "Delete");
        half[missing]["createIfMissing"] = json!(false);
        world.api_server.create("door", &half);
        world.pass(Duration::from_secs(60)).await;
        assert_eq!(world.cloud.all().len(), 0);
        let door = world.api_server.ingest("door").unwrap();
        let summary = if missing == "channel" { "False ChannelNotFound" } else { "False StreamNotFound" };
        assert_eq!(says(&door, "Ready"), summary, "the cause, not what waits for it: {:#}", door["status"]);
        let kind = if missing == "channel" { Kind::Channel } else { Kind::Stream };
        world.cloud.found(kind, if missing == "channel" { "c" } else { "s" }, &kvs::Tags::new());
        world.rest(Duration::from_secs(600)).await;
        assert_eq!(world.cloud.all().len(), 2, "the {other} is made then");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_another_object_uses_outlives_its_owner() {
    for (policy, suspend) in [("Retain", false), ("Delete", false), ("Retain", true)] {
        let mut world = World::new(0);
        world.api_server.create("old", &spec("c", "s", "Delete"));
        world.rest(QUIET).await;
        let mut young = spec("d", "s", policy);
        young["suspend"] = json!(suspend);
        world.api_server.create("young", &young);
        world.rest(QUIET).await;
        let arn = world.cloud.get(Kind::Stream, "s").unwrap().arn;
        let found = world.api_server.ingest("young").unwrap();
        let says_of = if suspend { "True Found" } else { "False StreamInUse" };
        assert_eq!(says(&found, "StreamResolved"), says_of, "{:#}", found["status"]);
        // Also when the operator has just begun.
        world.kill();
        world.api_server.delete("old");
        world.rest(QUIET).await;
        assert_eq!(world.api_server.ingests().len(), 1);
        assert_eq!(
            world.cloud.get(Kind::Stream, "s").map(|stream| stream.arn),
            Some(arn),
            "{policy} {suspend}"
        );
        assert!(world.cloud.get(Kind::Channel, "c").is_none());
        let heir = world.api_server.ingest("young").unwrap();
        assert_eq!(says(&heir, "StreamResolved"), "True Found", "{:#}", heir["status"]);
        world.api_server.delete("young");
        world.rest(QUIET).await;
        assert!(world.cloud.get(Kind::Stream, "s").is_some(), "it was found, not made");
    }
}

#[tokio::test(start_paused = true)]
async fn only_what_is_nobodys_is_adopted() {
    let adopting = || {
        let mut spec = spec("c", "s", "Delete");
        spec["stream"]["adopt"] = json!(true);
        spec["stream"]["retentionHours"] = json!(87_600);
        spec
    };
    let resolved = async |world: &mut World| {
        world.api_server.create("thief", &adopting());
        world.pass(Duration::from_secs(60)).await;
        let thief = world.api_server.ingest("thief").unwrap();
        (says(&thief, "StreamResolved"), world.cloud.get(Kind::Stream, "s").unwrap().retention_hours)
    };
    // Of an object that lives, and does not claim it: it is suspended.
    let mut world = World::new(0);
    let mut owner = spec("d", "s", "Retain");
    owner["suspend"] = json!(true);
    world.api_server.create("owner", &owner);
    world.rest(QUIET).await;
    assert_eq!(resolved(&mut world).await, ("True AdoptionRefused".to_owned(), 24));
    // It is let go when that ends.
    world.api_server.delete("owner");
    world.rest(Duration::from_secs(360)).await;
    assert_eq!(says(&world.api_server.ingest("thief").unwrap(), "StreamResolved"), "True Adopted");
    // Of another cluster.
    let mut world = World::new(0);
    let mut theirs = tags("u-theirs", "door");
    theirs.insert(crate::names::TAG_CLUSTER.to_owned(), "theirs".to_owned());
    world.cloud.found(Kind::Stream, "s", &theirs);
    assert_eq!(resolved(&mut world).await, ("False StreamInUse".to_owned(), 24));
    world.api_server.delete("thief");
    world.rest(QUIET).await;
    assert!(world.cloud.get(Kind::Stream, "s").is_some());
    // Of an object that is gone, and of nobody.
    for free in [tags("u-gone", "gone"), kvs::Tags::new()] {
        let mut world = World::new(0);
        world.cloud.found(Kind::Stream, "s", &free);
        assert_eq!(resolved(&mut world).await, ("True Adopted".to_owned(), 87_600));
        world.api_server.delete("thief");
        world.rest(QUIET).await;
        assert!(world.cloud.all().is_empty(), "it was its own");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_another_clusters_object_is_not_written() {
    let mut world = World::new(0);
    let mut theirs = tags("u-theirs", "door");
    theirs.insert(crate::names::TAG_CLUSTER.to_owned(), "theirs".to_owned());
    world.cloud.found(Kind::Stream, "s", &theirs);
    world.api_server.create("door", &spec("c", "s", "Retain"));
    world.pass(Duration::from_secs(60)).await;
    let door = world.api_server.ingest("door").unwrap();
    assert_eq!(says(&door, "Ready"), "False StreamInUse");
    let status = door["status"].to_string();
    assert!(status.contains("theirs") && status.contains("untag-stream"), "{status}");
    assert!(world.api_server.deployments().is_empty());
}

#[tokio::test(start_paused = true)]
async fn retention_is_raised_where_it_is_the_objects_own() {
    let mut world = World::new(0);
    world.cloud.found(Kind::Stream, "s", &kvs::Tags::new());
    let mut found = spec("c", "s", "Retain");
    found["stream"]["retentionHours"] = json!(48);
    world.api_server.create("door", &found);
    world.rest(QUIET).await;
    let door = world.api_server.ingest("door").unwrap();
    assert_eq!(says(&door, "Ready"), "True AgentAvailable", "it records all the same");
    assert!(door["status"].to_string().contains("spec.stream.adopt"), "{:#}", door["status"]);
    assert_eq!(world.cloud.get(Kind::Stream, "s").unwrap().retention_hours, 24);
    world.api_server.edit("door", |door| door["spec"]["stream"]["adopt"] = json!(true));
    world.rest(QUIET).await;
    assert_eq!(world.cloud.get(Kind::Stream, "s").unwrap().retention_hours, 48);
    let door = world.api_server.ingest("door").unwrap();
    assert_eq!(says(&door, "StreamResolved"), "True Adopted");
    assert!(!door["status"].to_string().contains("spec.stream.adopt"), "{:#}", door["status"]);
}

#[tokio::test(start_paused = true)]
async fn a_deployment_whose_owner_was_taken_away_gets_it_back_and_does_not_outlive_it() {
    let mut world = World::new(0);
    world.api_server.create("door", &spec("c", "s", "Delete"));
    world.rest(QUIET).await;
    world.api_server.orphan_deployment("door-agent");
    world.rest(QUIET).await;
    assert_eq!(world.api_server.deployments()[0]["metadata"]["ownerReferences"][0]["name"], "door");
    world.api_server.orphan_deployment("door-agent");
    world.api_server.delete("door");
    world.rest(QUIET).await;
    assert_eq!((world.api_server.deployments().len(), world.cloud.all().len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_deletion_that_cannot_go_on_says_why_and_retain_frees_it() {
    let mut world = World::new(0);
    world.api_server.create("door", &spec("c", "s", "Delete"));
    world.rest(QUIET).await;
    world.chaos.fail(1.0, 0.0);
    world.api_server.delete("door");
    world.pass(Duration::from_secs(60)).await;
    let door = world.api_server.ingest("door").unwrap();
    assert_eq!(says(&door, "Ready"), "False DeletionBlocked", "{:#}", door["status"]);
    assert!(door["status"].to_string().contains("spec.deletionPolicy: Retain"));
    world.api_server.edit("door", |door| door["spec"]["deletionPolicy"] = json!("Retain"));
    world.rest(QUIET).await;
    assert_eq!((world.api_server.ingests().len(), world.cloud.all().len()), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn an_object_that_cannot_be_read_keeps_what_is_known_and_can_be_deleted() {
    let mut world = World::new(0);
    world.api_server.create("door", &spec("c", "s", "Delete"));
    world.rest(QUIET).await;
    let before = world.api_server.ingest("door").unwrap();
    world.api_server.edit("door", |door| door["spec"]["logLevel"] = json!("whisper"));
    world.rest(QUIET).await;
    let after = world.api_server.ingest("door").unwrap();
    assert_eq!(says(&after, "Ready"), "False InvalidSpec");
    for field in ["channel", "stream", "deploymentGeneration", "image"] {
        assert_eq!(after["status"][field], before["status"][field], "{field}");
    }
    world.api_server.delete("door");
    world.rest(QUIET).await;
    assert_eq!((world.api_server.ingests().len(), world.cloud.all().len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_region_that_does_not_exist_does_not_hold_an_object() {
    let mut world = World::new(0);
    let mut mistyped = spec("c", "s", "Delete");
    mistyped["region"] = json!("eu-central-7");
    world.api_server.create("door", &mistyped);
    world.pass(Duration::from_secs(10)).await;
    let door = world.api_server.ingest("door").unwrap();
    assert_eq!(says(&door, "Ready"), "False RegionUnknown", "{:#}", door["status"]);
    world.api_server.delete("door");
    world.rest(QUIET).await;
    assert_eq!(world.api_server.ingests().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_two_share_goes_with_the_last_of_them() {
    for (policy, kill) in [("Delete", false), ("Delete", true), ("Retain", false), ("Retain", true)] {
        let mut world = World::new(0);
        world.api_server.create("old", &spec("c", "s", "Delete"));
        world.rest(QUIET).await;
        world.api_server.create("young", &spec("c", "t", policy));
        world.rest(QUIET).await;
        if policy == "Retain" {
            // As with `--cascade=foreground`: it is there until its Deployment has gone.
            let hold = |young: &mut Value| young["metadata"]["finalizers"] = json!(["foregroundDeletion"]);
            world.api_server.edit("young", hold);
        }
        if kill {
            world.kill();
        }
        world.api_server.delete("old");
        world.api_server.delete("young");
        world.pass(Duration::from_secs(10)).await;
        if policy == "Retain" {
            let old = world.api_server.ingest("old").expect("young has an agent on the channel");
            assert!(old["status"].to_string().contains("once cameras/young"), "{:#}", old["status"]);
            world.api_server.edit("young", |young| young["metadata"]["finalizers"] = json!([]));
            world.api_server.delete("young");
        }
        world.rest(QUIET).await;
        assert_eq!(world.api_server.ingests().len(), 0);
        let left: Vec<_> = world.cloud.all().into_iter().map(|(_, name, _)| name).collect();
        assert_eq!(left, if policy == "Retain" { vec!["t"] } else { vec![] }, "{kill}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deletion_that_waits_for_aws_does_not_keep_the_stream() {
    let mut world = World::new(0);
    world.api_server.create("old", &spec("c", "s", "Delete"));
    world.rest(QUIET).await;
    world.api_server.create("young", &spec("d", "s", "Retain"));
    world.rest(QUIET).await;
    let young = world.api_server.ingest("young").unwrap();
    assert_eq!(says(&young, "StreamResolved"), "False StreamInUse");
    // Somebody else's finalizer, too.
    world.api_server.edit("old", |old| {
        let finalizers = &mut old["metadata"]["finalizers"];
        finalizers.as_array_mut().unwrap().push(json!("example.com/theirs"));
    });
    for restart in [false, true] {
        if restart {
            world.kill();
        }
        world.api_server.delete("old");
        world.rest(Duration::from_secs(360)).await;
        assert!(world.api_server.ingest("old").is_some());
        let young = world.api_server.ingest("young").unwrap();
        assert_eq!(says(&young, "Ready"), "True AgentAvailable", "{:#}", young["status"]);
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_suspended_lets_others_write_although_it_is_wrong_otherwise() {
    for (field, value) in [("channel", json!({})), ("logLevel", json!("whisper"))] {
        for kill in [false, true] {
            let mut world = World::new(0);
            world.api_server.create("old", &spec("c", "s", "Retain"));
            world.rest(QUIET).await;
            world.api_server.create("young", &spec("d", "s", "Retain"));
            world.rest(QUIET).await;
            world.api_server.edit("old", |old| {
                old["spec"]["suspend"] = json!(true);
                old["spec"][field] = value.clone();
            });
            if kill {
                world.kill();
            }
            world.rest(Duration::from_secs(360)).await;
            assert_eq!(says(&world.api_server.ingest("old").unwrap(), "Ready"), "False InvalidSpec");
            let young = world.api_server.ingest("young").unwrap();
            assert_eq!(says(&young, "Ready"), "True AgentAvailable", "{field} {kill}: {:#}", young["status"]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_release_made_gets_the_tag_of_its_namespace() {
    let mut world = World::new(0);
    let uid = world.api_server.create("door", &spec("c", "s", "Delete"));
    for (kind, name) in [(Kind::Channel, "c"), (Kind::Stream, "s")] {
        world.cloud.found(kind, name, &tags(&uid, "door"));
    }
    world.rest(QUIET).await;
    for (kind, name, thing) in world.cloud.all() {
        let namespace = thing.tags.get(crate::names::TAG_NAMESPACE).map(String::as_str);
        assert_eq!(namespace, Some("cameras"), "{kind:?} {name}");
    }
    let door = world.api_server.ingest("door").unwrap();
    assert_eq!(says(&door, "Ready"), "True AgentAvailable", "{:#}", door["status"]);
    let writes = world.chaos.writes();
    let tagged = |writes: &[String]| writes.iter().filter(|write| write.starts_with("Tag")).count();
    assert_eq!(tagged(&writes), 2, "{writes:#?}");
    // It is looked at again, and nothing is missing.
    world.api_server.edit("door", |door| {
        door["metadata"]["annotations"] = json!({"kvs-ingest.dev/reconcile-requested-at": "now"});
    });
    world.rest(QUIET).await;
    assert_eq!(tagged(&world.chaos.writes()), 2);
}

#[tokio::test(start_paused = true)]
async fn a_deletion_that_aws_throttles_is_blocked_only_when_that_lasts() {
    let mut world = World::new(0);
    world.api_server.create("door", &spec("c", "s", "Delete"));
    world.rest(QUIET).await;
    world.cloud.refuse(Some(ErrorClass::Throttled));
    world.api_server.delete("door");
    world.pass(Duration::from_secs(6)).await;
    let door = world.api_server.ingest("door").unwrap();
    assert_eq!(says(&door, "Ready"), "False Deleting", "{:#}", door["status"]);
    let status = door["status"].to_string();
    assert!(status.contains("throttles") && !status.contains("Retain"), "{status}");
    world.pass(Duration::from_secs(120)).await;
    let door = world.api_server.ingest("door").unwrap();
    assert_eq!(says(&door, "Ready"), "False DeletionBlocked", "{:#}", door["status"]);
    world.cloud.refuse(None);
    world.rest(Duration::from_secs(120)).await;
    assert_eq!((world.api_server.ingests().len(), world.cloud.all().len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_the_operator_was_never_let_see_does_not_hold_an_object() {
    let mut world = World::new(0);
    for (kind, name) in [(Kind::Channel, "c"), (Kind::Stream, "s")] {
        world.cloud.found(kind, name, &kvs::Tags::new());
    }
    world.cloud.refuse(Some(ErrorClass::AccessDenied));
    let mut theirs = spec("c", "s", "Delete");
    for (kind, half, name) in [(Kind::Channel, "channel", "c"), (Kind::Stream, "stream", "s")] {
        let arn = world.cloud.get(kind, name).unwrap().arn;
        theirs[half] = json!({"arn": arn, "adopt": true});
    }
    // Without a role it is of the operator's own account: a person has to look.
    for (role, held) in [(json!("arn:aws:iam::123456789012:role/cameras"), false), (Value::Null, true)] {
        theirs["roleArn"] = role;
        world.api_server.create("door", &theirs);
        world.pass(Duration::from_secs(30)).await;
        let door = world.api_server.ingest("door").unwrap();
        let said = if held { "False AccessDenied" } else { "True NotVerified" };
        assert_eq!(says(&door, "StreamResolved"), said, "{:#}", door["status"]);
        world.api_server.delete("door");
        world.pass(Duration::from_secs(60)).await;
        assert_eq!(world.api_server.ingest("door").is_some(), held);
    }
    assert_eq!(world.cloud.all().len(), 2);
}
