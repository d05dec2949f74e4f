//! What was acknowledged as PERSISTED is there after the process was killed at any moment, and after the disk was full.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod support;

use std::{collections::BTreeMap, path::Path, process::Stdio, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use support::{producer::*, *};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_kvs-local");

/// kvs-local in a process of its own.
struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    address: String,
}

impl Process {
    async fn spawn(mut command: Command) -> Self {
        let keys = format!("{}:{}", KEY.0, KEY.1);
        command.args(["--listen", "127.0.0.1:0", "--region", REGION, "--access-key", &keys]);
        command.stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut process = Self { child, lines, address: String::new() };
        process.listens().await;
        process
    }

    /// On this folder.
    async fn start(data: &Path) -> Self {
        let mut command = Command::new(PROGRAM);
        command.arg("--data").arg(data);
        Self::spawn(command).await
    }

    /// Waits for the line that says where it listens.
    async fn listens(&mut self) {
        let line =
            timeout(DEADLINE, self.lines.next_line()).await.unwrap().unwrap().expect("it did not start");
        self.address = line.rsplit_once("http://").unwrap().1.to_owned();
    }

    async fn call(&self, path: &str, body: Value) -> Value {
        let request = signed(&self.address, KEY, REGION, 0, path, &body.to_string());
        let reply = raw(&self.address, &request).await;
        assert_eq!(reply.status, 200, "{path}: {}", String::from_utf8_lossy(&reply.body));
        reply.json()
    }

    async fn session(&self) -> Session {
        let headers = "x-amzn-stream-name: s\r\nx-amzn-fragment-timecode-type: ABSOLUTE\r\n";
        let mut session = Session::open_at(&self.address, KEY, headers).await;
        session.response().await;
        session.response().await;
        session
    }

    /// Everything that is stored, by number: the bytes of each fragment as they are read from the disk.
    async fn stored(&self) -> BTreeMap<String, u64> {
        let mut found = BTreeMap::new();
        let mut token = Value::Null;
        loop {
            let page = self.call("/listFragments", json!({ "StreamName": "s", "NextToken": token })).await;
            for fragment in page["Fragments"].as_array().unwrap() {
                let number = fragment["FragmentNumber"].as_str().unwrap().to_owned();
                found.insert(number, fragment["FragmentSizeInBytes"].as_u64().unwrap());
            }
            token = page["NextToken"].clone();
            if token.is_null() {
                return found;
            }
        }
    }

    /// Whether these fragments can be read whole.
    async fn reads(&self, numbers: &[String]) {
        for numbers in numbers.chunks(1000) {
            let body = json!({ "StreamName": "s", "Fragments": numbers }).to_string();
            let request = signed(&self.address, KEY, REGION, 0, "/getMediaForFragmentList", &body);
            let media = raw(&self.address, &request).await.body;
            let clusters = media.windows(4).filter(|bytes| *bytes == [0x1F, 0x43, 0xB6, 0x75]).count();
            assert_eq!(clusters, numbers.len(), "each is a cluster");
        }
    }
}

async fn create(process: &Process) {
    process.call("/createStream", json!({ "StreamName": "s", "DataRetentionInHours": 1 })).await;
}

/// The numbers of the fragments that are acknowledged as persisted, up to the end of the connection, however it ends.
async fn persisted(mut from: BufReader<tokio::net::tcp::OwnedReadHalf>) -> Vec<String> {
    let mut found = Vec::new();
    loop {
        let mut line = String::new();
        match from.read_line(&mut line).await {
            Ok(0) | Err(_) => return found,
            Ok(_) => {}
        }
        // the last may be cut
        let Ok(ack) = serde_json::from_str::<Value>(&line) else { continue };
        if ack["EventType"] == "PERSISTED" {
            found.push(ack["FragmentNumber"].as_str().unwrap().to_owned());
        }
    }
}

