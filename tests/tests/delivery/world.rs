//! A camera (a file, played at its speed), `kvssink` in a plain `gst-launch-1.0`, and a kvs-local that can go away.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use kvs_ingest_tests::agent::binary;
use kvs_ingest_tests::http::{get_bytes, post_json};
use kvs_ingest_tests::local::free_address;
use kvs_ingest_tests::master::clip::Noisy;
use kvs_ingest_tests::packets::{Packet, packets};
use kvs_ingest_tests::stored;
use kvs_local::{AccessKey, Config, Server};
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

pub const STREAM: &str = "camera";
pub const REGION: &str = "us-west-2";
/// Frames a second, and of a fragment.
pub const RATE: u64 = 15;
/// Nothing here takes longer, beside what is played.
const DEADLINE: Duration = Duration::from_secs(90);

/// A file to be played.
#[derive(Clone, Debug)]
pub struct Clip {
    pub path: PathBuf,
    pub packets: Vec<Packet>,
}

/// Makes a clip, once: an IDR every second, no two frames alike, and none like that of another `seed`.
pub async fn clip(seed: u32, size: &str, seconds: u64, kilobytes_per_second: u64) -> Clip {
    let clip = Noisy {
        name: &format!("delivery-{seed}-{size}-{seconds}s-{kilobytes_per_second}k.mp4"),
        size,
        rate: RATE,
        seconds,
        noise: &format!("noise=all_seed={seed}:alls=40:allf=t"),
        group: RATE,
        bits: &format!("{}k", kilobytes_per_second * 8),
    };
    let path = clip.file().await.unwrap();
    let packets = packets(std::slice::from_ref(&path)).await.unwrap().video;
    assert_eq!(packets.len() as u64, seconds * RATE);
    Clip { path, packets }
}

/// A place of its own for one row of the table.
pub struct World {
    pub folder: tempfile::TempDir,
    address: SocketAddr,
    server: Option<Server>,
    auth: bool,
    tls: bool,
    runs: u32,
}

/// What a run of the pipeline was like.
pub struct Run {
    pub status: ExitStatus,
    pub log: String,
}

impl Run {
    /// The sum of a field of all messages of this name.
    pub fn sum(&self, message: &str, field: &str) -> u64 {
        let lines = self.log.lines().filter(|line| line.contains(&format!("(element): {message},")));
        lines
            .map(|line| {
                let value = line.split(&format!(" {field}=(guint64)")).nth(1).expect(field);
                value.split([',', ';']).next().unwrap().parse::<u64>().unwrap()
            })
            .sum()
    }

    /// A figure of the statistics at the end.
    pub fn figure(&self, field: &str) -> u64 {
        self.sum("kvssink-statistics", field)
    }
}

/// What is stored in the end, beside what was played.
#[derive(Debug, Default)]
pub struct Stored {
    /// Positions of the played frames that are not stored.
    pub missing: Vec<usize>,
    pub frames: usize,
    pub duplicates: u64,
    pub sessions: u64,
}

impl World {
    pub async fn new() -> Self {
        let mut world = Self::absent();
        world.start().await;
        world
    }

