//! Every codec: what the encoder made is what is stored, byte for byte and millisecond for millisecond.

use kvs_ingest_tests::packets::{Packet, Packets, packets};
use kvs_ingest_tests::stored;

use super::{launch, local};

/// Runs a pipeline in which everything that goes to `k` also goes to a Matroska file.
/// Returns what was sent, what was stored, and the stream's state.
async fn both_ways(tracks: &[(&str, &str)], properties: &str) -> (Packets, Packets, serde_json::Value) {
    let (server, folder) = local().await;
    let file = folder.path().join("sent.mkv");
    let mut pipeline = format!(
        "kvssink name=k stream-name=codec {properties} matroskamux name=m ! filesink location={}",
        file.display()
    );
    for (number, (pad, track)) in tracks.iter().enumerate() {
        pipeline
            .push_str(&format!(" {track} ! tee name=t{number} ! queue ! k.{pad} t{number}. ! queue ! m."));
    }
    let output = launch(&server, "secret", &pipeline).await;
    assert!(output.status.success(), "{pipeline}\n{}", String::from_utf8_lossy(&output.stderr));
    let state = stored::state(&server.url(), "codec").await.unwrap();
    let stored = stored::read(&server.url(), "codec", folder.path()).await.unwrap();
    assert_eq!(stored.files.len(), 1, "one session is enough");
    let all = (packets(&[file]).await.unwrap(), packets(&stored.files).await.unwrap(), state);
    server.shutdown().await;
    all
}

async fn stored_as_sent(tracks: &[(&str, &str)], codecs: &[&str]) -> (Packets, serde_json::Value) {
    let (sent, stored, state) = both_ways(tracks, "").await;
    assert!(sent.video.len() + sent.audio.len() > 80, "{} {}", sent.video.len(), sent.audio.len());
    sent.same_as(&stored).unwrap();
    assert_eq!(state["codecs"], serde_json::json!(codecs), "{state}");
    (stored, state)
}

const PICTURES: &str =
    "videotestsrc num-buffers=150 is-live=true ! video/x-raw,width=320,height=240,framerate=30/1";
const SOUND: &str =
    "audiotestsrc num-buffers=250 is-live=true samplesperbuffer=1024 ! audio/x-raw,rate=44100";
const TELEPHONE: &str =
    "audiotestsrc num-buffers=250 is-live=true samplesperbuffer=160 ! audio/x-raw,rate=8000";

#[tokio::test]
async fn h264_with_b_frames() {
    let track = format!(
        "{PICTURES} ! x264enc bframes=2 b-adapt=false key-int-max=45 speed-preset=ultrafast ! h264parse"
    );
    stored_as_sent(&[("video_0", &track)], &["H.264"]).await;
}

/// x265's default is an open GOP: key frames with leading pictures.
#[tokio::test]
async fn h265_with_open_gops_and_aac() {
    let video = format!(
        "{PICTURES} ! x265enc key-int-max=45 speed-preset=ultrafast \
         option-string=bframes=3:open-gop=1:b-adapt=2:bframe-bias=90 ! h265parse"
    );
    let audio = format!("{SOUND} ! voaacenc ! aacparse");
    let tracks = [("video_0", video.as_str()), ("audio_0", audio.as_str())];
    let (stored, state) = stored_as_sent(&tracks, &["H.265", "AAC"]).await;
    assert!(state["fragments"].as_u64().unwrap() >= 3, "{state}");
    let leading = |pair: &[Packet]| pair[0].key && pair[1].pts_ms < pair[0].pts_ms;
    assert!(stored.video.windows(2).any(leading), "the encoder made no leading pictures");
}

