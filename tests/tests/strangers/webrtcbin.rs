//! GStreamer's webrtcbin, a WebRTC stack in C on libnice: unless it is told otherwise each track has a transport of its own.

use tokio::process::Command;

use kvs_ingest_tests::stranger::Files;

use crate::world::{Media, World, python, record, record_in};

fn program() -> Command {
    python("webrtcbin_master.py")
}

#[tokio::test(flavor = "multi_thread")]
async fn both_unbundled() {
    record(program(), Media::Both, &[], "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_bundled() {
    record(program(), Media::Both, &["--max-bundle"], "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn video_only() {
    record(program(), Media::Video, &[], "").await;
}

/// What a camera sends that knows neither H.264 nor Opus, or is told to send something else.
async fn h265_and_g711(law: &str, codec: &str) {
    let world = World::with(async |folder| Files::make_h265_and_g711(folder, law).await).await;
    let spec = format!("  media: {{video: {{codecs: [H264, H265]}}, audio: {{codecs: [Opus, {codec}]}}}}");
    let outcome = record_in(world, program(), Media::Both, &["--max-bundle"], &spec).await;
    assert_eq!(outcome.stored.sizes, [(320, 240)], "one part: {}", outcome.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn h265_and_g711_with_the_mu_law() {
    h265_and_g711("mulaw", "PCMU").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h265_and_g711_with_the_a_law() {
    h265_and_g711("alaw", "PCMA").await;
}
