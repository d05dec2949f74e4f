//! `spec` of a `KvsIngest`.

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::data::DataSpec;
use crate::output::OutputSpec;
use crate::pod::{ImagePullPolicy, LocalObjectReference, PodSpec, ResourceRequirements};
use crate::quantity::Quantity;
use crate::references::{CaBundleRef, CredentialsSecretRef};

/// What a user wants: the media of one signaling channel in one stream, or sent live elsewhere, or both.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "crd", derive(kube::CustomResource, schemars::JsonSchema))]
#[cfg_attr(
    feature = "crd",
    kube(
        group = "kvs-ingest.dev",
        version = "v1alpha1",
        kind = "KvsIngest",
        plural = "kvsingests",
        shortname = "kvsi",
        category = "kvs",
        namespaced,
        status = "crate::KvsIngestStatus",
        selectable = ".spec.region",
        selectable = ".spec.channel.name",
        selectable = ".spec.stream.name",
        printcolumn(name = "Channel", type_ = "string", json_path = ".status.channel.name"),
        printcolumn(name = "Stream", type_ = "string", json_path = ".status.stream.name"),
        printcolumn(
            name = "Ready",
            type_ = "string",
            json_path = ".status.conditions[?(@.type=='Ready')].status"
        ),
        printcolumn(
            name = "Reason",
            type_ = "string",
            json_path = ".status.conditions[?(@.type=='Ready')].reason"
        ),
        printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
        printcolumn(
            name = "Media",
            type_ = "string",
            json_path = ".status.conditions[?(@.type=='MediaFlowing')].status",
            priority = 1
        ),
        printcolumn(name = "Region", type_ = "string", json_path = ".spec.region", priority = 1),
        printcolumn(name = "Image", type_ = "string", json_path = ".status.image", priority = 1),
        printcolumn(
            name = "Message",
            type_ = "string",
            json_path = ".status.conditions[?(@.type=='Ready')].message",
            priority = 1
        )
    )
)]
#[cfg_attr(
    feature = "crd",
    schemars(extend("x-kubernetes-validations" = [
        {"rule": "self.region == oldSelf.region", "message": "region is immutable", "fieldPath": ".region"},
        {
            "rule": "!has(self.channel.arn) || self.channel.arn.split(':')[3] == self.region",
            "message": "channel.arn is in another region than region",
            "fieldPath": ".channel.arn",
        },
        {
            "rule": "!has(self.stream) || !has(self.stream.arn) || self.stream.arn.split(':')[3] == self.region",
            "message": "stream.arn is in another region than region",
            "fieldPath": ".stream.arn",
        },
        {
            "rule": "!has(self.externalId) || has(self.roleArn)",
            "message": "externalId is used with roleArn only, which is not set",
            "fieldPath": ".externalId",
        },
        {
            "rule": "has(self.stream) || has(self.outputs) && size(self.outputs) > 0",
            "message": "stream is required where outputs names no output",
            "fieldPath": ".stream",
        },
        {
            "rule": "has(self.stream) || !has(oldSelf.stream)",
            "message": "a stream can be added, and not be taken away: make another object without one",
            "fieldPath": ".stream",
        },
        {
            "rule": "has(self.stream) || !has(self.media) || !has(self.media.data)",
            "message": "messages are stored with the fragments of the stream, and there is none",
            "fieldPath": ".media",
        },
        {
            "rule": "has(self.stream) || !has(self.buffering) || !has(self.buffering.spool)",
            "message": "the spool is for what goes to the stream, and there is none",
            "fieldPath": ".buffering",
        },
    ]))
)]
pub struct KvsIngestSpec {
    /// The AWS region of channel and stream, `eu-central-1`. Immutable.
    #[cfg_attr(feature = "crd", schemars(length(max = 32), regex(pattern = r"^[a-z]+(-[a-z]+)+-[0-9]+$")))]
    pub region: String,
    /// The signaling channel on which the master publishes.
    pub channel: ChannelSpec,
    /// The stream in which its media is stored. It may be left out where `outputs` names another output; later it can be
    /// added, and not be taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamSpec>,
    /// Where its media goes live, beside the stream or instead of it: four outputs at most. One that is down never disturbs
    /// another, or what is stored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        feature = "crd",
        schemars(
            length(max = 4),
            extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
        )
    )]
    pub outputs: Vec<OutputSpec>,
    /// Who records: an agent, or AWS itself. A change is followed at once: whoever recorded ends before the other begins.
    #[serde(default)]
    pub mode: Mode,
    /// What becomes of a channel or stream that the operator created for this object, or adopted, when it is deleted. What
    /// it found is never touched, and a stream that another object uses is kept.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// Which media, and how.
    #[serde(default)]
    pub media: MediaSpec,
    /// How to reach the master.
    #[serde(default)]
    pub ice: IceSpec,
    /// What to keep while KVS does not take it.
    #[serde(default)]
    pub buffering: BufferingSpec,
    /// Stop the agent, or AWS's recording, and keep everything else.
    #[serde(default)]
    pub suspend: bool,
    /// The service account of the agent's pod: IRSA and EKS Pod Identity give it an IAM role. Default: `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "crd",
        schemars(
            length(min = 1, max = 253),
            regex(pattern = crate::pattern::NAME)
        )
    )]
    pub service_account_name: Option<String>,
    /// AWS credentials in a Secret of this namespace, for clusters without IRSA and Pod Identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<CredentialsSecretRef>,
    /// Certificate authorities in a ConfigMap of this namespace, trusted beside the public ones: of a proxy that looks into
    /// TLS, of an emulator. Default: that of the operator's release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle_ref: Option<CaBundleRef>,
    /// An IAM role for the agent to assume, `arn:aws:iam::ACCOUNT:role/NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "crd",
        schemars(length(max = 2048), regex(pattern = r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$"))
    )]
    pub role_arn: Option<String>,
    /// The external id that the role's trust policy asks for. Default, in a cluster: `kvs-ingest/CLUSTER/NAMESPACE`. The
    /// operator refuses others, but for those that its administrator permits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "crd",
        schemars(length(min = 2, max = 1224), regex(pattern = r"^[A-Za-z0-9_+=,.@:/-]+$"))
    )]
    pub external_id: Option<String>,
    /// The agent's image. Default: that of the operator's release, and others only as far as its administrator permits them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 1024), regex(pattern = r"^\S+$")))]
    pub image: Option<String>,
    /// When it is pulled. Default: as Kubernetes does, by the tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// Secrets of this namespace to pull it with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "crd", schemars(length(max = 16)))]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// CPU and memory of the agent. Default: those of the operator's configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// How much the agent logs.
    #[serde(default)]
    pub log_level: LogLevel,
    /// How long the agent has when it is stopped: half of it, 15 s at most, to deliver its last fragments, and ten seconds to
    /// write into the spool, if there is one, what was not delivered. Default: 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(range(min = 5, max = 3600)))]
    pub termination_grace_period_seconds: Option<u32>,
    /// What else its pod has.
    #[serde(default)]
    pub pod: PodSpec,
}

