//! The rules that a schema alone does not say, each with the path of its field.

use std::collections::BTreeMap;
use std::fmt;

use crate::data::DataSpec;
pub use crate::errors::FieldError;
pub(crate) use crate::errors::{Errors, list};
use crate::glob::glob;
use crate::managed_rules;
use crate::output_rules;
use crate::pod::{EnvVar, PodSpec};
use crate::pod_rules;
use crate::references::{CaBundleRef, CredentialsSecretRef};
use crate::spec::{
    AudioSpec, BufferingSpec, ChannelSpec, KvsIngestSpec, MediaSpec, PortRange, SpoolSpec, StreamSpec,
    VideoSpec,
};

/// The most that a stream keeps: ten years.
const MAX_RETENTION_HOURS: u32 = 87_600;
/// Networks that are denied: each is looked at for each candidate.
const MAX_DENIED: usize = 64;
/// A stream has at most 50, some of which are the operator's.
const MAX_TAGS: usize = 40;
/// What starts with this is the operator's own.
const OWN: &str = "kvs-ingest.dev/";
/// Credentials in text would be readable for everybody who may read the object; the rest says where credentials come from,
/// or which role they are of, past the fields that an administrator may restrict.
const CREDENTIALS: [&str; 11] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
];

impl KvsIngestSpec {
    /// Checks every rule.
    ///
    /// # Errors
    /// All fields that break one.
    pub fn validate(&self) -> Result<(), Vec<FieldError>> {
        let mut errors = self.validate_but_memory().err().unwrap_or_default();
        errors.extend(self.too_little_memory());
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// The rule that is younger than objects which break it: a memory limit that does not hold the buffer ends the container
    /// in the very outage that the buffer is for. It works until then, so it is for who checks to decide what follows.
    #[must_use]
    pub fn too_little_memory(&self) -> Option<FieldError> {
        // Whether these are Kubernetes' types or plain JSON.
        let limit =
            serde_json::to_value(self.resources.as_ref()?).ok()?.pointer("/limits/memory").cloned()?;
        let text = limit.as_str().map_or_else(|| limit.to_string(), str::to_owned);
        (!self.fits(&text)).then(|| FieldError {
            path: "spec.resources.limits.memory".to_owned(),
            message: format!(
                "{text} does not hold spec.buffering.memoryMiB ({}) and {} MiB for everything else: raise it to at least \
                 {}Mi, or lower memoryMiB",
                self.buffering.memory_mib,
                self.margin_mib(),
                self.needed_mib()
            ),
        })
    }

    /// Checks every rule but that of [`Self::too_little_memory`].
    ///
    /// # Errors
    /// All fields that break one.
    pub fn validate_but_memory(&self) -> Result<(), Vec<FieldError>> {
        // Without `..`: a new field must not be forgotten here.
        let KvsIngestSpec {
            region,
            channel,
            stream,
            outputs,
            // Its rules are about all the others.
            mode: _,
            deletion_policy: _,
            media,
            ice,
            buffering,
            suspend: _,
            service_account_name,
            credentials_secret_ref,
            ca_bundle_ref,
            role_arn,
            external_id,
            image,
            image_pull_policy: _,
            image_pull_secrets,
            resources,
            log_level: _,
            termination_grace_period_seconds,
            pod,
        } = self;
        let mut errors = Errors(Vec::new());
        if !is_region(region) {
            errors.add("spec.region", format!("{region:?} is not a region such as eu-central-1"));
        }
        let ChannelSpec { name, arn, create_if_missing, adopt: _ } = channel;
        errors.name_or_arn("spec.channel", "channel", region, name.as_deref(), arn.as_deref());
        if *create_if_missing && name.is_none() && arn.is_some() {
            errors.add("spec.channel.createIfMissing", "a channel can only be created by name, not by arn");
        }
        match stream {
            Some(stream) => errors.stream(region, stream),
            None if outputs.is_empty() => {
                errors.add("spec.stream", "it is required where spec.outputs names no output");
            }
            None => {}
        }
        output_rules::outputs(&mut errors, "spec.outputs", outputs);
        let MediaSpec { video, audio, data } = media;
        let VideoSpec { enabled: video, codecs, start_bitrate_kbps } = video;
        errors.once("spec.media.video.codecs", codecs);
        let AudioSpec { enabled: audio, codecs, aac_bitrate_kbps } = audio;
        errors.once("spec.media.audio.codecs", codecs);
        if !video && !audio {
            errors.add("spec.media", "video and audio are both disabled: nothing would be stored");
        }
        if let Some(rate) = *start_bitrate_kbps {
            errors.within("spec.media.video.startBitrateKbps", rate, 50, 20_000);
        }
        errors.within("spec.media.audio.aacBitrateKbps", *aac_bitrate_kbps, 16, 320);
        if let Some(data) = data {
            errors.data(data, stream.is_some());
        }
        let BufferingSpec { memory_mib, spool } = buffering;
        errors.within("spec.buffering.memoryMiB", *memory_mib, 16, 10_240);
        if let Some(SpoolSpec { size_mib }) = spool {
            errors.within("spec.buffering.spool.sizeMiB", *size_mib, 16, 1_048_576);
            if stream.is_none() {
                let words = "the spool is for what goes to spec.stream, and there is none";
                errors.add("spec.buffering.spool", words);
            }
        }
        if ice.deny_cidrs.len() > MAX_DENIED {
            let count = ice.deny_cidrs.len();
            errors.add("spec.ice.denyCidrs", format!("{count} networks are more than {MAX_DENIED}"));
        }
        if let Err((index, wrong)) = ice.denied() {
            errors.add(format!("spec.ice.denyCidrs[{index}]"), wrong);
        }
        if let Some(Err(wrong)) = ice.port_range.map(PortRange::check) {
            errors.add("spec.ice.portRange", wrong);
        }
        match role_arn {
            Some(arn) if !is_role(arn) => {
                errors.add("spec.roleArn", format!("{arn:?} is not arn:aws:iam::ACCOUNT:role/NAME"));
            }
            Some(_) if external_id.as_ref().is_some_and(|id| !is_external_id(id)) => {
                errors.add("spec.externalId", "it is not 2 to 1224 of a-z A-Z 0-9 _ + = , . @ : / -");
            }
            None if external_id.is_some() => {
                errors.add("spec.externalId", "it is used with roleArn only, which is not set");
            }
            _ => {}
        }
        pod_rules::name(&mut errors, "spec.serviceAccountName", service_account_name.as_deref());
        errors.length("spec.image", image.as_deref(), 1024);
        pod_rules::image(&mut errors, "spec.image", image.as_deref());
        pod_rules::pull_secrets(&mut errors, "spec.imagePullSecrets", image_pull_secrets);
        if let Some(resources) = resources {
            pod_rules::resources(&mut errors, "spec.resources", resources);
        }
        if let Some(CredentialsSecretRef { name, key }) = credentials_secret_ref {
            errors.reference("spec.credentialsSecretRef", "Secret", name, key);
        }
        if let Some(CaBundleRef { name, key }) = ca_bundle_ref {
            errors.reference("spec.caBundleRef", "ConfigMap", name, key);
        }
        if let Some(seconds) = *termination_grace_period_seconds {
            errors.within("spec.terminationGracePeriodSeconds", seconds, 5, 3600);
        }
        errors.pod(pod);
        managed_rules::managed(&mut errors, self);
        if errors.0.is_empty() { Ok(()) } else { Err(errors.0) }
    }
}

impl Errors {
    fn stream(&mut self, region: &str, stream: &StreamSpec) {
        // Without `..`: a new field must not be forgotten here.
        let StreamSpec { name, arn, create_if_missing, adopt: _, retention_hours, kms_key_id, tags } = stream;
        self.name_or_arn("spec.stream", "stream", region, name.as_deref(), arn.as_deref());
        if *create_if_missing && name.is_none() && arn.is_some() {
            self.add("spec.stream.createIfMissing", "a stream can only be created by name, not by arn");
        }
        self.length("spec.stream.kmsKeyId", kms_key_id.as_deref(), 2048);
        self.tags(tags);
        if let Some(hours) = *retention_hours {
            self.within("spec.stream.retentionHours", hours, 1, MAX_RETENTION_HOURS);
        }
    }

