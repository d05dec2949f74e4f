//! Rows in which signaling fails: while a viewer joins, and while media flows, which needs it no more.

use std::time::Duration;

use kvs_ingest_tests::agent::{AgentProcess, AgentSettings};
use kvs_ingest_tests::local::{self, MANIFEST};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::cut::Cutter;
use super::kept::Kept;
use super::rows::{Row, row};
use super::world::{DEADLINE, World};

/// Upgrade, its answer, offer, candidate, the master's answer: with that a connection comes, and signaling rests.
const STEPS: usize = 5;

pub fn rows() -> Vec<Row> {
    vec![
        row("signaling cut at each step of the handshake", cut_at_each_step),
        refused(
            "DescribeSignalingChannel: AccessDenied",
            "DescribeSignalingChannel",
            403,
            "AccessDeniedException",
        ),
        refused(
            "DescribeSignalingChannel: throttled",
            "DescribeSignalingChannel",
            400,
            "ClientLimitExceededException",
        ),
        refused(
            "GetSignalingChannelEndpoint: ResourceNotFound",
            "GetSignalingChannelEndpoint",
            404,
            "ResourceNotFoundException",
        ),
        refused("GetSignalingChannelEndpoint: 500", "GetSignalingChannelEndpoint", 500, "InternalFailure"),
        refused("GetIceServerConfig: 500", "GetIceServerConfig", 500, "InternalFailure"),
        row("DescribeSignalingChannel takes 8 s", slow),
        while_media_flows("GO_AWAY while media flows", json!({"action": "go_away"})),
        while_media_flows(
            "RECONNECT_ICE_SERVER while media flows",
            json!({"action": "reconnect_ice_server"}),
        ),
        while_media_flows("signaling closed (1001) while media flows", json!({"action": "close"})),
        while_media_flows(
            "signaling closed (1011) while media flows",
            json!({"action": "close", "code": 1011}),
        ),
        while_media_flows(
            "nonsense on signaling while media flows",
            json!({"action": "text", "text": "{\"messageType\":7"}),
        ),
    ]
}

async fn cut_at_each_step() -> Kept {
    let mut world = World::new().await;
    let master = world.master().await;
    let service = world.access.endpoint.strip_prefix("http://").unwrap().parse().unwrap();
    let cutter = Cutter::start(service, STEPS).await;
    let through = format!("http://{}", cutter.address);
    let settings =
        AgentSettings { endpoint: &through, ..local::agent(&world.access, &world.folder, MANIFEST) };
    let mut agent = AgentProcess::start(&settings).await.unwrap();
    let until = Instant::now() + DEADLINE;
    while cutter.cuts() < STEPS {
        assert!(Instant::now() < until, "{} cuts\n{}", cutter.cuts(), agent.log());
        sleep(Duration::from_millis(50)).await;
    }
    world.mark();
    world.more(&mut agent, 3).await;
    // A connection of which the answer came through lives on without signaling, or is given up for the next.
    world.gives_up();
    world.finish(agent, Some(master)).await.nothing_lost(Duration::from_secs(40)).once()
}

/// The call is refused until somebody mends it: then the agent goes on by itself.
fn refused(name: &'static str, call: &'static str, status: u16, kind: &'static str) -> Row {
    row(name, move || async move {
        let mut world = World::new().await;
        // It has made its own calls before.
        let master = world.master().await;
        let fault = json!({"action": "http_error", "call": call, "status": status, "type": kind, "times": 0});
        world.channel_fault(fault).await;
        let mut agent = world.agent().await;
        let said = |status: &Value| {
            let message = status["message"].as_str().unwrap_or_default();
            message.contains(call) && status["reason"].as_str().is_some_and(|reason| !reason.is_empty())
        };
        agent.wait_for("a word about it", DEADLINE, said).await.unwrap();
        sleep(Duration::from_secs(3)).await;
        world.channel_fault(json!({"action": "clear"})).await;
        world.mark();
        world.more(&mut agent, 3).await;
        world.finish(agent, Some(master)).await.nothing_lost(Duration::from_secs(40)).once()
    })
}

async fn slow() -> Kept {
    let mut world = World::new().await;
    let master = world.master().await;
    world
        .channel_fault(json!({"action": "delay_response", "call": "DescribeSignalingChannel", "ms": 8000}))
        .await;
    world.mark();
    let mut agent = world.agent().await;
    world.more(&mut agent, 3).await;
    world.finish(agent, Some(master)).await.nothing_lost(Duration::from_secs(20)).once()
}

/// It is said to the viewer, whose media go on.
fn while_media_flows(name: &'static str, fault: Value) -> Row {
    row(name, move || async move {
        let mut world = World::new().await;
        let master = world.master().await;
        let mut agent = world.streaming().await;
        let mut fault = fault;
        fault["client"] = json!(master.sent().pop().unwrap().viewer);
        world.mark();
        world.channel_fault(fault).await;
        world.more(&mut agent, 5).await;
        world
            .finish(agent, Some(master))
            .await
            .nothing_lost(Duration::from_secs(1))
            .once()
            .over_one_connection()
    })
}
