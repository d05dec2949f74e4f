//! KVS, where agents and others store what they receive.

use std::path::Path;
use std::time::Duration;

use kvs_ingest_tests::agent::{AgentProcess, AgentSettings};
use kvs_ingest_tests::local::{self, ACCESS_KEY, REGION, SECRET_KEY};
use kvs_local::Server;
use serde_json::Value;
use tempfile::TempDir;

use super::master::{Path as NetworkPath, Played, Playing, channel};
use super::plan::Media;

/// From the first stored fragment on until it is measured: connecting, TLS and the first growth of buffers are over.
pub const WARM: Duration = Duration::from_secs(3);
/// For what takes a second or two.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct World {
    pub server: Server,
    pub folder: TempDir,
}

impl World {
    pub async fn new() -> Self {
        let tls = |config: &mut kvs_local::Config| {
            config.tls_listen = Some("127.0.0.1:0".parse().expect("an address"));
        };
        let (server, folder) = local::start(tls).await.unwrap();
        Self { server, folder }
    }

    pub async fn master(&self, channels: usize, media: Media, network: NetworkPath) -> Playing {
        Playing::start(&Played { endpoint: self.server.url(), channels, media, network }).await
    }

    /// Who answers for the certificate of kvs-local.
    pub fn authority(&self) -> std::path::PathBuf {
        self.folder.path().join("kvs/ca.pem")
    }

    /// An agent of the channel with this number, with its files in a folder of its own.
    pub async fn agent(&self, binary: &Path, number: usize, how: &How<'_>) -> AgentProcess {
        let name = channel(number);
        let folder = self.folder.path().join(&name);
        std::fs::create_dir_all(&folder).unwrap();
        let manifest = format!(
            "apiVersion: kvs-ingest.dev/v1alpha1
kind: KvsIngest
metadata: {{name: {name}}}
spec:
  region: {REGION}
  channel: {{name: {name}}}
  stream: {{name: {name}, createIfMissing: true, retentionHours: 1}}
{}",
            how.more
        );
        let settings = AgentSettings {
            manifest: &manifest,
            folder: &folder,
            endpoint: how.endpoint,
            access_key: ACCESS_KEY,
            secret_key: SECRET_KEY,
            arguments: how.arguments,
            env: how.env,
        };
        AgentProcess::start_build(binary, &settings).await.unwrap()
    }
}

/// How an agent is started.
pub struct How<'a> {
    pub endpoint: &'a str,
    /// More of its manifest's `spec`.
    pub more: &'a str,
    pub arguments: &'a [&'a str],
    pub env: &'a [(&'a str, &'a str)],
}

/// Waits until a first fragment of it is stored.
pub async fn stored(agent: &mut AgentProcess) {
    let persisted = |status: &Value| status["kvs"]["fragmentsPersisted"].as_u64() > Some(0);
    agent.wait_for("the first fragment", PATIENCE, persisted).await.unwrap();
}