    fn within(&mut self, path: &str, value: u32, least: u32, most: u32) {
        if !(least..=most).contains(&value) {
            self.add(path, format!("{value} is not between {least} and {most}"));
        }
    }

    fn length(&mut self, path: &str, text: Option<&str>, most: usize) {
        if text.is_some_and(|text| text.is_empty() || text.len() > most) {
            self.add(path, format!("it does not have 1 to {most} characters"));
        }
    }

    /// A key of a Secret or ConfigMap.
    pub(crate) fn reference(&mut self, path: &str, kind: &str, name: &str, key: &str) {
        pod_rules::name(self, &format!("{path}.name"), Some(name));
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let folder = key == "." || key.starts_with("..");
        if !(1..=253).contains(&key.len()) || !key.bytes().all(plain) || folder {
            self.add(format!("{path}.key"), format!("{key:?} is not a key of a {kind}"));
        }
    }

    /// A list of codecs: not empty, each at most once.
    fn once<T: PartialEq + fmt::Debug>(&mut self, path: &str, codecs: &[T]) {
        if codecs.is_empty() {
            self.add(path, "at least one codec; to leave this kind of media out, set enabled to false");
        }
        for (index, codec) in codecs.iter().enumerate() {
            if codecs[..index].contains(codec) {
                self.add(format!("{path}[{index}]"), format!("{codec:?} is there already"));
            }
        }
    }

