//! When an agent is asked for its `/status`. Pure: the time and a random number come from outside.
//!
//! It is asked after transitions, and while it is not well with growing delays; one that is well is asked once in a while.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::pace::jittered;

/// A pod that does not run yet is given so long before it is asked why.
const STARTING: Duration = Duration::from_secs(5);

/// The time between two questions to an agent.
#[derive(Clone, Copy, Debug)]
pub struct PollIntervals {
    /// After a transition; doubled after each answer that is not good.
    pub shortest: Duration,
    /// While all is well, and at most.
    pub longest: Duration,
}

/// What is known without asking.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload<'a> {
    /// `resourceVersion` of the Deployment: another one is a transition.
    pub(crate) version: Option<&'a str>,
    /// No agent is available, and only its pods can say why.
    pub(crate) unexplained: bool,
    /// The status says whether media flows.
    pub(crate) media_known: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Poll {
    Ask,
    WaitUntil(Instant),
}

/// What came of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AgentHealth {
    /// Every track that the master sends is stored.
    Storing,
    /// Media arrives and waits in the agent: that is over soon, or does not go by itself.
    Interrupted,
    /// Anything else, silence included.
    Other,
}

/// The questions to one agent.
#[derive(Debug, Default)]
pub(crate) struct AgentPoller {
    /// `None`: nobody asks.
    next: Option<Instant>,
    /// After the next answer that is not good.
    delay: Duration,
    /// The Deployment's `resourceVersion` that `next` was decided on.
    version: Option<String>,
    /// Where the agent answered last.
    address: Option<IpAddr>,
}

impl AgentPoller {
    /// Ask, or wait? `random` is from 0 to 1.
    pub(crate) fn decide(
        &mut self,
        workload: Workload<'_>,
        intervals: PollIntervals,
        now: Instant,
        random: f64,
    ) -> Poll {
        let PollIntervals { shortest, longest } = intervals;
        let Workload { version, unexplained, media_known } = workload;
        let next = match self.next {
            // After a restart of the operator: what the status says holds until somebody asks, and not all are asked at
            // once.
            None => {
                self.delay = shortest;
                let first = match (unexplained, media_known) {
                    (true, _) => STARTING,
                    (false, true) => longest.mul_f64(random),
                    (false, false) => Duration::ZERO,
                };
                now + first
            }
            // A transition: soon, and often again. A pod that is starting needs a moment first.
            Some(next) if self.version.as_deref() != version => {
                self.address = None;
                self.delay = shortest;
                if unexplained { next.max(now + STARTING).min(now + shortest) } else { next.min(now) }
            }
            Some(next) => next,
        };
        self.next = Some(next);
        if self.version.as_deref() != version {
            self.version = version.map(str::to_owned);
        }
        if next <= now { Poll::Ask } else { Poll::WaitUntil(next) }
    }

    /// It was asked at `now`; the answer says when it is asked again. `random` is from 0 to 1.
    pub(crate) fn asked(
        &mut self,
        health: AgentHealth,
        intervals: PollIntervals,
        now: Instant,
        random: f64,
    ) -> Instant {
        let PollIntervals { shortest, longest } = intervals;
        let delay = match health {
            AgentHealth::Storing => longest,
            AgentHealth::Interrupted => (shortest * 3).min(longest),
            AgentHealth::Other => self.delay,
        };
        self.delay = (self.delay * 2).min(longest);
        let next = now + jittered(delay, random);
        self.next = Some(next);
        next
    }

    /// No agent is to run.
    pub(crate) fn stop(&mut self) {
        self.next = None;
        self.version = None;
    }

