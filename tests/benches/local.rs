//! `cargo xtask bench local`: how many cameras one `kvs-local` takes in. Each is a PutMedia session of its own that sends a fragment
//! of video each second at 1 Mbit/s, and waits for every acknowledgement, while players have the HLS of ten of them. Producers and
//! players are in this process, `kvs-local` in one of its own; the figures are its.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a benchmark")]

use std::collections::HashMap;
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kvs_ingest_tests::agent::binary;
use kvs_ingest_tests::http::{get_bytes, get_text, post_json};
use kvs_ingest_tests::usage::Usage;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

/// Bytes of a fragment: a second of 1 Mbit/s.
const FRAGMENT: usize = 125_000;
/// Frames of a fragment.
const FRAMES: usize = 25;
/// Streams that are watched.
const WATCHED: usize = 10;
/// How long the last acknowledgement may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// An AVC decoder configuration record of 320x240.
const AVCC: &str = "0142c00bffe100176742c00bda0507ec044000000300400000030083c50aa801000468ce0fc8";

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let seconds: u64 = number("KVS_INGEST_BENCH_SECONDS", 60);
    let most: u64 = number("KVS_INGEST_BENCH_STREAMS", 200);
    println!(
        "{seconds} s each, a fragment a second of 1 Mbit/s from each stream, the HLS of up to {WATCHED} at once\n"
    );
    println!(
        "streams   fragments   persisted   ack ms: median    99 %   longest   cores   RSS MB   peak MB   segments   longest ms"
    );
    let mut lost = 0;
    for streams in [1, 10, 50, 100, 200, 400].into_iter().filter(|streams| *streams <= most) {
        let found = run(streams, seconds).await;
        lost += found.sent - found.acks.len();
        let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
        let at = |share: f64| {
            let index = (found.acks.len() as f64 * share) as usize;
            found.acks.get(index.min(found.acks.len().saturating_sub(1))).map_or(f64::NAN, |ack| ms(*ack))
        };
        println!(
            "{streams:7} {:11} {:11} {:16.0} {:7.0} {:9.0} {:7.2} {:8.0} {:9.0} {:10} {:12.0}",
            found.sent,
            found.acks.len(),
            at(0.5),
            at(0.99),
            at(1.0),
            found.cores,
            found.usage.resident / 1e6,
            found.usage.peak / 1e6,
            found.segments.0,
            ms(found.segments.1),
        );
    }
    assert_eq!(lost, 0, "fragments without a PERSISTED");
}

struct Found {
    sent: usize,
    /// From the last byte of a fragment to its PERSISTED, sorted.
    acks: Vec<Duration>,
    cores: f64,
    usage: Usage,
    /// Segments that players loaded, and the longest that one took.
    segments: (usize, Duration),
}

async fn run(streams: u64, seconds: u64) -> Found {
    let data = tempfile::tempdir().unwrap();
    let mut server: Child = Command::new(binary("kvs-local").unwrap())
        .args(["--listen", "127.0.0.1:0", "--no-auth", "--data"])
        .arg(data.path())
        .env("RUST_LOG", "error")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let url = lines.next_line().await.unwrap().unwrap().rsplit(' ').next().unwrap().to_owned();
    for stream in 0..streams {
        let body = json!({"StreamName": format!("s{stream}"), "DataRetentionInHours": 1});
        assert_eq!(post_json(&format!("{url}/createStream"), &body).await.unwrap().0, 200);
    }
    let id = server.id().unwrap();
    let (start, before) = (Instant::now(), Usage::of(id).unwrap());
    let end = start + Duration::from_secs(seconds);
    let mut producers = JoinSet::new();
    for stream in 0..streams {
        // cameras are not in step
        let first = start + Duration::from_millis(1000 * stream / streams);
        producers.spawn(produce(url.clone(), format!("s{stream}"), first, seconds));
    }
    let mut players = JoinSet::new();
    for stream in 0..streams.min(WATCHED as u64) {
        players.spawn(play(url.clone(), format!("s{stream}"), end));
    }
    let produced = producers.join_all().await;
    let (elapsed, usage) = (start.elapsed(), Usage::of(id).unwrap());
    let played = players.join_all().await;
    let mut acks: Vec<Duration> = produced.iter().flat_map(|(_, acks)| acks.clone()).collect();
    acks.sort_unstable();
    Found {
        sent: produced.iter().map(|(sent, _)| sent).sum(),
        acks,
        cores: (usage.cpu - before.cpu) / elapsed.as_secs_f64(),
        usage,
        segments: (
            played.iter().map(|(count, _)| count).sum(),
            played.iter().map(|(_, longest)| *longest).max().unwrap_or_default(),
        ),
    }
}

fn element(id: &[u8], content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u64).to_be_bytes();
    [id, &[0x01], &length[1..], content].concat()
}

fn header() -> Vec<u8> {
    let track = [
        element(&[0xD7], &[1]),
        element(&[0x83], &[1]),
        element(&[0x86], b"V_MPEG4/ISO/AVC"),
        element(&[0x63, 0xA2], &hex::decode(AVCC).unwrap()),
    ];
    let tracks = element(&[0x16, 0x54, 0xAE, 0x6B], &element(&[0xAE], &track.concat()));
    [element(&[0x1A, 0x45, 0xDF, 0xA3], &[]), vec![0x18, 0x53, 0x80, 0x67, 0xFF], tracks].concat()
}