/// As a camera's RTSP comes: the C++ element drops its buffers for their flags.
#[tokio::test]
async fn both_through_rtp() {
    let video = format!(
        "{PICTURES} ! x264enc tune=zerolatency key-int-max=60 ! rtph264pay ! rtpjitterbuffer latency=50 \
         ! rtph264depay ! h264parse"
    );
    let audio =
        format!("{TELEPHONE},channels=1 ! alawenc ! rtppcmapay ! rtpjitterbuffer latency=50 ! rtppcmadepay");
    stored_as_sent(&[("video_0", &video), ("audio_0", &audio)], &["H.264", "G.711"]).await;
}

#[tokio::test]
async fn aac_alone() {
    let (_, state) =
        stored_as_sent(&[("audio_0", &format!("{SOUND},channels=2 ! voaacenc ! aacparse"))], &["AAC"]).await;
    assert_eq!(state["fragments"], 3, "5.8 s in fragments of two: {state}");
}

#[tokio::test]
async fn a_law_alone() {
    stored_as_sent(&[("audio_0", &format!("{TELEPHONE},channels=1 ! alawenc"))], &["G.711"]).await;
}

#[tokio::test]
async fn mu_law_beside_h264() {
    let video = format!("{PICTURES} ! x264enc tune=zerolatency key-int-max=60 ! h264parse");
    let audio = format!("{TELEPHONE},channels=2 ! mulawenc");
    stored_as_sent(&[("video_0", &video), ("audio_0", &audio)], &["H.264", "G.711"]).await;
}

#[tokio::test]
async fn fragments_are_cut_by_duration_where_the_user_says_so() {
    let video = format!("{PICTURES} ! x264enc tune=zerolatency key-int-max=30 ! h264parse");
    let properties = "key-frame-fragmentation=false fragment-duration=3000";
    let (sent, stored, state) = both_ways(&[("video_0", &video)], properties).await;
    sent.same_as(&stored).unwrap();
    assert_eq!(state["fragments"], 2, "{state}");
}

#[tokio::test]
async fn byte_stream_of_h264_is_refused_and_the_error_says_what_helps() {
    let (server, _folder) = local().await;
    // gdpdepay learns its caps from what it reads, and pushes them whoever follows.
    let pipeline =
        format!("kvssink name=k stream-name=refused {PICTURES} ! x264enc ! gdppay ! gdpdepay ! k.video_0");
    let output = launch(&server, "secret", &pipeline).await;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(text.contains("byte-stream") && text.contains("put `h264parse !"), "{text}");
    server.shutdown().await;
}

/// Without a word from the decoder.
async fn decodes(file: &std::path::Path) {
    let mut ffmpeg = tokio::process::Command::new("ffmpeg");
    let output = ffmpeg.args(["-nostdin", "-v", "error", "-i"]).arg(file).args(["-f", "null", "-"]).output();
    let output = output.await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

/// x265enc makes nothing else, and links to the C++ element as it is.
#[tokio::test]
async fn byte_stream_of_h265_is_stored_as_behind_a_parser() {
    let (server, folder) = local().await;
    let pipeline = format!(
        "kvssink name=k stream-name=plain {PICTURES} ! x265enc key-int-max=45 speed-preset=ultrafast \
         ! tee name=t ! queue ! k.video_0 \
         t. ! queue ! h265parse ! video/x-h265,stream-format=hvc1 ! kvssink stream-name=parsed"
    );
    let output = launch(&server, "secret", &pipeline).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut both = Vec::new();
    for stream in ["plain", "parsed"] {
        let state = stored::state(&server.url(), stream).await.unwrap();
        assert_eq!(
            (&state["frames"], &state["codecs"]),
            (&150.into(), &serde_json::json!(["H.265"])),
            "{state}"
        );
        let stored = stored::read(&server.url(), stream, folder.path()).await.unwrap();
        assert_eq!((stored.files.len(), stored.sizes.as_slice()), (1, &[(320, 240)][..]));
        decodes(&stored.files[0]).await;
        both.push(packets(&stored.files).await.unwrap());
    }
    both[0].same_as(&both[1]).unwrap();
    server.shutdown().await;
}
