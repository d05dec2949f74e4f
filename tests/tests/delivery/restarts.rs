//! Rows in which the process ends, and another one finds what it left.

use super::rows::{Clips, Kept, Row, row};
use super::world::{RATE, World};

pub fn rows() -> Vec<Row> {
    vec![
        row("killed in an outage, started again", |clips| async move { killed(&clips, false).await }),
        row("killed, one file of the spool damaged", |clips| async move { killed(&clips, true).await }),
        row("stopped in an outage, started again", |clips| async move { stopped(&clips).await }),
        row("two processes, one spool", |clips| async move { shared_spool(&clips).await }),
    ]
}

async fn killed(clips: &Clips, damage: bool) -> Kept {
    let mut world = World::new().await;
    world.stop().await;
    let properties = format!("spool-directory={}", world.spool().display());
    let mut playing = world.launch(&[&clips.small], &properties);
    playing.says("(state-changed): GstMessageStateChanged").await;
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    while world.spooled().len() < 5 {
        assert!(tokio::time::Instant::now() < deadline, "nothing is spooled");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    playing.kill().await;
    let files = world.spooled();
    if damage {
        let mut bytes = std::fs::read(&files[1]).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&files[1], bytes).unwrap();
    }
    world.start().await;
    let run = world.launch(&[&clips.other], &properties).succeed().await;
    let kept = Kept::of(&world, &[&clips.small, &clips.other], &run).await;
    // Every fragment that was complete.
    let (complete, end) = (files.len() * RATE as usize, clips.small.packets.len());
    let mut expected: Vec<_> = (complete..end).collect();
    if damage {
        let second = RATE as usize..2 * RATE as usize;
        expected.splice(0..0, second);
        assert!(run.log.contains("checksum of its media is wrong"), "{}", run.log);
        assert_eq!(kept.dropped, RATE);
    }
    assert_eq!(kept.stored.missing, expected);
    assert_eq!((kept.stored.duplicates, run.figure("fragments-restored")), (0, files.len() as u64));
    assert_eq!(world.spooled(), Vec::<std::path::PathBuf>::new());
    world.stop().await;
    kept.played(complete + clips.other.packets.len())
}

/// A stop that cannot wait for the service loses nothing, not even the last fragment.
async fn stopped(clips: &Clips) -> Kept {
    let mut world = World::new().await;
    world.stop().await;
    let properties = format!("stop-stream-timeout=1 spool-directory={}", world.spool().display());
    let run = world.launch(&[&clips.small], &properties).succeed().await;
    assert_eq!(run.figure("video-frames-persisted"), 0);
    world.start().await;
    let run = world.launch(&[&clips.other], &properties).succeed().await;
    let kept = Kept::of(&world, &[&clips.small, &clips.other], &run).await;
    assert_eq!((kept.stored.missing.len(), kept.dropped, kept.stored.duplicates), (0, 0, 0));
    world.stop().await;
    kept
}

async fn shared_spool(clips: &Clips) -> Kept {
    let mut world = World::new().await;
    let properties = format!("spool-directory={}", world.spool().display());
    let first = world.launch(&[&clips.long], &properties);
    world.fragments(1).await;
    let mut second = world.launch(&[&clips.small], &properties);
    second.says("in use by another sink or process").await;
    second.succeed().await;
    first.kill().await;
    // A third one gets it, and needs nothing of it.
    let run = world.launch(&[&clips.other], &properties).succeed().await;
    assert!(!run.log.contains("in use"), "{}", run.log);
    // Two cameras at once in one stream: their fragments lie between each other, so they are counted only.
    let state = world.state().await;
    let stored = super::world::Stored {
        missing: Vec::new(),
        frames: clips.small.packets.len() + clips.other.packets.len(),
        duplicates: state["duplicates"].as_u64().unwrap(),
        sessions: state["putMedia"]["sessions"].as_u64().unwrap(),
    };
    assert_eq!(run.figure("video-frames-persisted"), clips.other.packets.len() as u64);
    world.stop().await;
    Kept { played: stored.frames, stored, dropped: 0 }
}
