//! The main job without a browser: a synthetic master, the agent as users run it, KVS on localhost, and every frame
//! looked for in what was stored.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::Path;
use std::time::Duration;

use kvs_ingest_tests::agent::{AgentProcess, AgentSettings, binary, command};
use kvs_ingest_tests::http::post_json;
use kvs_ingest_tests::impair::Impairment;
use kvs_ingest_tests::local::{self, MANIFEST};
use kvs_ingest_tests::master::channel::Access;
use kvs_ingest_tests::master::clip::FRAME_RATE;
use kvs_ingest_tests::master::network::Network;
use kvs_ingest_tests::master::{Answering, Master, Sent, Settings};
use kvs_ingest_tests::proxy::{self, Proxy};
use kvs_ingest_tests::stored::{self, Stored, most_is_there, nothing_lost};
use kvs_local::Server;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

const CHANNEL: &str = "door";
const STREAM: &str = "door-stream";
const DEADLINE: Duration = Duration::from_secs(40);
/// Path of the AWS producer SDK's libgstkvssink.so, where there is one.
const CPP: &str = "KVS_INGEST_CPP_KVSSINK";

struct World {
    local: Server,
    folder: TempDir,
    access: Access,
}

impl World {
    async fn new() -> Self {
        let _ = tracing_subscriber::fmt().with_env_filter("warn,turn=error").with_test_writer().try_init();
        let (local, folder) = local::start(|_| {}).await.unwrap();
        let access = local::access(&local);
        Self { local, folder, access }
    }

    async fn master(&self, settings: Settings) -> Master {
        Master::start(&self.access, CHANNEL, settings).await.unwrap()
    }

    async fn agent(&self, more: &str) -> AgentProcess {
        self.agent_with(more, &[]).await
    }

    async fn agent_with(&self, more: &str, arguments: &[&str]) -> AgentProcess {
        self.agent_in(more, arguments, &[]).await
    }

    async fn agent_in(&self, more: &str, arguments: &[&str], env: &[(&str, &str)]) -> AgentProcess {
        let manifest = manifest(more);
        let settings = local::agent(&self.access, &self.folder, &manifest);
        AgentProcess::start(&AgentSettings { arguments, env, ..settings }).await.unwrap()
    }

