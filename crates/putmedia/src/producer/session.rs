//! The life of PutMedia sessions: when to connect, what to send, what acknowledgements do, when to give up.

use std::time::{Duration, Instant};

use super::event::{CloseReason, DropReason, Event, Output, Refusal, SessionId, SessionStart, Transmit};
use super::link::{Ending, Link, Session};
use super::{Producer, Timecodes};
use crate::AckParser;
use crate::fragment::Sent;
use crate::outgoing::Outgoing;

/// Bytes gathered into one piece for the connection: few system calls and TLS records, no delay for a live frame. They are
/// not copied, so that a larger one takes no memory; but what is in a piece counts as sent.
const PIECE: usize = 128 << 10;

/// So many failures in a row: perhaps the endpoint is another now.
const FAILURES_BEFORE_REFRESH: u32 = 3;
/// However often sessions fail, control plane and source of credentials, which all sinks of an account share, are not
/// asked more often than this because of it.
const ASK_AGAIN: Duration = Duration::from_secs(15);
/// How long the service may take to end its answer after the end of the body.
const CLOSE_WAIT: Duration = Duration::from_secs(5);
/// A session is replaced this long before its credentials end, or in the last quarter of what is left of them: by
/// then `kvs-aws` has others.
const BEFORE_EXPIRY: Duration = Duration::from_secs(60);

enum Step {
    Wrote,
    Wait,
}

impl Producer {
    /// The connection of the session stands: the service answered 200.
    pub fn handle_connected(&mut self, id: SessionId) {
        if let Link::Up(session) = &mut self.link
            && session.id == id
            && !session.opened
        {
            session.opened = true;
            self.statistics.sessions += 1;
            self.event(Event::SessionOpened(id));
        }
    }

    /// The credentials that the session was opened with end then: it is replaced before.
    pub fn handle_expiry(&mut self, id: SessionId, expires: Instant, now: Instant) {
        if let Link::Up(session) = &mut self.link
            && session.id == id
        {
            let left = expires.saturating_duration_since(now);
            let at = now + left.saturating_sub(BEFORE_EXPIRY.min(left / 4));
            if at < session.replace_at {
                session.replace_at = at;
                session.replace_why = "its credentials end";
            }
        }
    }

    /// The connection of the session is gone.
    pub fn handle_closed(&mut self, id: SessionId, reason: CloseReason, now: Instant) {
        match &self.link {
            Link::Up(session) if session.id == id => {
                let reason = match (&session.ending, reason) {
                    // The service closed what the producer had ended.
                    (Some(ending), CloseReason::Lost(_)) if self.all_acknowledged() => {
                        CloseReason::Ended(ending.why)
                    }
                    (_, reason) => reason,
                };
                self.close_session(reason, now);
                self.settle(now);
            }
            _ => {}
        }
    }

    /// What the session's connection should send next. Ask only when it can take it: what is returned counts
    /// as sent.
    pub fn poll_transmit(&mut self, id: SessionId, now: Instant) -> Transmit {
        let mut out = Outgoing::default();
        let transmit = loop {
            let all_acknowledged = self.all_acknowledged();
            let Link::Up(session) = &mut self.link else { break Transmit::End };
            if session.id != id {
                break Transmit::End;
            }
            if let Some(ending) = &mut session.ending {
                let expired = ending.until.is_none_or(|until| now >= until);
                if !expired && !all_acknowledged {
                    break Transmit::Wait;
                }
                ending.over_at.get_or_insert(now + CLOSE_WAIT);
                break Transmit::End;
            }
            match self.step(&mut out, now) {
                Step::Wrote if out.len() >= PIECE => break Transmit::Wait,
                Step::Wrote => {}
                Step::Wait => break Transmit::Wait,
            }
        };
        self.settle(now);
        if out.len() == 0 {
            return transmit;
        }
        self.statistics.bytes_sent += out.len() as u64;
        Transmit::Data(out.into_slices())
    }

    pub(super) fn connect_if_needed(&mut self, now: Instant) {
        let Link::Down { retry_at } = self.link else { return };
        if self.waits() {
            return;
        }
        let Some(fragment) = self.store.next_to_send(None) else { return };
        let Some(header) = &fragment.header else { return };
        let earliest = self.last_session_start.map(|last| last + self.config.min_session_interval);
        if let Some(at) = retry_at.max(earliest)
            && now < at
        {
            self.link = Link::Down { retry_at: Some(at) };
            return;
        }
        let relative = self.relative();
        let start_timestamp_ms = if relative { header.base_ms } else { fragment.start_ms };
        let id = SessionId(self.next_session);
        self.next_session += 1;
        self.last_session_start = Some(now);
        self.link = Link::Up(Box::new(Session {
            id,
            opened: false,
            replace_at: now + self.config.session_max,
            replace_why: "it is old",
            acks: AckParser::default(),
            base_ms: relative.then_some(header.base_ms),
            header: None,
            cursor: None,
            marked_end: None,
            unacknowledged_since: None,
            ending: None,
        }));
        self.outputs.push_back(Output::Connect(SessionStart { id, start_timestamp_ms }));
    }

