//! What keeps received media from being stored: it flows, and yet a person has to know.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gstkvssink::{AckKind, CloseReason, Event, SinkEvent};
use parking_lot::Mutex;

use crate::session::{Phase, View};

/// Trouble that is over by then is told by the log alone: credentials are renewed, connections are opened again.
const PATIENCE: Duration = Duration::from_secs(8);
/// A pipeline that has run for so long is whole again, whatever its sink tells of acknowledgements.
const WHOLE: Duration = Duration::from_secs(30);
/// Worse trouble that was not heard of for so long is not what is in the way now.
const STALE: Duration = Duration::from_secs(60);

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// It heals by itself.
    Interrupted,
    /// GStreamer fails.
    Pipeline,
    /// KVS says that it is no use.
    Refused,
    /// Permissions or credentials are missing.
    Denied,
}

impl Kind {
    fn standing(self) -> (Phase, &'static str) {
        match self {
            Kind::Interrupted => (Phase::Streaming, "StorageInterrupted"),
            Kind::Pipeline => (Phase::Failed, "PipelineFailed"),
            Kind::Refused => (Phase::Failed, "StorageRefused"),
            Kind::Denied => (Phase::Failed, "AccessDenied"),
        }
    }
}

#[derive(Debug)]
struct Trouble {
    kind: Kind,
    message: String,
    since: Instant,
    /// When it was last heard of.
    heard: Instant,
    /// The pipeline was built again then, and has not complained since.
    reopened: Option<Instant>,
}

/// Knows whether media is stored. It hears the sink and the pipeline, and has a word in what the agent says of itself.
#[derive(Debug, Default)]
pub struct Delivery {
    trouble: Mutex<Option<Trouble>>,
    /// The stream has no retention: nothing is ever PERSISTED.
    keeps_nothing: AtomicBool,
}

impl Delivery {
    /// Something happened in the sink.
    pub fn hear(&self, event: &SinkEvent, now: Instant) {
        let event = match event {
            SinkEvent::StreamReady { retention_hours, .. } => {
                return self.keeps_nothing.store(*retention_hours == 0, Ordering::Relaxed);
            }
            SinkEvent::Producer(event) => event,
        };
        match event {
            // RECEIVED alone is no news: what is wrong with a key, say, is found when the fragment is to be stored.
            Event::Ack { kind, .. }
                if *kind == AckKind::Persisted
                    || (*kind == AckKind::Received && self.keeps_nothing.load(Ordering::Relaxed)) =>
            {
                *self.trouble.lock() = None;
            }
            // Complaints about what is stored all the same have no code.
            Event::Error { code: 1.., message, fatal, denied } => {
                let kind = match (denied, fatal) {
                    (true, _) => Kind::Denied,
                    (false, true) => Kind::Refused,
                    (false, false) => Kind::Interrupted,
                };
                self.trouble(kind, message.clone(), now);
            }
            Event::SessionClosed { reason: reason @ (CloseReason::Lost(_) | CloseReason::Stale), .. } => {
                self.trouble(Kind::Interrupted, format!("PutMedia: {reason}"), now);
            }
            _ => {}
        }
    }

    /// The pipeline broke.
    pub fn broken(&self, message: &str, now: Instant) {
        self.trouble(Kind::Pipeline, message.to_owned(), now);
    }

    /// The pipeline runs.
    pub fn opened(&self, now: Instant) {
        if let Some(trouble) = &mut *self.trouble.lock() {
            trouble.reopened = Some(now);
        }
    }

    fn trouble(&self, kind: Kind, message: String, now: Instant) {
        let mut trouble = self.trouble.lock();
        match &mut *trouble {
            Some(before) => {
                // What follows from the worse thing is no news.
                if kind >= before.kind || now.saturating_duration_since(before.heard) >= STALE {
                    (before.kind, before.message, before.heard) = (kind, message, now);
                }
                before.reopened = None;
            }
            None => *trouble = Some(Trouble { kind, message, since: now, heard: now, reopened: None }),
        }
    }

