//! What acknowledgements do: fragments that are stored go, those that are refused come again or are given up.

use std::time::{Duration, Instant};

use super::Producer;
use super::event::{CloseReason, DropReason, Event, SessionId};
use super::link::Link;
use crate::error_id::{Remedy, error_name, remedy};
use crate::fragment::Sent;
use crate::{Ack, AckKind};

/// A fragment that was answered with this many "try again" errors over this time is given up, so that one that the
/// service cannot digest does not stop all that follow.
const MAX_FAILURES: u32 = 8;
const FAILING_FOR: Duration = Duration::from_secs(5 * 60);
/// FRAGMENT_METADATA_LIMIT_REACHED
const TOO_MANY_TAGS: u32 = 4009;

impl Producer {
    /// Bytes of the response body.
    pub fn handle_acks(&mut self, id: SessionId, bytes: &[u8], now: Instant) {
        let Link::Up(session) = &mut self.link else { return };
        if session.id != id {
            return;
        }
        let skipped = session.acks.skipped();
        let acks = session.acks.push(bytes);
        self.statistics.acks_skipped += session.acks.skipped() - skipped;
        for ack in acks {
            // An error may have closed the session in between.
            if !matches!(&self.link, Link::Up(session) if session.id == id) {
                break;
            }
            self.handle_ack(ack, now);
        }
        self.settle(now);
    }

    fn handle_ack(&mut self, ack: Ack, now: Instant) {
        let (relative, scale) = (self.relative(), self.config.timecode_scale_ms);
        let target = ack.timecode.and_then(|timecode| {
            self.store
                .iter()
                .filter(|fragment| {
                    fragment.sent != Sent::No && fragment.timecode(relative, scale) == timecode
                })
                .map(|fragment| (fragment.id, fragment.start_ms))
                .next()
        });
        let timecode_ms = target.map(|(_, start)| start).or(ack.timecode.filter(|_| !relative));
        self.event(Event::Ack {
            kind: ack.kind.clone(),
            timecode_ms,
            fragment_number: ack.fragment_number.clone(),
        });
        let target = target.map(|(id, _)| id);
        if let Link::Up(session) = &mut self.link {
            // Any sign of life counts, except that nothing arrives.
            if ack.kind != AckKind::Idle {
                session.unacknowledged_since = Some(now);
            }
        }
        match ack.kind {
            AckKind::Buffering | AckKind::Idle => {}
            AckKind::Received => {
                self.statistics.fragments_received += 1;
                if let Some(fragment) = target.and_then(|id| self.store.get_mut(id)) {
                    fragment.received = Some(now);
                    if !self.retention && fragment.sent == Sent::Whole {
                        let id = fragment.id;
                        self.acknowledged(id, now);
                    }
                }
            }
            AckKind::Persisted => {
                if let Some(fragment) = target.and_then(|id| self.store.get(id))
                    && fragment.sent == Sent::Whole
                {
                    let id = fragment.id;
                    self.acknowledged(id, now);
                }
            }
            AckKind::Error { id, code } => self.handle_error(id, &code, target, now),
        }
        if self.all_acknowledged()
            && let Link::Up(session) = &mut self.link
        {
            session.unacknowledged_since = None;
        }
    }

    /// The service has the fragment for good.
    pub(super) fn acknowledged(&mut self, id: u64, now: Instant) {
        let Some(fragment) = self.take(id) else { return };
        // Only this is progress: a service that takes everything and stores nothing is not asked ever faster.
        self.backoff.reset();
        self.failures = 0;
        self.statistics.fragments_persisted += 1;
        for (sum, frames) in self.statistics.frames_persisted.iter_mut().zip(fragment.frames) {
            *sum += frames;
        }
        self.statistics.last_persisted_timecode_ms = Some(fragment.start_ms);
        self.statistics.persisted_lag = Some(now.saturating_duration_since(fragment.last_frame_at));
    }

    fn handle_error(&mut self, error: u32, code: &str, target: Option<u64>, now: Instant) {
        let name = if code.is_empty() { error_name(error) } else { code };
        // Without a timecode it is about the fragment that the service was reading.
        let target = target.or_else(|| {
            self.store
                .iter()
                .find(|fragment| fragment.sent != Sent::No && fragment.received.is_none())
                .map(|f| f.id)
        });
        let about = target.and_then(|id| self.store.get(id)).map_or_else(
            || "the session".to_owned(),
            |fragment| format!("the fragment with timecode {}", fragment.start_ms),
        );
        let remedy = remedy(error);
        let message = format!("Kinesis Video Streams answered error {error} {name} to {about}");
        // KMS_KEY_ACCESS_DENIED
        let denied = error == 4500;
        self.event(Event::Error { code: error, message, fatal: false, denied });
        match remedy {
            // Once more, as the first of a session: it may have been the session, and not the fragment.
            Remedy::SkipFragment => {
                if let Some(fragment) = target.and_then(|id| self.store.get_mut(id)) {
                    if std::mem::replace(&mut fragment.refused, true) {
                        let id = fragment.id;
                        self.give_up(id, error);
                    } else if error == TOO_MANY_TAGS {
                        fragment.drop_tags();
                    }
                }
            }
            Remedy::AwaitRepair => self.event(Event::RefreshStream),
            Remedy::Resend | Remedy::RefreshStream => {
                if remedy == Remedy::RefreshStream {
                    self.event(Event::RefreshStream);
                }
                if let Some(fragment) = target.and_then(|id| self.store.get_mut(id)) {
                    fragment.failures += 1;
                    let first = *fragment.first_failure.get_or_insert(now);
                    if fragment.failures >= MAX_FAILURES && now >= first + FAILING_FOR {
                        let id = fragment.id;
                        self.give_up(id, error);
                    }
                }
            }
        }
        self.abort_session(CloseReason::ErrorAck(error), now);
    }

    fn give_up(&mut self, id: u64, error: u32) {
        let Some(fragment) = self.take(id) else { return };
        if !fragment.closed {
            self.fragmenter.await_key();
        }
        self.dropped(1, fragment.frames, fragment.payload, DropReason::Refused(error));
    }
}