    /// For another producer, or for the disk.
    fn waits(&self) -> bool {
        self.held || self.spool_is_opening()
    }

    pub(super) fn link_deadline(&self) -> Option<Instant> {
        match &self.link {
            Link::Down { retry_at } => {
                let sendable = self.store.next_to_send(None).is_some_and(|f| f.header.is_some());
                retry_at.filter(|_| sendable && !self.waits())
            }
            Link::Up(session) => match &session.ending {
                Some(ending) => ending.over_at.or(ending.until),
                None => self.stale_deadline().into_iter().chain(self.idle_deadline()).min(),
            },
        }
    }

    /// When the service has been silent for too long.
    fn stale_deadline(&self) -> Option<Instant> {
        let Link::Up(session) = &self.link else { return None };
        let begun = self.store.iter().take_while(|fragment| fragment.sent != Sent::No);
        // A fragment that is received and never persisted, while others are acknowledged.
        let received = begun.filter_map(|fragment| fragment.received).min();
        let since = session.unacknowledged_since.into_iter().chain(received).min()?;
        Some(since + self.config.staleness)
    }

    pub(super) fn handle_link_timeout(&mut self, now: Instant) {
        let Link::Up(session) = &mut self.link else { return };
        if let Some(ending) = &mut session.ending {
            let why = ending.why;
            if ending.over_at.is_some_and(|over_at| now >= over_at) {
                let reason =
                    if self.all_acknowledged() { CloseReason::Ended(why) } else { CloseReason::Stale };
                self.abort_session(reason, now);
            } else if ending.until.is_some_and(|until| now >= until) {
                // `poll_transmit` ends the body, if the connection takes it.
                ending.until = None;
                ending.over_at = Some(now + CLOSE_WAIT);
            }
            return;
        }
        if self.stale_deadline().is_some_and(|deadline| now >= deadline) {
            self.abort_session(CloseReason::Stale, now);
        } else if self.idle_deadline().is_some_and(|deadline| now >= deadline) {
            self.end_session("nothing to send");
        }
    }

    /// Another session is to take the place of this one at the next cut.
    pub(super) fn replace_session(&mut self, why: &'static str, now: Instant) {
        if let Link::Up(session) = &mut self.link {
            session.replace_at = now;
            session.replace_why = why;
        }
    }

    /// Ends the session's body as soon as everything in it is acknowledged; at once when nothing waits.
    pub(super) fn end_session(&mut self, why: &'static str) {
        if let Link::Up(session) = &mut self.link
            && session.ending.is_none()
        {
            session.ending = Some(Ending { why, until: None, over_at: None });
        }
    }

    fn idle_deadline(&self) -> Option<Instant> {
        if !self.store.is_empty() {
            return None;
        }
        self.last_frame_at.map(|last| last + self.config.idle)
    }

    pub(super) fn all_acknowledged(&self) -> bool {
        self.store.iter().all(|fragment| fragment.sent == Sent::No)
    }

    pub(super) fn relative(&self) -> bool {
        self.config.timecodes == Timecodes::Relative
    }

    /// Writes the next piece of the session.
    fn step(&mut self, out: &mut Outgoing, now: Instant) -> Step {
        let (relative, scale) = (self.relative(), self.config.timecode_scale_ms);
        let Link::Up(session) = &mut self.link else { return Step::Wait };
        let Some((id, part)) = session.cursor else {
            let Some(fragment) = self.store.next_to_send(None) else { return Step::Wait };
            let Some(header) = &fragment.header else { return Step::Wait };
            if session.base_ms.is_some_and(|base| base != header.base_ms) {
                // What the session was opened for has been dropped in the meantime, and this counts from another time.
                session.ending = Some(Ending { why: "another start", until: None, over_at: None });
                return Step::Wrote;
            }
            out.end().extend_from_slice(&header.encode(&self.config.segment_uid, scale));
            session.header = Some(header.id);
            session.cursor = Some((fragment.id, 0));
            return Step::Wrote;
        };
        if let Some(fragment) = self.store.get_mut(id).filter(|fragment| !fragment.is_released()) {
            if !fragment.resident && fragment.sent != Sent::Whole {
                self.load(id);
                return Step::Wait;
            }
            if fragment.resident && part < fragment.parts() {
                fragment.write_part(part, relative, scale, out);
                session.cursor = Some((id, part + 1));
                if self.config.fragment_acks {
                    session.unacknowledged_since.get_or_insert(now);
                }
                if part == 0 {
                    fragment.sent = Sent::Partly;
                    self.statistics.fragments_replayed += u64::from(fragment.times_started > 0);
                    fragment.times_started += 1;
                    self.load_ahead(id);
                }
                return Step::Wrote;
            }
            if !fragment.closed {
                return Step::Wait;
            }
            if fragment.sent != Sent::Whole {
                fragment.sent = Sent::Whole;
                self.statistics.fragments_sent += 1;
                if !self.config.fragment_acks {
                    self.acknowledged(id, now);
                }
            }
        }
        self.after(id, out, now)
    }

