//! `kvs-local` as a child: KVS on localhost for the demo and for the suites of other languages.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;

use crate::process::Running;
use crate::workspace::{binary, target};

/// The region of `examples/front-door.yaml`.
pub const REGION: &str = "ap-northeast-1";

/// A running `kvs-local`; ends when dropped.
pub struct LocalKvs {
    /// `http://127.0.0.1:PORT`
    pub url: String,
    access_key: String,
    secret_key: String,
    process: Running,
}

pub struct Settings<'a> {
    pub port: u16,
    pub data: &'a Path,
    pub page: Option<&'a Path>,
    pub log: &'a Path,
    /// Signaling channels that exist from the start.
    pub channels: &'a [&'a str],
}

impl LocalKvs {
    pub fn start(settings: &Settings<'_>) -> Result<Self> {
        let (access_key, secret_key) = key_pair()?;
        let mut command = Command::new(binary("kvs-local"));
        command
            .arg(format!("--listen=127.0.0.1:{}", settings.port))
            .arg("--region")
            .arg(REGION)
            .arg("--data")
            .arg(settings.data)
            .env("AWS_ACCESS_KEY_ID", &access_key)
            .env("AWS_SECRET_ACCESS_KEY", &secret_key);
        if let Some(page) = settings.page {
            command.arg("--web").arg(page);
        }
        for channel in settings.channels {
            command.arg("--create-channel").arg(channel);
        }
        let (process, line) =
            Running::start_and_read_line("kvs-local", &mut command, settings.log, Duration::from_secs(20))?;
        let url = line
            .split_whitespace()
            .find(|word| word.starts_with("http://"))
            .with_context(|| format!("kvs-local's first line holds no address: {line:?}"))?
            .to_owned();
        Ok(Self { url, access_key, secret_key, process })
    }

    /// On a free port, with an empty data folder of its own.
    pub fn start_for_tests(suite: &str) -> Result<Self> {
        let folder = fresh_folder(&target().join("suites").join(suite))?;
        Self::start(&Settings {
            port: 0,
            data: &folder.join("data"),
            page: None,
            log: &folder.join("kvs-local.log"),
            channels: &[],
        })
    }

    /// The environment with which AWS's clients find this KVS and are let in.
    pub fn credentials(&self) -> [(&'static str, String); 8] {
        [
            ("AWS_ACCESS_KEY_ID", self.access_key.clone()),
            ("AWS_SECRET_ACCESS_KEY", self.secret_key.clone()),
            ("AWS_SESSION_TOKEN", String::new()),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_DEFAULT_REGION", REGION.to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("AWS_ENDPOINT_URL_KINESIS_VIDEO", self.url.clone()),
            ("AWS_ENDPOINT_URL_KINESIS_VIDEO_SIGNALING", self.url.clone()),
        ]
    }

    /// Has its page show what the agent at this URL says of its outputs.
    pub fn show_outputs(&self, agent: &str) -> Result<()> {
        let url = format!("{}/_kvs/agents", self.url);
        let order = BTreeMap::from([("status", format!("{agent}/status"))]);
        client().post(&url).send_json(&order).map(drop).with_context(|| format!("POST {url}"))
    }

    pub fn check(&mut self) -> Result<()> {
        self.process.check()
    }

    pub fn stop(&mut self) {
        self.process.stop(Duration::from_secs(5));
    }
}

fn client() -> ureq::Agent {
    ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(3))).proxy(None).build().into()
}

/// GET of a JSON document from a process on this machine.
pub fn get<T: DeserializeOwned>(url: &str) -> Result<T> {
    client()
        .get(url)
        .call()
        .and_then(|mut answer| answer.body_mut().read_json())
        .with_context(|| format!("GET {url}"))
}

/// An empty folder at `path`; what an earlier run left there is removed.
pub fn fresh_folder(path: &Path) -> Result<PathBuf> {
    if path.exists() {
        fs::remove_dir_all(path).with_context(|| format!("cannot empty {}", path.display()))?;
    }
    fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()))?;
    Ok(path.to_owned())
}

/// A key pair for this run only: the user's own AWS keys are never given to anything local.
fn key_pair() -> Result<(String, String)> {
    let bytes = {
        use std::io::Read;
        let mut bytes = [0_u8; 24];
        fs::File::open("/dev/urandom")
            .and_then(|mut file| file.read_exact(&mut bytes))
            .context("cannot read /dev/urandom")?;
        bytes
    };
    let hex: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    Ok((format!("AKIDEMO{}", &hex[..12]), hex[12..].to_owned()))
}
