//! `status` of a `KvsIngest`, the words of its conditions, its labels and annotations, and the
//! CustomResourceDefinition.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool, ValidationRule,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResourceExt;
use serde::{Deserialize, Serialize};

use crate::KvsIngest;
use crate::managed_rules;
use crate::pod_schema::{at, constrain};

/// The longest name of a `KvsIngest`: its Deployment's pods add to it, and a host name has 63 characters.
pub const MAX_NAME: usize = 52;

/// Annotations of a `KvsIngest` that a person sets.
pub mod annotations {
    /// `"true"`: the operator leaves everything as it is.
    pub const PAUSED: &str = "kvs-ingest.dev/paused";
    /// Any new value, RFC 3339 by custom: the agent is started anew.
    pub const RESTARTED_AT: &str = "kvs-ingest.dev/restarted-at";
    /// Any new value: AWS is asked again, and everything is looked at now.
    pub const RECONCILE_REQUESTED_AT: &str = "kvs-ingest.dev/reconcile-requested-at";
}

/// Types of conditions.
pub mod condition {
    /// The summary: the agent runs and does what it can. A camera that is off is `True`, `WaitingForMaster`.
    pub const READY: &str = "Ready";
    /// The channel exists and can be joined by a viewer; or, in mode `ManagedStorage`, it is mapped to the stream.
    pub const CHANNEL_RESOLVED: &str = "ChannelResolved";
    /// The stream exists and belongs to this object, or the object names none.
    pub const STREAM_RESOLVED: &str = "StreamResolved";
    /// The agent's Deployment is available, or none is needed.
    pub const AGENT_AVAILABLE: &str = "AgentAvailable";
    /// Media arrives, and is stored where the object names a stream.
    pub const MEDIA_FLOWING: &str = "MediaFlowing";
    /// With the name of an output behind it: the output receives media.
    pub const OUTPUT_PREFIX: &str = "Output-";
    /// kstatus: the operator works on it, or will by itself. Absent otherwise.
    pub const RECONCILING: &str = "Reconciling";
    /// kstatus: it needs a person. Absent otherwise.
    pub const STALLED: &str = "Stalled";
    /// The operator leaves it alone, because an annotation says so. Absent otherwise.
    pub const PAUSED: &str = "Paused";
}

/// What the operator knows of a `KvsIngest`: transitions only. Live figures are the agent's metrics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KvsIngestStatus {
    /// The generation of the spec that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, ChannelResolved, StreamResolved, AgentAvailable, MediaFlowing; Output-NAME for each of the outputs; Reconciling,
    /// Stalled and Paused only while they are True.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<ResolvedChannel>,
    /// The stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<ResolvedStream>,
    /// The channel's media storage, while it records for this object (`spec.mode: ManagedStorage`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_storage: Option<MediaStorageStatus>,
    /// The agent's image, as it was applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The generation of the Deployment after it was last applied: another one means that somebody else changed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment_generation: Option<i64>,
    /// The last `kvs-ingest.dev/reconcile-requested-at` that was followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
}

/// A channel as it was found or created.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ResolvedChannel {
    /// Its name.
    pub name: String,
    /// Its ARN, once it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arn: Option<String>,
    /// It is this object's own by its tags: created for it, or adopted.
    #[serde(skip_serializing_if = "is_false")]
    pub created: bool,
}

/// A stream as it was found or created.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ResolvedStream {
    /// Its name.
    pub name: String,
    /// Its ARN, once it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arn: Option<String>,
    /// Hours for which it keeps its fragments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_hours: Option<u32>,
    /// It is this object's own by its tags: created for it, or adopted.
    #[serde(skip_serializing_if = "is_false")]
    pub created: bool,
}

/// The media storage of the object's channel. It is written down before it is enabled, so that it is found again to be
/// disabled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MediaStorageStatus {
    /// The channel that is mapped.
    pub channel_arn: String,
    /// The stream to which it is mapped.
    pub stream_arn: String,
    /// The operator enabled it for this object, and disables it when the object is suspended, deleted or gets another mode.
    /// Otherwise somebody else had: it stays as it is.
    #[serde(skip_serializing_if = "is_false")]
    pub enabled_by_operator: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(value: &bool) -> bool {
    !value
}

