//! What Kubernetes asks of a pod. An object that broke one of these would be taken, and its Deployment refused.

use std::collections::BTreeMap;

#[cfg(not(feature = "crd"))]
pub(crate) use self::opaque::{affinity, pull_secrets, resources, spread, tolerations};
#[cfg(feature = "crd")]
pub(crate) use self::typed::{affinity, pull_secrets, resources, spread, tolerations};
use crate::validate::Errors;

/// Of all annotations of an object together, bytes.
const MAX_ANNOTATIONS: usize = 256 * 1024;

const LABEL_VALUE: &str = "at most 63 of A-Z a-z 0-9 - _ . that begin and end with a letter or digit";
const KEY: &str = "a key is 1 to 63 of A-Z a-z 0-9 - _ . that begin and end with a letter or digit, after a DNS name and / or not";

/// As the value of a label.
fn is_label_value(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let outer = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63 && bytes.iter().copied().all(inner) && outer(bytes.first()) && outer(bytes.last())
}

/// As the key of a label, an annotation or a taint.
fn is_key(text: &str) -> bool {
    let (prefix, name) = text.rsplit_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    prefix.is_none_or(is_subdomain) && !name.is_empty() && is_label_value(name)
}

/// RFC 1123, as most names in Kubernetes are.
fn is_subdomain(text: &str) -> bool {
    let part = |part: &str| {
        let bytes = part.as_bytes();
        let outer = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        bytes.iter().all(|byte| outer(*byte) || *byte == b'-')
            && bytes.first().is_some_and(|byte| outer(*byte))
            && bytes.last().is_some_and(|byte| outer(*byte))
    };
    text.len() <= 253 && text.split('.').all(part)
}

/// The name of another object of the namespace.
pub(crate) fn name(errors: &mut Errors, path: &str, text: Option<&str>) {
    if text.is_some_and(|text| !is_subdomain(text)) {
        errors.add(path, "a name is 1 to 253 of a-z 0-9 - . that begin and end with a letter or digit");
    }
}

/// An image, of which only the container runtime knows whether it exists.
pub(crate) fn image(errors: &mut Errors, path: &str, text: Option<&str>) {
    if text.is_some_and(|text| text.contains(char::is_whitespace)) {
        errors.add(path, "an image has no spaces");
    }
}

/// Labels, or a selector of them.
pub(crate) fn labels(errors: &mut Errors, path: &str, labels: &BTreeMap<String, String>) {
    for (key, value) in labels {
        if !is_key(key) {
            errors.add(format!("{path}[{key}]"), KEY);
        } else if !is_label_value(value) {
            errors.add(format!("{path}[{key}]"), format!("{value:?} is not {LABEL_VALUE}"));
        }
    }
}

pub(crate) fn annotations(errors: &mut Errors, path: &str, annotations: &BTreeMap<String, String>) {
    for key in annotations.keys().filter(|key| !is_key(&key.to_lowercase())) {
        errors.add(format!("{path}[{key}]"), KEY);
    }
    let size: usize = annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
    if size > MAX_ANNOTATIONS {
        errors.add(path, format!("{size} bytes are more than {MAX_ANNOTATIONS}"));
    }
}

/// An agent on a laptop has no pod, and knows none of Kubernetes' types.
#[cfg(not(feature = "crd"))]
mod opaque {
    use crate::pod::{
        Affinity, LocalObjectReference, ResourceRequirements, Toleration, TopologySpreadConstraint,
    };
    use crate::validate::Errors;

    pub(crate) fn pull_secrets(_: &mut Errors, _: &str, _: &[LocalObjectReference]) {}
    pub(crate) fn resources(_: &mut Errors, _: &str, _: &ResourceRequirements) {}
    pub(crate) fn tolerations(_: &mut Errors, _: &str, _: &[Toleration]) {}
    pub(crate) fn spread(_: &mut Errors, _: &str, _: &[TopologySpreadConstraint]) {}
    pub(crate) fn affinity(_: &mut Errors, _: &str, _: &Affinity) {}
}

/// Those of Kubernetes' own types.
#[cfg(feature = "crd")]
mod typed {
    use std::collections::BTreeMap;

    use k8s_openapi::api::core::v1::{
        NodeAffinity, NodeSelectorRequirement, NodeSelectorTerm, PodAffinity, PodAffinityTerm,
        PodAntiAffinity, WeightedPodAffinityTerm,
    };
    use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

