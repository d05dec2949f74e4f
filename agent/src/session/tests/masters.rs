//! Masters that pause, crash, say goodbye, come back, and answer more than once.

use super::*;

/// How many peers an hour costs after it was learnt what this master is like.
fn peers_in_the_second_hour(change: impl Fn(&mut World)) -> (usize, usize) {
    let mut harness = Harness::with(change);
    harness.run(3600 * SECOND);
    let learning = harness.peers();
    harness.run(3600 * SECOND);
    assert_eq!(harness.phase(), Phase::Streaming);
    (learning, harness.peers() - learning)
}

#[test]
fn a_frame_in_eight_or_in_twenty_seconds_needs_one_connection() {
    for seconds in [8, 20] {
        let peers = peers_in_the_second_hour(|world| world.every = seconds * SECOND);
        assert_eq!(peers, (1, 0), "one in {seconds} s");
    }
}

#[test]
fn longer_pauses_are_learnt_once() {
    for seconds in [45, 100] {
        let (learning, later) = peers_in_the_second_hour(|world| world.every = seconds * SECOND);
        assert!(learning <= 4 && later == 0, "one in {seconds} s: {learning}, {later}");
    }
}

#[test]
fn a_master_that_answers_no_checks_and_sends_seldom_is_learnt_once() {
    for (seconds, any_packet_counts) in [(8, false), (20, false), (8, true), (20, true)] {
        let (learning, later) = peers_in_the_second_hour(|world| {
            world.every = seconds * SECOND;
            world.checks = false;
            world.any_packet_counts = any_packet_counts;
        });
        assert!(learning <= 6 && later == 0, "one in {seconds} s: {learning}, {later}");
    }
}

#[test]
fn what_was_learnt_outlives_the_connection_and_half_an_hour_of_plenty() {
    let mut harness = Harness::with(|world| world.every = 45 * SECOND);
    harness.run(600 * SECOND);
    harness.world.every = Duration::from_millis(500);
    harness.run(1800 * SECOND);
    harness.lose_peer();
    harness.run(60 * SECOND);
    let peers = harness.peers();
    harness.world.every = 45 * SECOND;
    harness.run(600 * SECOND);
    assert_eq!(harness.peers(), peers);
}

#[test]
fn a_pause_that_is_unusual_is_told_and_a_key_frame_asked_for() {
    let mut harness = Harness::new();
    harness.run(10 * SECOND);
    harness.world.media = false;
    harness.run(20 * SECOND);
    assert_eq!((harness.phase(), harness.reason()), (Phase::WaitingForMaster, "MasterSilent"));
    assert_eq!(harness.count(|action| matches!(action, Action::RequestKeyFrame { .. })), 2);
    harness.world.media = true;
    harness.next_media = harness.now;
    harness.run(SECOND);
    assert_eq!(harness.phase(), Phase::Streaming);
    assert_eq!(harness.peers(), 1);
    // As long a pause is nothing unusual then.
    harness.world.media = false;
    harness.run(20 * SECOND);
    assert_eq!(harness.phase(), Phase::Streaming);
    assert_eq!(harness.count(|action| matches!(action, Action::RequestKeyFrame { .. })), 2);
}

#[test]
fn a_dead_encoder_gets_a_new_connection_in_the_end() {
    let mut harness = Harness::new();
    harness.run(600 * SECOND);
    harness.world.media = false;
    harness.run(29 * SECOND);
    assert_eq!(harness.peers(), 1);
    harness.run(2 * SECOND);
    assert_eq!(harness.peers(), 2);
    assert!(
        harness.count(
            |action| matches!(action, Action::Report(failure) if failure.kind == FailureKind::MediaTimeout)
        ) == 1
    );
}

#[test]
fn an_encoder_that_dies_again_and_again_is_given_up_as_soon_every_time() {
    let mut harness = Harness::new();
    for time in 1..=6 {
        harness.world.media = true;
        harness.run(600 * SECOND);
        assert_eq!((harness.phase(), harness.peers()), (Phase::Streaming, time), "{time}");
        harness.world.media = false;
        harness.run(32 * SECOND);
        assert_eq!(harness.peers(), time + 1, "{time}");
    }
}

