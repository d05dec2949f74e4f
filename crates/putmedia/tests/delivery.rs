//! Delivery in virtual time: what a camera made is stored, whatever network, service and disk do, as long as memory
//! and spool hold it; and beyond that whole fragments go, oldest first, counted exactly.
#![allow(clippy::unwrap_used, reason = "a test")]

mod simulation;

use std::time::Duration;

use kvs_putmedia::{DropReason, Event, ProducerConfig, SpoolConfig, WhenFull};
use proptest::prelude::*;
use simulation::{Disk, GOP, Network, Simulation};

/// Bytes of a fragment of 1000-byte frames, roughly.
const FRAGMENT: usize = 21_500;

fn config(memory_fragments: usize, spool_fragments: u64) -> ProducerConfig {
    ProducerConfig {
        storage_bytes: memory_fragments * FRAGMENT,
        spool: (spool_fragments > 0).then(|| SpoolConfig::new(spool_fragments * FRAGMENT as u64)),
        staleness: Duration::from_secs(10),
        ..ProducerConfig::default()
    }
}

/// Everything is stored, nothing was dropped.
fn nothing_lost(simulation: &mut Simulation) {
    simulation.finish();
    assert_eq!(simulation.missing(), Vec::<u64>::new());
    assert_eq!(simulation.statistics().fragments_dropped, 0, "{:?}", simulation.statistics());
}

#[test]
fn a_healthy_link_leaves_the_disk_alone() {
    let mut simulation = Simulation::new(config(100, 100));
    simulation.play(60);
    assert_eq!(simulation.statistics().fragments_spooled, 0);
    nothing_lost(&mut simulation);
    assert_eq!(simulation.service.duplicates, 0);
}

#[test]
fn an_outage_longer_than_memory_goes_to_disk_and_comes_back_in_order() {
    // Memory for 8 s, an outage of 120 s.
    let mut simulation = Simulation::new(config(4, 100));
    simulation.play(10);
    simulation.network = Network::Absent;
    simulation.lose_connection();
    simulation.play(120);
    assert!(simulation.statistics().spooled_bytes > 50 * FRAGMENT as u64, "{:?}", simulation.statistics());
    simulation.network = Network::Good;
    simulation.play(60);
    nothing_lost(&mut simulation);
    assert!(simulation.service.duplicates <= 1);
}

#[test]
fn a_slow_uplink_falls_behind_and_catches_up() {
    // Half of what the camera makes.
    let mut simulation = Simulation::new(config(4, 200));
    simulation.network = Network::Slow(500);
    simulation.play(120);
    assert!(simulation.statistics().spooled_bytes > 0, "{:?}", simulation.statistics());
    nothing_lost(&mut simulation);
    assert_eq!(simulation.service.duplicates, 0);
}

#[test]
fn beyond_memory_and_spool_the_oldest_fragments_go_and_are_counted() {
    let mut simulation = Simulation::new(config(4, 10));
    simulation.network = Network::Absent;
    simulation.play(100);
    simulation.finish();
    let missing = simulation.missing();
    let statistics = simulation.statistics();
    assert_eq!(missing.len() as u64, statistics.frames_dropped[0]);
    assert_eq!(statistics.frames_dropped[0], statistics.fragments_dropped * GOP, "whole fragments");
    assert_eq!(missing, (0..missing.len() as u64).collect::<Vec<_>>(), "oldest first");
    // Both were used: 14 fragments are kept, give or take the one that is being made.
    assert!((34..=38).contains(&statistics.fragments_dropped), "{statistics:?}");
    let told: u64 = simulation
        .events
        .iter()
        .map(|event| match event {
            Event::Dropped { fragments, reason: DropReason::SpoolFull, .. } => *fragments,
            _ => 0,
        })
        .sum();
    assert_eq!(told, statistics.fragments_dropped);
}

