//! KVS on localhost, as most suites start it, and who asks it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::Result;
use aws_sdk_kinesisvideo::types::{MediaStorageConfiguration, MediaStorageConfigurationStatus};
use kvs_local::{AccessKey, Config, Server};
use tempfile::TempDir;

use crate::agent::AgentSettings;
use crate::master::channel::{Access, ensure_channel};

pub const REGION: &str = "eu-central-1";
pub const ACCESS_KEY: &str = "AKIDTEST";
pub const SECRET_KEY: &str = "secret";

/// A manifest of channel `door` and stream `door-stream`, which the agent creates.
pub const MANIFEST: &str = "apiVersion: kvs-ingest.dev/v1alpha1
kind: KvsIngest
metadata: {name: door}
spec:
  region: eu-central-1
  channel: {name: door}
  stream: {name: door-stream, createIfMissing: true, retentionHours: 1}
";

/// With its data in `kvs` of the folder.
pub async fn start(change: impl FnOnce(&mut Config)) -> Result<(Server, TempDir)> {
    let folder = tempfile::tempdir()?;
    let mut config = Config::new(folder.path().join("kvs"));
    config.access_keys = vec![AccessKey::new(ACCESS_KEY, SECRET_KEY)];
    config.region = REGION.to_owned();
    change(&mut config);
    Ok((Server::start(config).await?, folder))
}

/// Below the ports that the kernel gives to clients: a server that is away for a while finds its own again.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let port =
            20_000 + (std::process::id() as u16 % 100) * 100 + NEXT.fetch_add(1, Ordering::Relaxed) % 100;
        if let Ok(free) = std::net::TcpListener::bind(("127.0.0.1", port))
            && let Ok(address) = free.local_addr()
        {
            return address;
        }
    }
}

pub fn access(server: &Server) -> Access {
    Access {
        endpoint: server.url(),
        region: REGION.to_owned(),
        access_key: ACCESS_KEY.to_owned(),
        secret_key: SECRET_KEY.to_owned(),
    }
}

/// Makes a channel whose media is stored in a stream, which is made too.
pub async fn mapped(access: &Access, channel: &str, stream: &str) -> Result<()> {
    let channel = ensure_channel(access, channel).await?;
    let client = access.control_plane();
    let stream = client.create_stream().stream_name(stream).data_retention_in_hours(1).send().await?;
    let configuration = MediaStorageConfiguration::builder()
        .status(MediaStorageConfigurationStatus::Enabled)
        .set_stream_arn(stream.stream_arn)
        .build()?;
    let update = client.update_media_storage_configuration().channel_arn(channel);
    update.media_storage_configuration(configuration).send().await?;
    Ok(())
}

/// An agent that records with this manifest.
pub fn agent<'a>(access: &'a Access, folder: &'a TempDir, manifest: &'a str) -> AgentSettings<'a> {
    AgentSettings {
        manifest,
        folder: folder.path(),
        endpoint: &access.endpoint,
        access_key: &access.access_key,
        secret_key: &access.secret_key,
        arguments: &[],
        env: &[],
    }
}
