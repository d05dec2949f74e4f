//! When to look for agents that end, so that they hear whether they have to wait for another one. Pure: the time comes from
//! outside.
//!
//! Pods are not watched. That one may be ending, its Deployment tells: an agent was available, and something is not as it was.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::workload::DeploymentLite;

/// Between looks while somebody has to hear something and did not: the signal to end comes a moment after the pod is marked.
const SOON: Duration = Duration::from_secs(1);
/// Between looks while a successor is awaited: the Deployment tells when it is ready, as a rule before that.
const AWAITING: Duration = Duration::from_secs(5);
/// A pod is looked for so much longer than its grace period.
const MARGIN: Duration = Duration::from_secs(10);

/// What a Deployment says of its pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    replicas: i32,
    updated: i32,
    available: i32,
    /// An agent is to run.
    wanted: bool,
}

impl Seen {
    pub(crate) fn of(deployment: &DeploymentLite) -> Self {
        let status = deployment.status.as_ref();
        let count = |of: Option<i32>| of.unwrap_or(0);
        Self {
            replicas: count(status.and_then(|status| status.replicas)),
            updated: count(status.and_then(|status| status.updated_replicas)),
            available: count(status.and_then(|status| status.available_replicas)),
            wanted: deployment.is_to_run() && deployment.metadata.deletion_timestamp.is_none(),
        }
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted
    }
}

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// There are no pods.
    Nothing,
    /// Nobody ends who has not been told.
    Nobody,
    /// Somebody ends and waits for a successor, which is not ready.
    Awaits,
    /// Somebody could not be told.
    Untold,
}

/// What is remembered from one look to the next.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Uids of pods that have been told.
    pub(crate) told: BTreeSet<String>,
    /// Uids of ReplicaSets that are the Deployment's: they may be gone before their pods.
    pub(crate) sets: BTreeSet<String>,
}

/// A time in which agents may be ending.
#[derive(Debug)]
struct Window {
    /// Whoever ends is marked by then.
    marked: Instant,
    until: Instant,
    next: Option<Instant>,
    memory: Memory,
}

/// The looks of one object.
#[derive(Debug, Default)]
pub(crate) struct Endings {
    seen: Option<Seen>,
    window: Option<Box<Window>>,
}

impl Endings {
    /// Takes note of the Deployment: what is remembered when it is time to look. `grace`: what its pods have to end.
    pub(crate) fn look(&mut self, seen: Seen, grace: Duration, now: Instant) -> Option<Memory> {
        let before = self.seen.replace(seen);
        // Of one that this process sees for the first time nobody knows what it had.
        let had_agent = before.is_some_and(|before| before.available > 0);
        let is_news = before != Some(seen);
        if is_news && had_agent {
            let memory = self.window.take().map(|window| window.memory).unwrap_or_default();
            let (marked, until) = (now + MARGIN, now + grace + MARGIN);
            self.window = Some(Box::new(Window { marked, until, next: None, memory }));
        }
        let window = self.window.as_mut()?;
        if window.until <= now {
            self.window = None;
            return None;
        }
        if is_news || window.next.is_some_and(|next| next <= now) {
            window.next = None;
            return Some(std::mem::take(&mut window.memory));
        }
        None
    }

    /// There is no Deployment: the next one is new.
    pub(crate) fn nothing(&mut self) {
        *self = Self::default();
    }

    /// When it is time to look.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.window.as_ref().and_then(|window| window.next)
    }

    /// What the look found, and when to look again if nothing changes before.
    pub(crate) fn looked(&mut self, found: Found, memory: Memory, now: Instant) -> Option<Instant> {
        let leaves = self.seen.is_some_and(|seen| !seen.wanted && seen.replicas > 0);
        let window = self.window.as_mut()?;
        let wait = match found {
            Found::Untold => Some(SOON),
            Found::Awaits => Some(AWAITING),
            // No pod is marked yet, and a Deployment that goes may have nothing more to tell.
            Found::Nobody if leaves && memory.told.is_empty() && now < window.marked => Some(SOON),
            Found::Nothing | Found::Nobody => None,
        };
        window.memory = memory;
        window.next = wait.map(|wait| now + wait).filter(|next| *next < window.until);
        window.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(60);
    const RUNS: Seen = Seen { replicas: 1, updated: 1, available: 1, wanted: true };
    const EVICTED: Seen = Seen { available: 0, ..RUNS };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_object_whose_life_is_quiet_costs_nothing() {
        let (mut endings, now) = (Endings::default(), Instant::now());
        // Its Deployment is made, its pod comes up, and nothing happens for a day.
        endings.nothing();
        for seen in [Seen { wanted: true, ..Seen::default() }, EVICTED, RUNS, RUNS] {
            assert!(endings.look(seen, GRACE, now).is_none(), "{seen:?}");
        }
        assert!(endings.look(RUNS, GRACE, now + seconds(86_400)).is_none());
        // Another operator sees it for the first time, also while its pod is pending for days.
        assert!(Endings::default().look(RUNS, GRACE, now).is_none());
        assert!(Endings::default().look(EVICTED, GRACE, now).is_none());
    }

    #[test]
    fn an_evicted_agent_is_looked_for_until_it_was_told() {
        let (mut endings, now) = (Endings::default(), Instant::now());
        endings.look(RUNS, GRACE, now);
        let memory = endings.look(EVICTED, GRACE, now).expect("its pod is gone, or ends");
        assert_eq!(endings.looked(Found::Awaits, memory, now), Some(now + AWAITING));
        assert!(endings.look(EVICTED, GRACE, now + seconds(1)).is_none());
        let memory = endings.look(EVICTED, GRACE, now + AWAITING).expect("it is time");
        endings.looked(Found::Awaits, memory, now + AWAITING);
        let ready = now + seconds(7);
        let mut memory = endings.look(RUNS, GRACE, ready).expect("its successor is ready");
        memory.told.insert("pod".to_owned());
        assert_eq!(endings.looked(Found::Untold, memory, ready), Some(ready + SOON));
        let memory = endings.look(RUNS, GRACE, ready + SOON).expect("once more");
        assert!(memory.told.contains("pod"));
        assert_eq!(endings.looked(Found::Nobody, memory, ready + SOON), None);
        assert!(endings.look(RUNS, GRACE, ready + seconds(5)).is_none());
        assert!(endings.look(RUNS, GRACE, ready + seconds(500)).is_none() && endings.window.is_none());
    }

    #[test]
    fn one_that_is_not_to_run_is_looked_for_until_its_pod_is_marked() {
        let (mut endings, now) = (Endings::default(), Instant::now());
        endings.look(RUNS, GRACE, now);
        let memory = endings.look(Seen { wanted: false, ..RUNS }, GRACE, now).expect("it is suspended");
        assert_eq!(endings.looked(Found::Nobody, memory, now), Some(now + SOON));
        // It is never marked: that has an end.
        let (mut at, mut looks) = (now + SOON, 0);
        while let Some(memory) = endings.look(Seen { wanted: false, ..RUNS }, GRACE, at) {
            looks += 1;
            match endings.looked(Found::Nobody, memory, at) {
                Some(next) => at = next,
                None => break,
            }
            assert!(looks < 100);
        }
        assert_eq!(at, now + MARGIN);
        // Its pod ended at once.
        let ended = Seen { wanted: false, replicas: 0, available: 0, ..RUNS };
        let memory = endings.look(ended, GRACE, at).expect("that is news");
        assert_eq!(endings.looked(Found::Nobody, memory, at), None);
    }
}
