//! `spec` of a `KvsIngest`.

use serde::{Deserialize, Serialize};

/// What a user wants: the media of one signaling channel in one stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
        namespaced
    )
)]
pub struct KvsIngestSpec {
    /// The AWS region of channel and stream, `eu-central-1`.
    pub region: String,
    /// The signaling channel on which the master publishes.
    pub channel: ChannelSpec,
    /// The stream in which its media is stored.
    pub stream: StreamSpec,
    /// Which media, and how.
    #[serde(default)]
    pub media: MediaSpec,
    /// How to reach the master.
    #[serde(default)]
    pub ice: IceSpec,
    /// What to keep while KVS does not take it.
    #[serde(default)]
    pub buffering: BufferingSpec,
    /// An IAM role to assume, `arn:aws:iam::ACCOUNT:role/NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_arn: Option<String>,
    /// The external id that the role's trust policy asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// How much the agent logs.
    #[serde(default)]
    pub log_level: LogLevel,
}

/// A signaling channel: exactly one of name and ARN.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub struct ChannelSpec {
    /// Its name in the region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its ARN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arn: Option<String>,
}

/// A stream: exactly one of name and ARN.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub struct StreamSpec {
    /// Its name in the region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its ARN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arn: Option<String>,
    /// Create it when it does not exist. Needs a name.
    #[serde(default)]
    pub create_if_missing: bool,
    /// Hours for which a created stream keeps its fragments, at least 1; default 24.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_hours: Option<u32>,
}

impl StreamSpec {
    /// [`StreamSpec::retention_hours`], or its default.
    #[must_use]
    pub fn retention_hours_or_default(&self) -> u32 {
        self.retention_hours.unwrap_or(24)
    }
}

/// Which media.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub struct MediaSpec {
    /// Video: H.264, stored as it comes.
    pub video: VideoSpec,
    /// Audio: Opus, stored as AAC-LC.
    pub audio: AudioSpec,
}

/// Video.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub struct VideoSpec {
    /// Ask the master for it.
    pub enabled: bool,
    /// The bit rate at which a browser is asked to start, instead of ramping up through smaller pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_bitrate_kbps: Option<u32>,
}

impl Default for VideoSpec {
    fn default() -> Self {
        Self { enabled: true, start_bitrate_kbps: None }
    }
}

/// Audio.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub struct AudioSpec {
    /// Ask the master for it.
    pub enabled: bool,
    /// Bit rate of the AAC.
    pub aac_bitrate_kbps: u32,
}

impl Default for AudioSpec {
    fn default() -> Self {
        Self { enabled: true, aac_bitrate_kbps: 64 }
    }
}

/// How to reach the master.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub struct IceSpec {
    /// Which candidates may be used.
    pub transport_policy: IceTransportPolicy,
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
    /// Memory for fragments that are not persisted yet; beyond it the oldest are dropped.
    #[serde(rename = "memoryMiB")]
    #[cfg_attr(feature = "crd", schemars(rename = "memoryMiB"))]
    pub memory_mib: u32,
}

impl Default for BufferingSpec {
    fn default() -> Self {
        Self { memory_mib: 64 }
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
