//! What Kubernetes asks of a pod, said in the schema, so that `kubectl apply` answers at once. Its own types come without
//! any rule. `pod_rules` has the same, and what a schema cannot say.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool, ValidationRule,
};

use crate::object::at;

/// k8s.io/apimachinery/pkg/api/resource, not less than 0.
const QUANTITY: &str = r"^\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$";
/// k8s.io/apimachinery/pkg/util/validation: IsValidLabelValue.
const LABEL_VALUE: &str = r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$";
/// The same: IsQualifiedName.
const KEY: &str = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$";
const MAX_KEY: i64 = 253 + 1 + 63;
/// 32 annotations of this size are as many bytes as Kubernetes takes of all of an object's.
const MAX_ANNOTATION: i64 = 7680;

const REQUEST_AND_LIMIT: &str = "!has(self.requests) || !has(self.limits) || self.requests.all(name, !(name in self.limits) || \
     quantity(string(self.requests[name])).compareTo(quantity(string(self.limits[name]))) <= 0)";
const RESOURCE: &str = "self.all(name, name in ['cpu', 'memory', 'ephemeral-storage'] || name.startsWith('hugepages-') || \
     name.contains('/'))";

const NOT_SHARED: &str = "!has(self.requests) || self.requests.all(name, !name.startsWith('hugepages-') && !name.contains('/') || \
     has(self.limits) && name in self.limits && \
     quantity(string(self.requests[name])).compareTo(quantity(string(self.limits[name]))) == 0)";
const WHOLE: &str = "self.all(name, !name.contains('/') || quantity(string(self[name])).isInteger())";
const ONCE: &str = "self.all(one, self.exists_one(other, other.topologyKey == one.topologyKey && \
     other.whenUnsatisfiable == one.whenUnsatisfiable))";
/// Of a requirement.
const VALUES: &str = "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : \
     self.operator in ['Exists', 'DoesNotExist'] ? !has(self.values) || size(self.values) == 0 : true";
const BOUND: &str = "!(self.operator in ['Gt', 'Lt']) || \
     has(self.values) && size(self.values) == 1 && self.values[0].matches('^-?[0-9]{1,18}$')";
/// Terms of an affinity, requirements of a term, values of a requirement.
const MAX_TERMS: i64 = 32;

/// Puts the rules into the schema of `spec`.
pub(crate) fn constrain(spec: &mut JSONSchemaProps) {
    with(spec, &["resources"], resources);
    with_items(spec, &["imagePullSecrets"], |secret| {
        with(secret, &["name"], |name| (name.min_length, name.max_length) = (Some(1), Some(253)));
    });
    for map in ["labels", "nodeSelector"] {
        with_values(spec, &["pod", map], |value| text(value, LABEL_VALUE, 63));
        with(spec, &["pod", map], |map| keys(map, "key"));
    }
    with_values(spec, &["pod", "annotations"], |value| value.max_length = Some(MAX_ANNOTATION));
    with(spec, &["pod", "annotations"], |map| keys(map, "key.lowerAscii()"));
    with_items(spec, &["pod", "tolerations"], toleration);
    with_items(spec, &["pod", "topologySpreadConstraints"], spread);
    with(spec, &["pod", "topologySpreadConstraints"], |list| {
        rule(list, ONCE, "topologyKey and whenUnsatisfiable together are there once");
    });
    with(spec, &["pod", "affinity"], affinity);
}

fn resources(resources: &mut JSONSchemaProps) {
    rule(resources, REQUEST_AND_LIMIT, "a request is not more than its limit");
    rule(resources, NOT_SHARED, "of hugepages and DOMAIN/NAME a limit is set, and a request equals it");
    with(resources, &["claims"], |claims| claims.max_items = Some(0));
    for list in ["requests", "limits"] {
        with(resources, &[list], |list| {
            list.max_properties = Some(16);
            rule(list, WHOLE, "an amount of DOMAIN/NAME is a whole number");
            rule(
                list,
                RESOURCE,
                "a resource is cpu, memory, ephemeral-storage, hugepages-SIZE or DOMAIN/NAME",
            );
        });
        with_values(resources, &[list], |amount| {
            text(amount, QUANTITY, 64);
            amount.minimum = Some(0.0);
        });
    }
}

/// `key`: as it is looked at.
fn keys(map: &mut JSONSchemaProps, key: &str) {
    let matches = format!("self.all(key, size(key) <= {MAX_KEY} && {key}.matches(r'{KEY}'))");
    rule(
        map,
        &matches,
        "a key is 1 to 63 of A-Z a-z 0-9 - _ . that begin and end with a letter or digit, after a DNS name and / or not",
    );
}

fn toleration(toleration: &mut JSONSchemaProps) {
    with(toleration, &["operator"], |operator| words(operator, &["", "Exists", "Equal"]));
    with(toleration, &["effect"], |effect| {
        words(effect, &["", "NoSchedule", "PreferNoSchedule", "NoExecute"]);
    });
    with(toleration, &["key"], |key| text(key, &KEY.replacen('^', "^$|^", 1), MAX_KEY));
    with(toleration, &["value"], |value| text(value, LABEL_VALUE, 63));
    for (check, message) in [
        (
            "!has(self.operator) || self.operator != 'Exists' || !has(self.value) || self.value == ''",
            "with the operator Exists there is no value",
        ),
        (
            "has(self.key) && self.key != '' || has(self.operator) && self.operator == 'Exists'",
            "without a key the operator is Exists",
        ),
        (
            "!has(self.tolerationSeconds) || has(self.effect) && self.effect == 'NoExecute'",
            "with tolerationSeconds the effect is NoExecute",
        ),
    ] {
        rule(toleration, check, message);
    }
}

