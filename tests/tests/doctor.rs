//! `kvs-ingest-agent doctor`: what it says and how it ends, for a recording that would work and for what is usually wrong.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::Path;

use kvs_aws::AwsContext;
use kvs_ingest_tests::agent::{AgentSettings, doctor};
use kvs_ingest_tests::coturn::{Coturn, IceConfig};
use kvs_ingest_tests::http::post_json;
use kvs_ingest_tests::local::{self, MANIFEST};
use kvs_ingest_tests::master::channel::Access;
use kvs_ingest_tests::master::{Master, Settings};
use kvs_local::{AccessKey, Server};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::UdpSocket;

const CHANNEL: &str = "door";
const STREAM: &str = "door-stream";
const STREAM_IS_THERE: &str = "apiVersion: kvs-ingest.dev/v1alpha1
kind: KvsIngest
metadata: {name: door}
spec:
  region: eu-central-1
  channel: {name: door}
  stream: {name: door-stream}
";
/// Looked for in all that is said.
const SECRET_KEY: &str = "n0b0dy-prints-this";
const RELAY: &str = "  ice: {transportPolicy: Relay}\n";

struct World {
    local: Server,
    folder: TempDir,
    access: Access,
}

/// What one run said.
struct Said {
    code: i32,
    document: Value,
}

impl World {
    async fn new() -> Self {
        let _ = tracing_subscriber::fmt().with_env_filter("warn,turn=error").with_test_writer().try_init();
        let key = AccessKey::new(local::ACCESS_KEY, SECRET_KEY);
        let (local, folder) = local::start(|config| config.access_keys = vec![key]).await.unwrap();
        let access = Access { secret_key: SECRET_KEY.to_owned(), ..local::access(&local) };
        Self { local, folder, access }
    }

    async fn master(&self) -> Master {
        Master::start(&self.access, CHANNEL, Settings::default()).await.unwrap()
    }

    fn settings<'a>(&'a self, manifest: &'a str) -> AgentSettings<'a> {
        local::agent(&self.access, &self.folder, manifest)
    }

    async fn json(&self, settings: AgentSettings<'_>) -> Said {
        let arguments = [settings.arguments, &["--format=json"]].concat();
        let (code, text) = doctor(&AgentSettings { arguments: &arguments, ..settings }).await.unwrap();
        assert!(!text.contains(SECRET_KEY) && !text.contains("p-ss"), "a secret in {text}");
        let document: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(document["exitCode"], code, "{document}");
        assert_eq!(document["records"], code < 2, "{document}");
        Said { code, document }
    }

    async fn make_stream(&self) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let aws = AwsContext::builder()
            .region(local::REGION)
            .static_credentials(&self.access.access_key, &self.access.secret_key, None)
            .endpoint_url(&self.access.endpoint);
        let control = kvs::ControlPlane::new(&aws.build().await.unwrap());
        let new = kvs::NewStream { retention_hours: 1, ..kvs::NewStream::default() };
        let stream = kvs::StreamId::Name(STREAM.parse().unwrap());
        control.find_or_create_stream(&stream, Some(&new)).await.unwrap();
    }

    /// Of a channel or stream: 403, until it is cleared.
    async fn deny(&self, mut whose: Value, call: &str) {
        whose["action"] = "http_error".into();
        whose["call"] = call.into();
        whose["status"] = 403.into();
        whose["times"] = 0.into();
        whose["message"] = format!("not authorized to perform: kinesisvideo:{call}").into();
        self.faults(whose).await;
    }

    async fn faults(&self, order: Value) {
        let url = format!("{}/_kvs/faults", self.access.endpoint);
        let (status, answer) = post_json(&url, &order).await.unwrap();
        assert_eq!(status, 200, "{answer}");
    }
}

