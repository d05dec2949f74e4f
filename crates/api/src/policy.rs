//! `KvsIngestPolicy`: what the authors of `KvsIngest` objects may ask for. The cluster's administrator owns it.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaPropsOrArray,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResourceExt;
use serde::{Deserialize, Serialize};

use crate::object::mute;
use crate::pod_schema::at;

/// Restricts the KvsIngest objects of the namespaces that it selects. A field that is not set restricts nothing, an empty
/// list permits nothing. Where several policies select a namespace, an object has to satisfy all of them.
///
/// Each list is of patterns: `*` is any text, also none, and `${namespace}` the name of the object's namespace. A pattern
/// is compared with the whole text.
#[derive(
    Clone, Debug, Default, PartialEq, Serialize, Deserialize, kube::CustomResource, schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase", default)]
#[kube(
    group = "kvs-ingest.dev",
    version = "v1alpha1",
    kind = "KvsIngestPolicy",
    plural = "kvsingestpolicies",
    shortname = "kvsip",
    category = "kvs"
)]
pub struct KvsIngestPolicySpec {
    /// Namespaces that it is for. Not set: all, as far as namespaceSelector selects them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "patterns")]
    pub namespaces: Option<Vec<String>>,
    /// Labels of the namespaces that it is for. Not set: all, as far as namespaces names them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "LabelSelector")]
    pub namespace_selector: Option<LabelSelector>,
    /// Regions.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "patterns")]
    pub regions: Option<Vec<String>>,
    /// Accounts of channels and streams that are named by ARN. Those that are named by name are in the operator's account.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "patterns")]
    pub accounts: Option<Vec<String>>,
    /// Names of signaling channels, also within an ARN.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "patterns")]
    pub channels: Option<Vec<String>>,
    /// Names of streams, also within an ARN.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "patterns")]
    pub streams: Option<Vec<String>>,
    /// Who may record (spec.mode): `Agent`, `ManagedStorage`. With the latter the operator's rights take the channel's viewers
    /// their peer-to-peer connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "patterns")]
    pub modes: Option<Vec<String>>,
    /// May channels and streams be created (createIfMissing)? Default: yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    pub create: Option<bool>,
    /// May channels and streams that exist be adopted (adopt)? Who adopts a stream may have it kept longer, and deleted.
    /// Default: yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    pub adopt: Option<bool>,
    /// The most that spec.stream.retentionHours may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32", range(min = 1, max = 87_600))]
    pub max_retention_hours: Option<u32>,
    /// KMS keys of streams that are created (spec.stream.kmsKeyId).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "patterns")]
    pub kms_keys: Option<Vec<String>>,
    /// Keys of spec.stream.tags: where IAM policies go by tags, who writes tags writes rights.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "patterns")]
    pub stream_tags: Option<Vec<String>>,
    /// Roles that agents may assume (spec.roleArn).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "patterns")]
    pub role_arns: Option<Vec<String>>,
    /// Service accounts of agents. An object that names none has `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "patterns")]
    pub service_accounts: Option<Vec<String>>,
    /// Secrets with AWS credentials (spec.credentialsSecretRef), by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "patterns")]
    pub credentials_secrets: Option<Vec<String>>,
    /// ConfigMaps with certificate authorities (caBundleRef of spec and of its outputs), by name. Who sets a proxy (environment) and whom an agent
    /// trusts can read what it sends.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "patterns")]
    pub ca_bundles: Option<Vec<String>>,
    /// Where outputs may send media: scheme, host and port of `spec.outputs[].rtmp.url`, such as `rtmps://*.example.com:443`; the
    /// port is there also where the URL has none. A URL in a Secret is not known to anybody who could look at it: only `*`
    /// permits it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "patterns")]
    pub outputs: Option<Vec<String>>,
    /// Secrets with URLs and stream keys of outputs (urlSecretRef, streamKeySecretRef), by name. What is in them is sent to where
    /// the output goes. Default: credentialsSecrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "patterns")]
    pub output_secrets: Option<Vec<String>>,
    /// Images (spec.image), of those that the operator's release permits.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "patterns")]
    pub images: Option<Vec<String>>,
    /// Secrets to pull images with (spec.imagePullSecrets), by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "patterns")]
    pub image_pull_secrets: Option<Vec<String>>,
    /// Priority classes (spec.pod.priorityClassName).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "patterns")]
    pub priority_classes: Option<Vec<String>>,
    /// Keys of tolerations (spec.pod.tolerations). One without a key tolerates every taint: only `*` permits it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "patterns")]
    pub tolerations: Option<Vec<String>>,
    /// May an object choose nodes (spec.pod.nodeSelector and spec.pod.affinity)? Default: yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    pub node_selection: Option<bool>,
    /// Keys of spec.pod.labels: Services and NetworkPolicies find pods by them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "patterns")]
    pub pod_labels: Option<Vec<String>>,
    /// Keys of spec.pod.annotations: some clusters give roles, sidecars or networks by them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "patterns")]
    pub pod_annotations: Option<Vec<String>>,
    /// Names of spec.pod.env. AWS_ENDPOINT_URL*, for one, says where AWS is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "patterns")]
    pub environment: Option<Vec<String>>,
    /// How many objects a namespace may have; the oldest count, and of those that are being deleted the ones that still have an
    /// agent. Enforced by the operator, not at admission.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32")]
    pub max_objects: Option<u32>,
}

/// The schema of a list of patterns. The characters are those of the names that patterns are for, and none that means
/// something in a regular expression but `.` and `+`: the admission policy makes one of each pattern.
fn patterns(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array",
        "maxItems": 256,
        "items": {
            "type": "string",
            "minLength": 1,
            "maxLength": 256,
            "pattern": r"^([A-Za-z0-9_.+=,@:/*-]|\$\{namespace\})+$",
        },
    })
}

/// The CustomResourceDefinition of `KvsIngestPolicy`.
#[must_use]
pub fn policy_definition() -> CustomResourceDefinition {
    let mut definition = KvsIngestPolicy::crd();
    definition.metadata.labels =
        Some([("app.kubernetes.io/name", "kvs-ingest")].map(|(k, v)| (k.into(), v.into())).into());
    for version in &mut definition.spec.versions {
        let root = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut());
        if let Some(selector) = root.and_then(|root| at(root, &["spec", "namespaceSelector"])) {
            let own = selector.description.take();
            mute(selector);
            selector.description = own;
            // One that nobody knows would select nobody knows what.
            let expression =
                selector.properties.as_mut().and_then(|fields| fields.get_mut("matchExpressions"));
            if let Some(JSONSchemaPropsOrArray::Schema(item)) =
                expression.and_then(|field| field.items.as_mut())
                && let Some(operator) = at(item, &["operator"])
            {
                operator.enum_ =
                    Some(["In", "NotIn", "Exists", "DoesNotExist"].map(|word| JSON(word.into())).to_vec());
            }
        }
    }
    definition
}
