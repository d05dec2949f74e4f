use kvs_ingest_api::{AudioStatus, TrackState, VideoStatus};

use super::*;

fn at(text: &str) -> Time {
    Time(text.parse().unwrap())
}

fn good() -> Observed {
    Observed {
        generation: Some(1),
        paused: false,
        invalid: None,
        not_permitted: None,
        failed: None,
        channel: Some(ResolvedChannel { name: "c".into(), arn: Some("arn:c".into()), created: false }),
        channel_condition: Some(ConditionUpdate::met(Reason::Found, "arn:c")),
        stream: Some(ResolvedStream {
            name: "s".into(),
            arn: Some("arn:s".into()),
            ..ResolvedStream::default()
        }),
        stream_condition: Some(ConditionUpdate::met(Reason::Found, "arn:s")),
        mode: Mode::Agent,
        media_storage: None,
        recording: None,
        outputs: Vec::new(),
        suspended: false,
        workload: Some(ConditionUpdate::met(Reason::AgentAvailable, "the agent runs")),
        agent: AgentView::NotAsked,
        image: Some("agent:1".into()),
        deployment_generation: Some(1),
        reconcile_requested_at: None,
    }
}

fn says(phase: Phase, reason: &str, message: &str) -> AgentView {
    AgentView::Status(Box::new(AgentStatus {
        phase,
        reason: reason.into(),
        message: message.into(),
        ..AgentStatus::default()
    }))
}

/// Type, status and reason of each condition.
fn brief(status: &KvsIngestStatus) -> Vec<(&str, &str, &str)> {
    status.conditions.iter().map(|c| (c.type_.as_str(), c.status.as_str(), c.reason.as_str())).collect()
}

fn ready(status: &KvsIngestStatus) -> (&str, &str) {
    let ready = find(status, condition::READY).unwrap();
    (&ready.status, &ready.reason)
}

fn starting() -> KvsIngestStatus {
    let starting = ConditionUpdate::waiting(Reason::AgentStarting, "is started");
    report(None, Observed { workload: Some(starting), ..good() }, &at("2026-01-01T00:00:00Z"))
}

#[test]
fn an_agent_that_starts_is_reconciling() {
    assert_eq!(
        brief(&starting()),
        [
            ("Ready", "False", "AgentStarting"),
            ("ChannelResolved", "True", "Found"),
            ("StreamResolved", "True", "Found"),
            ("AgentAvailable", "False", "AgentStarting"),
            ("MediaFlowing", "Unknown", "AgentUnavailable"),
            ("Reconciling", "True", "AgentStarting"),
        ]
    );
}

/// Channel and stream stay known: what was made has still to be deleted with the object.
#[test]
fn what_is_not_permitted_stops_and_is_said_first() {
    let running = report(None, good(), &at("2026-01-01T00:00:00Z"));
    let refused = |why: &str| Observed {
        not_permitted: Some(why.to_owned()),
        // Also of one that is invalid, or suspended.
        invalid: Some("spec.region: no region".to_owned()),
        suspended: true,
        workload: Some(ConditionUpdate::stalled(Reason::NotPermitted, "no agent runs")),
        agent: AgentView::Absent,
        ..Observed::unobserved(Some(1))
    };
    let stopped = report(Some(&running), refused("spec.image: not permitted"), &at("2026-01-01T00:01:00Z"));
    assert_eq!(
        brief(&stopped),
        [
            ("Ready", "False", "NotPermitted"),
            ("ChannelResolved", "Unknown", "NotPermitted"),
            ("StreamResolved", "Unknown", "NotPermitted"),
            ("AgentAvailable", "False", "NotPermitted"),
            ("MediaFlowing", "False", "Suspended"),
            ("Stalled", "True", "NotPermitted"),
        ]
    );
    assert_eq!((&stopped.channel, &stopped.stream), (&running.channel, &running.stream));
    // Another cause is told, and the same one is not written again.
    let now = at("2026-01-01T00:02:00Z");
    let other = report(Some(&stopped), refused("spec.region: not permitted"), &now);
    assert_eq!(find(&other, condition::READY).unwrap().message, "spec.region: not permitted");
    assert_eq!(report(Some(&stopped), refused("spec.image: not permitted"), &now), stopped);
}

#[test]
fn a_camera_that_is_off_is_ready() {
    let waiting =
        Observed { agent: says(Phase::WaitingForMaster, "WaitingForMaster", "no master"), ..good() };
    let status = report(Some(&starting()), waiting, &at("2026-01-01T00:00:05Z"));
    assert_eq!(
        brief(&status),
        [
            ("Ready", "True", "WaitingForMaster"),
            ("ChannelResolved", "True", "Found"),
            ("StreamResolved", "True", "Found"),
            ("AgentAvailable", "True", "AgentAvailable"),
            ("MediaFlowing", "False", "WaitingForMaster"),
        ]
    );
}

