//! The words that operator, agent and users of kvs-ingest share: the `KvsIngest` object, the `AgentConfig` made of
//! it, and the agent's `/status` document.
#![forbid(unsafe_code)]

mod config;
mod connection_status;
mod data;
mod errors;
mod glob;
mod managed_rules;
mod manifest;
#[cfg(feature = "crd")]
mod object;
mod output;
mod output_rules;
#[cfg(feature = "crd")]
mod pattern;
pub mod pod;
mod pod_rules;
#[cfg(feature = "crd")]
mod pod_schema;
#[cfg(feature = "crd")]
mod policy;
mod quantity;
mod references;
#[allow(clippy::duplicated_attributes, reason = "print columns repeat `type_` and `priority`")]
mod spec;
mod status;
mod strict;
mod validate;

pub use self::config::{AgentConfig, ConfigError, OutputConfig, RoleConfig, RtmpConfig, StreamConfig};
pub use self::connection_status::{
    AttemptStatus, CandidatePairStatus, CandidateStatus, ConnectingStatus, IceServerStatus, SignalingStatus,
    StepStatus,
};
pub use self::data::{DataSpec, TagPiece};
pub use self::glob::glob;
pub use self::manifest::{KvsIngestManifest, ManifestError, Metadata};
#[cfg(feature = "crd")]
pub use self::object::{
    KvsIngestStatus, MAX_NAME, MediaStorageStatus, ResolvedChannel, ResolvedStream, annotations, condition,
    custom_resource_definition,
};
pub use self::output::{OutputSpec, RtmpSpec};
#[cfg(feature = "crd")]
pub use self::policy::{KvsIngestPolicy, KvsIngestPolicySpec, policy_definition};
pub use self::references::{CaBundleRef, CredentialsSecretRef, SecretKeyRef};
#[cfg(feature = "crd")]
pub use self::spec::KvsIngest;
pub use self::spec::{
    AudioCodec, AudioSpec, BufferingSpec, ChannelSpec, DeletionPolicy, IceSpec, IceTransportPolicy,
    KvsIngestSpec, LogLevel, MediaSpec, Mode, PortRange, SpoolSpec, StreamSpec, VideoCodec, VideoSpec,
};
pub use self::status::{
    AgentStatus, AudioStatus, DataStatus, InboundStatus, OutputState, OutputStatus, Phase, StreamStatus,
    TimeStatus, TrackState, VideoStatus,
};
pub use self::validate::FieldError;

/// `apiVersion` of `KvsIngest`.
pub const API_VERSION: &str = "kvs-ingest.dev/v1alpha1";
/// `kind` of `KvsIngest`.
pub const KIND: &str = "KvsIngest";
/// The environment variable in which an agent is given its [`AgentConfig`].
pub const CONFIG_ENV: &str = "KVS_INGEST_CONFIG";
