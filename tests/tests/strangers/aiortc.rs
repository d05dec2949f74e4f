//! aiortc, a WebRTC stack in Python: no trickle, no key frame when one is asked for.

use std::path::Path;

use tokio::process::Command;

use crate::world::{Media, record};

/// Names the Python whose packages are those of `tests/masters/aiortc/requirements.txt`.
const PYTHON: &str = "KVS_INGEST_AIORTC";

fn program() -> Command {
    let python =
        std::env::var_os(PYTHON).unwrap_or_else(|| panic!("{PYTHON}: run `cargo xtask test strangers`"));
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("masters/aiortc/master.py"));
    command
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
