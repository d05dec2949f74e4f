//! Whatever happens, in whatever order: bounded, never stuck.

use super::*;
use proptest::prelude::*;

/// What the world does next. Numbers that name a peer, a socket or an answer are taken modulo what there is.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Wait(u64),
    Answer { connection: u8, certificate: u8, candidates: u8 },
    Candidate(u8),
    Connected(bool),
    Disconnected(bool),
    Ended(bool),
    Failed(bool),
    Media { flowing: bool },
    Relayed,
    RelayEnds,
    LeftMedia,
    LocalCandidate,
    NotApplied,
    IceServersGo,
    GoAway,
    SocketCloses,
    Refused,
}

fn event() -> impl Strategy<Value = Event> {
    // True: the newest peer; false: the one before.
    let newest = || proptest::bool::weighted(0.9);
    prop_oneof![
        6 => (0u64..3_000).prop_map(Event::Wait),
        2 => (0u64..100_000).prop_map(Event::Wait),
        4 => (0u8..4, 0u8..3, 0u8..4).prop_map(|(connection, certificate, candidates)| Event::Answer {
            connection, certificate, candidates
        }),
        1 => any::<u8>().prop_map(Event::Candidate),
        4 => newest().prop_map(Event::Connected),
        2 => newest().prop_map(Event::Disconnected),
        3 => newest().prop_map(Event::Ended),
        2 => newest().prop_map(Event::Failed),
        4 => any::<bool>().prop_map(|flowing| Event::Media { flowing }),
        1 => Just(Event::Relayed),
        2 => Just(Event::RelayEnds),
        2 => Just(Event::LeftMedia),
        1 => Just(Event::LocalCandidate),
        1 => Just(Event::NotApplied),
        1 => Just(Event::IceServersGo),
        1 => Just(Event::GoAway),
        1 => Just(Event::SocketCloses),
        1 => Just(Event::Refused),
    ]
}

impl Harness {
    pub(super) fn happen(&mut self, event: &Event) {
        let latest = self.peers() as u64;
        let which = |newest: bool| if newest { latest } else { latest.saturating_sub(1) };
        self.connected = None;
        let input = match event {
            Event::Wait(millis) => return self.run(Duration::from_millis(*millis)),
            Event::Answer { connection, certificate, candidates } => {
                let candidates: Vec<_> =
                    (0..*candidates).map(|number| format!("candidate:{number}")).collect();
                let candidates: Vec<_> = candidates.iter().map(String::as_str).collect();
                let ufrag = format!("u{connection}");
                Input::Answer { sdp: answer_of(&ufrag, &certificate.to_string(), &candidates) }
            }
            Event::Candidate(number) => {
                Input::RemoteCandidate { candidate: format!("candidate:{number}"), section: 0 }
            }
            Event::Connected(newest) => Input::PeerConnected { generation: which(*newest) },
            Event::Disconnected(newest) => Input::PeerDisconnected { generation: which(*newest) },
            Event::Ended(newest) => Input::PeerEnded { generation: which(*newest) },
            Event::Failed(newest) => {
                Input::PeerFailed { generation: which(*newest), reason: "no path".to_owned() }
            }
            Event::Media { flowing } => Input::Media { generation: latest, flowing: *flowing },
            Event::Relayed => Input::PairSelected { generation: latest, relayed: true },
            Event::RelayEnds => Input::RelayEnds { generation: latest, reason: "refused".to_owned() },
            Event::LeftMedia => Input::Media { generation: latest.saturating_sub(1), flowing: true },
            Event::LocalCandidate => {
                Input::LocalCandidate { generation: latest, candidate: "candidate:l".to_owned() }
            }
            Event::NotApplied => {
                let failure = Failure::new(FailureKind::PeerFailed, "not applied");
                Input::AnswerApplied { generation: latest, result: Err(failure) }
            }
            Event::IceServersGo => Input::ReconnectIceServer,
            Event::GoAway => Input::GoAway,
            Event::SocketCloses => match self.socket.take() {
                Some(attempt) => Input::SignalingClosed { attempt, reason: "1006".to_owned() },
                None => Input::Tick,
            },
            Event::Refused => Input::Refused { error_type: "X".to_owned(), description: String::new() },
        };
        self.input(input);
    }

    /// The most of these actions in any minute.
    pub(super) fn in_a_minute(&self, wanted: impl Fn(&Action) -> bool) -> usize {
        let times: Vec<_> = self.log.iter().filter(|(_, action)| wanted(action)).map(|(at, _)| *at).collect();
        times
            .iter()
            .enumerate()
            .map(|(index, at)| times[index..].iter().take_while(|later| **later - *at < 60 * SECOND).count())
            .max()
            .unwrap_or(0)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nothing_makes_it_spin_or_stick(events in proptest::collection::vec(event(), 1..250)) {
        // The socket is due to be replaced in whatever state the peer is.
        let timing = Timing { rotate_signaling: 60 * SECOND, ..Timing::default() };
        let mut harness = Harness::with_timing(timing, |world| {
            world.master = false;
            world.connects = false;
            world.media = false;
        });
        for event in &events {
            harness.happen(event);
            harness.input(Input::Tick);
            let next = harness.session.poll_timeout();
            prop_assert!(next.is_some_and(|next| next > harness.now), "{:?}", harness.session);
            // Never more than the one in use and the one that it replaces.
            let closed = |generation| harness.log.iter().any(|(_, action)| *action == Action::ClosePeer { generation });
            let open = (1..=harness.peers() as u64).filter(|generation| !closed(*generation)).count();
            prop_assert!(open <= 2, "{open} connections: {:?}", harness.session);
        }
        let peers = harness.in_a_minute(|action| matches!(action, Action::CreatePeer { .. }));
        prop_assert!(peers <= 12, "{peers} peers in a minute");
        let offers = harness.in_a_minute(|action| matches!(action, Action::SendOffer { .. }));
        prop_assert!(offers <= 45, "{offers} offers in a minute");
        // Each id is offered for the first time once; three of a minute count, six goodbyes free one.
        let mut seen = std::collections::HashSet::new();
        let mut firsts: Vec<Duration> = Vec::new();
        for (at, action) in &harness.log {
            if let Action::CreatePeer { client_id, .. } = action && seen.insert(client_id.clone()) {
                firsts.push(*at);
            }
        }
        for window in firsts.windows(10) {
            prop_assert!(window[9] - window[0] >= 60 * SECOND, "ten ids within a minute: {window:?}");
        }
        // A well-behaved master comes.
        harness.connected = None;
        harness.recover();
        harness.world.connects = true;
        harness.run(700 * SECOND);
        prop_assert_eq!(harness.phase(), Phase::Streaming, "{:?}", harness.session);
        harness.run(600 * SECOND);
        prop_assert_eq!(harness.phase(), Phase::Streaming);
    }

    /// A master that sends at these intervals: after the first hour it is known.
    #[test]
    fn any_rhythm_is_learnt(every in 1u32..290, checks in any::<bool>(), any_packet_counts in any::<bool>()) {
        let every = if checks { every } else { every % 40 + 1 };
        let mut harness = Harness::with(|world| {
            world.every = every * SECOND;
            world.checks = checks;
            world.any_packet_counts = any_packet_counts;
        });
        harness.run(3600 * SECOND);
        let learning = harness.peers();
        harness.run(3600 * SECOND);
        prop_assert!(learning <= 8 && harness.peers() == learning, "{learning}, {}", harness.peers());
    }
}
