//! Rows in which the agent itself, or its machine, is what fails.

use std::io::Read;
use std::path::Path;
use std::time::{Duration, SystemTime};

use kvs_ingest_tests::agent::AgentProcess;
use kvs_ingest_tests::master::clip::GROUP;
use kvs_ingest_tests::master::{Farewell, Settings};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use super::kept::Kept;
use super::rows::{Row, row};
use super::world::{DEADLINE, World};

/// Times that a master comes and goes: five seconds each. `cargo xtask soak` asks for a thousand.
fn cycles() -> usize {
    let asked = std::env::var("KVS_INGEST_CYCLES").ok().map(|text| text.parse().expect("a number"));
    let real_time = std::env::var_os("KVS_INGEST_REAL_TIME").is_some();
    asked.unwrap_or(if real_time { 100 } else { 20 }).max(10)
}

pub fn rows() -> Vec<Row> {
    vec![
        row("a master comes and goes 20 times", comes_and_goes),
        row("the agent is killed, with a spool", || killed(true)),
        row("the agent is killed, without a spool", || killed(false)),
        row("the agent's pod is evicted, one PutMedia connection", evicted),
        row("the clock is set an hour ahead", || clock_set("+1h")),
        row("the clock is set an hour back", || clock_set("-1h")),
    ]
}

/// Memory and descriptors stay what they are.
async fn comes_and_goes() -> Kept {
    let mut world = World::new().await;
    let mut agent = world.agent().await;
    let mut before = None;
    for cycle in 0..cycles() {
        let master = world.master().await;
        let plays = |status: &Value| status["phase"] == "Streaming";
        agent.wait_for("media", DEADLINE, plays).await.unwrap();
        world.gone(master, Some(Farewell::Both)).await;
        let told = |status: &Value| status["phase"] == "WaitingForMaster";
        agent.wait_for("the goodbye", DEADLINE, told).await.unwrap();
        if cycle == 8 {
            before = Some(held(&agent));
        }
    }
    let (descriptors, memory) = before.unwrap();
    // A connection that is being closed holds some for a moment.
    let until = Instant::now() + DEADLINE;
    while held(&agent).0 > descriptors + 2 && Instant::now() < until {
        sleep(Duration::from_millis(100)).await;
    }
    let (then, grown) = held(&agent);
    assert!(then <= descriptors + 2, "{descriptors} descriptors after eight, {then} in the end");
    assert!(grown <= memory + 6 * 1024, "{memory} KiB after eight, {grown} in the end");
    let master = world.master().await;
    world.mark();
    world.more(&mut agent, 3).await;
    world.finish(agent, Some(master)).await.nothing_lost(Duration::from_secs(4)).once()
}

/// Open descriptors, and private memory in KiB.
fn held(agent: &AgentProcess) -> (usize, u64) {
    let process = Path::new("/proc").join(agent.id().unwrap().to_string());
    let descriptors = std::fs::read_dir(process.join("fd")).unwrap().count();
    let status = std::fs::read_to_string(process.join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    (descriptors, line.trim().trim_end_matches(" kB").parse().unwrap())
}

/// What had arrived, and was not with the service yet, is on disk, or lost.
async fn killed(spooled: bool) -> Kept {
    let mut world = World::new().await;
    let master = world.master().await;
    let spool = world.folder.path().join("spool");
    let (more, arguments): (_, &[&str]) = if spooled {
        ("  buffering: {spool: {sizeMiB: 64}}\n", &["--spool-dir", spool.to_str().unwrap()])
    } else {
        ("", &[])
    };
    let mut agent = world.agent_with(more, arguments, &[]).await;
    world.more(&mut agent, 4).await;
    let killed = SystemTime::now();
    Command::new("kill").args(["-KILL", &agent.id().unwrap().to_string()]).status().await.unwrap();
    // A fragment that was not complete is neither with the service nor on disk.
    let open = Duration::from_millis(2500);
    drop(agent);
    let mut agent = world.agent_with(more, arguments, &[]).await;
    world.more(&mut agent, 4).await;
    world.was_away(killed - open);
    world.gives_up();
    world.finish(agent, Some(master)).await.nothing_lost(Duration::ZERO)
}

/// As a Deployment does it: the pod is told to end, another one begins at that moment, and when that is ready the operator says so.
async fn evicted() -> Kept {
    let mut world = World::with(|config| config.put_media.connections = 1).await;
    let master = world.master_with(Settings { one_encoder: true, ..Settings::default() }).await;
    let waits = &["--wait-for-successor"];
    let mut old = world.agent_with("", waits, &[]).await;
    world.more(&mut old, 3).await;
    assert_eq!(old.relieve().await.unwrap(), 409, "nobody told it to end");
    old.terminate().await.unwrap();
    world.mark();
    // So little that two seconds are left for who would follow it.
    let mut agent = world.agent_with("  terminationGracePeriodSeconds: 29\n", waits, &[]).await;
    let until = Instant::now() + DEADLINE;
    agent.wait_for_phase("Streaming", DEADLINE).await.unwrap();
    while agent.get("/readyz").await.unwrap().0 != 200 {
        assert!(Instant::now() < until, "never ready\n{}", agent.log());
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(old.status().await.unwrap()["phase"], "Streaming", "it goes on");
    assert_eq!(old.relieve().await.unwrap(), 204);
    let ended = old.ended(Duration::from_secs(30)).await.unwrap();
    assert!(ended.success(), "{ended}");
    world.more(&mut agent, 4).await;
    // Nobody follows the new one, and nobody says so.
    let mut log = std::fs::File::open(agent.log_file()).unwrap();
    let kept = world.finish(agent, Some(master)).await.nothing_lost(Duration::from_secs(1));
    let mut told = String::new();
    log.read_to_string(&mut told).unwrap();
    assert!(told.contains("nobody said that another agent is ready"), "{told}");
    assert!(kept.twice <= GROUP && kept.connections == 2, "{kept:?}");
    kept
}

/// By libfaketime, which reads a file: the time of day jumps, monotonic time does not.
async fn clock_set(jump: &'static str) -> Kept {
    let mut world = World::new().await;
    let master = world.master().await;
    let library = format!("/usr/lib/{}-linux-gnu/faketime/libfaketimeMT.so.1", std::env::consts::ARCH);
    let file = world.folder.path().join("faketime");
    std::fs::write(&file, "+0\n").unwrap();
    let env = [
        ("LD_PRELOAD", library.as_str()),
        ("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    let mut agent = world.agent_with("", &[], &env).await;
    world.more(&mut agent, 3).await;
    std::fs::write(&file, format!("{jump}\n")).unwrap();
    world.mark();
    world.more(&mut agent, 6).await;
    let status = agent.status().await.unwrap();
    assert_eq!(status["phase"], json!("Streaming"), "{status}");
    world.finish(agent, Some(master)).await.nothing_lost(Duration::from_secs(1)).over_one_connection()
}
