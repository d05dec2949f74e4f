//! What agents cost.

use std::path::Path;
use std::time::Duration;

use futures::future::join_all;
use kvs_ingest_tests::agent::{AgentProcess, binary};
use kvs_ingest_tests::coturn::{Coturn, IceConfig};
use kvs_ingest_tests::stored;
use serde_json::Value;
use tokio::time::sleep;

use super::figures::{Costs, Meter};
use super::master::{Path as NetworkPath, channel};
use super::plan::Media;
use super::world::{self, How, WARM, World};

pub async fn run(media: Media, relay: bool, channels: usize, seconds: u64) -> Costs {
    let ours = binary("kvs-ingest-agent").unwrap();
    measure(&ours, media, relay, channels, seconds).await
}

/// Of another build.
pub async fn run_build(binary: &Path, media: Media, seconds: u64) -> Costs {
    measure(binary, media, false, 1, seconds).await
}

async fn measure(binary: &Path, media: Media, relay: bool, channels: usize, seconds: u64) -> Costs {
    let world = World::new().await;
    let master = world.master(channels, media, NetworkPath::default()).await;
    let turn = if relay { Some(turn(&world).await) } else { None };
    let authority = world.authority();
    let mut env = vec![("AWS_CA_BUNDLE", authority.to_str().unwrap())];
    env.extend(turn.iter().map(|(_, ice)| ("AWS_ENDPOINT_URL_KINESIS_VIDEO_SIGNALING", ice.url.as_str())));
    let endpoint = world.server.tls_url().unwrap();
    let more = if relay { "  ice: {transportPolicy: Relay}\n" } else { "" };
    let how = How { endpoint: &endpoint, more, arguments: &[], env: &env };
    let mut agents = join_all((0..channels).map(|number| world.agent(binary, number, &how))).await;
    join_all(agents.iter_mut().map(world::stored)).await;
    sleep(WARM).await;
    let ids: Vec<_> = agents.iter().map(|agent| agent.id().unwrap()).collect();
    // Asked before the meter starts and after it stopped: an answer is work, too.
    let before = statuses(&agents).await;
    let meter = Meter::start(&ids);
    sleep(Duration::from_secs(seconds)).await;
    let mut costs = meter.read();
    let took = meter.seconds();
    let after = statuses(&agents).await;
    let by_relay = after.iter().filter(|status| status["relayProtocol"] == "udp").count();
    assert_eq!(by_relay, if relay { channels } else { 0 }, "agents whose media went by the relay");
    let received = |statuses: &[Value]| statuses.iter().map(pictures).sum::<f64>();
    costs.figures.pictures = (received(&after) - received(&before)) / took / channels as f64;
    assert!(costs.figures.pictures > 0.0, "no pictures came");
    // Not what the network lost while the connection came up.
    costs.figures.lost = after.iter().zip(&before).map(|(after, before)| lost(after) - lost(before)).sum();
    for (number, (agent, status)) in agents.into_iter().zip(after).enumerate() {
        let log = agent.log();
        assert!(agent.stop(Duration::from_secs(30)).await.unwrap().success(), "{log}");
        costs.figures.lost += unstored(&world, number, &status).await;
    }
    drop(master);
    world.server.shutdown().await;
    costs
}

async fn turn(world: &World) -> (Coturn, IceConfig) {
    let coturn = Coturn::start(world.folder.path()).await.unwrap();
    let coturn = coturn.expect("coturn is missing: cargo xtask packages");
    let ice = IceConfig::start(&[format!("turn:{}?transport=udp", coturn.plain)]).await.unwrap();
    (coturn, ice)
}

async fn statuses(agents: &[AgentProcess]) -> Vec<Value> {
    join_all(agents.iter().map(async |agent| agent.status().await.unwrap())).await
}

fn count(status: &Value, pointer: &str) -> f64 {
    status.pointer(pointer).and_then(Value::as_f64).unwrap_or(0.0)
}

fn pictures(status: &Value) -> f64 {
    count(status, "/video/framesReceived")
}

/// Pictures and packets that did not come, or came and were dropped.
fn lost(status: &Value) -> f64 {
    let counters =
        ["/video/packetsLost", "/video/framesDropped", "/audio/packetsLost", "/kvs/fragmentsDropped"];
    counters.iter().map(|pointer| count(status, pointer)).sum()
}

/// Pictures that the agent had and KVS has not, after the agent has ended.
async fn unstored(world: &World, number: usize, status: &Value) -> f64 {
    let state = stored::state(&world.server.url(), &channel(number)).await.unwrap();
    (pictures(status) - count(status, "/video/withheld") - state["frames"].as_f64().unwrap()).max(0.0)
}
