//! kvs-local, an agent and a stranger, and what has to be true at the end.

use std::ops::RangeInclusive;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use kvs_ingest_tests::agent::{AgentProcess, AgentSettings};
use kvs_ingest_tests::local::{self, REGION};
use kvs_ingest_tests::master::channel::Access;
use kvs_ingest_tests::master::clip::{FRAME_RATE, TONES};
use kvs_ingest_tests::messages;
use kvs_ingest_tests::sound;
use kvs_ingest_tests::stored::{self, Stored};
use kvs_ingest_tests::stranger::{Event, Files, Shown, Stranger};
use kvs_local::Server;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

const CHANNEL: &str = "strangers";
const STREAM: &str = "strangers-stream";
/// Until something that takes a second is there, on a busy machine.
pub const SOON: Duration = Duration::from_secs(40);
/// Until so much is recorded; two key frames of the clip lie within.
const RECORDED: Duration = Duration::from_secs(5);
/// A connection's first stored frame is one of these: the clip has a key frame every two seconds.
const FIRST: RangeInclusive<usize> = 0..=60;
/// Milliseconds from one AAC packet to the next: 1024 samples at 48 kHz, stored in whole milliseconds.
const PACKET: RangeInclusive<f64> = 19.0..=24.0;

/// Names the Python whose packages are those of `tests/masters/python/requirements.txt`.
const PYTHON: &str = "KVS_INGEST_MASTERS_PYTHON";

/// A master in Python.
pub fn python(script: &str) -> Command {
    let python =
        std::env::var_os(PYTHON).unwrap_or_else(|| panic!("{PYTHON}: run `cargo xtask test strangers`"));
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("masters/python").join(script));
    command
}

/// Which media a case has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    Both,
    Video,
    Audio,
}

impl Media {
    pub fn has_video(self) -> bool {
        self != Media::Audio
    }

    pub fn has_audio(self) -> bool {
        self != Media::Video
    }
}

pub struct World {
    local: Server,
    pub folder: TempDir,
    pub access: Access,
    pub files: Files,
}

impl World {
    pub async fn new() -> Self {
        Self::with(async |folder| Files::make(folder).await).await
    }

    /// With other files than H.264 and Opus.
    pub async fn with(files: impl AsyncFnOnce(&Path) -> anyhow::Result<Files>) -> Self {
        let filter = "warn,turn=error,kvs_local::storage=info";
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
        let (local, folder) = local::start(|_| {}).await.unwrap();
        let access = local::access(&local);
        let files = files(folder.path()).await.unwrap();
        Self { local, folder, access, files }
    }

    /// Starts the stranger with the files of `media`.
    pub async fn stranger(&self, program: Command, media: Media, more: &[&str]) -> Stranger {
        let (video, audio) = (self.files.video.to_str().unwrap(), self.files.audio.to_str().unwrap());
        let mut arguments = more.to_vec();
        if media.has_video() {
            arguments.extend(["--video", video]);
        }
        if media.has_audio() {
            arguments.extend(["--audio", audio]);
        }
        let log = self.folder.path().join("stranger.log");
        Stranger::start(program, &self.access, CHANNEL, &arguments, log).await.unwrap()
    }

