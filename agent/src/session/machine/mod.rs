//! The transitions.

mod master;
mod replace;

use super::answer::Answer;
use super::ids::ClientIds;
use super::leaving::Leaving;
use super::patience::Patience;
use super::{Action, Failure, FailureKind, Input, Missing, Reason, Timing, View};
use kvs_aws::Backoff;
use kvs_ingest_api::Phase;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Peers built per [`Timing::id_window`], whatever the world does.
const PEERS_PER_WINDOW: usize = 12;

/// Between two peers: a channel may be asked for ICE servers five times a second.
const PEER_PACE: Duration = Duration::from_millis(250);

/// Local candidates kept per peer. A machine has a handful; more are not sent.
const MAX_CANDIDATES: usize = 40;

/// Between trickled candidates: the service takes twenty a second.
const CANDIDATE_PACE: Duration = Duration::from_millis(60);

/// Between two look-ups, and two sockets: a channel may be asked five times and joined three times a second, by all its
/// viewers.
const SIGNALING_PACE: Duration = Duration::from_millis(500);

/// A good socket that ends, or is about to, may be one of thousands: the next one is opened within so long. While media flows
/// nobody misses it.
const SPREAD: Duration = Duration::from_secs(2);
const SPREAD_FLOWING: Duration = Duration::from_secs(10);

/// A signaling socket that lived this long was a good one.
const PROVEN: Duration = Duration::from_secs(10);

/// Between requests for a key frame while nothing comes.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// After a goodbye, so many offers follow each other faster.
const SOON_OFFERS: u32 = 3;

/// A peer waits for a master at least so long, however short-lived its credentials are.
const SHORTEST_WAIT: Duration = Duration::from_secs(10);

/// After a refused message.
const REFUSED_PAUSE: Duration = Duration::from_secs(10);

#[derive(Debug)]
enum Signaling {
    Down { retry_at: Instant },
    Resolving { attempt: u64, deadline: Instant },
    Opening { attempt: u64, deadline: Instant },
    Up { attempt: u64, since: Instant, rotate_at: Instant },
}

impl Signaling {
    fn name(&self) -> &'static str {
        match self {
            Self::Down { .. } => "Down",
            Self::Resolving { .. } => "Resolving",
            Self::Opening { .. } => "Opening",
            Self::Up { .. } => "Up",
        }
    }
}

#[derive(Debug)]
enum Peer {
    Idle {
        retry_at: Instant,
    },
    Creating {
        generation: u64,
        deadline: Instant,
        borrowed: Option<Instant>,
    },
    Offering {
        generation: u64,
        since: Instant,
        next_offer: Instant,
        offered: bool,
        /// Under an id that the master knew, until there may be a new one.
        borrowed: Option<Instant>,
        /// How long it may wait: the credentials of its TURN servers are good for no longer.
        waits: Duration,
    },
    Connecting {
        generation: u64,
        deadline: Instant,
    },
    Connected {
        generation: u64,
        relayed: bool,
        /// Or the connection, before any.
        last_media: Instant,
        ask_key_frame: Instant,
        flowing_since: Option<Instant>,
        /// Since when ICE checks go unanswered.
        lost: Option<Instant>,
        /// Media came meanwhile: that they do says nothing.
        no_witness: bool,
    },
}

impl Peer {
    fn name(&self) -> &'static str {
        match self {
            Self::Idle { .. } => "Idle",
            Self::Creating { .. } => "Creating",
            Self::Offering { .. } => "Offering",
            Self::Connecting { .. } => "Connecting",
            Self::Connected { .. } => "Connected",
        }
    }
}

/// One of the machines goes from one state to another: an arrow of docs/architecture.md.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Step {
    pub(super) machine: &'static str,
    pub(super) from: &'static str,
    pub(super) to: &'static str,
}

