//! Rows of networks that let little through: media by a TURN server that nobody here wrote, over UDP, TCP and TLS.

use std::time::{Duration, SystemTime};

use kvs_ingest_tests::agent::AgentProcess;
use kvs_ingest_tests::coturn::{Coturn, IceConfig};
use kvs_ingest_tests::master::{Master, Settings};
use kvs_ingest_tests::proxy::{self, Proxy};
use kvs_ingest_tests::turn_front::{TcpFront, UdpFront};
use serde_json::Value;
use tokio::net::UdpSocket;

use super::kept::Kept;
use super::rows::{Row, row};
use super::world::{DEADLINE, World};

const RELAY: &str = "  ice: {transportPolicy: Relay}\n";

pub fn rows() -> Vec<Row> {
    vec![
        row("UDP is blocked from the start: relayed over TLS", tls_alone),
        row("relayed over TLS through an HTTP proxy", through_a_proxy),
        row("relayed over UDP, which is blocked later: over TCP", udp_then_tcp),
        row("a TURN server takes the credential no longer", relay_ends),
    ]
}

/// A world with a TURN server, and a camera with one encoder.
struct Relayed {
    world: World,
    coturn: Coturn,
    master: Master,
}

impl Relayed {
    /// `None` where there is no coturn; CI has it.
    async fn new() -> Option<Self> {
        let mut world = World::new().await;
        let Some(coturn) = Coturn::start(world.folder.path()).await.unwrap() else {
            assert!(
                std::env::var_os("KVS_INGEST_REQUIRE").is_none(),
                "coturn is missing: cargo xtask packages"
            );
            return None;
        };
        let master = world.master_with(Settings { one_encoder: true, ..Settings::default() }).await;
        Some(Self { world, coturn, master })
    }

    async fn agent(&self, servers: &IceConfig, env: &[(&str, &str)]) -> AgentProcess {
        let ca = self.coturn.ca.to_str().unwrap();
        let own = [("AWS_ENDPOINT_URL_KINESIS_VIDEO_SIGNALING", servers.url.as_str()), ("AWS_CA_BUNDLE", ca)];
        self.world.agent_with(RELAY, &[], &[&own[..], env].concat()).await
    }

    /// Waits for `/status` to say what is wanted of it, with frames that come.
    async fn until(&self, agent: &mut AgentProcess, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let status =
            agent.wait_for(what, DEADLINE, |status| status["phase"] == "Streaming" && wanted(status)).await;
        status.unwrap_or_else(|error| panic!("{error}\n{}\n{}", agent.log(), self.coturn.log()))
    }

    /// Waits until media comes over this protocol.
    async fn by(&self, agent: &mut AgentProcess, protocol: &str) -> Value {
        self.until(agent, protocol, |status| status["relayProtocol"] == protocol).await
    }

    /// Nothing is lost, and nothing there twice.
    async fn finish(self, agent: AgentProcess) -> Kept {
        self.world.finish(agent, Some(self.master)).await.nothing_lost(DEADLINE).once()
    }
}

async fn servers(uris: Vec<String>) -> IceConfig {
    IceConfig::start(&uris).await.unwrap()
}

async fn tls_alone() -> Option<Kept> {
    let relayed = Relayed::new().await?;
    // A port on which nothing is answered.
    let silence = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let servers = servers(vec![
        format!("turn:{}?transport=udp", silence.local_addr().unwrap()),
        format!("turns:localhost:{}?transport=tcp", relayed.coturn.tls.port()),
    ])
    .await;
    let mut agent = relayed.agent(&servers, &[]).await;
    let status = relayed.by(&mut agent, "tls").await;
    assert_eq!(status["udpIsSilent"], true, "{status}");
    assert!(status["candidatePair"].as_str().unwrap().contains("(tls)"), "{status}");
    relayed.world.more(&mut agent, 4).await;
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
    Some(relayed.finish(agent).await)
}

/// To a name that only the proxy knows. `None` where this machine does not let `unshare` mount a file.
async fn through_a_proxy() -> Option<Kept> {
    let relayed = Relayed::new().await?;
    let proxy = Proxy::start(relayed.world.folder.path()).await.unwrap()?;
    let servers =
        servers(vec![format!("turns:{}:{}?transport=tcp", proxy::NAME, relayed.coturn.tls.port())]).await;
    let url = proxy.url(Some(proxy::USER));
    let mut agent = relayed.agent(&servers, &[("HTTPS_PROXY", &url)]).await;
    relayed.by(&mut agent, "tls").await;
    relayed.world.more(&mut agent, 3).await;
    assert!(proxy.log().contains("CONNECT"), "{}", proxy.log());
    assert!(!agent.log().contains("p-ss"), "{}", agent.log());
    Some(relayed.finish(agent).await)
}

/// UDP is taken while it works. When it does not any more, another connection goes by TCP: what was sent into the block is lost,
/// and nothing else.
async fn udp_then_tcp() -> Option<Kept> {
    let mut relayed = Relayed::new().await?;
    let front = UdpFront::start(relayed.coturn.plain).await.unwrap();
    let servers = servers(vec![
        format!("turn:{}?transport=tcp", relayed.coturn.plain),
        format!("turn:{}?transport=udp", front.address),
    ])
    .await;
    let mut agent = relayed.agent(&servers, &[]).await;
    relayed.by(&mut agent, "udp").await;
    relayed.world.more(&mut agent, 2).await;
    let blocked = SystemTime::now();
    front.block();
    relayed.world.mark();
    relayed.by(&mut agent, "tcp").await;
    // What lies in the sockets when the gate falls is of before.
    relayed.world.was_away(blocked - Duration::from_millis(300));
    relayed.world.more(&mut agent, 2).await;
    Some(relayed.finish(agent).await)
}

/// Another connection is made while the old one still brings media, and what is stored goes from one to the other.
async fn relay_ends() -> Option<Kept> {
    let mut relayed = Relayed::new().await?;
    let front = TcpFront::start(relayed.coturn.plain).await.unwrap();
    let servers = servers(vec![format!("turn:{}?transport=tcp", front.address)]).await;
    let mut agent = relayed.agent(&servers, &[]).await;
    relayed.by(&mut agent, "tcp").await;
    relayed.world.more(&mut agent, 2).await;
    front.refuse();
    relayed.world.mark();
    relayed.until(&mut agent, "another connection", |status| status["peerConnections"] == 2).await;
    relayed.world.more(&mut agent, 4).await;
    let log = agent.log();
    let told = log.matches("another connection to the master is made before this one ends").count();
    assert_eq!(told, 1, "{log}");
    assert!(!log.contains("PeerConnectionFailed"), "{log}");
    let kept = relayed.finish(agent).await;
    assert_eq!(kept.connections, 2, "{kept:?}");
    Some(kept)
}
