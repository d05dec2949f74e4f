//! Tenancy: what the author of an object may ask for is the decision of the release and of the cluster's administrator
//! (`docs/tenancy.md`). The admission policies of the chart say the same when an object is written; here it holds without
//! them, and for objects that were there before.

mod asked;
mod pattern;
mod places;
mod policies;
mod selector;

use std::collections::BTreeMap;

use kube::ResourceExt;
use kvs_ingest_api::{FieldError, KvsIngest, KvsIngestPolicySpec, StreamSpec};

use self::asked::{Asked, asked, name_of, service_account};
use self::pattern::matches;
pub use self::pattern::{NoPattern, Pattern};
pub(crate) use self::places::Places;
pub(crate) use self::policies::{NamespaceLite, Policies, Verdict};
use self::selector::{Unreadable, selects};
use crate::names;

/// What the release permits, in every namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReleaseRules {
    /// Names of channels and streams; empty: any.
    pub names: Vec<Pattern>,
    /// Images beside the release's own, whatever its tag.
    pub images: Vec<Pattern>,
    /// External ids beside that of the object's namespace.
    pub external_ids: Vec<Pattern>,
    /// Namespace and name of the operator's own service account, where they are known: it has the operator's rights.
    pub service_account: Option<(String, String)>,
}

/// An object's namespace, as far as policies go by it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Namespace<'a> {
    pub(crate) name: &'a str,
    pub(crate) labels: &'a BTreeMap<String, String>,
}

/// Does this policy have a say in this namespace?
///
/// # Errors
/// [`Unreadable`]: nobody can tell.
pub(crate) fn applies(policy: &KvsIngestPolicySpec, namespace: Namespace<'_>) -> Result<bool, Unreadable> {
    let named =
        policy.namespaces.as_deref().is_none_or(|patterns| any(patterns, namespace.name, namespace.name));
    match &policy.namespace_selector {
        Some(selector) if named => selects(selector, namespace.labels),
        _ => Ok(named),
    }
}

/// What the release forbids of an object: all of it.
pub(crate) fn forbidden_by_release(
    rules: &ReleaseRules,
    agent_image: &str,
    cluster: &str,
    ingest: &KvsIngest,
) -> Vec<FieldError> {
    let ReleaseRules { names, images, external_ids, service_account: own } = rules;
    let (namespace, spec) = (ingest.namespace().unwrap_or_default(), &ingest.spec);
    let permits = |patterns: &[Pattern], value: &str| {
        patterns.iter().any(|pattern| matches(pattern.as_str(), &namespace, value))
    };
    let listed = |patterns: &[Pattern]| list(patterns.iter().map(Pattern::as_str));
    let mut errors = Vec::new();
    let mut forbid = |path: &str, message: String| errors.push(FieldError { path: path.to_owned(), message });
    let stream = spec.stream.as_ref().map(|stream| ("spec.stream", &stream.name, &stream.arn));
    let channel = ("spec.channel", &spec.channel.name, &spec.channel.arn);
    for (path, name, arn) in [channel].into_iter().chain(stream) {
        let name = name_of(name.as_deref(), arn.as_deref());
        if !names.is_empty() && !permits(names, name) {
            forbid(
                path,
                format!("{name:?} is not permitted: the operator's --allowed-names are {}", listed(names)),
            );
        }
    }
    let ours = repository(agent_image);
    let forbidden = |image: &&str| !is_of_repository(image, ours) && !permits(images, image);
    if let Some(image) = spec.image.as_deref().filter(forbidden) {
        let beside = if images.is_empty() { String::new() } else { format!(" and {}", listed(images)) };
        forbid(
            "spec.image",
            format!(
                "{image:?} is not permitted: the operator permits {ours}, with any tag or digest,{beside} \
                 (--allowed-images)"
            ),
        );
    }
    if let Some(id) = &spec.external_id {
        let ours = names::external_id(cluster, &namespace);
        if *id != ours && !permits(external_ids, id) {
            let remedy = "leave the field out, and let the role's trust policy ask for that one";
            forbid(
                "spec.externalId",
                format!("{id:?} is not permitted: that of this namespace is {ours:?}; {remedy}"),
            );
        }
    }
    let account = service_account(spec.service_account_name.as_deref());
    if own.as_ref().is_some_and(|(place, name)| *place == namespace && name == account) {
        forbid("spec.serviceAccountName", format!("{account:?} is the operator's own: name another"));
    }
    errors
}

