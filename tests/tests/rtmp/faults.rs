//! Servers that go away, come back, or stop reading; and a stream that does.

use std::time::{Duration, SystemTime};

use kvs_ingest_tests::master::Settings;
use kvs_ingest_tests::master::clip::{FRAME_RATE, Picture};
use kvs_ingest_tests::pauses::Pauses;
use kvs_ingest_tests::rtmp::Recorder;
use kvs_ingest_tests::rtmp::received;
use kvs_ingest_tests::stored::nothing_lost;
use kvs_ingest_tests::usage::Usage;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::world::{DEADLINE, Output, World, broadcasts, decodes, metric, output};

const SECOND: usize = FRAME_RATE as usize;
/// A server that is back is sent to again within so long, from the next key frame on.
const BACK: Duration = Duration::from_secs(2);

/// KVS is down while the server is up, and the other way round: neither feels the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_is_down_and_the_other_is_not() {
    let world = World::new().await;
    let mut nginx = world.nginx("nginx").await;
    let master = world.master(Settings::default()).await;
    let mut agent = world.agent(&[Output::new("live", nginx.url())]).await;
    world.arrived(&nginx, 2 * SECOND, &agent).await;
    world.persisted(2_000, &agent).await;

    world.fault(json!({"action": "http_error", "status": 503, "times": 0})).await;
    world.fault(json!({"action": "reset"})).await;
    let outage = |status: &serde_json::Value| status["kvs"]["bufferedSeconds"].as_f64() > Some(4.0);
    let status = agent.wait_for("KVS to be away", DEADLINE, outage).await.unwrap();
    assert_eq!(output(&status, "live")["state"], "Receiving", "{status}");
    let there = received::pictures(&nginx.received().unwrap());
    world.arrived(&nginx, there + SECOND, &agent).await;
    world.fault(json!({"action": "clear"})).await;
    world.persisted(8_000, &agent).await;

    nginx.kill().await.unwrap();
    let away = |status: &serde_json::Value| output(status, "live")["state"] != "Receiving";
    let status = agent.wait_for("the server to be away", DEADLINE, away).await.unwrap();
    assert_eq!(output(&status, "live")["state"], "Interrupted", "{status}");
    let persisted = world.persisted_ms().await;
    world.persisted(persisted + 3_000, &agent).await;
    let there = received::pictures(&nginx.received().unwrap());
    nginx.start_again().await.unwrap();
    let (back, pauses) = (SystemTime::now(), Pauses::watch());
    world.arrived(&nginx, there + 2 * SECOND, &agent).await;
    let receives = |status: &serde_json::Value| output(status, "live")["state"] == "Receiving";
    agent.wait_for("the server's return", DEADLINE, receives).await.unwrap();
    let paused = pauses.sum();

    let end = world.end(agent, &master).await;
    let metrics = &end.metrics;
    let received = broadcasts(&nginx);
    assert_eq!(received.len(), 2, "before and after");
    for received in &received {
        assert_eq!(received.holes(&end.sent), 0);
        decodes(received).await;
    }
    let first = end.sent.frames.iter().find(|frame| frame.number == received[1].numbers()[0]).unwrap();
    // In time that the machine gave to somebody who waited for it.
    let after = first.at.duration_since(back).unwrap_or_default();
    assert!(
        after < BACK + paused,
        "from {after:?} after the return of the server on; the machine paused {paused:?}"
    );
    assert_eq!(metric(metrics, "output_connections_total", ""), 2.0, "{metrics}");
    assert!(metric(metrics, "output_failures_total", "") >= 1.0, "{metrics}");
    nothing_lost(&world.stored().await, &end.sent);
}

/// It neither reads nor closes: whole groups of pictures are left out, counted, the memory is bounded, and the stream does not
/// feel it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_reading() {
    let world = World::new().await;
    let nginx = world.nginx("nginx").await;
    // So much that the kernel's buffers, which take some megabytes first, are full soon.
    let settings = Settings { picture: Picture::Noise(12_000), ..Settings::default() };
    let master = world.master(settings).await;
    let agent = world.agent(&[Output::new("live", nginx.url())]).await;
    world.arrived(&nginx, 2 * SECOND, &agent).await;
    let id = agent.id().unwrap();
    let before = Usage::of(id).unwrap().resident;
    nginx.freeze().await.unwrap();
    let until = Instant::now() + DEADLINE;
    let dropped = loop {
        let (_, metrics) = agent.get("/metrics").await.unwrap();
        let dropped = metric(&metrics, "output_dropped_frames_total", "kind=\"video\"");
        if dropped >= 2.0 * SECOND as f64 {
            break dropped;
        }
        assert!(Instant::now() < until, "nothing is dropped: {metrics}\n{}", agent.log());
        sleep(Duration::from_millis(200)).await;
    };
    // What KVS keeps until it is persisted is in it.
    let grown = (Usage::of(id).unwrap().peak - before) / 1e6;
    assert!(grown < 64.0, "{grown} MB more after {dropped} frames that were dropped");
    let persisted = world.persisted_ms().await;
    world.persisted(persisted + 2_000, &agent).await;
    nginx.thaw().await.unwrap();
    let there = received::pictures(&nginx.received().unwrap());
    // What lay in the kernel's buffers is less than this.
    world.arrived(&nginx, there + 20 * SECOND, &agent).await;
    let end = world.end(agent, &master).await;
    let metrics = &end.metrics;
    let received = broadcasts(&nginx);
    let mut holes = received.len() - 1;
    for received in &received {
        holes += received.holes(&end.sent);
        decodes(received).await;
    }
    assert!(holes >= 1, "a hole where it did not read");
    assert!(metric(metrics, "output_dropped_frames_total", "kind=\"video\"") >= dropped, "{metrics}");
    nothing_lost(&world.stored().await, &end.sent);
}
