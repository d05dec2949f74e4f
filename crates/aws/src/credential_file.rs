//! The credential file of AWS's producer SDK for C and C++.

use std::path::PathBuf;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError as ProviderError;
use aws_credential_types::provider::{ProvideCredentials, future};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// No credentials are longer.
const MAX_BYTES: u64 = 64 * 1024;

/// Credentials in a file of one line, which somebody writes anew before they end:
/// `CREDENTIALS AccessKeyId SecretKey`, or `CREDENTIALS AccessKeyId Expiration SecretKey SessionToken` with an expiration
/// like `2026-01-31T23:59:59Z`.
#[derive(Clone, Debug)]
pub struct CredentialFile {
    path: PathBuf,
}

#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("cannot read the credential file {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error(
        "the credential file {path} is not `CREDENTIALS AccessKeyId SecretKey` or `CREDENTIALS AccessKeyId Expiration \
         SecretKey SessionToken`: {reason}"
    )]
    Format { path: PathBuf, reason: &'static str },
}

impl CredentialFile {
    /// The file at `path`; it is read when credentials are asked for.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    fn read(&self) -> Result<Credentials, FileError> {
        let failed = |source| FileError::Read { path: self.path.clone(), source };
        let size = std::fs::metadata(&self.path).map_err(failed)?.len();
        if size > MAX_BYTES {
            return Err(FileError::Format { path: self.path.clone(), reason: "it is longer than 64 KiB" });
        }
        let text = std::fs::read_to_string(&self.path).map_err(failed)?;
        parse(&text).map_err(|reason| FileError::Format { path: self.path.clone(), reason })
    }
}

/// The error never holds a word of the text.
fn parse(text: &str) -> Result<Credentials, &'static str> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let credentials = |key, secret, token: Option<&str>, end| {
        Credentials::new(key, secret, token.map(str::to_owned), end, "credential file")
    };
    match words.as_slice() {
        ["CREDENTIALS", key, secret] => Ok(credentials(*key, *secret, None, None)),
        ["CREDENTIALS", key, end, secret, rest @ ..] if rest.len() <= 1 => {
            let end = OffsetDateTime::parse(end, &Rfc3339)
                .map_err(|_| "its third word is no time like 2026-01-31T23:59:59Z")?;
            Ok(credentials(*key, *secret, rest.first().copied(), Some(SystemTime::from(end))))
        }
        ["CREDENTIALS", ..] => Err("it has another number of words"),
        _ => Err("it does not begin with CREDENTIALS"),
    }
}

impl ProvideCredentials for CredentialFile {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(self.read().map_err(ProviderError::not_loaded))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn both_forms_are_read() {
        let forever = parse("CREDENTIALS AKID secret\n").unwrap();
        assert_eq!((forever.access_key_id(), forever.secret_access_key()), ("AKID", "secret"));
        assert_eq!((forever.session_token(), forever.expiry()), (None, None));
        let session = parse("CREDENTIALS\tAKID 2001-09-09T01:46:40Z secret token").unwrap();
        assert_eq!((session.secret_access_key(), session.session_token()), ("secret", Some("token")));
        assert_eq!(session.expiry(), Some(UNIX_EPOCH + Duration::from_secs(1_000_000_000)));
    }

    #[tokio::test]
    async fn what_is_wrong_is_named_and_nothing_secret_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kvs.credential");
        let file = CredentialFile::new(&path);
        let error = async || crate::causes(&file.provide_credentials().await.unwrap_err());
        assert!(error().await.contains("kvs.credential"));
        for (text, words) in [
            ("", "begin"),
            ("AKID topsecret", "begin"),
            ("CREDENTIALS AKID", "number of words"),
            ("CREDENTIALS AKID tomorrow topsecret token", "no time"),
            ("CREDENTIALS AKID 2001-09-09T01:46:40Z topsecret token more", "number of words"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = error().await;
            assert!(error.contains(words) && error.contains("kvs.credential"), "{error}");
            assert!(!error.contains("topsecret"), "{error}");
        }
    }
}
