//! The C++ `kvssink` of the AWS producer SDK, from the plugin path.

use super::elements::{PipelineError, make, set};
use super::sink::{SinkFactory, SinkFigures, SinkStatistics};
use super::storage::Storage;
use gst::prelude::*;
use kvs_aws::AwsContext;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often the credential file is written: `kvssink` reads it again when its credentials have
/// 38 s left, and `AwsContext` renews them 120 s before their end.
const REFRESH: Duration = Duration::from_secs(30);

/// Makes `kvssink` elements of the plugin, with credentials in a file that is kept fresh.
///
/// It tells nothing of acknowledgements, so [`SinkFigures::figures`] stays at zero.
pub struct PluginSink {
    storage: Storage,
    file: PathBuf,
}

impl PluginSink {
    /// Writes the credentials into `folder`, and again as long as the sink is in use.
    pub fn new(storage: Storage, context: AwsContext, folder: &Path) -> Self {
        let file = folder.join("credentials");
        let path = file.clone();
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
        Self { storage, file }
    }
}

/// Replaces the file at once, readable by its owner only.
fn write(path: &Path, credentials: &aws_credential_types::Credentials) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let (key, secret) = (credentials.access_key_id(), credentials.secret_access_key());
    let text = match (credentials.expiry(), credentials.session_token()) {
        (expiry, Some(token)) => {
            let expiry = expiry.unwrap_or_else(|| std::time::SystemTime::now() + Duration::from_secs(3600));
            let expiry = time::OffsetDateTime::from(expiry)
                .format(&time::format_description::well_known::Rfc3339)
                .unwrap_or_default();
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

impl SinkFactory for PluginSink {
    fn attach(&self, pipeline: &gst::Pipeline) -> Result<gst::Element, PipelineError> {
        let sink = make("kvssink")?;
        self.storage.apply(&sink)?;
        set(&sink, "credential-path", self.file.to_string_lossy().into_owned())?;
        pipeline.add(&sink)?;
        Ok(sink)
    }

    /// It takes the codec data once per track.
    fn replace_on_new_format(&self) -> bool {
        true
    }
}

impl SinkFigures for PluginSink {
    fn figures(&self) -> SinkStatistics {
        SinkStatistics::default()
    }
}
