//! A master that says goodbye is believed: the end of the recording is stored at once, and when it comes back it is
//! recorded at once, at the fifth time as at the first.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kvs_ingest_tests::agent::{AgentProcess, AgentSettings};
use kvs_ingest_tests::master::channel::{Access, ensure_channel};
use kvs_ingest_tests::master::{Farewell, Master, Sent, Settings};
use kvs_ingest_tests::stored::{self, StoredFrame};
use kvs_local::{AccessKey, Config, Server};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

const CHANNEL: &str = "visits";
const STREAM: &str = "visits-stream";
const REGION: &str = "eu-central-1";
const DEADLINE: Duration = Duration::from_secs(40);
/// From the goodbye to the end of the recording being on disk.
const PERSISTED: Duration = Duration::from_secs(2);
/// From the master's return to its first frame that is recorded.
const RECORDED: Duration = Duration::from_secs(3);
/// It is one of the first that were sent: a key frame was asked for.
const FIRST_FRAME: u64 = 45;
/// What a busy machine may add.
const MARGIN: Duration = Duration::from_secs(1);

struct World {
    local: Server,
    folder: TempDir,
    access: Access,
}

impl World {
    async fn new() -> Self {
        let _ = tracing_subscriber::fmt().with_env_filter("warn,turn=error").with_test_writer().try_init();
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::new(folder.path().join("kvs"));
        config.access_keys = vec![AccessKey::new("AKIDTEST", "secret")];
        config.region = REGION.to_owned();
        let local = Server::start(config).await.unwrap();
        let access = Access {
            endpoint: local.url(),
            region: REGION.to_owned(),
            access_key: "AKIDTEST".to_owned(),
            secret_key: "secret".to_owned(),
        };
        Self { local, folder, access }
    }

    async fn agent(&self) -> AgentProcess {
        let manifest = format!(
            "apiVersion: kvs-ingest.dev/v1alpha1
kind: KvsIngest
metadata: {{name: visits}}
spec:
  region: {REGION}
  channel: {{name: {CHANNEL}}}
  stream: {{name: {STREAM}, createIfMissing: true, retentionHours: 1}}
"
        );
        AgentProcess::start(&AgentSettings {
            manifest: &manifest,
            folder: self.folder.path(),
            endpoint: &self.access.endpoint,
            access_key: &self.access.access_key,
            secret_key: &self.access.secret_key,
            arguments: &[],
            env: &[],
        })
        .await
        .unwrap()
    }

    /// Waits until a fragment that ends no earlier than this is persisted; when it was.
    async fn persisted_up_to(&self, end_ms: u64, agent: &AgentProcess) -> u64 {
        let until = Instant::now() + DEADLINE;
        loop {
            let state = stored::state(&self.access.endpoint, STREAM).await.unwrap_or_default();
            let last = &state["lastFragment"];
            let number = |name: &str| last[name].as_u64().unwrap_or(0);
            if number("producerMs") + number("durationMs") >= end_ms {
                return number("persistedMs");
            }
            assert!(Instant::now() < until, "nothing up to {end_ms}: {state}\n{}", agent.log());
            sleep(Duration::from_millis(50)).await;
        }
    }
}

fn millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// What one visit was to the viewer that recorded it, and when the master was there.
struct Visit {
    back: SystemTime,
    sent: Sent,
}

/// The master comes, plays for three seconds, and goes with these words.
async fn visit(world: &World, agent: &mut AgentProcess, farewell: Farewell) -> Visit {
    let master = Master::start(&world.access, CHANNEL, Settings::default()).await.unwrap();
    let back = SystemTime::now();
    let played = |sent: &[Sent]| sent.iter().any(|sent| sent.frames.len() > 90);
    if let Err(error) = master.wait_for("played", DEADLINE, played).await {
        panic!("{error:#}\n{}", agent.log());
    }
    let left = millis(SystemTime::now());
    let sent = master.leave(farewell).await.into_iter().max_by_key(|sent| sent.frames.len()).unwrap();
    agent.wait_for("the goodbye", MARGIN, |status| status["phase"] == "WaitingForMaster").await.unwrap();
    // The end of a fragment is known to a frame.
    let persisted = world.persisted_up_to(millis(sent.frames.last().unwrap().at) - 50, agent).await;
    let took = Duration::from_millis(persisted.saturating_sub(left));
    println!("{farewell:?}: the end persisted after {took:?}");
    assert!(took <= PERSISTED + MARGIN, "persisted {took:?} after the goodbye\n{}", agent.log());
    Visit { back, sent }
}

/// Every visit is stored from its first frame to its last, and from soon after the master was there.
fn recorded(visits: &[Visit], mut stored: &[StoredFrame]) {
    for (number, visit) in visits.iter().enumerate() {
        let of_it = stored
            .windows(2)
            .position(|pair| pair[1].number < pair[0].number)
            .map_or(stored.len(), |at| at + 1);
        let (frames, rest) = stored.split_at(of_it);
        stored = rest;
        let first = frames.first().unwrap();
        let begun = Duration::from_millis((first.time_ms as u64).saturating_sub(millis(visit.back)));
        println!(
            "visit {number}: recorded after {begun:?}, from frame {}, {} frames",
            first.number,
            frames.len()
        );
        assert!(first.idr && first.number <= FIRST_FRAME, "visit {number}: the first frame is {}", first.number);
        assert!(begun <= RECORDED + MARGIN, "visit {number}: recorded after {begun:?}");
        let sent = &visit.sent.frames[first.number as usize..];
        let hashes = |frame: &StoredFrame| frame.hash.clone();
        assert_eq!(
            frames.iter().map(hashes).collect::<Vec<_>>(),
            sent.iter().map(|frame| frame.hash.clone()).collect::<Vec<_>>(),
            "visit {number}"
        );
    }
    assert!(stored.is_empty(), "{} frames too many", stored.len());
}

async fn comes_and_goes(farewell: Farewell) {
    let world = World::new().await;
    ensure_channel(&world.access, CHANNEL).await.unwrap();
    let mut agent = world.agent().await;
    agent.wait_for_phase("WaitingForMaster", DEADLINE).await.unwrap();
    let mut visits = Vec::new();
    for _ in 0..6 {
        visits.push(visit(&world, &mut agent, farewell).await);
    }
    println!("{}", agent.log());
    assert!(agent.stop(Duration::from_secs(20)).await.unwrap().success());
    let stored = stored::read(&world.access.endpoint, STREAM, world.folder.path()).await.unwrap();
    recorded(&visits, &stored.frames);
    // Each visit is one file: no fragment has a set of tracks of its own.
    println!("{} files, sound in {:?}", stored.files.len(), stored.channels);
    assert_eq!(stored.channels.len(), stored.files.len());
    world.local.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_closes_and_comes_back_is_recorded_at_once_every_time() {
    comes_and_goes(Farewell::Both).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_only_says_bye_is_believed() {
    comes_and_goes(Farewell::Bye).await;
}