    /// The fragment `id` is sent (or gone): the next one, or the session's end.
    fn after(&mut self, id: u64, out: &mut Outgoing, now: Instant) -> Step {
        let next =
            self.store.next_to_send(Some(id)).map(|next| (next.id, next.header.as_ref().map(|h| h.id)));
        let Link::Up(session) = &mut self.link else { return Step::Wait };
        let replaced = now >= session.replace_at;
        match next {
            Some((next, Some(header))) if session.header == Some(header) && !replaced => {
                session.cursor = Some((next, 0));
                return Step::Wrote;
            }
            // Its header is not decided yet, so it is not known whether it belongs into this session.
            Some((_, None)) => return Step::Wait,
            Some((_, Some(_))) => {
                let why = if replaced { session.replace_why } else { "new header" };
                session.ending = Some(Ending { why, until: Some(now + self.config.ack_wait), over_at: None });
            }
            None => {}
        }
        if session.marked_end == Some(id) {
            return Step::Wait;
        }
        session.marked_end = Some(id);
        crate::matroska::put_end_of_fragment(out.end());
        Step::Wrote
    }

    /// Somebody waits for the end, and not for long: it is tried as often as after the first failure.
    pub(super) fn retry_soon(&mut self, now: Instant) {
        self.backoff.reset();
        if let Link::Down { retry_at: Some(at) } = &mut self.link {
            *at = (*at).min(now + self.backoff.next_delay());
        }
    }

    pub(super) fn abort_session(&mut self, reason: CloseReason, now: Instant) {
        if let Link::Up(session) = &self.link {
            self.outputs.push_back(Output::Abort(session.id));
            self.close_session(reason, now);
        }
    }

    pub(super) fn close_session(&mut self, reason: CloseReason, now: Instant) {
        let Link::Up(session) = &self.link else { return };
        let id = session.id;
        let retry_at = match &reason {
            CloseReason::Ended(_) => None,
            _ => {
                self.statistics.session_failures += 1;
                self.failures += 1;
                if self.failures.is_multiple_of(FAILURES_BEFORE_REFRESH) && is_due(&mut self.refreshed, now) {
                    self.outputs.push_back(Output::Event(Event::RefreshStream));
                }
                Some(now + self.backoff.next_delay())
            }
        };
        self.link = Link::Down { retry_at };
        // What was let go cannot be sent again; everything else will be.
        let lost: Vec<u64> = self.store.iter().filter(|f| f.is_released()).map(|f| f.id).collect();
        for id in lost {
            if let Some(fragment) = self.take(id) {
                self.dropped_fragment(&fragment, DropReason::StorageFull);
            }
        }
        for fragment in self.store.iter_mut() {
            fragment.sent = Sent::No;
            fragment.received = None;
        }
        if let CloseReason::Refused { status, error_type, message, refusal } = &reason {
            let message = format!(
                "PutMedia was refused with HTTP {status} {}: {message}",
                error_type.as_deref().unwrap_or_default()
            );
            let denied = *refusal == Refusal::Denied;
            self.event(Event::Error { code: u32::from(*status), message, fatal: false, denied });
            match refusal {
                Refusal::Denied => {
                    if is_due(&mut self.renewed, now) {
                        self.event(Event::RefreshCredentials);
                    }
                }
                Refusal::NotFound => self.event(Event::RefreshStream),
                Refusal::Other => {}
            }
        }
        self.event(Event::SessionClosed { id, reason });
    }
}

/// Whether it was long enough ago; then it is now.
fn is_due(last: &mut Option<Instant>, now: Instant) -> bool {
    let due = last.is_none_or(|last| now.saturating_duration_since(last) >= ASK_AGAIN);
    if due {
        *last = Some(now);
    }
    due
}
