//! Rows in which the process is a program of C: it ends by a SIGPIPE, if anything raises one.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use tokio::process::Command;
use tokio::time::sleep;

use super::rows::{Kept, Row, row};
use super::world::{Clip, World, clip};

/// Of the connection.
const RESETS: u64 = 100;
/// One after the other, before something is stored again.
const AT_ONCE: u64 = 3;
/// What is played takes about this long; a machine that has much to do takes longer.
const PATIENCE: Duration = Duration::from_secs(400);

pub fn rows() -> Vec<Row> {
    vec![row("20 Mbit/s from a program of C, 100 TCP resets", |_| resets())]
}

/// Compiles `host.c` into the world's folder.
async fn host(world: &World) -> PathBuf {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/delivery/host.c");
    let host = world.folder.path().join("host");
    let build = "cc -Wall -Werror -o \"$0\" \"$1\" $(pkg-config --cflags --libs gstreamer-1.0)";
    let built = Command::new("sh").args(["-c", &build]).arg(&host).arg(source).output().await.unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    host
}

async fn resets() -> Kept {
    let mut world = World::secure().await;
    let host = host(&world).await;
    let clip = clip(6, "1280x720", 10, 2500).await;
    let size = std::fs::metadata(&clip.path).unwrap().len();
    assert!(size * 8 >= 10 * 18_000_000, "{size} bytes in ten seconds are not 20 Mbit/s");
    let clips: Vec<&Clip> = vec![&clip; 12];
    // Where the machine is too slow for so much, the clips wait.
    let properties = "streaming-type=offline storage-size=64";
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
