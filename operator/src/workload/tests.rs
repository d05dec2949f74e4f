use serde_json::json;

use super::*;
use crate::report::{Next, Truth};

fn deployment(status: serde_json::Value) -> DeploymentLite {
    serde_json::from_value(json!({"metadata": {"name": "x", "generation": 2}, "status": status})).unwrap()
}

fn brief(found: &(Verdict, bool)) -> (Truth, &str, Next, bool) {
    (found.0.truth, &found.0.reason, found.0.next, found.1)
}

#[test]
fn what_a_deployment_says() {
    let current =
        json!({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1});
    assert_eq!(
        brief(&verdict(&deployment(current.clone()), true)),
        (Truth::Yes, "AgentAvailable", Next::Settled, false)
    );
    let mut old = current.clone();
    old["observedGeneration"] = json!(1);
    assert_eq!(brief(&verdict(&deployment(old), true)), (Truth::Yes, "RollingOut", Next::Waiting, false));
    let mut surge = current.clone();
    surge["replicas"] = json!(2);
    assert_eq!(brief(&verdict(&deployment(surge.clone()), true)).1, "RollingOut");
    surge["conditions"] =
        json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]);
    assert_eq!(brief(&verdict(&deployment(surge), true)), (Truth::Yes, "RolloutStuck", Next::Person, false));
    assert_eq!(
        brief(&verdict(&deployment(json!({})), true)),
        (Truth::No, "AgentStarting", Next::Waiting, false)
    );
    // Only now there may be pods that say why.
    assert_eq!(
        brief(&verdict(&deployment(json!({"observedGeneration": 2})), true)),
        (Truth::No, "AgentStarting", Next::Waiting, true)
    );
    let quota = json!({"observedGeneration": 2, "conditions": [
        {"type": "ReplicaFailure", "status": "True", "message": "pods is forbidden: exceeded quota: small"}]});
    assert_eq!(brief(&verdict(&deployment(quota), true)), (Truth::No, "QuotaExceeded", Next::Person, false));
    assert_eq!(brief(&verdict(&deployment(current), false)), (Truth::No, "Suspending", Next::Waiting, false));
    let gone = json!({"observedGeneration": 2});
    assert_eq!(brief(&verdict(&deployment(gone), false)), (Truth::No, "Suspended", Next::Settled, false));
}

fn pod(status: serde_json::Value) -> AgentPod {
    look(&serde_json::from_value(json!({"metadata": {"name": "p"}, "status": status})).unwrap())
}

fn waiting(reason: &str, last: serde_json::Value) -> serde_json::Value {
    json!({"phase": "Running", "podIP": "10.0.0.7", "containerStatuses": [{
        "name": "agent", "image": "agent:1", "imageID": "", "ready": false, "restartCount": 3,
        "state": {"waiting": {"reason": reason, "message": "words"}}, "lastState": last}]})
}

#[test]
fn why_a_pod_does_not_run() {
    for (status, reason) in [
        (waiting("ImagePullBackOff", json!({})), "ImagePullBackOff"),
        (waiting("ErrImagePull", json!({})), "ImagePullBackOff"),
        (waiting("CreateContainerConfigError", json!({})), "ContainerConfigError"),
        (
            waiting("CrashLoopBackOff", json!({"terminated": {"exitCode": 1, "reason": "Error"}})),
            "CrashLooping",
        ),
        (
            waiting("CrashLoopBackOff", json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}})),
            "OutOfMemory",
        ),
        (
            json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
                "reason": "Unschedulable", "message": "0/3 nodes"}]}),
            "Unschedulable",
        ),
        (json!({"phase": "Failed", "reason": "Evicted", "message": "disk"}), "PodFailed"),
    ] {
        let pod = pod(status.clone());
        assert_eq!(pod.trouble.unwrap().reason, reason, "{status}");
    }
    let running = pod(json!({"phase": "Running", "podIP": "10.0.0.7"}));
    assert!(running.trouble.is_none());
    assert_eq!(running.address, Some("10.0.0.7".parse().unwrap()));
    // Not asked before it runs.
    assert_eq!(pod(json!({"phase": "Pending", "podIP": "10.0.0.7"})).address, None);
    assert!(pod(waiting("ContainerCreating", json!({}))).trouble.is_none());
}
