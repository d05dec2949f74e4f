//! Rows in which the master comes, goes, and changes.

use std::time::{Duration, SystemTime};

use kvs_ingest_tests::master::{Farewell, Settings};
use serde_json::Value;
use tokio::time::sleep;

use super::kept::Kept;
use super::rows::{Row, row};
use super::world::{DEADLINE, World};

pub fn rows() -> Vec<Row> {
    vec![
        row("the master reloads", || leaves(Some(Farewell::Both), Duration::ZERO, Duration::from_secs(4))),
        row("the master crashes and is back at once", || {
            leaves(None, Duration::ZERO, Duration::from_secs(9))
        }),
        row("the master is away for 12 s", || leaves(None, Duration::from_secs(12), Duration::from_secs(9))),
        row("another master takes the channel over", replaced),
        row("sizes flip every 2 s", flips),
        row("sound comes and goes with its master's connection", sound),
    ]
}

async fn leaves(farewell: Option<Farewell>, absence: Duration, back: Duration) -> Kept {
    let mut world = World::new().await;
    let master = world.master().await;
    let mut agent = world.streaming().await;
    let from = SystemTime::now();
    world.gone(master, farewell).await;
    if farewell.is_none() {
        // One that loses its power may have a frame in its hands.
        world.was_away(from - Duration::from_millis(100));
    }
    sleep(absence).await;
    let master = world.master().await;
    world.mark();
    world.more(&mut agent, 4).await;
    world.finish(agent, Some(master)).await.nothing_lost(back).once()
}

/// While the first one still sends.
async fn replaced() -> Kept {
    let mut world = World::new().await;
    let first = world.master().await;
    let mut agent = world.streaming().await;
    world.mark();
    let second = world.master().await;
    world.more(&mut agent, 3).await;
    // Media outlives signaling: the first one is recorded until it goes.
    world.gone(first, Some(Farewell::Both)).await;
    world.more(&mut agent, 3).await;
    world.finish(agent, Some(second)).await.nothing_lost(Duration::from_secs(1)).once()
}

async fn flips() -> Kept {
    let mut world = World::new().await;
    let sizes = vec![(320, 240), (640, 360)];
    let master = world.master_with(Settings { sizes, clip_seconds: 2, ..Settings::default() }).await;
    let mut agent = world.streaming().await;
    world.more(&mut agent, 8).await;
    world.finish(agent, Some(master)).await.nothing_lost(Duration::ZERO).once().over_one_connection()
}

/// One without sound, between two with it.
async fn sound() -> Kept {
    let mut world = World::new().await;
    let mut master = world.master().await;
    let mut agent = world.streaming().await;
    for sends_audio in [false, true] {
        world.gone(master, Some(Farewell::Both)).await;
        let told = |status: &Value| status["phase"] == "WaitingForMaster";
        agent.wait_for("the goodbye", DEADLINE, told).await.unwrap();
        master = world.master_with(Settings { sends_audio, ..Settings::default() }).await;
        world.mark();
        world.more(&mut agent, 3).await;
    }
    world.finish(agent, Some(master)).await.nothing_lost(Duration::from_secs(4)).once()
}
