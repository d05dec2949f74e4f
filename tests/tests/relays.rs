//! Networks that let little through: media by a TURN server that nobody here wrote, over UDP, TCP and TLS.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use kvs_ingest_tests::agent::{AgentProcess, AgentSettings};
use kvs_ingest_tests::coturn::{Coturn, IceConfig};
use kvs_ingest_tests::local::{self, MANIFEST};
use kvs_ingest_tests::master::channel::Access;
use kvs_ingest_tests::master::{Master, Sent, Settings};
use kvs_ingest_tests::proxy::{self, Proxy};
use kvs_ingest_tests::stored::{self, Stored, all_of_one_encoder};
use kvs_ingest_tests::turn_front::{TcpFront, UdpFront};
use kvs_local::Server;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::UdpSocket;
use tokio::time::Instant;

const CHANNEL: &str = "door";
const STREAM: &str = "door-stream";
const DEADLINE: Duration = Duration::from_secs(60);
const RELAY: &str = "  ice: {transportPolicy: Relay}\n";

struct World {
    local: Server,
    folder: TempDir,
    access: Access,
    coturn: Coturn,
    master: Master,
}

impl World {
    /// `None` where there is no coturn; CI has it.
    async fn new() -> Option<Self> {
        let _ = tracing_subscriber::fmt().with_env_filter("warn,turn=error").with_test_writer().try_init();
        let (local, folder) = local::start(|_| {}).await.unwrap();
        let Some(coturn) = Coturn::start(folder.path()).await.unwrap() else {
            assert!(
                std::env::var_os("KVS_INGEST_REQUIRE").is_none(),
                "coturn is missing: cargo xtask packages"
            );
            return None;
        };
        let access = local::access(&local);
        let master = Master::start(&access, CHANNEL, Settings { one_encoder: true, ..Settings::default() })
            .await
            .unwrap();
        Some(Self { local, folder, access, coturn, master })
    }

    async fn agent(&self, servers: &IceConfig, more: &str, env: &[(&str, &str)]) -> AgentProcess {
        let manifest = format!("{MANIFEST}{more}");
        let settings = local::agent(&self.access, &self.folder, &manifest);
        let ca = self.coturn.ca.to_str().unwrap();
        let own = [("AWS_ENDPOINT_URL_KINESIS_VIDEO_SIGNALING", servers.url.as_str()), ("AWS_CA_BUNDLE", ca)];
        let env = &[&own[..], env].concat();
        AgentProcess::start(&AgentSettings { env, ..settings }).await.unwrap()
    }

    /// Waits for `/status` to say what is wanted of it, with frames that come.
    async fn until(&self, agent: &mut AgentProcess, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let status =
            agent.wait_for(what, DEADLINE, |status| status["phase"] == "Streaming" && wanted(status)).await;
        status.unwrap_or_else(|error| panic!("{error}\n{}\n{}", agent.log(), self.coturn.log()))
    }

    /// Waits until so many more frames have come.
    async fn more(&self, agent: &mut AgentProcess, frames: u64) -> Value {
        let count = |status: &Value| status["video"]["framesReceived"].as_u64().unwrap_or(0);
        let before = count(&agent.status().await.unwrap());
        self.until(agent, "more frames", |status| count(status) >= before + frames).await
    }

    /// What is stored, and what the master sent.
    async fn finish(self, agent: AgentProcess) -> (Stored, Vec<Sent>) {
        let log = agent.log();
        let status = agent.stop(Duration::from_secs(20)).await.unwrap();
        assert!(status.success(), "{status}\n{log}");
        let stored = stored::read(&self.access.endpoint, STREAM, self.folder.path()).await.unwrap();
        let sent = self.master.stop().await;
        self.local.shutdown().await;
        (stored, sent)
    }
}

async fn servers(uris: Vec<String>) -> IceConfig {
    IceConfig::start(&uris).await.unwrap()
}

/// Media went through, and from the first stored frame on nothing of it is lost or there twice.
fn through(stored: &Stored, sent: &[Sent]) {
    assert!(stored.frames.first().is_some_and(|frame| frame.idr), "what is stored starts with an IDR");
    assert!(stored.frames.len() >= 60, "{} frames", stored.frames.len());
    assert_eq!(all_of_one_encoder(stored, sent), [0; 0], "stored twice");
}

