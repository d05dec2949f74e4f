//! The words that operator, agent and users of kvs-ingest share: the `KvsIngest` object, the `AgentConfig` made of
//! it, and the agent's `/status` document.
#![forbid(unsafe_code)]

mod config;
mod manifest;
mod spec;
mod status;
mod strict;
mod validate;

pub use self::config::{AgentConfig, ConfigError, RoleConfig, StreamConfig};
pub use self::manifest::{KvsIngestManifest, ManifestError, Metadata};
#[cfg(feature = "crd")]
pub use self::spec::KvsIngest;
pub use self::spec::{
    AudioSpec, BufferingSpec, ChannelSpec, IceSpec, IceTransportPolicy, KvsIngestSpec, LogLevel, MediaSpec,
    StreamSpec, VideoSpec,
};
pub use self::status::{AgentStatus, AudioStatus, Phase, StreamStatus, VideoStatus};
pub use self::validate::FieldError;

/// `apiVersion` of `KvsIngest`.
pub const API_VERSION: &str = "kvs-ingest.dev/v1alpha1";
/// `kind` of `KvsIngest`.
pub const KIND: &str = "KvsIngest";
/// The environment variable in which an agent is given its [`AgentConfig`].
pub const CONFIG_ENV: &str = "KVS_INGEST_CONFIG";