/// A piece of a body.
async fn send_chunk(to: &mut tokio::net::tcp::OwnedWriteHalf, data: &[u8]) -> std::io::Result<()> {
    to.write_all(&[format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat()).await
}

/// A number from the environment.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A producer sends as fast as it can, and the process is killed at a moment of chance, again and again, also while it starts.
/// `KVS_INGEST_KILLS` says how often, `KVS_INGEST_SEED` plays one run again.
#[tokio::test]
async fn what_was_persisted_survives_a_kill_at_any_moment() {
    let kills = setting("KVS_INGEST_KILLS", 50);
    let seed = setting("KVS_INGEST_SEED", rand::rng().random());
    eprintln!("KVS_INGEST_SEED={seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    let data = tempfile::tempdir().unwrap();
    let mut acknowledged: Vec<String> = Vec::new();
    let mut timecode = 1_000_000_000_000_u64;
    let mut process = Process::start(data.path()).await;
    create(&process).await;
    for _ in 0..kills {
        let Session { mut to, from } = process.session().await;
        // up to the end of the connection: what was on its way counts
        let reading = tokio::spawn(persisted(from));
        let life = Duration::from_millis(chance.random_range(0..120));
        let sending = async {
            send_chunk(&mut to, &header()).await?;
            loop {
                // no answer is waited for: fragments are in every stage of being stored
                send_chunk(&mut to, &cluster(timecode)).await?;
                timecode += 1000;
            }
        };
        let _: Result<std::io::Result<()>, _> = timeout(life, sending).await;
        process.child.kill().await.unwrap();
        acknowledged.extend(reading.await.unwrap());
        if chance.random_bool(0.2) {
            let mut command = Command::new(PROGRAM);
            command.args(["--listen", "127.0.0.1:0", "--no-auth", "--data"]).arg(data.path());
            let mut child =
                command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap();
            tokio::time::sleep(Duration::from_millis(chance.random_range(0..60))).await;
            child.kill().await.unwrap();
        }
        process = Process::start(data.path()).await;
        let stored = process.stored().await;
        let lost: Vec<_> = acknowledged.iter().filter(|number| !stored.contains_key(*number)).collect();
        assert!(lost.is_empty(), "of {}: {lost:?}", acknowledged.len());
    }
    assert!(
        acknowledged.len() as u64 >= kills / 2,
        "{} acknowledgements are too few to show anything",
        acknowledged.len()
    );
    process.reads(&acknowledged).await;
    process.reads(&process.stored().await.into_keys().collect::<Vec<_>>()).await;
}

/// A producer's own words for what became of its fragments.
async fn send(process: &Process, timecodes: &[u64]) -> Vec<Value> {
    let mut session = process.session().await;
    session.send(&header()).await;
    for timecode in timecodes {
        session.send(&cluster(*timecode)).await;
    }
    session.finish().await;
    let mut acks = Vec::new();
    while let Ok(Some(ack)) = session.try_ack().await {
        acks.push(ack);
    }
    acks
}

fn numbers(acks: &[Value], kind: &str) -> Vec<String> {
    let of_kind = acks.iter().filter(|ack| ack["EventType"] == kind);
    of_kind.map(|ack| ack["FragmentNumber"].as_str().unwrap_or_default().to_owned()).collect()
}

/// The disk is full, really: a tmpfs of two megabytes that only the process sees. It refuses what it cannot keep, goes on as soon
/// as there is room, and has everything after it was killed.
#[tokio::test]
async fn a_full_disk_costs_nothing_that_was_persisted() {
    let data = tempfile::tempdir().unwrap();
    let mut namespace = vec!["--mount"];
    if std::fs::metadata("/proc/self").map(|me| std::os::unix::fs::MetadataExt::uid(&me)).unwrap() != 0 {
        namespace.push("--map-root-user");
    }
    let able = std::process::Command::new("unshare").args(&namespace).arg("true").output();
    if !able.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: this machine lets nobody mount a tmpfs of his own");
        return;
    }
    let mut command = Command::new("unshare");
    // twice: the second time on what the first has left
    let script = r#"mount -t tmpfs -o size=4m tmpfs "$1" && shift && { "$@"; "$@"; }"#;
    command.args(&namespace).args(["sh", "-c", script, "sh"]).arg(data.path()).arg(PROGRAM);
    command.arg("--data").arg(data.path());
    let mut process = Process::spawn(command).await;
    let shell = process.child.id().unwrap();
    let inside =
        Path::new("/proc").join(shell.to_string()).join("root").join(data.path().strip_prefix("/").unwrap());
    create(&process).await;
    let before = numbers(&send(&process, &[1_000_000_000_000, 1_000_000_001_000]).await, "PERSISTED");
    assert_eq!(before.len(), 2);

    let filler = inside.join("filler");
    let mut fill = std::fs::File::create(&filler).unwrap();
    let mut block = vec![0_u8; 65_536];
    while !block.is_empty() {
        // down to the last byte
        if std::io::Write::write_all(&mut fill, &block).is_err() {
            block.truncate(block.len() / 2);
        }
    }
    let mut refused = 0;
    for attempt in 0..5 {
        let acks = send(&process, &[1_000_000_002_000 + attempt * 1000]).await;
        assert_eq!(numbers(&acks, "PERSISTED"), [""; 0], "{acks:?}");
        refused += acks.iter().filter(|ack| ack["ErrorId"] == 5001).count();
    }
    assert_eq!(refused, 5, "each is refused with ARCHIVAL_ERROR");
    assert_eq!(process.stored().await.len(), 2, "what is there is still read");
    process.reads(&before).await;

    drop(fill);
    std::fs::remove_file(&filler).unwrap();
    let after = numbers(&send(&process, &[1_000_000_010_000, 1_000_000_011_000]).await, "PERSISTED");
    assert_eq!(after.len(), 2, "it goes on without a restart");
    let all = [before, after].concat();

    let children = format!("/proc/{shell}/task/{shell}/children");
    let child = std::fs::read_to_string(children).unwrap().trim().to_owned();
    std::process::Command::new("kill").args(["-9", &child]).status().unwrap();
    process.listens().await;
    assert_eq!(process.stored().await.into_keys().collect::<Vec<_>>(), all);
    process.reads(&all).await;
    let files = |kind: &str| {
        let stream = std::fs::read_dir(inside.join("archive")).unwrap().next().unwrap().unwrap().path();
        std::fs::read_dir(stream.join(kind)).unwrap().count()
    };
    assert_eq!((files("fragments"), files("headers")), (4, 1), "nothing is left of what was refused");
    let child = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).unwrap();
    std::process::Command::new("kill").args(["-9", child.trim()]).status().unwrap();
    process.child.wait().await.unwrap();
}
