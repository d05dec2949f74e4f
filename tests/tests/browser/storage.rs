//! A storage session of kvs-local with AWS's WebRTC SDK in Chromium on both sides: the page joins it as the channel's master,
//! and another page as a viewer. No agent takes part.

use std::collections::HashMap;
use std::time::Duration;

use kvs_ingest_tests::browser::BrowserMaster;
use kvs_ingest_tests::local::{access, mapped};
use kvs_ingest_tests::{numbered, stored};
use tokio::time::{Instant, sleep};

use crate::local;

/// What is recorded, two groups of pictures and more, and how many of its pictures the viewer sees.
const SECONDS: u64 = 5;
const SEEN: usize = 60;
/// Until the one is there, and then until the other is, on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "on a busy machine frames in front of a change of size are missing in one run of four, and no gap is counted: not explained yet"]
async fn what_chromium_sends_to_a_storage_session_is_stored_and_seen() {
    let filter = "warn,kvs_local::storage=info";
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
    let (local, folder) = local().await;
    let endpoint = local.url();
    mapped(&access(&local), "stored", "stored-stream").await.unwrap();
    let camera = numbered::clip().await.unwrap();
    let mut browser =
        BrowserMaster::open(&format!("{endpoint}/?channel=stored&start=1"), &camera).await.unwrap();
    browser.watch(&format!("{endpoint}/#/watch/stored")).await.unwrap();
    let deadline = Instant::now() + DEADLINE;
    let numbers = loop {
        let state = stored::state(&endpoint, "stored-stream").await.unwrap();
        let watched = browser.watched().await.unwrap();
        let numbers: Vec<_> = watched.shown.iter().filter_map(|blocks| numbered::number(blocks)).collect();
        if state["durationMs"].as_u64().unwrap_or(0) >= SECONDS * 1000 && numbers.len() >= SEEN {
            break numbers;
        }
        let page = browser.state().await.unwrap();
        assert!(Instant::now() < deadline, "{state}\n{page}\n{:?}: {numbers:?}", watched.status);
        sleep(Duration::from_millis(200)).await;
    };
    // A viewer plays what comes, and leaves out what comes too late.
    let backwards =
        numbers.windows(2).position(|pair| pair[0] != pair[1] && numbered::skipped(pair[0], pair[1]) > 300);
    assert_eq!(backwards, None, "{numbers:?}");

    browser.end().await.unwrap();
    let sent = browser.sent().await.unwrap();
    let connection = sent.last().unwrap().connection;
    let sent: Vec<_> = sent.into_iter().filter(|frame| frame.connection == connection).collect();
    // The last picture ends its fragment when no other comes.
    let last = &sent.last().unwrap().hash;
    let (stored, pictures) =
        stored::read_up_to(&endpoint, "stored-stream", folder.path(), last, DEADLINE).await.unwrap();
    drop(browser);
    // Its log says what the session counted, should something be missing.
    local.shutdown().await;
    let (video, audio) = (stored.video.unwrap(), stored.audio.unwrap());
    assert!((video.0 - audio.0).abs() < 0.5 && (video.1 - audio.1).abs() < 0.5, "{video:?} {audio:?}");
    assert_eq!(stored.channels.first(), Some(&2));
    assert!(pictures[0].0, "what is stored starts with an IDR");
    let places: HashMap<_, _> =
        sent.iter().enumerate().map(|(index, frame)| (frame.hash.as_str(), index)).collect();
    let first = places[pictures[0].1.as_str()];
    assert!(first < 60, "the first stored frame is number {first}");
    let expected: Vec<_> = sent[first..].iter().map(|frame| frame.hash.as_str()).collect();
    let found: Vec<_> = pictures.iter().map(|(_, hash)| hash.as_str()).collect();
    let at = expected.iter().zip(&found).position(|(expected, found)| expected != found);
    let around: Vec<_> =
        at.into_iter().flat_map(|at| sent[first..].iter().skip(at.saturating_sub(2)).take(12)).collect();
    assert_eq!(
        (at, found.len()),
        (None, expected.len()),
        "each frame, once, in order; sent there: {around:?}"
    );
}
