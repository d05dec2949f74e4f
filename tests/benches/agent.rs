//! `cargo xtask bench agent`: what one agent costs that receives 720p30 at 2 Mbit/s, with and without mono Opus, and stores it
//! over TLS, and what it costs more when it sends the same over RTMPS, too. The master plays what was encoded before, in a
//! process of its own; KVS is in this one, the server of RTMPS is nginx behind stunnel.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a benchmark")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kvs_ingest_tests::agent::{AgentProcess, AgentSettings, binary};
use kvs_ingest_tests::master::channel::Access;
use kvs_ingest_tests::master::clip::{Picture, Sound};
use kvs_ingest_tests::master::{Answering, Master, Settings};
use kvs_ingest_tests::rtmp::Recorder;
use kvs_ingest_tests::rtmp::follow::arrivals;
use kvs_ingest_tests::rtmp::nginx::Nginx;
use kvs_ingest_tests::rtmp::tls::Stunnel;
use kvs_ingest_tests::stored;
use kvs_ingest_tests::usage::{Footprint, Usage};
use kvs_local::{AccessKey, Config, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
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
/// Set where there is a server of RTMP.
const RTMP: &str = "KVS_INGEST_BENCH_RTMP";
const KEY: &str = "sk_bench";
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
                    (true, _) => costs.push(run(&ours, what, seconds, None).await),
                    (false, Some(other)) => others.push(run(other, what, seconds, None).await),
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
    if std::env::var_os(RTMP).is_some() {
        beside_rtmp(&ours, seconds).await;
    }
}

/// The stream alone and with a second output, in turn.
async fn beside_rtmp(ours: &Path, seconds: u64) {
    let (mut alone, mut beside, mut latencies) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        for second_output in [round % 2 == 0, round % 2 != 0] {
            if second_output {
                beside.push(run(ours, "both", seconds, Some(&mut latencies)).await);
            } else {
                alone.push(run(ours, "both", seconds, None).await);
            }
        }
    }
    let (alone, beside) = (medians(&alone), medians(&beside));
    row("both, to the stream alone", &alone);
    row("both, and to RTMPS", &beside);
    row("  ratio", &std::array::from_fn(|figure| beside[figure] / alone[figure]));
    println!("  the second output: {:+.2} CPU s a minute", beside[0] - alone[0]);
    latencies.sort_by(f64::total_cmp);
    let part = |of: f64| latencies[((latencies.len() - 1) as f64 * of) as usize];
    println!(
        "  from capture to the server, of {} frames: median {:.0} ms, p95 {:.0} ms, most {:.0} ms",
        latencies.len(),
        part(0.5),
        part(0.95),
        part(1.0)
    );
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

