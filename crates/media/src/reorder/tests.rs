use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::testing::{Network, Path, ms, packet};

fn buffer() -> ReorderBuffer {
    ReorderBuffer::new(ReorderConfig::video())
}

/// Sequence numbers released by now; losses as their first number, negative.
fn drain(buffer: &mut ReorderBuffer, now: Instant) -> Vec<i32> {
    std::iter::from_fn(|| buffer.poll(now))
        .flat_map(|released| match released {
            Released::Packet { packet, .. } => vec![i32::from(packet.sequence)],
            Released::Lost { first, count } => (0..count).map(|at| -i32::from((first + at) as u16)).collect(),
            Released::Restart => vec![i32::MAX],
        })
        .collect()
}

#[test]
fn the_first_packets_may_be_out_of_order() {
    let (mut buffer, now) = (buffer(), Instant::now());
    for sequence in [12, 10, 11, 13] {
        assert_eq!(buffer.insert(packet(sequence), now), Arrival::New { repaired: false });
    }
    assert_eq!(drain(&mut buffer, now), []);
    let timeout = buffer.timeout().unwrap();
    assert_eq!(timeout, now + ms(10));
    assert_eq!(drain(&mut buffer, timeout), [10, 11, 12, 13]);
    assert_eq!(buffer.timeout(), None);
}

#[test]
fn the_wrap_is_nothing_special() {
    let (mut buffer, now) = (buffer(), Instant::now());
    for sequence in [65_534, 0, 65_535, 2, 1] {
        buffer.insert(packet(sequence), now);
    }
    assert_eq!(drain(&mut buffer, now + ms(10)), [65_534, 65_535, 0, 1, 2]);
}

#[test]
fn asks_after_the_grace_and_again_after_a_round_trip_and_gives_up() {
    let (mut buffer, start) = (buffer(), Instant::now());
    buffer.set_rtt(ms(40));
    buffer.insert(packet(1), start);
    assert_eq!(drain(&mut buffer, start + ms(20)), [1]);
    let gap = start + ms(20);
    buffer.insert(packet(4), gap);
    let mut asked = Vec::new();
    let mut released = Vec::new();
    while let Some(timeout) = buffer.timeout() {
        released.extend(drain(&mut buffer, timeout));
        let nacks = buffer.nacks(timeout);
        if !nacks.is_empty() {
            assert_eq!(nacks, [2, 3]);
            asked.push((timeout - gap).as_millis() as u64);
        }
    }
    // 1.5 × 40 + 10 between two; half a second of waiting.
    assert_eq!(asked, [10, 80, 150, 220, 290, 360, 430]);
    assert_eq!(released, [-2, -3, 4]);
}

#[test]
fn a_repair_ends_the_wait_and_tells_the_round_trip() {
    let (mut buffer, start) = (buffer(), Instant::now());
    buffer.insert(packet(1), start);
    assert_eq!(drain(&mut buffer, start + ms(20)), [1]);
    buffer.insert(packet(3), start + ms(20));
    assert_eq!(buffer.nacks(start + ms(30)), [2]);
    assert_eq!(buffer.insert(packet(2), start + ms(75)), Arrival::New { repaired: true });
    assert_eq!(drain(&mut buffer, start + ms(75)), [2, 3]);
    assert_eq!(buffer.rtt(), Some(ms(45)));
    assert_eq!(buffer.insert(packet(2), start + ms(80)), Arrival::Duplicate);
}

#[test]
fn the_wait_is_bounded_whatever_the_round_trip() {
    for (rtt, least, most) in [(0, 100, 100), (1, 100, 102), (20, 330, 330), (3_000, 500, 500)] {
        let (mut buffer, start) = (buffer(), Instant::now());
        buffer.set_rtt(ms(rtt));
        buffer.insert(packet(1), start);
        drain(&mut buffer, start + ms(10));
        buffer.insert(packet(3), start + ms(10));
        assert_eq!(drain(&mut buffer, start + ms(9 + least)), [], "rtt {rtt}");
        assert_eq!(drain(&mut buffer, start + ms(10 + most)), [-2, 3], "rtt {rtt}");
        assert_eq!(buffer.insert(packet(2), start + ms(3000)), Arrival::Late);
        assert_eq!(buffer.insert(packet(2), start + ms(3000)), Arrival::Duplicate);
    }
}

#[test]
fn padding_makes_no_gap_and_is_not_released() {
    let (mut buffer, now) = (buffer(), Instant::now());
    for sequence in 1..6 {
        let mut packet = packet(sequence);
        if sequence % 2 == 0 {
            packet.payload.clear();
        }
        buffer.insert(packet, now);
    }
    assert_eq!(drain(&mut buffer, now + ms(10)), [1, 3, 5]);
    assert_eq!((buffer.nacks(now + ms(50)), buffer.timeout()), (vec![], None));
}

