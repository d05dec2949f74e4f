//! A storage session of kvs-local with a master that nobody here wrote, on aiortc and boto3. No agent takes part.

use std::time::Duration;

use kvs_ingest_tests::local::mapped;
use kvs_ingest_tests::stored;
use tokio::time::{Instant, sleep};

use crate::world::{Media, SOON, World, python};

#[tokio::test(flavor = "multi_thread")]
async fn what_aiortc_sends_is_stored() {
    let world = World::new().await;
    mapped(&world.access, "strangers", "strangers-stream").await.unwrap();
    let mut stranger = world.stranger(python("aiortc_master.py"), Media::Both, &["--join"]).await;
    // Sound is encoded by another process, for which a fragment waits.
    let until = Instant::now() + 2 * SOON;
    loop {
        let state = stored::state(&world.access.endpoint, "strangers-stream").await.unwrap();
        if state["durationMs"].as_u64().unwrap_or(0) >= 4_000 {
            break;
        }
        let log = std::fs::read_to_string(world.folder.path().join("stranger.log")).unwrap();
        assert!(Instant::now() < until, "{state} {:?}\n{log}", stranger.events());
        sleep(Duration::from_millis(100)).await;
    }
    stranger.end().await.unwrap();
    let sent: Vec<_> =
        stranger.events().iter().filter(|event| event.event == "frame").map(|event| event.number).collect();
    stranger.close().await.unwrap();
    let hashes = |range: std::ops::Range<usize>| -> Vec<_> {
        world.files.pictures[range].iter().map(|picture| picture.hash.clone()).collect()
    };
    let end = sent.last().unwrap() + 1;
    // It says goodbye, so that its last fragment ends.
    let (endpoint, folder) = (&world.access.endpoint, world.folder.path());
    let last = &world.files.pictures[end - 1].hash;
    let (_, found) = stored::read_up_to(endpoint, "strangers-stream", folder, last, SOON).await.unwrap();
    let found: Vec<_> = found.into_iter().map(|(_, hash)| hash).collect();
    let first = end - found.len();
    assert!(first <= 60 && world.files.pictures[first].idr, "it begins with number {first}");
    assert_eq!(found, hashes(first..end), "each frame, once, in order");
}