#[test]
fn a_master_that_crashes_is_back_as_fast_at_the_tenth_time_as_at_the_first() {
    for streamed in [12, 3, 300] {
        let mut harness = Harness::new();
        for time in 1..=10 {
            harness.run(streamed * SECOND);
            assert_eq!(harness.phase(), Phase::Streaming, "{time}");
            harness.crash();
            harness.run(SECOND);
            // Started anew: it answers, but not on the old connection.
            harness.world.master = true;
            let peers = harness.peers();
            let mut waited = SECOND;
            while harness.peers() == peers {
                harness.run(Duration::from_millis(100));
                waited += Duration::from_millis(100);
            }
            harness.recover();
            waited += harness.until_streaming();
            assert!(waited <= 6 * SECOND, "{time}, after {streamed} s: {waited:?}");
        }
    }
}

#[test]
fn a_master_that_says_goodbye_is_offered_another_connection_at_once_every_time() {
    let mut harness = Harness::new();
    for time in 1..=30 {
        harness.run(12 * SECOND);
        assert_eq!(harness.phase(), Phase::Streaming, "{time}");
        let generation = harness.connected.unwrap();
        harness.world.master = false;
        let offers = harness.offers();
        harness.input(Input::PeerEnded { generation });
        assert_eq!((harness.phase(), harness.reason()), (Phase::WaitingForMaster, "MasterEnded"), "{time}");
        assert_eq!(harness.connected, None);
        assert_eq!(harness.offers(), offers + 1, "{time}");
        // It takes the offer with it: the next one is not far.
        harness.run(SECOND);
        harness.world.master = true;
        let waited = harness.until_streaming();
        assert!(waited <= 2 * SECOND, "{time}: {waited:?}");
    }
    assert_eq!(harness.ids().len(), 31, "no id is used again");
    assert_eq!(harness.count(|action| matches!(action, Action::Report(_))), 0);
}

#[test]
fn goodbyes_without_end_are_believed_so_often_only() {
    let mut harness = Harness::new();
    for _ in 0..590 {
        harness.run(Duration::from_millis(100));
        if let Some(generation) = harness.connected {
            harness.input(Input::PeerEnded { generation });
        }
    }
    assert!((4..=12).contains(&harness.peers()), "{}", harness.peers());
    assert!(harness.ids().len() <= 9, "{:?}", harness.ids());
    harness.run(120 * SECOND);
    assert_eq!(harness.phase(), Phase::Streaming);
}

#[test]
fn a_goodbye_before_any_media_backs_off() {
    let mut harness = Harness::with(|world| world.media = false);
    for _ in 0..600 {
        harness.run(Duration::from_millis(100));
        if let Some(generation) = harness.connected {
            harness.input(Input::PeerEnded { generation });
        }
    }
    assert!((3..=12).contains(&harness.peers()), "{}", harness.peers());
}

/// Uses up the three ids of a minute.
fn out_of_ids(certificate: Certificate) -> Harness {
    let mut harness = Harness::with(|world| world.certificate = certificate);
    for id in 1..=3 {
        harness.run(SECOND);
        harness.until_streaming();
        assert_eq!(harness.ids().len(), id);
        harness.world.master = id < 3;
        harness.lose_peer();
    }
    harness.run(SECOND);
    harness
}

#[test]
fn without_a_new_id_the_old_one_is_offered_and_an_answer_to_it_is_as_good() {
    let mut harness = out_of_ids(Certificate::One);
    harness.world.master = true;
    harness.until_streaming();
    assert_eq!(harness.ids().len(), 3);
    // It keeps its slots for all that is known: no more ids before the minute is over.
    harness.lose_peer();
    harness.run(10 * SECOND);
    assert_eq!(harness.ids().len(), 3);
    assert_eq!(harness.phase(), Phase::Streaming);
}

