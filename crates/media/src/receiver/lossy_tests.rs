//! Masters of three kinds over bad networks, in virtual time: how many pictures come out whole, what that takes in requests,
//! and how long it takes. `KVS_INGEST_TABLE=1 cargo test -p kvs-media lossy -- --nocapture` prints the table of
//! `docs/masters.md`.

use std::collections::{BTreeMap, VecDeque};
use std::time::UNIX_EPOCH;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::testing::{Encoder, Network, Path, ms, number};

/// How a master sends, and what it does when it is asked for a packet.
#[derive(Clone, Copy)]
struct Master {
    name: &'static str,
    /// Packets that it can repeat; 0: it does not repeat any.
    history: usize,
    /// What it repeated it does not repeat again within a round trip.
    once_a_round_trip: bool,
    /// Between packets of one picture.
    pace: Duration,
    /// The share of packets behind which an old one is sent again, to probe for bandwidth (over RTX).
    probes: f64,
}

/// Paces, and probes by RTX.
const CHROMIUM: Master =
    Master { name: "Chromium", history: 600, once_a_round_trip: true, pace: ms(1), probes: 0.05 };
/// Each picture in one burst; repeats under the same SSRC what its buffer of three seconds has.
const C_SDK: Master =
    Master { name: "C SDK", history: 900, once_a_round_trip: false, pace: Duration::ZERO, probes: 0.0 };
/// One that was built without its retransmitter.
const DEAF_C_SDK: Master = Master { name: "C SDK, no NACK", history: 0, ..C_SDK };
/// Each picture in one burst; repeats the newest 128 packets.
const AIORTC: Master = Master { name: "aiortc", history: 128, ..C_SDK };

/// 50 ms there and back.
const WAY: Duration = ms(25);

struct Outcome {
    /// Sent from the first that came out on.
    sent: usize,
    whole: usize,
    packets_lost: u64,
    asked_for: u64,
    /// From when the last packet of a picture would have come to the picture, sorted.
    added: Vec<Duration>,
    key_frames_asked: u64,
}

impl Outcome {
    fn whole_percent(&self) -> f64 {
        self.whole as f64 * 100.0 / self.sent as f64
    }

    fn requests(&self) -> f64 {
        self.asked_for as f64 / self.packets_lost.max(1) as f64
    }

    fn added(&self, percent: usize) -> Duration {
        self.added[(self.added.len() - 1) * percent / 100]
    }
}

/// `seconds` of 30 pictures a second at 2.2 Mbit/s; key frames of 40 kB when they are asked for. Who reads the packets rests for
/// so long each time.
fn run(master: Master, path: Path, seed: u64, seconds: u64, rest: Duration) -> Outcome {
    let pictures = seconds * 30;
    let mut out = Network::new(seed, path);
    // Key frame requests and NACKs.
    let mut back = Network::<Vec<u16>>::new(!seed, Path { duplicate: 0.0, ..path });
    let mut random = StdRng::seed_from_u64(seed);
    let mut receiver = MediaReceiver::new(MediaConfig { audio: None, ..MediaConfig::default() });
    let (start, wall) = (Instant::now(), UNIX_EPOCH + Duration::from_secs(1_900_000_000));
    let mut encoder = Encoder::new();
    encoder.payload = 1100;
    let mut to_send: VecDeque<(Instant, RtpPacket)> = VecDeque::new();
    let mut history: VecDeque<(RtpPacket, Instant)> = VecDeque::new();
    let mut due_pictures = BTreeMap::new();
    let mut whole = BTreeMap::new();
    let (mut picture, mut key, mut now) = (0u64, true, start);
    let mut key_frames_asked = 0;
    let mut told_at = start;
    let (mut unread, mut read_at) = (Vec::new(), start);
    loop {
        let next_picture = (picture < pictures).then(|| start + Duration::from_micros(picture * 33_333));
        let next_packet = to_send.front().map(|(at, _)| *at);
        let next_read = (!unread.is_empty()).then_some(read_at);
        let dues = [next_picture, next_packet, out.next(), back.next(), next_read, receiver.poll_timeout()];
        let ended = dues[..5].iter().all(Option::is_none);
        let Some(due) = dues.into_iter().flatten().min().filter(|due| !ended || *due < now + ms(1_000))
        else {
            break;
        };
        now = now.max(due);
        if next_picture.is_some_and(|at| at <= now) {
            encoder.length = if key { 40_000 } else { 9_000 };
            let number = encoder.number;
            let mut at = now;
            for packet in encoder.frame(std::mem::take(&mut key)) {
                to_send.push_back((at, packet));
                at += master.pace;
            }
            due_pictures.insert(number, at - master.pace + WAY);
            picture += 1;
        }
        while to_send.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, packet)) = to_send.pop_front() else { break };
            out.send(packet.clone(), now);
            if random.random_bool(master.probes) && !history.is_empty() {
                out.send_again(history[random.random_range(0..history.len())].0.clone(), now);
            }
            history.push_back((packet, start - ms(1_000)));
            if history.len() > master.history {
                history.pop_front();
            }
        }
        while let Some(asked) = back.receive(now) {
            // A PLI is a request for no packet.
            key |= asked.is_empty();
            for sequence in asked {
                let found = history.iter_mut().find(|(packet, _)| packet.sequence == sequence);
                if let Some((packet, repeated)) = found
                    && (!master.once_a_round_trip || now >= *repeated + 2 * WAY)
                {
                    *repeated = now;
                    out.send_again(packet.clone(), now);
                }
            }
        }
        while let Some(packet) = out.receive(now) {
            unread.push((packet, now));
        }
        if !unread.is_empty() && now >= read_at {
            read_at = now + rest;
            for (packet, arrived) in unread.drain(..) {
                receiver.handle_rtp(MediaKind::Video, packet, arrived, wall + (arrived - start));
            }
        }
        if now >= told_at {
            // As ICE has it.
            receiver.set_rtt(2 * WAY);
            told_at = now + ms(500);
        }
        receiver.handle_timeout(now);
        while let Some(output) = receiver.poll_output() {
            match output {
                MediaOutput::Video(VideoOutput::AccessUnit(unit)) => {
                    let number = number(&unit.data);
                    assert!(whole.keys().next_back().is_none_or(|last| *last < number), "in order, once");
                    whole.insert(number, now);
                }
                MediaOutput::Video(VideoOutput::Nack { sequences, .. }) => back.send(sequences, now),
                MediaOutput::Video(VideoOutput::RequestKeyFrame(_)) => {
                    key_frames_asked += 1;
                    back.send(Vec::new(), now);
                }
                _ => {}
            }
        }
    }
    let first = *whole.keys().next().unwrap();
    let mut added: Vec<_> = whole
        .iter()
        .filter(|(_, at)| **at > start + ms(1_500))
        .map(|(number, at)| at.saturating_duration_since(due_pictures[number]))
        .collect();
    added.sort_unstable();
    let stats = receiver.stats(MediaKind::Video).unwrap();
    Outcome {
        // Of the last nothing may have come, so that nobody could miss it.
        sent: due_pictures.range(first..pictures - 1).count(),
        whole: whole.range(first..pictures - 1).count(),
        packets_lost: out.dropped,
        asked_for: stats.nack_count,
        added,
        key_frames_asked,
    }
}