/// A port on which nothing is answered.
async fn silence() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_where_udp_is_blocked_from_the_start() {
    let Some(world) = World::new().await else { return };
    let silence = silence().await;
    let servers = servers(vec![
        format!("turn:{}?transport=udp", silence.local_addr().unwrap()),
        format!("turns:localhost:{}?transport=tcp", world.coturn.tls.port()),
    ])
    .await;
    let mut agent = world.agent(&servers, RELAY, &[]).await;
    let status = world.until(&mut agent, "by TLS", |status| status["relayProtocol"] == "tls").await;
    assert_eq!(status["udpIsSilent"], true, "{status}");
    assert!(status["candidatePair"].as_str().unwrap().contains("(tls)"), "{status}");
    world.more(&mut agent, 120).await;
    let log = agent.log();
    assert!(log.contains("no STUN or TURN server answers over UDP"), "{log}");
    let metrics = agent.get("/metrics").await.unwrap().1;
    assert!(
        metrics.lines().any(|line| line.starts_with("kvs_ingest_paths_selected_total{")
            && line.contains(r#"relay_protocol="tls""#)
            && !line.ends_with(" 0")),
        "{metrics}"
    );
    assert!(metrics.contains("kvs_ingest_relay_datagrams_dropped_total 0"), "{metrics}");
    let (stored, sent) = world.finish(agent).await;
    through(&stored, &sent);
}

/// To a name that only the proxy knows.
#[tokio::test(flavor = "multi_thread")]
async fn tls_through_a_proxy() {
    let Some(world) = World::new().await else { return };
    let Some(proxy) = Proxy::start(world.folder.path()).await.unwrap() else {
        println!("left out: this machine does not let `unshare` mount a file");
        return;
    };
    let servers =
        servers(vec![format!("turns:{}:{}?transport=tcp", proxy::NAME, world.coturn.tls.port())]).await;
    let url = proxy.url(Some(proxy::USER));
    let mut agent = world.agent(&servers, RELAY, &[("HTTPS_PROXY", &url)]).await;
    world.until(&mut agent, "by TLS", |status| status["relayProtocol"] == "tls").await;
    world.more(&mut agent, 90).await;
    assert!(proxy.log().contains("CONNECT"), "{}", proxy.log());
    assert!(!agent.log().contains("p-ss"), "{}", agent.log());
    let (stored, sent) = world.finish(agent).await;
    through(&stored, &sent);
}

/// UDP is taken while it works. When it does not any more, another connection goes by TCP.
#[tokio::test(flavor = "multi_thread")]
async fn tcp_when_udp_is_blocked_later() {
    let Some(world) = World::new().await else { return };
    let front = UdpFront::start(world.coturn.plain).await.unwrap();
    let servers = servers(vec![
        format!("turn:{}?transport=tcp", world.coturn.plain),
        format!("turn:{}?transport=udp", front.address),
    ])
    .await;
    let mut agent = world.agent(&servers, RELAY, &[]).await;
    world.until(&mut agent, "by UDP", |status| status["relayProtocol"] == "udp").await;
    world.more(&mut agent, 60).await;
    front.block();
    let blocked = Instant::now();
    world.until(&mut agent, "by TCP", |status| status["relayProtocol"] == "tcp").await;
    println!("UDP blocked: media by TCP after {:.1} s", blocked.elapsed().as_secs_f64());
    world.more(&mut agent, 60).await;
    let (stored, _) = world.finish(agent).await;
    // What was sent into the block is lost, and nothing else.
    let numbers: Vec<_> = stored.frames.iter().map(|frame| frame.number).collect();
    let holes: Vec<_> = numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1).collect();
    assert!(holes.len() == 1 && holes[0][1] > holes[0][0], "{holes:?}");
}

/// The TURN server takes the credential no longer: another connection is made while the old one still brings media, and what is
/// stored goes from one to the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_ends_is_replaced_before_it_does() {
    let Some(world) = World::new().await else { return };
    let front = TcpFront::start(world.coturn.plain).await.unwrap();
    let servers = servers(vec![format!("turn:{}?transport=tcp", front.address)]).await;
    let mut agent = world.agent(&servers, RELAY, &[]).await;
    world.until(&mut agent, "by TCP", |status| status["relayProtocol"] == "tcp").await;
    world.more(&mut agent, 60).await;
    front.refuse();
    let status = world.until(&mut agent, "another connection", |status| status["peerConnections"] == 2).await;
    assert_eq!(status["phase"], "Streaming");
    world.more(&mut agent, 120).await;
    let log = agent.log();
    assert_eq!(
        log.matches("another connection to the master is made before this one ends").count(),
        1,
        "{log}"
    );
    assert!(!log.contains("PeerConnectionFailed"), "{log}");
    let (stored, sent) = world.finish(agent).await;
    through(&stored, &sent);
}
