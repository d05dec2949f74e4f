//! Thousands of agents that lose the same thing at the same moment.

use super::*;

const AGENTS: u64 = 10_000;

/// When each of so many sessions, which stand as `prepare` leaves them, does what is `wanted` after `happens`; sorted.
fn after(
    agents: u64,
    prepare: impl Fn(&mut World),
    happens: impl Fn(&mut Harness),
    wanted: impl Fn(&Action) -> bool,
    within: Duration,
) -> Vec<Duration> {
    let mut times = Vec::new();
    for seed in 0..agents {
        let mut harness = Harness::seeded(Timing::default(), seed, &prepare);
        harness.run(12 * SECOND);
        let (begin, before) = (harness.now - harness.start, harness.log.len());
        happens(&mut harness);
        harness.run(within);
        let found = harness.log[before..].iter().find(|(_, action)| wanted(action));
        times.push(found.expect("it does it").0 - begin);
    }
    times.sort();
    times
}

/// The most within any second.
fn peak(times: &[Duration]) -> usize {
    let mut from = 0;
    let mut most = 0;
    for (to, time) in times.iter().enumerate() {
        while *time - times[from] >= SECOND {
            from += 1;
        }
        most = most.max(to + 1 - from);
    }
    most
}

fn opens(action: &Action) -> bool {
    matches!(action, Action::OpenSignaling { .. })
}

fn close(harness: &mut Harness) {
    let attempt = harness.socket.take().unwrap();
    harness.input(Input::SignalingClosed { attempt, reason: "1006".to_owned() });
}

/// While media flows nobody misses signaling.
#[test]
fn sockets_that_close_everywhere_are_opened_one_after_the_other() {
    for (happens, what) in
        [(close as fn(&mut Harness), "closed"), (|harness| harness.input(Input::GoAway), "GO_AWAY")]
    {
        let times = after(AGENTS, |world| world.every = 4 * SECOND, happens, opens, 11 * SECOND);
        println!("{what}: at most {} of {AGENTS} sockets a second", peak(&times));
        assert!(peak(&times) <= AGENTS as usize * 13 / 100, "{what}: {}", peak(&times));
        // Without media an answer may be on its way.
        let times = after(AGENTS, |world| world.master = false, happens, opens, 11 * SECOND);
        assert!(times.last().unwrap() <= &(2 * SECOND), "{times:?}");
        assert!(peak(&times) <= AGENTS as usize * 6 / 10, "{what}: {}", peak(&times));
    }
}

/// The sockets of an hour ago, when all of them were opened at once.
#[test]
fn sockets_of_the_same_age_are_renewed_over_five_minutes() {
    // An hour of each takes its time.
    let agents = AGENTS / 20;
    let times = after(agents, |world| world.every = 20 * SECOND, |_| {}, opens, 3600 * SECOND);
    println!("of the same age: at most {} of {agents} sockets a second", peak(&times));
    assert!(peak(&times) <= agents as usize * 2 / 100, "{}", peak(&times));
}

/// A service that lets 300 a second in and throttles the rest: everybody is in within some minutes, and few knock in vain.
#[test]
fn a_service_that_throttles_lets_all_in() {
    const RATE: u64 = 300;
    let throttled = || Failure::new(FailureKind::Throttled, "ClientLimitExceededException");
    let start = Instant::now();
    let mut sessions: Vec<_> =
        (0..AGENTS).map(|seed| Session::new("viewer", Timing::default(), seed, start)).collect();
    let (mut up, mut asked, mut second) = (0, 0, 0);
    // In steps of a tenth of a second.
    for tenth in 0..6_000u64 {
        let now = start + Duration::from_millis(tenth * 100);
        if tenth % 10 == 0 {
            second = 0;
        }
        for session in &mut sessions {
            if session.poll_timeout().is_some_and(|at| at > now) && tenth > 0 {
                continue;
            }
            for action in session.handle(Input::Tick, now) {
                let Action::Resolve { attempt } = action else { continue };
                (asked, second) = (asked + 1, second + 1);
                let result = if second <= RATE { Ok(60 * SECOND) } else { Err(throttled()) };
                up += u64::from(result.is_ok());
                let _ = session.handle(Input::Resolved { attempt, result }, now);
            }
        }
        if up >= AGENTS {
            println!("{AGENTS} look-ups at {RATE} a second take {} s and {asked} calls", tenth / 10);
            assert!(tenth < 3_000 && asked < 8 * AGENTS, "{} s, {asked} calls", tenth / 10);
            return;
        }
    }
    panic!("{up} of {AGENTS} after ten minutes, {asked} calls");
}
