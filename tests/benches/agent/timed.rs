//! How late pictures are stored, and how soon after a start the first is.

use std::fmt;
use std::time::{Duration, SystemTime};

use kvs_ingest_tests::agent::binary;
use kvs_ingest_tests::local;
use kvs_ingest_tests::master::channel::ensure_channel;
use tokio::time::sleep;

use super::figures::quantile;
use super::front::Front;
use super::master::{Path, channel};
use super::plan::{Begins, Timing};
use super::world::{How, WARM, World};

/// Of either direction between master and agent.
pub const DELAY: Duration = Duration::from_millis(10);
/// What was sent last may be on its way when the measurement ends.
const LAST: Duration = Duration::from_secs(1);
/// For the agent to join a channel on which no master is.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
pub struct Timings {
    /// Milliseconds from the last packet of each picture, first or repeated, to its last byte on the connection of PutMedia.
    pub after_packet: Vec<f64>,
    /// The same from its capture: with the way to the agent, and what it takes to get lost packets again.
    pub after_capture: Vec<f64>,
    /// Pictures that never came.
    pub missing: usize,
    /// Seconds until the first picture was there, and until the first fragment was said to be kept: from the start of the agent's
    /// process, or from when the master was on its channel, whichever was later.
    pub first_picture: f64,
    pub first_persisted: f64,
}

impl fmt::Display for Timings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted = self.after_packet.clone();
        sorted.sort_by(f64::total_cmp);
        let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|part| quantile(&sorted, part));
        let Self { missing, first_picture, first_persisted, .. } = self;
        write!(
            f,
            "{p50:.0}, {p95:.0}, {p99:.0} ms (p50, p95, p99 of {}), {missing} missing, first picture after {first_picture:.2} s, \
             kept after {first_persisted:.2} s",
            sorted.len()
        )
    }
}

pub async fn run(timing: Timing, seconds: u64) -> Timings {
    let world = World::new().await;
    let tls = world.server.tls_url().unwrap();
    let front = Front::start(&tls, &world.authority(), world.folder.path()).await;
    let env = [("AWS_CA_BUNDLE", front.authority.to_str().unwrap())];
    let how = How { endpoint: &front.url, more: "", arguments: &[], env: &env };
    let path = Path { loss: timing.loss, delay: DELAY, noted: true };
    let ours = binary("kvs-ingest-agent").unwrap();
    let (agent, master, began) = match timing.begins {
        Begins::Master => {
            let master = world.master(1, timing.media, path).await;
            let began = SystemTime::now();
            (world.agent(&ours, 0, &how).await, master, began)
        }
        Begins::Agent => {
            // The channel is there, and nobody on it.
            ensure_channel(&local::access(&world.server), &channel(0)).await.unwrap();
            let mut agent = world.agent(&ours, 0, &how).await;
            agent.wait_for_phase("WaitingForMaster", PATIENCE).await.unwrap();
            let master = world.master(1, timing.media, path).await;
            (agent, master, SystemTime::now())
        }
    };
    let first_picture = front.until("a picture", |found| found.pictures.values().min().copied()).await;
    let persisted = front.until("a kept fragment", |found| found.persisted).await;
    sleep(WARM).await;
    let from = SystemTime::now();
    sleep(Duration::from_secs(seconds)).await;
    let to = SystemTime::now();
    sleep(LAST).await;
    let sent = master.end().await;
    let arrivals = front.arrivals();
    drop(agent);
    let millis = |from: SystemTime, to: SystemTime| match to.duration_since(from) {
        Ok(after) => after.as_secs_f64() * 1e3,
        Err(before) => -before.duration().as_secs_f64() * 1e3,
    };
    let mut timings = Timings {
        after_packet: Vec::new(),
        after_capture: Vec::new(),
        missing: 0,
        first_picture: millis(began, first_picture) / 1e3,
        first_persisted: millis(began, persisted) / 1e3,
    };
    for (number, sent) in sent.iter().filter(|(_, sent)| sent.captured >= from && sent.captured < to) {
        let Some(there) = arrivals.pictures.get(number) else {
            timings.missing += 1;
            continue;
        };
        // What was asked for twice may come again when nobody needs it any more.
        let last = sent.packets.iter().filter(|at| *at <= there).max();
        let last = last.expect("a picture that was stored before its first packet went out");
        timings.after_packet.push(millis(*last, *there));
        timings.after_capture.push(millis(sent.captured, *there));
    }
    assert!(!timings.after_packet.is_empty(), "no picture of the measurement was stored");
    world.server.shutdown().await;
    timings
}