#[test]
fn a_full_disk_is_as_good_as_no_spool() {
    let mut simulation = Simulation::new(config(6, 100));
    simulation.disk = Disk::Full;
    simulation.network = Network::Absent;
    simulation.play(60);
    simulation.finish();
    let (missing, statistics) = (simulation.missing(), simulation.statistics());
    assert_eq!(missing, (0..statistics.frames_dropped[0]).collect::<Vec<_>>());
    assert!((23..=26).contains(&statistics.fragments_dropped), "{statistics:?}");
    // Tried again, and not with every frame.
    assert!((2..30).contains(&statistics.spool_failures), "{statistics:?}");
}

#[test]
fn killed_in_an_outage_only_the_open_fragment_is_lost() {
    let mut simulation = Simulation::new(config(100, 100));
    simulation.network = Network::Absent;
    simulation.play(31);
    let before = simulation.frames;
    let lost = simulation.kill();
    assert!(lost.len() as u64 <= GOP && lost.iter().all(|number| *number >= before - GOP), "{lost:?}");
    assert!(simulation.events.iter().any(|event| matches!(event, Event::Restored { fragments: 15, .. })));
    simulation.play(11);
    simulation.kill();
    simulation.network = Network::Good;
    simulation.play(10);
    nothing_lost(&mut simulation);
    assert_eq!(simulation.service.duplicates, 0);
}

#[test]
fn what_a_stop_cannot_send_waits_on_disk_for_the_next_run() {
    let mut simulation = Simulation::new(config(100, 100));
    simulation.network = Network::Silent;
    simulation.play(21);
    simulation.producer.finish(simulation.now);
    simulation.producer.spill_rest(simulation.now);
    simulation.wait(5, |simulation| !simulation.producer.is_spilling());
    assert_eq!(simulation.kill(), Vec::<u64>::new());
    simulation.network = Network::Good;
    nothing_lost(&mut simulation);
}

#[test]
fn a_service_that_never_says_persisted_is_noticed() {
    let mut simulation = Simulation::new(config(100, 0));
    simulation.network = Network::Forgetful;
    simulation.play(25);
    let stale = |event: &&Event| {
        matches!(event, Event::SessionClosed { reason: kvs_putmedia::CloseReason::Stale, .. })
    };
    assert_eq!(simulation.events.iter().filter(stale).count(), 2);
    nothing_lost(&mut simulation);
}

#[test]
fn credentials_that_end_cost_nothing() {
    let mut simulation = Simulation::new(config(100, 0));
    for _ in 0..12 {
        simulation.play(3);
        simulation.expire_credentials_after(Duration::from_secs(17));
        simulation.play(17);
    }
    let sessions = simulation.statistics().sessions;
    nothing_lost(&mut simulation);
    assert_eq!((simulation.service.duplicates, simulation.statistics().session_failures), (0, 0));
    assert!((12..=14).contains(&sessions), "{sessions}");
}

#[test]
fn every_error_of_an_acknowledgement_costs_nothing_the_first_time() {
    for error in (4000..=4012).chain(4500..=4507).chain(5000..=5001).chain([5999]) {
        let mut simulation = Simulation::new(config(100, 0));
        simulation.play(5);
        simulation.network = Network::Error(error, 1);
        simulation.play(5);
        nothing_lost(&mut simulation);
    }
}

#[test]
fn a_fragment_that_is_refused_twice_is_given_up_alone() {
    let mut simulation = Simulation::new(config(100, 0));
    simulation.network = Network::Hates(40, 4006);
    simulation.play(20);
    simulation.finish();
    assert_eq!(simulation.missing(), (40..60).collect::<Vec<_>>());
    let statistics = simulation.statistics();
    // Those that were still to come when it was given up had no fragment any more.
    assert_eq!((statistics.fragments_dropped, statistics.frames_dropped[0]), (1, GOP));
}

#[test]
fn a_service_in_trouble_for_minutes_gets_everything_in_the_end() {
    // A person takes his time to mend a key.
    let errors = [5000, 5001, 4500, 4505].map(|error| Network::Error(error, 1000));
    for network in errors.into_iter().chain([Network::Refuses(503)]) {
        let mut simulation = Simulation::new(config(1000, 0));
        simulation.network = network;
        simulation.play(100);
        assert!(simulation.connects < 60, "{network:?}: {} sessions are a hot loop", simulation.connects);
        nothing_lost(&mut simulation);
    }
}