/// CPU s/min, RSS, peak, private dirty, threads, wake-ups a second. Where latencies are asked for there is a second output, and
/// they are added: milliseconds from the capture of each frame to its arrival.
async fn run(binary: &Path, what: &str, seconds: u64, latencies: Option<&mut Vec<f64>>) -> [f64; 6] {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::new(folder.path().join("kvs"));
    config.access_keys = vec![AccessKey::new("AKIDTEST", "secret")];
    config.region = REGION.to_owned();
    config.tls_listen = Some("127.0.0.1:0".parse().unwrap());
    let server = Server::start(config).await.unwrap();
    let mut master = start_master(&format!("{what} {}", server.url())).await;
    let ca = folder.path().join("kvs/ca.pem");
    let (mut manifest, mut arguments, mut rtmp) = (MANIFEST.to_owned(), Vec::new(), None);
    if latencies.is_some() {
        let nginx = Nginx::start(&folder.path().join("nginx"), KEY).await.unwrap();
        let tls = Stunnel::start(&folder.path().join("stunnel"), nginx.address(), None).await.unwrap();
        manifest.push_str(&format!(
            "  outputs:\n  - name: live\n    rtmp:\n      url: {}\n      streamKeySecretRef: {{name: live, key: key}}\n      \
             caBundleRef: {{name: live, key: ca.pem}}\n",
            tls.url()
        ));
        let key = folder.path().join("key");
        std::fs::write(&key, KEY).unwrap();
        arguments.push(format!("--output-stream-key-file=live={}", key.display()));
        arguments.push(format!("--output-ca-bundle=live={}", tls.authority().display()));
        rtmp = Some((nginx, tls));
    }
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let settings = AgentSettings {
        manifest: &manifest,
        folder: folder.path(),
        endpoint: &server.tls_url().unwrap(),
        access_key: "AKIDTEST",
        secret_key: "secret",
        arguments: &arguments,
        env: &[("AWS_CA_BUNDLE", ca.to_str().unwrap())],
    };
    let mut agent = AgentProcess::start_build(binary, &settings).await.unwrap();
    let stored = |status: &serde_json::Value| status["kvs"]["fragmentsPersisted"].as_u64() > Some(0);
    agent.wait_for("the first fragment", Duration::from_secs(40), stored).await.unwrap();
    sleep(WARM).await;
    let id = agent.id().unwrap();
    let began = SystemTime::now();
    let (started, before, threads) = (Instant::now(), Usage::of(id).unwrap(), Footprint::of(id).unwrap());
    let measured = sleep(Duration::from_secs(seconds));
    let arrived = match &rtmp {
        None => {
            measured.await;
            BTreeMap::new()
        }
        Some((nginx, _)) => {
            let received = nginx.received().unwrap();
            assert_eq!(received.len(), 1, "one broadcast\n{}\n{}", nginx.log(), agent.log());
            arrivals(&received[0], measured).await.unwrap()
        }
    };
    let (usage, footprint) = (Usage::of(id).unwrap(), Footprint::of(id).unwrap());
    let took = started.elapsed().as_secs_f64();
    let state = stored::state(&server.url(), "bench").await.unwrap();
    assert!(state["frames"].as_u64().unwrap() >= seconds * 28, "{state}\n{}", agent.log());
    let agent_log = agent.log();
    assert!(agent.stop(Duration::from_secs(20)).await.unwrap().success());
    if let Some(latencies) = latencies {
        let captured = captured(&mut master).await;
        // Those that were there when it began were read all at once.
        let arrived: Vec<_> =
            arrived.into_iter().skip_while(|(_, at)| *at < began + Duration::from_millis(500)).collect();
        assert!(arrived.len() as u64 >= seconds * 25, "{} frames arrived\n{}", arrived.len(), agent_log);
        for (number, at) in arrived {
            let late = at.duration_since(captured[&number]).unwrap_or_default();
            latencies.push(late.as_secs_f64() * 1e3);
        }
    }
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

/// Tells the master to end, and reads when it captured each frame.
async fn captured(master: &mut Child) -> BTreeMap<u64, SystemTime> {
    master.stdin.take().unwrap().shutdown().await.unwrap();
    let mut text = String::new();
    master.stdout.as_mut().unwrap().read_to_string(&mut text).await.unwrap();
    let numbers = text.lines().filter_map(|line| line.split_once(' '));
    let at = |micros: &str| UNIX_EPOCH + Duration::from_micros(micros.parse().unwrap());
    numbers.map(|(number, micros)| (number.parse().unwrap(), at(micros))).collect()
}

/// Plays until whoever started it is gone or closes its standard input; then says when it captured each frame: number and
/// microseconds since 1970.
async fn master(what: &str) {
    let (what, endpoint) = what.split_once(' ').unwrap();
    let settings = Settings {
        answering: if what == "both" { Answering::Both } else { Answering::VideoOnly },
        sizes: vec![(1280, 720)],
        picture: Picture::Noise(KILOBITS),
        sound: Sound::Beeps { stereo: false },
        ..Settings::default()
    };
    let master = Master::start(&access(endpoint), "bench", settings).await.unwrap();
    println!("ready");
    let _ = tokio::io::stdin().read(&mut [0; 1]).await;
    for frame in master.sent().iter().flat_map(|sent| &sent.frames) {
        println!("{} {}", frame.number, frame.at.duration_since(UNIX_EPOCH).unwrap().as_micros());
    }
}
