//! Make before break: a connection that still brings media and will not last is recorded from until another one brings some.
//! There is no ICE restart in KVS that all masters know, so the other one is a new viewer to the master.

use super::super::leaving::Leaving;
use super::super::{Action, Failure, FailureKind};
use super::{Peer, Session};
use std::time::Instant;

impl Session {
    /// Makes another connection beside the current one, if that brings frames; in its place, if it does not.
    pub(super) fn replace_peer(&mut self, reason: String, now: Instant, actions: &mut Vec<Action>) {
        let Peer::Connected { generation, flowing_since: Some(_), last_media, .. } = &self.peer else {
            actions.push(Action::Report(Failure::new(FailureKind::RelayEnds, reason)));
            return self.restart_peer(now, actions);
        };
        // One at a time: what is left now has been replaced.
        let (generation, last_media) = (*generation, *last_media);
        self.end_leaving(now, actions);
        actions.push(Action::LeavePeer { generation });
        actions.push(Action::Report(Failure::new(
            FailureKind::RelayEnds,
            format!("{reason}; another connection to the master is made before this one ends"),
        )));
        self.set_leaving(Some(Leaving::new(generation, reason, last_media)));
        self.set_peer(Peer::Idle { retry_at: now });
    }

    pub(super) fn is_leaving(&self, generation: u64) -> bool {
        self.leaving.as_ref().is_some_and(|leaving| leaving.generation == generation)
    }

    /// Media of the connection that is being left.
    pub(super) fn leaving_media(&mut self, now: Instant) {
        if let Some(leaving) = &mut self.leaving {
            leaving.last_media = now;
        }
    }

    /// The new connection brings frames.
    pub(super) fn replaced(&mut self, now: Instant) {
        if let Some(leaving) = &mut self.leaving {
            let was = leaving.name();
            leaving.replaced(now);
            self.step("leaving", was, "Replaced");
        }
    }

    /// When the connection that is being left ends.
    pub(super) fn leaving_deadline(&self) -> Option<Instant> {
        Some(self.leaving.as_ref()?.deadline(self.timing.media_timeout))
    }

    /// It is over: replaced, or broken before it was.
    pub(super) fn end_leaving(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let Some(leaving) = self.set_leaving(None) else {
            return;
        };
        actions.push(Action::ClosePeer { generation: leaving.generation });
        if let Peer::Idle { retry_at } = &mut self.peer
            && !leaving.is_replaced()
        {
            // A new id was waited for, which there was time for.
            *retry_at = (*retry_at).min(now);
        }
    }
}