/// A signaling channel: exactly one of name and ARN. Immutable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[cfg_attr(
    feature = "crd",
    schemars(extend("x-kubernetes-validations" = [
        {"rule": "has(self.name) != has(self.arn)", "message": "exactly one of name and arn must be set"},
        {
            "rule": "!self.createIfMissing || has(self.name)",
            "message": "a channel can only be created by name, not by arn",
            "fieldPath": ".createIfMissing",
        },
        {
            "rule": "has(self.name) == has(oldSelf.name) && (!has(self.name) || self.name == oldSelf.name)",
            "message": "name is immutable",
            "fieldPath": ".name",
        },
        {
            "rule": "has(self.arn) == has(oldSelf.arn) && (!has(self.arn) || self.arn == oldSelf.arn)",
            "message": "arn is immutable",
            "fieldPath": ".arn",
        },
    ]))
)]
pub struct ChannelSpec {
    /// Its name in the region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 256), regex(pattern = r"^[a-zA-Z0-9_.-]+$")))]
    pub name: Option<String>,
    /// Its ARN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "crd",
        schemars(
            length(max = 1024),
            regex(
                pattern = r"^arn:aws[a-z-]*:kinesisvideo:[a-z0-9-]+:[0-9]{12}:channel/[a-zA-Z0-9_.-]+/[0-9]+$"
            )
        )
    )]
    pub arn: Option<String>,
    /// Create it when it does not exist, and again when it is deleted meanwhile. Needs a name.
    #[serde(default)]
    pub create_if_missing: bool,
    /// Take a channel that exists as this object's own: tag it, and with `deletionPolicy: Delete` delete it with the
    /// object. Refused while its tags name another object that lives, or another cluster.
    #[serde(default)]
    pub adopt: bool,
}

