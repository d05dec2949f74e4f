//! A place of its own for one row: KVS on localhost, masters one after the other behind one network, and agents.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use kvs_ingest_tests::agent::{AgentProcess, AgentSettings};
use kvs_ingest_tests::http::post_json;
use kvs_ingest_tests::local::{self, MANIFEST};
use kvs_ingest_tests::master::channel::Access;
use kvs_ingest_tests::master::network::Network;
use kvs_ingest_tests::master::{Farewell, Master, NUMBERS, Sent, Settings};
use kvs_ingest_tests::stored::{self, StoredFrame};
use kvs_local::{Config, Server};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::kept::{Away, Circumstances, Kept};

pub const CHANNEL: &str = "door";
pub const STREAM: &str = "door-stream";
/// For whatever has to come, on a busy machine. A connection without acknowledgements is given up after a minute.
pub const DEADLINE: Duration = Duration::from_secs(120);
/// What a master on a busy machine may have in its hands, with its time on it already.
const IN_HAND: Duration = Duration::from_millis(300);
/// Connections of one master, as far as their numbers go.
const CONNECTIONS: u64 = 1024;

pub struct World {
    local: Option<Server>,
    pub folder: TempDir,
    pub access: Access,
    address: SocketAddr,
    pub network: Network,
    masters: u64,
    sent: Vec<Sent>,
    circumstances: Circumstances,
}

impl World {
    pub async fn new() -> Self {
        let address = local::free_address();
        let (local, mut folder) = local::start(|config| config.listen = address).await.unwrap();
        let access = local::access(&local);
        folder.disable_cleanup(std::env::var_os("KVS_INGEST_KEEP").is_some());
        Self {
            local: Some(local),
            folder,
            access,
            address,
            network: Network::default(),
            masters: 0,
            sent: Vec::new(),
            circumstances: Circumstances::default(),
        }
    }

    /// The service goes away.
    pub async fn close(&mut self) {
        self.local.take().unwrap().shutdown().await;
    }

    /// And comes back, with what it had.
    pub async fn open(&mut self) {
        let mut config = Config::new(self.folder.path().join("kvs"));
        config.access_keys = vec![kvs_local::AccessKey::new(local::ACCESS_KEY, local::SECRET_KEY)];
        config.region = local::REGION.to_owned();
        config.listen = self.address;
        self.local = Some(Server::start(config).await.unwrap());
    }

    /// Small pictures: what is looked at here are not codecs.
    pub async fn master(&mut self) -> Master {
        self.master_with(Settings::default()).await
    }

    pub async fn master_with(&mut self, settings: Settings) -> Master {
        let sizes = if settings.sizes.len() > 1 { settings.sizes } else { vec![(320, 240)] };
        let first_number = Some(self.masters * CONNECTIONS * NUMBERS);
        self.masters += 1;
        let settings = Settings { sizes, first_number, network: self.network.clone(), ..settings };
        Master::start(&self.access, CHANNEL, settings).await.unwrap()
    }

    /// It has left: what it sent is remembered.
    pub async fn gone(&mut self, master: Master, farewell: Option<Farewell>) {
        let sent = match farewell {
            Some(farewell) => master.leave(farewell).await,
            None => master.stop().await,
        };
        self.sent.extend(sent);
    }

    pub async fn agent(&self) -> AgentProcess {
        self.agent_with("", &[], &[]).await
    }

    pub async fn agent_with(&self, more: &str, arguments: &[&str], env: &[(&str, &str)]) -> AgentProcess {
        let manifest = format!("{MANIFEST}{more}");
        let settings = local::agent(&self.access, &self.folder, &manifest);
        AgentProcess::start(&AgentSettings { arguments, env, ..settings }).await.unwrap()
    }

    /// An agent that streams, and has done so for some seconds.
    pub async fn streaming(&self) -> AgentProcess {
        let mut agent = self.agent().await;
        self.more(&mut agent, 3).await;
        agent
    }

    pub async fn persisted(&self) -> Duration {
        let state = stored::state(&self.access.endpoint, STREAM).await.unwrap_or_default();
        Duration::from_millis(state["durationMs"].as_u64().unwrap_or(0))
    }

    /// Waits until so many more seconds are persisted.
    pub async fn more(&self, agent: &mut AgentProcess, seconds: u64) {
        let wanted = self.persisted().await + Duration::from_secs(seconds);
        let until = Instant::now() + DEADLINE;
        while self.persisted().await < wanted {
            let status = agent.status().await;
            assert!(
                Instant::now() < until,
                "{seconds} s more are not persisted: {status:?}\n{}",
                agent.log()
            );
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn fault(&self, fault: &Value) {
        let url = format!("{}/_kvs/faults", self.access.endpoint);
        let (status, body) = post_json(&url, fault).await.unwrap();
        assert_eq!(status, 200, "{fault}: {body}");
    }

    /// The stream misbehaves (docs/kvs-local.md).
    pub async fn stream_fault(&self, mut fault: Value) {
        fault["stream"] = json!(STREAM);
        self.fault(&fault).await;
    }

    /// The channel does.
    pub async fn channel_fault(&self, mut fault: Value) {
        self.local.as_ref().unwrap().ensure_channel(CHANNEL).unwrap();
        fault["channel"] = json!(CHANNEL);
        self.fault(&fault).await;
    }

    /// The fault is now, or ends now.
    pub fn mark(&mut self) {
        self.circumstances.since = Some(SystemTime::now());
    }

    /// From then until now nothing could arrive, or nobody was there.
    pub fn was_away(&mut self, from: SystemTime) {
        self.circumstances.away.push(Away { from, to: SystemTime::now() });
    }

    /// The agent will give its connection up, and make another.
    pub fn gives_up(&mut self) {
        self.circumstances.gives_up = true;
    }

    /// What is stored now. What a decoder makes of it is looked at elsewhere.
    pub async fn stored(&self) -> Vec<StoredFrame> {
        stored::read_undecoded(&self.access.endpoint, STREAM, self.folder.path()).await.unwrap().frames
    }

    /// The agent ends well, and so does its master, if there is one; and what came of it.
    pub async fn finish(mut self, agent: AgentProcess, master: Option<Master>) -> Kept {
        let log = agent.log();
        self.circumstances.stopped = Some(SystemTime::now() - IN_HAND);
        let status = agent.stop(Duration::from_secs(30)).await.unwrap();
        assert!(status.success(), "{status}\n{log}");
        if let Some(master) = master {
            self.gone(master, None).await;
        }
        let stored = self.stored().await;
        let kept = Kept::judge(&self.sent, &stored, &self.circumstances);
        if kept.lost > 0 {
            println!("{log}");
        }
        if let Some(local) = self.local.take() {
            local.shutdown().await;
        }
        kept
    }
}
