//! The attempts: the one that is under way or stands, and the one before. Pure.

use super::step::Step;
use crate::rfc3339::rfc3339;
use kvs_ingest_api::{AttemptStatus, StepStatus};
use std::time::{Duration, Instant, SystemTime};

/// A step that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    pub step: Step,
    /// Number of the attempt, from 1.
    pub attempt: u64,
    pub took: Duration,
    /// Since the attempt began.
    pub after: Duration,
    /// Of a connection that was made anew while no master answered: nothing new for a person.
    pub is_routine: bool,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It was closed: by the master, for another one, or because its TURN credentials had been unused for too long.
    Closed,
    Failed {
        reason: &'static str,
        message: String,
    },
}

/// One attempt at a connection to the master.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    number: u64,
    client_id: String,
    generation: Option<u64>,
    began: (Instant, SystemTime),
    /// The newest offer.
    offered: Option<Instant>,
    /// At most one of each kind: when it was taken, and how long it took.
    steps: Vec<(Step, Instant, Duration)>,
    ended: Option<(Instant, Ended)>,
    is_routine: bool,
}

impl Attempt {
    fn at(&self, step: Step) -> Option<Instant> {
        self.steps.iter().find(|(known, ..)| *known == step).map(|(_, at, _)| *at)
    }

    fn was_answered(&self) -> bool {
        self.at(Step::Answer).is_some()
    }

    fn take(&mut self, step: Step, took: Duration, at: Instant) -> Option<Taken> {
        if self.ended.is_some() || self.at(step).is_some() {
            return None;
        }
        self.steps.push((step, at, took));
        self.steps.sort_by_key(|(step, ..)| *step);
        let after = at.saturating_duration_since(self.began.0);
        Some(Taken { step, attempt: self.number, took, after, is_routine: self.is_routine })
    }

    /// As `/status` shows it.
    pub(super) fn status(&self) -> AttemptStatus {
        let (reason, message) = match &self.ended {
            Some((_, Ended::Failed { reason, message })) => {
                (Some((*reason).to_owned()), Some(message.clone()))
            }
            Some((_, Ended::Closed)) | None => (None, None),
        };
        let after = |at: Instant| seconds(at.saturating_duration_since(self.began.0));
        let step = |(step, at, took): &(Step, Instant, Duration)| StepStatus {
            step: step.as_str().to_owned(),
            seconds: seconds(*took),
            after_seconds: after(*at),
        };
        AttemptStatus {
            attempt: self.number,
            client_id: self.client_id.clone(),
            began: rfc3339(self.began.1),
            steps: self.steps.iter().map(step).collect(),
            ended_after_seconds: self.ended.as_ref().map(|(at, _)| after(*at)),
            reason,
            message,
        }
    }
}

/// The current attempt and the last one that is worth remembering.
#[derive(Debug, Default)]
pub(super) struct TimeLine {
    current: Option<Attempt>,
    last: Option<Attempt>,
    count: u64,
}

impl TimeLine {
    pub(super) fn current(&self) -> Option<&Attempt> {
        self.current.as_ref()
    }

    pub(super) fn last(&self) -> Option<&Attempt> {
        self.last.as_ref()
    }

    /// Goes on with the current attempt, or begins another when that has ended. (A socket that is opened anew beside a
    /// connection that stands is none.)
    pub(super) fn begin(&mut self, client_id: &str, now: Instant, wall: SystemTime) {
        if let Some(current) = self.current.as_mut().filter(|current| current.ended.is_none()) {
            if current.generation.is_none() {
                current.client_id = client_id.to_owned();
            }
            return;
        }
        let before = self.current.take();
        // A connection that waits for a master is made anew every few minutes: what was before that stays to be read.
        let waited = before
            .as_ref()
            .is_some_and(|before| !before.was_answered() && matches!(before.ended, Some((_, Ended::Closed))));
        if !waited {
            self.last = before.or(self.last.take());
        }
        self.count += 1;
        self.current = Some(Attempt {
            number: self.count,
            client_id: client_id.to_owned(),
            generation: None,
            began: (now, wall),
            offered: None,
            steps: Vec::new(),
            ended: None,
            is_routine: waited,
        });
    }

