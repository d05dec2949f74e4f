//! The fault table: whatever network, service, disk and process do, every frame is stored, once unless the service may
//! have had it already; and where the stated bounds are exceeded whole fragments go, oldest first, counted exactly.
//!
//! `KVS_INGEST_REAL_TIME` gives outages their full length of two minutes.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test, and its table")]

mod faults;
mod hosts;
mod outages;
mod restarts;
mod rows;
mod world;

use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt;
use futures::stream::{self, StreamExt};
use rows::{Clips, Kept};

/// Rows at a time. Each mostly waits.
const TOGETHER: usize = 12;

fn real_time() -> bool {
    std::env::var_os("KVS_INGEST_REAL_TIME").is_some()
}

async fn clips() -> Clips {
    let outage = if real_time() { 150 } else { 16 };
    Clips {
        small: world::clip(1, "320x180", 8, 60).await,
        other: world::clip(2, "320x180", 8, 60).await,
        sizes: vec![
            world::clip(11, "160x120", 5, 40).await,
            world::clip(12, "320x180", 5, 40).await,
            world::clip(13, "160x120", 5, 40).await,
            world::clip(14, "320x180", 5, 40).await,
        ],
        fat: world::clip(4, "640x360", outage, if real_time() { 250 } else { 1200 }).await,
        long: world::clip(5, "320x180", if real_time() { 120 } else { 45 }, 60).await,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_fault_table() {
    let _ = tracing_subscriber::fmt().with_env_filter("off").try_init();
    let clips = Arc::new(clips().await);
    // Only some of it, by a part of the name.
    let only = std::env::var("KVS_INGEST_DELIVERY_ROWS").unwrap_or_default();
    // What takes longest comes first.
    let rows = hosts::rows().into_iter().chain(outages::rows()).chain(restarts::rows()).chain(faults::rows());
    let started = Instant::now();
    let results: Vec<_> = stream::iter(rows.filter(|row| row.name.contains(&only)))
        .map(|row| {
            let (name, clips) = (row.name, clips.clone());
            // A task of its own, so that a row that fails says so in the table.
            tokio::spawn((row.run)(clips)).map(|result| (name, result))
        })
        .buffered(TOGETHER)
        .collect()
        .await;
    println!("{:52} frames                                fragments", "");
    println!("{:52} played  persisted  lost  dropped     twice  sessions", "");
    let mut failed = Vec::new();
    for (name, result) in results {
        match result {
            Ok(Kept { played, stored, dropped }) => {
                let (lost, twice) = (played - stored.frames, stored.duplicates);
                let (frames, sessions) = (stored.frames, stored.sessions);
                println!("{name:52} {played:6} {frames:10} {lost:5} {dropped:8} {twice:9} {sessions:9}");
            }
            Err(error) => {
                println!("{name:52} FAILED");
                failed.push(format!("{name}: {error}"));
            }
        }
    }
    println!("{:.0} s", started.elapsed().as_secs_f64());
    assert!(failed.is_empty(), "{failed:#?}");
}