    /// Where the agent answered since the last transition.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.address
    }

    pub(crate) fn answered_at(&mut self, address: IpAddr) {
        self.address = Some(address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVALS: PollIntervals =
        PollIntervals { shortest: Duration::from_secs(10), longest: Duration::from_secs(300) };

    fn starting(version: &str) -> Workload<'_> {
        Workload { version: Some(version), unexplained: true, media_known: false }
    }

    fn available(version: &str) -> Workload<'_> {
        Workload { version: Some(version), unexplained: false, media_known: false }
    }

    /// A poller and its clock; chance is always in the middle.
    struct World {
        poller: AgentPoller,
        start: Instant,
        now: Instant,
    }

    impl World {
        fn new() -> Self {
            let start = Instant::now();
            Self { poller: AgentPoller::default(), start, now: start }
        }

        fn pass(&mut self, seconds: u64) {
            self.now += Duration::from_secs(seconds);
        }

        fn decide(&mut self, workload: Workload<'_>) -> Poll {
            self.poller.decide(workload, INTERVALS, self.now, 0.5)
        }

        /// Seconds until it is asked next.
        fn asked(&mut self, health: AgentHealth) -> u64 {
            (self.poller.asked(health, INTERVALS, self.now, 0.5) - self.now).as_secs()
        }

        fn until(&self, seconds: u64) -> Poll {
            Poll::WaitUntil(self.start + Duration::from_secs(seconds))
        }
    }

    #[test]
    fn a_new_agent_is_asked_at_once_and_a_starting_pod_given_a_moment() {
        let mut world = World::new();
        assert_eq!(world.decide(available("1")), Poll::Ask);
        let mut world = World::new();
        assert_eq!(world.decide(starting("1")), world.until(5));
        world.pass(4);
        assert_eq!(world.decide(starting("1")), world.until(5));
        world.pass(1);
        assert_eq!(world.decide(starting("1")), Poll::Ask);
    }

    #[test]
    fn after_a_restart_of_the_operator_the_agents_are_not_asked_all_at_once() {
        let start = Instant::now();
        for (random, seconds) in [(0.25, 75), (0.5, 150), (1.0, 300)] {
            let known = Workload { media_known: true, ..available("1") };
            let poll = AgentPoller::default().decide(known, INTERVALS, start, random);
            assert_eq!(poll, Poll::WaitUntil(start + Duration::from_secs(seconds)));
        }
    }

    #[test]
    fn who_is_not_well_is_asked_less_and_less_often_to_the_longest_interval() {
        let mut world = World::new();
        assert_eq!(world.decide(available("1")), Poll::Ask);
        let delays: Vec<_> = (0..7)
            .map(|_| {
                let delay = world.asked(AgentHealth::Other);
                world.pass(delay - 1);
                assert_ne!(world.decide(available("1")), Poll::Ask, "a second early");
                world.pass(1);
                assert_eq!(world.decide(available("1")), Poll::Ask);
                delay
            })
            .collect();
        assert_eq!(delays, [10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn who_stores_is_left_alone_and_who_is_interrupted_is_not() {
        let mut world = World::new();
        world.decide(available("1"));
        assert_eq!(world.asked(AgentHealth::Storing), 300);
        assert_eq!(world.asked(AgentHealth::Interrupted), 30);
        assert_eq!(world.asked(AgentHealth::Interrupted), 30, "however often");
    }

    #[test]
    fn the_longest_interval_bounds_all_others() {
        let short = PollIntervals { shortest: Duration::from_secs(1), longest: Duration::from_secs(2) };
        let now = Instant::now();
        let mut poller = AgentPoller::default();
        poller.decide(available("1"), short, now, 0.5);
        for health in [AgentHealth::Interrupted, AgentHealth::Storing, AgentHealth::Other, AgentHealth::Other]
        {
            assert!(poller.asked(health, short, now, 1.0) <= now + Duration::from_millis(2400));
        }
    }

    #[test]
    fn a_transition_of_the_deployment_is_asked_about_at_once() {
        let mut world = World::new();
        world.decide(available("1"));
        world.poller.answered_at("10.0.0.7".parse().unwrap());
        world.asked(AgentHealth::Storing);
        world.pass(1);
        assert_ne!(world.decide(available("1")), Poll::Ask);
        assert!(world.poller.address().is_some());
        assert_eq!(world.decide(available("2")), Poll::Ask);
        assert_eq!(world.poller.address(), None, "it may be another pod's now");
        assert_eq!(world.asked(AgentHealth::Other), 10, "the delays begin anew");
    }

    #[test]
    fn a_pod_that_starts_again_and_again_is_asked_about_all_the_same() {
        let mut world = World::new();
        assert_eq!(world.decide(starting("1")), world.until(5));
        world.pass(4);
        // Each transition puts it off a little, but never for longer than the shortest interval from now.
        assert_eq!(world.decide(starting("2")), world.until(9));
        world.pass(5);
        assert_eq!(world.decide(starting("2")), Poll::Ask);
        world.asked(AgentHealth::Storing);
        assert_eq!(world.decide(starting("3")), world.until(9 + 10));
    }

    #[test]
    fn who_does_not_run_is_not_asked_and_begins_anew() {
        let mut world = World::new();
        world.decide(available("1"));
        world.asked(AgentHealth::Storing);
        world.poller.stop();
        assert_eq!(world.decide(available("1")), Poll::Ask);
    }
}