/// The state machine of one channel: three machines, drawn in docs/architecture.md.
#[derive(Debug)]
pub struct Session {
    timing: Timing,
    rng: StdRng,
    ids: ClientIds,
    signaling: Signaling,
    signaling_backoff: Backoff,
    signaling_failure: Option<Failure>,
    /// Endpoints are known and were good so far.
    resolved: bool,
    attempts: u64,
    message_ttl: Duration,
    peer: Peer,
    /// Another connection, which is being replaced by it.
    leaving: Option<Leaving>,
    peer_backoff: Backoff,
    peer_failure: Option<Failure>,
    generations: u64,
    /// When the newest peers were begun, at most [`PEERS_PER_WINDOW`].
    begun: VecDeque<Instant>,
    /// The answer to the newest offer that was answered.
    answer: Option<Answer>,
    /// It came from a master that does not know what was answered before, it seems.
    anew: bool,
    /// When a second answer last led to a new connection.
    answered_twice: Option<Instant>,
    /// Silences of a master that answers ICE checks, and of one that does not.
    patience: Patience,
    patience_lost: Patience,
    /// When the master said goodbye, until one answers again; and the offers since.
    goodbye: Option<(Instant, u32)>,
    /// What the master does not send although it was offered.
    refused: Option<String>,
    /// Which of its tracks are not stored, and why.
    missing: Option<Missing>,
    /// Since when offers go unanswered.
    waiting_since: Option<Instant>,
    /// Local candidates of the current peer.
    candidates: Vec<String>,
    /// How many of them were told to the master.
    candidates_sent: usize,
    next_candidate: Instant,
    ever_up: bool,
    ever_streamed: bool,
    stopped: bool,
    /// When the channel was last looked up, and its socket last opened.
    resolved_at: Option<Instant>,
    opened_at: Option<Instant>,
    /// Every one so far.
    #[cfg(test)]
    pub(super) steps: std::collections::BTreeSet<Step>,
}

impl Session {
    /// A session that begins at once. `base_id` is the stem of its client ids (the number is
    /// appended), `seed` makes its jitter repeatable.
    pub fn new(base_id: impl Into<String>, timing: Timing, seed: u64, now: Instant) -> Self {
        Self {
            ids: ClientIds::new(base_id.into(), timing.id_window, now),
            patience: Patience::connected(&timing, now),
            patience_lost: Patience::lost(&timing, now),
            timing,
            rng: StdRng::seed_from_u64(seed),
            signaling: Signaling::Down { retry_at: now },
            signaling_backoff: Backoff::new(Duration::from_millis(200), Duration::from_secs(30)),
            signaling_failure: None,
            resolved: false,
            attempts: 0,
            message_ttl: Duration::from_secs(60),
            peer: Peer::Idle { retry_at: now },
            leaving: None,
            peer_backoff: Backoff::new(Duration::from_millis(500), Duration::from_secs(20)),
            peer_failure: None,
            generations: 0,
            begun: VecDeque::new(),
            answer: None,
            anew: false,
            answered_twice: None,
            goodbye: None,
            refused: None,
            missing: None,
            waiting_since: None,
            candidates: Vec::new(),
            candidates_sent: 0,
            next_candidate: now,
            ever_up: false,
            ever_streamed: false,
            stopped: false,
            resolved_at: None,
            opened_at: None,
            #[cfg(test)]
            steps: Default::default(),
        }
    }

    pub fn client_id(&self) -> String {
        self.ids.current()
    }

    /// Takes an input; returns what is to be done, in order.
    pub fn handle(&mut self, input: Input, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.stopped {
            return actions;
        }
        self.take(input, now, &mut actions);
        if !self.stopped {
            self.drive_signaling(now, &mut actions);
            self.drive_peer(now, &mut actions);
            // A new client id closes the socket: open the next one in the same breath.
            self.drive_signaling(now, &mut actions);
        }
        actions
    }