#[test]
fn media_that_waits_in_the_agent_is_neither_healthy_nor_broken() {
    let kept = Observed { agent: says(Phase::Streaming, "StorageInterrupted", "HTTP 503"), ..good() };
    let kept = report(Some(&starting()), kept, &at("2026-01-01T00:02:00Z"));
    assert_eq!(ready(&kept), ("True", "StorageInterrupted"));
    assert_eq!(find(&kept, condition::MEDIA_FLOWING).unwrap().reason, "StorageInterrupted");
}

#[test]
fn a_transition_is_of_the_status_and_not_of_the_reason() {
    let waiting =
        Observed { agent: says(Phase::WaitingForMaster, "WaitingForMaster", "no master"), ..good() };
    let status = report(Some(&starting()), waiting, &at("2026-01-01T00:00:05Z"));
    let streaming = Observed { agent: says(Phase::Streaming, "Streaming", "H.264 1280x720"), ..good() };
    let status = report(Some(&status), streaming, &at("2026-01-01T00:01:00Z"));
    assert_eq!(ready(&status), ("True", "Streaming"));
    // Ready did not change its status: since when it is ready did not change either.
    assert_eq!(find(&status, condition::READY).unwrap().last_transition_time, at("2026-01-01T00:00:05Z"));
    assert_eq!(
        find(&status, condition::MEDIA_FLOWING).unwrap().last_transition_time,
        at("2026-01-01T00:01:00Z")
    );
}

#[test]
fn the_same_observation_gives_the_same_status() {
    let streaming =
        |message: &str| Observed { agent: says(Phase::Streaming, "Streaming", message), ..good() };
    let first = report(None, streaming("at 12:00"), &at("2026-01-01T00:00:00Z"));
    // Later, in other words, and without having asked the agent.
    assert_eq!(report(Some(&first), streaming("at 12:01"), &at("2026-01-01T01:00:00Z")), first);
    assert_eq!(report(Some(&first), good(), &at("2026-01-01T02:00:00Z")), first);
    let failed = Observed { agent: says(Phase::Failed, "AccessDenied", "may not"), ..good() };
    let failed = report(Some(&first), failed, &at("2026-01-01T03:00:00Z"));
    assert_eq!(
        (ready(&failed), failed.conditions.last().unwrap().type_.as_str()),
        (("False", "AccessDenied"), "Stalled")
    );
    assert_eq!(report(Some(&failed), good(), &at("2026-01-01T04:00:00Z")), failed);
}

#[test]
fn the_first_thing_in_the_way_is_the_summary() {
    let missing = ConditionUpdate::stalled(Reason::NotFound, "create it");
    let cases = [
        (Observed { invalid: Some("spec.x: wrong".into()), ..good() }, "InvalidSpec", "Stalled"),
        (Observed { channel_condition: Some(missing.clone()), ..good() }, "ChannelNotFound", "Stalled"),
        (Observed { stream_condition: Some(missing), ..good() }, "StreamNotFound", "Stalled"),
        (
            Observed {
                stream_condition: Some(ConditionUpdate::stalled(Reason::StreamInUse, "older")),
                ..good()
            },
            "StreamInUse",
            "Stalled",
        ),
        (
            Observed {
                channel_condition: Some(ConditionUpdate::unknown(Reason::Throttled, "wait")),
                ..good()
            },
            "ChannelThrottled",
            "Reconciling",
        ),
        (
            Observed {
                workload: Some(ConditionUpdate::stalled(Reason::ImagePullBackOff, "no such image")),
                ..good()
            },
            "ImagePullBackOff",
            "Stalled",
        ),
    ];
    for (observed, reason, last) in cases {
        let status = report(None, observed, &at("2026-01-01T00:00:00Z"));
        assert_eq!(ready(&status).1, reason);
        assert_ne!(ready(&status).0, "True");
        let last_condition = status.conditions.last().unwrap();
        assert_eq!(
            (last_condition.type_.as_str(), last_condition.status.as_str()),
            (last, "True"),
            "{reason}"
        );
    }
}