/// A stream: exactly one of name and ARN. Immutable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[cfg_attr(
    feature = "crd",
    schemars(extend("x-kubernetes-validations" = [
        {"rule": "has(self.name) != has(self.arn)", "message": "exactly one of name and arn must be set"},
        {
            "rule": "!self.createIfMissing || has(self.name)",
            "message": "a stream can only be created by name, not by arn",
            "fieldPath": ".createIfMissing",
        },
        {
            "rule": "has(self.name) == has(oldSelf.name) && (!has(self.name) || self.name == oldSelf.name)",
            "message": "name is immutable",
            "fieldPath": ".name",
        },
        {
            "rule": "has(self.arn) == has(oldSelf.arn) && (!has(self.arn) || self.arn == oldSelf.arn)",
            "message": "arn is immutable",
            "fieldPath": ".arn",
        },
    ]))
)]
pub struct StreamSpec {
    /// Its name in the region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 256), regex(pattern = r"^[a-zA-Z0-9_.-]+$")))]
    pub name: Option<String>,
    /// Its ARN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "crd",
        schemars(
            length(max = 1024),
            regex(
                pattern = r"^arn:aws[a-z-]*:kinesisvideo:[a-z0-9-]+:[0-9]{12}:stream/[a-zA-Z0-9_.-]+/[0-9]+$"
            )
        )
    )]
    pub arn: Option<String>,
    /// Create it when it does not exist, and again when it is deleted meanwhile. Needs a name.
    #[serde(default)]
    pub create_if_missing: bool,
    /// Take a stream that exists as this object's own: tag it, raise its retention, and with `deletionPolicy: Delete`
    /// delete it with the object, with all media in it. Refused while its tags name another object that lives, or another
    /// cluster.
    #[serde(default)]
    pub adopt: bool,
    /// Hours for which the stream keeps its fragments. A stream that is created without gets 24. That of a stream that is
    /// this object's own (created for it, or adopted) is raised to this; it is never lowered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(range(min = 1, max = 87_600)))]
    pub retention_hours: Option<u32>,
    /// The KMS key of a stream that is created: key id, key ARN, alias or alias ARN. Default: that of Kinesis Video
    /// Streams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 2048)))]
    pub kms_key_id: Option<String>,
    /// Tags of a stream that is created.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(
        feature = "crd",
        schemars(extend("maxProperties" = 40, "x-kubernetes-validations" = [{
            "rule": "self.all(key, size(key) <= 128 && !key.startsWith('aws:') && !key.startsWith('kvs-ingest.dev/') && size(self[key]) <= 256)",
            "message": "a tag has a key of at most 128 characters that does not start with aws: or kvs-ingest.dev/, \
                        and a value of at most 256",
        }]))
    )]
    pub tags: BTreeMap<String, String>,
}

impl KvsIngestSpec {
    /// [`KvsIngestSpec::termination_grace_period_seconds`] unless it is set.
    pub const TERMINATION_GRACE_PERIOD_SECONDS: u32 = 30;
    /// What waits in each of the outputs at most, MiB.
    pub const OUTPUT_MIB: u32 = 16;

    /// What the agent needs beside what [`BufferingSpec::memory_mib`] says, MiB.
    #[must_use]
    pub fn margin_mib(&self) -> u32 {
        let outputs = u32::try_from(self.outputs.len()).unwrap_or(u32::MAX);
        BufferingSpec::MARGIN_MIB.saturating_add(outputs.saturating_mul(Self::OUTPUT_MIB))
    }

    /// The least memory limit that an agent can live with, MiB.
    #[must_use]
    pub fn needed_mib(&self) -> u32 {
        self.buffering.memory_mib.saturating_add(self.margin_mib())
    }

