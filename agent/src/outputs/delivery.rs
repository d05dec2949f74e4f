//! Whether an output takes the media that flows; if not, a person has to know, although it flows. Pure.

use crate::session::{FailureKind, Phase, Reason, View};
use parking_lot::Mutex;
use std::time::{Duration, Instant, SystemTime};

/// An obstacle that is gone by then is told by the log alone: credentials are renewed, connections are opened again.
const PATIENCE: Duration = Duration::from_secs(8);
/// A pipeline that has run for so long is whole again, whatever its output tells of what it delivered.
const WHOLE: Duration = Duration::from_secs(30);
/// Media flows, nothing of it arrives, and nothing is known to be in its way: whatever stands still in between has had so
/// long. A fragment of 2 s is persisted within some seconds, one of a camera with a key frame every 20 s not much later, and a
/// connection on which KVS says nothing is an obstacle after a minute.
const STALL: Duration = Duration::from_secs(90);
/// A pause of the media that is longer is none of the pipeline's.
const PAUSE: Duration = Duration::from_secs(10);
/// Pipelines that are put in another's place for that; if nothing arrives then, the process is begun anew.
const REPLACEMENTS: u32 = 2;
/// A worse obstacle that was not heard of for so long is not what is in the way now.
const STALE: Duration = Duration::from_secs(60);

/// What is in an output's way, as its own folder knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// It heals by itself.
    Interrupted,
    /// The other side says that it is no use.
    Refused,
    /// What it writes to is not there.
    Missing,
    /// Permissions or credentials are missing.
    Denied,
}

/// From what heals to what a person must mend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Severity {
    Interrupted,
    /// GStreamer fails.
    Pipeline,
    Refused,
    Missing,
    Denied,
}

impl From<Obstacle> for Severity {
    fn from(obstacle: Obstacle) -> Self {
        match obstacle {
            Obstacle::Interrupted => Self::Interrupted,
            Obstacle::Refused => Self::Refused,
            Obstacle::Missing => Self::Missing,
            Obstacle::Denied => Self::Denied,
        }
    }
}

/// How an output calls what is in its way.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    /// Reason of [`Obstacle::Interrupted`], one CamelCase word.
    pub interrupted: &'static str,
    /// Reason of [`Obstacle::Refused`], one CamelCase word.
    pub refused: &'static str,
    /// Reason of [`Obstacle::Missing`], one CamelCase word.
    pub missing: &'static str,
    /// Who does not take the media, in the message.
    pub receiver: &'static str,
}

#[derive(Debug)]
struct Trouble {
    severity: Severity,
    message: String,
    since: Instant,
    /// When it was last heard of.
    heard: Instant,
    /// The pipeline was built again then, and has not complained since.
    reopened: Option<Instant>,
}

/// Media that was put into a pipeline, and of which nothing has been heard.
#[derive(Clone, Copy, Debug)]
struct Unheard {
    since: Instant,
    /// When media was last put in.
    fed: Instant,
}

/// What is seen of media that goes in and does not come out.
#[derive(Debug, Default)]
struct Watch {
    unheard: Option<Unheard>,
    /// Something was known to be in the way then.
    obstructed: Option<Instant>,
    /// How often in a row nothing came out for [`STALL`].
    stalls: u32,
}

/// A fragment may begin with sound from before its first picture: tracks wait for each other for so long.
const LEAD: Duration = Duration::from_secs(1);

/// Whether one output takes its media. The output and the pipelines report to it.
#[derive(Debug)]
pub struct Delivery {
    words: Words,
    trouble: Mutex<Option<Trouble>>,
    /// `None`: the output does not tell what arrives.
    watch: Option<Mutex<Watch>>,
    awaited: Mutex<Option<Awaited>>,
}

/// Media whose storing is to be remembered.
#[derive(Clone, Copy, Debug)]
struct Awaited {
    capture_time: SystemTime,
    stored_at: Option<Instant>,
}

impl Delivery {
    /// Of an output of which nothing bad is known.
    pub fn new(words: Words) -> Self {
        Self { words, trouble: Mutex::default(), watch: None, awaited: Mutex::default() }
    }

    /// Of one that says [`Delivery::delivered`] of all that arrives: when it says nothing, something stands still.
    pub fn watched(words: Words) -> Self {
        Self { watch: Some(Mutex::default()), ..Self::new(words) }
    }

    /// Media has arrived where it was sent.
    pub fn delivered(&self) {
        *self.trouble.lock() = None;
        if let Some(watch) = &self.watch {
            *watch.lock() = Watch::default();
        }
    }

