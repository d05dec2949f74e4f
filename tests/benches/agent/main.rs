//! `cargo xtask bench agent`: what the agent costs, beside what others cost that do the same in the same run, and the parts of the
//! work that nobody can leave out; how late pictures are stored, and how soon after a start. The master plays what was encoded
//! before, in a process of its own; KVS is in this one.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a benchmark")]

mod chart;
mod figures;
mod flame;
mod floor;
mod front;
mod machine;
mod master;
mod ours;
mod peers;
mod plan;
mod report;
mod results;
mod rtmp;
mod tables;
mod timed;
mod world;

use std::path::{Path, PathBuf};
use std::time::Instant;

use self::plan::{Plan, ROUNDS, Subject};
use self::results::Results;

/// What `cargo xtask bench agent` says.
mod environment {
    /// `quick`, `page` or `whole`.
    pub const PLAN: &str = "KVS_INGEST_BENCH_PLAN";
    /// Length of each measurement.
    pub const SECONDS: &str = "KVS_INGEST_BENCH_SECONDS";
    /// Another build of the agent, to run in turn with this one.
    pub const AGAINST: &str = "KVS_INGEST_BENCH_AGAINST";
    /// Only what has this in its name.
    pub const ONLY: &str = "KVS_INGEST_BENCH_ONLY";
    /// Set where there is a server of RTMP.
    pub const RTMP: &str = "KVS_INGEST_BENCH_RTMP";
    /// Set where a flame graph is wanted, and nothing else.
    pub const FLAME_GRAPH: &str = "KVS_INGEST_BENCH_FLAME_GRAPH";
    /// Where the results go.
    pub const FOLDER: &str = "KVS_INGEST_BENCH_FOLDER";
    /// The page and the folder of pictures that get them, too: two paths with a blank between.
    pub const DOCUMENTS: &str = "KVS_INGEST_BENCH_DOCUMENTS";
    /// What was typed.
    pub const COMMAND: &str = "KVS_INGEST_BENCH_COMMAND";
    /// What was built: commit, and profile of the agent.
    pub const BUILD: &str = "KVS_INGEST_BENCH_BUILD";
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    if let Ok(what) = std::env::var(master::VARIABLE) {
        return master::play(&what).await;
    }
    if let Ok(what) = std::env::var(floor::VARIABLE) {
        return floor::work(&what);
    }
    let variable = |name| std::env::var(name).unwrap_or_default();
    let against = std::env::var_os(environment::AGAINST).map(PathBuf::from);
    let plan =
        Plan::named(&variable(environment::PLAN), against.is_some()).only(&variable(environment::ONLY));
    let seconds = std::env::var(environment::SECONDS).map_or(plan.seconds, |text| text.parse().unwrap());
    let began = Instant::now();
    let mut results = Results::new(&variable(environment::COMMAND), &variable(environment::BUILD), seconds);
    let folder = PathBuf::from(std::env::var_os(environment::FOLDER).unwrap());
    let documents = variable(environment::DOCUMENTS);
    let documents = documents.split_once(' ').map(|(page, pictures)| (Path::new(page), Path::new(pictures)));
    // Two questions of their own.
    if std::env::var_os(environment::RTMP).is_some() {
        return rtmp::beside(seconds).await;
    }
    if std::env::var_os(environment::FLAME_GRAPH).is_some() {
        return flame::draw(seconds, documents.map_or(&folder, |(_, pictures)| pictures)).await;
    }
    for round in 0..ROUNDS {
        // Who is first changes: a machine grows warm, or busy.
        for subject in turned(&plan.subjects, round) {
            println!("round {}: {}", round + 1, subject.name());
            let costs = match &subject {
                Subject::Ours { media, relay, channels } => {
                    ours::run(*media, *relay, *channels, seconds).await
                }
                Subject::Against { media } => {
                    ours::run_build(against.as_deref().unwrap(), *media, seconds).await
                }
                Subject::Peer { peer, media } => peers::run(*peer, *media, seconds).await,
            };
            println!("  {}", costs.figures);
            results.cost(subject, costs);
        }
        for timing in turned(&plan.timings, round) {
            println!("round {}: {}", round + 1, timing.name());
            let found = timed::run(timing, seconds).await;
            println!("  {found}");
            results.timing(timing, found);
        }
        for part in turned(&plan.parts, round) {
            let cost = floor::cost(part, seconds).await;
            println!("round {}: {}: {cost:.3} CPU s/min", round + 1, part.name());
            results.floor(part, cost);
        }
    }
    results.took(began.elapsed());
    report::write(&results, &folder);
    if let Some((page, pictures)) = documents {
        report::document(&results, page, pictures);
    }
    println!("\n{}\n\nin {}", tables::markdown(&results), folder.display());
}

/// All of them, from another one on in each round.
fn turned<T: Copy>(all: &[T], round: usize) -> Vec<T> {
    let mut turned = all.to_vec();
    turned.rotate_left(all.len() * round / ROUNDS);
    turned
}
