//! A `KvsIngest` as the cache holds it: there are 10,000, so nothing that no reconcile reads.

use kube::Resource;
use kube::api::ObjectMeta;
use kvs_ingest_api::{DeletionPolicy, KvsIngest, KvsIngestSpec, KvsIngestStatus, annotations};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use crate::lz4::{compress, decompress};

/// Annotations that somebody reads.
const READ: [&str; 3] = [annotations::PAUSED, annotations::RESTARTED_AT, annotations::RECONCILE_REQUESTED_AT];

/// Metadata, and spec and status as they came, compressed to a third. One that this operator cannot read is an error of
/// its own reconcile, not of the watch.
#[derive(Clone, Debug, Default, kube::Resource)]
#[resource(inherit = KvsIngest)]
pub struct CachedIngest {
    /// Without what nobody reads.
    pub metadata: ObjectMeta,
    /// Spec and status.
    body: Box<[u8]>,
}

impl<'de> Deserialize<'de> for CachedIngest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Received {
            #[serde(default)]
            metadata: ObjectMeta,
            #[serde(flatten)]
            body: Body<Value>,
        }
        let Received { metadata, body } = Received::deserialize(deserializer)?;
        let body = compress(&body).map_err(serde::de::Error::custom)?;
        let mut cached = Self { metadata, body };
        prune(&mut cached);
        Ok(cached)
    }
}

/// What is compressed.
#[derive(Deserialize, Serialize)]
struct Body<T, S = T> {
    spec: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<S>,
}

impl CachedIngest {
    /// # Errors
    /// What does not fit, with its field: a newer operator's object, say.
    pub fn read(&self) -> Result<KvsIngest, String> {
        let body: Body<KvsIngestSpec, KvsIngestStatus> = decompress(&self.body)?;
        let spec = body.spec.ok_or("it has no spec")?;
        Ok(KvsIngest { metadata: self.metadata.clone(), spec, status: body.status })
    }

    /// Of an object that cannot be read: does it say that no agent is to run?
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        let body = decompress::<Body<Value>>(&self.body);
        body.is_ok_and(|body| body.spec.is_some_and(|spec| spec["suspend"] == true))
    }

    /// Of an object that cannot be read: its status as it came.
    ///
    /// # Errors
    /// The body is broken.
    pub fn raw_status(&self) -> Result<Option<Value>, String> {
        Ok(decompress::<Body<Value>>(&self.body)?.status)
    }

    /// Of an object that cannot be read, what its deletion has to know: policy, region, and the names of channel and
    /// stream; and whether it is suspended.
    ///
    /// # Errors
    /// Which of these cannot be read.
    pub fn read_for_deletion(&self) -> Result<KvsIngest, String> {
        let body: Body<Value> = decompress(&self.body)?;
        let spec = body.spec.unwrap_or_default();
        let policy: DeletionPolicy = match &spec["deletionPolicy"] {
            Value::Null => DeletionPolicy::default(),
            policy => serde_json::from_value(policy.clone())
                .map_err(|error| format!("spec.deletionPolicy: {error}"))?,
        };
        let mut known = json!({"region": "", "channel": {}, "stream": {}});
        if policy == DeletionPolicy::Delete {
            known["region"] = spec["region"].clone();
            for resource in ["channel", "stream"] {
                for field in ["name", "arn", "createIfMissing", "adopt"] {
                    let value = &spec[resource][field];
                    if !value.is_null() {
                        known[resource][field] = value.clone();
                    }
                }
            }
        }
        let mut known: KvsIngestSpec =
            serde_json::from_value(known).map_err(|error| format!("spec: {error}"))?;
        known.deletion_policy = policy;
        known.suspend = spec["suspend"] == true;
        // What it says of channel and stream is a help, not more: AWS's tags decide.
        let status = body.status.and_then(|status| serde_json::from_value(status).ok());
        Ok(KvsIngest { metadata: self.metadata.clone(), spec: known, status })
    }

    /// Leaves who it is, for a queue that asks for no more.
    pub fn drop_body(&mut self) {
        self.body = Box::default();
    }
}