#[test]
fn the_agent_knows_better_than_kubernetes() {
    let observed = Observed {
        workload: Some(ConditionUpdate::waiting(Reason::AgentStarting, "0 of 1 ready")),
        agent: says(Phase::Failed, "MediaStorageEnabled", "disable it"),
        ..good()
    };
    assert_eq!(ready(&report(None, observed, &at("2026-01-01T00:00:00Z"))), ("False", "MediaStorageEnabled"));
    // A reason from the network has to be one that the API server takes.
    let odd = Observed { agent: says(Phase::Failed, "no word\n", "x"), ..good() };
    assert_eq!(ready(&report(None, odd, &at("2026-01-01T00:00:00Z"))), ("False", "Unspecified"));
    let silent = Observed { agent: AgentView::Silent("no answer".into()), ..good() };
    let status = report(None, silent, &at("2026-01-01T00:00:00Z"));
    assert_eq!(ready(&status), ("True", "AgentAvailable"));
    assert_eq!(find(&status, condition::MEDIA_FLOWING).unwrap().status, "Unknown");
}

#[test]
fn suspended_is_ready_and_comes_back() {
    let run = report(
        None,
        Observed { agent: says(Phase::Streaming, "Streaming", "x"), ..good() },
        &at("2026-01-01T00:00:00Z"),
    );
    let suspended = Observed {
        suspended: true,
        generation: Some(2),
        workload: Some(ConditionUpdate::waiting(Reason::Suspended, "no agent").with_next(Next::Settled)),
        ..good()
    };
    let status = report(Some(&run), suspended, &at("2026-01-01T00:01:00Z"));
    assert_eq!(ready(&status), ("True", "Suspended"));
    assert_eq!(find(&status, condition::MEDIA_FLOWING).unwrap().reason, "Suspended");
    assert!(find(&status, condition::RECONCILING).is_none() && find(&status, condition::STALLED).is_none());
    let back = report(Some(&status), Observed { generation: Some(3), ..good() }, &at("2026-01-01T00:02:00Z"));
    assert_eq!(ready(&back), ("True", "AgentAvailable"));
}

#[test]
fn paused_says_so_and_leaves_the_rest() {
    let run = report(None, good(), &at("2026-01-01T00:00:00Z"));
    let paused = report(Some(&run), Observed { paused: true, ..good() }, &at("2026-01-01T00:01:00Z"));
    assert_eq!(paused.conditions.len(), run.conditions.len() + 1);
    assert!(is_true(&paused, condition::PAUSED));
    assert_eq!(report(Some(&paused), good(), &at("2026-01-01T00:02:00Z")), run);
}

/// An agent that is not ready because of what it says is asked again after a restart of the operator, not at once.
#[test]
fn what_an_unready_agent_said_holds_until_it_is_asked_again() {
    let unready = |agent| Observed {
        workload: Some(ConditionUpdate::waiting(Reason::AgentStarting, "the agent is being started")),
        agent,
        ..good()
    };
    let said = unready(says(Phase::Failed, "AccessDenied", "PutMedia may not"));
    let said = report(None, said, &at("2026-01-01T00:00:00Z"));
    assert_eq!(ready(&said), ("False", "AccessDenied"));
    let later = report(Some(&said), unready(AgentView::NotAsked), &at("2026-01-01T01:00:00Z"));
    assert_eq!(later, said);
    // Asked, it is silent: then nothing is known.
    let silent = unready(AgentView::Silent("refused".to_owned()));
    assert_eq!(ready(&report(Some(&said), silent, &at("2026-01-01T02:00:00Z"))), ("False", "AgentStarting"));
}

#[test]
fn media_flows_is_never_said_of_half() {
    let half = |phase| {
        let message = "audio is stored; video is not stored: no key frame (IDR) comes";
        let AgentView::Status(mut status) = says(phase, "VideoNotStored", message) else {
            panic!("it says so")
        };
        let reason = Some("NoKeyFrame".to_owned());
        status.video = Some(VideoStatus { state: TrackState::NotStored, reason, ..VideoStatus::default() });
        status.audio = Some(AudioStatus { state: TrackState::Stored, ..AudioStatus::default() });
        AgentView::Status(status)
    };
    for phase in [Phase::Streaming, Phase::Connecting, Phase::Reconnecting] {
        let status = report(None, Observed { agent: half(phase), ..good() }, &at("2026-01-01T00:00:00Z"));
        assert_eq!(ready(&status), ("True", "VideoNotStored"), "the agent does what it can");
        let media = find(&status, condition::MEDIA_FLOWING).unwrap();
        assert_eq!((media.status.as_str(), media.reason.as_str()), ("False", "VideoNotStored"));
        assert!(media.message.contains("no key frame"), "{}", media.message);
        let whole = Observed { agent: says(Phase::Streaming, "Streaming", "media flows"), ..good() };
        let status = report(Some(&status), whole, &at("2026-01-01T00:01:00Z"));
        assert_eq!(find(&status, condition::MEDIA_FLOWING).unwrap().status, "True");
    }
}

