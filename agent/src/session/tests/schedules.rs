//! Random schedules of faults. Each is a seed: what fails is played again by `KVS_INGEST_SEED=17`, and stays in [`KEPT`].

use super::any::Event;
use super::diagram::lasts;
use super::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Those of each run.
const SCHEDULES: u64 = 10_000;

/// Those that once failed. A change of [`event`] or [`played`] makes others of them: what they were is a test of its own then.
const KEPT: &[u64] = &[];

/// Events of a schedule.
const EVENTS: usize = 40;

fn event(rng: &mut StdRng) -> Event {
    // One in ten is of the peer before.
    let newest = rng.random_bool(0.9);
    match rng.random_range(0..40) {
        0..=6 => Event::Wait(rng.random_range(0..3_000)),
        7..=8 => Event::Wait(rng.random_range(0..100_000)),
        9..=13 => Event::Answer {
            connection: rng.random_range(0..4),
            certificate: rng.random_range(0..3),
            candidates: rng.random_range(0..4),
        },
        14 => Event::Candidate(rng.random()),
        15..=19 => Event::Connected(newest),
        20..=21 => Event::Disconnected(newest),
        22..=23 => Event::Ended(newest),
        24..=25 => Event::Failed(newest),
        26..=29 => Event::Media { flowing: rng.random_bool(0.8) },
        30 => Event::Relayed,
        31..=32 => Event::RelayEnds,
        33 => Event::LeftMedia,
        34 => Event::LocalCandidate,
        35 => Event::NotApplied,
        36 => Event::IceServersGo,
        37 => Event::GoAway,
        38 => Event::SocketCloses,
        _ => Event::Refused,
    }
}

/// The session after this schedule.
pub(super) fn played(seed: u64) -> Harness {
    let mut rng = StdRng::seed_from_u64(seed);
    let timing = Timing { rotate_signaling: 60 * SECOND, ..Timing::default() };
    let mut harness = Harness::seeded(timing, seed, |world| {
        world.master = false;
        world.connects = false;
        world.media = false;
    });
    for _ in 0..rng.random_range(1..EVENTS) {
        // What the service and the machine do with calls, for a while.
        if rng.random_bool(0.1) {
            let fails = |kind| Failure::new(kind, "a fault");
            harness.world.resolve =
                if rng.random_bool(0.7) { Ok(60 * SECOND) } else { Err(fails(FailureKind::Service)) };
            harness.world.open =
                if rng.random_bool(0.7) { Ok(()) } else { Err(fails(FailureKind::Throttled)) };
            harness.world.builds = rng.random_bool(0.7);
            harness.world.replies = rng.random_bool(0.8);
            harness.world.master = rng.random_bool(0.5);
            harness.world.connects = rng.random_bool(0.7);
        }
        harness.happen(&event(&mut rng));
        harness.input(Input::Tick);
        let next = harness.session.poll_timeout();
        assert!(next.is_some_and(|next| next > harness.now), "it spins: {:?}", harness.session);
    }
    harness
}

/// From where it stands nobody says anything any more: each state ends within what the page says, and another follows.
fn silence_leads_on(harness: &mut Harness) {
    let (begin, before) = (harness.now, harness.session.stands());
    let mut left = [false; 3];
    while left.contains(&false) {
        harness.now = harness.session.poll_timeout().expect("something is always due").max(harness.now);
        let _ = harness.session.handle(Input::Tick, harness.now);
        let stands = harness.session.stands();
        for (machine, left) in left.iter_mut().enumerate() {
            let (state, _) = before[machine];
            // There is nothing to leave; or a peer that waits for signaling, which has its own deadlines.
            let at_rest = state == "Single" || state == "Idle" && stands[0].0 != "Up";
            *left |= at_rest || stands[machine] != before[machine];
            let waited = harness.now - begin;
            assert!(*left || waited < lasts(state), "{state} lasts {waited:?}: {:?}", harness.session);
        }
    }
}

/// Found by a schedule: six connections in a second.
#[test]
fn turn_servers_that_go_away_again_and_again_are_not_asked_for_at_once() {
    let mut harness = Harness::with(|world| world.master = false);
    for _ in 0..20 {
        harness.input(Input::ReconnectIceServer);
        harness.run(Duration::from_millis(50));
    }
    rates_are_kept(&harness);
    harness.recover();
    harness.until_streaming();
}

/// What the service allows, whatever happens.
fn rates_are_kept(harness: &Harness) {
    let most = |wanted: fn(&Action) -> bool, window: Duration| {
        let times: Vec<_> =
            harness.log.iter().filter(|(_, action)| wanted(action)).map(|(at, _)| *at).collect();
        let within = |(index, at): (usize, &Duration)| {
            times[index..].iter().take_while(|later| **later - *at < window).count()
        };
        times.iter().enumerate().map(within).max().unwrap_or(0)
    };
    // ConnectAsViewer 3, DescribeSignalingChannel and GetIceServerConfig 5 a channel; SDP offers 5, candidates 20 a connection.
    for (most, limit, what) in [
        (most(|action| matches!(action, Action::OpenSignaling { .. }), SECOND), 3, "sockets"),
        (most(|action| matches!(action, Action::Resolve { .. }), SECOND), 5, "look-ups"),
        (most(|action| matches!(action, Action::CreatePeer { .. }), SECOND), 5, "peers"),
        (most(|action| matches!(action, Action::SendOffer { .. }), SECOND), 5, "offers"),
        (most(|action| matches!(action, Action::SendCandidate { .. }), SECOND), 20, "candidates"),
        (most(|action| matches!(action, Action::CreatePeer { .. }), 60 * SECOND), 12, "peers a minute"),
    ] {
        assert!(most <= limit, "{most} {what}, {limit} are allowed");
    }
}

fn play(seed: u64) {
    let mut harness = played(seed);
    rates_are_kept(&harness);
    silence_leads_on(&mut harness);
}

#[test]
fn ten_thousand_schedules_of_faults() {
    let (first, count): (u64, u64) = match std::env::var("KVS_INGEST_SEED") {
        Ok(seed) => (seed.parse().expect("KVS_INGEST_SEED is a number"), 1),
        // `cargo xtask test --all` plays others each time.
        Err(_) if std::env::var_os("KVS_INGEST_REAL_TIME").is_some() => (rand::rng().random(), SCHEDULES),
        Err(_) => (0, SCHEDULES),
    };
    println!("seeds {first} and {count} in all");
    for seed in KEPT.iter().copied().chain((0..count).map(|number| first.wrapping_add(number))) {
        if let Err(panic) = std::panic::catch_unwind(|| play(seed)) {
            println!("KVS_INGEST_SEED={seed} plays it again");
            std::panic::resume_unwind(panic);
        }
    }
}
