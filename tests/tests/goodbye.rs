//! A master that says goodbye is believed: the end of the recording is stored at once, and when it comes back it is
//! recorded at once, at the fifth time as at the first. One that merely pauses is waited for.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test, and its figures")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kvs_ingest_tests::agent::{AgentProcess, AgentSettings};
use kvs_ingest_tests::local::{self, REGION};
use kvs_ingest_tests::master::channel::{Access, ensure_channel};
use kvs_ingest_tests::master::{Answering, Farewell, Master, Sent, Settings};
use kvs_ingest_tests::stored::{self, StoredFrame, nothing_lost};
use kvs_local::Server;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

const CHANNEL: &str = "visits";
const STREAM: &str = "visits-stream";
const DEADLINE: Duration = Duration::from_secs(40);
/// What comes before the keys are there is kept: the very first is stored.
const FIRST_FRAME: u64 = 0;
/// What a busy machine may add.
const MARGIN: Duration = Duration::from_secs(1);

/// What is promised of a master that leaves and comes back.
#[derive(Clone, Copy)]
struct Promise {
    /// From its leaving to the status saying so.
    told: Duration,
    /// From its leaving to the end of the recording being on disk.
    persisted: Duration,
    /// From its leaving, or its return if that is later, to its first frame that is recorded.
    recorded: Duration,
    /// So many frames may not have left it when it vanished.
    unsent: usize,
}

/// It says goodbye.
const BELIEVED: Promise = Promise {
    told: Duration::from_millis(200),
    persisted: Duration::from_secs(2),
    recorded: Duration::from_secs(3),
    unsent: 0,
};

/// It does not, and is missed.
const MISSED: Promise = Promise {
    told: Duration::from_secs(6),
    persisted: Duration::from_secs(7),
    recorded: Duration::from_secs(6),
    unsent: 1,
};

struct World {
    local: Server,
    folder: TempDir,
    access: Access,
}