#[test]
fn duplicates_are_known_held_or_released() {
    let (mut buffer, now) = (buffer(), Instant::now());
    for sequence in [1, 2, 4] {
        buffer.insert(packet(sequence), now);
    }
    assert_eq!(drain(&mut buffer, now + ms(10)), [1, 2]);
    for sequence in [1, 2, 4] {
        assert_eq!(buffer.insert(packet(sequence), now + ms(11)), Arrival::Duplicate);
    }
}

#[test]
fn when_full_the_oldest_gap_is_given_up() {
    let mut buffer = ReorderBuffer::new(ReorderConfig { max_packets: 10, ..ReorderConfig::video() });
    let now = Instant::now();
    buffer.insert(packet(0), now);
    assert_eq!(drain(&mut buffer, now + ms(10)), [0]);
    for sequence in (2..=11).filter(|it| *it != 7) {
        buffer.insert(packet(sequence), now + ms(10));
    }
    assert_eq!(drain(&mut buffer, now + ms(10)), []);
    buffer.insert(packet(12), now + ms(10));
    assert_eq!(drain(&mut buffer, now + ms(10)), []);
    buffer.insert(packet(13), now + ms(10));
    assert_eq!(drain(&mut buffer, now + ms(10)), [-1, 2, 3, 4, 5, 6], "7 still has its time");

    let mut buffer = ReorderBuffer::new(ReorderConfig { max_bytes: 9, ..ReorderConfig::video() });
    buffer.insert(packet(0), now);
    drain(&mut buffer, now + ms(10));
    for sequence in 2..=6 {
        buffer.insert(packet(sequence), now + ms(10));
    }
    assert_eq!(drain(&mut buffer, now + ms(10)), [-1, 2, 3, 4, 5, 6]);
    assert_eq!(buffer.bytes, 0);
}

#[test]
fn a_gap_too_large_to_repair_is_not_waited_for() {
    let mut buffer = ReorderBuffer::new(ReorderConfig { max_missing: 4, ..ReorderConfig::video() });
    let now = Instant::now();
    buffer.insert(packet(0), now);
    drain(&mut buffer, now + ms(10));
    buffer.insert(packet(11), now + ms(10));
    assert_eq!(buffer.nacks(now + ms(20)), [7, 8, 9, 10]);
    assert_eq!(drain(&mut buffer, now + ms(20)), [-1, -2, -3, -4, -5, -6]);
}

#[test]
fn a_far_jump_is_a_restart_once_it_is_proved() {
    for (first, again) in [(30_000, 30_000), (60_000, 100)] {
        let (mut buffer, now) = (buffer(), Instant::now());
        buffer.insert(packet(20_000), now);
        buffer.insert(packet(20_001), now);
        drain(&mut buffer, now + ms(10));
        buffer.insert(packet(20_003), now + ms(10));
        // One stray packet, then the old stream goes on, then two.
        assert_eq!(buffer.insert(packet(first), now + ms(10)), Arrival::Probation);
        assert_eq!(buffer.insert(packet(20_004), now + ms(10)), Arrival::New { repaired: false });
        for at in 0..3 {
            assert_eq!(buffer.insert(packet(again + at), now + ms(10)), Arrival::Probation);
        }
        assert_eq!(buffer.insert(packet(again + 3), now + ms(10)), Arrival::Restarted { packets: 4 });
        let expected: Vec<_> = [-20_002, 20_003, 20_004, i32::MAX]
            .into_iter()
            .chain((0..4).map(|at| i32::from(again) + at))
            .collect();
        assert_eq!(drain(&mut buffer, now + ms(20)), expected);
        assert_eq!(buffer.insert(packet(again + 4), now + ms(20)), Arrival::New { repaired: false });
    }
}

#[test]
fn a_restart_at_numbers_that_were_used_is_told_by_its_timestamps() {
    let (mut buffer, now) = (buffer(), Instant::now());
    for sequence in 100..200 {
        buffer.insert(packet(sequence), now);
    }
    drain(&mut buffer, now + ms(10));
    let restarted = |sequence| RtpPacket { timestamp: 7_777_777, ..packet(sequence) };
    for sequence in 150..153 {
        assert_eq!(buffer.insert(restarted(sequence), now + ms(10)), Arrival::Probation);
    }
    assert_eq!(buffer.insert(restarted(153), now + ms(10)), Arrival::Restarted { packets: 4 });
    assert_eq!(drain(&mut buffer, now + ms(20)), [i32::MAX, 150, 151, 152, 153]);
}

