//! The fault matrix: whatever network, signaling, master, service and process do, every frame that left the master and arrived is
//! stored, once, and the agent recovers by itself. `docs/faults.md` is its table.
//!
//! `KVS_INGEST_FAULTS` leaves only rows with this in their names; `KVS_INGEST_WRITE_FAULTS=1` writes the table.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test, and its table")]

mod cut;
mod kept;
mod masters;
mod network;
mod processes;
mod rows;
mod service;
mod signaling;
mod table;
mod world;

use std::time::Instant;

use futures::stream::{self, StreamExt};
use rows::Row;

/// Rows at a time. Each is a master, an agent and a KVS, and waits more than it works.
const TOGETHER: usize = 5;

fn rows() -> Vec<Row> {
    // What takes longest comes first.
    let parts = [processes::rows(), network::rows(), signaling::rows(), masters::rows(), service::rows()];
    parts.into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_fault_matrix() {
    let _ = tracing_subscriber::fmt().with_env_filter("off").try_init();
    let only = std::env::var("KVS_INGEST_FAULTS").unwrap_or_default();
    let started = Instant::now();
    let rows = rows().into_iter().filter(|row| row.name.contains(&only)).enumerate();
    let mut results: Vec<_> = stream::iter(rows)
        // A task of its own: a row that fails says so in the table.
        .map(|(place, row)| async move { (place, row.name, tokio::spawn((row.run)()).await) })
        .buffer_unordered(TOGETHER)
        .collect()
        .await;
    results.sort_by_key(|(place, ..)| *place);
    println!("{}", table::header());
    let (mut failed, mut kept) = (Vec::new(), Vec::new());
    for (_, name, result) in results {
        match result {
            Ok(figures) => {
                println!("{}", table::line(name, &figures));
                kept.push((name, figures));
            }
            Err(error) => {
                println!("{name:58} FAILED");
                failed.push(format!("{name}: {error}"));
            }
        }
    }
    println!("{:.0} s", started.elapsed().as_secs_f64());
    assert!(failed.is_empty(), "{failed:#?}");
    if std::env::var_os("KVS_INGEST_WRITE_FAULTS").is_some() && only.is_empty() {
        table::write(&kept);
    }
}

/// A table that shows other rows than there are would be believed.
#[test]
fn the_documentation_has_every_row() {
    let rows = rows();
    let names: Vec<_> = rows.iter().map(|row| row.name).collect();
    assert_eq!(
        table::documented(),
        names,
        "KVS_INGEST_WRITE_FAULTS=1 cargo xtask test faults writes the table"
    );
}