impl Said {
    fn check(&self, name: &str) -> &Value {
        let checks = self.document["checks"].as_array().unwrap();
        let found = checks.iter().find(|check| check["check"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {}", self.document))
    }

    /// It ended so, because of this check, with these words and a remedy.
    fn is(&self, code: i32, name: &str, result: &str, words: &str) {
        let check = self.check(name);
        assert_eq!((self.code, check["result"].as_str()), (code, Some(result)), "{}", self.document);
        assert!(check["found"].as_str().unwrap().contains(words), "{check}");
    }

    fn all(&self, names: &[&str]) {
        for name in names {
            assert_eq!(self.check(name)["result"], "ok", "{}", self.document);
        }
    }
}

const CALLS: [&str; 6] = [
    "configuration",
    "control plane",
    "credentials",
    "clock",
    "DescribeSignalingChannel",
    "GetSignalingChannelEndpoint",
];
const MEDIA: [&str; 8] = [
    "ConnectAsViewer",
    "GetIceServerConfig",
    "relays",
    "Answer",
    "Ice",
    "Dtls",
    "FirstPacket",
    "FirstKeyFrame",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_that_would_work_and_what_keeps_it_from_it() {
    let world = World::new().await;
    let master = world.master().await;

    // The stream is one that the agent would make.
    let said = world.json(world.settings(MANIFEST)).await;
    assert_eq!(said.code, 0, "{}", said.document);
    said.all(&CALLS);
    said.all(&MEDIA);
    assert!(said.check("FirstKeyFrame")["found"].as_str().unwrap().contains('x'), "{}", said.document);
    said.is(0, "DescribeStream", "ok", "the agent creates it");
    let state = kvs_ingest_tests::stored::state(&world.access.endpoint, STREAM).await;
    assert!(state.is_err(), "a stream was made: {state:?}");

    let said = world.json(world.settings(STREAM_IS_THERE)).await;
    said.is(13, "DescribeStream", "failed", "ResourceNotFoundException");
    said.all(&["FirstKeyFrame"]);
    world.make_stream().await;
    let said = world.json(world.settings(STREAM_IS_THERE)).await;
    assert_eq!(said.code, 0, "{}", said.document);
    said.all(&["DescribeStream", "GetDataEndpoint", "data endpoint"]);
    let state = kvs_ingest_tests::stored::state(&world.access.endpoint, STREAM).await.unwrap();
    assert_eq!(state["fragments"].as_u64().unwrap_or(0), 0, "something was stored: {state}");

    let settings = world.settings(STREAM_IS_THERE);
    let said = world.json(AgentSettings { secret_key: "another", ..settings }).await;
    said.is(11, "DescribeSignalingChannel", "failed", "signature");
    assert!(said.check("DescribeSignalingChannel")["remedy"].as_str().unwrap().contains("key and secret"));

    world.deny(json!({"stream": STREAM}), "GetDataEndpoint").await;
    world.deny(json!({"channel": CHANNEL}), "GetIceServerConfig").await;
    let said = world.json(world.settings(STREAM_IS_THERE)).await;
    said.is(11, "GetDataEndpoint", "failed", "not authorized");
    // Host candidates do without.
    said.is(11, "GetIceServerConfig", "warning", "not authorized");
    said.all(&["Answer", "Ice", "Dtls", "FirstKeyFrame"]);
    world.faults(json!({"stream": STREAM, "action": "clear"})).await;
    world.faults(json!({"channel": CHANNEL, "action": "clear"})).await;

    let library = Path::new("/usr/lib")
        .join(format!("{}-linux-gnu/faketime/libfaketimeMT.so.1", std::env::consts::ARCH));
    assert!(library.exists(), "install the Debian package faketime: there is no {}", library.display());
    let env = [
        ("LD_PRELOAD", library.to_str().unwrap()),
        ("FAKETIME", "-1h"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    let said = world.json(AgentSettings { env: &env, ..world.settings(STREAM_IS_THERE) }).await;
    said.is(1, "clock", "warning", "behind AWS's");
    said.all(&MEDIA);

    // Every viewer is gone, and heard of by the master; none was the agent.
    master.stop().await;
    world.local.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_channel_and_without_a_master() {
    let world = World::new().await;
    let said = world.json(world.settings(MANIFEST)).await;
    said.is(12, "DescribeSignalingChannel", "failed", "ResourceNotFoundException");
    said.is(12, "ConnectAsViewer", "skipped", "no channel");

    let wrong = MANIFEST.replace("retentionHours: 1", "retentionHours: -1");
    let said = world.json(world.settings(&wrong)).await;
    said.is(2, "configuration", "failed", "retentionHours");

    let nobody = "http://127.0.0.1:9";
    let said = world.json(AgentSettings { endpoint: nobody, ..world.settings(MANIFEST) }).await;
    said.is(10, "control plane", "failed", "127.0.0.1:9");

    world.local.ensure_channel(CHANNEL).unwrap();
    let arguments = ["--timeout=3"];
    let settings = AgentSettings { arguments: &arguments, ..world.settings(MANIFEST) };
    let (code, text) = doctor(&settings).await.unwrap();
    assert_eq!(code, 14, "{text}");
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("ok       configuration"), "{text}");
    let answer = lines.iter().find(|line| line.starts_with("FAILED   Answer")).unwrap();
    assert!(
        answer.contains("no master answered within 3 s") && answer.contains("To do: start the master"),
        "{text}"
    );
    assert!(!text.contains(SECRET_KEY), "{text}");
    assert_eq!(*lines.last().unwrap(), "this would not be recorded");
    world.local.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_udp_is_blocked() {
    let world = World::new().await;
    let master = world.master().await;
    // On it nothing is answered.
    let silence = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let udp = format!("turn:{}?transport=udp", silence.local_addr().unwrap());
    let relay = format!("{MANIFEST}{RELAY}");
    let servers = IceConfig::start(std::slice::from_ref(&udp)).await.unwrap();
    let env = [("AWS_ENDPOINT_URL_KINESIS_VIDEO_SIGNALING", servers.url.as_str())];
    let arguments = ["--timeout=3"];
    let settings = AgentSettings { env: &env, arguments: &arguments, ..world.settings(&relay) };
    let said = world.json(settings).await;
    said.is(15, "relays", "failed", "(udp) silent");
    assert!(said.check("Ice")["result"] == "failed", "{}", said.document);

    let Some(coturn) = Coturn::start(world.folder.path()).await.unwrap() else {
        assert!(std::env::var_os("KVS_INGEST_REQUIRE").is_none(), "coturn is missing: cargo xtask packages");
        return;
    };
    let tls = format!("turns:localhost:{}?transport=tcp", coturn.tls.port());
    let servers = IceConfig::start(&[udp, tls]).await.unwrap();
    let env = [
        ("AWS_ENDPOINT_URL_KINESIS_VIDEO_SIGNALING", servers.url.as_str()),
        ("AWS_CA_BUNDLE", coturn.ca.to_str().unwrap()),
    ];
    let said = world.json(AgentSettings { env: &env, ..world.settings(&relay) }).await;
    said.is(1, "relays", "warning", "(tls) works");
    assert!(said.check("relays")["found"].as_str().unwrap().contains("(udp) silent"), "{}", said.document);
    assert!(said.check("Ice")["found"].as_str().unwrap().contains("(tls)"), "{}", said.document);
    said.all(&["Answer", "Ice", "Dtls", "FirstPacket", "FirstKeyFrame"]);
    master.stop().await;
    world.local.shutdown().await;
}
