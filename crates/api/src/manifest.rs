//! A `KvsIngest` manifest as a person writes it, read without Kubernetes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use crate::spec::KvsIngestSpec;
use crate::strict::{self, clip, hint, join};
use crate::validate::{FieldError, list};
use crate::{API_VERSION, KIND};

/// A `KvsIngest` object from a file.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KvsIngestManifest {
    /// [`API_VERSION`].
    pub api_version: String,
    /// [`KIND`].
    pub kind: String,
    /// Name and the like.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: KvsIngestSpec,
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
#[non_exhaustive]
pub enum ManifestError {
    /// Not YAML.
    #[error("line {line}, column {column}: {message}")]
    Syntax {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// The parser's words.
        message: String,
    },
    /// Nothing in it, or more than one object.
    #[error("expected one KvsIngest, found {found} YAML documents")]
    Documents {
        /// How many hold something.
        found: usize,
    },
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
    /// Unknown or missing fields, values of another type, broken rules.
    #[error("{}", list(.0))]
    Invalid(Vec<FieldError>),
}

impl KvsIngestManifest {
    /// Reads and validates one object. Unknown fields are refused everywhere but in `metadata` and `status`, which are
    /// the cluster's: what `kubectl get -o yaml` prints is taken. A field without a value counts as not set.
    ///
    /// # Errors
    /// [`ManifestError`], with line and column or the path of every field that is wrong.
    pub fn from_yaml(text: &str) -> Result<Self, ManifestError> {
        let [document] = <[Value; 1]>::try_from(documents(text)?)
            .map_err(|documents| ManifestError::Documents { found: documents.len() })?;
        let Value::Object(mut document) = document else {
            let message = "expected a map of apiVersion, kind, metadata and spec".to_owned();
            return Err(ManifestError::Invalid(vec![FieldError { path: String::new(), message }]));
        };
        // First what it is: the fields of another kind would only confuse.
        for (field, expected) in [("apiVersion", API_VERSION), ("kind", KIND)] {
            let found = match document.remove(field) {
                Some(Value::String(text)) => clip(&text),
                Some(_) | None => String::new(),
            };
            if found != expected {
                return Err(ManifestError::OtherObject { field, expected, found });
            }
        }
        document.remove("status");

        let mut errors = Vec::new();
        let metadata = part(&mut document, "metadata", &mut errors);
        let spec: Option<KvsIngestSpec> = part(&mut document, "spec", &mut errors);
        for key in document.keys() {
            let known = ["apiVersion", "kind", "metadata", "spec"];
            let message = format!("unknown field; {}", hint(key, &known));
            errors.push(FieldError { path: join("", key), message });
        }
        // Also beside unknown fields: one round of corrections is enough.
        errors.extend(spec.as_ref().and_then(|spec| spec.validate().err()).unwrap_or_default());
        match (metadata, spec) {
            (Some(metadata), Some(spec)) if errors.is_empty() => {
                Ok(Self { api_version: API_VERSION.to_owned(), kind: KIND.to_owned(), metadata, spec })
            }
            _ => Err(ManifestError::Invalid(errors)),
        }
    }
}

fn part<T: serde::de::DeserializeOwned>(
    document: &mut Map<String, Value>,
    name: &str,
    errors: &mut Vec<FieldError>,
) -> Option<T> {
    match document.remove(name) {
        None | Some(Value::Null) => {
            errors.push(FieldError { path: name.to_owned(), message: "is required".to_owned() });
            None
        }
        Some(value) => strict::from_value(value, name).map_err(|found| errors.extend(found)).ok(),
    }
}

/// The documents of a file that hold anything.
fn documents(text: &str) -> Result<Vec<Value>, ManifestError> {
    let mut found = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        let yaml = serde_yaml_ng::Value::deserialize(document).map_err(|error| syntax(&error))?;
        let value = json(yaml, "").map_err(|error| ManifestError::Invalid(vec![error]))?;
        if !value.is_null() {
            found.push(value);
        }
    }
    Ok(found)
}