    fn data(&mut self, data: &DataSpec, has_stream: bool) {
        let DataSpec { labels, tag, open } = data;
        if !has_stream {
            let words = "messages are stored with the fragments of spec.stream, and there is none";
            self.add("spec.media.data", words);
        }
        if labels.is_empty() || labels.len() > 16 {
            self.add("spec.media.data.labels", "one label or pattern of labels at least, 16 at most");
        }
        if open.len() > 8 {
            self.add("spec.media.data.open", "8 channels at most");
        }
        for (list, labels) in [("labels", labels), ("open", open)] {
            for (index, label) in labels.iter().enumerate() {
                let path = format!("spec.media.data.{list}[{index}]");
                if label.is_empty() || label.chars().count() > 128 {
                    self.add(path, "it does not have 1 to 128 characters");
                } else if labels[..index].contains(label) {
                    self.add(path, format!("{label:?} is there already"));
                }
            }
        }
        for (index, label) in open.iter().enumerate() {
            if !labels.iter().any(|pattern| glob(pattern, label)) {
                let path = format!("spec.media.data.open[{index}]");
                self.add(
                    path,
                    format!("nothing in labels matches {label:?}: none of its messages would be stored"),
                );
            }
        }
        if let Some(tag) = tag {
            let path = "spec.media.data.tag";
            if tag.is_empty() || tag.chars().count() > 128 {
                self.add(path, "it does not have 1 to 128 characters");
            } else if tag.starts_with("AWS") {
                self.add(path, "names of tags that begin with AWS are the service's");
            } else if let Err(words) = data.tag_pieces() {
                self.add(path, words);
            }
        }
    }

    /// TagStream's rules, and room for the operator's own tags.
    fn tags(&mut self, tags: &BTreeMap<String, String>) {
        if tags.len() > MAX_TAGS {
            self.add("spec.stream.tags", format!("{} tags are more than {MAX_TAGS}", tags.len()));
        }
        for (key, value) in tags {
            let path = format!("spec.stream.tags[{key}]");
            if key.is_empty() || key.chars().count() > 128 || value.chars().count() > 256 {
                self.add(path, "a key has 1 to 128 characters, a value at most 256");
            } else if key.starts_with("aws:") || key.starts_with(OWN) {
                self.add(path, format!("keys of aws: are AWS's, those of {OWN} the operator's"));
            }
        }
    }