    pub async fn agent(&self, more: &str) -> AgentProcess {
        let manifest = format!(
            "apiVersion: kvs-ingest.dev/v1alpha1
kind: KvsIngest
metadata: {{name: strangers}}
spec:
  region: {REGION}
  channel: {{name: {CHANNEL}}}
  stream: {{name: {STREAM}, createIfMissing: true, retentionHours: 1}}
{more}"
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

    pub async fn recorded(&self, agent: &AgentProcess) {
        let until = Instant::now() + SOON;
        loop {
            let state = stored::state(&self.access.endpoint, STREAM).await.unwrap_or_default();
            if state["durationMs"].as_u64().unwrap_or(0) >= RECORDED.as_millis() as u64 {
                return;
            }
            if Instant::now() >= until {
                let log = std::fs::read_to_string(self.folder.path().join("stranger.log")).unwrap();
                panic!("not enough recorded: {state}\n{:?}\n{}\n{log}", agent.status().await, agent.log());
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Ends the stranger's media, then the agent, and reads what is stored.
    pub async fn finish(self, agent: AgentProcess, mut stranger: Stranger) -> Outcome {
        stranger.end().await.unwrap();
        let log = agent.log();
        let status = agent.stop(Duration::from_secs(20)).await.unwrap();
        assert!(status.success(), "{status}\n{log}");
        let sent = stranger.events().iter().filter(|event| event.event == "frame").cloned().collect();
        stranger.close().await.unwrap();
        let stored = stored::read(&self.access.endpoint, STREAM, self.folder.path()).await.unwrap();
        self.local.shutdown().await;
        Outcome { stored, sent, pictures: self.files.pictures, log, _folder: self.folder }
    }
}

/// The usual case: one connection, some seconds.
pub async fn record(program: Command, media: Media, arguments: &[&str], spec: &str) -> Outcome {
    record_in(World::new().await, program, media, arguments, spec).await
}

/// The usual case, with messages beside the media.
pub async fn record_with_messages(program: Command, arguments: &[&str]) {
    let world = World::new().await;
    let mut stranger = world.stranger(program, Media::Both, &[arguments, &["--data"]].concat()).await;
    let mut agent = world.agent(messages::SPEC).await;
    world.recorded(&agent).await;
    stranger.end().await.unwrap();
    let sent = messages::LABELS.map(|label| -> Vec<String> {
        let (events, event) = (stranger.events(), format!("message-{label}"));
        let of_channel = events.iter().filter(|found| found.event == event);
        of_channel.map(|found| found.number.to_string()).collect()
    });
    let arrived = |status: &Value| messages::arrived(status, &sent);
    let status = agent.wait_for("all messages", SOON, arrived).await.unwrap();
    let outcome = world.finish(agent, stranger).await;
    outcome.check(Media::Both).await;
    messages::check(&status, &outcome.stored.files, &sent);
}

/// The same with what this world plays.
pub async fn record_in(
    world: World,
    program: Command,
    media: Media,
    arguments: &[&str],
    spec: &str,
) -> Outcome {
    let stranger = world.stranger(program, media, arguments).await;
    let agent = world.agent(spec).await;
    world.recorded(&agent).await;
    let outcome = world.finish(agent, stranger).await;
    outcome.check(media).await;
    outcome
}

/// What was sent and what was stored.
pub struct Outcome {
    pub stored: Stored,
    /// Frames.
    pub sent: Vec<Event>,
    pictures: Vec<Shown>,
    pub log: String,
    _folder: TempDir,
}

impl Outcome {
    pub async fn check(&self, media: Media) {
        assert_eq!(self.stored.video.is_some(), media.has_video(), "{}", self.log);
        assert_eq!(self.stored.audio.is_some(), media.has_audio(), "{}", self.log);
        let firsts = if media.has_video() { self.connections() } else { Vec::new() };
        assert_eq!(firsts.len(), usize::from(media.has_video()), "{}", self.log);
        if media.has_audio() {
            self.audio_is_whole().await;
        }
        if let (Some(video), Some(audio)) = (self.stored.video, self.stored.audio) {
            // Sound needs no key frame.
            let later = video.0 - audio.0;
            let most = 0.15 + firsts[0] as f64 / f64::from(FRAME_RATE);
            assert!((-0.15..most).contains(&later), "starts: video {video:?}, audio {audio:?}, {firsts:?}");
            assert!((video.1 - audio.1).abs() < 0.15, "ends: video {video:?}, audio {audio:?}");
        }
    }

    /// Looks that of each connection every frame is stored, from an early key frame to the last that was sent, once, in
    /// order and unchanged; how many frames each connection had sent before that key frame.
    pub fn connections(&self) -> Vec<usize> {
        let mut stored = &self.stored.frames[..];
        let mut connections = Vec::new();
        for sent in self.sent.chunk_by(|a, b| a.connection == b.connection) {
            let at =
                |place: usize| format!("frame {place} of connection {}\n{}", sent[0].connection, self.log);
            let first = stored.first().unwrap_or_else(|| panic!("nothing stored: {}", at(0)));
            assert!(first.idr, "what is stored starts with a key frame");
            let first = sent.iter().position(|sent| sent.number as u64 == first.number);
            let first =
                first.unwrap_or_else(|| panic!("{:?} is not of this connection, {}", stored[0], at(0)));
            assert!(FIRST.contains(&first), "the first that is stored is {}", at(first));
            for (place, sent) in (first..).zip(&sent[first..]) {
                let (frame, rest) =
                    stored.split_first().unwrap_or_else(|| panic!("not stored: {}", at(place)));
                let expected = &self.pictures[sent.number];
                let found = (frame.number, Shown { idr: frame.idr, hash: frame.hash.clone() });
                assert_eq!(found, (sent.number as u64, expected.clone()), "{}", at(place));
                stored = rest;
            }
            connections.push(first);
        }
        assert_eq!(stored, [], "stored, and not sent");
        connections
    }

    /// There is no hole in the sound: within a part one packet follows the other, and no part begins later than the sound
    /// before it ends. The beeps in it are those of the file, one a second.
    async fn audio_is_whole(&self) {
        let mut all = Vec::new();
        for file in &self.stored.files {
            let times = packet_times(file).await;
            let odd: Vec<_> = steps(&times).filter(|(_, step)| !PACKET.contains(step)).collect();
            assert!(
                odd.is_empty(),
                "places and milliseconds of packets that do not follow: {odd:?}\n{}",
                self.log
            );
            all.extend(times);
        }
        // What an encoder still held when a key frame changed the recording is stored beside what follows.
        all.sort_by(f64::total_cmp);
        let holes: Vec<_> = steps(&all).filter(|(_, step)| step > PACKET.end()).collect();
        assert!(holes.is_empty(), "places and milliseconds of holes: {holes:?}\n{}", self.log);
        let beeps = sound::beeps(&self.stored.files).await.unwrap();
        assert!(beeps.len() as u64 >= RECORDED.as_secs() - 1, "{beeps:?}");
        for pair in beeps.windows(2) {
            assert_eq!(pair[1].tone, (pair[0].tone + 1) % TONES.len(), "{beeps:?}");
            assert!((pair[1].at - pair[0].at - 1.0).abs() < 0.08, "{beeps:?}");
        }
    }
}

/// Milliseconds from each time to the next, with the place of that.
fn steps(times: &[f64]) -> impl Iterator<Item = (usize, f64)> {
    times.windows(2).enumerate().map(|(place, pair)| (place + 1, (pair[1] - pair[0]) * 1e3))
}

/// Seconds since 1970 of each packet of sound of a file.
async fn packet_times(file: &Path) -> Vec<f64> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "a:0", "-show_entries", "packet=pts_time", "-of", "json"])
        .arg(file)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let probe: Value = serde_json::from_slice(&output.stdout).unwrap();
    // A part without sound has none.
    let packets = probe["packets"].as_array().into_iter().flatten();
    packets.map(|packet| packet["pts_time"].as_str().unwrap().parse().unwrap()).collect()
}
