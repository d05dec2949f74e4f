//! Looking after what AWS records of one object: when to look, when to join the storage session, what is said. Pure: the
//! time and random numbers come from outside.
//!
//! Whether a master is connected is told by nobody but AWS's own metrics. So the stream is looked at: what comes, comes from
//! the session. As long as it comes the session is left alone, because a call to join it takes its master away. When nothing
//! comes the session is joined for the master, at once and then less and less often. One that finds no master waits for three
//! minutes, so that calls three minutes apart leave no gap into which a master could come back unseen.

use std::time::{Duration, Instant};

use kvs_aws::ErrorClass;
use url::Url;

use crate::aws::Evidence;
use crate::conditions::{ConditionStatus, ConditionUpdate, Next};
use crate::pace::jittered;
use crate::reason::Reason;

/// Between looks at what is recorded.
const RECORDED: Duration = Duration::from_secs(30);
/// Between looks just after a call to join, and around the end of a session.
const SOON: Duration = Duration::from_secs(5);
/// From a call to join until the next, doubling.
const JOIN: [Duration; 2] = [Duration::from_secs(15), Duration::from_secs(180)];
/// How long a call to join may take to become a fragment.
const FIRST_FRAGMENT: Duration = Duration::from_secs(20);
/// The life of a session, and how much before and after that it may end.
const SESSION: Duration = Duration::from_secs(3600);
const ABOUT: Duration = Duration::from_secs(60);
/// Between looks while AWS says no.
const REFUSED: Duration = Duration::from_secs(300);

/// Of one object.
#[derive(Debug, Default)]
pub(crate) struct Recording {
    /// `None`: at once.
    next: Option<Instant>,
    /// The turn that comes then is taken.
    has_turn: bool,
    seen: Option<Seen>,
    /// What is older was recorded by somebody else: by the agent before.
    begun: Option<Instant>,
    /// Calls since the last fragment.
    joins: u32,
    joined: Option<Instant>,
    /// When the session that records was joined by this process.
    since: Option<Instant>,
    /// What AWS said to the last call to join.
    refusal: Option<ConditionUpdate>,
    /// Of ListFragments.
    pub(crate) endpoint: Option<Url>,
}

#[derive(Debug)]
enum Seen {
    Recorded,
    Nothing,
    /// It could not be looked.
    Unknown(ConditionUpdate),
}

impl Recording {
    /// Nothing can be recorded yet: it is joined at once.
    pub(crate) fn begin(&mut self, now: Instant) {
        let endpoint = self.endpoint.take();
        *self = Self { seen: Some(Seen::Nothing), begun: Some(now), endpoint, ..Self::default() };
    }

    /// It has begun, and there is nothing to look for before it is joined.
    pub(crate) fn begins(&self) -> bool {
        self.begun.is_some() && self.joined.is_none() && matches!(self.seen, Some(Seen::Nothing))
    }

