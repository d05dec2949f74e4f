//! The element as a plugin of plain GStreamer: `gst-inspect-1.0` finds it, `gst-launch-1.0` stores every frame with it.
#![allow(clippy::unwrap_used, reason = "a test")]

mod codecs;
mod credentials;
mod files;
mod live;
mod rtsp;

use std::process::Stdio;
use std::time::Duration;

use kvs_ingest_tests::agent::binary;
use kvs_ingest_tests::stored;
use kvs_local::{AccessKey, Config, Server};
use tokio::process::Command;
use tokio::time::timeout;

/// What the element of the AWS producer SDK for C++ has.
const PROPERTIES: [&str; 39] = [
    "absolute-fragment-times",
    "access-key",
    "allow-create-stream",
    "avg-bandwidth-bps",
    "aws-region",
    "buffer-duration",
    "codec-id",
    "completion-timeout",
    "connection-staleness",
    "connection-timeout",
    "content-type",
    "credential-path",
    "disable-buffer-clipping",
    "file-start-time",
    "fragment-acks",
    "fragment-duration",
    "frame-timecodes",
    "framerate",
    "get-kvs-metrics",
    "iot-certificate",
    "key-frame-fragmentation",
    "log-config",
    "max-latency",
    "recalculate-metrics",
    "replay-duration",
    "restart-on-error",
    "retention-period",
    "rotation-period",
    "secret-key",
    "session-token",
    "stop-stream-timeout",
    "storage-size",
    "stream-name",
    "stream-tags",
    "streaming-type",
    "timecode-scale",
    "track-name",
    "use-original-pts",
    "user-agent",
];

fn gst(tool: &str) -> Command {
    let library = binary("libgstkvssink.so").unwrap();
    let mut command = Command::new(tool);
    command.env("GST_PLUGIN_PATH", library.parent().unwrap()).stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn local() -> (Server, tempfile::TempDir) {
    local_with(|_| {}).await
}

async fn local_with(change: impl FnOnce(&mut Config)) -> (Server, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::new(folder.path().join("kvs"));
    config.access_keys = vec![AccessKey::new("AKIDTEST", "secret")];
    config.region = "us-west-2".to_owned();
    change(&mut config);
    (Server::start(config).await.unwrap(), folder)
}

async fn launch(server: &Server, secret: &str, pipeline: &str) -> std::process::Output {
    let url = server.url();
    let environment = [
        ("CONTROL_PLANE_URI", url.as_str()),
        ("AWS_DEFAULT_REGION", "us-west-2"),
        ("AWS_ACCESS_KEY_ID", "AKIDTEST"),
        ("AWS_SECRET_ACCESS_KEY", secret),
    ];
    launch_in(&environment, pipeline).await
}

/// Runs a pipeline that sees nothing of this machine's own AWS configuration.
async fn launch_in(environment: &[(&str, &str)], pipeline: &str) -> std::process::Output {
    let output = command(environment, pipeline).output();
    timeout(Duration::from_secs(60), output).await.expect("the pipeline ends in time").unwrap()
}

fn command(environment: &[(&str, &str)], pipeline: &str) -> Command {
    let mut command = gst("gst-launch-1.0");
    command
        .arg("-e")
        .args(pipeline.split_whitespace())
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY")
        .env_remove("AWS_SESSION_TOKEN")
        .env("AWS_CONFIG_FILE", "/nonexistent")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(environment.iter().copied());
    command
}

const VIDEO: &str = "videotestsrc num-buffers=150 is-live=true ! video/x-raw,width=320,height=240,framerate=30/1 \
    ! x264enc tune=zerolatency key-int-max=60 ! h264parse ! video/x-h264,stream-format=avc,alignment=au";

#[tokio::test]
async fn plain_gstreamer_finds_it_with_all_properties() {
    let output = gst("gst-inspect-1.0").arg("kvssink").output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for name in PROPERTIES {
        assert!(
            text.lines()
                .any(|line| line.split_whitespace().next().map(|word| word.trim_end_matches(':'))
                    == Some(name)),
            "no property {name}\n{text}"
        );
    }
    for words in ["primary + 10 (266)", "Sink/Video/Network", "'video_%u'", "'audio_%u'", "\"stream-error\""]
    {
        assert!(text.contains(words), "no {words}");
    }
}

#[tokio::test]
async fn gst_launch_stores_every_frame() {
    let (server, folder) = local().await;
    let pipeline = format!(
        "{VIDEO} ! k.video_0 audiotestsrc num-buffers=250 is-live=true ! audioconvert ! voaacenc ! aacparse \
         ! audio/mpeg,mpegversion=4,stream-format=raw ! k.audio_0 kvssink name=k stream-name=launched"
    );
    let output = launch(&server, "secret", &pipeline).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let state = stored::state(&server.url(), "launched").await.unwrap();
    assert_eq!(state["frames"], 150, "{state}");
    assert!(state["audioFrames"].as_u64().unwrap() >= 248, "{state}");
    assert_eq!(state["duplicates"], 0, "{state}");
    let stored = stored::read(&server.url(), "launched", folder.path()).await.unwrap();
    assert_eq!((stored.files.len(), stored.sizes.as_slice()), (1, &[(320, 240)][..]));
    server.shutdown().await;
}

/// Acknowledgements name a fragment in the units of `timecode-scale`; what is not acknowledged is sent again, and the
/// pipeline waits for it at its end.
#[tokio::test]
async fn any_timecode_scale_is_acknowledged() {
    let (server, _folder) = local().await;
    let begun = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let video = VIDEO.replace("num-buffers=150", "num-buffers=90");
    let of = |scale: u32, absolute: bool| {
        let (server, video) = (&server, &video);
        async move {
            let stream = format!("scale-{scale}-{absolute}");
            let pipeline = format!(
                "{video} ! kvssink stream-name={stream} timecode-scale={scale} absolute-fragment-times={absolute} \
                 stop-stream-timeout=20"
            );
            let output = launch(server, "secret", &pipeline).await;
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let state = stored::state(&server.url(), &stream).await.unwrap();
            assert_eq!(
                (&state["frames"], &state["duplicates"]),
                (&90.into(), &0.into()),
                "{stream}: {state}"
            );
            assert_eq!(state["putMedia"]["sessions"], 1, "{stream}: {state}");
            let last = &state["lastFragment"];
            let age = last["producerMs"].as_f64().unwrap() - begun.as_secs_f64() * 1e3;
            assert!(
                (0.0..60_000.0).contains(&age),
                "{stream}: the last fragment is {age} ms behind the start"
            );
            let ms = state["durationMs"].as_f64().unwrap();
            assert!((ms - 3_000.0).abs() < 100.0 + 4.0 * f64::from(scale), "{stream}: {ms} ms");
        }
    };
    tokio::join!(of(1, false), of(2, true), of(10, true), of(10, false));
    server.shutdown().await;
}

#[tokio::test]
async fn a_missing_stream_that_may_not_be_created_is_an_error_that_says_so() {
    let (server, _folder) = local().await;
    let pipeline = format!("{VIDEO} ! kvssink stream-name=missing allow-create-stream=false");
    let output = launch(&server, "secret", &pipeline).await;
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(text.contains("stream missing does not exist") && text.contains("allow-create-stream"), "{text}");
    server.shutdown().await;
}
