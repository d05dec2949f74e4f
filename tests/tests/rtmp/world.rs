//! KVS on localhost, a master, and the agent with outputs beside its stream or without one.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use kvs_ingest_tests::agent::{AgentProcess, AgentSettings};
use kvs_ingest_tests::http::post_json;
use kvs_ingest_tests::local;
use kvs_ingest_tests::master::channel::Access;
use kvs_ingest_tests::master::{Master, Sent, Settings};
use kvs_ingest_tests::rtmp::Recorder;
use kvs_ingest_tests::rtmp::nginx::Nginx;
use kvs_ingest_tests::rtmp::received::{self, Received};
use kvs_ingest_tests::stored::{self, Stored};
use kvs_local::Server;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

const CHANNEL: &str = "door";
const STREAM: &str = "door-stream";
/// Everything that takes no time of its own is done by then, on a machine that does much else.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// The stream key, which must not show anywhere.
pub const KEY: &str = "sk_eu-central-1_Xq7Fz2LmUw9d_c0ffee";

/// An output of the manifest.
#[derive(Clone, Debug, Default)]
pub struct Output {
    pub name: &'static str,
    /// `rtmp://HOST:PORT/APP`
    pub url: String,
    /// [`KEY`] where there is none.
    pub key: Option<&'static str>,
    /// PEM of the certificate authorities.
    pub authority: Option<PathBuf>,
    pub without_silence: bool,
}

impl Output {
    pub fn new(name: &'static str, url: String) -> Self {
        Self { name, url, ..Self::default() }
    }
}

pub struct World {
    // Ends when dropped.
    _local: Server,
    pub folder: TempDir,
    pub access: Access,
}

/// What became of it in the end.
pub struct End {
    /// What was sent, to the very end of the agent.
    pub sent: Sent,
    /// So many frames of it before the agent was told to end.
    pub frames: usize,
    /// The last `/status` and `/metrics` before.
    pub status: Value,
    pub metrics: String,
}

impl World {
    pub async fn new() -> Self {
        let _ = tracing_subscriber::fmt().with_env_filter("warn,turn=error").with_test_writer().try_init();
        let (local, mut folder) = local::start(|_| {}).await.unwrap();
        if std::env::var_os("KVS_INGEST_KEEP").is_some() {
            folder.disable_cleanup(true);
            println!("{}", folder.path().display());
        }
        let access = local::access(&local);
        Self { _local: local, folder, access }
    }

    pub async fn master(&self, settings: Settings) -> Master {
        Master::start(&self.access, CHANNEL, settings).await.unwrap()
    }

    /// With its files in a folder of this name.
    pub async fn nginx(&self, name: &str) -> Nginx {
        Nginx::start(&self.folder.path().join(name), KEY).await.unwrap()
    }

    /// An agent that records, and sends to these outputs.
    pub async fn agent(&self, outputs: &[Output]) -> AgentProcess {
        self.start(local::MANIFEST, outputs).await
    }

    /// An agent that sends to these outputs and records nothing.
    pub async fn agent_without_stream(&self, outputs: &[Output]) -> AgentProcess {
        let manifest: Vec<_> =
            local::MANIFEST.lines().filter(|line| !line.starts_with("  stream:")).collect();
        self.start(&(manifest.join("\n") + "\n"), outputs).await
    }

    async fn start(&self, manifest: &str, outputs: &[Output]) -> AgentProcess {
        let mut manifest = format!("{manifest}  outputs:\n");
        let mut arguments = Vec::new();
        for Output { name, url, key, authority, without_silence } in outputs {
            writeln!(manifest, "  - name: {name}\n    rtmp:\n      url: {url}").unwrap();
            writeln!(manifest, "      streamKeySecretRef: {{name: {name}, key: streamKey}}").unwrap();
            writeln!(manifest, "      silence: {}", !without_silence).unwrap();
            let file = self.folder.path().join(format!("{name}.key"));
            // As people write secrets: with a newline at the end.
            std::fs::write(&file, format!("{}\n", key.unwrap_or(KEY))).unwrap();
            arguments.push(format!("--output-stream-key-file={name}={}", file.display()));
            if let Some(authority) = authority {
                writeln!(manifest, "      caBundleRef: {{name: {name}, key: ca.pem}}").unwrap();
                arguments.push(format!("--output-ca-bundle={name}={}", authority.display()));
            }
        }
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let settings = local::agent(&self.access, &self.folder, &manifest);
        AgentProcess::start(&AgentSettings { arguments: &arguments, ..settings }).await.unwrap()
    }

    /// Waits until so many pictures have arrived at this server.
    pub async fn arrived(&self, server: &impl Recorder, pictures: usize, agent: &AgentProcess) {
        self.arrived_within(server, pictures, agent, DEADLINE).await;
    }

