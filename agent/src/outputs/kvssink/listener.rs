//! Hears our `kvssink`: what a person may want to know is logged, and what keeps media from being stored is reported.

use crate::outputs::delivery::{Delivery, Obstacle};
use gstkvssink::{AckKind, CloseReason, Event, SinkEvent};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// Code of an error that says that the stream is not there (`STATUS_SERVICE_CALL_RESOURCE_NOT_FOUND_ERROR`).
const NOT_FOUND: u32 = 0x5200_0017;

/// Of all sinks of this process.
pub(super) struct Listener {
    delivery: Arc<Delivery>,
    /// The stream has no retention: nothing is ever PERSISTED.
    keeps_nothing: AtomicBool,
}

impl Listener {
    pub(super) fn new(delivery: Arc<Delivery>) -> Self {
        Self { delivery, keeps_nothing: AtomicBool::new(false) }
    }

    /// Something happened in a sink.
    pub(super) fn handle(&self, event: SinkEvent, now: Instant) {
        self.report(&event, now);
        log(event);
    }

    fn report(&self, event: &SinkEvent, now: Instant) {
        let event = match event {
            SinkEvent::StreamReady { retention_hours, .. } => {
                return self.keeps_nothing.store(*retention_hours == 0, Ordering::Relaxed);
            }
            SinkEvent::StreamAwaited { creating, waited, .. } => {
                let why = match creating {
                    true => "AWS has not finished making the stream",
                    false => "AWS does not answer when asked where the stream is",
                };
                let message = format!("{why}, after {} s; it goes on by itself", waited.as_secs());
                return self.delivery.obstructed(Obstacle::Interrupted, message, now);
            }
            SinkEvent::Producer(event) => event,
        };
        match event {
            // RECEIVED alone is no news: what is wrong with a key, say, is found when the fragment is to be stored.
            Event::Ack { kind, timecode_ms, .. }
                if *kind == AckKind::Persisted
                    || (*kind == AckKind::Received && self.keeps_nothing.load(Ordering::Relaxed)) =>
            {
                self.delivery.delivered();
                if let Some(begins) = timecode_ms {
                    self.delivery.stored(SystemTime::UNIX_EPOCH + Duration::from_millis(*begins), now);
                }
            }
            // Complaints about what is stored all the same have no code.
            // The same from the control plane and from PutMedia.
            Event::Error { code: NOT_FOUND | 404, .. } => {
                let message = "its stream does not exist: create it, or set spec.stream.createIfMissing, with which the \
                               operator makes it again"
                    .to_owned();
                self.delivery.obstructed(Obstacle::Missing, message, now);
            }
            Event::Error { code: 1.., message, fatal, denied } => {
                let obstacle = match (denied, fatal) {
                    (true, _) => Obstacle::Denied,
                    (false, true) => Obstacle::Refused,
                    (false, false) => Obstacle::Interrupted,
                };
                self.delivery.obstructed(obstacle, message.clone(), now);
            }
            Event::SessionClosed { reason: reason @ (CloseReason::Lost(_) | CloseReason::Stale), .. } => {
                self.delivery.obstructed(Obstacle::Interrupted, format!("PutMedia: {reason}"), now);
            }
            _ => {}
        }
    }
}

