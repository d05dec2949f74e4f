//! What makes no sense in [`Mode::ManagedStorage`]: above all the fields of an agent, which there is none of. One table for
//! this program and for the API server.

use crate::errors::Errors;
use crate::pod::PodSpec;
use crate::spec::{BufferingSpec, IceSpec, KvsIngestSpec, LogLevel, MediaSpec, Mode};

/// A field that is an agent's.
struct AgentField {
    /// Below `spec`.
    name: &'static str,
    is_set: fn(&KvsIngestSpec) -> bool,
    /// That it is not, in CEL, with the API server's defaults filled in.
    #[cfg(feature = "crd")]
    unset: &'static str,
    why: &'static str,
}

macro_rules! agent_fields {
    ($(($name:literal, $is_set:expr, $unset:literal, $why:expr),)+) => {
        const AGENT_FIELDS: &[AgentField] = &[$(AgentField {
            name: $name,
            is_set: $is_set,
            #[cfg(feature = "crd")]
            unset: $unset,
            why: $why,
        }),+];
    };
}

const NO_POD: &str = "there is no pod of an agent";
const OWN_RIGHTS: &str = "the operator's own rights in AWS are used, and no other account's";

agent_fields! {
    (
        "outputs",
        |spec| !spec.outputs.is_empty(),
        "!has(self.outputs) || size(self.outputs) == 0",
        "no agent is there to send media elsewhere"
    ),
    (
        "media",
        |spec| spec.media != MediaSpec::default(),
        "!has(self.media) || (!has(self.media.data) \
         && (!has(self.media.video) || (self.media.video.enabled && !has(self.media.video.startBitrateKbps) \
         && (!has(self.media.video.codecs) || self.media.video.codecs == ['H264']))) \
         && (!has(self.media.audio) || (self.media.audio.enabled \
         && (!has(self.media.audio.aacBitrateKbps) || self.media.audio.aacBitrateKbps == 64) \
         && (!has(self.media.audio.codecs) || self.media.audio.codecs == ['Opus']))))",
        "AWS stores the master's H.264 as it comes, and its Opus as AAC"
    ),
    (
        "ice",
        |spec| spec.ice != IceSpec::default(),
        "!has(self.ice) || ((!has(self.ice.transportPolicy) || self.ice.transportPolicy == 'All') \
         && (!has(self.ice.denyCidrs) || size(self.ice.denyCidrs) == 0) && !has(self.ice.portRange))",
        "AWS connects to the master, by its own TURN servers"
    ),
    (
        "buffering",
        |spec| spec.buffering != BufferingSpec::default(),
        "!has(self.buffering) || (!has(self.buffering.spool) \
         && (!has(self.buffering.memoryMiB) || self.buffering.memoryMiB == 64))",
        "nothing waits outside AWS"
    ),
    ("serviceAccountName", |spec| spec.service_account_name.is_some(), "!has(self.serviceAccountName)", OWN_RIGHTS),
    (
        "credentialsSecretRef",
        |spec| spec.credentials_secret_ref.is_some(),
        "!has(self.credentialsSecretRef)",
        OWN_RIGHTS
    ),
    ("roleArn", |spec| spec.role_arn.is_some(), "!has(self.roleArn)", OWN_RIGHTS),
    ("externalId", |spec| spec.external_id.is_some(), "!has(self.externalId)", OWN_RIGHTS),
    ("caBundleRef", |spec| spec.ca_bundle_ref.is_some(), "!has(self.caBundleRef)", NO_POD),
    ("image", |spec| spec.image.is_some(), "!has(self.image)", NO_POD),
    ("imagePullPolicy", |spec| spec.image_pull_policy.is_some(), "!has(self.imagePullPolicy)", NO_POD),
    (
        "imagePullSecrets",
        |spec| !spec.image_pull_secrets.is_empty(),
        "!has(self.imagePullSecrets) || size(self.imagePullSecrets) == 0",
        NO_POD
    ),
    ("resources", |spec| spec.resources.is_some(), "!has(self.resources)", NO_POD),
    (
        "logLevel",
        |spec| spec.log_level != LogLevel::default(),
        "!has(self.logLevel) || self.logLevel == 'info'",
        NO_POD
    ),
    (
        "terminationGracePeriodSeconds",
        |spec| spec.termination_grace_period_seconds.is_some(),
        "!has(self.terminationGracePeriodSeconds)",
        NO_POD
    ),
    (
        "pod",
        |spec| spec.pod != PodSpec::default(),
        "!has(self.pod) || !(has(self.pod.labels) || has(self.pod.annotations) || has(self.pod.nodeSelector) \
         || has(self.pod.tolerations) || has(self.pod.affinity) || has(self.pod.topologySpreadConstraints) \
         || has(self.pod.priorityClassName) || has(self.pod.env))",
        NO_POD
    ),
}

