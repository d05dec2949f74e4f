//! What an object asks for that may be another's: each value, the field it stands in, and the list of a policy that it has to
//! be in. Pure. The chart's `templates/tenancy.yaml` has the same table in CEL; a test compares the two on a real API server.

use std::borrow::Cow;

use kvs_ingest_api::pod::PodSpec;
use kvs_ingest_api::{
    CaBundleRef, ChannelSpec, CredentialsSecretRef, DeletionPolicy, KvsIngestPolicySpec, KvsIngestSpec, Mode,
    OutputSpec, RtmpSpec, StreamSpec,
};

/// A list of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    Regions,
    Accounts,
    Channels,
    Streams,
    Modes,
    KmsKeys,
    StreamTags,
    RoleArns,
    ServiceAccounts,
    CredentialsSecrets,
    CaBundles,
    Outputs,
    OutputSecrets,
    Images,
    ImagePullSecrets,
    PriorityClasses,
    Tolerations,
    PodLabels,
    PodAnnotations,
    Environment,
}

impl List {
    /// As the policy has it, and under which name; `None`: it restricts nothing.
    pub(super) fn of(self, policy: &KvsIngestPolicySpec) -> Option<(&'static str, &[String])> {
        let (name, list) = match self {
            Self::Regions => ("regions", &policy.regions),
            Self::Accounts => ("accounts", &policy.accounts),
            Self::Channels => ("channels", &policy.channels),
            Self::Streams => ("streams", &policy.streams),
            Self::Modes => ("modes", &policy.modes),
            Self::KmsKeys => ("kmsKeys", &policy.kms_keys),
            Self::StreamTags => ("streamTags", &policy.stream_tags),
            Self::RoleArns => ("roleArns", &policy.role_arns),
            Self::ServiceAccounts => ("serviceAccounts", &policy.service_accounts),
            // A policy that is older than outputs are, and says which Secrets may be named, means these, too.
            Self::OutputSecrets if policy.output_secrets.is_some() => {
                ("outputSecrets", &policy.output_secrets)
            }
            Self::OutputSecrets | Self::CredentialsSecrets => {
                ("credentialsSecrets", &policy.credentials_secrets)
            }
            Self::CaBundles => ("caBundles", &policy.ca_bundles),
            Self::Outputs => ("outputs", &policy.outputs),
            Self::Images => ("images", &policy.images),
            Self::ImagePullSecrets => ("imagePullSecrets", &policy.image_pull_secrets),
            Self::PriorityClasses => ("priorityClasses", &policy.priority_classes),
            Self::Tolerations => ("tolerations", &policy.tolerations),
            Self::PodLabels => ("podLabels", &policy.pod_labels),
            Self::PodAnnotations => ("podAnnotations", &policy.pod_annotations),
            Self::Environment => ("environment", &policy.environment),
        };
        Some((name, list.as_deref()?))
    }
}

/// A value that has to be in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked<'a> {
    pub(super) field: &'static str,
    pub(super) value: Cow<'a, str>,
    pub(super) list: List,
}

/// Everything that a list may forbid.
pub(super) fn asked(spec: &KvsIngestSpec) -> Vec<Asked<'_>> {
    // Without `..`: of a new field somebody has to decide whether it takes what may be another's. What is not used here has an
    // effect on the object's own agent alone, within the quotas of its namespace.
    let KvsIngestSpec {
        region,
        channel,
        stream,
        outputs,
        mode,
        // It deletes what was made for this very object.
        deletion_policy: DeletionPolicy::Retain | DeletionPolicy::Delete,
        media: _,
        ice: _,
        buffering: _,
        suspend: _,
        service_account_name,
        credentials_secret_ref,
        ca_bundle_ref,
        role_arn,
        // The release's rules are about it.
        external_id: _,
        image,
        image_pull_policy: _,
        image_pull_secrets,
        resources: _,
        log_level: _,
        termination_grace_period_seconds: _,
        pod,
    } = spec;
    let ChannelSpec { name: channel_name, arn: channel_arn, create_if_missing: _, adopt: _ } = channel;
    let PodSpec {
        labels,
        annotations,
        node_selector: _,
        tolerations,
        affinity: _,
        topology_spread_constraints: _,
        priority_class_name,
        env,
    } = pod;

    let mut all = asked_of_stream(stream.as_ref());
    all.extend(outputs.iter().flat_map(asked_of_output));
    let mut ask = |field, value, list| all.push(Asked { field, value: Cow::Borrowed(value), list });
    ask("spec.region", region, List::Regions);
    if let Some(account) = channel_arn.as_deref().map(account_of) {
        ask("spec.channel", account, List::Accounts);
    }
    ask("spec.channel", name_of(channel_name.as_deref(), channel_arn.as_deref()), List::Channels);
    match mode {
        Mode::Agent => {
            ask("spec.mode", "Agent", List::Modes);
            let account = service_account(service_account_name.as_deref());
            ask("spec.serviceAccountName", account, List::ServiceAccounts);
        }
        // It has no pod that could have a service account.
        Mode::ManagedStorage => ask("spec.mode", "ManagedStorage", List::Modes),
    }
    let single = [
        ("spec.roleArn", role_arn, List::RoleArns),
        ("spec.image", image, List::Images),
        ("spec.pod.priorityClassName", priority_class_name, List::PriorityClasses),
    ];
    for (field, value, list) in single {
        if let Some(value) = value {
            ask(field, value, list);
        }
    }
    if let Some(CredentialsSecretRef { name, key: _ }) = credentials_secret_ref {
        ask("spec.credentialsSecretRef.name", name, List::CredentialsSecrets);
    }
    if let Some(CaBundleRef { name, key: _ }) = ca_bundle_ref {
        ask("spec.caBundleRef.name", name, List::CaBundles);
    }
    for secret in image_pull_secrets {
        ask("spec.imagePullSecrets", &secret.name, List::ImagePullSecrets);
    }
    for key in labels.keys() {
        ask("spec.pod.labels", key, List::PodLabels);
    }
    for key in annotations.keys() {
        ask("spec.pod.annotations", key, List::PodAnnotations);
    }
    for toleration in tolerations {
        ask("spec.pod.tolerations", toleration.key.as_deref().unwrap_or(""), List::Tolerations);
    }
    for variable in env {
        ask("spec.pod.env", &variable.name, List::Environment);
    }
    all
}