    /// Without a server, for now.
    pub fn absent() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            address: free_address(),
            server: None,
            auth: false,
            tls: false,
            runs: 0,
        }
    }

    /// With a server that verifies signatures.
    pub async fn guarded() -> Self {
        let mut world = Self { auth: true, ..Self::absent() };
        world.start().await;
        world
    }

    /// With a server that a pipeline reaches over TLS.
    pub async fn secure() -> Self {
        let mut world = Self { tls: true, ..Self::absent() };
        world.start().await;
        world
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What a pipeline is told.
    fn endpoint(&self) -> String {
        let secure = self.server.as_ref().and_then(Server::tls_url);
        secure.unwrap_or_else(|| self.url())
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("kvs")
    }

    pub fn spool(&self) -> PathBuf {
        self.folder.path().join("spool")
    }

    /// The files of the spool, oldest first.
    pub fn spooled(&self) -> Vec<PathBuf> {
        let folders = std::fs::read_dir(self.spool()).into_iter().flatten();
        let files = folders.flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap());
        let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_none() && path.file_name().unwrap() != "lock");
        paths.sort();
        paths
    }

    pub async fn start(&mut self) {
        let mut config = Config::new(self.data());
        config.listen = self.address;
        config.tls_listen = self.tls.then(|| ([127, 0, 0, 1], 0).into());
        config.region = REGION.to_owned();
        config.auth = self.auth;
        config.access_keys = vec![AccessKey::new("AKIDTEST", "secret")];
        self.server = Some(Server::start(config).await.unwrap());
        if !self.auth {
            // There already after a restart.
            let body = json!({"StreamName": STREAM, "DataRetentionInHours": 1});
            post_json(&format!("{}/createStream", self.url()), &body).await.unwrap();
        }
    }

    pub async fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.shutdown().await;
        }
    }

    pub async fn fault(&self, mut fault: Value) {
        fault["stream"] = json!(STREAM);
        let (status, body) = post_json(&format!("{}/_kvs/faults", self.url()), &fault).await.unwrap();
        assert_eq!(status, 200, "{fault}: {body}");
    }

    pub async fn state(&self) -> Value {
        stored::state(&self.url(), STREAM).await.unwrap()
    }

    /// Waits until so many fragments are stored.
    pub async fn fragments(&self, count: u64) {
        let until = Instant::now() + DEADLINE;
        while self.state().await["fragments"].as_u64().unwrap() < count {
            assert!(Instant::now() < until, "{}", self.state().await);
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Plays clips, one after the other, with these properties of `kvssink`.
    pub fn launch(&mut self, clips: &[&Clip], properties: &str) -> Playing {
        self.launch_by("gst-launch-1.0", &["-m", "-e"], clips, properties)
    }

    /// The same in a program of C.
    pub fn launch_host(&mut self, host: &Path, clips: &[&Clip], properties: &str) -> Playing {
        self.launch_by(host.to_str().unwrap(), &[], clips, properties)
    }

    /// The same with a disk of so many KiB for the spool, in a file system that only the pipeline sees.
    pub fn launch_on_disk(&mut self, kib: u32, clips: &[&Clip], properties: &str) -> Playing {
        let spool = self.spool();
        std::fs::create_dir_all(&spool).unwrap();
        let mount = format!(
            "mount -t tmpfs -o size={kib}k tmpfs {} && exec gst-launch-1.0 -m -e \"$@\"",
            spool.display()
        );
        let properties = format!("spool-directory={} {properties}", spool.display());
        self.launch_by("unshare", &["-Urm", "sh", "-c", &mount, "sh"], clips, &properties)
    }

    fn launch_by(&mut self, program: &str, before: &[&str], clips: &[&Clip], properties: &str) -> Playing {
        let mut pipeline =
            format!("concat name=c ! identity sync=true ! kvssink name=k stream-name={STREAM} {properties}");
        for clip in clips {
            pipeline
                .push_str(&format!(" filesrc location={} ! qtdemux ! h264parse ! c.", clip.path.display()));
        }
        self.launch_pipeline(program, before, &pipeline)
    }

    /// Any pipeline.
    pub fn launch_pipeline(&mut self, program: &str, before: &[&str], pipeline: &str) -> Playing {
        self.runs += 1;
        let log = self.folder.path().join(format!("run-{}.log", self.runs));
        let output = std::fs::File::create(&log).unwrap();
        // One would begin in the middle of a line of the other.
        let errors = std::fs::File::create(errors(&log)).unwrap();
        let mut command = Command::new(program);
        command.args(before);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("AWS_") {
                command.env_remove(name);
            }
        }
        command
            .args(pipeline.split_whitespace())
            .env("GST_PLUGIN_PATH", binary("libgstkvssink.so").unwrap().parent().unwrap())
            .env("CONTROL_PLANE_URI", self.endpoint())
            .env("AWS_DEFAULT_REGION", REGION)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .kill_on_drop(true);
        if self.tls {
            command.env("KVSSINK_CA_CERT_PATH", self.data().join("ca.pem"));
        }
        if self.auth {
            let url = format!("{}/_kvs/credentials?seconds=20", self.url());
            command.env("AWS_CONTAINER_CREDENTIALS_FULL_URI", url);
        } else {
            command.env("AWS_ACCESS_KEY_ID", "AKIDTEST").env("AWS_SECRET_ACCESS_KEY", "secret");
        }
        Playing { child: command.spawn().unwrap(), log }
    }

    /// What is stored of these clips, which were played in this order.
    pub async fn stored(&self, clips: &[&Clip]) -> Stored {
        let mut files = Vec::new();
        for part in 1.. {
            let url = format!("{}/_kvs/streams/{STREAM}/media.mkv?part={part}", self.url());
            let (status, body) = get_bytes(&url).await.unwrap();
            if status != 200 {
                break;
            }
            let file = self.folder.path().join(format!("stored-{part}.mkv"));
            std::fs::write(&file, body).unwrap();
            files.push(file);
        }
        let found = packets(&files).await.unwrap().video;
        let played: Vec<_> =
            clips.iter().flat_map(|clip| &clip.packets).map(|packet| &packet.sha256).collect();
        let hashes: BTreeSet<_> = found.iter().map(|packet| &packet.sha256).collect();
        let missing: Vec<_> = (0..played.len()).filter(|at| !hashes.contains(played[*at])).collect();
        let expected: Vec<_> = played.iter().filter(|hash| hashes.contains(**hash)).copied().collect();
        let in_order: Vec<_> = found.iter().map(|packet| &packet.sha256).collect();
        assert!(in_order == expected, "stored as played: unchanged, once, in order");
        let times: Vec<_> = found.iter().map(|packet| packet.pts_ms).collect();
        assert!(times.is_sorted(), "times grow");
        let state = self.state().await;
        let number = |value: &Value| value.as_u64().unwrap();
        Stored {
            missing,
            frames: found.len(),
            duplicates: number(&state["duplicates"]),
            sessions: number(&state["putMedia"]["sessions"]),
        }
    }
}

