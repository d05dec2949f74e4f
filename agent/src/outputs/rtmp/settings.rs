//! Where and how to publish.

use kvs_ingest_api::{OutputConfig, RtmpConfig};
use kvs_rtmp::{Destination, DestinationError};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// One output, as it was declared.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Of the label `output`, of logs and of `/status`.
    pub(super) name: String,
    url: Url,
    /// Holds the stream key.
    stream_key_file: Option<PathBuf>,
    /// Trusted beside the system's roots. `None`: what is trusted for AWS.
    pub(super) ca_bundle: Option<PathBuf>,
    /// Send silence where the master sends no sound.
    pub(super) silence: bool,
}

#[derive(Clone, Debug)]
enum Url {
    Plain(String),
    File(PathBuf),
}

/// Why it is not known where to publish. What is secret is not shown.
#[derive(Debug, Error)]
pub(super) enum SettingsError {
    /// A mounted Secret, or a file on a laptop, is not there.
    #[error("cannot read {}, which is to hold the {what}: {error}", path.display())]
    Read { what: &'static str, path: PathBuf, error: std::io::Error },
    #[error(transparent)]
    Destination(#[from] DestinationError),
}

impl Settings {
    /// Of `config`, which was validated: one of `url` and `urlFile` is there.
    pub fn new(config: OutputConfig) -> Self {
        // What is required of it, the operator judges.
        let OutputConfig { name, required: _, rtmp } = config;
        let RtmpConfig { url, url_file, stream_key_file, ca_bundle, silence } = rtmp;
        let url = url_file.map_or_else(|| Url::Plain(url.unwrap_or_default()), Url::File);
        Self { name, url, stream_key_file, ca_bundle, silence }
    }

    /// Reads the files, which may have changed.
    pub(super) fn destination(&self) -> Result<Destination, SettingsError> {
        let url = match &self.url {
            Url::Plain(url) => url.clone(),
            Url::File(path) => read("URL", path)?,
        };
        let key = self.stream_key_file.as_deref().map(|path| read("stream key", path)).transpose()?;
        Ok(Destination::parse(&url, key.as_deref())?)
    }
}

fn read(what: &'static str, path: &Path) -> Result<String, SettingsError> {
    std::fs::read_to_string(path).map_err(|error| SettingsError::Read { what, path: path.to_owned(), error })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    fn config(rtmp: RtmpConfig) -> Settings {
        Settings::new(OutputConfig { name: "ivs".to_owned(), required: false, rtmp })
    }

    #[test]
    fn files_are_read_anew_and_what_they_hold_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let (url, key) = (folder.path().join("url"), folder.path().join("key"));
        let settings = config(RtmpConfig {
            url: None,
            url_file: Some(url.clone()),
            stream_key_file: Some(key.clone()),
            ca_bundle: None,
            silence: true,
        });
        let error = settings.destination().unwrap_err().to_string();
        assert!(error.contains("/url, which is to hold the URL: No such file"), "{error}");
        std::fs::write(&url, "rtmps://one.example/app\n").unwrap();
        std::fs::write(&key, "TOP SECRET\n").unwrap();
        let error = settings.destination().unwrap_err().to_string();
        assert!(error.contains("stream key has a character") && !error.contains("SECRET"), "{error}");
        std::fs::write(&key, "TOPSECRET\n").unwrap();
        assert_eq!(settings.destination().unwrap().to_string(), "rtmps://one.example:443/app/…");
        std::fs::write(&url, "rtmp://two.example/live").unwrap();
        assert_eq!(settings.destination().unwrap().host(), "two.example");
    }
}
