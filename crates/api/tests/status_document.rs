//! What `docs/agent.md` says of `/status` is what there is in it.
#![allow(clippy::unwrap_used, reason = "a test")]

use kvs_ingest_api::{
    AgentStatus, AttemptStatus, AudioStatus, CandidatePairStatus, CandidateStatus, ConnectingStatus,
    DataStatus, IceServerStatus, InboundStatus, OutputStatus, SignalingStatus, StepStatus, StreamStatus,
    TimeStatus, VideoStatus,
};
use serde_json::Value;
use std::collections::BTreeSet;

/// One in which nothing is absent.
fn whole() -> AgentStatus {
    let attempt = AttemptStatus {
        steps: vec![StepStatus::default()],
        ended_after_seconds: Some(0.0),
        reason: Some(String::new()),
        message: Some(String::new()),
        ..AttemptStatus::default()
    };
    let inbound = InboundStatus { ssrc: Some(0), ..InboundStatus::default() };
    let candidate = CandidateStatus { relay_protocol: Some(String::new()), ..CandidateStatus::default() };
    AgentStatus {
        channel: Some(String::new()),
        stream: Some(String::new()),
        client_id: Some(String::new()),
        signaling: SignalingStatus::default(),
        connecting: ConnectingStatus { current: Some(attempt.clone()), last: Some(attempt) },
        candidate_pair: Some(String::new()),
        selected_candidate_pair: Some(CandidatePairStatus {
            local: candidate.clone(),
            remote: candidate,
            current_round_trip_time: Some(0.0),
            ..CandidatePairStatus::default()
        }),
        ice_servers: vec![IceServerStatus::default()],
        relay_protocol: Some(String::new()),
        video: Some(VideoStatus {
            reason: Some(String::new()),
            inbound: inbound.clone(),
            time: TimeStatus::default(),
            ..VideoStatus::default()
        }),
        audio: Some(AudioStatus { reason: Some(String::new()), inbound, ..AudioStatus::default() }),
        data: Some(DataStatus {
            channels: vec![String::new()],
            lost: Some(String::new()),
            not_stored: [("Empty".to_owned(), 1)].into(),
            ..DataStatus::default()
        }),
        packets_unbound: [(96, 1)].into(),
        track_distance_ms: Some(0),
        kvs: StreamStatus { last_persisted_at: Some(String::new()), ..StreamStatus::default() },
        outputs: vec![OutputStatus::default()],
        ..AgentStatus::default()
    }
}

/// The paths of all values, as the table writes them: `iceServers[].url`.
fn paths(value: &Value, path: &str, all: &mut BTreeSet<String>) {
    assert!(!value.is_null(), "{path} is absent: give it a value above");
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let name = match path {
                    "packetsUnbound" => "PAYLOAD_TYPE",
                    "data.notStored" => "REASON",
                    _ => name,
                };
                let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
                paths(value, &path, all);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| paths(item, &format!("{path}[]"), all)),
        _ => drop(all.insert(path.to_owned())),
    }
}

#[test]
fn every_value_is_in_the_table_and_nothing_else() {
    let mut there = BTreeSet::new();
    paths(&serde_json::to_value(whole()).unwrap(), "", &mut there);
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/agent.md")).unwrap();
    let section = page.split("\n## The status document\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut documented = BTreeSet::new();
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        // `a.b`, `.c`: the second is `a.c`.
        let first = row.split('|').nth(1).unwrap();
        let mut parent = String::new();
        for name in first.split('`').skip(1).step_by(2) {
            let path = match name.strip_prefix('.') {
                Some(name) => format!("{parent}.{name}"),
                None => name.to_owned(),
            };
            parent = path.rsplit_once('.').map_or(String::new(), |(parent, _)| parent.to_owned());
            assert!(documented.insert(path.clone()), "{path} is there twice");
        }
        for (place, what) in [(2, "a unit"), (3, "a meaning"), (4, "a source")] {
            assert!(
                row.split('|').nth(place).is_some_and(|cell| !cell.trim().is_empty()),
                "{row} has not {what}"
            );
        }
    }
    // Both attempts, and both ends of a pair, are described once.
    let same = |path: &str| {
        path.replace("connecting.last.", "connecting.current.").replace("Pair.remote.", "Pair.local.")
    };
    let there: BTreeSet<_> = there.iter().map(|path| same(path)).collect();
    let missing: Vec<_> = there.difference(&documented).collect();
    let unknown: Vec<_> = documented.difference(&there).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "not documented: {missing:#?}\nnot there: {unknown:#?}"
    );
}
