//! Chromium as a KVS WebRTC master: the page of kvs-local, driven by `tests/browser/master.mjs`.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, sleep, timeout};

const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Nine frames long: without a frame for this long there is none to come.
const QUIET: Duration = Duration::from_millis(300);

/// A video frame that Chromium encoded and gave to RTP.
#[derive(Clone, Debug, Deserialize)]
pub struct BrowserFrame {
    /// Which peer connection, in the order in which they were made.
    pub connection: u64,
    /// Milliseconds since 1970.
    pub at: u64,
    /// `key` or `delta`.
    pub r#type: String,
    /// Pixels.
    pub width: u64,
    /// Pixels.
    pub height: u64,
    /// As [`crate::nal::slice_hash`].
    pub hash: String,
}

/// When sound was encoded on one connection: milliseconds since 1970.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct BrowserSound {
    /// The first packet,
    pub first: u64,
    /// and the last.
    pub last: u64,
}

/// What a viewer's page has.
#[derive(Debug, Deserialize)]
pub struct Watched {
    /// In words for people.
    pub status: Option<String>,
    /// Of each picture, for [`crate::numbered::number`].
    pub shown: Vec<Vec<u8>>,
}

#[derive(Deserialize)]
struct BrowserMessage {
    label: String,
    number: u64,
}

#[derive(Deserialize)]
struct Ended {
    tracks: u64,
    at: u64,
}

/// A running browser; ends when dropped.
pub struct BrowserMaster {
    _child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl BrowserMaster {
    /// Opens the page, which starts by itself when its address says so; its camera plays the clip `camera`.
    pub async fn open(url: &str, camera: &Path) -> Result<Self> {
        Self::open_with(url, camera, &[]).await
    }

    /// The same in a browser that cannot send H.264.
    pub async fn open_without_h264(url: &str, camera: &Path) -> Result<Self> {
        Self::open_with(url, camera, &["without-h264"]).await
    }

    async fn open_with(url: &str, camera: &Path, more: &[&str]) -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser/master.mjs");
        let mut child = Command::new("node")
            .arg(script)
            .arg(url)
            .arg(camera)
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot run node")?;
        let stdin = child.stdin.take().context("standard input is piped")?;
        let lines = BufReader::new(child.stdout.take().context("standard output is piped")?).lines();
        let mut master = Self { _child: child, stdin, lines };
        let line = master.line().await.context("the browser did not start")?;
        ensure!(line.contains("ready"), "unexpected first line {line:?}");
        Ok(master)
    }

    /// Every video frame so far.
    pub async fn sent(&mut self) -> Result<Vec<BrowserFrame>> {
        self.stdin.write_all(b"sent\n").await?;
        Ok(serde_json::from_str(&self.line().await?)?)
    }

    /// Sound so far, by connection.
    pub async fn sound(&mut self) -> Result<Vec<Option<BrowserSound>>> {
        self.stdin.write_all(b"sound\n").await?;
        Ok(serde_json::from_str(&self.line().await?)?)
    }

    /// What was sent over the data channels of this label.
    pub async fn messages(&mut self, label: &str) -> Result<Vec<String>> {
        self.stdin.write_all(b"messages\n").await?;
        let all: Vec<BrowserMessage> = serde_json::from_str(&self.line().await?)?;
        let of_channel = all.iter().filter(|message| message.label == label);
        Ok(of_channel.map(|message| message.number.to_string()).collect())
    }

    /// Turns camera and microphone off, leaves the connections, and waits until no frame has been sent for a while: what
    /// [`Self::sent`] says is final then. Gives when it turned them off, milliseconds since 1970: what Chromium encodes
    /// afterwards may be black.
    pub async fn end(&mut self) -> Result<u64> {
        self.stdin.write_all(b"end\n").await?;
        let Ended { tracks, at } = serde_json::from_str(&self.line().await?)?;
        ensure!(tracks == 2, "the browser shared {tracks} tracks, not camera and microphone");
        let deadline = Instant::now() + ANSWER_WITHIN;
        let (mut before, mut sent) = (None, self.sent().await?.len());
        while before != Some(sent) {
            ensure!(Instant::now() < deadline, "the browser still sends frames without a camera");
            sleep(QUIET).await;
            (before, sent) = (Some(sent), self.sent().await?.len());
        }
        Ok(at)
    }

    /// Opens the page of a viewer beside it.
    pub async fn watch(&mut self, url: &str) -> Result<()> {
        self.stdin.write_all(format!("watch {url}\n").as_bytes()).await?;
        self.line().await.map(drop)
    }

    /// What that page says, and what it showed.
    pub async fn watched(&mut self) -> Result<Watched> {
        self.stdin.write_all(b"watched\n").await?;
        Ok(serde_json::from_str(&self.line().await?)?)
    }

    /// What the page knows of itself.
    pub async fn state(&mut self) -> Result<serde_json::Value> {
        self.stdin.write_all(b"state\n").await?;
        Ok(serde_json::from_str(&self.line().await?)?)
    }

    async fn line(&mut self) -> Result<String> {
        let line = timeout(ANSWER_WITHIN, self.lines.next_line()).await.context("no answer in time")??;
        line.context("the browser's driver ended")
    }
}