    /// Whether a container whose memory is limited to `limit`, a quantity of Kubernetes, can hold what is to be kept. What is no
    /// quantity is not judged.
    #[must_use]
    pub fn fits(&self, limit: &str) -> bool {
        limit.parse::<Quantity>().map_or(true, |limit| limit >= Quantity::of_mebibytes(self.needed_mib()))
    }
}

impl StreamSpec {
    /// [`StreamSpec::retention_hours`], or its default.
    #[must_use]
    pub fn retention_hours_or_default(&self) -> u32 {
        self.retention_hours.unwrap_or(24)
    }
}

/// Who records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum Mode {
    /// An agent joins the channel as a viewer: masters and viewers stay as they are.
    #[default]
    Agent,
    /// AWS (WebRTC ingestion): the operator maps the channel to the stream and joins the storage session for a master that
    /// does not; no agent runs. Viewers get media from the session alone, and a master has to send H.264 and Opus. The
    /// fields of agents have to stay unset, and channel and stream are of the operator's own account.
    ManagedStorage,
}

/// What becomes of created things.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum DeletionPolicy {
    /// They stay.
    #[default]
    Retain,
    /// They are deleted, with all media in them.
    Delete,
}

/// Which media.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[cfg_attr(
    feature = "crd",
    schemars(extend("x-kubernetes-validations" = [{
        "rule": "!has(self.video) || !has(self.audio) || self.video.enabled || self.audio.enabled",
        "message": "video and audio are both disabled: nothing would be stored",
    }]))
)]
pub struct MediaSpec {
    /// Video: H.264 or H.265, stored as it comes.
    pub video: VideoSpec,
    /// Audio: Opus or G.711, stored as AAC-LC.
    pub audio: AudioSpec,
    /// Messages over data channels, stored as metadata of fragments. Default: data channels are not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<DataSpec>,
}

/// Video.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub struct VideoSpec {
    /// Ask the master for it.
    pub enabled: bool,
    /// What is offered to the master, the most wanted first; it sends one of them. Default: `[H264]`.
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 2)))]
    pub codecs: Vec<VideoCodec>,
    /// The bit rate at which a browser is asked to start, instead of ramping up through smaller pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(range(min = 50, max = 20_000)))]
    pub start_bitrate_kbps: Option<u32>,
}

impl Default for VideoSpec {
    fn default() -> Self {
        Self { enabled: true, codecs: vec![VideoCodec::H264], start_bitrate_kbps: None }
    }
}

/// A video codec that can be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum VideoCodec {
    /// Stored as it comes (`avc1`).
    H264,
    /// Stored as it comes (`hvc1`). AWS plays such streams by HLS and DASH, and takes no images from them; few browsers can
    /// send it.
    H265,
}

/// Audio.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub struct AudioSpec {
    /// Ask the master for it.
    pub enabled: bool,
    /// What is offered to the master, the most wanted first; it sends one of them. Default: `[Opus]`.
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 3)))]
    pub codecs: Vec<AudioCodec>,
    /// Bit rate of the AAC. Default: 64.
    #[cfg_attr(feature = "crd", schemars(range(min = 16, max = 320)))]
    pub aac_bitrate_kbps: u32,
}

impl Default for AudioSpec {
    fn default() -> Self {
        Self { enabled: true, codecs: vec![AudioCodec::Opus], aac_bitrate_kbps: 64 }
    }
}

/// An audio codec that can be received; all are stored as AAC-LC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum AudioCodec {
    /// RFC 7587.
    Opus,
    /// G.711 with the µ-law (RFC 3551): telephones, and masters without Opus.
    #[serde(rename = "PCMU")]
    Pcmu,
    /// G.711 with the A-law (RFC 3551).
    #[serde(rename = "PCMA")]
    Pcma,
}

/// How to reach the master.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub struct IceSpec {
    /// Which candidates may be used.
    pub transport_policy: IceTransportPolicy,
    /// Networks in which no master is, `10.96.0.0/12`: the agent sends nothing to a candidate in them, also not through a
    /// TURN server. The pods and Services of the cluster, say. Link-local addresses, this machine and the metadata services
    /// of clouds are always denied.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        feature = "crd",
        schemars(
            length(max = 64),
            inner(length(max = 43)),
            extend("x-kubernetes-validations" = [{
                "rule": "self.all(network, isCIDR(network))",
                "message": "each is a network such as 10.96.0.0/12 or fd00:10:96::/108",
            }])
        )
    )]
    pub deny_cidrs: Vec<String>,
    /// The UDP ports on which the agent receives media, for firewalls. Default: any that is free.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port_range: Option<PortRange>,
}

