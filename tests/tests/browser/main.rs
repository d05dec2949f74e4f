//! The main job with a real browser: Chromium's camera and microphone, through its own resolution ramp, to a KVS stream.
#![allow(clippy::unwrap_used, reason = "a test")]

mod storage;

use std::collections::HashMap;
use std::time::Duration;

use kvs_ingest_tests::agent::{AgentProcess, AgentSettings};
use kvs_ingest_tests::browser::BrowserMaster;
use kvs_ingest_tests::local::{self, ACCESS_KEY, SECRET_KEY};
use kvs_ingest_tests::{messages, numbered, stored};
use kvs_local::Server;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

const SECONDS: u64 = 22;

/// kvs-local with its page.
async fn local() -> (Server, TempDir) {
    let web =
        std::env::var("KVS_INGEST_WEB_DIR").expect("KVS_INGEST_WEB_DIR: run `cargo xtask test browser`");
    local::start(|config| config.web = Some(web.into())).await.unwrap()
}

/// Firefox without OpenH264 would share a camera that no viewer can store.
#[tokio::test(flavor = "multi_thread")]
async fn a_browser_without_h264_is_told_what_to_do() {
    let (local, _folder) = local().await;
    let camera = numbered::clip().await.unwrap();
    for (query, shared) in [("", false), ("&audio=0", false), ("&video=0", true)] {
        let url = format!("{}/?channel=browser&start=1{query}", local.url());
        let mut browser = BrowserMaster::open_without_h264(&url, &camera).await.unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        let page = loop {
            let page = browser.state().await.unwrap();
            if page["signaling"] == true || page["errors"].as_array().is_some_and(|all| !all.is_empty()) {
                break page;
            }
            assert!(Instant::now() < deadline, "{page}");
            sleep(Duration::from_millis(100)).await;
        };
        assert_eq!(page["signaling"], shared, "{query}: {page}");
        let status = page["status"].as_str().unwrap();
        assert_eq!(status.contains("cannot send H.264") && status.contains("OpenH264"), !shared, "{page}");
        assert_eq!(status.contains("choose “No picture”"), query.is_empty(), "{page}");
    }
    local.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_frame_that_chromium_sends_is_stored() {
    let (local, folder) = local().await;
    let endpoint = local.url();
    let manifest = format!(
        "apiVersion: kvs-ingest.dev/v1alpha1
kind: KvsIngest
metadata: {{name: browser}}
spec:
  region: eu-central-1
  channel: {{name: browser}}
  stream: {{name: browser, createIfMissing: true, retentionHours: 1}}
{}",
        messages::SPEC
    );
    let mut agent = AgentProcess::start(&AgentSettings {
        manifest: &manifest,
        folder: folder.path(),
        endpoint: &endpoint,
        access_key: ACCESS_KEY,
        secret_key: SECRET_KEY,
        arguments: &[],
        env: &[],
    })
    .await
    .unwrap();
    let camera = numbered::clip().await.unwrap();
    let mut browser =
        BrowserMaster::open(&format!("{endpoint}/?channel=browser&start=1"), &camera).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        let state = stored::state(&endpoint, "browser").await.unwrap_or_default();
        if state["durationMs"].as_u64().unwrap_or(0) >= SECONDS * 1000 {
            break;
        }
        let page = browser.state().await.unwrap();
        assert!(Instant::now() < deadline, "{}\n{state}\n{page}\n{:?}", agent.log(), agent.status().await);
        sleep(Duration::from_millis(300)).await;
    }
    let ended_at = browser.end().await.unwrap();
    // What is still in the browser's pacer or in a socket has to arrive before the agent stops.
    let quiet_by = Instant::now() + Duration::from_secs(15);
    let mut before = None;
    loop {
        let status = agent.status().await.unwrap();
        let now =
            Some((status["video"]["packetsReceived"].clone(), status["audio"]["packetsReceived"].clone()));
        if before == now || Instant::now() > quiet_by {
            break;
        }
        before = now;
        // Two of the agent's reports.
        sleep(Duration::from_millis(1_200)).await;
    }
    let mut spoken = Vec::new();
    for label in messages::LABELS {
        spoken.push(browser.messages(label).await.unwrap());
    }
    let heard = |status: &Value| messages::arrived(status, &spoken);
    let status = agent.wait_for("all messages", Duration::from_secs(15), heard).await.unwrap();
    let warnings: Vec<_> =
        agent.log().lines().filter(|line| line.contains(" WARN ")).map(str::to_owned).collect();
    let exit = agent.stop(Duration::from_secs(20)).await.unwrap();
    assert!(exit.success(), "{exit}");
    let sent = browser.sent().await.unwrap();
    let connection = sent.last().unwrap().connection;
    let sound = browser.sound().await.unwrap()[connection as usize].expect("sound was sent");
    let stored = stored::read(&endpoint, "browser", folder.path()).await.unwrap();
    messages::check(&status, &stored.files, &spoken);

    let mut pictures = Vec::new();
    for file in &stored.files {
        pictures.extend(stored::pictures(file).await.unwrap());
    }
    assert!(pictures[0].0, "what is stored starts with an IDR");
    // From the first stored IDR on, what is stored is what was sent: each frame, once, in order, until the camera was off.
    let sent: Vec<_> = sent.into_iter().filter(|frame| frame.connection == connection).collect();
    let places: HashMap<_, _> =
        sent.iter().enumerate().map(|(index, frame)| (frame.hash.as_str(), index)).collect();
    let first = places[pictures[0].1.as_str()];
    assert!(first < 60, "the first stored frame is number {first}");
    let expected: Vec<_> = sent[first..].iter().map(|frame| frame.hash.as_str()).collect();
    let found: Vec<_> = pictures.iter().map(|(_, hash)| hash.as_str()).collect();
    let at = expected.iter().zip(&found).position(|(expected, found)| expected != found);
    let told = warnings.iter().rev().take(3).collect::<Vec<_>>();
    let what =
        format!("{} frames sent, {} stored\n{}\n{told:#?}", expected.len(), found.len(), status["video"]);
    assert_eq!(at, None, "a stored frame is not what was sent: {what}");
    assert_eq!(expected.len(), found.len(), "{what}");
    assert!(found.len() as u64 >= (SECONDS - 2) * 15, "only {} frames", found.len());

    // The camera's numbers: each stored picture shows the frame after the one before it, or a later one where the browser
    // took none (a picture of the camera that was not encoded is in no list of sent frames).
    let mut numbers = Vec::new();
    for file in &stored.files {
        numbers.extend(numbered::read(file).await.unwrap());
    }
    assert_eq!(numbers.len(), pictures.len(), "every stored picture is decoded");
    // A camera that is turned off ends in a black picture, if the encoder comes to it.
    let with_camera = sent[first..].iter().filter(|frame| frame.at < ended_at).count();
    let unread = numbers[..with_camera].iter().position(Option::is_none);
    assert_eq!(
        unread,
        None,
        "a picture of {with_camera} taken by the camera cannot be read, of {} in all",
        numbers.len()
    );
    let numbers: Vec<_> = numbers.into_iter().flatten().collect();
    let skips: Vec<_> = numbers.windows(2).map(|pair| numbered::skipped(pair[0], pair[1])).collect();
    let backwards = skips.iter().position(|skip| *skip > numbered::FRAMES / 2);
    assert_eq!(
        backwards,
        None,
        "a picture is repeated or out of order: {:?}",
        backwards.map(|at| &numbers[at..at + 2])
    );
    let skipped: u64 = skips.iter().map(|skip| u64::from(*skip)).sum();
    eprintln!("{} pictures stored; {skipped} of the camera were not sent by the browser", numbers.len());

    // Chromium starts small and grows: what it sent in each size is stored in that size, without a frame lost in between.
    let mut sizes: Vec<_> =
        sent[first..first + found.len()].iter().map(|frame| (frame.width, frame.height)).collect();
    sizes.dedup();
    eprintln!("picture sizes: {sizes:?}");
    assert_eq!(stored.sizes, sizes);
    assert!(sizes.len() > 1, "the browser did not change its size");

    // Each track begins and ends in the stream when it did in the browser: how far apart camera and microphone are there, a
    // busy machine decides. Sound from before the first picture is left out, and silence reaches to the last.
    let (video, audio) = (stored.video.unwrap(), stored.audio.unwrap());
    let (first_at, last_at) = (sent[first].at as f64 / 1e3, sent[sent.len() - 1].at as f64 / 1e3);
    let (first_sound, last_sound) = (sound.first as f64 / 1e3, sound.last as f64 / 1e3);
    eprintln!(
        "stored - sent: video {:+.3} {:+.3}, audio {:+.3} {:+.3}",
        video.0 - first_at,
        video.1 - last_at,
        audio.0 - first_at.max(first_sound),
        audio.1 - last_at.max(last_sound)
    );
    for (what, stored, sent) in [
        ("first picture", video.0, first_at),
        ("last picture", video.1, last_at),
        ("first sound", audio.0, first_at.max(first_sound)),
        ("last sound", audio.1, last_at.max(last_sound)),
    ] {
        assert!((stored - sent).abs() < 0.5, "{what}: stored at {stored:.3}, sent at {sent:.3}");
    }
    for (from, to) in [video, audio] {
        assert!(to - from >= 20.0, "video {video:?}, audio {audio:?}");
    }
    drop(browser);
    local.shutdown().await;
}