    /// When to call [`Session::handle`] with [`Input::Tick`] at the latest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.stopped {
            return None;
        }
        let signaling = match &self.signaling {
            Signaling::Down { retry_at } => Some(self.signaling_due(*retry_at)),
            Signaling::Resolving { deadline, .. } | Signaling::Opening { deadline, .. } => Some(*deadline),
            // It is not replaced until the peer is further; that has its deadline.
            Signaling::Up { .. } if matches!(self.peer, Peer::Connecting { .. } | Peer::Creating { .. }) => {
                None
            }
            Signaling::Up { rotate_at, .. } => Some(*rotate_at),
        };
        let up = matches!(self.signaling, Signaling::Up { .. });
        let peer = match &self.peer {
            Peer::Idle { retry_at } => up.then_some(*retry_at),
            Peer::Creating { deadline, .. } | Peer::Connecting { deadline, .. } => Some(*deadline),
            Peer::Offering { since, next_offer, borrowed, waits, .. } => {
                let renew = *since + *waits;
                let next = borrowed.map_or(*next_offer, |until| until.min(*next_offer));
                Some(if up { renew.min(next) } else { renew })
            }
            Peer::Connected { last_media, ask_key_frame, lost, .. } => {
                Some(self.media_deadline(*last_media, *lost).min(*ask_key_frame))
            }
        };
        let trickle = (up && self.may_trickle() && self.candidates_sent < self.candidates.len())
            .then_some(self.next_candidate);
        [signaling, peer, trickle, self.leaving_deadline()].into_iter().flatten().min()
    }

    fn take(&mut self, input: Input, now: Instant, actions: &mut Vec<Action>) {
        match input {
            Input::Tick => {}
            Input::Resolved { attempt, result } => {
                if matches!(&self.signaling, Signaling::Resolving { attempt: current, .. } if *current == attempt)
                {
                    match result {
                        Ok(message_ttl) => {
                            self.message_ttl = message_ttl;
                            self.resolved = true;
                            self.set_signaling(Signaling::Down { retry_at: now });
                        }
                        Err(failure) => self.signaling_failed(failure, now, actions),
                    }
                }
            }
            Input::SignalingOpened { attempt, result } => {
                if matches!(&self.signaling, Signaling::Opening { attempt: current, .. } if *current == attempt)
                {
                    match result {
                        Ok(()) => self.signaling_up(attempt, now),
                        Err(failure) => self.signaling_failed(failure, now, actions),
                    }
                }
            }
            Input::SignalingClosed { attempt, reason } => {
                if matches!(&self.signaling, Signaling::Up { attempt: current, .. } if *current == attempt) {
                    self.signaling_failed(
                        Failure::new(FailureKind::Network, format!("signaling closed: {reason}")),
                        now,
                        actions,
                    );
                }
            }
            Input::GoAway => {
                let within = self.spread();
                if let Signaling::Up { rotate_at, .. } = &mut self.signaling {
                    *rotate_at = (*rotate_at).min(now + within);
                }
            }
            Input::ReconnectIceServer => match &self.peer {
                Peer::Offering { generation, .. } => {
                    actions.push(Action::ClosePeer { generation: *generation });
                    self.set_peer(Peer::Idle { retry_at: now });
                }
                Peer::Connecting { .. } => self.restart_peer(now, actions),
                Peer::Connected { relayed: true, .. } => {
                    self.replace_peer(
                        "the service says that its TURN servers go away".to_owned(),
                        now,
                        actions,
                    );
                }
                _ => {}
            },
            Input::Answer { sdp } => self.answered(sdp, now, actions),
            Input::RemoteCandidate { candidate, section } => {
                if let Peer::Offering { generation, offered: true, .. }
                | Peer::Connecting { generation, .. }
                | Peer::Connected { generation, .. } = &self.peer
                {
                    actions.push(Action::AddCandidate { generation: *generation, candidate, section });
                }
            }
            Input::Refused { error_type, description } => {
                let kind = match error_type.as_str() {
                    "ClientLimitExceededException" => FailureKind::Throttled,
                    "InvalidArgumentException" => FailureKind::InvalidRequest,
                    _ => FailureKind::Service,
                };
                actions.push(Action::Report(Failure::new(
                    kind,
                    format!("the service refused a message: {error_type}: {description}"),
                )));
                if let Peer::Offering { next_offer, .. } = &mut self.peer {
                    *next_offer = (*next_offer).max(now + REFUSED_PAUSE);
                }
            }
            Input::PeerCreated { generation, result } => {
                if let Peer::Creating { generation: current, borrowed, .. } = &self.peer
                    && *current == generation
                {
                    match result {
                        Ok(good_for) => {
                            let borrowed = *borrowed;
                            let waits = good_for.map_or(self.timing.peer_waits, |good_for| {
                                good_for.mul_f64(0.9).clamp(SHORTEST_WAIT, self.timing.peer_waits)
                            });
                            self.set_peer(Peer::Offering {
                                generation,
                                since: now,
                                next_offer: now,
                                offered: false,
                                borrowed,
                                waits,
                            });
                        }
                        Err(failure) => self.peer_failed(failure, now, actions),
                    }
                }
            }
            Input::LocalCandidate { generation, candidate } => {
                if self.generation() == Some(generation) && self.candidates.len() < MAX_CANDIDATES {
                    self.candidates.push(candidate);
                }
            }
            Input::AnswerApplied { generation, result } => {
                if self.generation() == Some(generation) {
                    match result {
                        Ok(refused) => self.refused = refused,
                        Err(failure) => self.peer_failed(failure, now, actions),
                    }
                }
            }
            Input::PeerConnected { generation } => match &mut self.peer {
                Peer::Connecting { generation: current, .. } if *current == generation => {
                    if std::mem::take(&mut self.anew) {
                        self.ids.forgotten(now);
                    }
                    self.set_peer(Peer::Connected {
                        generation,
                        relayed: false,
                        last_media: now,
                        ask_key_frame: now + self.timing.media_stalls,
                        flowing_since: None,
                        lost: None,
                        no_witness: false,
                    });
                }
                Peer::Connected { generation: current, last_media, lost, no_witness, .. }
                    if *current == generation =>
                {
                    if let Some(lost) = lost.take() {
                        self.patience_lost
                            .silence_ended(now.saturating_duration_since(lost.max(*last_media)), now);
                    }
                    *no_witness = false;
                }
                _ => {}
            },
            Input::PeerDisconnected { generation } => {
                if let Peer::Connected { generation: current, lost, .. } = &mut self.peer
                    && *current == generation
                {
                    lost.get_or_insert(now);
                }
            }
            Input::PeerEnded { generation } | Input::PeerFailed { generation, .. }
                if self.is_leaving(generation) =>
            {
                self.end_leaving(now, actions);
            }
            Input::Media { generation, .. } if self.is_leaving(generation) => self.leaving_media(now),
            Input::RelayEnds { generation, reason } => {
                match &self.peer {
                    _ if self.generation() != Some(generation) => {}
                    Peer::Connected { flowing_since: Some(_), .. } => self.replace_peer(reason, now, actions),
                    // Nothing is lost by it, and the next relay may end in the same way.
                    Peer::Connected { flowing_since: None, .. } => {
                        self.peer_failed(Failure::new(FailureKind::RelayEnds, reason), now, actions);
                    }
                    _ => {}
                }
            }
            Input::PeerEnded { generation } => {
                if self.generation() == Some(generation) {
                    self.ended(now, actions);
                }
            }
            Input::PeerFailed { generation, reason } => {
                if self.generation() == Some(generation) {
                    let message = match &self.peer {
                        Peer::Connected { .. } => format!("the connection to the master was lost: {reason}"),
                        _ => format!("no connection to the master: {reason}"),
                    };
                    self.peer_failed(Failure::new(FailureKind::PeerFailed, message), now, actions);
                }
            }
            Input::Media { generation, flowing } => self.media(generation, flowing, now),
            Input::Tracks { generation, missing } => {
                if self.generation() == Some(generation) {
                    self.missing = missing;
                }
            }
            Input::PairSelected { generation, relayed: found } => {
                if let Peer::Connected { generation: current, relayed, .. } = &mut self.peer
                    && *current == generation
                {
                    *relayed = found;
                }
            }
            Input::Stop => {
                self.end_leaving(now, actions);
                if let Some(generation) = self.generation() {
                    actions.push(Action::ClosePeer { generation });
                }
                actions.push(Action::CloseSignaling);
                self.stopped = true;
            }
        }
    }

    fn set_signaling(&mut self, signaling: Signaling) {
        self.step("signaling", self.signaling.name(), signaling.name());
        self.signaling = signaling;
    }

    fn set_peer(&mut self, peer: Peer) {
        self.step("peer", self.peer.name(), peer.name());
        self.peer = peer;
    }

    fn set_leaving(&mut self, leaving: Option<Leaving>) -> Option<Leaving> {
        let name = |leaving: &Option<Leaving>| leaving.as_ref().map_or("Single", Leaving::name);
        self.step("leaving", name(&self.leaving), name(&leaving));
        std::mem::replace(&mut self.leaving, leaving)
    }

    fn step(&mut self, machine: &'static str, from: &'static str, to: &'static str) {
        if from != to {
            tracing::debug!(from, to, "{machine}");
            #[cfg(test)]
            self.steps.insert(Step { machine, from, to });
        }
    }

    /// The states of the three machines, each with what tells it from the next of its kind.
    #[cfg(test)]
    pub(super) fn stands(&self) -> [(&'static str, u64); 3] {
        let attempt = match &self.signaling {
            Signaling::Down { .. } => 0,
            Signaling::Resolving { attempt, .. }
            | Signaling::Opening { attempt, .. }
            | Signaling::Up { attempt, .. } => *attempt,
        };
        let leaving = self.leaving.as_ref();
        [
            (self.signaling.name(), attempt),
            (self.peer.name(), self.generation().unwrap_or(0)),
            (leaving.map_or("Single", Leaving::name), leaving.map_or(0, |leaving| leaving.generation)),
        ]
    }

    fn generation(&self) -> Option<u64> {
        match &self.peer {
            Peer::Idle { .. } => None,
            Peer::Creating { generation, .. }
            | Peer::Offering { generation, .. }
            | Peer::Connecting { generation, .. }
            | Peer::Connected { generation, .. } => Some(*generation),
        }
    }

    fn signaling_up(&mut self, attempt: u64, now: Instant) {
        let age = self.timing.rotate_signaling;
        let jitter = age.mul_f64(self.rng.random_range(0.0..0.1));
        self.set_signaling(Signaling::Up { attempt, since: now, rotate_at: now + age + jitter });
        self.signaling_failure = None;
        self.ever_up = true;
    }

    fn signaling_failed(&mut self, failure: Failure, now: Instant, actions: &mut Vec<Action>) {
        let mut was_up = false;
        let mut spread = Duration::ZERO;
        if let Signaling::Up { since, .. } = &self.signaling {
            was_up = true;
            // A socket that is closed as soon as it is open is no success.
            if now.saturating_duration_since(*since) >= PROVEN {
                self.signaling_backoff.reset();
                spread = self.spread();
            }
        }
        let backoff = self.signaling_backoff.next_delay(self.rng.random_range(0.0..=1.0));
        let delay = failure.kind.floor() + backoff.max(spread);
        self.set_signaling(Signaling::Down { retry_at: now + delay });
        // A socket that merely ended can be opened again at the same address.
        self.resolved = self.resolved && was_up;
        if self.signaling_failure.as_ref() != Some(&failure) {
            actions.push(Action::Report(failure.clone()));
        }
        self.signaling_failure = Some(failure);
    }

    /// How long to let others go first.
    fn spread(&mut self) -> Duration {
        let flows = matches!(self.peer, Peer::Connected { flowing_since: Some(_), .. });
        let most = if flows { SPREAD_FLOWING } else { SPREAD };
        most.mul_f64(self.rng.random_range(0.0..1.0))
    }

    /// When signaling goes on: the service allows so much.
    fn signaling_due(&self, retry_at: Instant) -> Instant {
        let last = if self.resolved { self.opened_at } else { self.resolved_at };
        last.map_or(retry_at, |last| retry_at.max(last + SIGNALING_PACE))
    }

    /// Replaces the socket; the peer does not notice.
    fn cycle_signaling(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if matches!(self.signaling, Signaling::Up { .. }) {
            actions.push(Action::CloseSignaling);
            self.set_signaling(Signaling::Down { retry_at: now });
        }
    }

    /// Closes the peer and begins anew at once (within the limit on client ids).
    fn restart_peer(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if let Some(generation) = self.generation() {
            actions.push(Action::ClosePeer { generation });
        }
        // Nothing is final yet: what was to end goes on.
        if let Some(leaving) = self.leaving.take_if(|leaving| leaving.is_replaced()) {
            self.step("leaving", leaving.name(), "Leaving");
            self.leaving = Some(Leaving::new(leaving.generation, leaving.reason, leaving.last_media));
        }
        self.set_peer(Peer::Idle { retry_at: now });
    }

    fn peer_failed(&mut self, failure: Failure, now: Instant, actions: &mut Vec<Action>) {
        self.restart_peer(now, actions);
        let delay = failure.kind.floor() + self.peer_backoff.next_delay(self.rng.random_range(0.0..=1.0));
        self.set_peer(Peer::Idle { retry_at: now + delay });
        actions.push(Action::Report(failure.clone()));
        self.peer_failure = Some(failure);
    }

    fn may_trickle(&self) -> bool {
        match &self.peer {
            // Never before the offer: some masters lose such candidates.
            Peer::Offering { offered, .. } => *offered,
            Peer::Connecting { .. } | Peer::Connected { .. } => true,
            Peer::Idle { .. } | Peer::Creating { .. } => false,
        }
    }

    fn drive_signaling(&mut self, now: Instant, actions: &mut Vec<Action>) {
        match &self.signaling {
            Signaling::Down { retry_at } if now >= self.signaling_due(*retry_at) => {
                self.attempts += 1;
                let attempt = self.attempts;
                if self.resolved {
                    self.opened_at = Some(now);
                    self.set_signaling(Signaling::Opening {
                        attempt,
                        deadline: now + self.timing.open_signaling,
                    });
                    actions.push(Action::OpenSignaling { attempt, client_id: self.client_id() });
                } else {
                    self.resolved_at = Some(now);
                    self.set_signaling(Signaling::Resolving { attempt, deadline: now + self.timing.resolve });
                    actions.push(Action::Resolve { attempt });
                }
            }
            Signaling::Resolving { deadline, .. } if now >= *deadline => {
                self.signaling_failed(
                    Failure::new(FailureKind::Timeout, "looking up the channel took too long"),
                    now,
                    actions,
                );
            }
            Signaling::Opening { deadline, .. } if now >= *deadline => {
                actions.push(Action::CloseSignaling);
                self.signaling_failed(
                    Failure::new(FailureKind::Timeout, "opening the signaling connection took too long"),
                    now,
                    actions,
                );
            }
            // Not while an answer may be on its way.
            Signaling::Up { rotate_at, .. }
                if now >= *rotate_at
                    && !matches!(self.peer, Peer::Connecting { .. } | Peer::Creating { .. }) =>
            {
                self.cycle_signaling(now, actions);
                self.drive_signaling(now, actions);
            }
            _ => {}
        }
    }

    fn drive_peer(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.leaving_deadline().is_some_and(|at| now >= at) {
            self.end_leaving(now, actions);
        }
        let up = matches!(self.signaling, Signaling::Up { .. });
        match &self.peer {
            Peer::Idle { retry_at } if up && now >= *retry_at => self.begin_peer(now, actions),
            Peer::Creating { deadline, .. } if now >= *deadline => self.peer_failed(
                Failure::new(FailureKind::Timeout, "ICE servers or sockets were not ready in time"),
                now,
                actions,
            ),
            Peer::Offering { since, waits, .. } if now.saturating_duration_since(*since) >= *waits => {
                self.restart_peer(now, actions);
                if up {
                    self.begin_peer(now, actions);
                }
            }
            Peer::Connecting { deadline, .. } if now >= *deadline => self.peer_failed(
                Failure::new(
                    FailureKind::PeerFailed,
                    "the master answered, but no connection came up in time",
                ),
                now,
                actions,
            ),
            Peer::Offering { borrowed: Some(until), .. } if up && now >= *until => {
                self.restart_peer(now, actions);
                self.begin_peer(now, actions);
            }
            Peer::Offering { next_offer, .. } if up && now >= *next_offer => self.offer(now, actions),
            Peer::Connected { last_media, lost, .. } if now >= self.media_deadline(*last_media, *lost) => {
                self.starved(now, actions);
            }
            Peer::Connected { generation, ask_key_frame, .. } if now >= *ask_key_frame => {
                actions.push(Action::RequestKeyFrame { generation: *generation });
                let next = now + ASK_AGAIN.max(self.patience.usual(now));
                if let Peer::Connected { ask_key_frame, .. } = &mut self.peer {
                    *ask_key_frame = next;
                }
            }
            _ => {}
        }
        if up
            && self.may_trickle()
            && now >= self.next_candidate
            && let Some(candidate) = self.candidates.get(self.candidates_sent)
        {
            actions.push(Action::SendCandidate { candidate: candidate.clone() });
            self.candidates_sent += 1;
            self.next_candidate = now + CANDIDATE_PACE;
        }
    }

    fn begin_peer(&mut self, now: Instant, actions: &mut Vec<Action>) {
        while self.begun.front().is_some_and(|at| now.saturating_duration_since(*at) >= self.timing.id_window)
        {
            self.begun.pop_front();
        }
        if let Some(oldest) = self.begun.front()
            && self.begun.len() >= PEERS_PER_WINDOW
        {
            self.set_peer(Peer::Idle { retry_at: *oldest + self.timing.id_window });
            return;
        }
        if let Some(due) = self.begun.back().map(|last| *last + PEER_PACE).filter(|due| now < *due) {
            self.set_peer(Peer::Idle { retry_at: due });
            return;
        }
        let mut borrowed = None;
        if self.ids.is_used() {
            match self.ids.renew(now) {
                Ok(()) => {
                    // The id is part of the socket's address.
                    self.cycle_signaling(now, actions);
                    self.set_peer(Peer::Idle { retry_at: now });
                    return;
                }
                // A master that was restarted, or replaces its connection, answers to the old id; to any other it
                // is no burden.
                // Some masters close what they had under it: while that still brings media, a new one is waited for.
                Err(until) if self.leaving.is_some() => {
                    self.set_peer(Peer::Idle { retry_at: until });
                    return;
                }
                Err(until) => borrowed = Some(until),
            }
        }
        self.begun.push_back(now);
        self.generations += 1;
        let generation = self.generations;
        self.candidates.clear();
        self.candidates_sent = 0;
        self.refused = None;
        self.missing = None;
        self.set_peer(Peer::Creating { generation, deadline: now + self.timing.create_peer, borrowed });
        actions.push(Action::CreatePeer { generation, client_id: self.client_id() });
    }

    fn offer(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let waiting_since = *self.waiting_since.get_or_insert(now);
        let Peer::Offering { generation, next_offer, offered, .. } = &mut self.peer else {
            return;
        };
        let young = now.saturating_duration_since(waiting_since) < self.timing.reoffer_for;
        let soon = self.goodbye.as_mut().is_some_and(|(_, offers)| {
            *offers = offers.saturating_add(1);
            *offers < SOON_OFFERS
        });
        *next_offer = now
            + if soon {
                self.timing.reoffer_soon
            } else if young {
                self.timing.reoffer
            } else {
                self.message_ttl.mul_f64(0.9).max(self.timing.reoffer)
            };
        *offered = true;
        self.candidates_sent = self.candidates.len();
        actions.push(Action::SendOffer { generation: *generation, candidates: self.candidates.clone() });
    }

    /// The connection that is recorded from until the newest one brings frames.
    pub fn leaving(&self) -> Option<u64> {
        self.leaving.as_ref().map(|leaving| leaving.generation)
    }

    /// The session as seen from outside, now.
    pub fn view(&self, now: Instant) -> View {
        let up = matches!(self.signaling, Signaling::Up { .. });
        let (phase, reason, message) = self.standing(up, now);
        View {
            phase,
            reason,
            message,
            signaling_since: match self.signaling {
                Signaling::Up { since, .. } => Some(since),
                _ => None,
            },
            authenticated: self.resolved || self.ever_up,
            client_id: self.client_id(),
        }
    }

    fn standing(&self, up: bool, now: Instant) -> (Phase, Reason, String) {
        if self.stopped {
            return (Phase::Stopping, Reason::Stopping, "stopping".to_owned());
        }
        if let Some(leaving) = &self.leaving
            && !matches!(self.peer, Peer::Connected { flowing_since: Some(_), .. })
        {
            let message = format!("media flows; the connection is being replaced: {}", leaving.reason);
            return (Phase::Streaming, Reason::Streaming, message);
        }
        // Packets that nobody can use are not silence.
        let is_unusable = |flowing_since: &Option<Instant>| {
            flowing_since.is_none()
                && self.missing.as_ref().is_some_and(|missing| missing.reason.is_not_stored())
        };
        if let Peer::Connected { last_media, lost, flowing_since, .. } = &self.peer
            && !is_unusable(flowing_since)
            && now.saturating_duration_since(*last_media)
                >= self.timing.media_timeout.max(self.patience.usual(now))
        {
            let message = match lost {
                None => "the master is connected, but sends no media; it is asked for a key frame",
                Some(_) => "the master sends no media and answers no ICE checks; it is waited for",
            };
            return (Phase::WaitingForMaster, Reason::MasterSilent, message.to_owned());
        }
        if let Peer::Connected { flowing_since: Some(_), .. } = &self.peer {
            let (reason, mut message) = match &self.missing {
                Some(missing) => (missing.reason, missing.message.clone()),
                None => (Reason::Streaming, "media flows".to_owned()),
            };
            if let Some(refused) = &self.refused {
                message.push_str("; the master does not send everything: ");
                message.push_str(refused);
            }
            if let Some(failure) = &self.signaling_failure {
                message.push_str("; signaling is being reconnected: ");
                message.push_str(&failure.message);
            }
            return (Phase::Streaming, reason, message);
        }
        let trying = |failure: &Failure, before: bool| {
            let phase = if failure.kind.needs_a_person() {
                Phase::Failed
            } else if before {
                Phase::Reconnecting
            } else {
                Phase::Starting
            };
            (phase, Reason::Failure(failure.kind), failure.message.clone())
        };
        if !up {
            if let Some(failure) = &self.signaling_failure {
                return trying(failure, self.ever_up);
            }
            // Merely changing the socket is no news.
            if !self.ever_up {
                return (Phase::Starting, Reason::JoiningChannel, "joining the signaling channel".to_owned());
            }
        }
        let again = if self.ever_streamed { Phase::Reconnecting } else { Phase::Connecting };
        match &self.peer {
            Peer::Offering { .. } | Peer::Creating { .. } | Peer::Idle { .. }
                if self
                    .goodbye
                    .is_some_and(|(at, _)| now.saturating_duration_since(at) < self.timing.no_master) =>
            {
                (
                    Phase::WaitingForMaster,
                    Reason::MasterEnded,
                    "the master ended the connection; it is offered another one".to_owned(),
                )
            }
            Peer::Offering { .. } | Peer::Creating { .. } | Peer::Idle { .. }
                if self
                    .waiting_since
                    .is_some_and(|since| now.saturating_duration_since(since) >= self.timing.no_master) =>
            {
                (
                    Phase::WaitingForMaster,
                    Reason::WaitingForMaster,
                    "no master answers on the channel; it is offered a connection again and again".to_owned(),
                )
            }
            Peer::Idle { .. } | Peer::Creating { .. } | Peer::Offering { .. } => match &self.peer_failure {
                Some(failure) => trying(failure, true),
                None => (again, Reason::Offering, "offering a connection".to_owned()),
            },
            Peer::Connecting { .. } => match &self.peer_failure {
                // Until it really is better than last time.
                Some(failure) if failure.kind.needs_a_person() => trying(failure, true),
                _ => (again, Reason::ConnectingPeer, "a master answered; connecting".to_owned()),
            },
            Peer::Connected { .. } => match &self.missing {
                Some(missing) if missing.reason.is_not_stored() => {
                    (again, missing.reason, missing.message.clone())
                }
                _ => {
                    (again, Reason::WaitingForMedia, "connected; waiting for the first key frame".to_owned())
                }
            },
        }
    }
}
