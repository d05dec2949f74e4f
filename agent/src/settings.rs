//! What this process does, from a manifest or from the operator's configuration.

use crate::output_files::{OutputFileError, OutputFiles};
use ipnet::IpNet;
use kvs::{ChannelId, NewStream, StreamId, StreamName};
use kvs_aws::{AssumeRole, AwsContext, ContextError};
use kvs_ingest_api::{
    AgentConfig, BufferingSpec, CONFIG_ENV, IceSpec, IceTransportPolicy, KvsIngestManifest, KvsIngestSpec,
    LogLevel, MediaSpec, Mode, OutputConfig, PortRange, StreamConfig, StreamSpec,
};
use kvs_media::{AudioCodec, VideoCodec};
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// Everything that was decided before the start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the `KvsIngest`.
    pub name: String,
    pub region: String,
    /// The channel to join.
    pub channel: ChannelId,
    /// Create the channel when it is missing.
    pub create_channel: bool,
    /// The stream to store in, if there is one.
    pub stream: Option<StreamSettings>,
    /// Where media goes live.
    pub outputs: Vec<OutputConfig>,
    pub media: MediaSpec,
    /// Relayed candidates only (`iceTransportPolicy` of WebRTC).
    pub relay_only: bool,
    /// Networks of which no candidate is used.
    pub denied: Vec<IpNet>,
    /// UDP ports to receive media on; `None`: any.
    pub ports: Option<PortRange>,
    /// What to keep while KVS does not take it.
    pub buffering: BufferingSpec,
    /// Where the spool is, if there is one.
    pub spool_dir: Option<PathBuf>,
    /// A role to assume: ARN and external id.
    pub role: Option<(String, Option<String>)>,
    /// How much is logged.
    pub log_level: LogLevel,
    /// From SIGTERM to SIGKILL.
    pub grace: Duration,
}

/// A stream to store in.
#[derive(Clone, Debug)]
pub struct StreamSettings {
    pub id: StreamId,
    /// Create it like this when it is missing. `None`: never.
    pub create: Option<NewStream>,
    /// The operator resolved it: it is not looked up again (nor may it be).
    pub resolved: Option<StreamName>,
}

