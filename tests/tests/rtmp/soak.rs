//! Sound and picture together, for seconds or for as long as `cargo xtask soak` likes.

use std::time::Duration;

use kvs_ingest_tests::master::Settings;
use kvs_ingest_tests::master::clip::{FRAME_RATE, Sound};
use kvs_ingest_tests::master::time::Time;
use kvs_ingest_tests::rtmp::received::Received;
use kvs_ingest_tests::verdict::{self, Limits, SETTLED, Verdict};

use crate::world::{End, Output, World, broadcasts, metric};

/// A beep is within so many milliseconds of the frame that was captured with it.
const LIP_SYNC: f64 = 40.0;

/// A master that wrote something later than this was not given the time that it needs: the machine does too much else.
const MASTER_LATE: Duration = Duration::from_millis(300);
/// Then it is done again, so often at most.
const TRIES: u32 = 3;

/// Sends so many seconds of frames and beeps to a server beside the stream, and judges what arrives: every frame from the
/// first one on, in order, once, unchanged, at its time, and every beep with its frame. A live output leaves out what comes too
/// late, and says so; that is its failure, unless the master itself was late.
pub async fn in_sync(seconds: u64) -> (World, Received, End) {
    let mut tries = 1;
    loop {
        let (world, received, end) = record(seconds).await;
        // What came before there was a broadcast is none of it.
        let count = |reason| metric(&end.metrics, "output_dropped_frames_total", reason);
        let (late, slow) = (count("reason=\"late\""), count("reason=\"slow\""));
        println!("left out: {late} late, {slow} slow; the master was late by {:?} at most", end.sent.late);
        if late + slow == 0.0 || end.sent.late <= MASTER_LATE || tries == TRIES {
            judge(&received, &end).await;
            return (world, received, end);
        }
        tries += 1;
    }
}

async fn record(seconds: u64) -> (World, Received, End) {
    let world = World::new().await;
    let nginx = world.nginx("nginx").await;
    let settings = Settings {
        sizes: vec![(320, 240)],
        sound: Sound::Beeps { stereo: false },
        time: Time { reports_every: Some(Duration::from_secs(1)), ..Time::default() },
        ..Settings::default()
    };
    let master = world.master(settings).await;
    let agent = world.agent(&[Output::new("live", nginx.url())]).await;
    world.arrived(&nginx, FRAME_RATE as usize, &agent).await;
    let pictures = seconds as usize * FRAME_RATE as usize;
    world.arrived_within(&nginx, pictures, &agent, Duration::from_secs(2 * seconds + 60)).await;
    let end = world.end(agent, &master).await;
    let mut broadcasts = broadcasts(&nginx);
    assert_eq!(broadcasts.len(), 1, "one broadcast");
    let received = broadcasts.remove(0);
    (world, received, end)
}

async fn judge(received: &Received, end: &End) {
    let stored = received.stored(&end.sent).unwrap();
    let heard = received.heard(&end.sent).await.unwrap();
    let unsteady = 0.0..SETTLED;
    // What was sent to an agent that was ending need not arrive.
    let mut sent = end.sent.clone();
    let last = received.numbers().last().map_or(0, |number| *number as usize + 1);
    sent.frames.truncate(end.frames.max(last));
    let verdict = Verdict::new("live", &stored, &heard, &sent, std::slice::from_ref(&unsteady));
    println!("{}\n{verdict}", verdict::HEADER);
    let failures = verdict.failures(&Limits { lip_sync: LIP_SYNC, ..Limits::default() });
    assert!(failures.is_empty(), "{}", failures.join("; "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: cargo xtask soak"]
async fn soak() {
    let minutes: u64 = std::env::var("KVS_INGEST_SOAK_MINUTES").map_or(10, |text| text.parse().unwrap());
    in_sync(60 * minutes).await;
}
