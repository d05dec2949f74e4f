//! The page of kvs-local in Chromium: everything that it is for, by mouse and by keyboard, while two agents record what it
//! shares.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::Path;
use std::time::Duration;

use kvs_ingest_tests::agent::AgentProcess;
use kvs_ingest_tests::http::post_json;
use kvs_ingest_tests::local;
use serde_json::json;
use tokio::process::Command;
use tokio::time::timeout;

/// Of a minute's work.
const PATIENCE: Duration = Duration::from_secs(300);
/// The channel on which `tests/browser/console` goes live, and the streams that it looks at.
const CHANNEL: &str = "studio";
const STREAMS: [&str; 2] = ["front-door", "back-door"];

/// The output of the first, which no server receives.
const OUTPUT: &str = "  outputs: [{name: nowhere, rtmp: {url: 'rtmp://127.0.0.1:9/live/key'}}]\n";

fn manifest(stream: &str) -> String {
    let outputs = if stream == STREAMS[0] { OUTPUT } else { "" };
    format!(
        "apiVersion: kvs-ingest.dev/v1alpha1
kind: KvsIngest
metadata: {{name: {stream}}}
spec:
  region: eu-central-1
  channel: {{name: {CHANNEL}}}
  stream: {{name: {stream}, createIfMissing: true, retentionHours: 1}}
{outputs}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_does_by_mouse_and_by_keyboard_what_it_is_for() {
    let web =
        std::env::var("KVS_INGEST_WEB_DIR").expect("KVS_INGEST_WEB_DIR: run `cargo xtask test browser`");
    let (local, _folder) = local::start(|config| config.web = Some(web.into())).await.unwrap();
    local.ensure_channel(CHANNEL).unwrap();
    let access = local::access(&local);
    let mut agents = Vec::new();
    for stream in STREAMS {
        let folder = tempfile::tempdir().unwrap();
        let manifest = manifest(stream);
        let agent = AgentProcess::start(&local::agent(&access, &folder, &manifest)).await.unwrap();
        let order = json!({"status": agent.address("/status")});
        assert_eq!(post_json(&format!("{}/_kvs/agents", local.url()), &order).await.unwrap().0, 200);
        agents.push((agent, folder));
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser/console.mjs");
    let mut command = Command::new("node");
    command.arg(script).arg(local.url()).arg(STREAMS.join(",")).kill_on_drop(true);
    if let Some(pictures) = std::env::var_os("KVS_INGEST_PICTURES") {
        command.arg(pictures);
    }
    let output = timeout(PATIENCE, command.output()).await.expect("the browser takes too long").unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}\n{}\n{}",
        String::from_utf8_lossy(&output.stderr),
        agents.iter().map(|(agent, _)| agent.log()).collect::<String>()
    );
    println!("{said}");
    for (agent, _folder) in agents {
        let exit = agent.stop(Duration::from_secs(20)).await.unwrap();
        assert!(exit.success(), "{exit}");
    }
    local.shutdown().await;
}