    use super::{KEY, LABEL_VALUE, is_key, is_label_value, labels, name};
    use crate::pod::{
        Affinity, LocalObjectReference, ResourceRequirements, Toleration, TopologySpreadConstraint,
    };
    use crate::quantity::{NoQuantity, Quantity};
    use crate::validate::Errors;

    pub(crate) fn pull_secrets(errors: &mut Errors, path: &str, secrets: &[LocalObjectReference]) {
        for (index, LocalObjectReference { name: secret }) in secrets.iter().enumerate() {
            name(errors, &format!("{path}[{index}].name"), Some(secret));
        }
    }

    pub(crate) fn resources(errors: &mut Errors, path: &str, resources: &ResourceRequirements) {
        let ResourceRequirements { claims, limits, requests } = resources;
        if claims.as_ref().is_some_and(|claims| !claims.is_empty()) {
            errors.add(format!("{path}.claims"), "an agent's pod has no resourceClaims to choose from");
        }
        let limits = amounts(errors, &format!("{path}.limits"), limits.as_ref());
        let requests = amounts(errors, &format!("{path}.requests"), requests.as_ref());
        for (resource, request) in requests {
            let path = format!("{path}.requests[{resource}]");
            match limits.get(resource) {
                Some(limit) if request > *limit => errors.add(path, "it is more than the limit"),
                Some(limit) if request < *limit && !may_be_shared(resource) => {
                    errors.add(path, "of this resource, request and limit must be equal");
                }
                None if !may_be_shared(resource) => {
                    errors.add(path, "of this resource a limit must be set, too")
                }
                _ => {}
            }
        }
    }