/// A second of frames, the first of them a key frame, and the tag that ends it.
fn fragment(timecode: u64) -> Vec<u8> {
    let mut out = vec![0x1F, 0x43, 0xB6, 0x75, 0xFF];
    out.extend(element(&[0xE7], &timecode.to_be_bytes()));
    for frame in 0..FRAMES {
        let mut nal = vec![0xAA; FRAGMENT / FRAMES];
        nal[0] = if frame == 0 { 0x65 } else { 0x41 };
        let time = u16::try_from(1000 / FRAMES * frame).unwrap().to_be_bytes();
        let head = [0x81, time[0], time[1], if frame == 0 { 0x80 } else { 0 }];
        let length = u32::try_from(nal.len()).unwrap().to_be_bytes();
        out.extend(element(&[0xA3], &[&head[..], &length, &nal].concat()));
    }
    let name = element(&[0x45, 0xA3], b"AWS_KINESISVIDEO_END_OF_FRAGMENT");
    let simple = element(&[0x67, 0xC8], &[name, element(&[0x44, 0x87], b"")].concat());
    out.extend(element(&[0x12, 0x54, 0xC3, 0x67], &element(&[0x73, 0x73], &simple)));
    out
}

/// Fragments that were sent, and how long the PERSISTED of each took that came.
async fn produce(url: String, stream: String, first: Instant, seconds: u64) -> (usize, Vec<Duration>) {
    let address = url.strip_prefix("http://").unwrap().to_owned();
    let (from, mut to) = TcpStream::connect(&address).await.unwrap().into_split();
    let head = format!(
        "POST /putMedia HTTP/1.1\r\nHost: {address}\r\nx-amzn-stream-name: {stream}\r\n\
         x-amzn-fragment-timecode-type: ABSOLUTE\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    to.write_all(head.as_bytes()).await.unwrap();
    let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let (told, mut sent) = tokio::sync::mpsc::unbounded_channel();
    let sending = async move {
        let mut bytes = header();
        for second in 0..seconds {
            // a fragment is there when its last frame is
            sleep_until(first + Duration::from_secs(second + 1)).await;
            let timecode = began + 1000 * second;
            bytes.extend(fragment(timecode));
            let chunk = [format!("{:x}\r\n", bytes.len()).as_bytes(), &bytes, b"\r\n"].concat();
            to.write_all(&chunk).await.unwrap();
            told.send((timecode, Instant::now())).unwrap();
            bytes.clear();
        }
        to.write_all(b"0\r\n\r\n").await.unwrap();
        to
    };
    let reading = async {
        let mut lines = BufReader::new(from).lines();
        let (mut waiting, mut acks) = (HashMap::new(), Vec::new());
        while (acks.len() as u64) < seconds {
            let wait = Duration::from_secs(seconds) + PATIENCE;
            let Ok(Ok(Some(line))) = timeout(wait, lines.next_line()).await else { break };
            let Ok(ack) = serde_json::from_str::<Value>(&line) else { continue };
            while let Ok((timecode, at)) = sent.try_recv() {
                waiting.insert(timecode, at);
            }
            if ack["EventType"] == "PERSISTED" {
                let at = ack["FragmentTimecode"].as_u64().and_then(|timecode| waiting.remove(&timecode));
                // one that comes before the sender has said so took no time
                acks.push(at.map_or(Duration::ZERO, |at: Instant| at.elapsed()));
            } else if ack["EventType"] == "ERROR" {
                println!("{stream}: {line}");
                break;
            }
        }
        acks
    };
    let (_, acks) = tokio::join!(sending, reading);
    (usize::try_from(seconds).unwrap(), acks)
}

/// Plays a stream as it comes in; segments, and the longest that one took.
async fn play(url: String, stream: String, end: Instant) -> (usize, Duration) {
    let body = json!({"StreamName": stream, "PlaybackMode": "LIVE"});
    let master = loop {
        let (status, answer) = post_json(&format!("{url}/getHLSStreamingSessionURL"), &body).await.unwrap();
        match status {
            200 => break serde_json::from_str::<Value>(&answer).unwrap()["HLSStreamingSessionURL"].clone(),
            // nothing is there yet
            404 if Instant::now() < end => sleep_until(Instant::now() + Duration::from_millis(500)).await,
            _ => return (0, Duration::ZERO),
        }
    };
    let relative = |text: &str, name: &str| -> Vec<String> {
        let found = text.lines().filter(|line| line.starts_with(name));
        found.map(|line| format!("{url}/hls/v1/{line}")).collect()
    };
    let (_, text) = get_text(master.as_str().unwrap()).await.unwrap();
    let playlist = relative(&text, "getHLSMediaPlaylist").remove(0);
    let (mut last, mut count, mut longest) = (String::new(), 0, Duration::ZERO);
    while Instant::now() < end {
        let (status, text) = get_text(&playlist).await.unwrap();
        assert_eq!(status, 200, "{text}");
        let segments = relative(&text, "getMP4MediaFragment");
        let new = segments.iter().position(|segment| *segment == last).map_or(0, |known| known + 1);
        for segment in &segments[new..] {
            let asked = Instant::now();
            let (status, bytes) = get_bytes(segment).await.unwrap();
            assert!(status == 200 && bytes.len() > FRAGMENT / 2, "{segment}: {status}");
            longest = longest.max(asked.elapsed());
            count += 1;
            last.clone_from(segment);
        }
        sleep_until(Instant::now() + Duration::from_secs(1)).await;
    }
    (count, longest)
}
