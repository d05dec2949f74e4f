//! What the master does: it answers, sends, falls silent, says goodbye.

use super::super::answer::{Answer, Further};
use super::super::{Action, Failure, FailureKind};
use super::{Peer, Session};
use std::time::Instant;

impl Session {
    pub(super) fn answered(&mut self, sdp: String, now: Instant, actions: &mut Vec<Action>) {
        if let Peer::Offering { generation, offered: true, borrowed, .. } = &self.peer {
            let (generation, borrowed) = (*generation, borrowed.is_some());
            let answer = Answer::new(sdp.clone());
            // A master that still has this id's connection does not answer, or with its certificate.
            self.anew =
                borrowed && self.answer.as_ref().is_some_and(|before| !before.same_certificate(&answer));
            self.ids.answered();
            self.answer = Some(answer);
            self.waiting_since = None;
            self.goodbye = None;
            self.set_peer(Peer::Connecting { generation, deadline: now + self.timing.connect });
            actions.push(Action::ApplyAnswer { generation, sdp });
            return;
        }
        let (Peer::Connecting { generation, .. } | Peer::Connected { generation, .. }, Some(answer)) =
            (&self.peer, &mut self.answer)
        else {
            return;
        };
        let generation = *generation;
        match answer.further(sdp) {
            Further::Same(candidates) => {
                actions.extend(candidates.into_iter().map(|candidate| Action::AddCandidate {
                    generation,
                    candidate,
                    section: 0,
                }))
            }
            // The master took our second offer, too, and closed what it had made of the first.
            Further::Other
                if matches!(self.peer, Peer::Connecting { .. })
                    && self
                        .answered_twice
                        .is_none_or(|at| now.saturating_duration_since(at) >= self.timing.id_window) =>
            {
                self.answered_twice = Some(now);
                actions.push(Action::Report(Failure::new(
                    FailureKind::AnsweredTwice,
                    "the master answered two offers; beginning anew",
                )));
                self.restart_peer(now, actions);
            }
            Further::Other => {
                if !std::mem::replace(&mut answer.other_reported, true) {
                    actions.push(Action::Report(Failure::new(
                        FailureKind::AnsweredTwice,
                        "another answer to the same offer is ignored: the first one holds",
                    )));
                }
            }
        }
    }

    pub(super) fn media(&mut self, generation: u64, flowing: bool, now: Instant) {
        let Peer::Connected {
            generation: current,
            last_media,
            ask_key_frame,
            flowing_since,
            lost,
            no_witness,
            ..
        } = &mut self.peer
        else {
            return;
        };
        if *current != generation {
            return;
        }
        let silence = now.saturating_duration_since(*last_media);
        self.patience.silence_ended(silence, now);
        if let Some(lost) = *lost {
            self.patience_lost.silence_ended(now.saturating_duration_since(lost.max(*last_media)), now);
            *no_witness = true;
        }
        *last_media = now;
        *ask_key_frame = now + self.timing.media_stalls.max(self.patience.usual(now));
        if !flowing {
            return;
        }
        let since = *flowing_since.get_or_insert(now);
        self.replaced(now);
        self.ever_streamed = true;
        self.peer_failure = None;
        if now.saturating_duration_since(since) >= self.timing.stable {
            self.peer_backoff.reset();
        }
        // It was a new connection that helped, not waiting longer. Silences since then are known by themselves.
        if now.saturating_duration_since(since) >= self.patience.wait(now) {
            self.patience.reconnecting_helped(now);
        }
    }

    /// Until when media may be missing.
    pub(super) fn media_deadline(&self, last_media: Instant, lost: Option<Instant>) -> Instant {
        match lost {
            None => last_media + self.patience.wait(last_media),
            Some(lost) => {
                let since = lost.max(last_media);
                (last_media + self.timing.media_timeout).max(since + self.patience_lost.wait(since))
            }
        }
    }

    /// Media has been missing for too long.
    pub(super) fn starved(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let Peer::Connected { last_media, flowing_since, lost, no_witness, .. } = &self.peer else {
            return;
        };
        let silence = now.saturating_duration_since(*last_media).as_secs();
        let mut message = if lost.is_some() {
            // A master that was streamed for a while and then is neither seen nor heard is gone. One that was
            // not may be one that answers no ICE checks and sends seldom.
            let streamed = flowing_since
                .is_some_and(|since| last_media.saturating_duration_since(since) >= self.timing.stable);
            if !streamed || *no_witness {
                self.patience_lost.waited_in_vain(self.timing.media_timeout, now);
            }
            format!("the master is gone: no media for {silence} s, and no answer to ICE checks")
        } else {
            self.patience.waited_in_vain(self.timing.media_patience, now);
            format!("the master is connected, but has sent no media for {silence} s")
        };
        if let Some(missing) = &self.missing {
            message.push_str("; ");
            message.push_str(&missing.message);
        }
        self.peer_failed(Failure::new(FailureKind::MediaTimeout, message), now, actions);
    }

    /// The master has said goodbye: it is offered another connection at once, for it may be back at once.
    pub(super) fn ended(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let flowed = matches!(self.peer, Peer::Connected { flowing_since: Some(_), .. });
        self.ids.ended(now);
        if flowed {
            self.restart_peer(now, actions);
            self.peer_failure = None;
            self.goodbye = Some((now, 0));
        } else {
            self.peer_failed(
                Failure::new(
                    FailureKind::PeerFailed,
                    "the master ended the connection before any media came",
                ),
                now,
                actions,
            );
        }
    }
}