/// A running pipeline.
pub struct Playing {
    child: Child,
    log: PathBuf,
}

impl Playing {
    /// Waits for its end.
    pub async fn end(self) -> Run {
        self.end_within(DEADLINE * if super::real_time() { 5 } else { 1 }).await
    }

    /// Waits for its end, which takes long.
    pub async fn end_within(mut self, patience: Duration) -> Run {
        let ended = timeout(patience, self.child.wait()).await;
        let log = read(&self.log);
        let status = ended.unwrap_or_else(|_| panic!("the pipeline does not end\n{log}")).unwrap();
        Run { status, log }
    }

    /// Waits for its end, which must be a good one.
    pub async fn succeed(self) -> Run {
        let run = self.end().await;
        assert!(run.status.success(), "{}\n{}", run.status, run.log);
        run
    }

    /// It has ended, which it should not have.
    pub fn assert_alive(&mut self) {
        let ended = self.child.try_wait().unwrap();
        assert!(ended.is_none(), "{} in {ended:?}\n{}", self.log.display(), read(&self.log));
    }

    /// SIGKILL.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Waits until the log holds these words.
    pub async fn says(&mut self, words: &str) {
        let until = Instant::now() + DEADLINE;
        while !read(&self.log).contains(words) {
            assert!(Instant::now() < until, "never said {words:?}:\n{}", read(&self.log));
            assert!(self.child.try_wait().unwrap().is_none(), "ended:\n{}", read(&self.log));
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Where the errors of a run go whose other output goes to `log`.
fn errors(log: &Path) -> PathBuf {
    log.with_extension("errors.log")
}

/// What a run has said.
fn read(log: &Path) -> String {
    let texts = [log.to_owned(), errors(log)].map(|path| std::fs::read(path).unwrap());
    texts.map(|text| String::from_utf8_lossy(&text).into_owned()).join("\n")
}