fn spread(constraint: &mut JSONSchemaProps) {
    with(constraint, &["maxSkew"], |skew| skew.minimum = Some(1.0));
    with(constraint, &["minDomains"], |least| least.minimum = Some(1.0));
    with(constraint, &["topologyKey"], |key| text(key, KEY, MAX_KEY));
    with(constraint, &["whenUnsatisfiable"], |when| words(when, &["DoNotSchedule", "ScheduleAnyway"]));
    for policy in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
        with(constraint, &[policy], |policy| words(policy, &["Honor", "Ignore"]));
    }
    rule(
        constraint,
        "!has(self.minDomains) || self.whenUnsatisfiable == 'DoNotSchedule'",
        "minDomains goes with whenUnsatisfiable: DoNotSchedule only",
    );
}

fn affinity(affinity: &mut JSONSchemaProps) {
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    let weight = |term: &mut JSONSchemaProps| {
        with(term, &["weight"], |weight| (weight.minimum, weight.maximum) = (Some(1.0), Some(100.0)));
    };
    let nodes = |term: &mut JSONSchemaProps| {
        with(term, &["matchExpressions"], |list| list.max_items = Some(MAX_TERMS));
        with_items(term, &["matchExpressions"], |found| {
            with(found, &["key"], |key| text(key, KEY, MAX_KEY));
            with(found, &["operator"], |operator| {
                words(operator, &["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]);
            });
            values(found);
            rule(found, BOUND, "with Gt and Lt there is one whole number");
        });
        with_items(term, &["matchFields"], |found| {
            with(found, &["key"], |key| words(key, &["metadata.name"]));
            with(found, &["operator"], |operator| words(operator, &["In", "NotIn"]));
        });
    };
    for list in [&["nodeAffinity", PREFERRED][..], &["nodeAffinity", REQUIRED, "nodeSelectorTerms"]] {
        with(affinity, list, |list| list.max_items = Some(MAX_TERMS));
    }
    with_items(affinity, &["nodeAffinity", PREFERRED], |term| {
        weight(term);
        with(term, &["preference"], nodes);
    });
    with(affinity, &["nodeAffinity", REQUIRED, "nodeSelectorTerms"], |terms| terms.min_items = Some(1));
    with_items(affinity, &["nodeAffinity", REQUIRED, "nodeSelectorTerms"], nodes);
    let pods = |term: &mut JSONSchemaProps| {
        with(term, &["topologyKey"], |key| text(key, KEY, MAX_KEY));
        for selector in ["labelSelector", "namespaceSelector"] {
            with(term, &[selector, "matchExpressions"], |list| list.max_items = Some(MAX_TERMS));
            with_items(term, &[selector, "matchExpressions"], |found| {
                with(found, &["key"], |key| text(key, KEY, MAX_KEY));
                with(found, &["operator"], |operator| {
                    words(operator, &["In", "NotIn", "Exists", "DoesNotExist"]);
                });
                values(found);
            });
        }
    };
    for kind in ["podAffinity", "podAntiAffinity"] {
        for list in [PREFERRED, REQUIRED] {
            with(affinity, &[kind, list], |list| list.max_items = Some(MAX_TERMS));
        }
        with_items(affinity, &[kind, PREFERRED], |term| {
            weight(term);
            with(term, &["podAffinityTerm"], pods);
        });
        with_items(affinity, &[kind, REQUIRED], pods);
    }
}

/// Of a requirement.
fn values(requirement: &mut JSONSchemaProps) {
    with(requirement, &["values"], |values| values.max_items = Some(MAX_TERMS));
    with_items(requirement, &["values"], |value| text(value, LABEL_VALUE, 63));
    rule(
        requirement,
        VALUES,
        "with In and NotIn there are values, with Exists and DoesNotExist there are none",
    );
}

fn text(field: &mut JSONSchemaProps, pattern: &str, longest: i64) {
    (field.pattern, field.max_length) = (Some(pattern.to_owned()), Some(longest));
}

fn words(field: &mut JSONSchemaProps, words: &[&str]) {
    field.enum_ = Some(words.iter().map(|word| JSON((*word).into())).collect());
}

fn rule(field: &mut JSONSchemaProps, rule: &str, message: &str) {
    field.x_kubernetes_validations.get_or_insert_default().push(ValidationRule {
        rule: rule.to_owned(),
        message: Some(message.to_owned()),
        ..ValidationRule::default()
    });
}

fn with(schema: &mut JSONSchemaProps, path: &[&str], change: impl FnOnce(&mut JSONSchemaProps)) {
    if let Some(field) = at(schema, path) {
        change(field);
    }
}

/// Of a list.
fn with_items(schema: &mut JSONSchemaProps, path: &[&str], change: impl FnOnce(&mut JSONSchemaProps)) {
    with(schema, path, |list| {
        if let Some(JSONSchemaPropsOrArray::Schema(item)) = &mut list.items {
            change(item);
        }
    });
}

/// Of a map.
fn with_values(schema: &mut JSONSchemaProps, path: &[&str], change: impl FnOnce(&mut JSONSchemaProps)) {
    with(schema, path, |map| {
        if let Some(JSONSchemaPropsOrBool::Schema(value)) = &mut map.additional_properties {
            change(value);
        }
    });
}
