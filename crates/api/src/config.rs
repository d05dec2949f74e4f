//! [`AgentConfig`]: the resolved part of a `KvsIngest` that the agent needs, and nothing of the operator's own.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::output::{OutputSpec, RtmpSpec};
use crate::references::SecretKeyRef;
use crate::spec::{BufferingSpec, ChannelSpec, IceSpec, KvsIngestSpec, LogLevel, MediaSpec, StreamSpec};
use crate::strict;
use crate::validate::FieldError;

/// What one agent does. The operator hands it over as canonical JSON in `KVS_INGEST_CONFIG`, so that a change of
/// fields that are the operator's own never restarts media.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentConfig {
    /// Name of the `KvsIngest`, for logs and client ids.
    pub name: String,
    /// AWS region.
    pub region: String,
    /// ARN of the signaling channel.
    pub channel_arn: String,
    /// The stream; without one, media goes to `outputs` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamConfig>,
    /// Where media goes live.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<OutputConfig>,
    /// Which media.
    #[serde(default)]
    pub media: MediaSpec,
    /// How to reach the master.
    #[serde(default)]
    pub ice: IceSpec,
    /// What to keep.
    #[serde(default)]
    pub buffering: BufferingSpec,
    /// Folder of the spool, where the operator mounts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spool_dir: Option<String>,
    /// A role to assume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleConfig>,
    /// How much is logged.
    #[serde(default)]
    pub log_level: LogLevel,
    /// How long it has from SIGTERM to SIGKILL, unless that is the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub termination_grace_period_seconds: Option<u32>,
}

/// The stream, resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamConfig {
    /// Its name: PutMedia takes it by name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
}

/// An output, with files in the place of Secrets: they are read at each connection, so that what is changed there is used
/// without a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputConfig {
    /// A DNS label: of metrics, logs and `/status`.
    pub name: String,
    /// As [`OutputSpec::required`].
    #[serde(default)]
    pub required: bool,
    /// The only kind so far.
    pub rtmp: RtmpConfig,
}

/// Where RTMP goes: exactly one of `url` and `url_file`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RtmpConfig {
    /// As [`RtmpSpec::url`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// A file that holds such a URL, with the stream key at its end or without. Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_file: Option<PathBuf>,
    /// A file that holds the stream key: what follows the application in the URL. Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_key_file: Option<PathBuf>,
    /// Certificate authorities in PEM, beside the public ones. `None`: those that are trusted for AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<PathBuf>,
    /// As [`RtmpSpec::silence`].
    pub silence: bool,
}

impl OutputConfig {
    /// As the rules of the spec know it: what a file holds is not looked at.
    fn as_spec(&self) -> OutputSpec {
        // Without `..`: a new field must not be forgotten here.
        let Self { name, required, rtmp } = self;
        let RtmpConfig { url, url_file, stream_key_file, ca_bundle: _, silence } = rtmp;
        let secret = |file: &Option<PathBuf>| {
            let word = || "file".to_owned();
            file.as_ref().map(|_| SecretKeyRef { name: word(), key: word() })
        };
        OutputSpec {
            name: name.clone(),
            required: *required,
            rtmp: Some(RtmpSpec {
                url: url.clone(),
                url_secret_ref: secret(url_file),
                stream_key_secret_ref: secret(stream_key_file),
                ca_bundle_ref: None,
                silence: *silence,
            }),
        }
    }
}

/// A role to assume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoleConfig {
    /// `arn:aws:iam::ACCOUNT:role/NAME`
    pub arn: String,
    /// External id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Not JSON. The text names line and column.
    #[error("KVS_INGEST_CONFIG: {0}")]
    Syntax(#[from] serde_json::Error),
    /// Unknown or missing fields, values of another type, broken rules.
    #[error("KVS_INGEST_CONFIG: {}", crate::validate::list(.0))]
    Invalid(Vec<FieldError>),
}

impl AgentConfig {
    /// Reads what the operator wrote. Unknown fields are refused: an agent that is older than its operator must not
    /// quietly leave out what was asked for.
    ///
    /// # Errors
    /// [`ConfigError`] with line and column, or every field that is wrong.
    pub fn from_json(text: &str) -> Result<Self, ConfigError> {
        let config: Self =
            strict::from_value(serde_json::from_str(text)?, "").map_err(ConfigError::Invalid)?;
        config.validate().map_err(ConfigError::Invalid)?;
        Ok(config)
    }

