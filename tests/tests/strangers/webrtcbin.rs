//! GStreamer's webrtcbin, a WebRTC stack in C on libnice: unless it is told otherwise each track has a transport of its own.

use tokio::process::Command;

use crate::world::{Media, python, record};

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
