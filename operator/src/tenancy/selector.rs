//! A label selector, as Kubernetes reads it. Pure.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// An operator of a selector that Kubernetes does not have either.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("namespaceSelector has the operator {0:?}, which is none of In, NotIn, Exists, DoesNotExist")]
pub(crate) struct Unreadable(String);

pub(super) fn selects(
    selector: &LabelSelector,
    labels: &BTreeMap<String, String>,
) -> Result<bool, Unreadable> {
    let mut selected =
        selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    for requirement in selector.match_expressions.iter().flatten() {
        let label = labels.get(&requirement.key);
        let listed =
            label.is_some_and(|label| requirement.values.iter().flatten().any(|value| value == label));
        selected &= match requirement.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => label.is_some(),
            "DoesNotExist" => label.is_none(),
            other => return Err(Unreadable(other.to_owned())),
        };
    }
    Ok(selected)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn selected(selector: Value) -> Result<bool, Unreadable> {
        let labels =
            [("team", "doors"), ("tier", "1")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        selects(&serde_json::from_value(selector).unwrap(), &labels.into())
    }

    #[test]
    fn it_selects_what_kubernetes_would() {
        let expression = |key: &str, operator: &str, values: Value| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
        for (selector, expected) in [
            (json!({}), true),
            (json!({"matchLabels": {"team": "doors"}}), true),
            (json!({"matchLabels": {"team": "doors", "tier": "2"}}), false),
            (json!({"matchLabels": {"other": ""}}), false),
            (expression("team", "In", json!(["doors", "gates"])), true),
            (expression("team", "In", json!(["gates"])), false),
            (expression("other", "In", json!(["gates"])), false),
            (expression("team", "NotIn", json!(["gates"])), true),
            (expression("other", "NotIn", json!(["gates"])), true),
            (expression("team", "NotIn", json!(["doors"])), false),
            (expression("team", "Exists", Value::Null), true),
            (expression("other", "Exists", Value::Null), false),
            (expression("other", "DoesNotExist", Value::Null), true),
            (expression("team", "DoesNotExist", Value::Null), false),
        ] {
            assert_eq!(selected(selector.clone()), Ok(expected), "{selector}");
        }
        assert!(selected(expression("team", "Gt", json!(["1"]))).is_err());
    }
}