#[test]
fn another_cause_of_the_same_reason_is_told() {
    let told = |status: &KvsIngestStatus| find(status, condition::MEDIA_FLOWING).unwrap().message.clone();
    let said = |before, reason: &str, message: &str| {
        let agent = says(Phase::Streaming, reason, message);
        report(before, Observed { agent, ..good() }, &at("2026-01-01T00:00:00Z"))
    };
    let first = said(None, "VideoNotStored", "no key frame (IDR) comes");
    let second = said(Some(&first), "VideoNotStored", "packets are lost or damaged");
    assert_eq!(told(&second), "packets are lost or damaged");
    let since = |status: &KvsIngestStatus| {
        find(status, condition::MEDIA_FLOWING).unwrap().last_transition_time.clone()
    };
    assert_eq!(since(&second), since(&first));
    // Words alone that change are no news elsewhere.
    let first = said(None, "MasterSilent", "for 10 s");
    assert_eq!(told(&said(Some(&first), "MasterSilent", "for 20 s")), "for 10 s");
}

/// An agent that says this of itself and of each output.
fn sends(phase: Phase, outputs: &[(&str, OutputState, &str)]) -> AgentView {
    let of = |(name, state, reason): &(&str, OutputState, &str)| OutputStatus {
        name: (*name).into(),
        kind: "rtmp".into(),
        state: *state,
        reason: (*reason).into(),
        message: format!("{reason} it says"),
    };
    let word = if phase == Phase::Streaming { "Streaming" } else { "WaitingForMaster" };
    let outputs = outputs.iter().map(of).collect();
    AgentView::Status(Box::new(AgentStatus {
        phase,
        reason: word.into(),
        message: "words".into(),
        outputs,
        ..AgentStatus::default()
    }))
}

/// With the outputs `ivs`, which is required, and `own`, which is not.
fn with_outputs(agent: AgentView) -> Observed {
    let declared = |name: &str, required| DeclaredOutput { name: name.into(), required };
    Observed { outputs: vec![declared("ivs", true), declared("own", false)], agent, ..good() }
}

fn said<'a>(status: &'a KvsIngestStatus, kind: &str) -> (&'a str, &'a str) {
    let found = find(status, kind).unwrap_or_else(|| panic!("no {kind}"));
    (&found.status, &found.reason)
}

#[test]
fn each_output_has_a_condition_and_only_a_required_one_decides_whether_it_is_ready() {
    use OutputState::{Connecting, Failed, Interrupted, Receiving, Waiting};
    let streaming = ("True", "Streaming");
    for (ivs, own, ready_is, ivs_is, own_is, kstatus) in [
        (Receiving, Receiving, streaming, "True", "True", None),
        (Receiving, Failed, streaming, "True", "False", None),
        (Receiving, Interrupted, streaming, "True", "False", None),
        (Connecting, Connecting, streaming, "Unknown", "Unknown", None),
        (Waiting, Receiving, streaming, "Unknown", "True", None),
        (Interrupted, Failed, ("False", "OutputInterrupted"), "False", "False", Some("Reconciling")),
        (Failed, Receiving, ("False", "OutputFailed"), "False", "True", Some("Stalled")),
    ] {
        let case = format!("{ivs:?} {own:?}");
        let agent = sends(Phase::Streaming, &[("ivs", ivs, "OfIvs"), ("own", own, "OfOwn")]);
        let status = report(None, with_outputs(agent), &at("2026-01-01T00:00:00Z"));
        assert_eq!(ready(&status), ready_is, "{case}");
        assert_eq!(said(&status, "Output-ivs"), (ivs_is, "OfIvs"), "{case}");
        assert_eq!(said(&status, "Output-own"), (own_is, "OfOwn"), "{case}");
        assert_eq!(said(&status, "MediaFlowing"), streaming, "what is stored is another matter: {case}");
        for kind in ["Reconciling", "Stalled"] {
            assert_eq!(find(&status, kind).is_some(), kstatus == Some(kind), "{kind} {case}");
        }
        // Until it is asked again that still holds, also who moves next.
        let later = report(Some(&status), with_outputs(AgentView::NotAsked), &at("2026-01-01T00:01:00Z"));
        assert_eq!(later, status, "{case}");
    }
}

#[test]
fn a_camera_that_is_off_is_no_outputs_fault() {
    let waiting = OutputState::Waiting;
    let agent = sends(Phase::WaitingForMaster, &[("ivs", waiting, "NoMedia"), ("own", waiting, "NoMedia")]);
    let status = report(None, with_outputs(agent), &at("2026-01-01T00:00:00Z"));
    assert_eq!(ready(&status), ("True", "WaitingForMaster"));
    assert_eq!(said(&status, "Output-ivs"), ("False", "WaitingForMaster"));
}

