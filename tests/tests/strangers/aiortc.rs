//! aiortc, a WebRTC stack in Python: no trickle, no key frame when one is asked for.

use tokio::process::Command;

use crate::world::{Media, python, record};

fn program() -> Command {
    python("aiortc_master.py")
}

#[tokio::test(flavor = "multi_thread")]
async fn both() {
    record(program(), Media::Both, &[], "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn video_only() {
    record(program(), Media::Video, &[], "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn audio_only() {
    record(program(), Media::Audio, &[], "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn through_turn_on_the_agents_side() {
    record(program(), Media::Both, &[], "  ice: {transportPolicy: Relay}\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn through_turn_on_its_own_side() {
    record(program(), Media::Both, &["--relay"], "").await;
}
