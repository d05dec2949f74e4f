//! A `KvsIngest` manifest as a person writes it, read without Kubernetes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::spec::KvsIngestSpec;
use crate::validate::FieldError;
use crate::{API_VERSION, KIND};

/// A `KvsIngest` object from a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KvsIngestManifest {
    /// [`API_VERSION`].
    pub api_version: String,
    /// [`KIND`].
    pub kind: String,
    /// Name and the like.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: KvsIngestSpec,
    /// What a cluster wrote there; not read.
    #[serde(default, skip_serializing)]
    pub status: Option<serde_json::Value>,
}

/// What kvs-ingest reads of the metadata; the rest is Kubernetes'.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// The object's name.
    pub name: String,
    /// Its namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Labels, annotations and so on.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

/// Why a manifest is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not YAML, an unknown or missing field, a value of another type. The text names line and column.
    #[error("{0}")]
    Syntax(#[from] serde_yaml_ng::Error),
    /// Another kind of object.
    #[error("{field}: expected {expected:?}, found {found:?}")]
    OtherObject {
        /// `apiVersion` or `kind`.
        field: &'static str,
        /// What a `KvsIngest` has there.
        expected: &'static str,
        /// What it has.
        found: String,
    },
    /// Rules are broken.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<FieldError>),
}

impl KvsIngestManifest {
    /// Reads and validates one object.
    ///
    /// # Errors
    /// [`ManifestError`], with line and column or the path of the field.
    pub fn from_yaml(text: &str) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Head {
            api_version: Option<String>,
            kind: Option<String>,
        }
        // First what it is: the fields of another kind would only confuse.
        let head: Head = serde_yaml_ng::from_str(text)?;
        for (field, expected, found) in
            [("apiVersion", API_VERSION, head.api_version), ("kind", KIND, head.kind)]
        {
            let found = found.unwrap_or_default();
            if found != expected {
                return Err(ManifestError::OtherObject { field, expected, found });
            }
        }
        let manifest: Self = serde_yaml_ng::from_str(text)?;
        manifest.spec.validate().map_err(ManifestError::Invalid)?;
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = include_str!("../../../examples/front-door.yaml");

    #[test]
    fn the_example_is_a_manifest_with_defaults() {
        let manifest = KvsIngestManifest::from_yaml(GOOD).unwrap();
        assert_eq!(manifest.metadata.name, "front-door");
        assert_eq!(manifest.spec.channel.name.as_deref(), Some("front-door-camera"));
        assert!(manifest.spec.media.video.enabled && manifest.spec.media.audio.enabled);
        assert_eq!(manifest.spec.buffering.memory_mib, 64);
        let again = serde_yaml_ng::to_string(&manifest).unwrap();
        assert_eq!(KvsIngestManifest::from_yaml(&again).unwrap(), manifest);
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (from, to, words) in [
            ("kind: KvsIngest", "kind: Deployment", &["kind", "Deployment"][..]),
            ("v1alpha1", "v2", &["apiVersion", "v2"]),
            ("retentionHours", "retentionHuors", &["spec.stream", "retentionHuors", "line"]),
            ("retentionHours: 24", "retentionHours: soon", &["retentionHours", "line"]),
            ("  region: ap-northeast-1\n", "", &["spec", "region"]),
            ("spec:", "spec: [", &["line"]),
        ] {
            let text = GOOD.replace(from, to);
            assert_ne!(text, GOOD, "{from}");
            let error = KvsIngestManifest::from_yaml(&text).unwrap_err().to_string();
            for word in words {
                assert!(error.contains(word), "{error:?} does not say {word:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}") {
            let _ = KvsIngestManifest::from_yaml(&text);
        }
    }
}