#[test]
fn input_that_can_wait_fills_memory_and_spool_and_waits_then() {
    let mut simulation = Simulation::new(ProducerConfig { when_full: WhenFull::Block, ..config(4, 10) });
    simulation.network = Network::Absent;
    let mut seconds = 0;
    while simulation.producer.has_room() {
        simulation.play(1);
        seconds += 1;
        assert!(seconds < 100, "{:?}", simulation.statistics());
    }
    // Fourteen fragments of two seconds, give or take the one that is being made.
    assert!((26..=32).contains(&seconds), "{seconds} s fitted");
    simulation.network = Network::Good;
    assert!(simulation.wait(60, |simulation| simulation.producer.has_room()));
    simulation.play(10);
    nothing_lost(&mut simulation);
}

#[derive(Clone, Debug)]
enum Turn {
    Network(Network),
    Disk(Disk),
    Reset,
    Kill,
    Expire,
}

fn turn() -> impl Strategy<Value = Turn> {
    let network = prop_oneof![
        3 => Just(Network::Good),
        2 => Just(Network::Absent),
        1 => Just(Network::Silent),
        1 => Just(Network::Stuck),
        1 => (300..3000_usize).prop_map(Network::Slow),
        1 => Just(Network::Forgetful),
        1 => prop::sample::select(vec![4000, 4004, 4008, 4011, 5000, 5001]).prop_map(|id| Network::Error(id, 1)),
        1 => prop::sample::select(vec![400, 401, 403, 404, 429, 500, 503]).prop_map(Network::Refuses),
    ];
    let disk = prop_oneof![Just(Disk::Good), Just(Disk::Full), (2..40_u32).prop_map(Disk::Slow)];
    prop_oneof![
        6 => network.prop_map(Turn::Network),
        2 => disk.prop_map(Turn::Disk),
        2 => Just(Turn::Reset),
        1 => Just(Turn::Kill),
        1 => Just(Turn::Expire),
    ]
}

fn take(simulation: &mut Simulation, turn: &Turn) {
    match turn {
        Turn::Network(network) => simulation.network = *network,
        Turn::Disk(disk) => simulation.disk = *disk,
        Turn::Reset => simulation.lose_connection(),
        Turn::Kill => drop(simulation.kill()),
        Turn::Expire => simulation.expire_credentials_after(Duration::from_secs(8)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn with_room_for_everything_nothing_is_lost(
        memory in 2..200_usize,
        turns in prop::collection::vec((turn(), 1..15_u64), 1..12),
    ) {
        // What is refused twice is given up.
        let refused = |(turn, _): &&(Turn, u64)| matches!(turn, Turn::Network(Network::Error(4004 | 4011, _)));
        prop_assume!(turns.iter().filter(refused).count() < 2);
        // A disk that fails is no room.
        let memory = if turns.iter().any(|(turn, _)| matches!(turn, Turn::Disk(_))) { 300 } else { memory };
        let mut simulation = Simulation::new(config(memory, 300));
        for (turn, seconds) in &turns {
            take(&mut simulation, turn);
            simulation.play(*seconds);
        }
        simulation.finish();
        prop_assert_eq!(simulation.missing(), Vec::<u64>::new());
        prop_assert_eq!((simulation.dropped, simulation.statistics().fragments_dropped), (0, 0));
    }

    #[test]
    fn without_room_whole_fragments_go_and_every_one_is_counted(
        memory in 2..12_usize,
        spool in 0..12_u64,
        turns in prop::collection::vec((turn(), 1..30_u64), 1..12),
    ) {
        let mut simulation = Simulation::new(config(memory, spool));
        for (turn, seconds) in &turns {
            take(&mut simulation, turn);
            simulation.play(*seconds);
        }
        simulation.finish();
        let dropped = simulation.dropped + simulation.statistics().frames_dropped[0];
        prop_assert!(simulation.missing().len() as u64 <= dropped);
        // Nothing is stored that is not a whole fragment.
        for (timecode, frames) in &simulation.service.stored {
            let first = (timecode - simulation::START_MS) / 100;
            prop_assert!(first.is_multiple_of(GOP) && frames.len() as u64 <= GOP);
        }
    }
}
