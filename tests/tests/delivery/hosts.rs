//! Rows in which the process is a program of C: it ends by a SIGPIPE, if anything raises one.

use std::path::PathBuf;
use std::time::Duration;

use kvs_ingest_tests::stored;
use serde_json::json;
use tokio::process::Command;
use tokio::time::sleep;

use super::rows::{Kept, Row, row};
use super::world::{Clip, RATE, Stored, World, clip};

/// Of the connection.
const RESETS: u64 = 100;
/// One after the other, before something is stored again.
const AT_ONCE: u64 = 10;
/// What is played takes about this long; a machine that has much to do takes longer.
const PATIENCE: Duration = Duration::from_secs(400);

pub fn rows() -> Vec<Row> {
    vec![
        row("20 Mbit/s from a program of C, 100 TCP resets", |_| resets()),
        row("64 sinks in a program of C", |clips| async move { many(&clips.small).await }),
        row("no server until stop-stream-timeout is over", |clips| async move {
            given_up(&clips.small, false).await
        }),
        row("the server goes, and stop-stream-timeout is over", |clips| async move {
            given_up(&clips.small, true).await
        }),
    ]
}

/// Compiles `host.c` into the world's folder.
async fn host(world: &World) -> PathBuf {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/delivery/host.c");
    let host = world.folder.path().join("host");
    let build = "cc -Wall -Werror -o \"$0\" \"$1\" $(pkg-config --cflags --libs gstreamer-1.0)";
    let built = Command::new("sh").args(["-c", build]).arg(&host).arg(source).output().await.unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    host
}

async fn resets() -> Kept {
    let mut world = World::secure().await;
    let host = host(&world).await;
    let clip = clip(6, "1280x720", 10, 2500).await;
    let size = std::fs::metadata(&clip.path).unwrap().len();
    assert!(size * 8 >= 10 * 18_000_000, "{size} bytes in ten seconds are not 20 Mbit/s");
    let clips: Vec<&Clip> = vec![&clip; 7];
    // Where the machine is too slow for so much, the clips wait. A buffer so short has attempts a second apart at most.
    let properties = "streaming-type=offline buffer-duration=24";
    let mut playing = world.launch_host(&host, &clips, properties);
    let (mut stored, mut ordered) = (0, 0);
    while ordered < RESETS {
        let state = world.state().await;
        let fragments = state["fragments"].as_u64().unwrap();
        if state["faults"] == json!([]) && fragments > stored {
            stored = fragments;
            world.fault(json!({"action": "reset", "times": AT_ONCE})).await;
            ordered += AT_ONCE;
        }
        playing.assert_alive();
        sleep(Duration::from_millis(20)).await;
    }
    let run = playing.end_within(PATIENCE).await;
    assert!(run.status.success(), "{}\n{}", run.status, run.log);
    let kept = Kept::of(&world, &clips, &run).await;
    assert_eq!((kept.stored.missing.len(), kept.dropped), (0, 0));
    assert!(run.figure("session-failures") >= RESETS, "{}", run.log);
    world.stop().await;
    kept
}

/// Nobody waits longer than that: what is not stored is counted, told, and an error.
async fn given_up(clip: &Clip, begins: bool) -> Kept {
    let mut world = if begins { World::new().await } else { World::absent() };
    let host = host(&world).await;
    let playing = world.launch_host(&host, &[clip], "stop-stream-timeout=1");
    if begins {
        world.fragments(2).await;
        world.stop().await;
    } else {
        // It ends with the error, whatever was told before and is still to be read.
        let run = world.launch(&[clip], "stop-stream-timeout=1").end().await;
        assert!(!run.status.success() && run.log.contains("8 fragments with 120 video"), "{}", run.log);
    }
    let run = playing.end().await;
    assert_eq!(run.status.code(), Some(1), "{}", run.log);
    assert!(run.log.contains("stop-stream-timeout"), "{}", run.log);
    world.start().await;
    let kept = Kept::of(&world, &[clip], &run).await;
    let lost = kept.stored.missing.len() as u64;
    // One more may have been stored without a word.
    assert!(
        (lost..=lost + RATE).contains(&kept.dropped),
        "{} counted, {lost} lost\n{}",
        kept.dropped,
        run.log
    );
    assert!(kept.dropped > 0 && begins == (lost < clip.packets.len() as u64), "{kept:?}");
    assert_eq!(run.figure("fragments-dropped") * RATE, kept.dropped);
    assert_eq!(run.sum("kvs-dropped", "video-frames"), kept.dropped);
    world.stop().await;
    kept
}

/// Sinks at a time.
const SINKS: u64 = 64;
/// For the network and for what blocks, however many sinks there are.
const MOST_THREADS: u64 = 1 + 16;

async fn many(clip: &Clip) -> Kept {
    let mut world = World::secure().await;
    let host = host(&world).await;
    let branches = (1..=SINKS).map(|n| {
        let file = clip.path.display();
        format!(
            "filesrc location={file} ! qtdemux ! h264parse ! identity sync=true ! kvssink stream-name=sink-{n} "
        )
    });
    let pipeline: String = branches.collect();
    let run = world.launch_pipeline(host.to_str().unwrap(), &[], &pipeline).end_within(PATIENCE).await;
    assert!(run.status.success(), "{}\n{}", run.status, run.log);
    let (_, threads) = run.log.split_once("kvssink had ").expect("the host tells");
    let threads: u64 = threads.split(' ').next().unwrap().parse().unwrap();
    assert!(threads <= MOST_THREADS, "{threads} threads");
    let mut stored = Stored::default();
    for n in 1..=SINKS {
        let state = stored::state(&world.url(), &format!("sink-{n}")).await.unwrap();
        let number = |value: &serde_json::Value| value.as_u64().unwrap();
        assert_eq!(number(&state["frames"]), clip.packets.len() as u64, "{state}");
        stored.frames += clip.packets.len();
        stored.duplicates += number(&state["duplicates"]);
        stored.sessions += number(&state["putMedia"]["sessions"]);
    }
    assert_eq!((stored.duplicates, stored.sessions), (0, SINKS));
    world.stop().await;
    Kept { played: SINKS as usize * clip.packets.len(), stored, dropped: run.figure("video-frames-dropped") }
}