/// What a policy that applies forbids of an object: all of it.
pub(crate) fn forbidden_by_policy(
    name: &str,
    policy: &KvsIngestPolicySpec,
    ingest: &KvsIngest,
) -> Vec<FieldError> {
    // Without `..`: a new field must not be forgotten here. The lists are in `asked`.
    let KvsIngestPolicySpec {
        namespaces: _,
        namespace_selector: _,
        regions: _,
        accounts: _,
        channels: _,
        streams: _,
        modes: _,
        create,
        adopt,
        max_retention_hours,
        kms_keys: _,
        stream_tags: _,
        role_arns: _,
        service_accounts: _,
        credentials_secrets: _,
        ca_bundles: _,
        outputs: _,
        output_secrets: _,
        images: _,
        image_pull_secrets: _,
        priority_classes: _,
        tolerations: _,
        node_selection,
        pod_labels: _,
        pod_annotations: _,
        environment: _,
        // Takes more than the object: `Policies` and `Places` count.
        max_objects: _,
    } = policy;
    let (namespace, spec) = (ingest.namespace().unwrap_or_default(), &ingest.spec);
    let mut errors = Vec::new();
    for Asked { field, value, list: kind } in asked(spec) {
        let Some((kind, patterns)) = kind.of(policy) else { continue };
        if !any(patterns, &namespace, &value) {
            let allowed = list(patterns.iter().map(String::as_str));
            let message =
                format!("{value:?} is not permitted: {kind} of KvsIngestPolicy {name} permits {allowed}");
            errors.push(FieldError { path: field.to_owned(), message });
        }
    }
    let mut forbid = |path: &str, message: &str| {
        let message = format!("{message} by KvsIngestPolicy {name}");
        errors.push(FieldError { path: path.to_owned(), message });
    };
    let of_stream = |asks: fn(&StreamSpec) -> bool| spec.stream.as_ref().is_some_and(asks);
    let switches = [
        (create, "creating", "spec.channel.createIfMissing", spec.channel.create_if_missing),
        (create, "creating", "spec.stream.createIfMissing", of_stream(|stream| stream.create_if_missing)),
        (adopt, "adopting", "spec.channel.adopt", spec.channel.adopt),
        (adopt, "adopting", "spec.stream.adopt", of_stream(|stream| stream.adopt)),
    ];
    for (permitted, what, path, asked) in switches {
        if asked && *permitted == Some(false) {
            forbid(path, &format!("{what} is not permitted"));
        }
    }
    let hours = spec.stream.as_ref().and_then(|stream| stream.retention_hours);
    if let (Some(most), Some(hours)) = (max_retention_hours, hours)
        && hours > *most
    {
        forbid("spec.stream.retentionHours", &format!("{hours} is not permitted, at most {most} is,"));
    }
    if *node_selection == Some(false) {
        if !spec.pod.node_selector.is_empty() {
            forbid("spec.pod.nodeSelector", "to choose nodes is not permitted");
        }
        if spec.pod.affinity.is_some() {
            forbid("spec.pod.affinity", "to choose nodes is not permitted");
        }
    }
    errors
}

/// An image without tag and digest.
fn repository(image: &str) -> &str {
    let image = image.split('@').next().unwrap_or(image);
    match image.rsplit_once(':') {
        // Otherwise the port of a registry.
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => image,
    }
}

/// Whatever its tag and digest: who pins the release's image keeps it when the release is upgraded.
fn is_of_repository(image: &str, repository: &str) -> bool {
    let rest = image.strip_prefix(repository);
    // `agent:5000/x` is of another registry, and not of `agent`.
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '@']) && !rest.contains('/'))
}

fn any(patterns: &[String], namespace: &str, value: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, namespace, value))
}

/// For people.
fn list<'a>(patterns: impl Iterator<Item = &'a str>) -> String {
    let all: Vec<_> = patterns.collect();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}

#[cfg(test)]
mod tests;
