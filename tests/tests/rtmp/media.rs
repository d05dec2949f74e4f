//! What arrives at a server that is in order.

use kvs_ingest_tests::master::clip::{FRAME_RATE, Picture, Sound};
use kvs_ingest_tests::master::{Answering, Settings};
use kvs_ingest_tests::rtmp::node::NodeMediaServer;
use kvs_ingest_tests::rtmp::received::Received;
use kvs_ingest_tests::stored::nothing_lost;

use crate::soak::in_sync;
use crate::world::{End, Output, World, broadcasts, decodes, output};

const SECOND: usize = FRAME_RATE as usize;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_frame_arrives_in_order_with_its_sound_beside_what_is_stored() {
    let (world, received, end) = in_sync(12).await;
    assert_eq!(output(&end.status, "live")["state"], "Receiving", "{}", end.status);
    let stored = world.stored().await;
    nothing_lost(&stored, &end.sent);
    decodes(&received).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_resolution_ends_neither_the_broadcast_nor_the_stream() {
    let world = World::new().await;
    let nginx = world.nginx("nginx").await;
    let settings = Settings { sizes: vec![(640, 360), (320, 240)], clip_seconds: 3, ..Settings::default() };
    let master = world.master(settings).await;
    let agent = world.agent(&[Output::new("live", nginx.url())]).await;
    world.arrived(&nginx, 8 * SECOND, &agent).await;
    let end = world.end(agent, &master).await;
    let received = only(broadcasts(&nginx));
    nothing_lost(&received.stored(&end.sent).unwrap(), &end.sent);
    let different: std::collections::BTreeSet<_> = received.avc_headers.iter().collect();
    assert_eq!(different.len(), 2, "{:?}", received.avc_headers);
    assert!(received.avc_headers.len() >= 3, "each change brings its header: {}", received.avc_headers.len());
    decodes(&received).await;
    nothing_lost(&world.stored().await, &end.sent);
}

/// A server of another kind, which nobody there wrote either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_node_media_server() {
    let world = World::new().await;
    let server = NodeMediaServer::start(&world.folder.path().join("node")).await.unwrap();
    let settings = Settings { picture: Picture::BFrames, ..Settings::default() };
    let master = world.master(settings).await;
    let agent = world.agent_without_stream(&[Output::new("live", server.url())]).await;
    world.arrived(&server, 6 * SECOND, &agent).await;
    let end = world.end(agent, &master).await;
    let received = only(broadcasts(&server));
    nothing_lost(&received.stored(&end.sent).unwrap(), &end.sent);
    assert!(received.audio.len() > 5 * 40, "{} frames of sound", received.audio.len());
    decodes(&received).await;
}

/// Of a master that has no microphone: one server is given silence, the other one is not. And nothing is recorded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_stream_and_without_sound() {
    let world = World::new().await;
    let (silent, bare) = (world.nginx("silent").await, world.nginx("bare").await);
    let master = world.master(Settings { answering: Answering::VideoOnly, ..Settings::default() }).await;
    let outputs = [
        Output::new("silent", silent.url()),
        Output { without_silence: true, ..Output::new("bare", bare.url()) },
    ];
    let agent = world.agent_without_stream(&outputs).await;
    for nginx in [&silent, &bare] {
        world.arrived(nginx, 5 * SECOND, &agent).await;
    }
    assert_eq!(agent.get("/readyz").await.unwrap().0, 200);
    let end = world.end(agent, &master).await;
    let bare = only(broadcasts(&bare));
    assert_eq!((bare.aac_headers.len(), bare.audio.len()), (0, 0));
    let silent = only(broadcasts(&silent));
    for received in [&silent, &bare] {
        nothing_lost(&received.stored(&end.sent).unwrap(), &end.sent);
        decodes(received).await;
    }
    // nginx may write one down twice.
    assert!(!silent.aac_headers.is_empty());
    assert!(silent.aac_headers.windows(2).all(|pair| pair[0] == pair[1]), "{:?}", silent.aac_headers);
    // A frame of 1024 samples at 44.1 or 48 kHz at a time, as long as there is a picture.
    let seconds = silent.numbers().len() as f64 / f64::from(FRAME_RATE);
    let frames = silent.audio.len() as f64;
    assert!(frames >= 40.0 * (seconds - 1.0) && frames <= 48.0 * (seconds + 1.0), "{frames} in {seconds} s");
    let longest = silent.audio.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(longest <= 30, "silence without a hole: {longest} ms");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sound_alone() {
    let world = World::new().await;
    let nginx = world.nginx("nginx").await;
    let settings = Settings {
        answering: Answering::AudioOnly,
        sound: Sound::Beeps { stereo: false },
        ..Settings::default()
    };
    let master = world.master(settings).await;
    let agent = world.agent_without_stream(&[Output::new("live", nginx.url())]).await;
    world.heard(&nginx, 6 * 1_000, &agent).await;
    let End { sent, .. } = world.end(agent, &master).await;
    let received = only(broadcasts(&nginx));
    assert!(received.numbers().is_empty());
    decodes(&received).await;
    let heard = kvs_ingest_tests::sound::beeps(std::slice::from_ref(&received.file)).await.unwrap();
    let tones: Vec<_> = heard.iter().map(|heard| heard.tone).collect();
    let all: Vec<_> = sent.beeps.iter().map(|beep| beep.tone).collect();
    let from = all.windows(tones.len()).position(|window| window == tones);
    assert!(tones.len() >= 5 && from.is_some(), "{tones:?} of {all:?}");
    // A second from one beep to the next.
    for pair in heard.windows(2) {
        let apart = pair[1].at - pair[0].at;
        assert!((apart - 1.0).abs() < 0.04, "{apart} s from one beep to the next");
    }
}

/// The one broadcast of a server.
fn only(mut broadcasts: Vec<Received>) -> Received {
    assert_eq!(broadcasts.len(), 1, "one broadcast");
    broadcasts.remove(0)
}
