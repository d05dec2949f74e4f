//! What kvs-local has stored and what the agent says of itself, as far as the demo shows it.

use std::time::Duration;

use anyhow::Result;
use serde::Deserialize;

use super::local_kvs::{LocalKvs, get};

/// One stream of `GET /_kvs/state`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct StreamState {
    name: String,
    fragments: u64,
    frames: u64,
    duration_ms: u64,
    width: Option<u32>,
    height: Option<u32>,
    codecs: Vec<String>,
    lag_ms: Option<u64>,
}

#[derive(Deserialize)]
struct State {
    streams: Vec<StreamState>,
}

/// What is persisted in the demo's stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stored {
    pub fragments: u64,
    /// Video frames.
    pub frames: u64,
    /// From the capture of a fragment's first frame to the fragment being persisted: mostly its own length.
    pub lag: Option<Duration>,
    duration_ms: u64,
    size: Option<(u32, u32)>,
    codecs: Vec<String>,
}

impl Stored {
    pub fn read(local: &LocalKvs, stream: &str) -> Result<Self> {
        let state: State = local.get("/_kvs/state")?;
        let found = state.streams.into_iter().find(|state| state.name == stream).unwrap_or_default();
        Ok(Self {
            fragments: found.fragments,
            frames: found.frames,
            lag: found.lag_ms.map(Duration::from_millis),
            duration_ms: found.duration_ms,
            size: found.width.zip(found.height),
            codecs: found.codecs,
        })
    }

    pub fn duration(&self) -> Duration {
        Duration::from_millis(self.duration_ms)
    }

    pub fn resolution(&self) -> String {
        self.size.map_or_else(|| "none".to_owned(), |(width, height)| format!("{width}x{height}"))
    }

    pub fn codecs(&self) -> String {
        if self.codecs.is_empty() { "none".to_owned() } else { self.codecs.join(", ") }
    }
}

/// The agent's `/status`, as far as it is shown.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Ingest {
    pub phase: String,
    pub reason: String,
    pub message: String,
}

impl Ingest {
    /// An agent that does not answer is shown as such: the demo goes on.
    pub fn read(url: &str) -> Self {
        get(&format!("{url}/status")).unwrap_or_else(|error| Self {
            phase: "Unknown".to_owned(),
            reason: "NoAnswer".to_owned(),
            message: format!("{error:#}"),
        })
    }
}