#[test]
fn of_an_output_nobody_asked_about_nothing_is_said() {
    // Of an agent before it was declared; of one that does not answer; of one that was not asked; of none.
    let old = sends(Phase::Streaming, &[("own", OutputState::Receiving, "Receiving")]);
    for (agent, reason) in [
        (old, "AgentSilent"),
        (AgentView::Silent("refused".into()), "AgentSilent"),
        (AgentView::NotAsked, "AgentUnavailable"),
        (AgentView::Absent, "AgentUnavailable"),
    ] {
        let status = report(None, with_outputs(agent), &at("2026-01-01T00:00:00Z"));
        assert_eq!(said(&status, "Output-ivs"), ("Unknown", reason));
        assert_eq!(ready(&status).0, "True");
    }
    let suspended = Observed { suspended: true, ..with_outputs(AgentView::Absent) };
    let status = report(None, suspended, &at("2026-01-01T00:00:00Z"));
    assert_eq!(said(&status, "Output-ivs"), ("False", "Suspended"));
    // One that is not declared any more has no condition.
    let status = report(Some(&status), good(), &at("2026-01-01T00:00:01Z"));
    assert_eq!(find(&status, "Output-ivs"), None);
}

/// Of an object that AWS records by itself.
fn recorded_by_aws(recording: Option<ConditionUpdate>) -> Observed {
    Observed {
        mode: Mode::ManagedStorage,
        media_storage: Some(MediaStorageStatus {
            channel_arn: "arn:c".into(),
            stream_arn: "arn:s".into(),
            enabled_by_operator: true,
        }),
        recording,
        workload: Some(ConditionUpdate::met(Reason::NotUsed, "no agent is needed")),
        agent: AgentView::Absent,
        ..good()
    }
}

#[test]
fn who_has_no_agent_says_what_is_seen_of_awss_recording() {
    let now = at("2026-01-01T00:00:00Z");
    let with = |status, reason: Reason, next| Some(settled(status, reason, "words").with_next(next));
    for (recording, ready, media, kstatus) in [
        (
            with(ConditionStatus::True, Reason::Streaming, Next::Settled),
            "True Streaming",
            "True Streaming",
            None,
        ),
        (
            with(ConditionStatus::False, Reason::WaitingForMaster, Next::Settled),
            "True WaitingForMaster",
            "False WaitingForMaster",
            None,
        ),
        (
            with(ConditionStatus::Unknown, Reason::Throttled, Next::Waiting),
            "True ManagedStorage",
            "Unknown Throttled",
            None,
        ),
        (
            with(ConditionStatus::Unknown, Reason::AccessDenied, Next::Person),
            "False AccessDenied",
            "Unknown AccessDenied",
            Some(condition::STALLED),
        ),
        (None, "True ManagedStorage", "Unknown ManagedStorage", None),
    ] {
        let status = report(None, recorded_by_aws(recording), &now);
        let said = |kind: &str| find(&status, kind).map(|found| format!("{} {}", found.status, found.reason));
        assert_eq!(said(condition::READY).as_deref(), Some(ready));
        assert_eq!(said(condition::MEDIA_FLOWING).as_deref(), Some(media));
        assert_eq!(said(condition::AGENT_AVAILABLE).as_deref(), Some("True NotUsed"));
        let passing =
            [condition::RECONCILING, condition::STALLED].into_iter().find(|kind| said(kind).is_some());
        assert_eq!(passing, kstatus, "{ready}");
        assert_eq!((status.image.as_ref(), status.deployment_generation), (None, None), "there is none");
        // Another operator has not looked yet: what was said still holds.
        assert_eq!(report(Some(&status), recorded_by_aws(None), &now), status);
    }
}

#[test]
fn what_is_not_mapped_is_not_recorded() {
    let in_use = ConditionUpdate::stalled(Reason::MediaStorageInUse, "of another stream");
    let observed = Observed { media_storage: None, channel_condition: Some(in_use), ..recorded_by_aws(None) };
    let before = report(None, recorded_by_aws(None), &at("2026-01-01T00:00:00Z"));
    let status = report(Some(&before), observed, &at("2026-01-01T00:00:01Z"));
    let said = |kind: &str| find(&status, kind).unwrap().reason.clone();
    assert_eq!(
        (said(condition::READY), said(condition::MEDIA_FLOWING)),
        ("MediaStorageInUse".into(), "NotReached".into())
    );
    assert_eq!(status.media_storage, None);
}
