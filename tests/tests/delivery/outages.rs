//! Rows in which there is no service, or too little network, for a while.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use super::real_time;
use super::rows::{Kept, Row, row};
use super::world::{Clip, RATE, World};

/// How long the service is away.
fn outage() -> Duration {
    Duration::from_secs(if real_time() { 120 } else { 10 })
}

/// Holds two minutes of everything that is played here.
const ROOMY: &str = "storage-size=128 buffer-duration=600";

pub fn rows() -> Vec<Row> {
    let mut rows = vec![
        row("credentials end every 20 s", |clips| async move { credentials_that_end(&clips.long).await }),
        row("a slow uplink: half the bitrate", |clips| async move { slow_uplink(&clips.fat).await }),
        row("outage, memory only", |clips| async move {
            let kept = outage_with(&clips.fat, outage(), |_| ROOMY.to_owned()).await;
            assert_eq!((kept.stored.missing.len(), kept.dropped), (0, 0));
            kept
        }),
        row("outage, memory and spool", |clips| async move {
            let spooled =
                |world: &World| format!("storage-size=10 spool-directory={}", world.spool().display());
            let kept = outage_with(&clips.fat, outage(), spooled).await;
            assert_eq!((kept.stored.missing.len(), kept.dropped), (0, 0));
            kept
        }),
        row("outage, more than memory holds", |clips| async move {
            let kept =
                outage_with(&clips.fat, to_the_end(&clips.fat), |_| "storage-size=10".to_owned()).await;
            oldest_dropped(&kept, 10 << 20, &clips.fat);
            kept
        }),
        row("outage, more than memory and spool hold", |clips| async move {
            let bounds = |world: &World| {
                format!("storage-size=10 spool-size=2000000 spool-directory={}", world.spool().display())
            };
            let kept = outage_with(&clips.fat, to_the_end(&clips.fat), bounds).await;
            oldest_dropped(&kept, (10 << 20) + 2_000_000, &clips.fat);
            kept
        }),
        row("outage, a spool that cannot be used", |clips| async move {
            let kept =
                outage_with(&clips.fat, outage(), |_| format!("{ROOMY} spool-directory=/dev/null/spool"))
                    .await;
            assert_eq!((kept.stored.missing.len(), kept.dropped), (0, 0));
            kept
        }),
        row("the server comes late", |clips| async move { late_server(&clips.long).await }),
        row("codec data change every 5 s", |clips| async move {
            let mut world = World::new().await;
            let played: Vec<&Clip> = clips.sizes.iter().collect();
            let run = world.launch(&played, "").succeed().await;
            let kept = Kept::of(&world, &played, &run).await;
            assert_eq!((kept.stored.missing.len(), kept.dropped, kept.stored.duplicates), (0, 0, 0));
            assert_eq!(kept.stored.sessions, played.len() as u64);
            world.stop().await;
            kept
        }),
    ];
    if may_mount() {
        rows.push(row("outage, the disk is full", |clips| async move { full_disk(&clips.small).await }));
    } else {
        println!("a full disk is left out: this machine does not let `unshare` mount one");
    }
    rows
}

