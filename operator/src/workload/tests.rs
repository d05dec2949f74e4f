use serde_json::json;

use super::*;
use crate::conditions::ConditionStatus;

fn deployment(status: serde_json::Value) -> DeploymentLite {
    serde_json::from_value(json!({"metadata": {"name": "x", "generation": 2}, "status": status})).unwrap()
}

fn brief(found: &Availability) -> (ConditionStatus, Reason, Next, bool) {
    let ConditionUpdate { status, reason, next, .. } = found.condition.clone();
    (status, reason, next, found.unexplained)
}

fn current() -> serde_json::Value {
    json!({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1})
}

fn running(status: serde_json::Value) -> (ConditionStatus, Reason, Next, bool) {
    brief(&availability(&deployment(status), true))
}

#[test]
fn an_agent_is_available_all_through_a_rollout() {
    assert_eq!(running(current()), (ConditionStatus::True, Reason::AgentAvailable, Next::Settled, false));
    let mut old = current();
    old["observedGeneration"] = json!(1);
    assert_eq!(running(old), (ConditionStatus::True, Reason::RollingOut, Next::Waiting, false));
    let mut surge = current();
    surge["replicas"] = json!(2);
    assert_eq!(running(surge.clone()).1, Reason::RollingOut);
    surge["conditions"] =
        json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]);
    assert_eq!(running(surge), (ConditionStatus::True, Reason::RolloutStuck, Next::Person, false));
}

#[test]
fn an_agent_that_is_not_available_starts_until_somebody_knows_better() {
    let starting = |unexplained| (ConditionStatus::False, Reason::AgentStarting, Next::Waiting, unexplained);
    assert_eq!(running(json!({})), starting(false));
    // Only now there may be pods that say why.
    assert_eq!(running(json!({"observedGeneration": 2})), starting(true));
    let quota = json!({"observedGeneration": 2, "conditions": [
        {"type": "ReplicaFailure", "status": "True", "message": "pods is forbidden: exceeded quota: small"}]});
    assert_eq!(running(quota), (ConditionStatus::False, Reason::QuotaExceeded, Next::Person, false));
}

#[test]
fn who_is_suspended_has_no_replica_left() {
    let suspended = |status| brief(&availability(&deployment(status), false));
    assert_eq!(suspended(current()), (ConditionStatus::False, Reason::Suspending, Next::Waiting, false));
    let ended = json!({"observedGeneration": 2});
    assert_eq!(suspended(ended), (ConditionStatus::False, Reason::Suspended, Next::Settled, false));
}

fn pod(status: serde_json::Value) -> AgentPod {
    inspect(&serde_json::from_value(json!({"metadata": {"name": "p"}, "status": status})).unwrap())
}

fn waiting(reason: &str, last: serde_json::Value) -> serde_json::Value {
    json!({"phase": "Running", "podIP": "10.0.0.7", "containerStatuses": [{
        "name": "agent", "image": "agent:1", "imageID": "", "ready": false, "restartCount": 3,
        "state": {"waiting": {"reason": reason, "message": "words"}}, "lastState": last}]})
}

#[test]
fn why_a_pod_does_not_run() {
    for (status, reason) in [
        (waiting("ImagePullBackOff", json!({})), Reason::ImagePullBackOff),
        (waiting("ErrImagePull", json!({})), Reason::ImagePullBackOff),
        (waiting("CreateContainerConfigError", json!({})), Reason::ContainerConfigError),
        (
            waiting("CrashLoopBackOff", json!({"terminated": {"exitCode": 1, "reason": "Error"}})),
            Reason::CrashLooping,
        ),
        (
            waiting("CrashLoopBackOff", json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}})),
            Reason::OutOfMemory,
        ),
        (
            json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
                "reason": "Unschedulable", "message": "0/3 nodes"}]}),
            Reason::Unschedulable,
        ),
        (json!({"phase": "Failed", "reason": "Evicted", "message": "disk"}), Reason::PodFailed),
    ] {
        let pod = pod(status.clone());
        assert_eq!(pod.problem.unwrap().reason, reason, "{status}");
    }
    let running = pod(json!({"phase": "Running", "podIP": "10.0.0.7"}));
    assert!(running.problem.is_none());
    assert_eq!(running.address, Some("10.0.0.7".parse().unwrap()));
    // Not asked before it runs.
    assert_eq!(pod(json!({"phase": "Pending", "podIP": "10.0.0.7"})).address, None);
    assert!(pod(waiting("ContainerCreating", json!({}))).problem.is_none());
}

#[test]
fn a_pod_without_a_container_may_have_events_that_say_why() {
    let preparing = |phase: &str, node: Option<&str>, state: serde_json::Value| {
        let pod = json!({"metadata": {"name": "p", "uid": "p-1"}, "spec": {"containers": [], "nodeName": node},
            "status": {"phase": phase, "containerStatuses": [{"name": "agent", "image": "agent:1", "imageID": "",
                "ready": false, "restartCount": 0, "state": state}]}});
        inspect(&serde_json::from_value(pod).unwrap()).preparing
    };
    let creating = || json!({"waiting": {"reason": "ContainerCreating"}});
    assert_eq!(preparing("Pending", Some("node-1"), creating()).as_deref(), Some("p-1"));
    assert_eq!(preparing("Pending", None, creating()), None, "the scheduler says why in the pod");
    assert_eq!(preparing("Pending", Some("node-1"), json!({"waiting": {"reason": "ErrImagePull"}})), None);
    assert_eq!(preparing("Running", Some("node-1"), json!({"running": {}})), None);
}

#[test]
fn an_image_that_cannot_be_pulled_has_one_message() {
    let failed = "rpc error: code = NotFound desc = not found";
    assert_eq!(pull_error(failed), failed);
    assert_eq!(pull_error(&format!("Back-off pulling image \"agent:1\": ErrImagePull: {failed}")), failed);
    assert_eq!(pull_error("Back-off pulling image \"agent:1\""), "it cannot be pulled");
}
