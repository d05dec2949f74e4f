//! What a `KvsIngest` says of the agent's pod. The agent itself never looks at it, and so needs no Kubernetes types:
//! without the feature `crd` those of Kubernetes are plain JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[cfg(feature = "crd")]
pub use k8s_openapi::api::core::v1::{
    Affinity, LocalObjectReference, ResourceRequirements, Toleration, TopologySpreadConstraint,
};

#[cfg(not(feature = "crd"))]
mod opaque {
    /// `core/v1` Affinity.
    pub type Affinity = serde_json::Value;
    /// `core/v1` LocalObjectReference.
    pub type LocalObjectReference = serde_json::Value;
    /// `core/v1` ResourceRequirements.
    pub type ResourceRequirements = serde_json::Value;
    /// `core/v1` Toleration.
    pub type Toleration = serde_json::Value;
    /// `core/v1` TopologySpreadConstraint.
    pub type TopologySpreadConstraint = serde_json::Value;
}
#[cfg(not(feature = "crd"))]
pub use opaque::{
    Affinity, LocalObjectReference, ResourceRequirements, Toleration, TopologySpreadConstraint,
};

/// When an image is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum ImagePullPolicy {
    /// Each time a container starts.
    Always,
    /// When the node does not have it.
    IfNotPresent,
    /// The node has it.
    Never,
}

impl ImagePullPolicy {
    /// As Kubernetes writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// What is added to the agent's pod. Neither the host's network nor another security context: an agent never needs them. What
/// of the rest an author may use is the decision of the cluster's administrator (`KvsIngestPolicy`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub struct PodSpec {
    /// Labels. Those of the operator itself cannot be set.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(
        feature = "crd",
        schemars(extend("maxProperties" = 32, "x-kubernetes-validations" = [{
            "rule": "self.all(key, !key.startsWith('kvs-ingest.dev/') && !key.startsWith('app.kubernetes.io/'))",
            "message": "labels of kvs-ingest.dev/ and app.kubernetes.io/ are the operator's",
        }]))
    )]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(
        feature = "crd",
        schemars(extend("maxProperties" = 32, "x-kubernetes-validations" = [{
            "rule": "self.all(key, !key.startsWith('kvs-ingest.dev/'))",
            "message": "annotations of kvs-ingest.dev/ are the operator's",
        }]))
    )]
    pub annotations: BTreeMap<String, String>,
    /// On which nodes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "crd", schemars(extend("maxProperties" = 32)))]
    pub node_selector: BTreeMap<String, String>,
    /// Which taints do not matter.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "crd", schemars(length(max = 32)))]
    pub tolerations: Vec<Toleration>,
    /// Near to what, and far from what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// How the agents are spread. A constraint without a labelSelector counts all agents of the operator.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "crd", schemars(length(max = 8)))]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// Its priority.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "crd",
        schemars(
            length(min = 1, max = 253),
            regex(pattern = crate::pattern::NAME)
        )
    )]
    pub priority_class_name: Option<String>,
    /// More environment for the agent: an endpoint, `AWS_CA_BUNDLE`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        feature = "crd",
        schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))
    )]
    pub env: Vec<EnvVar>,
}

/// An environment variable. Plain text: what is secret belongs in `credentialsSecretRef`, which also says where credentials
/// come from, with `serviceAccountName` and `roleArn`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[cfg_attr(
    feature = "crd",
    schemars(extend("x-kubernetes-validations" = [{
        "rule": "!self.name.startsWith('KVS_INGEST_') && !(self.name in ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN', 'AWS_PROFILE', 'AWS_CONFIG_FILE', 'AWS_SHARED_CREDENTIALS_FILE', 'AWS_ROLE_ARN', 'AWS_ROLE_SESSION_NAME', 'AWS_WEB_IDENTITY_TOKEN_FILE', 'AWS_CONTAINER_CREDENTIALS_FULL_URI', 'AWS_CONTAINER_CREDENTIALS_RELATIVE_URI'])",
        "message": "KVS_INGEST_* is the operator's, and credentials come from credentialsSecretRef, serviceAccountName or roleArn",
        "fieldPath": ".name",
    }]))
)]
pub struct EnvVar {
    /// Its name.
    #[cfg_attr(
        feature = "crd",
        schemars(length(min = 1, max = 256), regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]*$"))
    )]
    pub name: String,
    /// Its value.
    #[serde(default)]
    #[cfg_attr(feature = "crd", schemars(length(max = 4096)))]
    pub value: String,
}
