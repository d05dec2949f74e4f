//! One agent takes the place of another, again and again, as a Deployment does it: the new one is there before the old one is
//! told to end. Every frame that the master sent is stored, and few of them twice.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test, and its figures")]

use std::time::Duration;

use kvs_ingest_tests::agent::{AgentProcess, AgentSettings};
use kvs_ingest_tests::local::{self, MANIFEST};
use kvs_ingest_tests::master::channel::Access;
use kvs_ingest_tests::master::clip::{FRAME_RATE, GROUP};
use kvs_ingest_tests::master::{Master, Sent, Settings};
use kvs_ingest_tests::stored::{self, Stored, all_of_one_encoder};
use kvs_local::Server;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

const CHANNEL: &str = "door";
const STREAM: &str = "door-stream";
const DEADLINE: Duration = Duration::from_secs(60);
const STOPS_WITHIN: Duration = Duration::from_secs(20);

struct World {
    local: Server,
    folder: TempDir,
    access: Access,
    master: Master,
}

impl World {
    /// KVS that lets so many write to a stream at a time, and a camera with one encoder.
    async fn new(connections: usize) -> Self {
        let _ = tracing_subscriber::fmt().with_env_filter("warn,turn=error").with_test_writer().try_init();
        let (local, folder) =
            local::start(|config| config.put_media.connections = connections).await.unwrap();
        let access = local::access(&local);
        let settings = Settings { one_encoder: true, ..Settings::default() };
        let master = Master::start(&access, CHANNEL, settings).await.unwrap();
        Self { local, folder, access, master }
    }

    /// An agent whose media flows: a pod that is ready.
    async fn agent(&self, number: usize) -> AgentProcess {
        let folder = self.folder.path().join(format!("agent-{number}"));
        std::fs::create_dir(&folder).unwrap();
        let settings =
            AgentSettings { folder: &folder, ..local::agent(&self.access, &self.folder, MANIFEST) };
        let mut agent = AgentProcess::start(&settings).await.unwrap();
        let until = Instant::now() + DEADLINE;
        loop {
            agent.wait_for_phase("Streaming", DEADLINE).await.unwrap();
            if agent.get("/readyz").await.unwrap().0 == 200 {
                return agent;
            }
            assert!(Instant::now() < until, "never ready\n{}", agent.log());
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn stores(&self, agent: &mut AgentProcess) {
        let stores = |status: &Value| status["kvs"]["fragmentsPersisted"].as_u64() > Some(0);
        agent.wait_for("something stored", DEADLINE, stores).await.unwrap();
    }

    /// Milliseconds of what is stored.
    async fn duration(&self) -> u64 {
        stored::state(&self.access.endpoint, STREAM).await.unwrap()["durationMs"].as_u64().unwrap()
    }

    async fn finish(self, agent: AgentProcess) -> (Stored, Vec<Sent>) {
        assert!(agent.stop(STOPS_WITHIN).await.unwrap().success());
        let mut stored = stored::read(&self.access.endpoint, STREAM, self.folder.path()).await.unwrap();
        // What was lost on the way just before the last agent was stopped, nobody sends again.
        let half_a_second = usize::try_from(FRAME_RATE / 2).unwrap();
        stored.frames.truncate(stored.frames.len().saturating_sub(half_a_second));
        let sent = self.master.stop().await;
        self.local.shutdown().await;
        (stored, sent)
    }
}

async fn upgrades(connections: usize, times: usize) {
    let world = World::new(connections).await;
    let mut agent = world.agent(0).await;
    world.stores(&mut agent).await;
    for number in 1..=times {
        let mut new = world.agent(number).await;
        let ended = agent.stop(STOPS_WITHIN).await.unwrap();
        assert!(ended.success(), "{ended}");
        world.stores(&mut new).await;
        agent = new;
    }
    let (stored, sent) = world.finish(agent).await;
    let twice = all_of_one_encoder(&stored, &sent);
    println!("{times} upgrades with {connections} connections: frames stored twice {twice:?}");
    assert!(twice.len() <= times && twice.iter().all(|frames| *frames <= GROUP), "{twice:?}");
    // Agents do not start at once: less than a second of each would say that they did not record side by side.
    assert!(stored.frames.len() > times * GROUP / 2, "{}", stored.frames.len());
}

/// The suite plays a few; `cargo xtask test --all` ten, as a fleet sees them in months.
fn times() -> usize {
    if std::env::var_os("KVS_INGEST_REAL_TIME").is_some() { 10 } else { 3 }
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_are_replaced_where_one_may_write() {
    upgrades(1, times()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_are_replaced_where_two_may_write() {
    upgrades(2, times()).await;
}

/// The old agent does not do anything any more, and keeps its connection: what it has stored is not stored again, and what it
/// has not is.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_hangs_stops_nobody() {
    let world = World::new(2).await;
    let mut hung = world.agent(0).await;
    world.stores(&mut hung).await;
    let mut new = world.agent(1).await;
    // What the old one alone has received is lost with it: it has to have delivered all from before the new one's first frame.
    let before = world.duration().await;
    let until = Instant::now() + DEADLINE;
    while world.duration().await < before + 2 * GROUP as u64 * 1_000 / u64::from(FRAME_RATE) {
        assert!(Instant::now() < until, "the old agent stores nothing\n{}", hung.log());
        sleep(Duration::from_millis(100)).await;
    }
    let id = hung.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-STOP", &id]).status().await.unwrap().success());
    world.stores(&mut new).await;
    drop(hung);
    let (stored, sent) = world.finish(new).await;
    let twice = all_of_one_encoder(&stored, &sent);
    assert!(twice.len() <= 1 && twice.iter().all(|frames| *frames <= GROUP), "{twice:?}");
}
