//! Whoever can send UDP to an agent, and a master that means harm: the recording goes on, and memory stays what it was.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::net::SocketAddr;
use std::time::Duration;

use kvs_ingest_tests::agent::{AgentProcess, AgentSettings};
use kvs_ingest_tests::local::{self, MANIFEST};
use kvs_ingest_tests::master::{Master, Settings};
use kvs_ingest_tests::stored::{self, nothing_lost};
use kvs_ingest_tests::usage::Usage;
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep};

const STREAM: &str = "door-stream";

/// More than an allocator keeps for itself.
const GROWTH: f64 = 12e6;

/// How many forged packets are sent; `cargo xtask soak` sends a million.
fn packets() -> u32 {
    std::env::var("KVS_INGEST_FORGED_PACKETS").map_or(200_000, |text| text.parse().unwrap())
}

/// A forged datagram: what it pretends to be changes with its number, and where it has a source it is a new one.
fn forged(number: u32) -> Vec<u8> {
    let id = number.to_be_bytes();
    let filler = [0x5a; 40];
    match number % 8 {
        // SRTP of a source that nobody has heard of, video and audio: what each of them costs must be nothing.
        0..=3 => [&[0x80, 0x80 | 102, id[2], id[3], 0, 0, 0, 9][..], &id, &filler].concat(),
        4 => [&[0x80, 111, id[2], id[3], 0, 0, 0, 9][..], &id, &filler].concat(),
        // SRTCP.
        5 => [&[0x80, 200, 0, 6][..], &id, &filler].concat(),
        // A ClientHello, or the beginning of one.
        6 => [&[22, 254, 253, 0, 0, 0, 0][..], &id, &[0, 40], &filler].concat(),
        // A STUN Binding request with the controlling role and the highest tie-breaker, and without any proof.
        _ => {
            let mut request = vec![0, 1, 0, 24, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0];
            request.extend(id);
            request.extend([0, 6, 0, 8]);
            request.extend(b"any:body");
            request.extend([0x80, 0x2a, 0, 8]);
            request.extend([0xff; 8]);
            request
        }
    }
}

/// The agent's address of the pair in use: `host 127.0.0.1:1 <-> host 127.0.0.1:2`.
fn own_address(status: &serde_json::Value) -> SocketAddr {
    status["candidatePair"].as_str().unwrap().split(' ').nth(1).unwrap().parse().unwrap()
}