/// UDP ports, the first and the last included. A connection takes one on each address of the pod, and is made before the one
/// that it replaces ends: four at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(
    feature = "crd",
    derive(schemars::JsonSchema),
    schemars(extend("x-kubernetes-validations" = [{
        "rule": "self.max - self.min >= 3",
        "message": "min to max must be four ports at least",
    }]))
)]
pub struct PortRange {
    /// The first port. Below 1024 the agent may not listen.
    #[cfg_attr(feature = "crd", schemars(range(min = 1024, max = 65_535)))]
    pub min: u16,
    /// The last port.
    #[cfg_attr(feature = "crd", schemars(range(min = 1024, max = 65_535)))]
    pub max: u16,
}

impl PortRange {
    /// What is wrong with it.
    ///
    /// # Errors
    /// In words.
    pub fn check(self) -> Result<(), String> {
        let Self { min, max } = self;
        if min < 1024 {
            return Err(format!("min {min} is below 1024, where the agent may not listen"));
        }
        if max.checked_sub(min).is_none_or(|more| more < 3) {
            return Err(format!("{min} to {max} are not four ports at least"));
        }
        Ok(())
    }
}

impl IceSpec {
    /// [`IceSpec::deny_cidrs`], read. `Err` is the first that is none.
    ///
    /// # Errors
    /// Its place in the list, and what is wrong with it.
    pub fn denied(&self) -> Result<Vec<IpNet>, (usize, String)> {
        let read = |(index, text): (usize, &String)| {
            let wrong = |what: &str| (index, format!("{text:?} {what}"));
            let network: IpNet = text
                .parse()
                .map_err(|_| wrong("is not a network such as 10.96.0.0/12 or fd00:10:96::/108"))?;
            if matches!(network, IpNet::V6(v6) if v6.addr().to_ipv4_mapped().is_some()) {
                return Err(wrong("is a network of IPv4: write it as one, 10.96.0.0/12"));
            }
            Ok(network.trunc())
        };
        self.deny_cidrs.iter().enumerate().map(read).collect()
    }
}

/// `RTCIceTransportPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum IceTransportPolicy {
    /// Any path.
    #[default]
    All,
    /// Through a TURN server only.
    Relay,
}

/// What to keep while KVS does not take it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub struct BufferingSpec {
    /// Memory for fragments that are not persisted yet; beyond it the oldest are dropped. Default: 64.
    #[serde(rename = "memoryMiB")]
    #[cfg_attr(feature = "crd", schemars(rename = "memoryMiB", range(min = 16, max = 10_240)))]
    pub memory_mib: u32,
    /// A folder on disk for what memory does not hold; beyond it the oldest fragments are dropped. It outlives the
    /// agent's container, and ends with its pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spool: Option<SpoolSpec>,
}

impl BufferingSpec {
    /// What the agent needs beside [`BufferingSpec::memory_mib`], MiB: itself, GStreamer, what is on its way from the network
    /// and into the pipeline. All of these are bounded.
    pub const MARGIN_MIB: u32 = 128;
}

impl Default for BufferingSpec {
    fn default() -> Self {
        Self { memory_mib: 64, spool: None }
    }
}

/// Fragments on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub struct SpoolSpec {
    /// Disk for fragments that are not persisted yet: 512 are half an hour at 2 Mbit/s.
    #[serde(rename = "sizeMiB")]
    #[cfg_attr(feature = "crd", schemars(rename = "sizeMiB", range(min = 16, max = 1_048_576)))]
    pub size_mib: u32,
}

impl SpoolSpec {
    /// In bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        u64::from(self.size_mib) << 20
    }
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum LogLevel {
    /// Errors only.
    Error,
    /// And what may become one.
    Warn,
    /// And transitions.
    #[default]
    Info,
    /// And what led to them.
    Debug,
    /// And every packet.
    Trace,
}

impl LogLevel {
    /// `error` to `trace`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}
