//! What a user gets wrong is named, with the remedy, and the agent goes on where going on makes sense.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::process::Stdio;
use std::time::Duration;

use kvs_ingest_tests::agent::{AgentProcess, AgentSettings, command};
use kvs_ingest_tests::http::post_json;
use kvs_ingest_tests::local::{self, MANIFEST, access};
use kvs_ingest_tests::master::channel::Access;
use kvs_ingest_tests::master::{Answering, Master, Settings};
use kvs_ingest_tests::stored;
use kvs_local::Server;

const DEADLINE: Duration = Duration::from_secs(40);

async fn local() -> (Server, tempfile::TempDir) {
    local::start(|_| {}).await.unwrap()
}

async fn agent(server: &Server, folder: &tempfile::TempDir, manifest: &str, secret: &str) -> AgentProcess {
    let access = Access { secret_key: secret.to_owned(), ..local::access(server) };
    AgentProcess::start(&local::agent(&access, folder, manifest)).await.unwrap()
}

/// Waits until the message of `/status` has all of these words.
async fn says(agent: &mut AgentProcess, words: &[&str]) {
    let status = agent
        .wait_for(&format!("a message with {words:?}"), DEADLINE, |status| {
            words.iter().all(|word| status["message"].as_str().is_some_and(|message| message.contains(word)))
        })
        .await
        .unwrap();
    assert_ne!(status["phase"], "Streaming");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_named_and_retried() {
    let (server, folder) = local().await;
    let mut agent = agent(&server, &folder, MANIFEST, "not-the-secret").await;
    says(&mut agent, &["signature"]).await;
    let (_, body) = agent.get("/status").await.unwrap();
    assert!(!body.contains("not-the-secret") && !agent.log().contains("not-the-secret"));
    assert!(agent.stop(Duration::from_secs(15)).await.unwrap().success());
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_stream_names_create_if_missing() {
    let (server, folder) = local().await;
    server.ensure_channel("door").unwrap();
    let manifest = MANIFEST.replace(", createIfMissing: true, retentionHours: 1", "");
    let mut agent = agent(&server, &folder, &manifest, "secret").await;
    says(&mut agent, &["door-stream", "createIfMissing"]).await;
    assert!(agent.stop(Duration::from_secs(15)).await.unwrap().success());
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_manifest_ends_with_the_path_of_the_field() {
    let (server, folder) = local().await;
    let manifest = MANIFEST.replace("channel: {name: door}", "channel: {name: 'a b'}");
    let settings = AgentSettings {
        manifest: &manifest,
        folder: folder.path(),
        endpoint: &server.url(),
        access_key: "AKIDTEST",
        secret_key: "secret",
        arguments: &[],
        env: &[],
    };
    let (mut command, _) = command(&settings).unwrap();
    let output = command.stdout(Stdio::null()).stderr(Stdio::piped()).output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(text.contains("spec.channel.name"), "{text}");
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_without_h264_is_named_and_its_audio_is_stored() {
    let (server, folder) = local().await;
    let access = access(&server);
    let settings = Settings { answering: Answering::Vp8Only, ..Settings::default() };
    let master = Master::start(&access, "door", settings).await.unwrap();
    let mut agent = agent(&server, &folder, MANIFEST, "secret").await;
    agent
        .wait_for("a message that names H.264", DEADLINE, |status| {
            status["message"]
                .as_str()
                .is_some_and(|message| message.contains("H.264") || message.contains("H264"))
        })
        .await
        .unwrap();
    assert!(agent.stop(Duration::from_secs(20)).await.unwrap().success());
    master.stop().await;
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_plugin_ends_with_the_package_to_install() {
    let (server, folder) = local().await;
    let settings = AgentSettings {
        manifest: MANIFEST,
        folder: folder.path(),
        endpoint: &server.url(),
        access_key: "AKIDTEST",
        secret_key: "secret",
        arguments: &[],
        env: &[],
    };
    let (mut command, _) = command(&settings).unwrap();
    let output = command
        .env("GST_PLUGIN_SYSTEM_PATH_1_0", folder.path())
        .env("GST_PLUGIN_PATH_1_0", folder.path())
        .env("GST_REGISTRY_1_0", folder.path().join("registry.bin"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(text.contains("`appsrc` is missing") && text.contains("gstreamer1.0-plugins-base"), "{text}");
    server.shutdown().await;
}

/// The other tests run the agent under its seccomp profile: that this holds something back is seen here.
#[tokio::test]
async fn what_the_profile_of_the_agent_does_not_name_is_fatal_here() {
    let profile = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/seccomp/agent.json");
    let run = async |program: &[&str]| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_kvs-ingest-confined"));
        command.arg(&profile).args(program).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().await.unwrap()
    };
    assert!(run(&["ls", "/"]).await.success());
    const SIGSYS: i32 = 31;
    let refused = run(&["unshare", "--user", "true"]).await;
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&refused), Some(SIGSYS), "{refused}");
}

/// Waits until a counter of `/metrics` is not zero; the name includes its labels.
async fn counted(agent: &mut AgentProcess, counter: &str) {
    let until = tokio::time::Instant::now() + DEADLINE;
    loop {
        let (_, metrics) = agent.get("/metrics").await.unwrap();
        let value = metrics.lines().find_map(|line| line.strip_prefix(counter)).map(str::trim);
        if value.is_some_and(|value| value != "0") {
            return;
        }
        assert!(tokio::time::Instant::now() < until, "no {counter} in\n{metrics}\n{}", agent.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_rtp_packet_is_named_and_media_goes_on() {
    const MALFORMED: u64 = 60;
    let (server, folder) = local().await;
    let settings = Settings { malformed_frame: Some(MALFORMED), ..Settings::default() };
    let master = Master::start(&access(&server), "door", settings).await.unwrap();
    let mut agent = agent(&server, &folder, MANIFEST, "secret").await;
    counted(&mut agent, "kvs_ingest_rtp_packets_malformed_total{kind=\"video\"}").await;
    let log = agent.log();
    let line = log.lines().find(|line| line.contains("malformed RTP packet")).expect("it is said");
    assert!(line.contains("WARN") && line.contains("aggregated unit"), "{line}");
    master
        .wait_for("sent what follows", DEADLINE, |sent| {
            sent.iter().any(|sent| sent.frames.len() as u64 > MALFORMED + 90)
        })
        .await
        .unwrap();
    assert!(agent.stop(Duration::from_secs(20)).await.unwrap().success());
    let stored = stored::read(&server.url(), "door-stream", folder.path()).await.unwrap();
    let numbers: Vec<_> = stored.frames.iter().map(|frame| frame.number).collect();
    assert!(numbers.contains(&(MALFORMED - 1)) && numbers.contains(&(MALFORMED + 60)), "{numbers:?}");
    master.stop().await;
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signaling_frame_that_is_not_json_is_named_and_media_goes_on() {
    let (server, folder) = local().await;
    let master = Master::start(&access(&server), "door", Settings::default()).await.unwrap();
    let mut agent = agent(&server, &folder, MANIFEST, "secret").await;
    agent.wait_for_phase("Streaming", DEADLINE).await.unwrap();
    let fault = serde_json::json!({"channel": "door", "action": "text", "text": "<html>not KVS</html>"});
    let (status, answer) = post_json(&format!("{}/_kvs/faults", server.url()), &fault).await.unwrap();
    assert_eq!(status, 200, "{answer}");
    counted(&mut agent, "kvs_ingest_signaling_frames_malformed_total").await;
    let log = agent.log();
    let line = log.lines().find(|line| line.contains("malformed signaling frame")).expect("it is said");
    assert!(line.contains("WARN") && line.contains("JSON"), "{line}");
    let before =
        stored::state(&server.url(), "door-stream").await.unwrap()["durationMs"].as_u64().unwrap_or(0);
    let until = tokio::time::Instant::now() + DEADLINE;
    while stored::state(&server.url(), "door-stream").await.unwrap()["durationMs"].as_u64().unwrap_or(0)
        < before + 2000
    {
        assert!(tokio::time::Instant::now() < until, "media stopped\n{}", agent.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(master.sent().len(), 1, "the viewer did not connect again");
    assert!(agent.stop(Duration::from_secs(20)).await.unwrap().success());
    master.stop().await;
    server.shutdown().await;
}