/// The CustomResourceDefinition of `KvsIngest`: what is derived from the Rust types, and what they cannot say.
#[must_use]
pub fn custom_resource_definition() -> CustomResourceDefinition {
    let mut definition = KvsIngest::crd();
    definition.metadata.labels =
        Some([("app.kubernetes.io/name", "kvs-ingest")].map(|(k, v)| (k.into(), v.into())).into());
    for version in &mut definition.spec.versions {
        let Some(root) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) else {
            continue;
        };
        root.x_kubernetes_validations = Some(vec![ValidationRule {
            rule: format!("size(self.metadata.name) <= {MAX_NAME}"),
            message: Some(format!("metadata.name has at most {MAX_NAME} characters")),
            ..ValidationRule::default()
        }]);
        if let Some(list) = at(root, &["status", "conditions"]) {
            conditions(list);
        }
        for path in DECIDED_LATER {
            if let Some(field) = at(root, path) {
                field.default = None;
            }
        }
        defaults_of_fields(root);
        if let Some(spec) = at(root, &["spec"]) {
            constrain(spec);
            let managed = managed_rules::cel().map(|(rule, message, field)| ValidationRule {
                rule,
                message: Some(message),
                field_path: Some(field),
                ..ValidationRule::default()
            });
            spec.x_kubernetes_validations.get_or_insert_default().extend(managed);
        }
        // Kubernetes explains its own types; their texts would be most of the definition.
        for path in [
            &["spec", "pod", "affinity"][..],
            &["spec", "pod", "tolerations"],
            &["spec", "pod", "topologySpreadConstraints"],
            &["spec", "resources"],
            &["spec", "imagePullSecrets"],
        ] {
            if let Some(field) = at(root, path) {
                let own = field.description.take();
                mute(field);
                field.description = own;
            }
        }
    }
    definition
}

/// What may change from release to release: it is decided when the Deployment is built. A default of the API server's
/// would be written into each object, and stay there.
const DECIDED_LATER: [&[&str]; 4] = [
    &["spec", "buffering", "memoryMiB"],
    &["spec", "media", "audio", "aacBitrateKbps"],
    &["spec", "media", "audio", "codecs"],
    &["spec", "media", "video", "codecs"],
];

/// An object's default is `{}`, which its fields' own defaults fill: derived from the Rust types it holds a copy of all
/// of them, and so what a field has no default for.
fn defaults_of_fields(schema: &mut JSONSchemaProps) {
    if let Some(default) = schema.default.as_mut().filter(|default| default.0.is_object()) {
        default.0 = serde_json::json!({});
    }
    schema.properties.iter_mut().flatten().for_each(|(_, field)| defaults_of_fields(field));
    if let Some(JSONSchemaPropsOrArray::Schema(item)) = &mut schema.items {
        defaults_of_fields(item);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(value)) = &mut schema.additional_properties {
        defaults_of_fields(value);
    }
}

/// As controller-gen writes `metav1.Condition`: a wrong writer is refused, and server-side apply merges by type.
fn conditions(list: &mut JSONSchemaProps) {
    list.x_kubernetes_list_type = Some("map".to_owned());
    list.x_kubernetes_list_map_keys = Some(vec!["type".to_owned()]);
    list.max_items = Some(16);
    let Some(JSONSchemaPropsOrArray::Schema(item)) = &mut list.items else { return };
    let text = |field: Option<&mut JSONSchemaProps>, longest: i64, pattern: Option<&str>| {
        if let Some(field) = field {
            field.max_length = Some(longest);
            field.pattern = pattern.map(str::to_owned);
        }
    };
    text(at(item, &["type"]), 316, Some("^[A-Z][A-Za-z]*(-[a-z0-9]([-a-z0-9]*[a-z0-9])?)?$"));
    text(at(item, &["reason"]), 1024, Some("^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"));
    text(at(item, &["message"]), 32_768, None);
    if let Some(status) = at(item, &["status"]) {
        let json = |word: &str| {
            k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSON(word.into())
        };
        status.enum_ = Some(["True", "False", "Unknown"].map(json).to_vec());
    }
}

/// Takes the descriptions away, all the way down.
pub(crate) fn mute(schema: &mut JSONSchemaProps) {
    schema.description = None;
    for child in schema.properties.iter_mut().flatten() {
        mute(child.1);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(item)) = &mut schema.items {
        mute(item);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(value)) = &mut schema.additional_properties {
        mute(value);
    }
}
