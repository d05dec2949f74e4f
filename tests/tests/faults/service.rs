//! Rows in which the service does not take what it is given.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::kept::Kept;
use super::rows::{Row, row};
use super::world::{STREAM, World};

/// Those of PutMedia's API reference.
fn errors() -> impl Iterator<Item = u16> {
    (4000..=4012).chain(4500..=4507).chain(5000..=5001)
}

pub fn rows() -> Vec<Row> {
    vec![
        row("PutMedia: each ErrorId of the reference", each_error),
        row("PutMedia refused (503) for 15 s", || refused(503, "ServiceUnavailable", 15)),
        row("PutMedia refused (403), then permitted", || refused(403, "AccessDeniedException", 4)),
        row("PutMedia throttled, then not", || refused(400, "ClientLimitExceededException", 4)),
        single("PutMedia reset, three times", json!({"action": "reset", "after": 1, "times": 3})),
        single("PutMedia does not read on", json!({"action": "stop_reading", "after": 1})),
        single("PutMedia acknowledges nothing any more", json!({"action": "no_acks", "after": 1})),
        single("PutMedia says nothing of PERSISTED", json!({"action": "no_persisted", "after": 1})),
        row("an uplink of half of what is sent, for 6 s", slow_uplink),
        row("the service is away for 8 s", away),
        row("tokens of 20 s", tokens),
        row("the stream is deleted, and made again", deleted),
    ]
}

/// It happens while media flows; all is stored in the end, and nothing of the session with the master changes.
fn single(name: &'static str, fault: Value) -> Row {
    row(name, move || async move {
        let mut world = World::new().await;
        let master = world.master().await;
        let mut agent = world.streaming().await;
        world.mark();
        world.stream_fault(fault).await;
        // Of one connection, which is given up in the end.
        world.more(&mut agent, 8).await;
        world.finish(agent, Some(master)).await.nothing_lost(Duration::from_secs(1)).over_one_connection()
    })
}

/// These faults for so many seconds.
async fn for_a_while(seconds: u64, faults: &[Value]) -> Kept {
    let mut world = World::new().await;
    let master = world.master().await;
    let mut agent = world.streaming().await;
    world.mark();
    for fault in faults {
        world.stream_fault(fault.clone()).await;
    }
    sleep(Duration::from_secs(seconds)).await;
    world.stream_fault(json!({"action": "clear"})).await;
    world.more(&mut agent, seconds + 3).await;
    world.finish(agent, Some(master)).await.nothing_lost(Duration::from_secs(1)).over_one_connection()
}

async fn slow_uplink() -> Kept {
    for_a_while(6, &[json!({"action": "slow_reading", "bytesPerSecond": 8000})]).await
}

async fn refused(status: u16, kind: &'static str, seconds: u64) -> Kept {
    let refusal = json!({"action": "http_error", "status": status, "type": kind, "times": 0});
    for_a_while(seconds, &[refusal, json!({"action": "reset"})]).await
}

async fn each_error() -> Kept {
    let mut world = World::new().await;
    let master = world.master().await;
    let mut agent = world.streaming().await;
    world.mark();
    for id in errors() {
        world.stream_fault(json!({"action": "error", "id": id})).await;
        world.more(&mut agent, 1).await;
    }
    world.more(&mut agent, 3).await;
    world.finish(agent, Some(master)).await.nothing_lost(Duration::from_secs(1)).over_one_connection()
}

/// All of it: control plane, signaling, PutMedia.
async fn away() -> Kept {
    let mut world = World::new().await;
    let master = world.master().await;
    let mut agent = world.streaming().await;
    world.mark();
    world.close().await;
    sleep(Duration::from_secs(8)).await;
    world.open().await;
    world.more(&mut agent, 11).await;
    world.finish(agent, Some(master)).await.nothing_lost(Duration::from_secs(1)).over_one_connection()
}

/// They end while media flows, and with them what they opened.
async fn tokens() -> Kept {
    let mut world = World::new().await;
    let master = world.master().await;
    let url = format!("{}/_kvs/credentials?seconds=20", world.access.endpoint);
    let env = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str()),
        ("AWS_ACCESS_KEY_ID", ""),
        ("AWS_SECRET_ACCESS_KEY", ""),
    ];
    world.mark();
    let mut agent = world.agent_with("", &[], &env).await;
    world.more(&mut agent, 45).await;
    world.finish(agent, Some(master)).await.nothing_lost(Duration::from_secs(10)).over_one_connection()
}

/// What was stored before is gone with it; what comes after is stored in the new one.
async fn deleted() -> Kept {
    let mut world = World::new().await;
    let master = world.master().await;
    let mut agent = world.streaming().await;
    let client = world.access.control_plane();
    let arn = client.describe_stream().stream_name(STREAM).send().await.unwrap();
    let arn = arn.stream_info.unwrap().stream_arn.unwrap();
    client.delete_stream().stream_arn(arn).send().await.unwrap();
    world.mark();
    sleep(Duration::from_secs(2)).await;
    let _ = client.create_stream().stream_name(STREAM).data_retention_in_hours(1).send().await;
    world.more(&mut agent, 4).await;
    world.finish(agent, Some(master)).await.nothing_lost(Duration::from_secs(4)).over_one_connection()
}