/// Loses one packet of a buffer to which packets came every 20 ms until now, and gives how long the next waits.
fn waits(buffer: &mut ReorderBuffer, sequence: &mut u16, now: &mut Instant) -> u64 {
    drain(buffer, *now);
    *sequence += 2;
    *now += ms(40);
    buffer.insert(packet(*sequence), *now);
    for waited in 0.. {
        if !drain(buffer, *now + ms(waited)).is_empty() {
            *now += ms(waited);
            return waited;
        }
        buffer.nacks(*now + ms(waited));
    }
    unreachable!()
}

/// Packets without a loss for so many seconds.
fn quiet(buffer: &mut ReorderBuffer, sequence: &mut u16, now: &mut Instant, seconds: u64) {
    for _ in 0..seconds * 50 {
        *sequence += 1;
        *now += ms(20);
        buffer.insert(packet(*sequence), *now);
        drain(buffer, *now);
    }
}

#[test]
fn without_nack_the_wait_is_what_the_path_needs_from_20_to_500_ms() {
    let (mut buffer, mut now) = (ReorderBuffer::new(ReorderConfig::audio()), Instant::now());
    let mut sequence = 1;
    buffer.insert(packet(sequence), now);
    now += ms(10);
    // Nothing is known of the path yet.
    assert_eq!(waits(&mut buffer, &mut sequence, &mut now), 100);
    assert_eq!(buffer.nacks(now + ms(90)), Vec::<u16>::new());
    quiet(&mut buffer, &mut sequence, &mut now, 60);
    assert_eq!(waits(&mut buffer, &mut sequence, &mut now), 20);
    for (jitter, wait) in [(50, 200), (1_000, 500), (0, 20)] {
        buffer.set_jitter(ms(jitter));
        assert_eq!(waits(&mut buffer, &mut sequence, &mut now), wait, "{jitter} ms");
    }
    // A packet that came too late is waited for the next time, for half a minute or so.
    sequence += 2;
    buffer.insert(packet(sequence), now);
    assert_eq!(drain(&mut buffer, now + ms(20)), [-i32::from(sequence - 1), i32::from(sequence)]);
    assert_eq!(buffer.insert(packet(sequence - 1), now + ms(80)), Arrival::Late);
    now += ms(80);
    assert_eq!(waits(&mut buffer, &mut sequence, &mut now), 100);
    quiet(&mut buffer, &mut sequence, &mut now, 60);
    assert_eq!(waits(&mut buffer, &mut sequence, &mut now), 20);
}

#[test]
fn who_answers_nothing_is_asked_once_and_not_waited_for_until_it_answers() {
    let (mut buffer, mut now) = (buffer(), Instant::now());
    buffer.set_rtt(ms(50));
    let mut sequence = 1;
    buffer.insert(packet(sequence), now);
    now += ms(10);
    quiet(&mut buffer, &mut sequence, &mut now, 60);
    let mut waited = Vec::new();
    for _ in 0..6 {
        waited.push(waits(&mut buffer, &mut sequence, &mut now));
    }
    // 10 and a round trip and a half and 10.
    assert_eq!(waited, [500, 500, 500, 500, 95, 95]);
    sequence += 2;
    buffer.insert(packet(sequence), now);
    assert_eq!(buffer.nacks(now + ms(10)), [sequence - 1]);
    assert_eq!(buffer.nacks(now + ms(90)), Vec::<u16>::new(), "once");
    assert_eq!(drain(&mut buffer, now + ms(95)).len(), 2);
    // Too late, and still an answer: the sender is far away and not deaf.
    assert_eq!(buffer.insert(packet(sequence - 1), now + ms(200)), Arrival::Late);
    now += ms(200);
    assert_eq!(buffer.rtt(), Some(ms(190)));
    assert_eq!(waits(&mut buffer, &mut sequence, &mut now), 500);
}

struct Run {
    released: Vec<u16>,
    lost: u64,
    nacks: u64,
    dropped: u64,
}

