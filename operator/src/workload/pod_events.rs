//! Why a pod does not get as far as a container: the kubelet says so in events alone. Volumes that cannot be mounted,
//! because a Secret or its key is missing; a network that has no address left.

use k8s_openapi::api::events::v1::Event;
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, Client};

use crate::conditions::ConditionUpdate;
use crate::reason::Reason;

/// The volume of `spec.credentialsSecretRef`.
const CREDENTIALS: &str = "\"aws\"";
/// The volume of what `spec.outputs` name.
const OUTPUTS: &str = "\"outputs\"";
/// Characters of what the kubelet says.
const LONGEST: usize = 512;

/// What the newest event of the pod says against it.
///
/// # Errors
/// What the API server says.
pub async fn stuck(
    client: &Client,
    namespace: &str,
    pod_uid: &str,
) -> Result<Option<ConditionUpdate>, kube::Error> {
    let events: Api<Event> = Api::namespaced(client.clone(), namespace);
    let of_pod = ListParams::default().fields(&format!("regarding.uid={pod_uid}")).limit(100);
    let found = events.list(&of_pod).await?.items;
    Ok(found.iter().max_by_key(|event| last_seen(event)).and_then(problem))
}

fn last_seen(event: &Event) -> Timestamp {
    let series = event.series.as_ref().map(|series| series.last_observed_time.0);
    let once = event.event_time.as_ref().map(|time| time.0);
    // The kubelet's events are of the old kind.
    let old = event.deprecated_last_timestamp.as_ref().map(|time| time.0);
    let written = event.metadata.creation_timestamp.as_ref().map(|time| time.0);
    series.into_iter().chain(once).chain(old).chain(written).max().unwrap_or(Timestamp::MIN)
}

fn problem(event: &Event) -> Option<ConditionUpdate> {
    let note: String = event.note.as_deref().unwrap_or_default().chars().take(LONGEST).collect();
    match event.reason.as_deref()? {
        "FailedMount" | "FailedAttachVolume" => {
            let remedy = if note.contains(CREDENTIALS) {
                "; the Secret is that of spec.credentialsSecretRef: create it with its key, or correct the reference"
            } else if note.contains(OUTPUTS) {
                "; the Secret or ConfigMap is one that a required output of spec.outputs names: create it with its key, or \
                 correct the reference"
            } else {
                ""
            };
            Some(ConditionUpdate::stalled(Reason::ContainerConfigError, format!("{note}{remedy}")))
        }
        "FailedCreatePodSandBox" => Some(ConditionUpdate::waiting(Reason::PodNotStarted, note)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event(reason: &str, note: &str, time: Value) -> Event {
        let mut event = json!({"metadata": {"name": "e"}, "reason": reason, "note": note});
        event.as_object_mut().unwrap().extend(time.as_object().unwrap().clone());
        serde_json::from_value(event).unwrap()
    }

    #[test]
    fn a_missing_secret_names_its_field() {
        for note in [
            "MountVolume.SetUp failed for volume \"aws\" : secret \"cam\" not found",
            "MountVolume.SetUp failed for volume \"aws\" : references non-existent secret key: credentials",
        ] {
            let found = problem(&event("FailedMount", note, json!({}))).unwrap();
            assert_eq!(found.reason, Reason::ContainerConfigError);
            assert!(found.message.starts_with(note) && found.message.contains("spec.credentialsSecretRef"));
        }
        let note = "MountVolume.SetUp failed for volume \"outputs\" : secret \"ivs\" not found";
        let found = problem(&event("FailedMount", note, json!({}))).unwrap();
        assert!(found.message.starts_with(note) && found.message.contains("spec.outputs"));
        let other = problem(&event("FailedMount", "volume \"tmp\": disk full", json!({}))).unwrap();
        assert!(!other.message.contains("credentialsSecretRef"));
        assert_eq!(
            problem(&event("FailedCreatePodSandBox", "no address", json!({}))).unwrap().reason,
            Reason::PodNotStarted
        );
        assert_eq!(problem(&event("Pulling", "image", json!({}))), None);
    }

    #[test]
    fn what_was_said_last_counts() {
        let old = event("FailedMount", "x", json!({"deprecatedLastTimestamp": "2026-01-01T00:00:10Z"}));
        let new = event("Pulling", "x", json!({"eventTime": "2026-01-01T00:00:20.000000Z"}));
        let again = event(
            "FailedMount",
            "x",
            json!({"deprecatedLastTimestamp": "2026-01-01T00:00:10Z",
                "series": {"count": 3, "lastObservedTime": "2026-01-01T00:00:30.000000Z"}}),
        );
        assert!(last_seen(&old) < last_seen(&new) && last_seen(&new) < last_seen(&again));
    }
}