    /// The rules of the spec, under the names that the fields have here.
    fn validate(&self) -> Result<(), Vec<FieldError>> {
        // Without `..`: a new field must not be forgotten here.
        let Self {
            name: _,
            region,
            channel_arn,
            stream,
            outputs,
            media,
            ice,
            buffering,
            spool_dir,
            role,
            log_level,
            termination_grace_period_seconds,
        } = self;
        let spec = KvsIngestSpec {
            region: region.clone(),
            channel: ChannelSpec { arn: Some(channel_arn.clone()), ..ChannelSpec::default() },
            stream: stream
                .as_ref()
                .map(|stream| StreamSpec { arn: Some(stream.arn.clone()), ..StreamSpec::default() }),
            outputs: outputs.iter().map(OutputConfig::as_spec).collect(),
            media: media.clone(),
            ice: ice.clone(),
            buffering: buffering.clone(),
            role_arn: role.as_ref().map(|role| role.arn.clone()),
            external_id: role.as_ref().and_then(|role| role.external_id.clone()),
            log_level: *log_level,
            termination_grace_period_seconds: *termination_grace_period_seconds,
            ..KvsIngestSpec::default()
        };
        let mut errors = spec.validate().err().unwrap_or_default();
        for error in &mut errors {
            let path = match error.path.as_str() {
                "spec.channel.arn" => "channelArn",
                "spec.roleArn" => "role.arn",
                "spec.externalId" => "role.externalId",
                other => other.strip_prefix("spec.").unwrap_or(other),
            };
            error.path = path.to_owned();
        }
        if let Some(stream) = stream
            && stream.arn.split('/').nth(1).is_some_and(|name| name != stream.name)
        {
            let message = format!("{:?} is not the name in stream.arn", stream.name);
            errors.push(FieldError { path: "stream.name".to_owned(), message });
        }
        if spool_dir.is_some() != buffering.spool.is_some() {
            let message = "it goes with buffering.spool, and that with it".to_owned();
            errors.push(FieldError { path: "spoolDir".to_owned(), message });
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
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
    use crate::spec::SpoolSpec;

    #[test]
    fn json_comes_back_as_it_went_and_unknown_fields_are_named() {
        let config = AgentConfig {
            name: "front-door".to_owned(),
            region: "eu-central-1".to_owned(),
            channel_arn: "arn:aws:kinesisvideo:eu-central-1:111122223333:channel/c/0123456789012".to_owned(),
            stream: Some(StreamConfig {
                name: "s".to_owned(),
                arn: "arn:aws:kinesisvideo:eu-central-1:111122223333:stream/s/0123456789012".to_owned(),
            }),
            outputs: vec![OutputConfig {
                name: "ivs".to_owned(),
                required: true,
                rtmp: RtmpConfig {
                    url: Some("rtmps://ingest.example/app/".to_owned()),
                    url_file: None,
                    stream_key_file: Some("/secret/key".into()),
                    ca_bundle: None,
                    silence: true,
                },
            }],
            media: MediaSpec::default(),
            ice: IceSpec::default(),
            buffering: BufferingSpec { spool: Some(SpoolSpec { size_mib: 512 }), ..BufferingSpec::default() },
            spool_dir: Some("/spool".to_owned()),
            role: Some(RoleConfig { arn: "arn:aws:iam::111122223333:role/r".to_owned(), external_id: None }),
            log_level: LogLevel::Debug,
            termination_grace_period_seconds: Some(60),
        };
        let json = config.to_json();
        assert_eq!(AgentConfig::from_json(&json).unwrap(), config);
        assert_eq!(AgentConfig::from_json(&json).unwrap().to_json(), json);
        for (from, to, words) in [
            (
                "channelArn",
                "chanelArn",
                "KVS_INGEST_CONFIG: chanelArn: unknown field; did you mean `channelArn`?",
            ),
            (
                r#""region":"eu-central-1""#,
                r#""region":"eu-west-1""#,
                "channelArn: it is in region eu-central-1",
            ),
            (r#""name":"s""#, r#""name":"t""#, r#"stream.name: "t" is not the name in stream.arn"#),
            ("role/r", "r", "role.arn: "),
            (r#"Seconds":60"#, r#"Seconds":1"#, "terminationGracePeriodSeconds: 1 is not between"),
            (r#""memoryMiB":64"#, r#""memoryMiB":1"#, "buffering.memoryMiB: 1 is not between"),
            (r#""sizeMiB":512"#, r#""sizeMiB":1"#, "buffering.spool.sizeMiB: 1 is not between"),
            (r#""spoolDir":"/spool","#, "", "spoolDir: it goes with buffering.spool"),
            (r#""name":"ivs""#, r#""name":"IVS""#, "outputs[0].name: "),
            (r#","streamKeyFile":"/secret/key""#, "", "outputs[0].rtmp.url: without streamKeySecretRef"),
            ("streamKeyFile", "streamKey", "outputs[0].rtmp.streamKey: unknown field"),
            (r#""url":"rtmps://ingest.example/app/","#, "", "outputs[0].rtmp: exactly one of url"),
            ("}}", "}", "line 1"),
        ] {
            let text = json.replacen(from, to, 1);
            assert_ne!(text, json, "{from}");
            let error = AgentConfig::from_json(&text).unwrap_err().to_string();
            assert!(error.contains(words), "{error:?} does not say {words:?}");
        }
    }
}
