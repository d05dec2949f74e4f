//! One recording: KVS on localhost, the agent as a process, and a master that keeps time as the row says.

use std::time::Duration;

use kvs_ingest_tests::agent::AgentProcess;
use kvs_ingest_tests::local::{self, MANIFEST};
use kvs_ingest_tests::master::Master;
use kvs_ingest_tests::verdict::Verdict;
use kvs_ingest_tests::{sound, stored};
use serde_json::Value;

use crate::rows::Row;

/// Records so many seconds of what the master plays.
pub async fn record(row: &Row, seconds: u64) -> Verdict {
    let (server, folder) = local::start(|_| {}).await.unwrap();
    let access = local::access(&server);
    let master = Master::start(&access, "door", row.settings()).await.unwrap();
    let mut agent = AgentProcess::start(&local::agent(&access, &folder, MANIFEST)).await.unwrap();
    agent.wait_for_phase("Streaming", Duration::from_secs(40)).await.unwrap();
    let length = Duration::from_secs(seconds);
    // By what the master itself knows of time, not by what is stored: that may be anything.
    master
        .wait_for("played", length + Duration::from_secs(20), |sent| {
            let played = sent.last().and_then(|sent| sent.started?.elapsed().ok());
            played.is_some_and(|played| played >= length)
        })
        .await
        .unwrap();
    let silence = agent.status().await.ok().and_then(|status| silence(&status["audio"]));
    let sessions = master.sent();
    assert_eq!(sessions.len(), 1, "the agent connected again:\n{}", agent.log());
    if row.dies {
        master.vanish();
        let gone = |status: &Value| status["phase"] != "Streaming";
        agent.wait_for("the end of the master", Duration::from_secs(60), gone).await.unwrap();
    }
    let log = agent.log();
    let status = agent.stop(Duration::from_secs(20)).await.unwrap();
    assert!(status.success(), "{status}\n{log}");
    let sent = master.sent().pop().unwrap();
    master.stop().await;
    let stored = stored::read_undecoded(&access.endpoint, "door-stream", folder.path()).await.unwrap();
    let heard = sound::beeps(&stored.files).await.unwrap();
    server.shutdown().await;
    if std::env::var_os("KVS_INGEST_KEEP").is_some() {
        println!("{}: {}", row.name, folder.keep().display());
    }
    let mut damage = None;
    for file in &stored.files {
        let error = stored::decode(file).await.err().map(|error| format!("{error:#}"));
        damage = damage.or_else(|| error.and_then(|text| text.lines().next().map(str::to_owned)));
    }
    Verdict { silence, damage, ..Verdict::new(row.name, &stored, &heard, &sent, &row.unsteady()) }
}

/// Whatever the agent says of silence that it wrote, in milliseconds.
fn silence(audio: &Value) -> Option<u64> {
    let (_, value) = audio.as_object()?.iter().find(|(name, _)| name.to_lowercase().contains("silence"))?;
    value.as_u64()
}
