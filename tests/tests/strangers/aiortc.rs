//! aiortc, a WebRTC stack in Python: no trickle, no key frame when one is asked for.

use tokio::process::Command;

use crate::world::{Media, python, record, record_with_messages};

fn program() -> Command {
    python("aiortc_master.py")
}

/// Data channels, too: it leaves it to who controls ICE to begin SCTP.
#[tokio::test(flavor = "multi_thread")]
async fn both() {
    record_with_messages(program(), &[]).await;
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
