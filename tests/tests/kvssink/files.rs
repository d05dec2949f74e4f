//! Files, uploaded whole and as fast as they are taken.

use std::path::Path;
use std::process::Stdio;

use kvs_ingest_tests::packets::packets;
use kvs_ingest_tests::stored;
use tokio::process::Command;

use super::{launch, local};

/// Where the files say that they begin.
const START: i64 = 1_600_000_000;

/// A minute of picture, with B-frames, and sound.
async fn clip(file: &Path, codecs: &str) {
    let options = [
        "-v error -f lavfi -i testsrc=size=160x120:rate=25:duration=60 -f lavfi -i sine=duration=60",
        "-pix_fmt yuv420p -preset ultrafast -g 50 -bf 2",
        codecs,
    ]
    .join(" ");
    let status = Command::new("ffmpeg")
        .args(options.split(' '))
        .arg(file)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(status.await.unwrap().success(), "ffmpeg cannot make {}", file.display());
}

/// Uploads a clip; it is stored as it is in the file.
async fn uploads_completely(name: &str, codecs: &str, demux: &str) {
    let (server, folder) = local().await;
    let file = folder.path().join(name);
    clip(&file, codecs).await;
    // Less than the minute fits into the buffer: the pipeline must wait for acknowledgements, and lose nothing.
    let pipeline = format!(
        "filesrc location={} ! {demux} kvssink name=k stream-name=file streaming-type=offline \
         file-start-time={START} buffer-duration=20",
        file.display()
    );
    let output = launch(&server, "secret", &pipeline).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let stored = stored::read(&server.url(), "file", folder.path()).await.unwrap();
    let (mut sent, stored) = (packets(&[file]).await.unwrap(), packets(&stored.files).await.unwrap());
    assert_eq!(sent.video.len(), 1500);
    if demux.starts_with("qtdemux") {
        // Which keeps the last frame of AAC to itself: the edit list ends within it.
        sent.audio.pop();
    }
    assert_eq!(stored.video[0].pts_ms, START * 1000);
    sent.same_as(&stored).unwrap();
    server.shutdown().await;
}

#[tokio::test]
async fn an_mp4_file_uploads_completely() {
    let demux =
        "qtdemux name=d d.video_0 ! queue ! h264parse ! k.video_0 d.audio_0 ! queue ! aacparse ! k.audio_0";
    uploads_completely("clip.mp4", "-c:v libx264 -c:a aac", demux).await;
}

/// Matroska has no decoding times. The audio needs no parser.
#[tokio::test]
async fn a_matroska_file_of_h265_with_open_gops_uploads_completely() {
    let demux =
        "matroskademux name=d d.video_0 ! queue ! h265parse ! k.video_0 d.audio_0 ! queue ! k.audio_0";
    let codecs = "-c:v libx265 -x265-params open-gop=1:b-adapt=2:bframe-bias=90 -ar 8000 -c:a pcm_alaw";
    uploads_completely("clip.mkv", codecs, demux).await;
}

/// A byte stream has no presentation times at all.
#[tokio::test]
async fn a_raw_h264_file_uploads_completely() {
    let (server, folder) = local().await;
    let mp4 = folder.path().join("clip.mp4");
    clip(&mp4, "-c:v libx264 -bf 0").await;
    let raw = folder.path().join("clip.h264");
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(&mp4)
        .args(["-an", "-c", "copy"])
        .arg(&raw)
        .stdin(Stdio::null())
        .status();
    assert!(status.await.unwrap().success());
    let pipeline = format!(
        "filesrc location={} ! h264parse ! kvssink stream-name=raw streaming-type=offline file-start-time={START}",
        raw.display()
    );
    let output = launch(&server, "secret", &pipeline).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let stored = stored::read(&server.url(), "raw", folder.path()).await.unwrap();
    let stored = packets(&stored.files).await.unwrap();
    let last = stored.video.last().unwrap().pts_ms - START * 1000;
    assert_eq!((stored.video.len(), last), (1500, 59_960));
    server.shutdown().await;
}
