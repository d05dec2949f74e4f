//! Validate: may the operator act on the object, and does its spec keep the rules? Pure.

use kube::ResourceExt;
use kube::api::ObjectMeta;
use kvs_ingest_api::{FieldError, KvsIngest, KvsIngestSpec, annotations};

/// An object that can be acted on.
#[derive(Debug)]
pub(crate) struct Valid<'a> {
    pub(crate) spec: &'a KvsIngestSpec,
    /// The annotation that asks for everything to be looked at now.
    pub(crate) reconcile_requested_at: Option<&'a String>,
    /// What is wrong with it, though no reason to stop what runs.
    pub(crate) flaw: Option<FieldError>,
}

/// Why it cannot.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Paused,
    /// The rules that it breaks.
    Invalid(String),
}

/// The operator leaves it alone, also when it is being deleted.
pub(crate) fn is_paused(meta: &ObjectMeta) -> bool {
    let annotation = meta.annotations.as_ref().and_then(|all| all.get(annotations::PAUSED));
    annotation.is_some_and(|value| value == "true")
}

/// `has_agent`: it has, or had, an agent.
pub(crate) fn validate(ingest: &KvsIngest, has_agent: bool) -> Result<Valid<'_>, Refusal> {
    if is_paused(&ingest.metadata) {
        return Err(Refusal::Paused);
    }
    let spec = &ingest.spec;
    // The rule is younger than objects are: what ran before goes on, and can be suspended. What is new is refused.
    let bears = has_agent || spec.suspend;
    if let Err(errors) = if bears { spec.validate_but_memory() } else { spec.validate() } {
        let broken: Vec<_> = errors.iter().map(ToString::to_string).collect();
        return Err(Refusal::Invalid(broken.join("; ")));
    }
    Ok(Valid {
        spec,
        reconcile_requested_at: ingest.annotations().get(annotations::RECONCILE_REQUESTED_AT),
        flaw: spec.too_little_memory(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn ingest(annotations: Value, channel: Value) -> KvsIngest {
        serde_json::from_value(json!({
            "metadata": {"name": "door", "annotations": annotations},
            "spec": {"region": "eu-central-1", "channel": channel, "stream": {"name": "s"}},
        }))
        .unwrap()
    }

    #[test]
    fn a_paused_object_is_left_alone_whatever_its_spec_says() {
        let broken = json!({});
        assert_eq!(
            validate(&ingest(json!({annotations::PAUSED: "true"}), broken.clone()), false).unwrap_err(),
            Refusal::Paused
        );
        let refusal = validate(&ingest(json!({annotations::PAUSED: "false"}), broken), false).unwrap_err();
        let Refusal::Invalid(message) = refusal else { panic!("{refusal:?}") };
        assert!(message.contains("spec.channel"), "{message}");
    }

    #[test]
    fn a_request_is_taken_along() {
        let asked = ingest(json!({annotations::RECONCILE_REQUESTED_AT: "now"}), json!({"name": "c"}));
        assert_eq!(validate(&asked, false).unwrap().reconcile_requested_at.unwrap(), "now");
    }

    #[test]
    fn too_little_memory_stops_nothing_that_ran() {
        let mut object = ingest(json!({}), json!({"name": "c"}));
        object.spec.resources = serde_json::from_value(json!({"limits": {"memory": "128Mi"}})).unwrap();
        let Refusal::Invalid(message) = validate(&object, false).unwrap_err() else { panic!("paused") };
        assert!(message.starts_with("spec.resources.limits.memory: 128Mi does not hold"), "{message}");
        assert!(validate(&object, true).unwrap().flaw.is_some(), "it is told");
        object.spec.suspend = true;
        assert!(validate(&object, false).unwrap().flaw.is_some());
        // What else is wrong is refused of any object.
        object.spec.region = "Frankfurt".to_owned();
        let Refusal::Invalid(message) = validate(&object, true).unwrap_err() else { panic!("paused") };
        assert!(message.starts_with("spec.region: ") && !message.contains("memory"), "{message}");
        object.spec.resources = serde_json::from_value(json!({"limits": {"memory": "192Mi"}})).unwrap();
        object.spec.region = "eu-central-1".to_owned();
        assert_eq!(validate(&object, false).unwrap().flaw, None);
    }
}
