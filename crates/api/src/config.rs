//! [`AgentConfig`]: the resolved part of a `KvsIngest` that the agent needs, and nothing of the operator's own.

use serde::{Deserialize, Serialize};

use crate::spec::{BufferingSpec, IceSpec, LogLevel, MediaSpec};

/// What one agent does. The operator hands it over as canonical JSON in `KVS_INGEST_CONFIG`, so that a change of
/// fields that are the operator's own never restarts media.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgentConfig {
    /// Name of the `KvsIngest`, for logs and client ids.
    pub name: String,
    /// AWS region.
    pub region: String,
    /// ARN of the signaling channel.
    pub channel_arn: String,
    /// The stream.
    pub stream: StreamConfig,
    /// Which media.
    #[serde(default)]
    pub media: MediaSpec,
    /// How to reach the master.
    #[serde(default)]
    pub ice: IceSpec,
    /// What to keep.
    #[serde(default)]
    pub buffering: BufferingSpec,
    /// A role to assume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleConfig>,
    /// How much is logged.
    #[serde(default)]
    pub log_level: LogLevel,
}

/// The stream, resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StreamConfig {
    /// Its name: PutMedia takes it by name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
}

/// A role to assume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RoleConfig {
    /// `arn:aws:iam::ACCOUNT:role/NAME`
    pub arn: String,
    /// External id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
}

/// A configuration that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("KVS_INGEST_CONFIG: {0}")]
pub struct ConfigError(#[from] serde_json::Error);

impl AgentConfig {
    /// Reads what the operator wrote.
    ///
    /// # Errors
    /// [`ConfigError`] with line, column and field.
    pub fn from_json(text: &str) -> Result<Self, ConfigError> {
        Ok(serde_json::from_str(text)?)
    }

    /// Canonical JSON: equal configurations give equal bytes, because the order of fields is that of the struct.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Strings, numbers and enums: this cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_comes_back_as_it_went_and_unknown_fields_are_named() {
        let config = AgentConfig {
            name: "front-door".to_owned(),
            region: "eu-central-1".to_owned(),
            channel_arn: "arn:aws:kinesisvideo:eu-central-1:111122223333:channel/c/0123456789012".to_owned(),
            stream: StreamConfig {
                name: "s".to_owned(),
                arn: "arn:aws:kinesisvideo:eu-central-1:111122223333:stream/s/0123456789012".to_owned(),
            },
            media: MediaSpec::default(),
            ice: IceSpec::default(),
            buffering: BufferingSpec::default(),
            role: Some(RoleConfig { arn: "arn:aws:iam::111122223333:role/r".to_owned(), external_id: None }),
            log_level: LogLevel::Debug,
        };
        let json = config.to_json();
        assert_eq!(AgentConfig::from_json(&json).unwrap(), config);
        assert_eq!(AgentConfig::from_json(&json).unwrap().to_json(), json);
        let error = AgentConfig::from_json(&json.replace("channelArn", "chanelArn")).unwrap_err().to_string();
        assert!(error.contains("KVS_INGEST_CONFIG") && error.contains("chanelArn"), "{error}");
    }
}
