//! Where the producer stands with the service: the session that it has, or why it has none.

use std::time::Instant;

use super::event::SessionId;
use crate::AckParser;

#[derive(Debug)]
pub(super) enum Link {
    Down {
        /// Not before this.
        retry_at: Option<Instant>,
    },
    Up(Box<Session>),
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) opened: bool,
    /// At the first cut after this another session takes its place.
    pub(super) replace_at: Instant,
    pub(super) replace_why: &'static str,
    pub(super) acks: AckParser,
    /// What its timecodes are relative to, if they are.
    pub(super) base_ms: Option<u64>,
    /// Id of the header that was sent.
    pub(super) header: Option<u64>,
    /// Fragment in transmission and its next part.
    pub(super) cursor: Option<(u64, usize)>,
    /// The fragment whose end was marked with a tag.
    pub(super) marked_end: Option<u64>,
    /// Sent data waits for an acknowledgement since then.
    pub(super) unacknowledged_since: Option<Instant>,
    pub(super) ending: Option<Ending>,
}

impl Session {
    /// The service answered 200, and the body has not ended.
    pub(super) fn is_open(&self) -> bool {
        self.opened && self.ending.is_none()
    }

    /// The fragment in transmission.
    pub(super) fn current(&self) -> Option<u64> {
        self.cursor.map(|(id, _)| id)
    }
}

#[derive(Debug)]
pub(super) struct Ending {
    pub(super) why: &'static str,
    /// Acknowledgements are waited for until then.
    pub(super) until: Option<Instant>,
    /// The body has ended, or should have: the session is over by then, whatever the service does.
    pub(super) over_at: Option<Instant>,
}