    /// When to look; `None`: at once.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.next
    }

    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.next.is_none_or(|next| next <= now)
    }

    /// It is to wait for its turn, which takes so long. False: it need not.
    pub(crate) fn queues(&mut self, wait: impl FnOnce() -> Duration, now: Instant) -> bool {
        if std::mem::take(&mut self.has_turn) {
            return false;
        }
        let wait = wait();
        if wait.is_zero() {
            return false;
        }
        (self.next, self.has_turn) = (Some(now + wait), true);
        true
    }

    /// Others ask AWS just now.
    pub(crate) fn put_off(&mut self, until: Instant) {
        self.next = Some(until);
    }

    /// Takes note of a look. True: now is the time to join.
    pub(crate) fn looked(&mut self, evidence: Evidence, now: Instant, random: f64) -> bool {
        let evidence = match self.begun {
            Some(begun) => evidence.within(now.saturating_duration_since(begun)),
            None => evidence,
        };
        let session = self.joined.filter(|_| matches!(self.seen, Some(Seen::Nothing)));
        if evidence.is_recorded() {
            if session.is_some() {
                self.since = session;
            }
            (self.seen, self.joins, self.joined, self.refusal) = (Some(Seen::Recorded), 0, None, None);
            let age = self.since.map(|since| now.saturating_duration_since(since));
            let ends = age.is_some_and(|age| age + ABOUT >= SESSION && age <= SESSION + ABOUT);
            // In time for the end of the session.
            let until_end = age.and_then(|age| (SESSION - ABOUT).checked_sub(age)).filter(|_| !ends);
            let wait = if ends { SOON } else { jittered(RECORDED, random) };
            self.next = Some(now + until_end.map_or(wait, |end| wait.min(end.max(SOON))));
            return false;
        }
        (self.seen, self.since) = (Some(Seen::Nothing), None);
        let due = self.joined.is_none_or(|at| now >= at + self.delay());
        if !due {
            self.wait(now, random);
        }
        due
    }

    /// Did the last look find fragments?
    pub(crate) fn is_recorded(&self) -> bool {
        matches!(self.seen, Some(Seen::Recorded))
    }

    /// It could not be looked: what that means, and nothing else changes.
    pub(crate) fn not_looked(&mut self, why: ConditionUpdate, now: Instant, random: f64) {
        let wait = if why.next == Next::Person { REFUSED } else { RECORDED };
        self.seen = Some(Seen::Unknown(why));
        self.next = Some(now + jittered(wait, random));
    }

    /// The session was joined, or not.
    pub(crate) fn joined(&mut self, result: Result<(), kvs::Error>, now: Instant, random: f64) {
        self.refusal = result.err().map(|error| refusal(&error));
        self.joins = self.joins.saturating_add(1);
        self.joined = Some(now);
        self.wait(now, random);
    }

    /// From the last call to join until the next.
    fn delay(&self) -> Duration {
        let [first, last] = JOIN;
        (first * 2u32.saturating_pow(self.joins.saturating_sub(1).min(8))).min(last)
    }

    /// Until it may have become a fragment, or the next call is due.
    fn wait(&mut self, now: Instant, random: f64) {
        let (Some(joined), delay) = (self.joined, self.delay()) else { return };
        let look = if now < joined + FIRST_FRAGMENT { SOON } else { RECORDED };
        self.next = Some((joined + delay).min(now + jittered(look, random)).max(now + SOON / 5));
    }

    /// What is to be said of media; `None`: nothing is known yet.
    pub(crate) fn condition(&self) -> Option<ConditionUpdate> {
        let settled = |status, reason, message: String| {
            Some(ConditionUpdate { status, reason, message, next: Next::Settled })
        };
        let nothing = "no fragment has reached the stream of late";
        match (self.seen.as_ref()?, &self.refusal) {
            (Seen::Recorded, _) => settled(
                ConditionStatus::True,
                Reason::Streaming,
                "AWS records: fragments reach the stream".to_owned(),
            ),
            (Seen::Unknown(why), _) => {
                let message = format!("whether AWS records cannot be seen: {}", why.message);
                let (status, reason) = (ConditionStatus::Unknown, why.reason.clone());
                Some(ConditionUpdate { status, reason, message, next: why.next })
            }
            (Seen::Nothing, None) => settled(
                ConditionStatus::False,
                Reason::WaitingForMaster,
                format!(
                    "{nothing}, and the storage session is joined for the master again and again: it has to be connected to \
                     the channel, and to answer the offer with H.264 and Opus"
                ),
            ),
            (Seen::Nothing, Some(refusal)) => {
                let message = format!("{nothing}, and {}", refusal.message);
                Some(ConditionUpdate { message, ..refusal.clone() })
            }
        }
    }
}

/// What it means that the session was not joined.
fn refusal(error: &kvs::Error) -> ConditionUpdate {
    let words = format!("AWS answers {}: {}", error.operation, error.message);
    match error.class {
        ErrorClass::AccessDenied => ConditionUpdate::stalled(
            Reason::AccessDenied,
            format!(
                "{words}; who joins the session needs kinesisvideo:JoinStorageSession and GetSignalingChannelEndpoint on the \
                 channel, and DescribeStream, GetDataEndpoint and PutMedia on the stream"
            ),
        ),
        // As with a camera that is off: it may be just that.
        _ => ConditionUpdate::waiting(Reason::WaitingForMaster, words).with_next(Next::Settled),
    }
}

#[cfg(test)]
mod tests {
    use kvs::RecentFragment;

    use super::*;
    use crate::pace::Bucket;

    fn seen(age: Duration) -> Evidence {
        Evidence(vec![RecentFragment { age, length: Duration::from_secs(2) }])
    }

    fn recorded() -> Evidence {
        seen(Duration::ZERO)
    }

    fn nothing() -> Evidence {
        Evidence(Vec::new())
    }

    fn refused(class: ErrorClass) -> kvs::Error {
        kvs::Error {
            operation: "JoinStorageSession",
            resource: "arn:c".to_owned(),
            class,
            message: "no".to_owned(),
            request_id: None,
            being_deleted: false,
        }
    }

    /// Seconds after which it is joined, when nothing ever comes.
    fn joins(recording: &mut Recording, start: Instant, until: u64) -> Vec<u64> {
        let mut joins = Vec::new();
        for second in 0..until {
            let now = start + Duration::from_secs(second);
            if recording.is_due(now) && recording.looked(nothing(), now, 0.5) {
                joins.push(second);
                recording.joined(Ok(()), now, 0.5);
            }
        }
        joins
    }

