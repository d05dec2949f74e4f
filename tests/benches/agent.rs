//! `cargo xtask bench agent`: what one agent costs that receives 720p30 at 2 Mbit/s, with and without mono Opus, and stores it
//! over TLS. The master plays what was encoded before, in a process of its own; KVS is in this one.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a benchmark")]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use kvs_ingest_tests::agent::{AgentProcess, AgentSettings, binary};
use kvs_ingest_tests::master::channel::Access;
use kvs_ingest_tests::master::clip::{Picture, Sound};
use kvs_ingest_tests::master::{Answering, Master, Settings};
use kvs_ingest_tests::stored;
use kvs_ingest_tests::usage::{Footprint, Usage};
use kvs_local::{AccessKey, Config, Server};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// Runs of each; their medians count. A machine that does other things, too, gives other figures each time.
const ROUNDS: usize = 3;
/// Connecting, the first key frame, TLS and the first growth of buffers are over.
const WARM: Duration = Duration::from_secs(6);
const KILOBITS: u32 = 2_000;
const REGION: &str = "eu-central-1";
const MANIFEST: &str = "apiVersion: kvs-ingest.dev/v1alpha1
kind: KvsIngest
metadata: {name: bench}
spec:
  region: eu-central-1
  channel: {name: bench}
  stream: {name: bench, createIfMissing: true, retentionHours: 1}
";
/// Another build of the agent, to run in turn with this one.
const AGAINST: &str = "KVS_INGEST_BENCH_AGAINST";
/// Set in the process that is the master: the address of KVS, and `both` or `video`.
const MASTER: &str = "KVS_INGEST_BENCH_MASTER";

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    if let Ok(what) = std::env::var(MASTER) {
        return master(&what).await;
    }
    let seconds: u64 = std::env::var("KVS_INGEST_BENCH_SECONDS").map_or(60, |text| text.parse().unwrap());
    println!(
        "one agent, 720p30 at {KILOBITS} kbit/s, stored over TLS, {ROUNDS} runs of {seconds} s: the medians\n"
    );
    println!(
        "                            CPU s/min   RSS MB   peak MB   private dirty MB   threads   wake-ups/s"
    );
    let ours = binary("kvs-ingest-agent").unwrap();
    let against = std::env::var_os(AGAINST).map(PathBuf::from);
    for (name, what) in [("video, Opus mono", "both"), ("video alone", "video")] {
        let (mut costs, mut others) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            // Who is first changes: a machine grows warm, or busy.
            for ours_next in [round % 2 == 0, round % 2 != 0] {
                match (ours_next, &against) {
                    (true, _) => costs.push(run(&ours, what, seconds).await),
                    (false, Some(other)) => others.push(run(other, what, seconds).await),
                    (false, None) => {}
                }
            }
        }
        let costs = medians(&costs);
        row(name, &costs);
        if against.is_some() {
            let others = medians(&others);
            row("  the other build", &others);
            let ratio = std::array::from_fn(|figure| costs[figure] / others[figure]);
            row("  ratio", &ratio);
        }
    }
}

fn medians(costs: &[[f64; 6]]) -> [f64; 6] {
    std::array::from_fn(|figure| {
        let mut figures: Vec<f64> = costs.iter().map(|cost| cost[figure]).collect();
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    })
}

fn row(name: &str, [cpu, resident, peak, dirty, threads, wake_ups]: &[f64; 6]) {
    println!(
        "{name:26}  {cpu:9.2}  {resident:7.2}  {peak:8.2}   {dirty:16.2}   {threads:7.2}   {wake_ups:10.2}"
    );
}

fn access(endpoint: &str) -> Access {
    Access {
        endpoint: endpoint.to_owned(),
        region: REGION.to_owned(),
        access_key: "AKIDTEST".to_owned(),
        secret_key: "secret".to_owned(),
    }
}

/// CPU s/min, RSS, peak, private dirty, threads, wake-ups a second.
async fn run(binary: &Path, what: &str, seconds: u64) -> [f64; 6] {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::new(folder.path().join("kvs"));
    config.access_keys = vec![AccessKey::new("AKIDTEST", "secret")];
    config.region = REGION.to_owned();
    config.tls_listen = Some("127.0.0.1:0".parse().unwrap());
    let server = Server::start(config).await.unwrap();
    let master = start_master(&format!("{what} {}", server.url())).await;
    let ca = folder.path().join("kvs/ca.pem");
    let settings = AgentSettings {
        manifest: MANIFEST,
        folder: folder.path(),
        endpoint: &server.tls_url().unwrap(),
        access_key: "AKIDTEST",
        secret_key: "secret",
        arguments: &[],
        env: &[("AWS_CA_BUNDLE", ca.to_str().unwrap())],
    };
    let mut agent = AgentProcess::start_build(binary, &settings).await.unwrap();
    let stored = |status: &serde_json::Value| status["kvs"]["fragmentsPersisted"].as_u64() > Some(0);
    agent.wait_for("the first fragment", Duration::from_secs(40), stored).await.unwrap();
    sleep(WARM).await;
    let id = agent.id().unwrap();
    let (started, before, threads) = (Instant::now(), Usage::of(id).unwrap(), Footprint::of(id).unwrap());
    sleep(Duration::from_secs(seconds)).await;
    let (usage, footprint) = (Usage::of(id).unwrap(), Footprint::of(id).unwrap());
    let took = started.elapsed().as_secs_f64();
    let state = stored::state(&server.url(), "bench").await.unwrap();
    assert!(state["frames"].as_u64().unwrap() >= seconds * 28, "{state}\n{}", agent.log());
    assert!(agent.stop(Duration::from_secs(20)).await.unwrap().success());
    drop(master);
    server.shutdown().await;
    [
        (usage.cpu - before.cpu) * 60.0 / took,
        usage.resident / 1e6,
        usage.peak / 1e6,
        footprint.private_dirty / 1e6,
        footprint.threads() as f64,
        footprint.wake_ups_since(&threads) as f64 / took,
    ]
}

/// This program again, as the master; returns when it is on the channel.
async fn start_master(what: &str) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .env(MASTER, what)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut ready = [0; 5];
    child.stdout.as_mut().unwrap().read_exact(&mut ready).await.unwrap();
    child
}

/// Plays until whoever started it is gone.
async fn master(what: &str) {
    let (what, endpoint) = what.split_once(' ').unwrap();
    let settings = Settings {
        answering: if what == "both" { Answering::Both } else { Answering::VideoOnly },
        sizes: vec![(1280, 720)],
        picture: Picture::Noise(KILOBITS),
        sound: Sound::Beeps { stereo: false },
        ..Settings::default()
    };
    let _master = Master::start(&access(endpoint), "bench", settings).await.unwrap();
    println!("ready");
    let _ = tokio::io::stdin().read(&mut [0; 1]).await;
}