    fn pod(&mut self, pod: &PodSpec) {
        let PodSpec {
            labels,
            annotations,
            node_selector,
            tolerations,
            affinity,
            topology_spread_constraints,
            priority_class_name,
            env,
        } = pod;
        for key in labels.keys().filter(|key| key.starts_with(OWN) || key.starts_with("app.kubernetes.io/")) {
            self.add(format!("spec.pod.labels[{key}]"), "this label is the operator's");
        }
        for key in annotations.keys().filter(|key| key.starts_with(OWN)) {
            self.add(format!("spec.pod.annotations[{key}]"), "this annotation is the operator's");
        }
        pod_rules::labels(self, "spec.pod.labels", labels);
        pod_rules::annotations(self, "spec.pod.annotations", annotations);
        pod_rules::labels(self, "spec.pod.nodeSelector", node_selector);
        pod_rules::tolerations(self, "spec.pod.tolerations", tolerations);
        if let Some(affinity) = affinity {
            pod_rules::affinity(self, "spec.pod.affinity", affinity);
        }
        pod_rules::spread(self, "spec.pod.topologySpreadConstraints", topology_spread_constraints);
        pod_rules::name(self, "spec.pod.priorityClassName", priority_class_name.as_deref());
        for (index, EnvVar { name, value: _ }) in env.iter().enumerate() {
            let path = format!("spec.pod.env[{index}].name");
            let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            if name.is_empty() || name.as_bytes()[0].is_ascii_digit() || !name.bytes().all(word) {
                self.add(path, format!("{name:?} is not a name of letters, digits and _"));
            } else if name.starts_with("KVS_INGEST_") {
                self.add(path, "KVS_INGEST_* is the operator's");
            } else if CREDENTIALS.contains(&name.as_str()) {
                let fields = "credentialsSecretRef, serviceAccountName or roleArn";
                self.add(path, format!("credentials come from {fields}"));
            } else if env[..index].iter().any(|other| other.name == *name) {
                self.add(path, format!("{name:?} is there already"));
            }
        }
    }

    fn name_or_arn(&mut self, path: &str, kind: &str, region: &str, name: Option<&str>, arn: Option<&str>) {
        match (name, arn) {
            (None, None) => self.add(path, "exactly one of name, arn: neither is set"),
            (Some(_), Some(_)) => self.add(path, "exactly one of name, arn: both are set"),
            (Some(name), None) => {
                if !is_name(name) {
                    self.add(
                        format!("{path}.name"),
                        format!("{name:?} is not 1 to 256 of a-z A-Z 0-9 _ . -"),
                    );
                }
            }
            (None, Some(arn)) => match arn_region(arn, kind) {
                None => self.add(
                    format!("{path}.arn"),
                    format!("{arn:?} is not arn:aws:kinesisvideo:REGION:ACCOUNT:{kind}/NAME/TIME"),
                ),
                Some(found) if found != region => self.add(
                    format!("{path}.arn"),
                    format!("it is in region {found}, and spec.region is {region}"),
                ),
                Some(_) => {}
            },
        }
    }
}

fn is_name(text: &str) -> bool {
    (1..=256).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// `us-gov-west-1`: words of lower-case letters, and a number at the end.
fn is_region(text: &str) -> bool {
    let words: Vec<_> = text.split('-').collect();
    let Some((last, first)) = words.split_last() else { return false };
    first.len() >= 2
        && text.len() <= 32
        && first.iter().all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase()))
        && !last.is_empty()
        && last.bytes().all(|byte| byte.is_ascii_digit())
}

fn arn_region<'a>(arn: &'a str, kind: &str) -> Option<&'a str> {
    let parts: Vec<_> = arn.splitn(6, ':').collect();
    let ["arn", partition, "kinesisvideo", region, account, resource] = parts[..] else { return None };
    let resource: Vec<_> = resource.split('/').collect();
    let [found, name, time] = resource[..] else { return None };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let partition_ok = partition.starts_with("aws")
        && partition.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    let account_ok = account.len() == 12 && digits(account);
    (arn.len() <= 1024 && partition_ok && account_ok && found == kind && is_name(name) && digits(time))
        .then_some(region)
}

fn is_role(arn: &str) -> bool {
    let parts: Vec<_> = arn.splitn(6, ':').collect();
    matches!(parts[..], ["arn", partition, "iam", "", account, resource]
        if partition.starts_with("aws")
            && account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit())
            && resource.strip_prefix("role/").is_some_and(|name| !name.is_empty()))
}