    /// Media of this capture time is on its way.
    pub(super) fn await_stored(&self, capture_time: SystemTime) {
        *self.awaited.lock() = Some(Awaited { capture_time, stored_at: None });
    }

    /// When it was stored, if it was.
    pub(super) fn stored_at(&self, capture_time: SystemTime) -> Option<Instant> {
        self.awaited.lock().filter(|awaited| awaited.capture_time == capture_time)?.stored_at
    }

    /// A fragment that begins at this producer time is stored.
    pub fn stored(&self, begins: SystemTime, now: Instant) {
        if let Some(awaited) = &mut *self.awaited.lock()
            && begins + LEAD >= awaited.capture_time
        {
            awaited.stored_at.get_or_insert(now);
        }
    }

    /// Something is in the way of media.
    pub fn obstructed(&self, obstacle: Obstacle, message: String, now: Instant) {
        self.trouble(obstacle.into(), message, now);
        // That is why nothing arrives. What heals it is not another pipeline, which would have less of a buffer.
        if let Some(watch) = &self.watch {
            let mut watch = watch.lock();
            (watch.unheard, watch.obstructed) = (None, Some(now));
        }
    }

    /// Media was put into the pipeline, or is there for one.
    pub(super) fn fed(&self, now: Instant) {
        let Some(watch) = &self.watch else { return };
        let mut watch = watch.lock();
        match &mut watch.unheard {
            Some(unheard) if now.saturating_duration_since(unheard.fed) < PAUSE => unheard.fed = now,
            unheard => *unheard = Some(Unheard { since: now, fed: now }),
        }
    }

    /// Whether nothing arrives of what is put in, although nothing is known to be in the way: then for how long. It is
    /// counted, and not said again before as long has passed.
    pub(super) fn stalled(&self, now: Instant) -> Option<Duration> {
        let mut watch = self.watch.as_ref()?.lock();
        // An outage is not heard of every minute.
        if watch.obstructed.is_some_and(|at| now.saturating_duration_since(at) < 2 * STALL) {
            return None;
        }
        let unheard = watch.unheard?;
        let waited = unheard.fed.saturating_duration_since(unheard.since);
        if waited < STALL || now.saturating_duration_since(unheard.fed) >= PAUSE {
            return None;
        }
        watch.unheard = None;
        watch.stalls += 1;
        Some(waited)
    }

    /// Other pipelines did not help either.
    pub(super) fn is_stuck(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.lock().stalls > REPLACEMENTS)
    }

    /// A pipeline stood still, and no other has delivered anything since.
    fn has_stalled(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.lock().stalls > 0)
    }

    /// The pipeline broke.
    pub(super) fn pipeline_broken(&self, message: &str, now: Instant) {
        self.trouble(Severity::Pipeline, message.to_owned(), now);
    }

    /// The pipeline runs.
    pub(super) fn pipeline_opened(&self, now: Instant) {
        if let Some(trouble) = &mut *self.trouble.lock() {
            trouble.reopened = Some(now);
        }
    }

    fn trouble(&self, severity: Severity, message: String, now: Instant) {
        let mut trouble = self.trouble.lock();
        match &mut *trouble {
            Some(before) => {
                // What follows from the worse thing is no news.
                if severity >= before.severity || now.saturating_duration_since(before.heard) >= STALE {
                    (before.severity, before.message, before.heard) = (severity, message, now);
                }
                before.reopened = None;
            }
            None => *trouble = Some(Trouble { severity, message, since: now, heard: now, reopened: None }),
        }
    }

    /// No media flows: what was in the way of the last is not yet in the way of the next.
    fn restart_patience(&self, now: Instant) {
        if let Some(trouble) = &mut *self.trouble.lock() {
            trouble.since = now;
        }
    }

    /// What is in the way of media that flows, and lasts: phase, reason and message.
    fn standing(&self, now: Instant) -> Option<(Severity, Phase, Reason, String)> {
        let has_stalled = self.has_stalled();
        let mut trouble = self.trouble.lock();
        trouble.take_if(|trouble| {
            trouble.severity == Severity::Pipeline
                && !has_stalled
                && trouble.reopened.is_some_and(|at| now.saturating_duration_since(at) >= WHOLE)
        });
        let found = trouble.as_ref().filter(|it| now.saturating_duration_since(it.since) >= PATIENCE)?;
        let (phase, reason) = match found.severity {
            Severity::Interrupted => (Phase::Streaming, Reason::Output(self.words.interrupted)),
            Severity::Pipeline => (Phase::Failed, Reason::PipelineFailed),
            Severity::Refused => (Phase::Failed, Reason::Output(self.words.refused)),
            Severity::Missing => (Phase::Failed, Reason::Output(self.words.missing)),
            Severity::Denied => (Phase::Failed, Reason::Failure(FailureKind::AccessDenied)),
        };
        let message = match found.severity {
            Severity::Pipeline => format!("media arrives, and cannot be recorded: {}", found.message),
            Severity::Interrupted | Severity::Refused | Severity::Missing | Severity::Denied => format!(
                "media arrives and waits, because {} does not take it: {}",
                self.words.receiver, found.message
            ),
        };
        Some((found.severity, phase, reason, message))
    }
}