/// 30 s of 300 packets a second over a bad path, with a sender that repeats what it is asked for.
fn run(seed: u64, drop: f64, delay: u64, jitter: u64, duplicate: f64) -> Run {
    const PACKETS: u64 = 9_000;
    let path = Path { drop, duplicate, delay: ms(delay), jitter: ms(jitter), ..Path::default() };
    let mut out = Network::new(seed, path);
    let mut back = Network::new(!seed, Path { duplicate: 0.0, ..path });
    let mut random = StdRng::seed_from_u64(seed);
    let start = Instant::now();
    let mut buffer = buffer();
    let mut result = Run { released: Vec::new(), lost: 0, nacks: 0, dropped: 0 };
    let (mut sent, mut now) = (0u64, start);
    loop {
        let next = (sent < PACKETS).then(|| start + Duration::from_micros(sent * 3_333));
        let due = [next, out.next(), back.next(), buffer.timeout()].into_iter().flatten().min();
        let Some(due) = due else { break };
        now = now.max(due);
        if next.is_some_and(|next| next <= now) {
            out.send(packet((65_000 + sent) as u16), now);
            sent += 1;
            if random.random_bool(duplicate) {
                // A probe repeats something sent.
                let old = random.random_range(sent.saturating_sub(600)..sent);
                out.send(packet((65_000 + old) as u16), now);
            }
        }
        while let Some(nacked) = back.receive(now) {
            out.send(packet(nacked), now);
        }
        while let Some(packet) = out.receive(now) {
            buffer.insert(packet, now);
        }
        while let Some(released) = buffer.poll(now) {
            match released {
                Released::Packet { packet, .. } => result.released.push(packet.sequence),
                Released::Lost { count, .. } => result.lost += count,
                Released::Restart => panic!("nothing restarted"),
            }
        }
        for nack in buffer.nacks(now) {
            result.nacks += 1;
            back.send(nack, now);
        }
    }
    result.dropped = out.dropped;
    assert!(buffer.packets.is_empty() && buffer.missing.is_empty() && buffer.bytes == 0);
    result
}

#[test]
fn everything_repaired_arrives_once_and_in_order() {
    for (seed, drop, delay, jitter, duplicate) in [
        (1, 0.0, 20, 0, 0.0),
        (2, 0.03, 1, 0, 0.0),
        (3, 0.03, 1, 0, 0.5),
        (4, 0.03, 50, 5, 0.1),
        (5, 0.05, 20, 20, 0.3),
        (6, 0.10, 20, 4, 0.3),
        (7, 0.0, 20, 40, 0.3),
    ] {
        let run = run(seed, drop, delay, jitter, duplicate);
        // The last packets may be lost without anyone noticing: none came after them.
        let tail = 9_000 - run.released.len() - run.lost as usize;
        assert!(tail <= 2, "seed {seed}: {tail} missing at the end");
        assert_eq!(run.lost, 0, "seed {seed}");
        let expected: Vec<u16> = (0..run.released.len() as u64).map(|at| (65_000 + at) as u16).collect();
        assert!(run.released == expected, "seed {seed}: not exactly once and in order");
        if drop > 0.0 {
            assert!(run.dropped > 100, "seed {seed}");
            let per_loss = run.nacks as f64 / run.dropped as f64;
            assert!(per_loss < 2.0, "seed {seed}: {per_loss} NACKs per lost packet");
        } else {
            assert!(run.nacks < 200, "seed {seed}: {} NACKs although nothing is lost", run.nacks);
        }
    }
}

#[test]
fn a_terrible_path_loses_but_never_repeats_nor_swaps() {
    for seed in 10..14 {
        let run = run(seed, 0.45, 80, 120, 0.5);
        assert!(run.lost > 0);
        let mut last = 64_999u64;
        for sequence in run.released {
            let extended = extend_sequence(sequence, last);
            assert!(extended > last);
            last = extended;
        }
    }
}

proptest! {
    #[test]
    fn never_panics_nor_holds_more_than_it_may(
        steps in prop::collection::vec((any::<u16>(), any::<bool>(), 0u64..400, 0usize..3), 0..300),
    ) {
        let config = ReorderConfig { max_packets: 20, max_missing: 16, ..ReorderConfig::video() };
        let mut buffer = ReorderBuffer::new(config);
        let mut now = Instant::now();
        let mut base = 0u16;
        for (number, near, pause, length) in steps {
            // Mostly near the last number, sometimes anywhere.
            base = if near { base.wrapping_add(number % 8).wrapping_sub(2) } else { number };
            now += ms(pause);
            buffer.insert(RtpPacket { payload: vec![1; length].into(), ..packet(base) }, now);
            while buffer.poll(now).is_some() {}
            buffer.nacks(now);
            prop_assert!(buffer.packets.len() <= 21 && buffer.missing.len() <= 16);
            prop_assert_eq!(buffer.bytes, buffer.packets.values().map(|it| it.0.payload.len()).sum::<usize>());
            prop_assert!(buffer.timeout().is_none_or(|timeout| timeout > now), "it would spin");
        }
    }
}
