//! What an object asks for that may be another's: each value, the field it stands in, and the list of a policy that it has to
//! be in. Pure. The chart's `templates/tenancy.yaml` has the same table in CEL; a test compares the two on a real API server.

use kvs_ingest_api::pod::PodSpec;
use kvs_ingest_api::{
    CaBundleRef, ChannelSpec, CredentialsSecretRef, DeletionPolicy, KvsIngestPolicySpec, KvsIngestSpec,
    StreamSpec,
};

/// A list of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    Regions,
    Accounts,
    Channels,
    Streams,
    KmsKeys,
    StreamTags,
    RoleArns,
    ServiceAccounts,
    CredentialsSecrets,
    CaBundles,
    Images,
    ImagePullSecrets,
    PriorityClasses,
    Tolerations,
    PodLabels,
    PodAnnotations,
    Environment,
}

impl List {
    /// Its name in a policy.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Regions => "regions",
            Self::Accounts => "accounts",
            Self::Channels => "channels",
            Self::Streams => "streams",
            Self::KmsKeys => "kmsKeys",
            Self::StreamTags => "streamTags",
            Self::RoleArns => "roleArns",
            Self::ServiceAccounts => "serviceAccounts",
            Self::CredentialsSecrets => "credentialsSecrets",
            Self::CaBundles => "caBundles",
            Self::Images => "images",
            Self::ImagePullSecrets => "imagePullSecrets",
            Self::PriorityClasses => "priorityClasses",
            Self::Tolerations => "tolerations",
            Self::PodLabels => "podLabels",
            Self::PodAnnotations => "podAnnotations",
            Self::Environment => "environment",
        }
    }

    /// As the policy has it; `None`: it restricts nothing.
    pub(super) fn of(self, policy: &KvsIngestPolicySpec) -> Option<&[String]> {
        let list = match self {
            Self::Regions => &policy.regions,
            Self::Accounts => &policy.accounts,
            Self::Channels => &policy.channels,
            Self::Streams => &policy.streams,
            Self::KmsKeys => &policy.kms_keys,
            Self::StreamTags => &policy.stream_tags,
            Self::RoleArns => &policy.role_arns,
            Self::ServiceAccounts => &policy.service_accounts,
            Self::CredentialsSecrets => &policy.credentials_secrets,
            Self::CaBundles => &policy.ca_bundles,
            Self::Images => &policy.images,
            Self::ImagePullSecrets => &policy.image_pull_secrets,
            Self::PriorityClasses => &policy.priority_classes,
            Self::Tolerations => &policy.tolerations,
            Self::PodLabels => &policy.pod_labels,
            Self::PodAnnotations => &policy.pod_annotations,
            Self::Environment => &policy.environment,
        };
        list.as_deref()
    }
}

/// A value that has to be in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked<'a> {
    pub(super) field: &'static str,
    pub(super) value: &'a str,
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
    let StreamSpec { name, arn, create_if_missing: _, adopt: _, retention_hours: _, kms_key_id, tags } =
        stream;
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

    let mut all = Vec::new();
    let mut ask = |field, value, list| all.push(Asked { field, value, list });
    ask("spec.region", region, List::Regions);
    for (field, name, arn, list) in [
        ("spec.channel", channel_name, channel_arn, List::Channels),
        ("spec.stream", name, arn, List::Streams),
    ] {
        if let Some(account) = arn.as_deref().map(account_of) {
            ask(field, account, List::Accounts);
        }
        ask(field, name_of(name.as_deref(), arn.as_deref()), list);
    }
    let single = [
        ("spec.stream.kmsKeyId", kms_key_id, List::KmsKeys),
        ("spec.roleArn", role_arn, List::RoleArns),
        ("spec.image", image, List::Images),
        ("spec.pod.priorityClassName", priority_class_name, List::PriorityClasses),
    ];
    for (field, value, list) in single {
        if let Some(value) = value {
            ask(field, value, list);
        }
    }
    ask("spec.serviceAccountName", service_account(service_account_name.as_deref()), List::ServiceAccounts);
    if let Some(CredentialsSecretRef { name, key: _ }) = credentials_secret_ref {
        ask("spec.credentialsSecretRef.name", name, List::CredentialsSecrets);
    }
    if let Some(CaBundleRef { name, key: _ }) = ca_bundle_ref {
        ask("spec.caBundleRef.name", name, List::CaBundles);
    }
    for secret in image_pull_secrets {
        ask("spec.imagePullSecrets", &secret.name, List::ImagePullSecrets);
    }
    for key in tags.keys() {
        ask("spec.stream.tags", key, List::StreamTags);
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