    fn of_peer(&mut self, generation: u64) -> Option<&mut Attempt> {
        self.current.as_mut().filter(|current| current.generation == Some(generation))
    }

    pub(super) fn peer(&mut self, generation: u64) {
        if let Some(current) = &mut self.current
            && current.ended.is_none()
        {
            current.generation = Some(generation);
        }
    }

    pub(super) fn offered(&mut self, generation: u64, now: Instant) {
        if let Some(current) = self.of_peer(generation)
            && !current.was_answered()
        {
            current.offered = Some(now);
        }
    }

    /// A call took so long.
    pub(super) fn called(&mut self, step: Step, took: Duration, now: Instant) -> Option<Taken> {
        // Of a connection that is answered already it is upkeep.
        self.current.as_mut().filter(|current| !current.was_answered())?.take(step, took, now)
    }

    /// A step of a peer connection. It took as long as the one before it is past.
    pub(super) fn step(&mut self, generation: u64, step: Step, at: Instant) -> Option<Taken> {
        let current = self.of_peer(generation)?;
        let before = current.steps.iter().filter(|(known, ..)| known.is_of_peer() && *known < step);
        let from = before.map(|(_, at, _)| *at).max().or(current.offered).unwrap_or(current.began.0);
        current.take(step, at.saturating_duration_since(from), at)
    }

    pub(super) fn ended(&mut self, generation: u64, ended: Ended, now: Instant) {
        if let Some(current) = self.of_peer(generation) {
            current.ended.get_or_insert((now, ended));
        }
    }

    /// An attempt that has its connection needs no socket.
    pub(super) fn not_joined(&mut self, ended: Ended, now: Instant) {
        if let Some(current) = &mut self.current
            && current.generation.is_none()
        {
            current.ended.get_or_insert((now, ended));
        }
    }
}

