//! Answers as they are written in the world, live: whatever the shape of the master's answer, every frame is stored.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kvs_ingest_tests::agent::{AgentProcess, AgentSettings};
use kvs_ingest_tests::local::{self, REGION};
use kvs_ingest_tests::master::channel::Access;
use kvs_ingest_tests::master::shapes::{SHAPES, Shape};
use kvs_ingest_tests::master::{Answering, Master, Settings};
use kvs_ingest_tests::stored::{self, most_is_there, nothing_lost};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// For one session, with others beside it.
const DEADLINE: Duration = Duration::from_secs(60);
/// What is to be stored of each.
const LENGTH: Duration = Duration::from_secs(3);
/// Sessions at a time.
const AT_A_TIME: usize = 3;
/// The names of the shapes to try, with blanks in between, where not all are.
const ONLY: &str = "KVS_INGEST_SHAPES";

fn manifest(name: &str) -> String {
    format!(
        "apiVersion: kvs-ingest.dev/v1alpha1
kind: KvsIngest
metadata: {{name: {name}}}
spec:
  region: {REGION}
  channel: {{name: {name}}}
  stream: {{name: {name}, createIfMissing: true, retentionHours: 1}}
"
    )
}

/// A session with an answer of this shape; panics when a frame behind the first that is stored is missing.
async fn session(access: &Access, folder: &Path, shape: Shape) {
    std::fs::create_dir(folder).unwrap();
    let answering = if shape.has_audio { Answering::Both } else { Answering::VideoOnly };
    let settings = Settings { answering, shape, ..Settings::default() };
    let master = Master::start(access, shape.name, settings).await.unwrap();
    let agent = AgentProcess::start(&AgentSettings {
        manifest: &manifest(shape.name),
        folder,
        endpoint: &access.endpoint,
        access_key: &access.access_key,
        secret_key: &access.secret_key,
        arguments: &[],
        env: &[],
    })
    .await
    .unwrap();
    let until = Instant::now() + DEADLINE;
    loop {
        let state = stored::state(&access.endpoint, shape.name).await.unwrap_or_default();
        if state["durationMs"].as_u64() >= Some(LENGTH.as_millis() as u64) {
            break;
        }
        assert!(
            Instant::now() < until,
            "not enough persisted: {state}\n{:?}\n{}",
            agent.status().await,
            agent.log()
        );
        sleep(Duration::from_millis(200)).await;
    }
    let log = agent.log();
    let status = agent.stop(Duration::from_secs(20)).await.unwrap();
    assert!(status.success(), "{status}\n{log}");
    let sessions = master.sent();
    master.stop().await;
    // The first connection holds: an agent that tries again has another client id. A busy machine may have it repeat its
    // offer before the answer comes.
    let viewers: HashSet<&str> = sessions.iter().map(|sent| sent.viewer.as_str()).collect();
    assert_eq!(viewers.len(), 1, "connections\n{log}");
    let stored = stored::read(&access.endpoint, shape.name, folder).await.unwrap();
    let sent = sessions.last().unwrap();
    nothing_lost(&stored, sent);
    most_is_there(&stored, sent);
    assert_eq!(stored.audio.is_some(), shape.has_audio, "sound\n{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shape_of_an_answer_is_recorded() {
    let _ = tracing_subscriber::fmt()
        .with_env_filter("warn,kvs_local=error,turn=error")
        .with_test_writer()
        .try_init();
    let (local, folder) = local::start(|_| {}).await.unwrap();
    let access = local::access(&local);
    let only = std::env::var(ONLY).unwrap_or_default();
    let is_wanted = |shape: &&Shape| only.is_empty() || only.split(' ').any(|name| name == shape.name);
    let places = Arc::new(Semaphore::new(AT_A_TIME));
    let mut running = JoinSet::new();
    let mut names = HashMap::new();
    for shape in SHAPES.iter().filter(is_wanted).copied() {
        let (access, places) = (access.clone(), places.clone());
        let folder = folder.path().join(shape.name);
        let task = running.spawn(async move {
            let _place = places.acquire_owned().await.unwrap();
            session(&access, &folder, shape).await;
        });
        names.insert(task.id(), shape.name);
    }
    assert!(!running.is_empty(), "{ONLY}={only} names no shape");
    let mut failed = Vec::new();
    while let Some(ended) = running.join_next_with_id().await {
        match ended {
            Ok((id, ())) => println!("{}: recorded", names[&id]),
            Err(error) => {
                println!("{}: {error}", names[&error.id()]);
                failed.push(names[&error.id()]);
            }
        }
    }
    assert!(failed.is_empty(), "not recorded as they should be: {failed:?}");
    local.shutdown().await;
}
