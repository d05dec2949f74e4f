//! Objects that AWS records by itself, in virtual time.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::cloud::{Kind, Thing};
use super::world::{World, managed, says, spec};

const QUIET: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);

fn channel(world: &World) -> Thing {
    world.cloud.get(Kind::Channel, "c").unwrap()
}

fn door(world: &World) -> Value {
    world.api_server.ingest("door").unwrap()
}

/// Something of the spec is changed, and what follows from it done.
async fn edit(world: &mut World, field: &str, value: Value) {
    world.api_server.edit("door", |door| door["spec"][field] = value);
    world.rest(QUIET).await;
}

/// The seconds of so long in which AWS did not record.
async fn gaps(world: &mut World, time: Duration) -> u64 {
    let (until, mut missing) = (Instant::now() + time, 0);
    while Instant::now() < until {
        world.pass(SECOND).await;
        missing += u64::from(!channel(world).is_recorded());
    }
    missing
}

#[tokio::test(start_paused = true)]
async fn aws_records_and_no_agent_runs() {
    let mut world = World::new(0);
    world.api_server.create("door", &managed("c", "s", "Delete"));
    world.rest(QUIET).await;
    let found = door(&world);
    for (condition, said) in [
        ("Ready", "True Streaming"),
        ("ChannelResolved", "True Created"),
        ("StreamResolved", "True Created"),
        ("AgentAvailable", "True NotUsed"),
        ("MediaFlowing", "True Streaming"),
    ] {
        assert_eq!(says(&found, condition), said, "{:#}", found["status"]);
    }
    let stream = world.cloud.get(Kind::Stream, "s").unwrap().arn;
    assert_eq!(channel(&world).stored_in.as_ref(), Some(&stream));
    assert_eq!(
        found["status"]["mediaStorage"],
        json!({"channelArn": channel(&world).arn, "streamArn": stream, "enabledByOperator": true})
    );
    assert!(world.api_server.deployments().is_empty());
    let writes = world.chaos.writes();
    let at = |what: &str| writes.iter().position(|write| write == what).expect(what);
    let enabled = at("UpdateMediaStorageConfiguration c");
    assert!(at("PATCH kvsingests door status") < enabled, "it is written down first: {writes:#?}");
    // Nothing more is done as long as it is recorded, and nobody joins.
    let joins = world.cloud.joins().len();
    world.pass(Duration::from_secs(1800)).await;
    assert_eq!((world.chaos.writes().len(), world.cloud.joins().len(), joins), (writes.len(), 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ends_is_joined_again_within_half_a_minute() {
    let mut world = World::new(0);
    world.api_server.create("door", &managed("c", "s", "Retain"));
    world.rest(QUIET).await;
    let missing = gaps(&mut world, Duration::from_secs(3 * 3600)).await;
    // A session ends twice or three times, and it takes 20 s without a fragment to know.
    assert!((1..=3 * 30).contains(&missing), "{missing} s are missing of three hours");
    let joins = world.cloud.joins().len();
    assert!((3..=5).contains(&joins), "{joins} calls to join");
}

#[tokio::test(start_paused = true)]
async fn a_camera_that_is_off_is_waited_for() {
    let mut world = World::new(0);
    world.cloud.switch(true);
    world.api_server.create("door", &managed("c", "s", "Retain"));
    world.pass(Duration::from_secs(3600)).await;
    let found = door(&world);
    assert_eq!(says(&found, "Ready"), "True WaitingForMaster", "{:#}", found["status"]);
    assert_eq!(says(&found, "MediaFlowing"), "False WaitingForMaster");
    let joins = world.cloud.joins();
    assert!((15..=26).contains(&joins.len()), "{} calls an hour", joins.len());
    let longest = joins.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(longest <= Duration::from_secs(215), "a session waits for its master three minutes: {longest:?}");
    // It comes back, and does not join by itself.
    world.cloud.switch(false);
    let missing = gaps(&mut world, Duration::from_secs(600)).await;
    assert!(missing <= 215, "{missing} s");
    assert_eq!(says(&door(&world), "Ready"), "True Streaming");
    // Off again: it is said, and who leaves for a moment is joined at once.
    world.cloud.switch(true);
    world.pass(Duration::from_secs(60)).await;
    assert_eq!(says(&door(&world), "Ready"), "True WaitingForMaster");
}

#[tokio::test(start_paused = true)]
async fn who_records_changes_either_way() {
    let mut world = World::new(0);
    world.api_server.create("door", &spec("c", "s", "Delete"));
    world.rest(QUIET).await;
    assert_eq!(world.api_server.deployments().len(), 1);
    let before = world.chaos.writes().len();
    edit(&mut world, "mode", json!("ManagedStorage")).await;
    let found = door(&world);
    assert_eq!(says(&found, "Ready"), "True Streaming", "{:#}", found["status"]);
    assert!(world.api_server.deployments().is_empty() && channel(&world).is_recorded());
    assert!(found["status"]["image"].is_null() && found["status"]["deploymentGeneration"].is_null());
    let writes = world.chaos.writes();
    let at = |what: &str| before + writes[before..].iter().position(|write| write == what).expect(what);
    let enabled = at("UpdateMediaStorageConfiguration c");
    assert!(enabled < at("DELETE deployments door-agent"), "nothing is ended before AWS can: {writes:#?}");
    // The agent takes two seconds to end, the rest is the operator's.
    let before = world.chaos.writes().len();
    edit(&mut world, "mode", json!("Agent")).await;
    let found = door(&world);
    assert_eq!(says(&found, "Ready"), "True AgentAvailable", "{:#}", found["status"]);
    assert!(found["status"]["mediaStorage"].is_null());
    assert_eq!((channel(&world).stored_in, world.api_server.deployments().len()), (None, 1));
    let writes = world.chaos.writes();
    let at = |what: &str| before + writes[before..].iter().position(|write| write == what).expect(what);
    let disabled = at("UpdateMediaStorageConfiguration c");
    assert!(disabled < at("PATCH deployments door-agent"), "{writes:#?}");
}

#[tokio::test(start_paused = true)]
async fn the_change_from_an_agent_costs_hardly_more_than_its_end() {
    let mut world = World::new(0);
    world.api_server.create("door", &spec("c", "s", "Delete"));
    world.rest(QUIET).await;
    world.api_server.edit("door", |door| door["spec"]["mode"] = json!("ManagedStorage"));
    let missing = gaps(&mut world, Duration::from_secs(60)).await;
    // The agent takes two seconds to end, and is looked at when its Deployment has gone.
    assert!(missing <= 5, "{missing} s");
}

#[tokio::test(start_paused = true)]
async fn an_agent_goes_on_while_aws_may_not() {
    let mut world = World::new(0);
    world.api_server.create("door", &spec("c", "s", "Delete"));
    world.rest(QUIET).await;
    let other = "arn:aws:kinesisvideo:eu-central-1:123456789012:stream/other/1";
    world.cloud.map("c", Some(other));
    edit(&mut world, "mode", json!("ManagedStorage")).await;
    let found = door(&world);
    assert_eq!(says(&found, "Ready"), "False MediaStorageInUse", "{:#}", found["status"]);
    assert_eq!(world.api_server.deployments()[0]["spec"]["replicas"], 1);
    assert_eq!(channel(&world).stored_in.as_deref(), Some(other));
    world.cloud.map("c", None);
    world.pass(Duration::from_secs(360)).await;
    assert_eq!(says(&door(&world), "Ready"), "True Streaming");
    assert!(world.api_server.deployments().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_mapped_stays_unless_the_author_says_otherwise() {
    let other = "arn:aws:kinesisvideo:eu-central-1:123456789012:stream/other/1";
    for kill in [false, true] {
        let mut world = World::new(0);
        world.cloud.found(Kind::Channel, "c", &kvs::Tags::new());
        world.cloud.map("c", Some(other));
        world.api_server.create("door", &managed("c", "s", "Retain"));
        world.pass(Duration::from_secs(60)).await;
        let found = door(&world);
        assert_eq!(says(&found, "ChannelResolved"), "False MediaStorageInUse", "{:#}", found["status"]);
        let status = found["status"].to_string();
        assert!(status.contains("spec.channel.adopt") && !status.contains("stream/other"), "{status}");
        assert_eq!(channel(&world).stored_in.as_deref(), Some(other));
        if kill {
            world.kill();
        }
        world.api_server.edit("door", |door| door["spec"]["channel"]["adopt"] = json!(true));
        world.rest(QUIET).await;
        let found = door(&world);
        assert_eq!(says(&found, "Ready"), "True Streaming", "{:#}", found["status"]);
        let stream = world.cloud.get(Kind::Stream, "s").unwrap().arn;
        assert_eq!(channel(&world).stored_in, Some(stream));
        world.api_server.delete("door");
        world.rest(QUIET).await;
        assert_eq!((world.api_server.ingests().len(), channel(&world).stored_in), (0, None));
    }
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_mapped_as_it_should_be_is_theirs() {
    let mut world = World::new(0);
    world.cloud.found(Kind::Channel, "c", &kvs::Tags::new());
    world.cloud.found(Kind::Stream, "s", &kvs::Tags::new());
    let stream = world.cloud.get(Kind::Stream, "s").unwrap().arn;
    world.cloud.map("c", Some(&stream));
    world.api_server.create("door", &managed("c", "s", "Delete"));
    world.rest(QUIET).await;
    assert_eq!(says(&door(&world), "Ready"), "True Streaming", "it is joined all the same");
    let storage = json!({"channelArn": channel(&world).arn, "streamArn": stream});
    assert_eq!(door(&world)["status"]["mediaStorage"], storage);
    edit(&mut world, "suspend", json!(true)).await;
    let found = door(&world);
    assert_eq!(says(&found, "Ready"), "True Suspended");
    assert!(found["status"].to_string().contains("may go on recording"), "{:#}", found["status"]);
    world.api_server.delete("door");
    world.rest(QUIET).await;
    assert_eq!((world.api_server.ingests().len(), channel(&world).stored_in), (0, Some(stream)));
}

#[tokio::test(start_paused = true)]
async fn what_is_suspended_is_not_recorded_and_another_may_have_its_stream() {
    let mut world = World::new(0);
    world.api_server.create("door", &managed("c", "s", "Delete"));
    world.rest(QUIET).await;
    world.api_server.create("young", &managed("d", "s", "Retain"));
    world.rest(QUIET).await;
    let said = |world: &World| says(&world.api_server.ingest("young").unwrap(), "Ready");
    assert_eq!(said(&world), "False StreamInUse");
    edit(&mut world, "suspend", json!(true)).await;
    let found = door(&world);
    assert_eq!(says(&found, "Ready"), "True Suspended", "{:#}", found["status"]);
    assert_eq!(says(&found, "MediaFlowing"), "False Suspended");
    assert!(found["status"]["mediaStorage"].is_null());
    assert_eq!(channel(&world).stored_in, None);
    world.rest(Duration::from_secs(360)).await;
    assert_eq!(said(&world), "True Streaming");
    // The older one comes back, and they change places.
    edit(&mut world, "suspend", json!(false)).await;
    world.rest(Duration::from_secs(360)).await;
    assert_eq!(
        (says(&door(&world), "Ready"), said(&world)),
        ("True Streaming".into(), "False StreamInUse".into())
    );
    assert_eq!(world.cloud.get(Kind::Channel, "d").unwrap().stored_in, None);
}

#[tokio::test(start_paused = true)]
async fn a_spec_that_is_wrong_by_now_can_be_suspended() {
    let mut world = World::new(0);
    world.api_server.create("door", &managed("c", "s", "Delete"));
    world.rest(QUIET).await;
    world.api_server.edit("door", |door| {
        door["spec"]["roleArn"] = json!("arn:aws:iam::123456789012:role/cameras");
    });
    world.rest(QUIET).await;
    assert_eq!(says(&door(&world), "Ready"), "False InvalidSpec");
    assert!(channel(&world).is_recorded(), "what ran goes on");
    edit(&mut world, "suspend", json!(true)).await;
    assert_eq!(channel(&world).stored_in, None, "{:#}", door(&world)["status"]);
    // Also of an object that this operator cannot read.
    for (field, value) in [("suspend", json!(false)), ("roleArn", Value::Null)] {
        edit(&mut world, field, value).await;
    }
    assert!(channel(&world).is_recorded(), "{:#}", door(&world)["status"]);
    world.api_server.edit("door", |door| {
        door["spec"]["logLevel"] = json!("whisper");
        door["spec"]["suspend"] = json!(true);
    });
    world.rest(QUIET).await;
    assert_eq!(channel(&world).stored_in, None);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_disables_is_enabled_again() {
    let mut world = World::new(0);
    world.api_server.create("door", &managed("c", "s", "Retain"));
    world.rest(QUIET).await;
    world.cloud.map("c", None);
    let missing = gaps(&mut world, Duration::from_secs(120)).await;
    assert!(missing <= 70, "{missing} s");
    assert!(channel(&world).is_recorded());
    // And what somebody maps elsewhere meanwhile is theirs.
    let other = "arn:aws:kinesisvideo:eu-central-1:123456789012:stream/other/1";
    world.cloud.map("c", Some(other));
    world.pass(Duration::from_secs(300)).await;
    assert_eq!(says(&door(&world), "Ready"), "False MediaStorageInUse", "{:#}", door(&world)["status"]);
    world.api_server.delete("door");
    world.rest(QUIET).await;
    assert_eq!((world.api_server.ingests().len(), channel(&world).stored_in.as_deref()), (0, Some(other)));
}

#[tokio::test(start_paused = true)]
async fn a_deletion_waits_until_aws_has_stopped_whatever_the_policy() {
    let mut world = World::new(0);
    world.api_server.create("door", &managed("c", "s", "Retain"));
    world.rest(QUIET).await;
    world.cloud.refuse(Some(kvs_aws::ErrorClass::AccessDenied));
    world.api_server.delete("door");
    world.pass(Duration::from_secs(30)).await;
    let found = door(&world);
    assert_eq!(says(&found, "Ready"), "False DeletionBlocked", "{:#}", found["status"]);
    assert!(found["status"].to_string().contains("AWS goes on recording"), "{:#}", found["status"]);
    world.cloud.refuse(None);
    world.rest(Duration::from_secs(120)).await;
    assert_eq!((world.api_server.ingests().len(), channel(&world).stored_in), (0, None));
    // A channel that somebody else has deleted holds nobody.
    world.api_server.create("door", &managed("c", "s", "Retain"));
    world.rest(QUIET).await;
    world.cloud.lose(Kind::Channel, "c");
    world.api_server.delete("door");
    world.rest(QUIET).await;
    assert_eq!(world.api_server.ingests().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_may_not_look_or_join_is_told() {
    let mut world = World::new(0);
    world.api_server.create("door", &managed("c", "s", "Retain"));
    world.rest(QUIET).await;
    world.cloud.refuse(Some(kvs_aws::ErrorClass::AccessDenied));
    world.pass(Duration::from_secs(60)).await;
    let found = door(&world);
    assert_eq!(says(&found, "MediaFlowing"), "Unknown AccessDenied", "{:#}", found["status"]);
    assert_eq!(says(&found, "Ready"), "False AccessDenied", "{:#}", found["status"]);
    assert!(found["status"].to_string().contains("ListFragments"), "{:#}", found["status"]);
    // What passes by itself is nobody's fault.
    world.cloud.refuse(Some(kvs_aws::ErrorClass::Throttled));
    world.pass(Duration::from_secs(400)).await;
    let found = door(&world);
    assert_eq!(says(&found, "Ready"), "True ManagedStorage", "{:#}", found["status"]);
    world.cloud.refuse(None);
    world.pass(Duration::from_secs(60)).await;
    assert_eq!(says(&door(&world), "Ready"), "True Streaming");
}