/// Leaves of the metadata what is read: maps of strings are most of an object's memory.
pub fn prune<K: Resource>(object: &mut K) {
    let meta = object.meta_mut();
    meta.managed_fields = None;
    meta.labels = None;
    meta.annotations = meta.annotations.take().and_then(|mut all| {
        all.retain(|name, _| READ.contains(&name.as_str()));
        (!all.is_empty()).then_some(all)
    });
    meta.owner_references = meta.owner_references.take().and_then(|mut all| {
        all.retain(|owner| owner.controller == Some(true));
        (!all.is_empty()).then_some(all)
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object() -> Value {
        json!({
            "apiVersion": "kvs-ingest.dev/v1alpha1", "kind": "KvsIngest",
            "metadata": {"name": "door", "namespace": "n", "uid": "u", "generation": 3, "finalizers": ["f"],
                "labels": {"team": "doors"}, "managedFields": [{"manager": "kubectl"}],
                "annotations": {"kvs-ingest.dev/paused": "true", "kubectl.kubernetes.io/last-applied-configuration": "{}"}},
            "spec": {"region": "eu-central-1", "channel": {"name": "c"}, "stream": {"name": "s"}},
            "status": {"observedGeneration": 3, "deploymentGeneration": 1},
        })
    }

    #[test]
    fn what_a_reconcile_reads_stays() {
        let cached: CachedIngest = serde_json::from_value(object()).unwrap();
        let whole: KvsIngest = serde_json::from_value(object()).unwrap();
        let read = cached.read().unwrap();
        assert_eq!((&read.spec, &read.status), (&whole.spec, &whole.status));
        let meta = read.metadata;
        assert_eq!(
            (meta.name, meta.generation, meta.finalizers),
            (Some("door".into()), Some(3), Some(vec!["f".into()]))
        );
        assert_eq!((meta.labels, meta.managed_fields), (None, None));
        assert_eq!(meta.annotations.unwrap().into_keys().collect::<Vec<_>>(), ["kvs-ingest.dev/paused"]);
    }

    #[test]
    fn an_object_that_runs_is_a_third_of_its_text() {
        let condition = |kind: &str, reason: &str, message: &str| {
            json!({"type": kind, "status": "True", "reason": reason, "message": message, "observedGeneration": 3,
                "lastTransitionTime": "2027-03-04T05:06:07Z"})
        };
        let arn =
            |kind: &str| format!("arn:aws:kinesisvideo:eu-west-3:998877665544:{kind}/gate-07/1790000000000");
        let mut running = object();
        running["status"] = json!({"observedGeneration": 3, "deploymentGeneration": 1,
            "image": "registry.test/agent:1.2.3", "conditions": [
                condition("Ready", "Streaming", "media flows"), condition("ChannelResolved", "Found", &arn("channel")),
                condition("StreamResolved", "Found", &arn("stream")),
                condition("AgentAvailable", "AgentAvailable", "the agent runs"),
                condition("MediaFlowing", "Streaming", "media flows")],
            "channel": {"name": "gate-07", "arn": arn("channel"), "created": false},
            "stream": {"name": "gate-07", "arn": arn("stream"), "created": false, "retentionHours": 24}});
        let text = json!({"spec": running["spec"], "status": running["status"]}).to_string().len();
        let cached: CachedIngest = serde_json::from_value(running).unwrap();
        assert!(cached.body.len() * 3 < text, "{} of {text} bytes", cached.body.len());
    }

    #[test]
    fn what_cannot_be_read_is_said_when_it_is_read() {
        let mut newer = object();
        newer["spec"]["region"] = json!({"of": "another kind"});
        let cached: CachedIngest = serde_json::from_value(newer).unwrap();
        assert_eq!(cached.metadata.name.as_deref(), Some("door"));
        assert!(cached.read().unwrap_err().contains("expected a string"));
    }

    #[test]
    fn what_cannot_be_read_can_be_deleted() {
        let mut newer = object();
        newer["spec"]["media"] = json!("of another kind");
        newer["spec"]["deletionPolicy"] = json!("Delete");
        newer["spec"]["suspend"] = json!(true);
        newer["status"]["shards"] = json!(4);
        let cached: CachedIngest = serde_json::from_value(newer.clone()).unwrap();
        cached.read().unwrap_err();
        let read = cached.read_for_deletion().unwrap();
        assert_eq!((read.spec.deletion_policy, read.spec.suspend), (DeletionPolicy::Delete, true));
        assert_eq!(
            (read.spec.region.as_str(), read.spec.stream.as_ref().and_then(|stream| stream.name.as_deref())),
            ("eu-central-1", Some("s"))
        );
        assert_eq!(read.status.unwrap().deployment_generation, Some(1));
        assert_eq!(cached.raw_status().unwrap().unwrap()["shards"], 4);
        // What becomes of AWS's resources is not guessed.
        newer["spec"]["deletionPolicy"] = json!("Archive");
        let cached: CachedIngest = serde_json::from_value(newer.clone()).unwrap();
        assert!(cached.read_for_deletion().unwrap_err().contains("spec.deletionPolicy"));
        newer["spec"] = json!({"deletionPolicy": "Retain", "region": 7});
        let cached: CachedIngest = serde_json::from_value(newer).unwrap();
        assert_eq!(cached.read_for_deletion().unwrap().spec.deletion_policy, DeletionPolicy::Retain);
    }
}
