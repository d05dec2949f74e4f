//! Key frames of more than a megabyte, sent as fast as the machine goes.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use kvs_ingest_tests::agent::{AgentProcess, AgentSettings};
use kvs_ingest_tests::local::{self, MANIFEST};
use kvs_ingest_tests::master::clip::Picture;
use kvs_ingest_tests::master::{Answering, Master, Sent, Settings};
use kvs_ingest_tests::stored::{self, Stored, nothing_lost};
use serde_json::Value;
use tokio::time::{Instant, sleep};

const STREAM: &str = "door-stream";

/// Records some of them; what `/status` said last, what is stored, and what was sent.
async fn record(arguments: &[&str]) -> (Value, Stored, Sent) {
    let (kvs, folder) = local::start(|_| {}).await.unwrap();
    let access = local::access(&kvs);
    let settings = Settings {
        answering: Answering::VideoOnly,
        sizes: vec![(1920, 1080)],
        picture: Picture::LargeKeyFrames,
        ..Settings::default()
    };
    let master = Master::start(&access, "door", settings).await.unwrap();
    let settings = local::agent(&access, &folder, MANIFEST);
    let agent = AgentProcess::start(&AgentSettings { arguments, ..settings }).await.unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let state = stored::state(&access.endpoint, STREAM).await.unwrap_or_default();
        if state["durationMs"].as_u64().unwrap_or(0) >= 16_000 {
            break;
        }
        assert!(Instant::now() < until, "{state}\n{:?}\n{}", agent.status().await, agent.log());
        sleep(Duration::from_millis(200)).await;
    }
    let status = agent.status().await.unwrap();
    let asked = master.sent().pop().unwrap().frames.len();
    let ended = agent.stop(Duration::from_secs(20)).await.unwrap();
    assert!(ended.success(), "{ended}\n{status}");
    let stored = stored::read(&access.endpoint, STREAM, folder.path()).await.unwrap();
    let mut sent = master.sent().pop().unwrap();
    let last = stored.frames.last().map_or(0, |frame| frame.number as usize + 1);
    sent.frames.truncate(asked.max(last));
    master.stop().await;
    let bytes: u64 = stored.files.iter().map(|file| std::fs::metadata(file).unwrap().len()).sum();
    assert!(bytes > 5 * 1_000_000, "key frames of that size: {bytes} bytes stored");
    kvs.shutdown().await;
    (status, stored, sent)
}

#[tokio::test(flavor = "multi_thread")]
async fn large_key_frames_are_complete_with_the_buffer_of_this_machine() {
    let (status, stored, sent) = record(&[]).await;
    nothing_lost(&stored, &sent);
    assert!(status["receiveBufferBytes"].as_u64().unwrap() > 0, "{status}");
    assert_eq!(status["video"]["packetsLost"], 0, "{status}");
}

/// What a node gives that nobody has tuned: a twelfth of such a picture. The kernel counts twice what is asked for. On a machine
/// of two cores that compiles something else meanwhile, master, agent and KVS in debug builds, a repair may come too late
/// for a picture: then that is said and counted, and the recording goes on with the next.
#[tokio::test(flavor = "multi_thread")]
async fn large_key_frames_get_through_a_buffer_of_208_kib() {
    let (status, stored, sent) = record(&["--receive-buffer=106496"]).await;
    assert_eq!(status["receiveBufferBytes"], 212_992, "{status}");
    let mut before: Option<u64> = None;
    for frame in &stored.frames {
        let original = sent.frames.iter().find(|sent| sent.number == frame.number).unwrap();
        assert_eq!((frame.idr, &frame.hash), (original.idr, &original.hash), "frame {}", frame.number);
        let follows = before.is_none_or(|before| frame.number == before + 1);
        assert!(
            follows || frame.idr && Some(frame.number) > before,
            "frame {} follows {before:?}",
            frame.number
        );
        before = Some(frame.number);
    }
    let (first, last) = (stored.frames[0].number, before.unwrap());
    let missing = (last + 1 - first) - stored.frames.len() as u64;
    println!(
        "{missing} of {} pictures missing; {} datagrams dropped",
        last + 1 - first,
        status["socketDrops"]
    );
    assert!(missing <= (last + 1 - first) / 2, "{missing} missing: {status}");
    let counted = |name: &str| status[name].as_u64().or(status["video"][name].as_u64()).unwrap() > 0;
    assert!(
        missing == 0 || counted("socketDrops") && counted("framesDropped"),
        "{missing} missing: {status}"
    );
}
