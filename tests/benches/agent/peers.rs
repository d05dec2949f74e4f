//! What others cost that receive the same: programs in Python (`tests/viewers`), whose signaling is done here.

use std::process::Stdio;
use std::time::Duration;

use kvs_ingest_tests::agent::binary;
use kvs_ingest_tests::local::{self, ACCESS_KEY, REGION, SECRET_KEY};
use kvs_ingest_tests::{certificate, viewer};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, sleep, timeout};

use super::figures::{Costs, Meter};
use super::master::{Path, channel};
use super::plan::{Audio, Media, Peer};
use super::world::{WARM, World};

/// The Python whose packages are those of `tests/masters/python/requirements.txt`.
const PYTHON: &str = "KVS_INGEST_MASTERS_PYTHON";
/// Bindings of GStreamer are the system's.
const SYSTEM_PYTHON: &str = "/usr/bin/python3";
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(200);

pub async fn run(peer: Peer, media: Media, seconds: u64) -> Costs {
    let world = World::new().await;
    let master = world.master(1, media, Path::default()).await;
    let mut process = Process::start(command(peer, media, &world));
    let offer = process.read().await["offer"].as_str().expect("an offer").to_owned();
    let answer = viewer::answer(&local::access(&world.server), &channel(0), &offer).await.unwrap();
    process.write(&json!({ "answer": answer }).to_string()).await;
    let deadline = Instant::now() + PATIENCE;
    while process.pictures().await == 0.0 {
        assert!(Instant::now() < deadline, "{}: no picture within {PATIENCE:?}", peer.name());
        sleep(POLL).await;
    }
    sleep(WARM).await;
    let before = process.pictures().await;
    let meter = Meter::start(&[process.child.id().unwrap()]);
    sleep(Duration::from_secs(seconds)).await;
    let mut costs = meter.read();
    let took = meter.seconds();
    costs.figures.pictures = (process.pictures().await - before) / took;
    // Nobody here counts what it loses; its pictures a second say it.
    costs.figures.lost = f64::NAN;
    process.end().await;
    drop(master);
    world.server.shutdown().await;
    costs
}

fn command(peer: Peer, media: Media, world: &World) -> Command {
    let aiortc = || {
        let python =
            std::env::var_os(PYTHON).unwrap_or_else(|| panic!("{PYTHON}: run `cargo xtask bench agent`"));
        script(Command::new(python), "aiortc_viewer.py")
    };
    let mut command = match peer {
        Peer::AiortcReceives => aiortc(),
        Peer::AiortcRecords => {
            let mut command = aiortc();
            command.arg("--record").arg(world.folder.path().join("recorded.mkv"));
            command
        }
        Peer::Webrtcbin => {
            let issued = certificate::issue(vec!["viewer".to_owned()]).unwrap();
            let pem = world.folder.path().join("viewer.pem");
            std::fs::write(&pem, issued.certificate + &issued.key).unwrap();
            let mut command = script(Command::new(SYSTEM_PYTHON), "webrtcbin_viewer.py");
            command
                .args([&channel(0), REGION, &world.server.tls_url().unwrap()])
                .args([world.authority(), pem])
                .env("GST_PLUGIN_PATH", binary("libgstkvssink.so").unwrap().parent().unwrap())
                .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
                .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
                .env("AWS_EC2_METADATA_DISABLED", "true")
                .env_remove("AWS_DEFAULT_REGION");
            command
        }
    };
    if media.audio == Audio::None {
        command.arg("--video-only");
    }
    command
}

fn script(mut python: Command, name: &str) -> Command {
    python.arg(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("viewers").join(name));
    python
}

/// Killed when dropped.
struct Process {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(mut command: Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, input, output: BufReader::new(output).lines() }
    }

    async fn read(&mut self) -> Value {
        let line = timeout(PATIENCE, self.output.next_line()).await.expect("it is silent").unwrap();
        serde_json::from_str(&line.expect("it has ended")).unwrap()
    }

    async fn write(&mut self, line: &str) {
        self.input.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    /// So far.
    async fn pictures(&mut self) -> f64 {
        self.write("count").await;
        self.read().await["pictures"].as_f64().expect("a number of pictures")
    }

    async fn end(self) {
        let Self { mut child, input, output } = self;
        drop(input);
        let status = timeout(PATIENCE, child.wait()).await.expect("it does not end").unwrap();
        drop(output);
        assert!(status.success(), "it ended with {status}");
    }
}
