//! What `examples/` shows is a manifest that the agent takes.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::path::Path;

use kvs_ingest_api::{IceTransportPolicy, KvsIngestManifest, Mode};

fn examples() -> BTreeMap<String, KvsIngestManifest> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| (std::fs::read_to_string(&path).unwrap(), path))
        // There are others, too: kvs-local in a cluster.
        .filter(|(text, _)| text.lines().any(|line| line == "kind: KvsIngest"))
        .map(|(text, path)| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let manifest =
                KvsIngestManifest::from_yaml(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            (name, manifest)
        })
        .collect()
}

#[test]
fn every_example_says_what_its_name_promises() {
    let examples = examples();
    let spec = |name: &str| &examples.get(name).unwrap_or_else(|| panic!("no {name}.yaml")).spec;
    assert!(spec("front-door").stream.as_ref().unwrap().create_if_missing);
    assert_eq!(spec("relay-only").ice.transport_policy, IceTransportPolicy::Relay);
    assert!(spec("video-only").media.video.enabled && !spec("video-only").media.audio.enabled);
    assert!(spec("messages").media.data.as_ref().is_some_and(|data| !data.open.is_empty()));
    let other = spec("other-account");
    let account = |arn: &Option<String>| arn.as_ref().unwrap().split(':').nth(4).unwrap().to_owned();
    assert_eq!(account(&other.channel.arn), account(&other.role_arn));
    assert_eq!(account(&other.stream.as_ref().unwrap().arn), account(&other.role_arn));
    assert!(other.external_id.is_none(), "it is the operator's");
    assert_eq!(spec("credentials-secret").credentials_secret_ref.as_ref().unwrap().key, "credentials");
    assert!(spec("suspended").suspend);
    assert_eq!(spec("managed-storage").mode, Mode::ManagedStorage);
    let outputs =
        |name: &str| spec(name).outputs.iter().map(|output| output.rtmp.clone().unwrap()).collect::<Vec<_>>();
    let [beside] = &outputs("ivs")[..] else { panic!("one output") };
    assert!(spec("ivs").stream.is_some() && beside.stream_key_secret_ref.is_some());
    assert!(beside.url.as_ref().unwrap().starts_with("rtmps://"));
    let [alone] = &outputs("rtmp-only")[..] else { panic!("one output") };
    assert!(spec("rtmp-only").stream.is_none() && alone.url_secret_ref.is_some());
}

/// They can all be applied to one cluster: a stream belongs to one object. Two of one name are the same object, applied twice.
#[test]
fn no_two_examples_store_in_the_same_stream() {
    let mut owners = BTreeMap::new();
    for (name, manifest) in examples() {
        let Some(stream) = manifest.spec.stream else { continue };
        let stream = (stream.name, stream.arn);
        let object = (manifest.metadata.namespace, manifest.metadata.name);
        if let Some((other, of)) = owners.insert(stream, (name.clone(), object.clone())) {
            assert_eq!(of, object, "{name} and {other}");
        }
    }
}