fn may_mount() -> bool {
    let mut command = std::process::Command::new("unshare");
    command.args(["-Urm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]);
    command.output().is_ok_and(|output| output.status.success())
}

/// Memory holds what the disk does not.
async fn full_disk(clip: &Clip) -> Kept {
    let mut world = World::absent();
    let mut playing = world.launch_on_disk(200, &[clip], "retention-period=1");
    playing.says("No space left on device").await;
    world.start().await;
    let run = playing.succeed().await;
    let kept = Kept::of(&world, &[clip], &run).await;
    assert_eq!((kept.stored.missing.len(), kept.dropped, kept.stored.duplicates), (0, 0, 0));
    assert!(run.figure("spool-failures") >= 1 && run.figure("fragments-spooled") >= 1);
    world.stop().await;
    kept
}

/// So long that the clip is over: everything that was played after the beginning is held, or was dropped.
fn to_the_end(clip: &Clip) -> Duration {
    Duration::from_secs(clip.packets.len() as u64 / RATE)
}

async fn outage_with(clip: &Clip, outage: Duration, properties: impl Fn(&World) -> String) -> Kept {
    let mut world = World::new().await;
    let properties = properties(&world);
    let playing = world.launch(&[clip], &properties);
    world.fragments(2).await;
    world.stop().await;
    // What is tested is that it is away for so long.
    sleep(outage).await;
    world.start().await;
    let run = playing.succeed().await;
    let kept = Kept::of(&world, &[clip], &run).await;
    assert!(kept.stored.duplicates <= 2, "{kept:?}");
    // Counted one by one as it happened, and in the end.
    assert_eq!(run.sum("kvs-dropped", "video-frames"), kept.dropped);
    assert_eq!(run.figure("fragments-dropped") * RATE, kept.dropped, "whole fragments");
    world.stop().await;
    kept
}

/// Whole fragments are missing, the oldest of the outage, as many as are counted and as the bound says.
fn oldest_dropped(kept: &Kept, bound: u64, clip: &Clip) {
    let missing = &kept.stored.missing;
    assert_eq!(missing.len() as u64, kept.dropped);
    let first = missing.first().copied().expect("more than the bound was played");
    assert_eq!(*missing, (first..first + missing.len()).collect::<Vec<_>>(), "oldest first, without a hole");
    assert!((first as u64).is_multiple_of(RATE) && (missing.len() as u64).is_multiple_of(RATE));
    let fragment = std::fs::metadata(&clip.path).unwrap().len() * RATE / clip.packets.len() as u64;
    let held = (clip.packets.len() - first - missing.len()) as u64 / RATE;
    let fits = bound / fragment;
    assert!((fits.saturating_sub(2)..=fits + 3).contains(&held), "{held} fragments were held, {fits} fit");
}

async fn slow_uplink(clip: &Clip) -> Kept {
    let mut world = World::new().await;
    let bytes_per_second =
        std::fs::metadata(&clip.path).unwrap().len() * RATE / clip.packets.len() as u64 / 2;
    world.fault(json!({"action": "slow_reading", "bytesPerSecond": bytes_per_second, "times": 0})).await;
    let properties = format!("storage-size=10 spool-directory={}", world.spool().display());
    let run = world.launch(&[clip], &properties).succeed().await;
    let kept = Kept::of(&world, &[clip], &run).await;
    assert_eq!((kept.stored.missing.len(), kept.dropped, kept.stored.duplicates), (0, 0, 0));
    assert_eq!(kept.stored.sessions, 1, "slow is not dead");
    world.stop().await;
    kept
}

async fn late_server(clip: &Clip) -> Kept {
    let mut world = World::absent();
    let playing = world.launch(&[clip], &format!("{ROOMY} retention-period=1"));
    sleep(outage()).await;
    world.start().await;
    let run = playing.succeed().await;
    let kept = Kept::of(&world, &[clip], &run).await;
    assert_eq!((kept.stored.missing.len(), kept.dropped, kept.stored.duplicates), (0, 0, 0));
    world.stop().await;
    kept
}

async fn credentials_that_end(clip: &Clip) -> Kept {
    let mut world = World::guarded().await;
    let run = world.launch(&[clip], "retention-period=1").succeed().await;
    let kept = Kept::of(&world, &[clip], &run).await;
    assert_eq!((kept.stored.missing.len(), kept.dropped, kept.stored.duplicates), (0, 0, 0));
    assert_eq!(run.figure("session-failures"), 0, "each was replaced in time\n{}", run.log);
    let seconds = clip.packets.len() as u64 / RATE;
    assert!((seconds / 20..=seconds / 10 + 1).contains(&kept.stored.sessions), "{}", kept.stored.sessions);
    world.stop().await;
    kept
}
