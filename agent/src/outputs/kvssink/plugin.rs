//! The C++ `kvssink` of the AWS producer SDK, from the plugin path.

use super::settings::Settings;
use crate::elements::{PipelineError, set};
use crate::rfc3339::rfc3339;
use anyhow::Context as _;
use gst::prelude::*;
use kvs_aws::AwsContext;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

const KVSSINK: &str = "kvssink";

/// How often the credential file is written: `kvssink` reads it again when its credentials have
/// 38 s left, and `AwsContext` renews them 120 s before their end.
const REFRESH: Duration = Duration::from_secs(30);

/// Makes elements of the plugin, with credentials in a file that is kept fresh.
pub(super) struct Plugin {
    context: AwsContext,
    /// Holds the credential file.
    folder: TempDir,
}

impl Plugin {
    /// Makes a folder for the credential file.
    ///
    /// # Errors
    ///
    /// The plugin is not installed, or there is no room for a folder.
    pub(super) fn new(context: AwsContext) -> anyhow::Result<Self> {
        if gst::ElementFactory::find(KVSSINK).is_none() {
            return Err(missing().into());
        }
        let folder = tempfile::tempdir().context("no folder for temporary files (TMPDIR chooses another)")?;
        Ok(Self { context, folder })
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("credentials")
    }

    /// Writes the credentials now, and again for the life of the process.
    pub(super) fn keep_credentials_fresh(&self) {
        let (context, path) = (self.context.clone(), self.file());
        tokio::spawn(async move {
            loop {
                match context.credentials().await {
                    Ok(credentials) => {
                        if let Err(error) = write(&path, &credentials) {
                            tracing::warn!(%error, path = %path.display(), "cannot write the credentials");
                        }
                    }
                    Err(error) => tracing::warn!(%error, "no credentials for kvssink"),
                }
                tokio::time::sleep(REFRESH).await;
            }
        });
    }

    pub(super) fn attach(
        &self,
        pipeline: &gst::Pipeline,
        settings: &Settings,
    ) -> Result<gst::Element, PipelineError> {
        let sink = gst::ElementFactory::make(KVSSINK).build().map_err(|_| missing())?;
        settings.apply(&sink)?;
        set(&sink, "credential-path", self.file().to_string_lossy().into_owned())?;
        pipeline.add(&sink)?;
        Ok(sink)
    }
}

fn missing() -> PipelineError {
    let remedy = "set GST_PLUGIN_PATH to the folder of the AWS producer SDK's libgstkvssink.so, or leave --kvssink at \
                  its default, builtin";
    PipelineError::MissingElement { element: KVSSINK, remedy: remedy.to_owned() }
}

/// Replaces the file at once, readable by its owner only.
fn write(path: &Path, credentials: &aws_credential_types::Credentials) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let (key, secret) = (credentials.access_key_id(), credentials.secret_access_key());
    let text = match (credentials.expiry(), credentials.session_token()) {
        (expiry, Some(token)) => {
            let expiry = rfc3339(expiry.unwrap_or_else(|| SystemTime::now() + Duration::from_secs(3600)));
            format!("CREDENTIALS {key} {expiry} {secret} {token}")
        }
        (_, None) => format!("CREDENTIALS {key} {secret}"),
    };
    let new = path.with_extension("new");
    let _ = std::fs::remove_file(&new);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    std::fs::rename(new, path)
}