/// One line for each thing that a person may want to know.
fn log(event: SinkEvent) {
    match event {
        SinkEvent::StreamReady { stream, retention_hours } => {
            tracing::info!(stream, retention_hours, "the stream is ready");
        }
        SinkEvent::StreamAwaited { stream, creating, again: false, .. } => {
            tracing::warn!(
                stream,
                creating,
                "the stream is not ready, and waited for: media is kept meanwhile"
            );
        }
        SinkEvent::StreamAwaited { .. } => {}
        SinkEvent::Producer(Event::SessionOpened(session)) => {
            tracing::info!(session = session.0, "PutMedia session opened");
        }
        SinkEvent::Producer(Event::SessionClosed { id, reason }) => {
            tracing::info!(session = id.0, %reason, "PutMedia session closed");
        }
        SinkEvent::Producer(Event::Ack { kind: AckKind::Persisted, timecode_ms, fragment_number }) => {
            tracing::debug!(timecode_ms, fragment_number, "fragment persisted");
        }
        SinkEvent::Producer(Event::Ack { .. }) => {}
        SinkEvent::Producer(Event::Dropped { fragments, frames, bytes, reason }) => {
            tracing::warn!(
                fragments,
                video = frames[0],
                audio = frames[1],
                bytes,
                ?reason,
                "media was given up"
            );
        }
        SinkEvent::Producer(Event::StoredLate { frames }) => {
            tracing::warn!(
                video = frames[0],
                audio = frames[1],
                "media came too late for its fragment, and is stored in a session of its own"
            );
        }
        SinkEvent::Producer(Event::Restored { fragments, frames }) => {
            tracing::info!(
                fragments,
                video = frames[0],
                audio = frames[1],
                "the spool held media from before"
            );
        }
        SinkEvent::Producer(Event::StoredElsewhere { fragments, frames }) => {
            tracing::debug!(
                fragments,
                video = frames[0],
                audio = frames[1],
                "the agent before has stored this"
            );
        }
        SinkEvent::Producer(Event::HeldTooMuch) => {
            tracing::warn!(
                "what waits for the end of the agent before fills half of the memory: it is sent now"
            );
        }
        SinkEvent::Producer(Event::SpoolFailed { message }) => tracing::warn!("{message}"),
        SinkEvent::Producer(Event::Error { code, message, fatal, .. }) => {
            tracing::warn!(code, fatal, "{message}");
        }
        SinkEvent::Producer(other) => tracing::debug!(?other, "kvssink"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::WORDS;
    use super::*;
    use crate::outputs::delivery;
    use crate::session::{Phase, View};
    use std::time::Duration;

    /// Long enough for an obstacle to be told.
    const LATER: Duration = Duration::from_secs(10);

    struct Bench {
        listener: Listener,
        start: Instant,
    }

    impl Bench {
        fn new() -> Self {
            Self { listener: Listener::new(Arc::new(Delivery::new(WORDS))), start: Instant::now() }
        }

        fn hear(&self, event: Event) {
            self.listener.handle(SinkEvent::Producer(event), self.start);
        }

        fn refuse(&self, code: u32, fatal: bool, denied: bool) {
            self.hear(Event::Error { code, message: format!("error {code}"), fatal, denied });
        }

        fn acknowledge(&self, kind: AckKind) {
            self.hear(Event::Ack { kind, timecode_ms: Some(1), fragment_number: None });
        }

        /// Phase and reason of the agent while media flows.
        fn said(&self) -> (Phase, &'static str) {
            let view =
                delivery::view(View::streaming(), [&*self.listener.delivery].into_iter(), self.start + LATER);
            (view.phase, view.reason.as_str())
        }
    }

    #[test]
    fn what_is_denied_is_told_until_a_fragment_is_persisted() {
        let bench = Bench::new();
        bench.refuse(403, false, true);
        assert_eq!(bench.said(), (Phase::Failed, "AccessDenied"));
        bench.acknowledge(AckKind::Received);
        assert_eq!(bench.said(), (Phase::Failed, "AccessDenied"), "RECEIVED is not stored");
        bench.acknowledge(AckKind::Persisted);
        assert_eq!(bench.said(), (Phase::Streaming, "Streaming"));
    }

    #[test]
    fn what_kvs_refuses_for_good_is_a_failure() {
        let bench = Bench::new();
        bench.refuse(4000, true, false);
        assert_eq!(bench.said(), (Phase::Failed, "StorageRefused"));
    }

    #[test]
    fn a_stream_that_is_gone_is_told_as_that_until_it_is_there_again() {
        for code in [404, NOT_FOUND] {
            let bench = Bench::new();
            bench.refuse(code, false, false);
            bench.refuse(503, false, false);
            assert_eq!(bench.said(), (Phase::Failed, "StreamNotFound"));
            bench.acknowledge(AckKind::Persisted);
            assert_eq!(bench.said(), (Phase::Streaming, "Streaming"));
        }
    }

    #[test]
    fn an_outage_is_told_and_is_no_failure() {
        let bench = Bench::new();
        bench.refuse(503, false, false);
        assert_eq!(bench.said(), (Phase::Streaming, "StorageInterrupted"));
    }

    /// A stream that AWS takes a minute to make: it is said, and no watchdog puts another pipeline in its place.
    #[test]
    fn a_stream_that_is_being_made_is_waited_for() {
        let delivery = Arc::new(Delivery::watched(WORDS));
        let (listener, start) = (Listener::new(Arc::clone(&delivery)), Instant::now());
        for second in 0..84 {
            let now = start + Duration::from_secs(second);
            delivery.fed(now);
            if second >= 5 && second % 5 == 0 {
                let (waited, again) = (Duration::from_secs(second), second > 5);
                let stream = "door".to_owned();
                listener.handle(SinkEvent::StreamAwaited { stream, creating: true, waited, again }, now);
            }
            let view = delivery::view(View::streaming(), [&*delivery].into_iter(), now);
            let told = if second < 13 { "Streaming" } else { "StorageInterrupted" };
            assert_eq!((view.phase, view.reason.as_str()), (Phase::Streaming, told), "{second}");
            assert!(second < 13 || view.message.contains("has not finished making the stream"), "{view:?}");
        }
        // The first fragment is stored within another while.
        for second in 84..170 {
            delivery.fed(start + Duration::from_secs(second));
            assert_eq!(delivery.stalled(start + Duration::from_secs(second)), None, "{second}");
        }
    }

    #[test]
    fn a_complaint_without_a_code_is_no_obstacle() {
        let bench = Bench::new();
        bench.refuse(0, false, false);
        assert_eq!(bench.said(), (Phase::Streaming, "Streaming"));
    }

    #[test]
    fn a_stream_without_retention_has_stored_what_it_received() {
        let bench = Bench::new();
        let ready = SinkEvent::StreamReady { stream: "s".to_owned(), retention_hours: 0 };
        bench.listener.handle(ready, bench.start);
        bench.refuse(403, false, true);
        bench.acknowledge(AckKind::Received);
        assert_eq!(bench.said(), (Phase::Streaming, "Streaming"));
    }
}