    #[test]
    fn a_master_is_called_at_once_and_then_less_and_less_often() {
        let start = Instant::now();
        let joined = joins(&mut Recording::default(), start, 1000);
        assert_eq!(joined, [0, 15, 45, 105, 225, 405, 585, 765, 945]);
    }

    #[test]
    fn who_records_is_left_alone_and_looked_at_around_the_end_of_its_session() {
        let start = Instant::now();
        let mut recording = Recording::default();
        recording.begin(start);
        assert!(recording.begins() && recording.is_due(start));
        recording.joined(Ok(()), start, 0.5);
        assert!(!recording.begins());
        let mut looks = Vec::new();
        for second in 1..4000 {
            let now = start + Duration::from_secs(second);
            if recording.is_due(now) {
                assert!(!recording.looked(recorded(), now, 0.5));
                looks.push(second);
            }
        }
        assert_eq!(looks[..4], [5, 35, 65, 95]);
        let near: Vec<_> = looks.iter().filter(|second| (3540..3660).contains(*second)).collect();
        assert!(near.len() >= 23, "{near:?}");
        assert!(looks.len() < 165, "{}", looks.len());
    }

    #[test]
    fn what_the_agent_before_stored_is_no_evidence() {
        let start = Instant::now();
        let mut recording = Recording::default();
        recording.begin(start);
        recording.joined(Ok(()), start, 0.5);
        let now = start + Duration::from_secs(5);
        assert!(!recording.looked(seen(Duration::from_secs(6)), now, 0.5), "it was joined just now");
        assert_eq!(recording.condition().unwrap().reason, Reason::WaitingForMaster);
        recording.looked(seen(Duration::from_secs(3)), now + SOON, 0.5);
        assert_eq!(recording.condition().unwrap().reason, Reason::Streaming);
    }

    #[test]
    fn what_aws_answers_is_told() {
        let start = Instant::now();
        let after = |class| {
            let mut recording = Recording::default();
            assert!(recording.looked(nothing(), start, 0.5));
            recording.joined(Err(refused(class)), start, 0.5);
            recording.condition().unwrap()
        };
        let denied = after(ErrorClass::AccessDenied);
        assert_eq!((denied.reason, denied.next), (Reason::AccessDenied, Next::Person));
        assert!(denied.message.contains("kinesisvideo:JoinStorageSession"), "{}", denied.message);
        let off = after(ErrorClass::InvalidRequest);
        assert_eq!((off.reason, off.next), (Reason::WaitingForMaster, Next::Settled));
        assert!(off.message.contains("JoinStorageSession: no"), "{}", off.message);
        let mut recording = Recording::default();
        assert_eq!(recording.condition(), None, "nothing is known yet");
        recording.not_looked(ConditionUpdate::unknown(Reason::Throttled, "wait"), start, 0.5);
        assert_eq!(recording.condition().unwrap().status, ConditionStatus::Unknown);
        assert_eq!(recording.next(), Some(start + RECORDED));
    }

    /// With 10,000 recordings nobody asks AWS more often than the quota lets, and none is forgotten.
    #[test]
    fn so_many_share_what_the_account_may_ask() {
        const RATE: f64 = 25.0;
        for (count, dark) in [(100, false), (10_000, false), (10_000, true)] {
            let start = Instant::now();
            let mut bucket = Bucket::new(RATE, RATE, start);
            let mut all: Vec<_> = (0..count).map(|_| (Recording::default(), Vec::new())).collect();
            let mut busiest = 0;
            for second in 0..1200 {
                let now = start + Duration::from_secs(second);
                let mut asked = 0;
                for (recording, looks) in &mut all {
                    if !recording.is_due(now) || recording.queues(|| bucket.reserve(now), now) {
                        continue;
                    }
                    asked += 1;
                    looks.push(second);
                    let evidence = if dark { nothing() } else { recorded() };
                    if recording.looked(evidence, now, 0.5) {
                        recording.joined(Ok(()), now, 0.5);
                    }
                }
                busiest = busiest.max(asked);
            }
            assert!(busiest <= 51, "{busiest} in a second of {count}");
            let longest =
                all.iter().flat_map(|(_, looks)| looks.windows(2)).map(|pair| pair[1] - pair[0]).max();
            let fair = if count == 100 { 31 } else { 10_000 / 25 + 31 };
            assert!(longest.unwrap() <= fair, "{longest:?} of {count}");
            assert!(all.iter().all(|(_, looks)| looks.len() >= 2), "{count}");
        }
    }
}