fn syntax(error: &serde_yaml_ng::Error) -> ManifestError {
    let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
    let text = error.to_string();
    // `location` has taken this one; of two (`… at line 4, while parsing … at line 2`) both stay.
    let message = match text.rfind(" at line ") {
        Some(end) if text.matches(" at line ").count() == 1 => text[..end].to_owned(),
        _ => text,
    };
    ManifestError::Syntax { line, column, message }
}

/// YAML knows more than JSON; what goes beyond has no place in a manifest.
fn json(value: serde_yaml_ng::Value, path: &str) -> Result<Value, FieldError> {
    use serde_yaml_ng::Value as Yaml;
    let wrong = |message: String| FieldError { path: path.to_owned(), message };
    Ok(match value {
        Yaml::Null => Value::Null,
        Yaml::Bool(value) => Value::Bool(value),
        Yaml::String(text) => Value::String(text),
        Yaml::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
            (Some(value), ..) => Value::from(value),
            (_, Some(value), _) => Value::from(value),
            (_, _, value) => match value.and_then(Number::from_f64) {
                Some(value) => Value::Number(value),
                None => return Err(wrong("is no number that can be used here".to_owned())),
            },
        },
        Yaml::Sequence(items) => Value::Array(
            items
                .into_iter()
                .enumerate()
                .map(|(index, item)| json(item, &format!("{path}[{index}]")))
                .collect::<Result<_, _>>()?,
        ),
        Yaml::Mapping(map) => {
            let mut object = Map::new();
            for (key, value) in map {
                let Yaml::String(key) = key else {
                    return Err(wrong("has a key that is not a string; put it in quotes".to_owned()));
                };
                let value = json(value, &join(path, &key))?;
                object.insert(key, value);
            }
            Value::Object(object)
        }
        Yaml::Tagged(tagged) => {
            return Err(wrong(format!("has the YAML tag {}, which has no meaning here", tagged.tag)));
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EXAMPLE: &str = include_str!("../../../examples/front-door.yaml");
    const GOOD: &str = "\
apiVersion: kvs-ingest.dev/v1alpha1
kind: KvsIngest
metadata:
  name: front-door
spec:
  region: ap-northeast-1
  channel:
    name: front-door-camera
  stream:
    name: front-door
    createIfMissing: true
    retentionHours: 24
";

    #[test]
    fn the_example_is_a_manifest_with_defaults() {
        let manifest = KvsIngestManifest::from_yaml(EXAMPLE).unwrap();
        assert_eq!(manifest.metadata.name, "front-door");
        assert_eq!(manifest.spec.channel.name.as_deref(), Some("front-door-camera"));
        assert!(manifest.spec.media.video.enabled && manifest.spec.media.audio.enabled);
        assert_eq!(manifest.spec.buffering.memory_mib, 64);
        let again = serde_yaml_ng::to_string(&manifest).unwrap();
        assert_eq!(KvsIngestManifest::from_yaml(&again).unwrap(), manifest);
    }

    fn message(text: &str) -> String {
        KvsIngestManifest::from_yaml(text).unwrap_err().to_string()
    }

    fn changed(from: &str, to: &str) -> String {
        let text = GOOD.replacen(from, to, 1);
        assert_ne!(text, GOOD, "{from}");
        message(&text)
    }

    #[test]
    fn a_misspelt_field_names_its_path_and_the_one_meant() {
        assert_eq!(
            changed("retentionHours", "retentionHuors"),
            "spec.stream.retentionHuors: unknown field; did you mean `retentionHours`?"
        );
        assert_eq!(
            changed("  region", "  zebra: 1\n  region"),
            "spec.zebra: unknown field; known are region, channel, stream, outputs, mode, deletionPolicy, media, ice, buffering, \
             suspend, serviceAccountName, credentialsSecretRef, caBundleRef, roleArn, externalId, image, imagePullPolicy, \
             imagePullSecrets, resources, logLevel, terminationGracePeriodSeconds, pod"
        );
        assert_eq!(changed("spec:", "sepc: 1\nspec:"), "sepc: unknown field; did you mean `spec`?");
        let both = GOOD.replace("retentionHours", "retentionHuors").replace("  region", "  regoin");
        assert_eq!(
            message(&both),
            "spec.regoin: unknown field; did you mean `region`?; spec.stream.retentionHuors: unknown field; \
             did you mean `retentionHours`?; spec.region: is required"
        );
    }

    #[test]
    fn a_value_of_another_type_names_its_path() {
        for (from, to, expected) in [
            (
                "front-door-camera\n  ",
                "1234\n  ",
                "spec.channel.name: expected a string, found integer `1234`; put it in quotes",
            ),
            (
                "retentionHours: 24",
                "retentionHours: soon",
                "spec.stream.retentionHours: expected u32, found string \"soon\"",
            ),
            (
                "  region",
                "  ice: {transportPolicy: relay}\n  region",
                "spec.ice.transportPolicy: `relay` is not known here; did you mean `Relay`?",
            ),
            ("  region", "  media: [video]\n  region", "spec.media: expected a map, found a list"),
            (
                "  region",
                "  media: !x {}\n  region",
                "spec.media: has the YAML tag !x, which has no meaning here",
            ),
            ("  region: ap-northeast-1\n", "", "spec.region: is required"),
            ("  name: front-door\n", "  labels: {}\n", "metadata.name: is required"),
        ] {
            assert_eq!(changed(from, to), expected);
        }
    }

    #[test]
    fn it_must_be_one_object_of_this_kind() {
        assert_eq!(
            changed("kind: KvsIngest", "kind: Deployment"),
            "kind: expected \"KvsIngest\", found \"Deployment\""
        );
        assert!(changed("v1alpha1", "v2").starts_with("apiVersion: expected"));
        assert_eq!(message(""), "expected one KvsIngest, found 0 YAML documents");
        assert_eq!(message(&format!("{GOOD}---\n{GOOD}")), "expected one KvsIngest, found 2 YAML documents");
        KvsIngestManifest::from_yaml(&format!("---\n{GOOD}---\n")).unwrap();
        assert!(message("- a\n").starts_with("expected a map"));
    }

    #[test]
    fn syntax_errors_have_line_and_column() {
        let error = changed("spec:", "spec: [");
        assert!(error.starts_with("line ") && error.contains(", column "), "{error}");
        let error = changed("kind:", "kind: a\nkind:");
        assert!(error.starts_with("line ") && error.contains("duplicate"), "{error}");
    }

    #[test]
    fn what_a_cluster_adds_is_taken_and_null_is_not_set() {
        let plain = KvsIngestManifest::from_yaml(GOOD).unwrap();
        let text =
            GOOD.replacen("  name: front-door\n", "  name: front-door\n  uid: x\n  generation: 3\n", 1);
        assert_ne!(text, GOOD);
        let found = KvsIngestManifest::from_yaml(&format!("{text}status: {{conditions: []}}\n")).unwrap();
        assert_eq!(found.spec, plain.spec);
        let text = GOOD.replace("  region", "  media:\n  roleArn: ~\n  region");
        assert_eq!(KvsIngestManifest::from_yaml(&text).unwrap(), plain);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}") {
            let _ = KvsIngestManifest::from_yaml(&text);
        }

        #[test]
        fn no_spec_makes_it_panic(spec in "[ \\n{}\\[\\]:,a-z0-9~!&*'\"-]{0,120}") {
            let _ = KvsIngestManifest::from_yaml(&format!(
                "apiVersion: {API_VERSION}\nkind: {KIND}\nmetadata: {{name: a}}\nspec: {spec}"
            ));
        }
    }
}
