//! A `KvsIngest` as the cache holds it: there are 10,000, so nothing that no reconcile reads.

use kube::Resource;
use kube::api::ObjectMeta;
use kvs_ingest_api::{DeletionPolicy, KvsIngest, KvsIngestSpec, KvsIngestStatus, annotations};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};
use serde_path_to_error::{Path, Segment};

use crate::lz4::{compress, decompress};

/// Annotations that somebody reads.
const READ: [&str; 3] = [annotations::PAUSED, annotations::RESTARTED_AT, annotations::RECONCILE_REQUESTED_AT];

/// So many values of a spec may be of another kind; with more, nothing of it counts as read.
const FAULTS: usize = 64;

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

    /// Of an object that cannot be read, what can be: without the values that it fails at. Region and channel are there in any
    /// case, and a stream where there is one, empty where they are of another kind.
    #[must_use]
    pub fn read_in_part(&self) -> KvsIngest {
        let body = decompress::<Body<Value>>(&self.body);
        let (spec, status) = body.map(|body| (body.spec, body.status)).unwrap_or_default();
        let mut known = match spec {
            Some(Value::Object(spec)) => spec,
            _ => Map::new(),
        };
        let has_stream = known.contains_key("stream");
        let mut read = KvsIngestSpec::default();
        for _ in 0..FAULTS {
            let stream = has_stream.then(|| ("stream", json!({})));
            for (field, empty) in [("region", json!("")), ("channel", json!({}))].into_iter().chain(stream) {
                known.entry(field).or_insert(empty);
            }
            let mut spec = Value::Object(known);
            match serde_path_to_error::deserialize(&spec) {
                Ok(whole) => {
                    read = whole;
                    break;
                }
                Err(error) => take_out(&mut spec, error.path()),
            }
            let Value::Object(rest) = spec else { break };
            known = rest;
        }
        let status = status.and_then(|status| serde_json::from_value(status).ok());
        KvsIngest { metadata: self.metadata.clone(), spec: read, status }
    }

    /// Leaves who it is, for a queue that asks for no more.
    pub fn drop_body(&mut self) {
        self.body = Box::default();
    }
}

/// Takes out what is at `path`, or the nearest that can be taken out around it.
fn take_out(spec: &mut Value, path: &Path) {
    let mut path: Vec<_> = path.iter().collect();
    while let Some(last) = path.pop() {
        let parent = path.iter().try_fold(&mut *spec, |value, segment| match segment {
            Segment::Seq { index } => value.get_mut(index),
            Segment::Map { key } => value.get_mut(key),
            Segment::Enum { .. } | Segment::Unknown => Some(value),
        });
        match (last, parent) {
            (Segment::Seq { index }, Some(Value::Array(all))) if *index < all.len() => {
                all.remove(*index);
                return;
            }
            (Segment::Map { key }, Some(Value::Object(all))) if all.contains_key(key) => {
                all.remove(key);
                return;
            }
            _ => {}
        }
    }
    // All of it is at fault.
    *spec = Value::Null;
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
    fn of_what_cannot_be_read_the_rest_is() {
        let part = |spec: Value| {
            let mut newer = object();
            newer["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
            let cached: CachedIngest = serde_json::from_value(newer).unwrap();
            cached.read().unwrap_err();
            let read = cached.read_in_part();
            assert_eq!(read.metadata.uid.as_deref(), Some("u"));
            read.spec
        };
        let read = part(json!({"region": 7, "image": "x:1", "deletionPolicy": "Archive",
            "stream": {"name": "s", "retentionHours": "long", "kmsKeyId": "k"},
            "pod": {"env": [{"name": 1}, {"name": "A", "value": "b"}], "labels": {"a": 1, "b": "c"}}}));
        assert_eq!((&*read.region, read.image.as_deref()), ("", Some("x:1")));
        let stream = read.stream.unwrap();
        assert_eq!((read.channel.name.as_deref(), stream.name.as_deref()), (Some("c"), Some("s")));
        assert_eq!((stream.kms_key_id.as_deref(), stream.retention_hours), (Some("k"), None));
        let env: Vec<_> = read.pod.env.iter().map(|variable| variable.name.as_str()).collect();
        assert_eq!((env, read.pod.labels.keys().map(String::as_str).collect()), (vec!["A"], vec!["b"]));
        // Not even their kinds are known.
        let read = part(json!({"region": {}, "channel": "c", "stream": 7, "pod": 7}));
        assert_eq!((read.channel.name, read.stream.unwrap().name), (None, None));
        // Of a spec that is all faults nothing is read, and it takes no time.
        let many: Vec<_> = (0..10_000).map(|index| json!({"name": index})).collect();
        assert_eq!(part(json!({"pod": {"env": many}, "image": "x:1"})).image, None);
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
