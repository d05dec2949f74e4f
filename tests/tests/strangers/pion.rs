//! Pion, a WebRTC stack in Go: it trickles, and starts again with a key frame when one is asked for.

use serde_json::Value;
use tokio::process::Command;

use crate::world::{Media, SOON, World, record, record_with_messages};

/// Names the program built from `tests/masters/pion`.
const PROGRAM: &str = "KVS_INGEST_PION";
/// Frames of each of its connections that are closed.
const FRAMES: &str = "120";

fn program() -> Command {
    Command::new(
        std::env::var_os(PROGRAM).unwrap_or_else(|| panic!("{PROGRAM}: run `cargo xtask test strangers`")),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn both() {
    record(program(), Media::Both, &[], "").await;
}

/// It answers with `m=audio 0 …` and nothing below it, not even `a=mid`.
#[tokio::test(flavor = "multi_thread")]
async fn without_an_audio_codec() {
    record(program(), Media::Video, &["--no-audio-codec"], "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dtls_active() {
    record_with_messages(program(), &["--dtls=active"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dtls_passive() {
    record_with_messages(program(), &["--dtls=passive"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dtls_without_extended_master_secret() {
    record(program(), Media::Both, &["--no-extended-master-secret"], "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn undeclared_ssrcs() {
    record(program(), Media::Both, &["--no-ssrc"], "").await;
}

/// The next picture ends the one before, and the end of the track the last.
#[tokio::test(flavor = "multi_thread")]
async fn without_marker_bits() {
    record(program(), Media::Both, &["--no-marker"], "").await;
}

/// Its packets have a payload type that its answer does not have.
#[tokio::test(flavor = "multi_thread")]
async fn a_payload_type_that_nobody_negotiated() {
    let world = World::new().await;
    let stranger = world.stranger(program(), Media::Both, &["--video-payload-type", "60"]).await;
    let mut agent = world.agent("").await;
    let named =
        |status: &Value| status["video"]["reason"] == "PayloadType" && status["audio"]["state"] == "Stored";
    let status = agent.wait_for("the payload type", SOON, named).await.unwrap();
    let message = status["message"].as_str().unwrap();
    assert!(message.starts_with("audio is stored; video is not stored: "), "{status}");
    assert!(message.contains("payload type 60"), "{status}");
    assert!(status["video"]["state"] == "NotStored" && status["reason"] == "VideoNotStored", "{status}");
    assert!(status["packetsUnbound"]["60"].as_u64() >= Some(50), "{status}");
    let outcome = world.finish(agent, stranger).await;
    assert!(outcome.stored.video.is_none() && outcome.stored.audio.is_some(), "{}", outcome.log);
}

/// It plays four seconds, closes the peer connection and takes the next offer, three times.
#[tokio::test(flavor = "multi_thread")]
async fn it_closes_and_comes_back() {
    let world = World::new().await;
    let mut stranger = world.stranger(program(), Media::Both, &["--frames", FRAMES]).await;
    let agent = world.agent("").await;
    for connection in 1..=3 {
        let closed = format!("closed connection {connection}");
        stranger
            .wait_for(&closed, 2 * SOON, |events| {
                events.iter().filter(|event| event.event == "closed").count() >= connection
            })
            .await
            .unwrap_or_else(|error| panic!("{error:#}\n{}", agent.log()));
    }
    let outcome = world.finish(agent, stranger).await;
    assert!(outcome.connections().len() >= 3, "{}", outcome.log);
}