/// Why there are no settings. None of these heals by itself.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// Neither a manifest nor a configuration.
    #[error(
        "nothing to do: give a manifest with --ingest FILE, or an agent configuration in {CONFIG_ENV} (the \
         operator does that)"
    )]
    Missing,
    /// Both a manifest and a configuration.
    #[error("both --ingest and {CONFIG_ENV} are given; one of them must go")]
    Both,
    /// The file cannot be read.
    #[error("cannot read the manifest {path}: {error}")]
    Read { path: PathBuf, error: std::io::Error },
    /// The manifest is invalid.
    #[error("manifest {path}: {error}")]
    Manifest { path: PathBuf, error: kvs_ingest_api::ManifestError },
    /// The configuration is invalid.
    #[error(transparent)]
    Config(#[from] kvs_ingest_api::ConfigError),
    /// It is not for an agent to record.
    #[error(
        "spec.mode is ManagedStorage: AWS records by itself, and no agent is to run; leave it out, or say Agent"
    )]
    ManagedStorage,
    /// There is a size, and no folder.
    #[error("spec.buffering.spool needs a folder: --spool-dir FOLDER")]
    NoSpoolFolder,
    /// There is a folder, and no size.
    #[error("--spool-dir needs a size: spec.buffering.spool: {{sizeMiB: 512}}")]
    NoSpoolSize,
    /// A name or ARN is invalid.
    #[error("{field}: {error}")]
    Id {
        /// Path in the manifest or the configuration, `spec.channel.name`.
        field: &'static str,
        error: kvs::InvalidId,
    },
    /// What is secret of an output is not given as it should be.
    #[error(transparent)]
    Output(#[from] OutputFileError),
    /// A network is none.
    #[error("{field}.denyCidrs[{index}]: {error}")]
    Network {
        /// Path in the manifest or the configuration, `spec.ice`.
        field: &'static str,
        /// Place in the list.
        index: usize,
        error: String,
    },
    /// Ports are no range.
    #[error("{field}.portRange: {wrong}")]
    Ports {
        /// Path in the manifest or the configuration, `spec.ice`.
        field: &'static str,
        wrong: String,
    },
    /// There is no AWS context.
    #[error("AWS: {0}")]
    Aws(#[from] ContextError),
}

impl Settings {
    /// From the file of `--ingest`, with the files of its outputs, else from the text of `KVS_INGEST_CONFIG`.
    ///
    /// # Errors
    ///
    /// [`SettingsError`], naming file and field.
    pub fn load(
        manifest: Option<&Path>,
        files: &OutputFiles,
        config: Option<&str>,
    ) -> Result<Self, SettingsError> {
        match (manifest, config) {
            (Some(_), Some(_)) => Err(SettingsError::Both),
            (None, None) => Err(SettingsError::Missing),
            (Some(path), None) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| SettingsError::Read { path: path.to_owned(), error })?;
                let manifest = KvsIngestManifest::from_yaml(&text)
                    .map_err(|error| SettingsError::Manifest { path: path.to_owned(), error })?;
                Self::from_manifest(manifest, files)
            }
            (None, Some(text)) => {
                files.must_be_none()?;
                Self::from_config(AgentConfig::from_json(text)?)
            }
        }
    }

    fn from_manifest(manifest: KvsIngestManifest, files: &OutputFiles) -> Result<Self, SettingsError> {
        let spec = manifest.spec;
        if spec.mode == Mode::ManagedStorage {
            return Err(SettingsError::ManagedStorage);
        }
        let channel = match (spec.channel.name, spec.channel.arn) {
            (_, Some(arn)) => ChannelId::Arn(id("spec.channel.arn", &arn)?),
            (name, None) => ChannelId::Name(id("spec.channel.name", &name.unwrap_or_default())?),
        };
        Ok(Self {
            name: manifest.metadata.name,
            region: spec.region,
            channel,
            create_channel: spec.channel.create_if_missing,
            stream: spec.stream.map(StreamSettings::declared).transpose()?,
            outputs: files.outputs(&spec.outputs)?,
            media: spec.media,
            relay_only: spec.ice.transport_policy == IceTransportPolicy::Relay,
            denied: denied("spec.ice", &spec.ice)?,
            ports: ports("spec.ice", &spec.ice)?,
            buffering: spec.buffering,
            spool_dir: None,
            role: spec.role_arn.map(|arn| (arn, spec.external_id)),
            log_level: spec.log_level,
            grace: grace(spec.termination_grace_period_seconds),
        })
    }

    fn from_config(config: AgentConfig) -> Result<Self, SettingsError> {
        let AgentConfig {
            name,
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
        } = config;
        Ok(Self {
            name,
            region,
            channel: ChannelId::Arn(id("channelArn", &channel_arn)?),
            create_channel: false,
            stream: stream.map(StreamSettings::resolved).transpose()?,
            outputs,
            media,
            relay_only: ice.transport_policy == IceTransportPolicy::Relay,
            denied: denied("ice", &ice)?,
            ports: ports("ice", &ice)?,
            buffering,
            spool_dir: spool_dir.map(PathBuf::from),
            role: role.map(|role| (role.arn, role.external_id)),
            log_level,
            grace: grace(termination_grace_period_seconds),
        })
    }

    /// Takes the folder of `--spool-dir`, which goes before that of the configuration.
    ///
    /// # Errors
    ///
    /// A folder without a size, or a size without a folder.
    pub fn with_spool_dir(mut self, folder: Option<&Path>) -> Result<Self, SettingsError> {
        self.spool_dir = folder.map(Path::to_owned).or(self.spool_dir);
        match (&self.buffering.spool, &self.spool_dir) {
            (Some(_), None) => Err(SettingsError::NoSpoolFolder),
            (None, Some(_)) => Err(SettingsError::NoSpoolSize),
            _ => Ok(self),
        }
    }

    /// What the end of a recording has for its last acknowledgement. The other half of the time is for what follows: `kvssink`
    /// takes up to ten seconds to write what was not acknowledged into the spool.
    pub fn deliver_within(&self) -> Duration {
        (self.grace / 2).min(Duration::from_secs(15))
    }

    /// What is not done after so long is left, so that the process ends by itself.
    pub fn stop_within(&self) -> Duration {
        self.grace.saturating_sub(Duration::from_secs(2))
    }

    /// What to offer of video, in the order of the manifest.
    pub fn video_codecs(&self) -> Vec<VideoCodec> {
        let spec = &self.media.video;
        let codecs = spec.codecs.iter().filter(|_| spec.enabled);
        codecs
            .map(|codec| match codec {
                kvs_ingest_api::VideoCodec::H264 => VideoCodec::H264,
                kvs_ingest_api::VideoCodec::H265 => VideoCodec::H265,
            })
            .collect()
    }

    /// What to offer of audio, in the order of the manifest.
    pub fn audio_codecs(&self) -> Vec<AudioCodec> {
        let spec = &self.media.audio;
        let codecs = spec.codecs.iter().filter(|_| spec.enabled);
        codecs
            .map(|codec| match codec {
                kvs_ingest_api::AudioCodec::Opus => AudioCodec::Opus,
                kvs_ingest_api::AudioCodec::Pcmu => AudioCodec::Pcmu,
                kvs_ingest_api::AudioCodec::Pcma => AudioCodec::Pcma,
            })
            .collect()
    }

    /// The way to AWS.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Aws`]: an unusable endpoint or CA bundle.
    pub async fn aws(&self) -> Result<AwsContext, SettingsError> {
        let mut builder = AwsContext::builder().region(&self.region);
        if let Some((role_arn, external_id)) = self.role.clone() {
            let session_name: String =
                format!("kvs-ingest-{}", self.name).chars().filter(char::is_ascii).take(64).collect();
            builder = builder.assume_role(AssumeRole { role_arn, external_id, session_name });
        }
        Ok(builder.build().await?)
    }
}

