//! An RTSP camera, by the pipeline of docs/kvssink.md: no decoding times, parameter sets in band, two clocks.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kvs_ingest_tests::packets::packets;
use kvs_ingest_tests::stored::{self, pictures};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use super::{launch, local};

const SECONDS: usize = 8;

async fn clip(file: &Path) {
    let options = format!(
        "-v error -f lavfi -i testsrc=size=320x240:rate=25:duration={SECONDS} -f lavfi -i sine=duration={SECONDS} \
         -pix_fmt yuv420p -c:v libx264 -preset ultrafast -g 50 -bf 0 -ar 8000 -c:a pcm_alaw -f mov"
    );
    let status =
        Command::new("ffmpeg").args(options.split_whitespace()).arg(file).stdin(Stdio::null()).status();
    assert!(status.await.unwrap().success(), "ffmpeg cannot make {}", file.display());
}

#[tokio::test]
async fn an_rtsp_camera_is_stored_frame_by_frame() {
    let (server, folder) = local().await;
    let file = folder.path().join("camera.mov");
    clip(&file).await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("rtsp/serve.py");
    // The one with Debian's bindings, whatever else is on the PATH.
    let mut camera = Command::new("/usr/bin/python3")
        .arg(script)
        .arg(&file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(camera.stdout.take().unwrap()).lines();
    let address =
        timeout(Duration::from_secs(30), lines.next_line()).await.expect("it starts in time").unwrap();
    let address = address.expect("it says where it is");
    let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let pipeline = format!(
        "rtspsrc location={address} latency=200 protocols=tcp name=r \
         r. ! application/x-rtp,media=video ! rtph264depay ! h264parse ! k.video_0 \
         r. ! application/x-rtp,media=audio ! rtppcmadepay ! k.audio_0 \
         kvssink name=k stream-name=rtsp"
    );
    let output = launch(&server, "secret", &pipeline).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found = stored::read(&server.url(), "rtsp", folder.path()).await.unwrap();
    let mut kept = Vec::new();
    for part in &found.files {
        kept.extend(pictures(part).await.unwrap());
    }
    let played = pictures(&file).await.unwrap();
    assert_eq!((played.len(), kept.len()), (SECONDS * 25, SECONDS * 25));
    assert_eq!(kept, played);
    let audio = packets(&found.files).await.unwrap().audio;
    assert!(!audio.is_empty());
    let (video, sound) = (found.video.unwrap(), found.audio.unwrap());
    assert!((video.0 - began).abs() < 5.0, "{video:?} {began}");
    assert!((video.0 - sound.0).abs() < 0.3 && (video.1 - sound.1).abs() < 0.5, "{video:?} {sound:?}");
    assert!((video.1 - video.0 - (SECONDS as f64 - 0.04)).abs() < 0.1, "{video:?}");
    let state = stored::state(&server.url(), "rtsp").await.unwrap();
    assert_eq!(state["duplicates"], 0);
    camera.kill().await.unwrap();
    server.shutdown().await;
}