    /// As [`Self::arrived`], of more than comes in a minute.
    pub async fn arrived_within(
        &self,
        server: &impl Recorder,
        pictures: usize,
        agent: &AgentProcess,
        deadline: Duration,
    ) {
        let there = || received::pictures(&server.received().unwrap());
        self.wait(&format!("{pictures} pictures at the server"), deadline, server, agent, || {
            there() >= pictures
        })
        .await;
    }

    /// Waits until sound of so many milliseconds has arrived at this server.
    pub async fn heard(&self, server: &impl Recorder, milliseconds: u32, agent: &AgentProcess) {
        let there = || {
            broadcasts(server)
                .iter()
                .filter_map(|one| Some(one.audio.last()? - one.audio.first()?))
                .sum::<u32>()
        };
        self.wait(&format!("{milliseconds} ms of sound"), DEADLINE, server, agent, || {
            there() >= milliseconds
        })
        .await;
    }

    async fn wait(
        &self,
        what: &str,
        deadline: Duration,
        server: &impl Recorder,
        agent: &AgentProcess,
        there: impl Fn() -> bool,
    ) {
        let until = Instant::now() + deadline;
        while !there() {
            assert!(
                Instant::now() < until,
                "waited {deadline:?} for {what}; {:?}\n{}\n{}",
                agent.status().await,
                server.log(),
                agent.log()
            );
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until so many milliseconds of the stream are persisted.
    pub async fn persisted(&self, milliseconds: u64, agent: &AgentProcess) {
        let until = Instant::now() + DEADLINE;
        while self.persisted_ms().await < milliseconds {
            assert!(
                Instant::now() < until,
                "not enough persisted; {:?}\n{}",
                agent.status().await,
                agent.log()
            );
            sleep(Duration::from_millis(100)).await;
        }
    }

    pub async fn persisted_ms(&self) -> u64 {
        let state = stored::state(&self.access.endpoint, STREAM).await.unwrap_or_default();
        state["durationMs"].as_u64().unwrap_or(0)
    }

    /// The stream misbehaves (docs/kvs-local.md).
    pub async fn fault(&self, mut fault: Value) {
        fault["stream"] = STREAM.into();
        let url = format!("{}/_kvs/faults", self.access.endpoint);
        assert_eq!(post_json(&url, &fault).await.unwrap().0, 200);
    }

    /// SIGTERM, exit code 0, and no word of the key.
    pub async fn end(&self, agent: AgentProcess, master: &Master) -> End {
        let status = agent.status().await.unwrap();
        let (_, metrics) = agent.get("/metrics").await.unwrap();
        let sent = master.sent();
        assert_eq!(sent.len(), 1, "the agent connected again:\n{}", agent.log());
        let frames = sent[0].frames.len();
        let log_file = self.folder.path().join("agent.log");
        let ended = agent.stop(Duration::from_secs(20)).await.unwrap();
        let log = std::fs::read_to_string(log_file).unwrap();
        assert!(ended.success(), "{ended}\n{log}");
        for (place, text) in [("the log", &log), ("/status", &status.to_string()), ("/metrics", &metrics)] {
            assert!(!text.contains(KEY), "the stream key is in {place}: {text}");
        }
        End { sent: master.sent().pop().unwrap(), frames, status, metrics }
    }

    /// What is stored of the same.
    pub async fn stored(&self) -> Stored {
        stored::read(&self.access.endpoint, STREAM, self.folder.path()).await.unwrap()
    }
}

/// The entry of this output in `/status`.
pub fn output<'a>(status: &'a Value, name: &str) -> &'a Value {
    let outputs = status["outputs"].as_array().map(Vec::as_slice).unwrap_or_default();
    outputs.iter().find(|output| output["name"] == name).unwrap_or(&Value::Null)
}

/// The broadcasts that a server received, whole.
pub fn broadcasts(server: &impl Recorder) -> Vec<Received> {
    let files = server.received().unwrap();
    files
        .iter()
        .map(|file| Received::read(file).unwrap_or_else(|error| panic!("{}: {error:#}", file.display())))
        .collect()
}

/// Decoded without a complaint.
pub async fn decodes(received: &Received) {
    stored::decode(&received.file).await.unwrap();
}

/// The sum of this counter of the output `live`, over those of its series that have the words.
pub fn metric(metrics: &str, name: &str, words: &str) -> f64 {
    let of = |line: &&str| line.contains("output=\"live\"") && line.contains(words);
    let named = |line: &&str| line.split('{').next().is_some_and(|found| found.ends_with(name));
    let values: Vec<f64> = metrics
        .lines()
        .filter(named)
        .filter(of)
        .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
        .collect();
    assert!(!values.is_empty(), "there is no {name} of the output in {metrics}");
    values.iter().sum()
}