/// What to say, when the session says `view`: the worst that is in the way of any output.
pub(super) fn view<'a>(view: View, deliveries: impl Iterator<Item = &'a Delivery>, now: Instant) -> View {
    if view.phase != Phase::Streaming {
        deliveries.for_each(|delivery| delivery.restart_patience(now));
        return view;
    }
    let worst =
        deliveries.filter_map(|delivery| delivery.standing(now)).max_by_key(|(severity, ..)| *severity);
    match worst {
        Some((_, phase, reason, message)) => View { phase, reason, message, ..view },
        None => view,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: Words = Words {
        interrupted: "LiveInterrupted",
        refused: "LiveRefused",
        missing: "LiveNotFound",
        receiver: "the server",
    };

    fn said(delivery: &Delivery, now: Instant) -> View {
        view(View::streaming(), [delivery].into_iter(), now)
    }

    #[test]
    fn an_obstacle_that_lasts_is_told_until_something_is_delivered() {
        let (delivery, start) = (Delivery::new(WORDS), Instant::now());
        delivery.obstructed(Obstacle::Denied, "error 403".to_owned(), start);
        assert_eq!(said(&delivery, start), View::streaming());
        let view = said(&delivery, start + PATIENCE);
        assert_eq!((view.phase, view.reason.as_str()), (Phase::Failed, "AccessDenied"));
        assert_eq!(view.message, "media arrives and waits, because the server does not take it: error 403");
        delivery.delivered();
        assert_eq!(said(&delivery, start + PATIENCE), View::streaming());
    }

    #[test]
    fn the_worse_obstacle_stays_until_it_was_not_heard_of_for_long() {
        let (delivery, start) = (Delivery::new(WORDS), Instant::now());
        delivery.obstructed(Obstacle::Denied, "error 403".to_owned(), start);
        delivery.obstructed(Obstacle::Interrupted, "error 503".to_owned(), start + PATIENCE);
        let view = said(&delivery, start + PATIENCE);
        assert_eq!((view.phase, view.reason.as_str()), (Phase::Failed, "AccessDenied"));
        assert!(view.message.contains("error 403"), "{}", view.message);
        delivery.obstructed(Obstacle::Interrupted, "error 503".to_owned(), start + STALE);
        assert_eq!(said(&delivery, start + STALE).reason.as_str(), "LiveInterrupted");
    }

    #[test]
    fn an_obstacle_is_not_told_before_media_has_flowed_for_a_while() {
        let (delivery, start) = (Delivery::new(WORDS), Instant::now());
        delivery.obstructed(Obstacle::Denied, "error 403".to_owned(), start);
        let waiting = View { phase: Phase::WaitingForMaster, ..View::streaming() };
        let told = view(waiting.clone(), [&delivery].into_iter(), start + PATIENCE);
        assert_eq!(told, waiting);
        assert_eq!(said(&delivery, start + 2 * PATIENCE - Duration::from_secs(1)), View::streaming());
        assert_eq!(said(&delivery, start + 2 * PATIENCE).reason.as_str(), "AccessDenied");
    }

    #[test]
    fn of_several_outputs_the_worst_is_told() {
        let (one, other, start) = (Delivery::new(WORDS), Delivery::new(WORDS), Instant::now());
        one.obstructed(Obstacle::Refused, "no such stream".to_owned(), start);
        other.obstructed(Obstacle::Interrupted, "error 503".to_owned(), start);
        let told = |now| view(View::streaming(), [&one, &other].into_iter(), now).reason.as_str();
        assert_eq!(told(start + PATIENCE), "LiveRefused");
        one.delivered();
        assert_eq!(told(start + PATIENCE), "LiveInterrupted");
    }

    const NEVER: [u64; 0] = [];

    /// What is fed every second for so many, and when it is said to stand still.
    fn stalls(delivery: &Delivery, start: Instant, seconds: std::ops::Range<u64>) -> Vec<u64> {
        let mut stalls = Vec::new();
        for second in seconds {
            let now = start + Duration::from_secs(second);
            delivery.fed(now);
            stalls.extend(delivery.stalled(now).map(|_| second));
        }
        stalls
    }

    #[test]
    fn media_of_which_nothing_is_heard_stands_still_and_in_the_end_the_process_is_stuck() {
        let (delivery, start) = (Delivery::watched(WORDS), Instant::now());
        assert_eq!(stalls(&delivery, start, 0..182), [90, 181]);
        assert!(!delivery.is_stuck());
        assert_eq!(stalls(&delivery, start, 182..280), [272]);
        assert!(delivery.is_stuck());
        delivery.delivered();
        assert!(!delivery.is_stuck());
        assert_eq!(stalls(&delivery, start, 280..310), NEVER);
    }

    #[test]
    fn what_is_delivered_obstructed_or_paused_does_not_stand_still() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        for known in [
            |delivery: &Delivery, _| delivery.delivered(),
            |delivery: &Delivery, now| {
                delivery.obstructed(Obstacle::Interrupted, "error 503".to_owned(), now);
            },
        ] {
            let delivery = Delivery::watched(WORDS);
            for round in 0..20_u64 {
                assert_eq!(stalls(&delivery, start, round * 50..(round + 1) * 50), NEVER);
                known(&delivery, at((round + 1) * 50));
            }
        }
        // An outage that is heard of seldom, and ends in silence.
        let delivery = Delivery::watched(WORDS);
        delivery.obstructed(Obstacle::Interrupted, "error 503".to_owned(), start);
        assert_eq!(stalls(&delivery, start, 0..170), NEVER);
        delivery.obstructed(Obstacle::Interrupted, "error 503".to_owned(), at(170));
        assert_eq!(stalls(&delivery, start, 170..351), [350]);
        let delivery = Delivery::watched(WORDS);
        // A camera that is on for half a minute at a time; nothing is fed, and nothing stands still, in between.
        for round in 0..20_u64 {
            assert_eq!(stalls(&delivery, start, round * 60..round * 60 + 30), NEVER);
            assert_eq!(delivery.stalled(at(round * 60 + 45)), None);
        }
        let unwatched = Delivery::new(WORDS);
        assert_eq!(stalls(&unwatched, start, 0..1_000), NEVER);
        assert!(!unwatched.is_stuck());
    }

    #[test]
    fn a_pipeline_that_stood_still_is_not_forgiven_before_another_delivers() {
        let (delivery, start) = (Delivery::watched(WORDS), Instant::now());
        let at = |second| start + Duration::from_secs(second);
        assert_eq!(stalls(&delivery, start, 0..91), [90]);
        delivery.pipeline_broken("nothing arrives", at(90));
        delivery.pipeline_opened(at(91));
        assert_eq!(said(&delivery, at(140)).reason.as_str(), "PipelineFailed");
        delivery.delivered();
        assert_eq!(said(&delivery, at(140)).reason.as_str(), "Streaming");
    }

    #[test]
    fn the_first_fragment_of_what_is_awaited_is_remembered() {
        let (delivery, now) = (Delivery::new(WORDS), Instant::now());
        let at = |ms: u64| SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
        delivery.stored(at(10_000), now);
        assert_eq!(delivery.stored_at(at(10_000)), None, "nothing is awaited");
        delivery.await_stored(at(10_000));
        delivery.stored(at(8_000), now);
        assert_eq!(delivery.stored_at(at(10_000)), None, "of before");
        // It begins with sound.
        delivery.stored(at(9_981), now + Duration::from_secs(1));
        delivery.stored(at(11_981), now + Duration::from_secs(3));
        assert_eq!(delivery.stored_at(at(10_000)), Some(now + Duration::from_secs(1)));
        assert_eq!(delivery.stored_at(at(9_000)), None, "something else is awaited since");
    }

    #[test]
    fn a_pipeline_that_runs_again_is_forgiven_in_time() {
        let (delivery, start) = (Delivery::new(WORDS), Instant::now());
        delivery.pipeline_broken("no element", start);
        delivery.pipeline_opened(start + PATIENCE);
        let reason = |after| said(&delivery, start + after).reason.as_str();
        assert_eq!(reason(PATIENCE), "PipelineFailed");
        delivery.pipeline_broken("no element", start + 2 * PATIENCE);
        assert_eq!(reason(2 * PATIENCE + WHOLE), "PipelineFailed");
        delivery.pipeline_opened(start + 3 * PATIENCE);
        assert_eq!(reason(3 * PATIENCE + WHOLE), "Streaming");
    }
}
