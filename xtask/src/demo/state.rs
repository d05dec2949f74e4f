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
    last_fragment: Option<Fragment>,
}

/// The last one that was persisted. Milliseconds, the first two since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fragment {
    producer_ms: u64,
    persisted_ms: u64,
    duration_ms: u64,
}

/// How long after its capture a frame of the last fragment was persisted. A fragment is persisted as a whole, so that
/// its first frame waits for the rest of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lag {
    pub first_frame: Duration,
    /// Counted from the end of its duration, which is only estimated: never less than zero.
    pub last_frame: Duration,
}

impl Lag {
    fn of(fragment: Fragment) -> Self {
        let Fragment { producer_ms, persisted_ms, duration_ms } = fragment;
        let first_frame = persisted_ms.saturating_sub(producer_ms);
        Self {
            first_frame: Duration::from_millis(first_frame),
            last_frame: Duration::from_millis(first_frame.saturating_sub(duration_ms)),
        }
    }
}

#[derive(Deserialize)]
struct State {
    streams: Vec<StreamState>,
}

/// What is persisted in the demo's stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stored {
    pub fragments: u64,
    /// Video frames of all fragments.
    pub frames: u64,
    /// Of the last fragment.
    pub lag: Option<Lag>,
    duration_ms: u64,
    size: Option<(u32, u32)>,
    codecs: Vec<String>,
}

impl Stored {
    pub fn read(local: &LocalKvs, stream: &str) -> Result<Self> {
        Self::read_at(&local.url, stream)
    }

    /// Of the kvs-local at this address.
    pub fn read_at(url: &str, stream: &str) -> Result<Self> {
        let state: State = get(&format!("{url}/_kvs/state"))?;
        let found = state.streams.into_iter().find(|state| state.name == stream).unwrap_or_default();
        Ok(Self {
            fragments: found.fragments,
            frames: found.frames,
            lag: found.last_fragment.map(Lag::of),
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
    pub outputs: Vec<Output>,
}

/// What the agent says of an output beside the stream.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Output {
    pub name: String,
    pub state: String,
    pub message: String,
}

impl Ingest {
    /// An agent that does not answer is shown as such: the demo goes on.
    pub fn read(url: &str) -> Self {
        get(&format!("{url}/status")).unwrap_or_else(|error| Self {
            phase: "Unknown".to_owned(),
            reason: "NoAnswer".to_owned(),
            message: format!("{error:#}"),
            outputs: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_counts_from_the_capture_of_the_first_and_of_the_last_frame() {
        let text = r#"{"streams": [{"name": "door", "lastFragment":
            {"number": "91", "producerMs": 10000, "durationMs": 2000, "persistedMs": 12300}}]}"#;
        let state: State = serde_json::from_str(text).unwrap();
        let lag = Lag::of(state.streams[0].last_fragment.unwrap());
        assert_eq!((lag.first_frame.as_millis(), lag.last_frame.as_millis()), (2300, 300));
        // A clock that is a little behind makes no lag of centuries.
        let early = Lag::of(Fragment { producer_ms: 10_000, persisted_ms: 9_990, duration_ms: 2_000 });
        assert_eq!((early.first_frame, early.last_frame), (Duration::ZERO, Duration::ZERO));
    }
}
