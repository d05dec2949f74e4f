//! What the API server makes of an object by the definition.
#![cfg(feature = "crd")]
#![allow(clippy::unwrap_used, reason = "a test")]

use kvs_ingest_api::{KvsIngestSpec, custom_resource_definition};
use serde_json::{Value, json};

fn schema() -> Value {
    let definition = serde_json::to_value(custom_resource_definition()).unwrap();
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
}

/// Path and value of each default below.
fn defaults(path: &str, schema: &Value, found: &mut Vec<(String, Value)>) {
    if let Some(default) = schema.get("default") {
        found.push((path.to_owned(), default.clone()));
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        defaults(&format!("{path}.{name}"), field, found);
    }
    for (name, inner) in [("[]", "items"), ("{}", "additionalProperties")] {
        if let Some(inner) = schema.get(inner) {
            defaults(&format!("{path}{name}"), inner, found);
        }
    }
}

/// Structural defaulting: what is not there gets its default, and then the defaults of its fields.
fn fill(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(object) => {
            for (name, field) in schema["properties"].as_object().into_iter().flatten() {
                if let (false, Some(default)) = (object.contains_key(name), field.get("default")) {
                    object.insert(name.clone(), default.clone());
                }
                if let Some(inner) = object.get_mut(name) {
                    fill(field, inner);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| fill(&schema["items"], item)),
        _ => {}
    }
}

/// A default is written into every object and stays there whatever a later release decides. Who adds one here has
/// thought of that.
#[test]
fn each_default_is_meant_for_ever() {
    let mut found = Vec::new();
    defaults("spec", &schema(), &mut found);
    found.retain(|(_, default)| *default != json!({}));
    let expected = [
        ("spec.caBundleRef.key", json!("ca.crt")),
        ("spec.channel.adopt", json!(false)),
        ("spec.channel.createIfMissing", json!(false)),
        ("spec.credentialsSecretRef.key", json!("credentials")),
        ("spec.deletionPolicy", json!("Retain")),
        ("spec.ice.transportPolicy", json!("All")),
        ("spec.logLevel", json!("info")),
        ("spec.media.audio.enabled", json!(true)),
        ("spec.media.video.enabled", json!(true)),
        ("spec.mode", json!("Agent")),
        ("spec.outputs[].required", json!(false)),
        ("spec.outputs[].rtmp.caBundleRef.key", json!("ca.crt")),
        ("spec.outputs[].rtmp.silence", json!(true)),
        ("spec.pod.env[].value", json!("")),
        ("spec.stream.adopt", json!(false)),
        ("spec.stream.createIfMissing", json!(false)),
        ("spec.suspend", json!(false)),
    ];
    assert_eq!(found, expected.map(|(path, default)| (path.to_owned(), default)));
}

#[test]
fn what_is_decided_when_the_deployment_is_built_is_in_no_stored_object() {
    let least = json!({"region": "eu-central-1", "channel": {"name": "c"}, "stream": {"name": "s"}});
    for more in [
        json!({}),
        json!({"media": {}, "buffering": {}}),
        json!({"media": {"audio": {}}, "buffering": {"spool": {"sizeMiB": 16}}}),
        json!({"media": {"audio": {"enabled": true}, "video": {"enabled": true}}}),
    ] {
        let mut declared = least.clone();
        declared.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut stored = declared.clone();
        fill(&schema(), &mut stored);
        for path in [
            "/media/audio/aacBitrateKbps",
            "/media/audio/codecs",
            "/media/video/codecs",
            "/buffering/memoryMiB",
        ] {
            assert_eq!(stored.pointer(path), None, "{path} of {stored}");
        }
        // And it means what was declared.
        let [stored, declared] =
            [stored, declared].map(|spec| serde_json::from_value::<KvsIngestSpec>(spec).unwrap());
        assert_eq!(stored, declared);
    }
}