/// STS API reference, AssumeRole.
fn is_external_id(id: &str) -> bool {
    (2..=1224).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use crate::{KvsIngestManifest, ManifestError};

    const GOOD: &str = "apiVersion: kvs-ingest.dev/v1alpha1
kind: KvsIngest
metadata: {name: front-door}
spec:
  region: ap-northeast-1
  channel: {name: front-door-camera}
  stream: {name: front-door, createIfMissing: true, retentionHours: 24}
";

    #[test]
    fn each_broken_rule_names_its_field() {
        let arn = "arn:aws:kinesisvideo:ap-northeast-1:111122223333:stream/s/0123456789012";
        for (from, to, path) in [
            ("ap-northeast-1", "tokyo", "spec.region"),
            ("{name: front-door-camera}", "{}", "spec.channel"),
            ("{name: front-door-camera}", &format!("{{name: a, arn: '{arn}'}}"), "spec.channel"),
            ("{name: front-door-camera}", "{name: 'a b'}", "spec.channel.name"),
            ("{name: front-door-camera}", &format!("{{arn: '{arn}'}}"), "spec.channel.arn"),
            ("name: front-door, create", &format!("arn: '{arn}', create"), "spec.stream.createIfMissing"),
            (
                "{name: front-door, createIfMissing: true, retentionHours: 24}",
                &format!("{{arn: '{}'}}", arn.replace("ap-northeast-1", "eu-west-1")),
                "spec.stream.arn",
            ),
            ("retentionHours: 24", "retentionHours: 0", "spec.stream.retentionHours"),
            (
                "  channel:",
                "  media: {video: {enabled: false}, audio: {enabled: false}}\n  channel:",
                "spec.media",
            ),
            (
                "  channel:",
                "  media: {audio: {aacBitrateKbps: 1}}\n  channel:",
                "spec.media.audio.aacBitrateKbps",
            ),
            (
                "  channel:",
                "  media: {video: {startBitrateKbps: 1}}\n  channel:",
                "spec.media.video.startBitrateKbps",
            ),
            ("  channel:", "  buffering: {memoryMiB: 1}\n  channel:", "spec.buffering.memoryMiB"),
            ("  channel:", "  buffering: {spool: {sizeMiB: 1}}\n  channel:", "spec.buffering.spool.sizeMiB"),
            ("  stream: {name: front-door, createIfMissing: true, retentionHours: 24}\n", "", "spec.stream"),
            ("  channel:", "  buffering: {spool: {}}\n  channel:", "spec.buffering.spool.sizeMiB"),
            ("  channel:", "  ice: {denyCidrs: [10.0.0.0/8, cluster]}\n  channel:", "spec.ice.denyCidrs[1]"),
            (
                "  channel:",
                "  ice: {denyCidrs: ['::ffff:10.0.0.0/104']}\n  channel:",
                "spec.ice.denyCidrs[0]",
            ),
            ("  channel:", "  ice: {denyCidrs: [10.0.0.1]}\n  channel:", "spec.ice.denyCidrs[0]"),
            ("  channel:", "  ice: {portRange: {min: 1000, max: 2000}}\n  channel:", "spec.ice.portRange"),
            ("  channel:", "  ice: {portRange: {min: 5000, max: 5002}}\n  channel:", "spec.ice.portRange"),
            ("  channel:", "  ice: {portRange: {min: 5000, max: 4000}}\n  channel:", "spec.ice.portRange"),
            (
                "  channel:",
                "  buffering: {memoryMiB: 512}\n  resources: {limits: {memory: 639Mi}}\n  channel:",
                "spec.resources.limits.memory",
            ),
            (
                "  channel:",
                "  resources: {limits: {memory: 100000000}}\n  channel:",
                "spec.resources.limits.memory",
            ),
            ("  channel:", "  roleArn: admin\n  channel:", "spec.roleArn"),
            ("  channel:", "  externalId: xyz\n  channel:", "spec.externalId"),
            (
                "{name: front-door-camera}",
                &format!("{{arn: '{}', createIfMissing: true}}", arn.replace("stream/", "channel/")),
                "spec.channel.createIfMissing",
            ),
            ("Hours: 24", "Hours: 24, kmsKeyId: ''", "spec.stream.kmsKeyId"),
            ("Hours: 24", "Hours: 24, tags: {'aws:x': y}", "spec.stream.tags[aws:x]"),
            ("Hours: 24", "Hours: 24, tags: {'': y}", "spec.stream.tags[]"),
            ("  channel:", "  media: {video: {codecs: []}}\n  channel:", "spec.media.video.codecs"),
            ("  channel:", "  media: {video: {codecs: [VP8]}}\n  channel:", "spec.media.video.codecs[0]"),
            (
                "  channel:",
                "  media: {audio: {codecs: [Opus, Opus]}}\n  channel:",
                "spec.media.audio.codecs[1]",
            ),
            ("  channel:", "  media: {data: {labels: []}}\n  channel:", "spec.media.data.labels"),
            ("  channel:", "  media: {data: {labels: [a, a]}}\n  channel:", "spec.media.data.labels[1]"),
            ("  channel:", "  media: {data: {labels: ['']}}\n  channel:", "spec.media.data.labels[0]"),
            (
                "  channel:",
                "  media: {data: {labels: [a], open: [b]}}\n  channel:",
                "spec.media.data.open[0]",
            ),
            ("  channel:", "  media: {data: {labels: [a], tag: AWSa}}\n  channel:", "spec.media.data.tag"),
            ("  channel:", "  media: {data: {labels: [a], tag: '{n}'}}\n  channel:", "spec.media.data.tag"),
            ("  channel:", "  media: {data: {tag: a}}\n  channel:", "spec.media.data.labels"),
            ("  channel:", "  serviceAccountName: ''\n  channel:", "spec.serviceAccountName"),
            ("  channel:", "  image: ''\n  channel:", "spec.image"),
            (
                "  channel:",
                "  credentialsSecretRef: {name: ''}\n  channel:",
                "spec.credentialsSecretRef.name",
            ),
            (
                "  channel:",
                "  credentialsSecretRef: {name: aws, key: a/b}\n  channel:",
                "spec.credentialsSecretRef.key",
            ),
            ("  channel:", "  caBundleRef: {name: ''}\n  channel:", "spec.caBundleRef.name"),
            ("  channel:", "  caBundleRef: {name: ca, key: 'a b'}\n  channel:", "spec.caBundleRef.key"),
            (
                "  channel:",
                "  terminationGracePeriodSeconds: 1\n  channel:",
                "spec.terminationGracePeriodSeconds",
            ),
            ("  channel:", "  pod: {hostNetwork: true}\n  channel:", "spec.pod.hostNetwork"),
            (
                "  channel:",
                "  pod: {labels: {app.kubernetes.io/name: x}}\n  channel:",
                "spec.pod.labels[app.kubernetes.io/name]",
            ),
            (
                "  channel:",
                "  pod: {annotations: {kvs-ingest.dev/x: y}}\n  channel:",
                "spec.pod.annotations[kvs-ingest.dev/x]",
            ),
            ("  channel:", "  pod: {priorityClassName: ''}\n  channel:", "spec.pod.priorityClassName"),
            ("  channel:", "  pod: {env: [{name: 1A}]}\n  channel:", "spec.pod.env[0].name"),
            ("  channel:", "  pod: {env: [{name: KVS_INGEST_CONFIG}]}\n  channel:", "spec.pod.env[0].name"),
            ("  channel:", "  pod: {env: [{name: AWS_SESSION_TOKEN}]}\n  channel:", "spec.pod.env[0].name"),
            ("  channel:", "  pod: {env: [{name: A}, {name: A}]}\n  channel:", "spec.pod.env[1].name"),
            (
                "  channel:",
                "  roleArn: 'arn:aws:iam::111122223333:role/r'\n  externalId: x\n  channel:",
                "spec.externalId",
            ),
        ] {
            let text = GOOD.replace(from, to);
            assert_ne!(text, GOOD, "{from}");
            let Err(ManifestError::Invalid(errors)) = KvsIngestManifest::from_yaml(&text) else {
                panic!("{text}")
            };
            assert_eq!(errors.iter().map(|error| error.path.as_str()).collect::<Vec<_>>(), [path], "{text}");
        }
    }

    /// With ManagedStorage each field that is an agent's is named, alone and beside others; what is not is taken.
    #[test]
    fn what_makes_no_sense_without_an_agent_is_named() {
        let managed = |more: &str| {
            let text = GOOD.replace("channel:", &format!("mode: ManagedStorage\n  {more}\n  channel:"));
            match KvsIngestManifest::from_yaml(&text) {
                Ok(_) => Vec::new(),
                Err(ManifestError::Invalid(errors)) => errors.into_iter().map(|error| error.path).collect(),
                Err(error) => panic!("{error}\n{text}"),
            }
        };
        for fine in ["suspend: true", "deletionPolicy: Delete", "media: {video: {codecs: [H264]}}", "pod: {}"]
        {
            assert_eq!(managed(fine), [] as [String; 0], "{fine}");
        }
        let fields = [
            ("outputs", "outputs: [{name: live, rtmp: {url: 'rtmp://media.test/live/door'}}]"),
            ("media", "media: {audio: {enabled: false}}"),
            ("ice", "ice: {transportPolicy: Relay}"),
            ("buffering", "buffering: {spool: {sizeMiB: 512}}"),
            ("serviceAccountName", "serviceAccountName: agent"),
            ("credentialsSecretRef", "credentialsSecretRef: {name: aws}"),
            ("roleArn", "roleArn: 'arn:aws:iam::111122223333:role/r'"),
            ("caBundleRef", "caBundleRef: {name: ca}"),
            ("image", "image: agent:1"),
            ("imagePullPolicy", "imagePullPolicy: Always"),
            ("imagePullSecrets", "imagePullSecrets: [{name: pull}]"),
            ("resources", "resources: {limits: {cpu: '1'}}"),
            ("logLevel", "logLevel: debug"),
            ("terminationGracePeriodSeconds", "terminationGracePeriodSeconds: 60"),
            ("pod", "pod: {priorityClassName: high}"),
        ];
        for (field, yaml) in fields {
            assert_eq!(managed(yaml), [format!("spec.{field}")], "{yaml}");
        }
        let all = fields.map(|(_, yaml)| yaml).join("\n  ");
        assert_eq!(managed(&all), fields.map(|(field, _)| format!("spec.{field}")));
        let role = "roleArn: 'arn:aws:iam::111122223333:role/r'\n  externalId: door";
        assert_eq!(managed(role), ["spec.roleArn", "spec.externalId"]);
    }

    #[test]
    fn media_storage_has_its_places() {
        let paths = |from: &str, to: &str| {
            let text = GOOD.replace("  channel:", "  mode: ManagedStorage\n  channel:").replace(from, to);
            let Err(ManifestError::Invalid(errors)) = KvsIngestManifest::from_yaml(&text) else {
                panic!("{text}")
            };
            errors.into_iter().map(|error| error.path).collect::<Vec<_>>()
        };
        assert_eq!(paths("ap-northeast-1", "cn-north-1"), ["spec.mode"]);
        let arn = |account: u64, kind: &str| {
            format!("{{arn: 'arn:aws:kinesisvideo:ap-northeast-1:{account}:{kind}/door/0123456789012'}}")
        };
        let both = |stream: u64| {
            format!("  channel: {}\n  stream: {}\n", arn(111_122_223_333, "channel"), arn(stream, "stream"))
        };
        let names = "  channel: {name: front-door-camera}\n  stream: {name: front-door, createIfMissing: true, retentionHours: 24}\n";
        assert_eq!(paths(names, &both(444_455_556_666)), ["spec.stream.arn"]);
        let same = GOOD
            .replace("  channel:", "  mode: ManagedStorage\n  channel:")
            .replace(names, &both(111_122_223_333));
        assert!(KvsIngestManifest::from_yaml(&same).is_ok(), "{same}");
    }

    #[test]
    fn a_limit_that_holds_the_buffer_is_fine() {
        for more in [
            "buffering: {memoryMiB: 512}\n  resources: {limits: {memory: 640Mi}}",
            "buffering: {memoryMiB: 512}\n  resources: {limits: {memory: 1G}}",
            "buffering: {memoryMiB: 512}\n  resources: {requests: {memory: 1Mi}}",
            "buffering: {memoryMiB: 512}",
            "resources: {limits: {memory: 256Mi, cpu: '1'}}",
            "ice: {portRange: {min: 50000, max: 50003}}",
            "ice: {denyCidrs: [10.96.0.0/12, 'fd00::/8', 10.1.2.3/8]}",
        ] {
            let text = GOOD.replace("channel:", &format!("{more}\n  channel:"));
            KvsIngestManifest::from_yaml(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        }
    }
}