    /// What to say, when the session says `view`.
    pub fn view(&self, view: View, now: Instant) -> View {
        let mut trouble = self.trouble.lock();
        if view.phase != Phase::Streaming {
            // What was wrong with the last recording is not yet wrong with the next.
            if let Some(trouble) = &mut *trouble {
                trouble.since = now;
            }
            return view;
        }
        trouble.take_if(|trouble| {
            trouble.kind == Kind::Pipeline
                && trouble.reopened.is_some_and(|at| now.saturating_duration_since(at) >= WHOLE)
        });
        let Some(found) = trouble.as_ref().filter(|t| now.saturating_duration_since(t.since) >= PATIENCE)
        else {
            return view;
        };
        let (phase, reason) = found.kind.standing();
        let message = match found.kind {
            Kind::Pipeline => format!("media arrives, and cannot be recorded: {}", found.message),
            _ => format!("media arrives and waits, because KVS does not take it: {}", found.message),
        };
        View { phase, reason, message, ..view }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streaming() -> View {
        View {
            phase: Phase::Streaming,
            reason: "Streaming",
            message: "media flows".to_owned(),
            signaling: true,
            authenticated: true,
            client_id: "c".to_owned(),
        }
    }

    fn error(code: u32, denied: bool) -> SinkEvent {
        SinkEvent::Producer(Event::Error { code, message: format!("error {code}"), fatal: false, denied })
    }

    #[test]
    fn a_refusal_that_lasts_is_told_until_something_is_stored() {
        let (delivery, start) = (Delivery::default(), Instant::now());
        delivery.hear(&error(403, true), start);
        assert_eq!(delivery.view(streaming(), start), streaming());
        // What is worse stays.
        delivery.hear(&error(503, false), start + PATIENCE);
        let view = delivery.view(streaming(), start + PATIENCE);
        assert_eq!((view.phase, view.reason), (Phase::Failed, "AccessDenied"));
        assert!(view.message.contains("error 403"), "{}", view.message);
        // Without media there is nothing to store.
        let waiting = View { phase: Phase::WaitingForMaster, ..streaming() };
        assert_eq!(delivery.view(waiting.clone(), start + PATIENCE), waiting);
        assert_eq!(delivery.view(streaming(), start + 2 * PATIENCE - Duration::from_secs(1)), streaming());
        // In time another thing is in the way.
        delivery.hear(&error(503, false), start + STALE);
        assert_eq!(delivery.view(streaming(), start + STALE).reason, "StorageInterrupted");
        let ack =
            |kind| SinkEvent::Producer(Event::Ack { kind, timecode_ms: Some(1), fragment_number: None });
        delivery.hear(&ack(AckKind::Received), start + STALE);
        assert_eq!(delivery.view(streaming(), start + STALE).reason, "StorageInterrupted");
        delivery.hear(&ack(AckKind::Persisted), start + STALE);
        assert_eq!(delivery.view(streaming(), start + STALE), streaming());

        let ready = SinkEvent::StreamReady { stream: "s".to_owned(), retention_hours: 0 };
        delivery.hear(&ready, start);
        delivery.hear(&error(403, true), start);
        delivery.hear(&ack(AckKind::Received), start);
        assert_eq!(delivery.view(streaming(), start + PATIENCE), streaming());
    }

    #[test]
    fn an_outage_is_told_and_is_no_failure() {
        let (delivery, start) = (Delivery::default(), Instant::now());
        delivery.hear(&error(0, false), start);
        assert_eq!(delivery.view(streaming(), start + PATIENCE), streaming());
        delivery.hear(&error(503, false), start);
        let view = delivery.view(streaming(), start + PATIENCE);
        assert_eq!((view.phase, view.reason), (Phase::Streaming, "StorageInterrupted"));
    }

    #[test]
    fn a_pipeline_that_runs_again_is_forgiven_in_time() {
        let (delivery, start) = (Delivery::default(), Instant::now());
        delivery.broken("no element", start);
        delivery.opened(start + PATIENCE);
        let reason = |after| delivery.view(streaming(), start + after).reason;
        assert_eq!(reason(PATIENCE), "PipelineFailed");
        delivery.broken("no element", start + 2 * PATIENCE);
        assert_eq!(reason(2 * PATIENCE + WHOLE), "PipelineFailed");
        delivery.opened(start + 3 * PATIENCE);
        assert_eq!(reason(3 * PATIENCE + WHOLE), "Streaming");
    }
}
