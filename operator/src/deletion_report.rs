//! The status of an object that is being deleted, as long as something is in the way; and of one that cannot be read.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kvs_ingest_api::{KvsIngestStatus, condition};
use serde_json::{Value, json};

use crate::conditions::{ConditionStatus, ConditionUpdate, Next};
use crate::reason::Reason;
use crate::report::set;

/// The new status: there is no agent any more, and `why` the object still is there. What is known of channel and stream
/// stays.
#[must_use]
pub(crate) fn report_deletion(
    before: Option<&KvsIngestStatus>,
    why: &ConditionUpdate,
    generation: Option<i64>,
    now: &Time,
) -> KvsIngestStatus {
    let empty = KvsIngestStatus::default();
    let before = before.unwrap_or(&empty);
    let mut status = KvsIngestStatus { observed_generation: generation, ..before.clone() };
    let passing = [condition::RECONCILING, condition::STALLED, condition::PAUSED];
    status.conditions.retain(|found| !passing.contains(&found.type_.as_str()));
    let ended = ConditionUpdate::waiting(Reason::Deleting, "the object is being deleted: no agent is to run");
    let cause = ConditionUpdate { status: ConditionStatus::True, ..why.clone() };
    let kind = if why.next == Next::Person { condition::STALLED } else { condition::RECONCILING };
    let of_outputs = before.conditions.iter().map(|found| found.type_.as_str());
    let of_outputs = of_outputs.filter(|kind| kind.starts_with(condition::OUTPUT_PREFIX));
    let all = [
        (condition::READY, why),
        (condition::AGENT_AVAILABLE, &ended),
        (condition::MEDIA_FLOWING, &ended),
        (kind, &cause),
    ];
    for (kind, update) in all.into_iter().chain(of_outputs.map(|kind| (kind, &ended))) {
        set(&mut status.conditions, before, kind, update, generation, now);
    }
    status
}

/// The status of an object that this operator cannot read, with `why` put into it. It is JSON, because what a newer operator
/// wrote there has to stay.
#[must_use]
pub(crate) fn report_unreadable(
    before: Option<&Value>,
    why: &ConditionUpdate,
    agent: Option<&ConditionUpdate>,
    generation: Option<i64>,
    now: &Time,
) -> Value {
    let mut status = before.filter(|before| before.is_object()).cloned().unwrap_or_else(|| {
        // Nothing is known: then this is all that is observed of this generation.
        json!({"observedGeneration": generation})
    });
    let mut conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    let known = conditions.clone();
    let old = |kind: &str| known.iter().find(|found| found["type"] == kind);
    // Of media nobody tells any more when the agent was ended.
    let untold =
        |kind: &Value| kind == condition::RECONCILING || agent.is_some() && kind == condition::MEDIA_FLOWING;
    conditions.retain(|found| !untold(&found["type"]));
    let stalled = ConditionUpdate { status: ConditionStatus::True, ..why.clone() };
    let agent = agent.map(|agent| (condition::AGENT_AVAILABLE, agent));
    for (kind, update) in [(condition::READY, why), (condition::STALLED, &stalled)].into_iter().chain(agent) {
        let same = old(kind).filter(|old| old["status"] == update.status.as_str());
        let since = same.map_or_else(|| json!(now), |old| old["lastTransitionTime"].clone());
        let new = json!({
            "type": kind,
            "status": update.status.as_str(),
            "reason": update.reason.as_str(),
            "message": update.message,
            "observedGeneration": generation,
            "lastTransitionTime": since,
        });
        match conditions.iter_mut().find(|found| found["type"] == kind) {
            Some(place) => *place = new,
            None => conditions.push(new),
        }
    }
    status["conditions"] = Value::Array(conditions);
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conditions::find;

    fn at(text: &str) -> Time {
        Time(text.parse().unwrap())
    }

    fn reason(status: &KvsIngestStatus, kind: &str) -> Option<String> {
        find(status, kind).map(|found| format!("{} {}", found.status, found.reason))
    }

    #[test]
    fn a_deletion_says_what_it_waits_for() {
        let mut before = KvsIngestStatus::default();
        let found = ConditionUpdate::met(Reason::Found, "arn");
        set(
            &mut before.conditions,
            &KvsIngestStatus::default(),
            condition::CHANNEL_RESOLVED,
            &found,
            Some(1),
            &at("2026-01-01T00:00:00Z"),
        );
        let goes = ConditionUpdate::waiting(Reason::Deleting, "the agent ends");
        let status = report_deletion(Some(&before), &goes, Some(2), &at("2026-01-01T00:00:01Z"));
        assert_eq!(reason(&status, condition::READY).unwrap(), "False Deleting");
        assert_eq!(reason(&status, condition::RECONCILING).unwrap(), "True Deleting");
        assert_eq!(reason(&status, condition::MEDIA_FLOWING).unwrap(), "False Deleting");
        assert_eq!(reason(&status, condition::CHANNEL_RESOLVED).unwrap(), "True Found");
        let blocked = ConditionUpdate::stalled(Reason::DeletionBlocked, "no rights");
        let status = report_deletion(Some(&status), &blocked, Some(2), &at("2026-01-01T00:00:02Z"));
        assert_eq!(reason(&status, condition::STALLED).unwrap(), "True DeletionBlocked");
        assert_eq!(reason(&status, condition::RECONCILING), None);
        let later = report_deletion(Some(&status), &blocked, Some(2), &at("2026-01-01T00:00:09Z"));
        assert_eq!(later, status, "nothing new: nothing is written");
    }

    #[test]
    fn what_a_newer_operator_wrote_stays() {
        let why = ConditionUpdate::stalled(Reason::InvalidSpec, "it cannot be read");
        let before = json!({"observedGeneration": 3, "stream": {"arn": "s", "shards": 4}, "conditions": [
            {"type": "Ready", "status": "True", "reason": "Streaming", "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z"},
            {"type": "StreamResolved", "status": "True", "reason": "Created", "message": "m"},
            {"type": "Sharded", "status": "True", "reason": "New", "message": "m"}]});
        let status = report_unreadable(Some(&before), &why, None, Some(4), &at("2026-01-02T00:00:00Z"));
        assert_eq!((&status["stream"], &status["observedGeneration"]), (&before["stream"], &json!(3)));
        let reasons: Vec<_> = status["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|found| found["reason"].as_str().unwrap())
            .collect();
        assert_eq!(reasons, ["InvalidSpec", "Created", "New", "InvalidSpec"]);
        let again = report_unreadable(Some(&status), &why, None, Some(4), &at("2026-01-03T00:00:00Z"));
        assert_eq!(again, status, "nothing new: nothing is written");
        assert_eq!(
            report_unreadable(None, &why, None, Some(4), &at("2026-01-03T00:00:00Z"))["observedGeneration"],
            4
        );
    }
}