async fn metric(agent: &AgentProcess, name: &str) -> u64 {
    let (_, text) = agent.get("/metrics").await.unwrap();
    let line = text.lines().find(|line| line.starts_with(&format!("kvs_ingest_{name}_total "))).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

async fn stored_ms(endpoint: &str) -> u64 {
    stored::state(endpoint, STREAM).await.unwrap_or_default()["durationMs"].as_u64().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_packets_beside_a_recording_cost_nothing_and_no_frame_is_lost() {
    let (kvs, folder) = local::start(|_| {}).await.unwrap();
    let access = local::access(&kvs);
    let master = Master::start(&access, "door", Settings::default()).await.unwrap();
    let settings = local::agent(&access, &folder, MANIFEST);
    let mut agent = AgentProcess::start(&settings).await.unwrap();
    let status = agent
        .wait_for("a recording", Duration::from_secs(40), |status| {
            status["phase"] == "Streaming" && status["candidatePair"].is_string()
        })
        .await
        .unwrap();
    let target = own_address(&status);
    let until = Instant::now() + Duration::from_secs(30);
    while stored_ms(&access.endpoint).await < 4_000 {
        assert!(Instant::now() < until, "{:?}\n{}", agent.status().await, agent.log());
        sleep(Duration::from_millis(100)).await;
    }

    let id = agent.id().unwrap();
    let before = Usage::of(id).unwrap();
    let mut sockets = Vec::new();
    for _ in 0..32 {
        sockets.push(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    }
    let sent = packets();
    for number in 0..sent {
        // What the sender's own buffers do not take is lost, as datagrams are.
        let _ = sockets[number as usize % 32].send_to(&forged(number), target).await;
        // As many as a node's network takes without being asked, and no more than the kernel holds.
        if number % 100 == 99 {
            sleep(Duration::from_millis(2)).await;
        }
    }
    let stored_so_far = stored_ms(&access.endpoint).await;
    let until = Instant::now() + Duration::from_secs(30);
    // Of what was recorded meanwhile, and after it.
    while stored_ms(&access.endpoint).await < stored_so_far + 4_000 {
        assert!(Instant::now() < until, "{:?}\n{}", agent.status().await, agent.log());
        sleep(Duration::from_millis(100)).await;
    }
    let after = Usage::of(id).unwrap();
    let status = agent.status().await.unwrap();
    assert_eq!(status["phase"], "Streaming", "{status}");
    assert_eq!(
        (&status["peerConnections"], &status["packetsUndecryptable"]),
        (&1.into(), &0.into()),
        "{status}"
    );
    let heard = metric(&agent, "datagrams_of_strangers").await;
    let dropped = status["socketDrops"].as_u64().unwrap();
    assert!(heard > u64::from(sent) / 2, "{heard} of {sent} counted, {dropped} dropped by the kernel");
    let grown = after.resident - before.resident;
    println!(
        "{sent} forged, {heard} counted, {dropped} dropped by the kernel; resident {:.1} MB, {:+.1} MB; {:.2} CPU s",
        after.resident / 1e6,
        grown / 1e6,
        after.cpu - before.cpu
    );
    assert!(grown < GROWTH, "{grown} bytes more than {}", before.resident);

    let asked = master.sent().pop().unwrap().frames.len();
    assert!(agent.stop(Duration::from_secs(20)).await.unwrap().success());
    let stored = stored::read(&access.endpoint, STREAM, folder.path()).await.unwrap();
    let mut sent = master.sent().pop().unwrap();
    let last = stored.frames.last().map_or(0, |frame| frame.number as usize + 1);
    sent.frames.truncate(asked.max(last));
    nothing_lost(&stored, &sent);
    master.stop().await;
    kvs.shutdown().await;
}

/// The service lets a master send candidates for as long as it likes, to wherever it likes. (A hundred thousand of them are in
/// `crates/peer/tests/session.rs`: twenty a second are all that the service takes.)
#[tokio::test(flavor = "multi_thread")]
async fn candidates_without_end_are_refused_and_none_is_sent_to_where_nothing_is_sent() {
    let (kvs, folder) = local::start(|_| {}).await.unwrap();
    let access = local::access(&kvs);
    // Who listens at a place that is denied, and at one that is not.
    let denied = UdpSocket::bind("127.77.0.1:0").await.unwrap();
    let address = denied.local_addr().unwrap();
    let first = format!("candidate:0 1 udp 2113937151 {} {} typ host", address.ip(), address.port());
    let others =
        (1..=90).map(|number| format!("candidate:{number} 1 udp 2113937151 198.18.0.{number} 9 typ host"));
    let settings =
        Settings { candidates: std::iter::once(first).chain(others).collect(), ..Settings::default() };
    let master = Master::start(&access, "door", settings).await.unwrap();
    let manifest = MANIFEST.replace("spec:\n", "spec:\n  ice: {denyCidrs: [127.77.0.0/16]}\n");
    assert_ne!(manifest, MANIFEST);
    let settings = AgentSettings { manifest: &manifest, ..local::agent(&access, &folder, MANIFEST) };
    let mut agent = AgentProcess::start(&settings).await.unwrap();
    agent.wait_for_phase("Streaming", Duration::from_secs(40)).await.unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    // With its own there are 92, one of which is denied.
    while metric(&agent, "candidates_refused").await < 92 - 64 {
        assert!(Instant::now() < until, "{}", metric(&agent, "candidates_refused").await);
        sleep(Duration::from_millis(100)).await;
    }
    let mut buffer = [0; 2_000];
    assert!(denied.try_recv_from(&mut buffer).is_err(), "it was sent something");
    assert!(agent.stop(Duration::from_secs(20)).await.unwrap().success());
    master.stop().await;
    kvs.shutdown().await;
}
