//! The session in virtual time: hours pass in microseconds.
#![allow(clippy::unwrap_used)]

mod any;
mod diagram;
mod herd;
mod masters;
mod schedules;

use super::*;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// What the world outside the session is like.
#[derive(Clone)]
struct World {
    /// A look-up succeeds.
    resolve: Result<Duration, Failure>,
    /// The signaling socket opens.
    open: Result<(), Failure>,
    /// A peer can be built.
    builds: bool,
    /// Calls are answered.
    replies: bool,
    /// A master answers offers.
    master: bool,
    /// The answer can be applied.
    answer: Result<(), Failure>,
    /// ICE comes up.
    connects: bool,
    /// Media flows once connected.
    media: bool,
    /// One arrival of it in so long, from the connection on.
    every: Duration,
    /// The master answers ICE checks.
    checks: bool,
    /// The engine takes any packet for an answer.
    any_packet_counts: bool,
    /// The certificate of its answers.
    certificate: Certificate,
}

/// What a master's answers are signed with.
#[derive(Clone, Copy, PartialEq)]
enum Certificate {
    /// One for each connection.
    Each,
    /// One for all.
    One,
}

struct Harness {
    session: Session,
    world: World,
    start: Instant,
    now: Instant,
    /// The socket that is open, and the peer that is connected.
    socket: Option<u64>,
    connected: Option<u64>,
    /// When media comes next, and when the engine misses answers to its checks.
    next_media: Instant,
    lost_at: Option<Instant>,
    lost: bool,
    log: Vec<(Duration, Action)>,
    answers: u32,
    /// The life of TURN credentials.
    good_for: Option<Duration>,
}