fn paths() -> Vec<(&'static str, Path)> {
    let plain = Path { delay: WAY, ..Path::default() };
    vec![
        ("3 % at random", Path { drop: 0.03, ..plain }),
        ("5 % at random", Path { drop: 0.05, ..plain }),
        ("3 % in bursts of 8", Path { drop: 0.03, burst: 8, ..plain }),
        ("5 % in bursts of 20", Path { drop: 0.05, burst: 20, ..plain }),
        ("3 %, 20 ms of jitter, 2 % twice", Path { drop: 0.03, jitter: ms(20), duplicate: 0.02, ..plain }),
    ]
}

fn print(outcome: &Outcome, master: Master, path: &str) {
    if std::env::var_os("KVS_INGEST_TABLE").is_some() {
        println!(
            "| {} | {path} | {:.2} % | {:.2} | {} / {} / {} | {} |",
            master.name,
            outcome.whole_percent(),
            outcome.requests(),
            outcome.added(50).as_millis(),
            outcome.added(95).as_millis(),
            outcome.added(100).as_millis(),
            outcome.key_frames_asked,
        );
    }
}

#[test]
fn what_is_lost_is_repaired_with_few_requests_whoever_sends() {
    for master in [CHROMIUM, C_SDK, AIORTC] {
        for (name, path) in paths() {
            let outcome = run(master, path, 17, 60, Duration::ZERO);
            print(&outcome, master, name);
            assert!(outcome.packets_lost > 300);
            let whole = outcome.whole_percent();
            assert!(whole >= 99.5, "{}, {name}: {whole} % whole", master.name);
            let requests = outcome.requests();
            assert!(requests <= 2.0, "{}, {name}: {requests} requests", master.name);
            let (most, median) = (outcome.added(100), outcome.added(50));
            assert!(most <= ms(520) && median <= ms(250), "{}, {name}: {median:?} {most:?}", master.name);
        }
    }
}

/// The agent rests only where nothing is missing; here nobody looks whether anything is.
#[test]
fn packets_that_are_read_late_are_repaired_all_the_same() {
    for master in [CHROMIUM, C_SDK] {
        // Where packets overtake each other, what lies unread is asked for.
        for (name, path) in paths().into_iter().filter(|(_, path)| path.jitter.is_zero()) {
            let outcome = run(master, path, 17, 60, ms(40));
            let whole = outcome.whole_percent();
            assert!(whole >= 99.0, "{}, {name}: {whole} % whole", master.name);
            // An answer may lie there unread when it is asked for again.
            let requests = outcome.requests();
            assert!(requests <= 2.5, "{}, {name}: {requests} requests", master.name);
            let most = outcome.added(100);
            assert!(most <= ms(600), "{}, {name}: {most:?}", master.name);
        }
    }
}

#[test]
fn a_master_that_repeats_nothing_is_asked_little_and_waited_for_briefly() {
    for (name, path) in paths() {
        let outcome = run(DEAF_C_SDK, path, 17, 60, Duration::ZERO);
        print(&outcome, DEAF_C_SDK, name);
        assert!(outcome.requests() <= 2.0, "{name}: {} requests", outcome.requests());
        // The first four that are lost are waited for as of one that repeats.
        let waited = outcome.added(98);
        assert!(waited <= ms(260), "{name}: {waited:?}");
        assert!(outcome.key_frames_asked > 10, "{name}");
    }
}