/// In seconds, to the millisecond: more than that is noise.
fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;

    fn after(ms: u64, start: Instant) -> Instant {
        start + Duration::from_millis(ms)
    }

    fn failed() -> Ended {
        Ended::Failed { reason: "PeerConnectionFailed", message: "no path".to_owned() }
    }

    #[test]
    fn an_attempt_from_the_first_call_to_the_first_persisted() {
        let (mut line, start) = (TimeLine::default(), Instant::now());
        let ms = Duration::from_millis;
        line.begin("viewer-1", start, SystemTime::UNIX_EPOCH);
        assert_eq!(line.called(Step::Describe, ms(40), after(40, start)).unwrap().took, ms(40));
        line.called(Step::Connect, ms(100), after(150, start)).unwrap();
        // The socket is up; the connection belongs to the same attempt.
        line.begin("viewer-1", after(150, start), SystemTime::UNIX_EPOCH);
        line.peer(7);
        line.called(Step::IceServers, ms(30), after(180, start)).unwrap();
        line.offered(7, after(200, start));
        // Nobody was there: the newest offer counts.
        line.offered(7, after(6200, start));
        let answer = line.step(7, Step::Answer, after(6500, start)).unwrap();
        assert_eq!((answer.took, answer.after, answer.attempt), (ms(300), ms(6500), 1));
        // They are told by two tasks, in either order.
        assert_eq!(line.step(7, Step::Dtls, after(6600, start)).unwrap().took, ms(100));
        assert_eq!(line.step(7, Step::Ice, after(6550, start)).unwrap().took, ms(50));
        assert_eq!(line.step(7, Step::Dtls, after(9000, start)), None, "once");
        assert_eq!(line.step(6, Step::FirstPacket, after(6700, start)), None, "of another connection");
        assert_eq!(line.step(7, Step::FirstPacket, after(6700, start)).unwrap().took, ms(100));
        // A socket is opened anew beside it.
        line.begin("viewer-1", after(7000, start), SystemTime::UNIX_EPOCH);
        assert_eq!(line.called(Step::MediaStorage, ms(10), after(7000, start)), None);
        let status = line.current().unwrap().status();
        let names: Vec<_> = status.steps.iter().map(|step| step.step.as_str()).collect();
        assert_eq!(
            names,
            [
                "DescribeSignalingChannel",
                "ConnectAsViewer",
                "GetIceServerConfig",
                "Answer",
                "Ice",
                "Dtls",
                "FirstPacket"
            ]
        );
        assert_eq!((status.steps[3].seconds, status.steps[3].after_seconds), (0.3, 6.5));
        assert_eq!((status.began.as_str(), status.ended_after_seconds), ("1970-01-01T00:00:00Z", None));
        assert!(line.last().is_none());
    }

    #[test]
    fn the_last_one_is_the_last_that_says_something() {
        let (mut line, now) = (TimeLine::default(), Instant::now());
        let number = |attempt: Option<&Attempt>| attempt.map(|attempt| attempt.number);
        let begin = |line: &mut TimeLine, generation: u64| {
            line.begin("viewer", now, SystemTime::UNIX_EPOCH);
            line.peer(generation);
        };
        begin(&mut line, 1);
        line.step(1, Step::Answer, now).unwrap();
        line.ended(1, Ended::Closed, now);
        assert_eq!(line.step(1, Step::Ice, now), None, "it is over");
        // Two wait for a master in vain.
        for generation in [2, 3] {
            begin(&mut line, generation);
            line.ended(generation, Ended::Closed, now);
        }
        begin(&mut line, 4);
        assert_eq!((number(line.last()), number(line.current())), (Some(1), Some(4)));
        assert!(line.called(Step::IceServers, Duration::ZERO, now).unwrap().is_routine);
        line.ended(4, failed(), now);
        begin(&mut line, 5);
        assert_eq!(number(line.last()), Some(4));
        assert_eq!(line.last().unwrap().status().reason.as_deref(), Some("PeerConnectionFailed"));
        assert!(!line.called(Step::IceServers, Duration::ZERO, now).unwrap().is_routine);
    }

    #[test]
    fn a_channel_that_cannot_be_joined_ends_no_connection() {
        let (mut line, now) = (TimeLine::default(), Instant::now());
        line.begin("viewer", now, SystemTime::UNIX_EPOCH);
        line.not_joined(failed(), now);
        assert_eq!(line.current().unwrap().status().reason.as_deref(), Some("PeerConnectionFailed"));
        line.begin("viewer", now, SystemTime::UNIX_EPOCH);
        line.peer(1);
        line.not_joined(failed(), now);
        assert_eq!(line.current().unwrap().status().reason, None);
    }

    proptest! {
        /// Whatever is told in whatever order: each step once, in its order, and no attempt that goes back.
        #[test]
        fn any_order_is_a_time_line(inputs in prop::collection::vec((0..6_u8, 0..11_usize, 1..4_u64), 0..200)) {
            let (mut line, start, mut number) = (TimeLine::default(), Instant::now(), 0);
            for (at, (kind, step, generation)) in inputs.into_iter().enumerate() {
                let (now, step) = (after(at as u64, start), Step::ALL[step]);
                match kind {
                    0 => line.begin("viewer", now, SystemTime::UNIX_EPOCH),
                    1 => line.peer(generation),
                    2 => line.offered(generation, now),
                    3 => drop(line.called(step, Duration::from_millis(1), now)),
                    4 => drop(line.step(generation, step, now)),
                    _ => line.ended(generation, Ended::Closed, now),
                }
                for attempt in [line.current(), line.last()].into_iter().flatten() {
                    prop_assert!(attempt.steps.is_sorted_by(|(a, ..), (b, ..)| a < b));
                }
                let current = line.current().map_or(0, |attempt| attempt.number);
                prop_assert!(current >= number && line.last().is_none_or(|last| last.number < current));
                number = current;
            }
        }
    }
}