impl World {
    async fn new() -> Self {
        let _ = tracing_subscriber::fmt().with_env_filter("warn,turn=error").with_test_writer().try_init();
        let (local, folder) = local::start(|_| {}).await.unwrap();
        let access = local::access(&local);
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

    async fn master(&self) -> Master {
        Master::start(&self.access, CHANNEL, Settings::default()).await.unwrap()
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

fn now() -> u64 {
    millis(SystemTime::now())
}

fn millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// What one visit was to the viewer that recorded it, and from when on it could have been recorded.
struct Visit {
    since: u64,
    sent: Sent,
}

/// A master that comes, plays for three seconds and leaves, again and again: with these words, or with none.
async fn comes_and_goes(farewell: Option<Farewell>, promise: Promise) {
    let world = World::new().await;
    ensure_channel(&world.access, CHANNEL).await.unwrap();
    let mut agent = world.agent().await;
    agent.wait_for_phase("WaitingForMaster", DEADLINE).await.unwrap();
    let mut visits = Vec::new();
    let mut master = world.master().await;
    let mut since = now();
    for _ in 0..6 {
        let played = |sent: &[Sent]| sent.iter().any(|sent| sent.frames.len() > 90);
        if let Err(error) = master.wait_for("played", DEADLINE, played).await {
            panic!("{error:#}\n{}", agent.log());
        }
        let left = now();
        let sent = match farewell {
            Some(farewell) => master.leave(farewell).await,
            None => master.stop().await,
        };
        let sent = sent.into_iter().max_by_key(|sent| sent.frames.len()).unwrap();
        // One that is missed is back before it is missed; one that says goodbye is not believed because of its return.
        if farewell.is_some() {
            let told = |status: &Value| status["phase"] == "WaitingForMaster";
            agent.wait_for("the goodbye", promise.told + MARGIN, told).await.unwrap();
        }
        master = world.master().await;
        let end = millis(sent.frames.last().unwrap().at);
        visits.push(Visit { since, sent });
        since = now().max(left);
        // The end of a fragment is known to a frame.
        let persisted = world.persisted_up_to(end - 50, &agent).await;
        let took = Duration::from_millis(persisted.saturating_sub(left));
        println!("{farewell:?}: the end persisted after {took:?}");
        assert!(took <= promise.persisted + MARGIN, "persisted {took:?} after the end\n{}", agent.log());
    }
    master.stop().await;
    assert!(agent.stop(Duration::from_secs(20)).await.unwrap().success());
    let stored = stored::read(&world.access.endpoint, STREAM, world.folder.path()).await.unwrap();
    recorded(&visits, &stored.frames, promise);
    // No fragment has a set of tracks of its own: each file has sound.
    assert_eq!(stored.channels.len(), stored.files.len());
    world.local.shutdown().await;
}

/// Every visit is stored from one of its first frames to its very last, and from soon after the master was there.
fn recorded(visits: &[Visit], mut stored: &[StoredFrame], promise: Promise) {
    for (number, visit) in visits.iter().enumerate() {
        let next = stored.windows(2).position(|pair| pair[1].number < pair[0].number);
        let (frames, rest) = stored.split_at(next.map_or(stored.len(), |at| at + 1));
        stored = rest;
        let first = frames.first().unwrap();
        let begun = Duration::from_millis((first.time_ms as u64).saturating_sub(visit.since));
        println!(
            "visit {number}: recorded after {begun:?}, from frame {}, {} frames",
            first.number,
            frames.len()
        );
        assert!(
            first.idr && first.number == FIRST_FRAME,
            "visit {number}: the first frame is {}",
            first.number
        );
        assert!(begun <= promise.recorded + MARGIN, "visit {number}: recorded after {begun:?}");
        let mut sent: Vec<_> =
            visit.sent.frames[first.number as usize..].iter().map(|frame| &frame.hash).collect();
        if sent.len() <= frames.len() + promise.unsent {
            sent.truncate(frames.len());
        }
        assert_eq!(frames.iter().map(|frame| &frame.hash).collect::<Vec<_>>(), sent, "visit {number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_closes_and_comes_back_is_recorded_at_once_every_time() {
    comes_and_goes(Some(Farewell::Both), BELIEVED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_only_says_bye_is_believed() {
    comes_and_goes(Some(Farewell::Bye), BELIEVED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_only_closes_dtls_is_believed() {
    comes_and_goes(Some(Farewell::CloseNotify), BELIEVED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_sends_a_frame_in_eight_seconds_is_recorded_over_one_connection() {
    let world = World::new().await;
    let mut settings = Settings { answering: Answering::VideoOnly, ..Settings::default() };
    (settings.time.video.every, settings.time.video.ticks) = (Duration::from_secs(8), 8 * 90_000);
    let master = Master::start(&world.access, CHANNEL, settings).await.unwrap();
    let mut agent = world.agent().await;
    let silent = |status: &Value| status["reason"] == "MasterSilent";
    agent.wait_for("the silence", DEADLINE, silent).await.unwrap();
    let sent = master.wait_for("sent", DEADLINE, |sent| sent[0].frames.len() > 4).await.unwrap();
    assert_eq!(sent.len(), 1, "{}", agent.log());
    // By now that is what this master is like.
    agent.wait_for_phase("Streaming", MARGIN).await.unwrap();
    assert!(agent.stop(Duration::from_secs(20)).await.unwrap().success());
    let stored = stored::read(&world.access.endpoint, STREAM, world.folder.path()).await.unwrap();
    let sent = master.stop().await.remove(0);
    nothing_lost(&stored, &sent);
    // From the first key frame on, which may have been asked for.
    assert!(stored.frames.len() >= 3, "{:?}", stored.frames);
    world.local.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_vanishes_is_missed_as_soon_every_time() {
    comes_and_goes(None, MISSED).await;
}
