//! What a Deployment would be refused for is refused of the object, with the object's own path.
#![cfg(feature = "crd")]
#![allow(clippy::unwrap_used, reason = "a test")]

use kvs_ingest_api::KvsIngestSpec;
use serde_json::{Value, json};

fn spec(more: &Value) -> KvsIngestSpec {
    let mut spec = json!({"region": "eu-central-1", "channel": {"name": "c"}, "stream": {"name": "s"}});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(spec).unwrap()
}

fn broken(more: &Value) -> Vec<String> {
    spec(more).validate().err().into_iter().flatten().map(|error| error.path).collect()
}

#[test]
fn each_broken_rule_names_its_field() {
    let affinity = |kind: &str, list: &str, term: Value| json!({"pod": {"affinity": {kind: {list: term}}}});
    let (preferred, required) =
        ("preferredDuringSchedulingIgnoredDuringExecution", "requiredDuringSchedulingIgnoredDuringExecution");
    let nodes = |requirement: Value| {
        affinity(
            "nodeAffinity",
            required,
            json!({"nodeSelectorTerms": [{"matchExpressions": [requirement]}]}),
        )
    };
    let at = format!("spec.pod.affinity.nodeAffinity.{required}.nodeSelectorTerms");
    for (more, path) in [
        (json!({"serviceAccountName": "Cameras"}), "spec.serviceAccountName".to_owned()),
        (json!({"image": "agent: 1"}), "spec.image".to_owned()),
        (
            json!({"imagePullSecrets": [{"name": "a"}, {"name": ""}]}),
            "spec.imagePullSecrets[1].name".to_owned(),
        ),
        (json!({"credentialsSecretRef": {"name": "AWS"}}), "spec.credentialsSecretRef.name".to_owned()),
        (
            json!({"credentialsSecretRef": {"name": "a", "key": ".."}}),
            "spec.credentialsSecretRef.key".to_owned(),
        ),
        (json!({"resources": {"limits": {"memory": "1GB"}}}), "spec.resources.limits[memory]".to_owned()),
        (json!({"resources": {"limits": {"memory": "-1"}}}), "spec.resources.limits[memory]".to_owned()),
        (json!({"resources": {"limits": {"ram": "1"}}}), "spec.resources.limits[ram]".to_owned()),
        (
            json!({"resources": {"limits": {"memory": "1Gi"}, "requests": {"memory": "1025Mi"}}}),
            "spec.resources.requests[memory]".to_owned(),
        ),
        (
            json!({"resources": {"requests": {"example.com/encoder": "1"}}}),
            "spec.resources.requests[example.com/encoder]".to_owned(),
        ),
        (
            json!({"resources": {"limits": {"example.com/encoder": "1500m"}}}),
            "spec.resources.limits[example.com/encoder]".to_owned(),
        ),
        (json!({"resources": {"claims": [{"name": "gpu"}]}}), "spec.resources.claims".to_owned()),
        (json!({"pod": {"labels": {"team": "front doors"}}}), "spec.pod.labels[team]".to_owned()),
        (json!({"pod": {"labels": {"team": "x".repeat(64)}}}), "spec.pod.labels[team]".to_owned()),
        (json!({"pod": {"labels": {"-team": "x"}}}), "spec.pod.labels[-team]".to_owned()),
        (
            json!({"pod": {"labels": {"Example.com/team": "x"}}}),
            "spec.pod.labels[Example.com/team]".to_owned(),
        ),
        (json!({"pod": {"annotations": {"a b": "x"}}}), "spec.pod.annotations[a b]".to_owned()),
        (json!({"pod": {"annotations": {"a": "x".repeat(256 * 1024)}}}), "spec.pod.annotations".to_owned()),
        (json!({"pod": {"nodeSelector": {"a/b/c": "x"}}}), "spec.pod.nodeSelector[a/b/c]".to_owned()),
        (json!({"pod": {"priorityClassName": "High"}}), "spec.pod.priorityClassName".to_owned()),
        (
            json!({"pod": {"tolerations": [{"key": "a", "operator": "Is"}]}}),
            "spec.pod.tolerations[0].operator".to_owned(),
        ),
        (
            json!({"pod": {"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]}}),
            "spec.pod.tolerations[0].value".to_owned(),
        ),
        (json!({"pod": {"tolerations": [{"value": "b"}]}}), "spec.pod.tolerations[0].operator".to_owned()),
        (
            json!({"pod": {"tolerations": [{"operator": "Exists", "effect": "Never"}]}}),
            "spec.pod.tolerations[0].effect".to_owned(),
        ),
        (
            json!({"pod": {"tolerations": [{"operator": "Exists", "tolerationSeconds": 3}]}}),
            "spec.pod.tolerations[0].effect".to_owned(),
        ),
        (
            json!({"pod": {"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]}}),
            "spec.pod.topologySpreadConstraints[0].maxSkew".to_owned(),
        ),
        (
            json!({"pod": {"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "", "whenUnsatisfiable": "DoNotSchedule"}]}}),
            "spec.pod.topologySpreadConstraints[0].topologyKey".to_owned(),
        ),
        (
            json!({"pod": {"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "Wait"}]}}),
            "spec.pod.topologySpreadConstraints[0].whenUnsatisfiable".to_owned(),
        ),
        (
            json!({"pod": {"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "minDomains": 2}]}}),
            "spec.pod.topologySpreadConstraints[0].minDomains".to_owned(),
        ),
        (
            json!({"pod": {"topologySpreadConstraints": [
                {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"},
                {"maxSkew": 2, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}]}}),
            "spec.pod.topologySpreadConstraints[1].topologyKey".to_owned(),
        ),
        (affinity("nodeAffinity", required, json!({"nodeSelectorTerms": []})), at.clone()),
        (
            nodes(json!({"key": "zone", "operator": "Is", "values": ["a"]})),
            format!("{at}[0].matchExpressions[0].operator"),
        ),
        (nodes(json!({"key": "zone", "operator": "In"})), format!("{at}[0].matchExpressions[0].values")),
        (
            nodes(json!({"key": "zone", "operator": "Exists", "values": ["a"]})),
            format!("{at}[0].matchExpressions[0].values"),
        ),
        (
            nodes(json!({"key": "cores", "operator": "Gt", "values": ["many"]})),
            format!("{at}[0].matchExpressions[0].values"),
        ),
        (
            affinity("nodeAffinity", preferred, json!([{"weight": 0, "preference": {}}])),
            format!("spec.pod.affinity.nodeAffinity.{preferred}[0].weight"),
        ),
        (
            affinity("podAffinity", required, json!([{"topologyKey": ""}])),
            format!("spec.pod.affinity.podAffinity.{required}[0].topologyKey"),
        ),
        (
            affinity(
                "podAntiAffinity",
                preferred,
                json!([{"weight": 101, "podAffinityTerm": {"topologyKey": "zone", "labelSelector": {"matchLabels": {"a": "b c"}}}}]),
            ),
            format!("spec.pod.affinity.podAntiAffinity.{preferred}[0].weight"),
        ),
    ] {
        let found = broken(&more);
        assert!(found.contains(&path), "{more}: {found:?} does not have {path}");
    }
}

#[test]
fn what_kubernetes_takes_is_taken() {
    let taken = json!({
        "serviceAccountName": "cameras.of-doors", "image": "registry.example:5000/Agent@sha256:0",
        "credentialsSecretRef": {"name": "aws", "key": ".aws_credentials"},
        "resources": {"limits": {"memory": "1Gi", "cpu": 1, "example.com/encoder": "2", "hugepages-2Mi": "4Mi"},
            "requests": {"memory": "1024Mi", "cpu": "0.5", "example.com/encoder": 2, "hugepages-2Mi": "4Mi"}},
        "pod": {"labels": {"example.com/Team_1": "", "a": "A.b-c_d"}, "annotations": {"A/B": "any thing"},
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "tolerations": [{"operator": "Exists"}, {"key": "a", "value": "b", "effect": "NoExecute", "tolerationSeconds": 0},
                {"key": "a", "operator": "Equal", "value": ""}],
            "topologySpreadConstraints": [
                {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "minDomains": 2},
                {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "nodeTaintsPolicy": "Honor"}],
            "affinity": {"podAntiAffinity": {}, "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
                {"nodeSelectorTerms": [{"matchExpressions": [{"key": "cores", "operator": "Gt", "values": ["4"]}],
                    "matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}]}]}}}}
    });
    assert_eq!(broken(&taken), Vec::<String>::new());
}
