//! Output files: what outputs take of Secrets and ConfigMaps, as files in one volume of the agent's pod. Pure.
//!
//! Files, and neither environment nor arguments: the kubelet changes them when the Secret changes, and the agent reads them at each
//! connection, so that a new key takes no restart.

use k8s_openapi::api::core::v1::{
    ConfigMapProjection, KeyToPath, ProjectedVolumeSource, SecretProjection, Volume, VolumeMount,
    VolumeProjection,
};
use kvs_ingest_api::{CaBundleRef, OutputConfig, OutputSpec, RtmpConfig, RtmpSpec, SecretKeyRef};

/// Where they are mounted, each in a folder of its output's name.
const FOLDER: &str = "/var/run/secrets/kvs-ingest.dev/outputs";
const VOLUME: &str = "outputs";
const URL: &str = "url";
const STREAM_KEY: &str = "stream-key";
const CA_BUNDLE: &str = "ca.crt";

/// The volume with the files of all outputs, and its mount, if there is one to mount.
pub(crate) fn volume(outputs: &[OutputSpec]) -> Option<(Volume, VolumeMount)> {
    let sources: Vec<_> = outputs.iter().flat_map(sources).collect();
    if sources.is_empty() {
        return None;
    }
    let volume = Volume {
        name: VOLUME.to_owned(),
        projected: Some(ProjectedVolumeSource { default_mode: Some(0o440), sources: Some(sources) }),
        ..Volume::default()
    };
    let mount = VolumeMount {
        name: VOLUME.to_owned(),
        mount_path: FOLDER.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    };
    Some((volume, mount))
}

fn sources(output: &OutputSpec) -> Vec<VolumeProjection> {
    let OutputSpec { name, required: _, rtmp } = output;
    let Some(rtmp) = rtmp else { return Vec::new() };
    // Without `..`: a new field must not be forgotten here.
    let RtmpSpec { url: _, url_secret_ref, stream_key_secret_ref, ca_bundle_ref, silence: _ } = rtmp;
    // A pod does not start without what it has to mount, and a live output, required or not, must not keep media from the stream:
    // the agent says that the file is missing, and finds it when it comes.
    let optional = Some(true);
    let item = |key: &String, file: &str| {
        Some(vec![KeyToPath { key: key.clone(), path: format!("{name}/{file}"), mode: None }])
    };
    let secret = |reference: &Option<SecretKeyRef>, file: &str| {
        let SecretKeyRef { name, key } = reference.as_ref()?;
        let secret = SecretProjection { name: name.clone(), items: item(key, file), optional };
        Some(VolumeProjection { secret: Some(secret), ..VolumeProjection::default() })
    };
    let ca_bundle = ca_bundle_ref.as_ref().map(|CaBundleRef { name, key }| VolumeProjection {
        config_map: Some(ConfigMapProjection { name: name.clone(), items: item(key, CA_BUNDLE), optional }),
        ..VolumeProjection::default()
    });
    let files = [secret(url_secret_ref, URL), secret(stream_key_secret_ref, STREAM_KEY), ca_bundle];
    files.into_iter().flatten().collect()
}

/// What the agent is told of the outputs.
pub(crate) fn configs(outputs: &[OutputSpec]) -> Vec<OutputConfig> {
    let config = |output: &OutputSpec| {
        let OutputSpec { name, required, rtmp } = output;
        // Without `..`: a new field must not be forgotten here.
        let RtmpSpec { url, url_secret_ref, stream_key_secret_ref, ca_bundle_ref, silence } =
            rtmp.as_ref()?;
        let file = |there: bool, file: &str| there.then(|| format!("{FOLDER}/{name}/{file}").into());
        Some(OutputConfig {
            name: name.clone(),
            required: *required,
            rtmp: RtmpConfig {
                url: url.clone(),
                url_file: file(url_secret_ref.is_some(), URL),
                stream_key_file: file(stream_key_secret_ref.is_some(), STREAM_KEY),
                ca_bundle: file(ca_bundle_ref.is_some(), CA_BUNDLE),
                silence: *silence,
            },
        })
    };
    outputs.iter().filter_map(config).collect()
}