fn asked_of_stream(stream: Option<&StreamSpec>) -> Vec<Asked<'_>> {
    let Some(stream) = stream else { return Vec::new() };
    let StreamSpec { name, arn, create_if_missing: _, adopt: _, retention_hours: _, kms_key_id, tags } =
        stream;
    let mut all = Vec::new();
    let mut ask = |field, value, list| all.push(Asked { field, value: Cow::Borrowed(value), list });
    if let Some(account) = arn.as_deref().map(account_of) {
        ask("spec.stream", account, List::Accounts);
    }
    ask("spec.stream", name_of(name.as_deref(), arn.as_deref()), List::Streams);
    if let Some(key) = kms_key_id {
        ask("spec.stream.kmsKeyId", key, List::KmsKeys);
    }
    for key in tags.keys() {
        ask("spec.stream.tags", key, List::StreamTags);
    }
    all
}

fn asked_of_output(output: &OutputSpec) -> Vec<Asked<'_>> {
    let OutputSpec { name: _, required: _, rtmp } = output;
    let Some(rtmp) = rtmp else { return Vec::new() };
    let RtmpSpec { url, url_secret_ref, stream_key_secret_ref, ca_bundle_ref, silence: _ } = rtmp;
    // Of one in a Secret nothing is known.
    let origin = url.as_deref().map(origin_of).unwrap_or_default();
    let mut all =
        vec![Asked { field: "spec.outputs.rtmp.url", value: Cow::Owned(origin), list: List::Outputs }];
    let named = [
        (
            "spec.outputs.rtmp.urlSecretRef.name",
            url_secret_ref.as_ref().map(|it| &it.name),
            List::OutputSecrets,
        ),
        (
            "spec.outputs.rtmp.streamKeySecretRef.name",
            stream_key_secret_ref.as_ref().map(|it| &it.name),
            List::OutputSecrets,
        ),
        ("spec.outputs.rtmp.caBundleRef.name", ca_bundle_ref.as_ref().map(|it| &it.name), List::CaBundles),
    ];
    for (field, name, list) in named {
        all.extend(name.map(|name| Asked { field, value: Cow::Borrowed(name.as_str()), list }));
    }
    all
}

/// `SCHEME://HOST:PORT` of a URL that keeps the rules: no path, whose text could pass for a host.
fn origin_of(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split('/').next().unwrap_or(rest).to_ascii_lowercase();
    let digits = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| digits(port));
    let port = match (has_port, scheme) {
        (true, _) => "",
        (false, "rtmps") => ":443",
        (false, _) => ":1935",
    };
    format!("{scheme}://{authority}{port}")
}

/// The name of a channel or stream, which its ARN has in it, too: `arn:aws:kinesisvideo:REGION:ACCOUNT:stream/NAME/TIME`.
pub(super) fn name_of<'a>(name: Option<&'a str>, arn: Option<&'a str>) -> &'a str {
    arn.map_or(name, |arn| arn.split('/').nth(1)).unwrap_or("")
}

fn account_of(arn: &str) -> &str {
    arn.split(':').nth(4).unwrap_or("")
}

/// Pods without one have this.
pub(super) fn service_account(name: Option<&str>) -> &str {
    name.unwrap_or("default")
}
