//! Whether an output takes the media that flows; if not, a person has to know, although it flows. Pure.

use crate::session::{FailureKind, Phase, Reason, View};
use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// An obstacle that is gone by then is told by the log alone: credentials are renewed, connections are opened again.
const PATIENCE: Duration = Duration::from_secs(8);
/// A pipeline that has run for so long is whole again, whatever its output tells of what it delivered.
const WHOLE: Duration = Duration::from_secs(30);
/// A worse obstacle that was not heard of for so long is not what is in the way now.
const STALE: Duration = Duration::from_secs(60);

/// What is in an output's way, as its own folder knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// It heals by itself.
    Interrupted,
    /// The other side says that it is no use.
    Refused,
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
    Denied,
}

impl From<Obstacle> for Severity {
    fn from(obstacle: Obstacle) -> Self {
        match obstacle {
            Obstacle::Interrupted => Self::Interrupted,
            Obstacle::Refused => Self::Refused,
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

/// Whether one output takes its media. The output and the pipelines report to it.
#[derive(Debug)]
pub struct Delivery {
    words: Words,
    trouble: Mutex<Option<Trouble>>,
}

impl Delivery {
    /// Of an output of which nothing bad is known.
    pub fn new(words: Words) -> Self {
        Self { words, trouble: Mutex::default() }
    }

    /// Media has arrived where it was sent.
    pub fn delivered(&self) {
        *self.trouble.lock() = None;
    }

    /// Something is in the way of media.
    pub fn obstructed(&self, obstacle: Obstacle, message: String, now: Instant) {
        self.trouble(obstacle.into(), message, now);
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
        let mut trouble = self.trouble.lock();
        trouble.take_if(|trouble| {
            trouble.severity == Severity::Pipeline
                && trouble.reopened.is_some_and(|at| now.saturating_duration_since(at) >= WHOLE)
        });
        let found = trouble.as_ref().filter(|it| now.saturating_duration_since(it.since) >= PATIENCE)?;
        let (phase, reason) = match found.severity {
            Severity::Interrupted => (Phase::Streaming, Reason::Output(self.words.interrupted)),
            Severity::Pipeline => (Phase::Failed, Reason::PipelineFailed),
            Severity::Refused => (Phase::Failed, Reason::Output(self.words.refused)),
            Severity::Denied => (Phase::Failed, Reason::Failure(FailureKind::AccessDenied)),
        };
        let message = match found.severity {
            Severity::Pipeline => format!("media arrives, and cannot be recorded: {}", found.message),
            Severity::Interrupted | Severity::Refused | Severity::Denied => format!(
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

    const WORDS: Words =
        Words { interrupted: "LiveInterrupted", refused: "LiveRefused", receiver: "the server" };

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