#[test]
fn a_master_that_was_started_anew_has_all_its_slots() {
    let mut harness = out_of_ids(Certificate::Each);
    harness.world.master = true;
    harness.until_streaming();
    assert_eq!(harness.ids().len(), 3);
    harness.lose_peer();
    harness.run(10 * SECOND);
    assert_eq!(harness.ids().len(), 4, "an answer with another certificate to an id it knew");
}

#[test]
fn a_master_that_does_not_answer_an_old_id_gets_a_new_one_when_there_is_one() {
    let mut harness = out_of_ids(Certificate::Each);
    harness.run(40 * SECOND);
    assert_eq!(harness.ids().len(), 3);
    harness.run(30 * SECOND);
    assert_eq!(harness.ids().len(), 4);
}

/// A session that offers, and to which nobody answers yet.
fn offering() -> Harness {
    let mut harness = Harness::with(|world| {
        world.master = false;
        world.connects = false;
    });
    harness.run(10 * SECOND);
    harness
}

fn added(harness: &Harness) -> Vec<String> {
    let added = |(_, action): &(Duration, Action)| match action {
        Action::AddCandidate { candidate, .. } => Some(candidate.clone()),
        _ => None,
    };
    harness.log.iter().filter_map(added).collect()
}

#[test]
fn an_answer_that_comes_again_with_candidates_adds_them() {
    let mut harness = offering();
    harness.input(Input::Answer { sdp: answer_of("u", "AA", &[]) });
    harness.input(Input::Answer { sdp: answer_of("u", "AA", &[]) });
    harness.input(Input::Answer { sdp: answer_of("u", "AA", &["candidate:1"]) });
    harness.input(Input::Answer { sdp: answer_of("u", "AA", &["candidate:1", "candidate:2"]) });
    harness.input(Input::PeerConnected { generation: 1 });
    harness.input(Input::Answer { sdp: answer_of("u", "AA", &["candidate:2", "candidate:3"]) });
    assert_eq!(added(&harness), ["candidate:1", "candidate:2", "candidate:3"]);
    assert_eq!(harness.peers(), 1);
    assert_eq!(harness.count(|action| matches!(action, Action::ApplyAnswer { .. })), 1);
}

#[test]
fn an_answer_of_another_connection_gets_a_fresh_viewer_once() {
    let mut harness = offering();
    harness.input(Input::Answer { sdp: answer_of("u", "AA", &[]) });
    harness.world.master = true;
    harness.world.connects = true;
    harness.input(Input::Answer { sdp: answer_of("v", "BB", &[]) });
    harness.run(5 * SECOND);
    assert_eq!(harness.ids(), ["viewer-1", "viewer-2"]);
    assert_eq!(harness.phase(), Phase::Streaming);
    assert_eq!(harness.count(answered_twice), 1);
}

fn answered_twice(action: &Action) -> bool {
    matches!(action, Action::Report(failure) if failure.kind == FailureKind::AnsweredTwice)
}

#[test]
fn while_connected_another_answer_is_ignored_and_that_is_said_once() {
    let mut harness = Harness::new();
    harness.run(5 * SECOND);
    for number in 0..10 {
        harness.input(Input::Answer { sdp: answer_of(&number.to_string(), "CC", &[]) });
    }
    assert_eq!(harness.phase(), Phase::Streaming);
    assert_eq!(harness.count(answered_twice), 1);
}

#[test]
fn two_masters_that_both_answer_do_not_make_it_begin_for_ever() {
    let mut harness = offering();
    for number in 0..600 {
        harness.input(Input::Answer { sdp: answer_of(&format!("u{number}"), &number.to_string(), &[]) });
        harness.input(Input::Answer { sdp: answer_of(&format!("v{number}"), &number.to_string(), &[]) });
        harness.run(Duration::from_millis(100));
    }
    assert!(harness.peers() <= 6, "{}", harness.peers());
}