    fn amounts<'a>(
        errors: &mut Errors,
        path: &str,
        list: Option<&'a BTreeMap<String, Text>>,
    ) -> BTreeMap<&'a str, Quantity> {
        let mut amounts = BTreeMap::new();
        for (resource, Text(text)) in list.into_iter().flatten() {
            let path = format!("{path}[{resource}]");
            let own = matches!(resource.as_str(), "cpu" | "memory" | "ephemeral-storage");
            let known =
                own || resource.starts_with("hugepages-") || resource.contains('/') && is_key(resource);
            if !known {
                errors.add(
                    path,
                    "is no resource: cpu, memory, ephemeral-storage, hugepages-SIZE or DOMAIN/NAME",
                );
                continue;
            }
            match text.parse::<Quantity>() {
                Err(NoQuantity) => {
                    errors.add(path, format!("{text:?} is not a quantity such as 500m or 256Mi"));
                }
                Ok(amount) if amount.is_negative() => errors.add(path, format!("{text} is less than 0")),
                Ok(amount) if resource.contains('/') && !amount.is_whole() => {
                    errors.add(path, format!("{text} is not a whole number"));
                }
                Ok(amount) => {
                    amounts.insert(resource.as_str(), amount);
                }
            }
        }
        amounts
    }

    /// More may be promised than there is.
    fn may_be_shared(resource: &str) -> bool {
        !resource.starts_with("hugepages-") && !resource.contains('/')
    }

    pub(crate) fn tolerations(errors: &mut Errors, path: &str, tolerations: &[Toleration]) {
        for (index, toleration) in tolerations.iter().enumerate() {
            let Toleration { effect, key, operator, toleration_seconds, value } = toleration;
            let path = |field: &str| format!("{path}[{index}].{field}");
            let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
            let (effect, key, value) = (given(effect), given(key), given(value));
            let exists = operator.as_deref() == Some("Exists");
            if !matches!(operator.as_deref(), None | Some("" | "Exists" | "Equal")) {
                errors.add(path("operator"), "it is not Exists or Equal");
            } else if exists && value.is_some() {
                errors.add(path("value"), "with the operator Exists there is no value");
            } else if key.is_none() && !exists {
                errors.add(path("operator"), "without a key it must be Exists");
            }
            if !matches!(effect.as_deref(), None | Some("NoSchedule" | "PreferNoSchedule" | "NoExecute")) {
                errors.add(path("effect"), "it is not NoSchedule, PreferNoSchedule or NoExecute");
            } else if toleration_seconds.is_some() && effect.as_deref() != Some("NoExecute") {
                errors.add(path("effect"), "with tolerationSeconds it must be NoExecute");
            }
            if key.is_some_and(|key| !is_key(&key)) {
                errors.add(path("key"), KEY);
            }
            if value.is_some_and(|value| !is_label_value(&value)) {
                errors.add(path("value"), format!("it is not {LABEL_VALUE}"));
            }
        }
    }

    pub(crate) fn spread(errors: &mut Errors, path: &str, constraints: &[TopologySpreadConstraint]) {
        for (index, constraint) in constraints.iter().enumerate() {
            let TopologySpreadConstraint {
                label_selector,
                match_label_keys,
                max_skew,
                min_domains,
                node_affinity_policy,
                node_taints_policy,
                topology_key,
                when_unsatisfiable,
            } = constraint;
            let path = |field: &str| format!("{path}[{index}].{field}");
            if *max_skew < 1 {
                errors.add(path("maxSkew"), "it is less than 1");
            }
            if !is_key(topology_key) {
                errors.add(path("topologyKey"), KEY);
            }
            let waits = when_unsatisfiable == "DoNotSchedule";
            if !waits && when_unsatisfiable != "ScheduleAnyway" {
                errors.add(path("whenUnsatisfiable"), "it is not DoNotSchedule or ScheduleAnyway");
            }
            match min_domains {
                Some(least) if *least < 1 => errors.add(path("minDomains"), "it is less than 1"),
                Some(_) if !waits => {
                    errors.add(path("minDomains"), "it goes with whenUnsatisfiable: DoNotSchedule only");
                }
                _ => {}
            }
            for (field, policy) in
                [("nodeAffinityPolicy", node_affinity_policy), ("nodeTaintsPolicy", node_taints_policy)]
            {
                if !matches!(policy.as_deref(), None | Some("Honor" | "Ignore")) {
                    errors.add(path(field), "it is not Honor or Ignore");
                }
            }
            let same = |other: &TopologySpreadConstraint| {
                other.topology_key == *topology_key && other.when_unsatisfiable == *when_unsatisfiable
            };
            if constraints[..index].iter().any(same) {
                errors.add(path("topologyKey"), "with the same whenUnsatisfiable it is there already");
            }
            selector(errors, &path("labelSelector"), label_selector.as_ref());
            keys(errors, &path("matchLabelKeys"), match_label_keys.as_ref());
        }
    }

    pub(crate) fn affinity(errors: &mut Errors, path: &str, affinity: &Affinity) {
        let Affinity { node_affinity, pod_affinity, pod_anti_affinity } = affinity;
        if let Some(nodes) = node_affinity {
            node_affinity_of(errors, &format!("{path}.nodeAffinity"), nodes);
        }
        let near = pod_affinity.as_ref().map(|near| {
            let PodAffinity {
                preferred_during_scheduling_ignored_during_execution: preferred,
                required_during_scheduling_ignored_during_execution: required,
            } = near;
            ("podAffinity", preferred, required)
        });
        let far = pod_anti_affinity.as_ref().map(|far| {
            let PodAntiAffinity {
                preferred_during_scheduling_ignored_during_execution: preferred,
                required_during_scheduling_ignored_during_execution: required,
            } = far;
            ("podAntiAffinity", preferred, required)
        });
        for (kind, preferred, required) in near.into_iter().chain(far) {
            let path = format!("{path}.{kind}");
            for (index, WeightedPodAffinityTerm { pod_affinity_term, weight }) in
                preferred.iter().flatten().enumerate()
            {
                let path = format!("{path}.{PREFERRED}[{index}]");
                weighs(errors, &path, *weight);
                pods(errors, &format!("{path}.podAffinityTerm"), pod_affinity_term);
            }
            for (index, term) in required.iter().flatten().enumerate() {
                pods(errors, &format!("{path}.{REQUIRED}[{index}]"), term);
            }
        }
    }

    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";

    fn node_affinity_of(errors: &mut Errors, path: &str, nodes: &NodeAffinity) {
        let NodeAffinity {
            preferred_during_scheduling_ignored_during_execution: preferred,
            required_during_scheduling_ignored_during_execution: required,
        } = nodes;
        for (index, term) in preferred.iter().flatten().enumerate() {
            let path = format!("{path}.{PREFERRED}[{index}]");
            weighs(errors, &path, term.weight);
            node_term(errors, &format!("{path}.preference"), &term.preference);
        }
        let Some(required) = required else { return };
        let path = format!("{path}.{REQUIRED}.nodeSelectorTerms");
        if required.node_selector_terms.is_empty() {
            errors.add(path.as_str(), "at least one");
        }
        for (index, term) in required.node_selector_terms.iter().enumerate() {
            node_term(errors, &format!("{path}[{index}]"), term);
        }
    }

    fn weighs(errors: &mut Errors, path: &str, weight: i32) {
        if !(1..=100).contains(&weight) {
            errors.add(format!("{path}.weight"), format!("{weight} is not between 1 and 100"));
        }
    }

    fn node_term(errors: &mut Errors, path: &str, term: &NodeSelectorTerm) {
        let NodeSelectorTerm { match_expressions, match_fields } = term;
        for (index, requirement) in match_expressions.iter().flatten().enumerate() {
            let NodeSelectorRequirement { key, operator, values } = requirement;
            let path = format!("{path}.matchExpressions[{index}]");
            if !is_key(key) {
                errors.add(format!("{path}.key"), KEY);
            }
            let values = values.as_deref().unwrap_or_default();
            if let "Gt" | "Lt" = operator.as_str() {
                if !matches!(values, [one] if one.parse::<i64>().is_ok()) {
                    errors.add(format!("{path}.values"), "with Gt and Lt it is one whole number");
                }
            } else {
                operator_of(errors, &path, operator, values, "In, NotIn, Exists, DoesNotExist, Gt or Lt");
            }
        }
        for (index, requirement) in match_fields.iter().flatten().enumerate() {
            let NodeSelectorRequirement { key, operator, values } = requirement;
            let path = format!("{path}.matchFields[{index}]");
            if key != "metadata.name" {
                errors.add(format!("{path}.key"), "it is not metadata.name");
            }
            if !matches!(operator.as_str(), "In" | "NotIn") {
                errors.add(format!("{path}.operator"), "it is not In or NotIn");
            }
            if values.as_ref().map_or(0, Vec::len) != 1 {
                errors.add(format!("{path}.values"), "it is one name");
            }
        }
    }

    fn operator_of(errors: &mut Errors, path: &str, operator: &str, values: &[String], all: &str) {
        match operator {
            "In" | "NotIn" if values.is_empty() => {
                errors.add(format!("{path}.values"), "with In and NotIn there is at least one");
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                errors.add(format!("{path}.values"), "with Exists and DoesNotExist there is none");
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {
                for value in values.iter().filter(|value| !is_label_value(value)) {
                    errors.add(format!("{path}.values"), format!("{value:?} is not {LABEL_VALUE}"));
                }
            }
            _ => errors.add(format!("{path}.operator"), format!("it is not {all}")),
        }
    }

    fn pods(errors: &mut Errors, path: &str, term: &PodAffinityTerm) {
        let PodAffinityTerm {
            label_selector,
            match_label_keys,
            mismatch_label_keys,
            namespace_selector,
            namespaces,
            topology_key,
        } = term;
        if !is_key(topology_key) {
            errors.add(format!("{path}.topologyKey"), KEY);
        }
        selector(errors, &format!("{path}.labelSelector"), label_selector.as_ref());
        selector(errors, &format!("{path}.namespaceSelector"), namespace_selector.as_ref());
        keys(errors, &format!("{path}.matchLabelKeys"), match_label_keys.as_ref());
        keys(errors, &format!("{path}.mismatchLabelKeys"), mismatch_label_keys.as_ref());
        for (index, namespace) in namespaces.iter().flatten().enumerate() {
            name(errors, &format!("{path}.namespaces[{index}]"), Some(namespace));
        }
    }

    fn selector(errors: &mut Errors, path: &str, selector: Option<&LabelSelector>) {
        let Some(LabelSelector { match_expressions, match_labels }) = selector else { return };
        labels(errors, &format!("{path}.matchLabels"), match_labels.as_ref().unwrap_or(&BTreeMap::new()));
        for (index, requirement) in match_expressions.iter().flatten().enumerate() {
            let path = format!("{path}.matchExpressions[{index}]");
            if !is_key(&requirement.key) {
                errors.add(format!("{path}.key"), KEY);
            }
            let values = requirement.values.as_deref().unwrap_or_default();
            operator_of(errors, &path, &requirement.operator, values, "In, NotIn, Exists or DoesNotExist");
        }
    }

    fn keys(errors: &mut Errors, path: &str, keys: Option<&Vec<String>>) {
        for (index, _) in keys.into_iter().flatten().enumerate().filter(|(_, key)| !is_key(key)) {
            errors.add(format!("{path}[{index}]"), KEY);
        }
    }
}