impl StreamSettings {
    fn declared(spec: StreamSpec) -> Result<Self, SettingsError> {
        let create = spec.create_if_missing.then(|| NewStream {
            retention_hours: spec.retention_hours_or_default(),
            kms_key_id: spec.kms_key_id.clone(),
            tags: spec.tags.clone(),
            ..NewStream::default()
        });
        let id = match (spec.name, spec.arn) {
            (_, Some(arn)) => StreamId::Arn(id("spec.stream.arn", &arn)?),
            (name, None) => StreamId::Name(id("spec.stream.name", &name.unwrap_or_default())?),
        };
        Ok(Self { id, create, resolved: None })
    }

    fn resolved(config: StreamConfig) -> Result<Self, SettingsError> {
        Ok(Self {
            id: StreamId::Arn(id("stream.arn", &config.arn)?),
            create: None,
            resolved: Some(id("stream.name", &config.name)?),
        })
    }
}

fn id<T>(field: &'static str, text: &str) -> Result<T, SettingsError>
where
    T: std::str::FromStr<Err = kvs::InvalidId>,
{
    text.parse().map_err(|error| SettingsError::Id { field, error })
}

fn grace(seconds: Option<u32>) -> Duration {
    Duration::from_secs(seconds.unwrap_or(KvsIngestSpec::TERMINATION_GRACE_PERIOD_SECONDS).into())
}

fn ports(field: &'static str, ice: &IceSpec) -> Result<Option<PortRange>, SettingsError> {
    ice.port_range
        .map(|ports| ports.check().map(|()| ports))
        .transpose()
        .map_err(|wrong| SettingsError::Ports { field, wrong })
}

fn denied(field: &'static str, ice: &IceSpec) -> Result<Vec<IpNet>, SettingsError> {
    ice.denied().map_err(|(index, error)| SettingsError::Network { field, index, error })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const MANIFEST: &str = "apiVersion: kvs-ingest.dev/v1alpha1
kind: KvsIngest
metadata: {name: front-door}
spec:
  region: ap-northeast-1
  channel: {name: front-door-camera}
  stream: {name: front-door, createIfMissing: true, retentionHours: 48}
  ice: {transportPolicy: Relay}
";

    const SPOOLING: &str = "apiVersion: kvs-ingest.dev/v1alpha1
kind: KvsIngest
metadata: {name: front-door}
spec:
  region: ap-northeast-1
  channel: {name: front-door-camera}
  stream: {name: front-door}
  buffering: {spool: {sizeMiB: 512}}
";

    fn load(text: &str) -> Result<Settings, SettingsError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ingest.yaml");
        std::fs::write(&file, text).unwrap();
        Settings::load(Some(&file), &OutputFiles::default(), None)
    }

    #[test]
    fn a_manifest_is_all_it_takes() {
        let settings = load(MANIFEST).unwrap();
        assert_eq!(settings.channel, ChannelId::Name("front-door-camera".parse().unwrap()));
        assert_eq!(settings.stream.unwrap().create.unwrap().retention_hours, 48);
        assert!(settings.relay_only && settings.media.video.enabled);
    }

    #[test]
    fn an_end_takes_no_longer_than_the_pod_has() {
        let within = |seconds: &str| {
            let settings = load(&MANIFEST.replace("  ice:", &format!("  {seconds}\n  ice:"))).unwrap();
            (settings.deliver_within().as_millis(), settings.stop_within().as_secs())
        };
        assert_eq!(within(""), (15_000, 28));
        assert_eq!(within("terminationGracePeriodSeconds: 5"), (2_500, 3));
        assert_eq!(within("terminationGracePeriodSeconds: 120"), (15_000, 118));
    }

    #[test]
    fn denied_networks_are_those_of_the_manifest() {
        assert!(load(MANIFEST).unwrap().denied.is_empty());
        let settings = load(&MANIFEST.replace("{tr", "{denyCidrs: [10.96.1.0/12, 'fd00::/8'], tr")).unwrap();
        assert_eq!(settings.denied, ["10.96.0.0/12".parse().unwrap(), "fd00::/8".parse().unwrap()]);
    }

    #[test]
    fn the_codecs_of_the_manifest_are_offered_and_no_others() {
        let offered = |media: &str| {
            let manifest = MANIFEST.replace("  ice:", &format!("  media: {media}\n  ice:"));
            let settings = load(&manifest).unwrap();
            (settings.video_codecs(), settings.audio_codecs())
        };
        let (h264, opus) = (vec![VideoCodec::H264], vec![AudioCodec::Opus]);
        assert_eq!(
            offered("{video: {codecs: [H264]}, audio: {codecs: [Opus]}}"),
            (h264.clone(), opus.clone())
        );
        assert_eq!(offered("{video: {codecs: [H264]}, audio: {enabled: false}}"), (h264, Vec::new()));
        assert_eq!(offered("{video: {enabled: false}, audio: {codecs: [Opus]}}"), (Vec::new(), opus));
    }

    #[test]
    fn a_spool_has_a_size_and_a_folder() {
        let folder = Some(Path::new("/var/spool/x"));
        let settings = load(SPOOLING).unwrap().with_spool_dir(folder).unwrap();
        assert_eq!(settings.spool_dir.as_deref(), folder);
        assert!(load(MANIFEST).unwrap().with_spool_dir(None).is_ok());
    }

    #[test]
    fn a_spool_without_a_size_or_without_a_folder_says_what_is_missing() {
        let error = load(SPOOLING).unwrap().with_spool_dir(None).unwrap_err().to_string();
        assert!(error.contains("--spool-dir"), "{error}");
        let folder = Some(Path::new("/var/spool/x"));
        let error = load(MANIFEST).unwrap().with_spool_dir(folder).unwrap_err().to_string();
        assert!(error.contains("{sizeMiB: 512}"), "{error}");
    }

    #[test]
    fn a_mistake_names_the_file_and_the_field() {
        let error = load(&MANIFEST.replace("front-door-camera", "front door")).unwrap_err().to_string();
        assert!(error.contains("ingest.yaml") && error.contains("spec.channel.name"), "{error}");
        let error = Settings::load(Some(Path::new("/nowhere/x.yaml")), &OutputFiles::default(), None)
            .unwrap_err()
            .to_string();
        assert!(error.contains("/nowhere/x.yaml"), "{error}");
        let error = Settings::load(None, &OutputFiles::default(), Some("{}")).unwrap_err().to_string();
        assert!(error.contains("KVS_INGEST_CONFIG"), "{error}");
    }

    #[test]
    fn one_source_of_settings_is_needed_and_no_more() {
        let error = Settings::load(None, &OutputFiles::default(), None).unwrap_err().to_string();
        assert!(error.contains("--ingest") && error.contains("KVS_INGEST_CONFIG"), "{error}");
        assert!(matches!(
            Settings::load(Some(Path::new("x")), &OutputFiles::default(), Some("{}")),
            Err(SettingsError::Both)
        ));
    }
}