impl Harness {
    /// ICE or DTLS of the connection is gone.
    fn lose_peer(&mut self) {
        let generation = self.connected.unwrap();
        self.input(Input::PeerFailed { generation, reason: "no path".to_owned() });
    }

    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl Fn(&mut World)) -> Self {
        Self::with_timing(Timing::default(), change)
    }

    fn with_timing(timing: Timing, change: impl Fn(&mut World)) -> Self {
        Self::seeded(timing, 7, change)
    }

    fn seeded(timing: Timing, seed: u64, change: impl Fn(&mut World)) -> Self {
        let start = Instant::now();
        let mut harness = Self {
            session: Session::new("viewer", timing, seed, start),
            world: World {
                resolve: Ok(60 * SECOND),
                open: Ok(()),
                builds: true,
                replies: true,
                master: true,
                answer: Ok(()),
                connects: true,
                media: true,
                every: Duration::from_millis(500),
                checks: true,
                any_packet_counts: false,
                certificate: Certificate::Each,
            },
            start,
            now: start,
            socket: None,
            connected: None,
            next_media: start,
            lost_at: None,
            lost: false,
            log: Vec::new(),
            answers: 0,
            good_for: None,
        };
        change(&mut harness.world);
        harness.input(Input::Tick);
        harness
    }

    /// Feeds `input` and plays the world's replies to what the session does.
    fn input(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        let mut steps = 0;
        while let Some(input) = inputs.pop_front() {
            steps += 1;
            assert!(steps < 50, "the session spins: {:?}", self.log);
            for action in self.session.handle(input, self.now) {
                self.log.push((self.now - self.start, action.clone()));
                match action {
                    Action::Resolve { .. } | Action::OpenSignaling { .. } | Action::CreatePeer { .. }
                        if !self.world.replies => {}
                    Action::Resolve { attempt } => {
                        inputs.push_back(Input::Resolved { attempt, result: self.world.resolve.clone() })
                    }
                    Action::OpenSignaling { attempt, .. } => {
                        self.socket = self.world.open.is_ok().then_some(attempt);
                        inputs.push_back(Input::SignalingOpened { attempt, result: self.world.open.clone() });
                    }
                    Action::CloseSignaling => self.socket = None,
                    Action::CreatePeer { generation, .. } => {
                        let result = match self.world.builds {
                            true => Ok(self.good_for),
                            false => Err(Failure::new(FailureKind::PeerBuild, "no sockets")),
                        };
                        inputs.push_back(Input::PeerCreated { generation, result });
                        inputs.push_back(Input::LocalCandidate {
                            generation,
                            candidate: format!("candidate:{generation}"),
                        });
                    }
                    Action::ClosePeer { generation } if self.connected == Some(generation) => {
                        self.connected = None;
                    }
                    Action::SendOffer { .. } => {
                        assert!(self.socket.is_some(), "an offer without a socket");
                        if self.world.master {
                            self.answers += 1;
                            inputs.push_back(Input::Answer { sdp: self.answer() });
                        }
                    }
                    Action::ApplyAnswer { generation, .. } => {
                        inputs.push_back(Input::AnswerApplied {
                            generation,
                            result: self.world.answer.clone().map(|()| None),
                        });
                        if self.world.answer.is_ok() && self.world.connects {
                            self.connected = Some(generation);
                            self.next_media = self.now;
                            (self.lost_at, self.lost) = (None, false);
                            inputs.push_back(Input::PeerConnected { generation });
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    fn answer(&self) -> String {
        let connection = self.answers;
        let certificate = if self.world.certificate == Certificate::One { 0 } else { connection };
        answer_of(&format!("u{connection}"), &certificate.to_string(), &[])
    }

    /// Lets time pass, with media while it flows. Checks that are not answered are missed after five seconds.
    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        let mut turns = 0u64;
        while self.now < end {
            turns += 1;
            assert!(turns < 1_000_000, "the session spins");
            let mut next = self.session.poll_timeout().expect("a timeout is always pending").min(end);
            if self.connected.is_none() || self.world.checks {
                self.lost_at = None;
            } else if !self.lost {
                next = next.min(*self.lost_at.get_or_insert(self.now + 5 * SECOND));
            }
            if self.connected.is_some() && self.world.media {
                next = next.min(self.next_media);
            }
            self.now = next.max(self.now);
            let Some(generation) = self.connected else {
                self.input(Input::Tick);
                continue;
            };
            let arrives = self.world.media && self.now >= self.next_media;
            if self.lost && (self.world.checks || arrives && self.world.any_packet_counts) {
                self.lost = false;
                self.input(Input::PeerConnected { generation });
            }
            if arrives {
                self.next_media = self.now + self.world.every;
                if self.world.any_packet_counts {
                    self.lost_at = None;
                }
                self.input(Input::Media { generation, flowing: true });
            } else if self.lost_at.is_some_and(|at| at <= self.now) {
                (self.lost_at, self.lost) = (None, true);
                self.input(Input::PeerDisconnected { generation });
            } else {
                self.input(Input::Tick);
            }
        }
    }

    /// The master crashes, loses its power, or its network.
    fn crash(&mut self) {
        self.world.media = false;
        self.world.checks = false;
        self.world.master = false;
    }

    fn recover(&mut self) {
        self.world.media = true;
        self.world.checks = true;
        self.world.master = true;
    }

    fn peers(&self) -> usize {
        self.count(|action| matches!(action, Action::CreatePeer { .. }))
    }

    /// Runs until media flows; how long that took.
    fn until_streaming(&mut self) -> Duration {
        let begin = self.now;
        while self.phase() != Phase::Streaming {
            assert!(self.now < begin + 3600 * SECOND, "never: {:?}", self.session);
            self.run(Duration::from_millis(100));
        }
        self.now - begin
    }

    fn phase(&self) -> Phase {
        self.session.view(self.now).phase
    }

    fn reason(&self) -> &'static str {
        self.session.view(self.now).reason.as_str()
    }

    fn count(&self, wanted: impl Fn(&Action) -> bool) -> usize {
        self.log.iter().filter(|(_, action)| wanted(action)).count()
    }

    fn offers(&self) -> usize {
        self.count(|action| matches!(action, Action::SendOffer { .. }))
    }

    /// The distinct client ids that peers were made for.
    fn ids(&self) -> Vec<String> {
        let mut ids: Vec<_> = self
            .log
            .iter()
            .filter_map(|(_, action)| match action {
                Action::CreatePeer { client_id, .. } => Some(client_id.clone()),
                _ => None,
            })
            .collect();
        ids.dedup();
        ids
    }
}

fn answer_of(ufrag: &str, certificate: &str, candidates: &[&str]) -> String {
    let mut sdp = format!(
        "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 102\r\na=ice-ufrag:{ufrag}\r\na=fingerprint:sha-256 {certificate}\r\n"
    );
    for candidate in candidates {
        sdp.push_str(&format!("a={candidate}\r\n"));
    }
    sdp
}

#[test]
fn a_master_that_is_there_is_streamed_at_once() {
    let mut harness = Harness::new();
    harness.run(SECOND);
    assert_eq!(harness.phase(), Phase::Streaming);
    assert_eq!(harness.offers(), 1);
    let view = harness.session.view(harness.now);
    assert!(view.signaling_since.is_some() && view.authenticated);
    assert_eq!(view.client_id, "viewer-1");
}

#[test]
fn a_master_that_never_comes_is_waited_for_without_error() {
    let mut harness = Harness::with(|world| world.master = false);
    harness.run(60 * SECOND);
    assert_eq!(harness.phase(), Phase::WaitingForMaster);
    let first_minute = harness.offers();
    assert!((9..=12).contains(&first_minute), "{first_minute}");
    harness.run(3600 * SECOND);
    assert_eq!(harness.phase(), Phase::WaitingForMaster);
    // Once per 0.9 of the TTL of 60 s, and once per rebuilt peer (every 270 s) at most.
    let later = harness.offers() - first_minute;
    assert!((60..=85).contains(&later), "{later}");
    assert_eq!(harness.ids(), ["viewer-1"], "the id stays until answered");
    assert_eq!(harness.count(|action| matches!(action, Action::Report(_))), 0);
    harness.world.master = true;
    harness.run(60 * SECOND);
    assert_eq!(harness.phase(), Phase::Streaming);
}

#[test]
fn a_late_offer_carries_the_candidates_and_the_first_is_followed_by_them() {
    let mut harness = Harness::with(|world| world.master = false);
    harness.run(20 * SECOND);
    let trickled = harness.count(|action| matches!(action, Action::SendCandidate { .. }));
    assert_eq!(trickled, 1);
    let last = harness
        .log
        .iter()
        .rev()
        .find_map(|(_, action)| match action {
            Action::SendOffer { candidates, .. } => Some(candidates.clone()),
            _ => None,
        })
        .unwrap();
    assert_eq!(last, ["candidate:1"]);
    let offer = harness.log.iter().position(|(_, action)| matches!(action, Action::SendOffer { .. }));
    let candidate = harness.log.iter().position(|(_, action)| matches!(action, Action::SendCandidate { .. }));
    assert!(offer < candidate);
}

#[test]
fn a_master_that_leaves_is_noticed_and_welcomed_back_with_a_new_id() {
    let mut harness = Harness::new();
    harness.run(40 * SECOND);
    harness.crash();
    harness.run(4 * SECOND);
    assert_eq!(harness.count(|action| matches!(action, Action::RequestKeyFrame { .. })), 1);
    assert_eq!(harness.phase(), Phase::Streaming);
    harness.run(6 * SECOND);
    assert_eq!(harness.phase(), Phase::WaitingForMaster);
    harness.run(600 * SECOND);
    assert_eq!(harness.phase(), Phase::WaitingForMaster);
    harness.recover();
    harness.run(60 * SECOND);
    assert_eq!(harness.phase(), Phase::Streaming);
    assert_eq!(harness.ids(), ["viewer-1", "viewer-2"]);
}

#[test]
fn signaling_may_die_without_touching_media() {
    let mut harness = Harness::new();
    harness.run(SECOND);
    harness.world.open = Err(Failure::new(FailureKind::Network, "connection refused"));
    let attempt = harness.socket.unwrap();
    harness.input(Input::SignalingClosed { attempt, reason: "1001 Going away".to_owned() });
    harness.run(300 * SECOND);
    assert_eq!(harness.phase(), Phase::Streaming);
    assert!(harness.session.view(harness.now).signaling_since.is_none());
    harness.world.open = Ok(());
    harness.run(60 * SECOND);
    assert!(harness.session.view(harness.now).signaling_since.is_some());
    assert_eq!(harness.ids(), ["viewer-1"]);
    assert_eq!(harness.offers(), 1);
}

#[test]
fn a_dead_service_is_not_hammered() {
    let mut harness = Harness::new();
    harness.world.resolve = Err(Failure::new(FailureKind::Network, "no route to host"));
    harness.world.open = Err(Failure::new(FailureKind::Network, "refused"));
    let attempt = harness.socket.unwrap();
    harness.crash();
    harness.input(Input::SignalingClosed { attempt, reason: "reset".to_owned() });
    let before = harness.log.len();
    harness.run(3600 * SECOND);
    let attempts = harness.log.len() - before;
    assert!((100..=400).contains(&attempts), "{attempts}");
    assert_eq!(harness.phase(), Phase::Reconnecting);
}

#[test]
fn a_socket_that_closes_at_once_is_not_hammered_either() {
    let mut harness = Harness::new();
    harness.run(SECOND);
    let before = harness.log.len();
    let until = harness.now + 600 * SECOND;
    while harness.now < until {
        if let Some(attempt) = harness.socket.take() {
            harness.input(Input::SignalingClosed { attempt, reason: "4000".to_owned() });
        }
        harness.run(Duration::from_millis(100));
    }
    let opened = harness.log[before..]
        .iter()
        .filter(|(_, action)| matches!(action, Action::OpenSignaling { .. }))
        .count();
    assert!((20..=120).contains(&opened), "{opened}");
}

#[test]
fn going_away_replaces_the_socket_with_the_same_id() {
    let mut harness = Harness::new();
    harness.run(SECOND);
    let first = harness.socket;
    harness.input(Input::GoAway);
    harness.run(10 * SECOND);
    assert!(harness.socket.is_some() && harness.socket != first);
    assert_eq!(harness.phase(), Phase::Streaming);
    assert_eq!(harness.offers(), 1);
}

#[test]
fn the_socket_is_replaced_before_its_hour_is_over() {
    let mut harness = Harness::new();
    harness.run(2 * 3600 * SECOND);
    let opened: Vec<_> = harness
        .log
        .iter()
        .filter(|(_, action)| matches!(action, Action::OpenSignaling { .. }))
        .map(|(at, _)| *at)
        .collect();
    assert_eq!(opened.len(), 3, "{opened:?}");
    for pair in opened.windows(2) {
        let age = pair[1] - pair[0];
        assert!(age >= 3000 * SECOND && age < 3400 * SECOND, "{age:?}");
    }
    assert_eq!(harness.phase(), Phase::Streaming);
}

#[test]
fn a_socket_that_is_to_be_replaced_while_a_peer_connects_makes_nothing_spin() {
    let timing = Timing { rotate_signaling: 10 * SECOND, ..Timing::default() };
    let mut harness = Harness::with_timing(timing, |world| world.connects = false);
    // The deadline of the connection is later.
    harness.run(15 * SECOND);
    assert_eq!(harness.reason(), "ConnectingPeer");
    assert!(harness.session.poll_timeout().unwrap() > harness.now, "{:?}", harness.session);
    let opened = |action: &Action| matches!(action, Action::OpenSignaling { .. });
    assert_eq!(harness.count(opened), 1);
    harness.run(6 * SECOND);
    assert!(harness.count(opened) > 1, "replaced as soon as the peer is given up");
}

#[test]
fn a_failed_connection_takes_a_new_id_but_at_most_three_a_minute() {
    let mut harness = Harness::new();
    harness.world.connects = false;
    harness.input(Input::PeerFailed { generation: 1, reason: "no path".to_owned() });
    for _ in 0..600 {
        harness.run(Duration::from_millis(100));
        let generation = harness
            .log
            .iter()
            .rev()
            .find_map(|(_, action)| match action {
                Action::CreatePeer { generation, .. } => Some(*generation),
                _ => None,
            })
            .unwrap();
        harness.input(Input::PeerFailed { generation, reason: "no path".to_owned() });
    }
    let ids = harness.ids().len();
    assert!((2..=4).contains(&ids), "{ids}");
    let reported = harness
        .count(|action| matches!(action, Action::Report(failure) if failure.kind == FailureKind::PeerFailed));
    assert!(reported >= 2);
}

#[test]
fn an_answer_that_leads_nowhere_ends_at_its_deadline() {
    let mut harness = Harness::new();
    harness.run(40 * SECOND);
    harness.world.connects = false;
    harness.input(Input::PeerFailed { generation: 1, reason: "no path".to_owned() });
    assert_eq!(harness.reason(), "PeerConnectionFailed");
    harness.run(30 * SECOND);
    assert!(harness.ids().len() >= 2);
    harness.world.connects = true;
    harness.run(120 * SECOND);
    assert_eq!(harness.phase(), Phase::Streaming);
}

#[test]
fn a_master_with_the_wrong_codec_is_named_and_tried_again_slowly() {
    let mut harness = Harness::new();
    harness.input(Input::PeerFailed { generation: 1, reason: "no path".to_owned() });
    harness.world.answer = Err(Failure::new(FailureKind::CodecMismatch, "VP8 only"));
    harness.run(5 * SECOND);
    assert_eq!(harness.phase(), Phase::Failed);
    assert_eq!(harness.reason(), "CodecMismatch");
    let before = harness.offers();
    harness.run(600 * SECOND);
    let offers = harness.offers() - before;
    assert!((10..=30).contains(&offers), "{offers}");
    assert_eq!(harness.phase(), Phase::Failed);
    harness.world.answer = Ok(());
    harness.run(60 * SECOND);
    assert_eq!(harness.phase(), Phase::Streaming);
}

#[test]
fn media_storage_is_reported_and_looked_at_again_slowly() {
    let start = Instant::now();
    let mut session = Session::new("viewer", Timing::default(), 1, start);
    let storage = Failure::new(FailureKind::MediaStorageEnabled, "storage is on");
    let mut now = start;
    let mut resolves = 0;
    while now < start + 600 * SECOND {
        for action in session.handle(Input::Tick, now) {
            if let Action::Resolve { attempt } = action {
                resolves += 1;
                session.handle(Input::Resolved { attempt, result: Err(storage.clone()) }, now);
            }
        }
        assert_eq!(session.view(now).phase, Phase::Failed);
        assert_eq!(session.view(now).reason.as_str(), "MediaStorageEnabled");
        now = session.poll_timeout().unwrap();
    }
    assert!((10..=22).contains(&resolves), "{resolves}");
}

#[test]
fn missing_permissions_heal_by_themselves_when_granted() {
    let mut harness = Harness::new();
    harness.world.resolve = Err(Failure::new(FailureKind::AccessDenied, "not authorized"));
    harness.world.open = Err(Failure::new(FailureKind::AccessDenied, "403"));
    harness.world.master = false;
    let attempt = harness.socket.unwrap();
    harness.input(Input::SignalingClosed { attempt, reason: "1001".to_owned() });
    harness.input(Input::PeerFailed { generation: 1, reason: "no path".to_owned() });
    harness.run(120 * SECOND);
    assert_eq!(harness.phase(), Phase::Failed);
    assert_eq!(harness.reason(), "AccessDenied");
    harness.world.resolve = Ok(5 * SECOND);
    harness.world.open = Ok(());
    harness.world.master = true;
    harness.run(60 * SECOND);
    assert_eq!(harness.phase(), Phase::Streaming);
}

#[test]
fn a_connection_without_media_is_given_up_ever_more_slowly() {
    let mut harness = Harness::new();
    harness.world.media = false;
    harness.run(1800 * SECOND);
    let ids = harness.ids().len();
    assert!((6..=10).contains(&ids), "{ids}");
    assert_eq!((harness.phase(), harness.reason()), (Phase::WaitingForMaster, "MasterSilent"));
    harness.world.media = true;
    harness.run(120 * SECOND);
    assert_eq!(harness.phase(), Phase::Streaming);
}

#[test]
fn a_refused_offer_slows_down() {
    let mut harness = Harness::new();
    harness.world.master = false;
    harness.input(Input::PeerFailed { generation: 1, reason: "no path".to_owned() });
    harness.run(2 * SECOND);
    let before = harness.offers();
    harness.input(Input::Refused {
        error_type: "ClientLimitExceededException".to_owned(),
        description: "too many".to_owned(),
    });
    harness.run(9 * SECOND);
    assert_eq!(harness.offers(), before);
    harness.run(5 * SECOND);
    assert_eq!(harness.offers(), before + 1);
}

#[test]
fn turn_servers_going_away_replace_relayed_peers_only() {
    let mut harness = Harness::new();
    harness.run(SECOND);
    harness.input(Input::ReconnectIceServer);
    assert_eq!(harness.ids().len(), 1);
    harness.input(Input::PairSelected { generation: 1, relayed: true });
    harness.input(Input::ReconnectIceServer);
    harness.run(SECOND);
    assert_eq!(harness.ids().len(), 2);
    assert_eq!(harness.phase(), Phase::Streaming);
}

/// The old one is recorded from until the new one has brought a frame, and the master is told nothing of it before.
#[test]
fn a_relay_that_ends_is_replaced_before_it_does() {
    let mut harness = Harness::new();
    harness.run(5 * SECOND);
    harness.input(Input::PairSelected { generation: 1, relayed: true });
    harness.world.connects = false;
    let refused = || "the TURN server refuses to keep the relay: 401".to_owned();
    harness.input(Input::RelayEnds { generation: 1, reason: refused() });
    for _ in 0..30 {
        harness.run(Duration::from_millis(500));
        harness.input(Input::Media { generation: 1, flowing: true });
        assert_eq!(harness.phase(), Phase::Streaming);
        assert!(harness.session.view(harness.now).message.contains("401"));
    }
    assert_eq!(harness.session.leaving(), Some(1));
    assert_eq!(harness.count(|action| *action == Action::ClosePeer { generation: 1 }), 0);
    assert_eq!(harness.ids().len(), 2);
    harness.connected = Some(2);
    harness.input(Input::PeerConnected { generation: 2 });
    assert_eq!(
        harness.count(|action| *action == Action::ClosePeer { generation: 1 }),
        0,
        "no frame of it yet"
    );
    harness.run(5 * SECOND);
    assert_eq!(harness.session.leaving(), None);
    assert_eq!(harness.count(|action| *action == Action::ClosePeer { generation: 1 }), 1);
    assert_eq!((harness.phase(), harness.peers()), (Phase::Streaming, 2));
}

#[test]
fn a_connection_that_dies_while_it_is_replaced_is_let_go() {
    for how in 0..3 {
        let mut harness = Harness::new();
        harness.run(5 * SECOND);
        harness.world.master = false;
        harness.input(Input::RelayEnds { generation: 1, reason: "refused".to_owned() });
        // By itself, and without another word.
        harness.connected = None;
        harness.input(match how {
            0 => Input::PeerFailed { generation: 1, reason: "no path".to_owned() },
            1 => Input::PeerEnded { generation: 1 },
            _ => Input::Tick,
        });
        harness.run(6 * SECOND);
        assert_eq!(harness.session.leaving(), None);
        assert_eq!(harness.phase(), Phase::WaitingForMaster);
        harness.world.master = true;
        harness.until_streaming();
    }
}

/// Under an id that the master knows, some masters close the connection that is still recorded from.
#[test]
fn a_replacement_waits_for_an_id_of_its_own() {
    let mut harness = Harness::new();
    harness.run(SECOND);
    for _ in 0..2 {
        let generation = harness.connected.unwrap();
        harness.input(Input::RelayEnds { generation, reason: "refused".to_owned() });
        harness.run(4 * SECOND);
    }
    assert_eq!(harness.ids().len(), 3);
    let generation = harness.connected.take().unwrap();
    harness.input(Input::RelayEnds { generation, reason: "refused".to_owned() });
    for _ in 0..200 {
        harness.run(Duration::from_millis(500));
        if harness.connected.is_some() {
            break;
        }
        harness.input(Input::Media { generation, flowing: true });
        assert_eq!(harness.phase(), Phase::Streaming);
    }
    assert_eq!(harness.ids().len(), 4);
    assert!(harness.in_a_minute(|action| matches!(action, Action::OpenSignaling { .. })) <= 4);
}

#[test]
fn a_peer_waits_no_longer_than_its_credentials_live() {
    let mut harness = Harness::new();
    harness.world.master = false;
    harness.lose_peer();
    harness.run(3 * SECOND);
    let (generation, before) = (harness.peers() as u64, harness.peers());
    harness.input(Input::PeerFailed { generation, reason: "anew".to_owned() });
    harness.good_for = Some(100 * SECOND);
    harness.run(70 * SECOND);
    let first = harness.peers();
    harness.run(60 * SECOND);
    assert!(harness.peers() > first && first > before, "{before} {first} {}", harness.peers());
}

#[test]
fn what_belongs_to_an_older_peer_is_ignored() {
    let mut harness = Harness::new();
    harness.run(SECOND);
    let before = harness.log.len();
    harness.input(Input::PeerFailed { generation: 77, reason: "no path".to_owned() });
    harness.input(Input::Resolved { attempt: 1, result: Err(Failure::new(FailureKind::Network, "late")) });
    harness.input(Input::SignalingClosed { attempt: 77, reason: "late".to_owned() });
    assert_eq!(harness.log.len(), before);
    assert_eq!(harness.phase(), Phase::Streaming);
}

#[test]
fn stop_closes_everything_and_nothing_happens_after() {
    let mut harness = Harness::new();
    harness.run(SECOND);
    harness.input(Input::Stop);
    assert!(harness.log.iter().rev().take(2).any(|(_, action)| *action == Action::CloseSignaling));
    assert_eq!(harness.phase(), Phase::Stopping);
    assert_eq!(harness.session.poll_timeout(), None);
    let before = harness.log.len();
    harness.input(Input::GoAway);
    assert_eq!(harness.log.len(), before);
}

fn missing(message: &str) -> Option<Missing> {
    Some(Missing { reason: Reason::VideoNotStored, message: message.to_owned() })
}

#[test]
fn what_is_not_stored_is_said_in_place_of_media_flows_until_the_next_peer() {
    let mut harness = Harness::new();
    harness.run(SECOND);
    let said = |harness: &Harness| harness.session.view(harness.now);
    assert_eq!((harness.reason(), said(&harness).message.as_str()), ("Streaming", "media flows"));
    let missing = missing("audio is stored; video is not stored: why");
    harness.input(Input::Tracks { generation: 99, missing: missing.clone() });
    assert_eq!(harness.reason(), "Streaming", "of another peer");
    harness.input(Input::Tracks { generation: 1, missing });
    let view = said(&harness);
    assert_eq!((view.phase, view.reason), (Phase::Streaming, Reason::VideoNotStored));
    assert!(view.message.starts_with("audio is stored; video is not stored"), "{}", view.message);
    harness.input(Input::Tracks { generation: 1, missing: None });
    assert_eq!(harness.reason(), "Streaming");
}

#[test]
fn packets_that_nobody_can_use_are_not_called_silence() {
    let mut harness = Harness::with(|world| world.media = false);
    harness.run(SECOND);
    let why = "video is not stored: the master sends payload type 97, which its answer does not have";
    harness.input(Input::Tracks { generation: 1, missing: missing(why) });
    harness.run(20 * SECOND);
    let view = harness.session.view(harness.now);
    let told = (view.phase, view.reason, view.message.as_str());
    assert_eq!(told, (Phase::Connecting, Reason::VideoNotStored, why));
    harness.run(20 * SECOND);
    let told = |action: &Action| matches!(action, Action::Report(failure) if failure.message.ends_with(why));
    assert_eq!(harness.count(told), 1, "{:?}", harness.log);
}