const OTHER_ACCOUNT: &str = "with mode ManagedStorage it has to be of the channel's account";
const NOT_IN_CHINA: &str = "AWS has no media storage of WebRTC in its regions in China: leave it Agent";

fn words(why: &str) -> String {
    format!("it is for agents, and with mode ManagedStorage there is none: {why}; leave it out")
}

/// Each field that is wrong, by name.
pub(crate) fn managed(errors: &mut Errors, spec: &KvsIngestSpec) {
    // Without `..`: of a new field somebody has to decide whether it is an agent's, and belongs into the table.
    let KvsIngestSpec {
        region,
        channel,
        stream,
        outputs: _,
        mode,
        deletion_policy: _,
        media: _,
        ice: _,
        buffering: _,
        suspend: _,
        service_account_name: _,
        credentials_secret_ref: _,
        ca_bundle_ref: _,
        role_arn: _,
        external_id: _,
        image: _,
        image_pull_policy: _,
        image_pull_secrets: _,
        resources: _,
        log_level: _,
        termination_grace_period_seconds: _,
        pod: _,
    } = spec;
    if *mode != Mode::ManagedStorage {
        return;
    }
    for field in AGENT_FIELDS.iter().filter(|field| (field.is_set)(spec)) {
        errors.add(format!("spec.{}", field.name), words(field.why));
    }
    // Without outputs it is said already.
    if stream.is_none() && !spec.outputs.is_empty() {
        errors.add("spec.stream", "with mode ManagedStorage AWS records into it: name one");
    }
    if region.starts_with("cn-") {
        errors.add("spec.mode", NOT_IN_CHINA);
    }
    let stream = stream.as_ref().and_then(|stream| stream.arn.as_deref());
    if let (Some(channel), Some(stream)) = (channel.arn.as_deref(), stream)
        && account(channel) != account(stream)
    {
        errors.add("spec.stream.arn", OTHER_ACCOUNT);
    }
}

/// The account of an ARN of KVS.
fn account(arn: &str) -> Option<&str> {
    arn.split(':').nth(4)
}

/// The same for the API server: each rule with its message and the field below `spec`.
#[cfg(feature = "crd")]
pub(crate) fn cel() -> impl Iterator<Item = (String, String, String)> {
    let fields = AGENT_FIELDS.iter().map(|field| (field.unset, words(field.why), field.name));
    let accounts = "!has(self.channel.arn) || !has(self.stream) || !has(self.stream.arn) \
                    || self.channel.arn.split(':')[4] == self.stream.arn.split(':')[4]";
    let more = [
        (accounts, OTHER_ACCOUNT.to_owned(), "stream"),
        ("!self.region.startsWith('cn-')", NOT_IN_CHINA.to_owned(), "mode"),
    ];
    fields.chain(more).map(|(rule, message, field)| {
        let rule = format!("!has(self.mode) || self.mode != 'ManagedStorage' || {rule}");
        (rule, message, format!(".{field}"))
    })
}