    /// Waits until so much of the stream is persisted.
    async fn persisted(&self, agent: &mut AgentProcess, duration: Duration, deadline: Duration) -> Value {
        let until = Instant::now() + deadline;
        loop {
            let state = stored::state(&self.access.endpoint, STREAM).await.unwrap_or_default();
            if state["durationMs"].as_u64().unwrap_or(0) >= duration.as_millis() as u64 {
                return state;
            }
            assert!(
                Instant::now() < until,
                "not enough persisted: {state}\n{:?}\n{}",
                agent.status().await,
                agent.log()
            );
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// The stream misbehaves (docs/kvs-local.md).
    async fn fault(&self, mut fault: Value) {
        fault["stream"] = STREAM.into();
        let url = format!("{}/_kvs/faults", self.access.endpoint);
        assert_eq!(post_json(&url, &fault).await.unwrap().0, 200);
    }

    /// GetIceServerConfig is answered AccessDenied from now on, as by a policy without that action.
    async fn deny_ice_servers(&self) {
        self.local.ensure_channel(CHANNEL).unwrap();
        let fault = json!({
            "channel": CHANNEL, "action": "http_error", "call": "GetIceServerConfig", "status": 403, "times": 0,
            "message": "not authorized to perform: kinesisvideo:GetIceServerConfig",
        });
        let url = format!("{}/_kvs/faults", self.access.endpoint);
        assert_eq!(post_json(&url, &fault).await.unwrap().0, 200);
    }

    /// SIGTERM, exit code 0, and what is stored then.
    async fn finish(&self, agent: AgentProcess) -> Stored {
        let log = agent.log();
        let status = agent.stop(Duration::from_secs(20)).await.unwrap();
        assert!(status.success(), "{status}\n{log}");
        stored::read(&self.access.endpoint, STREAM, self.folder.path()).await.unwrap()
    }
}

fn manifest(more: &str) -> String {
    format!("{MANIFEST}{more}")
}

fn tracks_cover_the_same_span(stored: &Stored) {
    let (video, audio) = (stored.video.unwrap(), stored.audio.unwrap());
    assert!((video.0 - audio.0).abs() < 0.15, "starts: video {video:?}, audio {audio:?}");
    assert!((video.1 - audio.1).abs() < 0.15, "ends: video {video:?}, audio {audio:?}");
}

/// `cargo xtask test --all` lets each recording last minutes, past wraps of the sequence number and many fragments.
fn length(seconds: u64) -> u64 {
    if std::env::var_os("KVS_INGEST_REAL_TIME").is_some() { seconds * 30 } else { seconds }
}

async fn run(settings: Settings, more: &str, seconds: u64) -> (World, Stored, Sent) {
    let seconds = length(seconds);
    let world = World::new().await;
    let master = world.master(settings).await;
    let mut agent = world.agent(more).await;
    world.persisted(&mut agent, Duration::from_secs(seconds), DEADLINE + Duration::from_secs(seconds)).await;
    let asked = master.sent().pop().unwrap().frames.len();
    let stored = world.finish(agent).await;
    let mut sent = master.sent().pop().unwrap();
    // Through TURN the master hears late that nobody listens any more.
    let last = stored.frames.last().map_or(0, |frame| frame.number as usize + 1);
    sent.frames.truncate(asked.max(last));
    master.stop().await;
    (world, stored, sent)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_over_host_candidates() {
    let (world, stored, sent) = run(Settings::default(), "", 8).await;
    nothing_lost(&stored, &sent);
    most_is_there(&stored, &sent);
    tracks_cover_the_same_span(&stored);
    // Fragment times are those of the wall clock.
    let sent_at = sent.frames.iter().find(|frame| frame.number == stored.frames[0].number).unwrap().at;
    let sent_at = sent_at.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((stored.video.unwrap().0 - sent_at).abs() < 1.0, "{:?} {sent_at}", stored.video);
    let state = stored::state(&world.access.endpoint, STREAM).await.unwrap();
    assert_eq!(state["duplicates"], 0);
    world.local.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_through_turn_only() {
    let (world, stored, sent) = run(Settings::default(), "  ice: {transportPolicy: Relay}\n", 6).await;
    nothing_lost(&stored, &sent);
    most_is_there(&stored, &sent);
    world.local.shutdown().await;
}

/// Each step to the first stored fragment is told three times, but that of the call that is denied.
fn the_time_line(status: &Value, metrics: &str, log: &str) {
    let steps: Vec<_> = status["connecting"]["current"]["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| (step["step"].as_str().unwrap(), step["afterSeconds"].as_f64().unwrap()))
        .collect();
    let names: Vec<_> = steps.iter().map(|(name, _)| *name).collect();
    let expected = [
        "DescribeSignalingChannel",
        "DescribeMediaStorageConfiguration",
        "GetSignalingChannelEndpoint",
        "ConnectAsViewer",
        "Answer",
        "Ice",
        "Dtls",
        "FirstPacket",
        "FirstKeyFrame",
        "FirstPersisted",
    ];
    assert_eq!(names, expected, "{status}");
    assert!(steps.is_sorted_by(|(_, a), (_, b)| a <= b), "{steps:?}");
    for name in names {
        let count = format!("kvs_ingest_connecting_step_seconds_count{{step=\"{name}\"}} 1\n");
        assert!(metrics.contains(&count), "no {count} in {metrics}");
        assert_eq!(log.matches(&format!("{name}: ")).count(), 1, "{name} in {log}");
    }
    let errors = "kvs_ingest_signaling_errors_total{step=\"GetIceServerConfig\"} 1\n";
    assert!(metrics.contains(errors), "no {errors} in {metrics}");
    let signaling = &status["signaling"];
    assert_eq!((&signaling["numberOfErrors"], &signaling["iceRefreshCount"]), (&json!(1), &json!(0)));
    assert!(signaling["numberOfMessagesSent"].as_u64() > Some(0), "{signaling}");
    assert!(signaling["numberOfMessagesReceived"].as_u64() > Some(0), "{signaling}");
    assert!(signaling["cpApiCallLatency"].as_f64() > Some(0.0), "{signaling}");
    let pair = &status["selectedCandidatePair"];
    assert_eq!(
        (&pair["nominated"], &pair["local"]["candidateType"]),
        (&json!(true), &json!("host")),
        "{pair}"
    );
    assert!(
        pair["bytesReceived"].as_u64() > Some(10_000) && pair["packetsSent"].as_u64() > Some(0),
        "{pair}"
    );
    assert!(status["video"]["jitterBufferEmittedCount"].as_u64() > Some(30), "{status}");
    assert!(status["video"]["headerBytesReceived"].as_u64() > Some(30 * 12), "{status}");
}

/// A policy that forgets the action, or a call that fails: host candidates do without TURN, and it is said.
#[tokio::test(flavor = "multi_thread")]
async fn without_turn_credentials_host_candidates_do() {
    let world = World::new().await;
    let master = world.master(Settings::default()).await;
    world.deny_ice_servers().await;
    let mut agent = world.agent("").await;
    world.persisted(&mut agent, Duration::from_secs(4), DEADLINE).await;
    let status = agent.status().await.unwrap();
    let message = status["message"].as_str().unwrap();
    assert_eq!(status["phase"], "Streaming");
    the_time_line(&status, &agent.get("/metrics").await.unwrap().1, &agent.log());
    for words in
        ["there are no TURN servers", "GetIceServerConfig", "AccessDeniedException", "not authorized"]
    {
        assert!(message.contains(words), "no {words:?} in {message:?}");
    }
    assert_eq!(agent.log().matches("the peer connection is tried without").count(), 1, "{}", agent.log());
    let stored = world.finish(agent).await;
    nothing_lost(&stored, &master.sent().pop().unwrap());
}

/// Where only relays are allowed there is nothing to go on with: the agent says what it may not do.
#[tokio::test(flavor = "multi_thread")]
async fn relays_only_and_no_turn_credentials_is_a_failure() {
    let world = World::new().await;
    let _master = world.master(Settings::default()).await;
    world.deny_ice_servers().await;
    let mut agent = world.agent("  ice: {transportPolicy: Relay}\n").await;
    let status = agent.wait_for_phase("Failed", DEADLINE).await.unwrap();
    assert_eq!(status["reason"], "AccessDenied");
    assert!(status["message"].as_str().unwrap().contains("GetIceServerConfig"), "{status}");
    assert!(agent.stop(Duration::from_secs(20)).await.unwrap().success());
}

/// Of either direction, 50 ms there and back.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_with_five_percent_of_packets_dropped() {
    let delay = Duration::from_millis(25);
    let impairment = Impairment { delay, ..Impairment::drop(0.05) };
    let settings = Settings { network: Network::new(impairment), seed: 7, ..Settings::default() };
    let (world, mut stored, sent) = run(settings, "", 8).await;
    assert!(sent.datagrams_dropped > 20, "the network was not bad: {}", sent.datagrams_dropped);
    // What was lost just before the agent was stopped, nobody sends again to an agent that has ended.
    let half_a_second = usize::try_from(FRAME_RATE / 2).unwrap();
    stored.frames.truncate(stored.frames.len().saturating_sub(half_a_second));
    nothing_lost(&stored, &sent);
    world.local.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_resolution_lose_nothing() {
    // Another size every second, each of which begins a PutMedia session.
    let sizes = vec![(640, 360), (320, 240), (480, 272)];
    let settings = Settings { sizes: sizes.clone(), clip_seconds: 1, ..Settings::default() };
    let (world, stored, sent) = run(settings, "", 9).await;
    nothing_lost(&stored, &sent);
    for (width, height) in sizes {
        assert!(stored.sizes.contains(&(width.into(), height.into())), "{:?}", stored.sizes);
    }
    assert!(stored.sizes.len() >= 6, "{:?}", stored.sizes);
    world.local.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn audio_alone_and_video_alone_are_stored() {
    let settings = Settings { answering: Answering::AudioOnly, ..Settings::default() };
    let (world, stored, _) = run(settings, "", 5).await;
    assert!(stored.video.is_none());
    let (first, last) = stored.audio.unwrap();
    assert!(last - first > 4.0, "{first} {last}");
    world.local.shutdown().await;

    let settings = Settings { answering: Answering::VideoOnly, ..Settings::default() };
    let (world, stored, sent) = run(settings, "", 5).await;
    assert!(stored.audio.is_none());
    nothing_lost(&stored, &sent);
    most_is_there(&stored, &sent);
    world.local.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_waits_for_a_master_and_for_its_return() {
    let world = World::new().await;
    let mut agent = world.agent("").await;
    // Not even the channel exists yet.
    agent
        .wait_for("the missing channel", DEADLINE, |status| {
            status["reason"].as_str().is_some_and(|reason| reason.contains("Channel"))
        })
        .await
        .unwrap();
    let master = world.master(Settings::default()).await;
    agent.wait_for_phase("Streaming", DEADLINE).await.unwrap();
    world.persisted(&mut agent, Duration::from_secs(2), DEADLINE).await;
    master.stop().await;
    agent.wait_for("the master gone", DEADLINE, |status| status["phase"] != "Streaming").await.unwrap();
    let before = stored::state(&world.access.endpoint, STREAM).await.unwrap()["durationMs"].as_u64().unwrap();
    let master = world.master(Settings::default()).await;
    agent.wait_for_phase("Streaming", DEADLINE).await.unwrap();
    world.persisted(&mut agent, Duration::from_millis(before + 3_000), DEADLINE).await;
    let stored = world.finish(agent).await;
    assert!(stored.frames[0].idr);
    master.stop().await;
    world.local.shutdown().await;
}

/// The service takes nothing any more and the agent is stopped: its successor finds the rest on disk.
#[tokio::test(flavor = "multi_thread")]
async fn what_one_agent_could_not_deliver_the_next_one_does() {
    let world = World::new().await;
    let master = world.master(Settings::default()).await;
    let spool = world.folder.path().join("spool");
    let (more, arguments) =
        ("  buffering: {spool: {sizeMiB: 64}}\n", ["--spool-dir", spool.to_str().unwrap()]);
    let mut agent = world.agent_with(more, &arguments).await;
    world.persisted(&mut agent, Duration::from_secs(3), DEADLINE).await;
    world.fault(json!({"action": "http_error", "status": 503, "times": 0})).await;
    world.fault(json!({"action": "reset"})).await;
    agent
        .wait_for("the outage", DEADLINE, |status| status["kvs"]["bufferedSeconds"].as_f64() > Some(5.0))
        .await
        .unwrap();
    let log = agent.log();
    // Fifteen seconds for the acknowledgement that does not come, and the disk.
    let status = agent.stop(Duration::from_secs(30)).await.unwrap();
    assert!(status.success(), "{status}\n{log}");

    world.fault(json!({"action": "clear"})).await;
    let before = stored::state(&world.access.endpoint, STREAM).await.unwrap()["durationMs"].as_u64().unwrap();
    let mut agent = world.agent_with(more, &arguments).await;
    world.persisted(&mut agent, Duration::from_millis(before + 8_000), DEADLINE).await;
    let stored = world.finish(agent).await;
    let sent = master.sent();
    let first = sent.iter().max_by_key(|sent| std::cmp::Reverse(sent.frames.first().unwrap().at)).unwrap();
    // Each viewer has frames from 0 on.
    let again = stored.frames.windows(2).position(|pair| pair[1].number < pair[0].number).unwrap() + 1;
    let of_the_first = Stored { frames: stored.frames[..again].to_vec(), ..stored };
    nothing_lost(&of_the_first, first);
    most_is_there(&of_the_first, first);
    master.stop().await;
    world.local.shutdown().await;
}

/// A device without a battery: its clock begins in 1970, and what it records is of today.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_boots_in_1970_records_under_todays_date() {
    let world = World::new().await;
    let master = world.master(Settings::default()).await;
    let library = Path::new("/usr/lib")
        .join(format!("{}-linux-gnu/faketime/libfaketimeMT.so.1", std::env::consts::ARCH));
    assert!(library.exists(), "install the Debian package faketime: there is no {}", library.display());
    let env = [
        ("LD_PRELOAD", library.to_str().unwrap()),
        ("FAKETIME", "@1970-01-02 00:00:00"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    let mut agent = world.agent_in("", &[], &env).await;
    world.persisted(&mut agent, Duration::from_secs(5), DEADLINE).await;
    let status = agent.status().await.unwrap();
    let stored = world.finish(agent).await;
    let sent = master.sent().pop().unwrap();
    nothing_lost(&stored, &sent);
    let first = sent.frames.iter().find(|frame| frame.number == stored.frames[0].number).unwrap();
    let at = first.at.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    // The Date header has whole seconds.
    assert!((stored.video.unwrap().0 - at).abs() < 2.0, "{:?} {at}", stored.video);
    let persisted = status["kvs"]["lastPersistedAt"].as_str().unwrap();
    assert!(persisted.starts_with("20"), "{persisted}");
    master.stop().await;
    world.local.shutdown().await;
}

/// `--kvssink=plugin` with the element of `plugin`, which finds its service as the one for C++ does.
/// Control plane, signaling and PutMedia are on a host that only the proxy knows, behind TLS. What the proxy says when it
/// refuses is what a person reads.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_through_a_proxy_that_alone_knows_the_way() {
    let _ = tracing_subscriber::fmt().with_env_filter("warn,turn=error").with_test_writer().try_init();
    let (local, folder) = local::start(|config| {
        config.tls_listen = Some("127.0.0.1:0".parse().unwrap());
        config.tls_names = vec![proxy::NAME.to_owned()];
    })
    .await
    .unwrap();
    let Some(proxy) = Proxy::start(folder.path()).await.unwrap() else {
        println!("left out: this machine does not let `unshare` mount a file");
        return;
    };
    let world = World { access: local::access(&local), local, folder };
    let secure = world.local.tls_url().unwrap();
    let endpoint = format!("https://{}:{}", proxy::NAME, secure.rsplit_once(':').unwrap().1);
    let bundle = world.folder.path().join("kvs/ca.pem");
    let manifest = manifest("");
    let settings =
        AgentSettings { endpoint: &endpoint, ..local::agent(&world.access, &world.folder, &manifest) };
    let through = |url: &str| {
        let env = [("HTTPS_PROXY", url.to_owned()), ("AWS_CA_BUNDLE", bundle.to_str().unwrap().to_owned())];
        let (folder, settings) = (world.folder.path(), &settings);
        async move {
            let env: Vec<_> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
            AgentProcess::start(&AgentSettings { env: &env, folder, ..*settings }).await.unwrap()
        }
    };

    let mut refused = through(&proxy.url(Some("camera:hunter2"))).await;
    // 401 or 407, as the proxy likes
    let (proxied, host) = (proxy.url(None), endpoint.strip_prefix("https://").unwrap());
    let answer = format!("the proxy {proxied} (HTTPS_PROXY) answered 40");
    let remedy = format!(" to CONNECT {host}: it does not take the user and password");
    refused
        .wait_for("a word about the proxy", DEADLINE, |status| {
            let message = status["message"].as_str().unwrap_or_default();
            message.contains(&answer) && message.contains(&remedy)
        })
        .await
        .unwrap();
    assert!(!refused.log().contains("hunter2"), "{}", refused.log());
    refused.stop(Duration::from_secs(20)).await.unwrap();

    let master = world.master(Settings::default()).await;
    let mut agent = through(&proxy.url(Some(proxy::USER))).await;
    world.persisted(&mut agent, Duration::from_secs(4), DEADLINE).await;
    let asked = master.sent().pop().unwrap().frames.len();
    let stored = world.finish(agent).await;
    let mut sent = master.sent().pop().unwrap();
    sent.frames.truncate(asked.max(stored.frames.last().map_or(0, |frame| frame.number as usize + 1)));
    nothing_lost(&stored, &sent);
    assert!(proxy.log().contains(&format!("CONNECT {}:", proxy::NAME)), "{}", proxy.log());
    master.stop().await;
}

async fn through(plugin: &Path, deadline: Duration) -> (World, Stored, Sent) {
    let world = World::new().await;
    let master = world.master(Settings::default()).await;
    // Alone in its folder: all that GStreamer scans there is tried.
    let folder = world.folder.path().join("plugins");
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink(std::fs::canonicalize(plugin).unwrap(), folder.join("libgstkvssink.so"))
        .unwrap();
    let registry = world.folder.path().join("registry.bin");
    let env = [
        ("GST_PLUGIN_PATH", folder.to_str().unwrap()),
        ("GST_REGISTRY", registry.to_str().unwrap()),
        ("CONTROL_PLANE_URI", world.access.endpoint.as_str()),
    ];
    let mut agent = world.agent_in("", &["--kvssink=plugin"], &env).await;
    world.persisted(&mut agent, Duration::from_secs(8), deadline).await;
    let stored = world.finish(agent).await;
    let sent = master.sent().pop().unwrap();
    master.stop().await;
    (world, stored, sent)
}

#[tokio::test(flavor = "multi_thread")]
async fn our_element_as_a_plugin_loses_nothing() {
    let (world, stored, sent) = through(&binary("libgstkvssink.so").unwrap(), DEADLINE).await;
    nothing_lost(&stored, &sent);
    most_is_there(&stored, &sent);
    tracks_cover_the_same_span(&stored);
    world.local.shutdown().await;
}

/// What it loses is its own affair: that the agent drives it, and that it stores what it stores in order, is ours.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "KVS_INGEST_CPP_KVSSINK names no libgstkvssink.so of the AWS producer SDK"]
async fn the_element_for_cpp_stores_what_it_is_given() {
    let plugin = std::env::var_os(CPP).unwrap_or_else(|| panic!("{CPP} is not set"));
    let (world, stored, sent) = through(Path::new(&plugin), 2 * DEADLINE).await;
    assert!(stored.frames.len() > 100, "{} frames", stored.frames.len());
    for frame in &stored.frames {
        let as_sent = sent.frames.iter().find(|sent| sent.number == frame.number);
        assert!(as_sent.is_some_and(|sent| sent.hash == frame.hash), "frame {} is not as sent", frame.number);
    }
    world.local.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let registry = folder.path().join("registry.bin");
    let settings = AgentSettings {
        manifest: &manifest(""),
        folder: folder.path(),
        endpoint: "http://127.0.0.1:9",
        access_key: "AKIDTEST",
        secret_key: "secret",
        arguments: &["--kvssink=plugin"],
        env: &[
            ("GST_PLUGIN_PATH", folder.path().to_str().unwrap()),
            ("GST_REGISTRY", registry.to_str().unwrap()),
        ],
    };
    let output = command(&settings).unwrap().0.output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(text.contains("`kvssink` is missing") && text.contains("libgstkvssink.so"), "{text}");
}

/// Media arrives and KVS refuses it: that is no health, and nothing is lost when a person has mended it.
#[tokio::test(flavor = "multi_thread")]
async fn what_kvs_refuses_is_told_and_stored_later() {
    let world = World::new().await;
    let master = world.master(Settings::default()).await;
    let mut agent = world.agent("").await;
    world.persisted(&mut agent, Duration::from_secs(2), DEADLINE).await;
    let told = |phase: &'static str, reason: &'static str, word: &'static str| {
        move |status: &Value| {
            status["phase"] == phase
                && status["reason"] == reason
                && status["message"].as_str().is_some_and(|message| message.contains(word))
        }
    };
    world.fault(json!({"action": "http_error", "status": 503, "times": 0})).await;
    world.fault(json!({"action": "reset"})).await;
    agent.wait_for("the outage", DEADLINE, told("Streaming", "StorageInterrupted", "503")).await.unwrap();
    let denied = json!({"action": "http_error", "status": 403, "type": "AccessDeniedException", "times": 0});
    world.fault(json!({"action": "clear"})).await;
    world.fault(denied).await;
    world.fault(json!({"action": "reset"})).await;
    agent.wait_for("the refusal", DEADLINE, told("Failed", "AccessDenied", "403")).await.unwrap();
    assert_eq!(agent.get("/readyz").await.unwrap().0, 503);
    world.fault(json!({"action": "clear"})).await;
    agent.wait_for("health", DEADLINE, told("Streaming", "Streaming", "media flows")).await.unwrap();
    assert_eq!(agent.get("/readyz").await.unwrap().0, 200);
    let stored = world.finish(agent).await;
    let sent = master.sent().pop().unwrap();
    nothing_lost(&stored, &sent);
    most_is_there(&stored, &sent);
    master.stop().await;
    world.local.shutdown().await;
}
