//! Credentials for a device certificate, from AWS IoT Core's credentials provider.
//!
//! Source: [Authorizing direct calls to AWS services](https://docs.aws.amazon.com/iot/latest/developerguide/authorizing-direct-aws.html).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError as ProviderError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_smithy_runtime_api::client::result::ConnectorError;
use http::header::HOST;
use http::{HeaderValue, Request};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::timeout;
use url::Url;

use crate::connect::{ConnectError, Dialer};
use crate::proxy::{Proxies, ProxyError};
use crate::tls::Roots;

/// No answer is longer.
const MAX_ANSWER: usize = 64 * 1024;

/// A device certificate and the role alias that it may assume. The files are read whenever credentials are fetched: they
/// may be replaced.
#[derive(Clone, Debug)]
pub struct IotCertificate {
    /// Host of the credentials provider, `c1example.credentials.iot.eu-central-1.amazonaws.com`, with a port if it has one.
    pub endpoint: String,
    /// PEM file of the device certificate, and of what chains it to a CA.
    pub cert_path: PathBuf,
    /// PEM file of its private key.
    pub key_path: PathBuf,
    /// PEM file of the roots that the endpoint is trusted by, and no others.
    pub ca_path: PathBuf,
    /// The role alias.
    pub role_alias: String,
    /// The thing that the certificate is attached to.
    pub thing_name: String,
    /// TCP and TLS must stand within this, and as much to reach a proxy before.
    pub connect_timeout: Duration,
    /// The answer must be there within this.
    pub completion_timeout: Duration,
}

#[derive(Debug, thiserror::Error)]
enum IotError {
    #[error("the {what} {path} cannot be used: {reason}")]
    File { what: &'static str, path: PathBuf, reason: String },
    #[error("{0:?} is no host of a credentials provider")]
    Endpoint(String),
    #[error("the thing name {0:?} cannot be sent")]
    ThingName(String),
    #[error("the device certificate is of no use: {0}")]
    Certificate(rustls::Error),
    #[error(transparent)]
    Proxy(Arc<ProxyError>),
    #[error("cannot ask {endpoint}: {source}")]
    Network { endpoint: String, source: ConnectorError },
    #[error("{endpoint} answered {status}: {message}")]
    Refused { endpoint: String, status: u16, message: String },
    #[error("{endpoint} answered without {lacks}")]
    Answer { endpoint: String, lacks: &'static str },
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, IotError> {
    let wrong = |reason: String| IotError::File { what, path: path.to_owned(), reason };
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))?.collect();
    let found = found.map_err(|error| wrong(error.to_string()))?;
    if found.is_empty() {
        return Err(wrong("no certificate in it".to_owned()));
    }
    Ok(found)
}

impl IotCertificate {
    fn tls(&self) -> Result<Arc<ClientConfig>, IotError> {
        let mut roots = RootCertStore::empty();
        for root in certificates("CA file (ca-path)", &self.ca_path)? {
            roots.add(root).map_err(IotError::Certificate)?;
        }
        let chain = certificates("device certificate (cert-path)", &self.cert_path)?;
        let key = PrivateKeyDer::from_pem_file(&self.key_path).map_err(|error| IotError::File {
            what: "private key (key-path)",
            path: self.key_path.clone(),
            reason: error.to_string(),
        })?;
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(IotError::Certificate)?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(IotError::Certificate)?;
        Ok(Arc::new(config))
    }

    fn url(&self) -> Result<Url, IotError> {
        let wrong = || IotError::Endpoint(self.endpoint.clone());
        let mut url = Url::parse(&format!("https://{}", self.endpoint)).map_err(|_| wrong())?;
        if url.path() != "/" || url.query().is_some() || !url.username().is_empty() {
            return Err(wrong());
        }
        url.path_segments_mut().map_err(|()| wrong())?.extend([
            "role-aliases",
            &self.role_alias,
            "credentials",
        ]);
        Ok(url)
    }

    fn network(&self, source: ConnectorError) -> IotError {
        IotError::Network { endpoint: self.endpoint.clone(), source }
    }

    async fn within<T, E: std::error::Error + Send + Sync + 'static>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, IotError> {
        match timeout(limit, work).await {
            Ok(result) => result.map_err(|error| self.network(ConnectorError::io(error.into()))),
            Err(error) => Err(self.network(ConnectorError::timeout(error.into()))),
        }
    }

    async fn fetch(&self) -> Result<Credentials, IotError> {
        let (url, tls) = (self.url()?, self.tls()?);
        // The device's certificate and its CA are for the endpoint; an https proxy is trusted as everything else is.
        let proxies = Proxies::from_env(|| Roots::of_environment(None)?.client_config());
        let dialer = Dialer { proxies: Arc::new(proxies), tls };
        let stream = dialer.connect(&url, self.connect_timeout).await.map_err(|error| match error {
            ConnectError::Endpoint { .. } => IotError::Endpoint(self.endpoint.clone()),
            ConnectError::Proxy { source, .. } => IotError::Proxy(source),
            error if error.is_timeout() => self.network(ConnectorError::timeout(error.into())),
            error => self.network(ConnectorError::io(error.into())),
        })?;
        let request = Request::get(url.path())
            .header(HOST, url.authority())
            .header(
                "x-amzn-iot-thingname",
                HeaderValue::from_str(&self.thing_name)
                    .map_err(|_| IotError::ThingName(self.thing_name.clone()))?,
            )
            .body(Empty::<Bytes>::new())
            .map_err(|_| IotError::Endpoint(self.endpoint.clone()))?;
        let (status, body) = self
            .within(self.completion_timeout, async {
                let (mut sender, connection) =
                    hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
                // It ends with the answer: the sender is dropped then.
                tokio::spawn(connection);
                let answer = sender.send_request(request).await?;
                let status = answer.status().as_u16();
                let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
                Ok::<_, hyper::Error>((status, body.map(|body| body.to_bytes()).unwrap_or_default()))
            })
            .await?;
        self.credentials(status, &body)
    }

    fn credentials(&self, status: u16, body: &[u8]) -> Result<Credentials, IotError> {
        let answer: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let endpoint = self.endpoint.clone();
        if status != 200 {
            let message = answer["message"].as_str().unwrap_or("no message").to_owned();
            return Err(IotError::Refused { endpoint, status, message });
        }
        let text = |name: &'static str| {
            let value = answer["credentials"][name].as_str().filter(|value| !value.is_empty());
            value.ok_or_else(|| IotError::Answer { endpoint: endpoint.clone(), lacks: name })
        };
        let end = OffsetDateTime::parse(text("expiration")?, &Rfc3339)
            .map_err(|_| IotError::Answer { endpoint: endpoint.clone(), lacks: "a time in expiration" })?;
        Ok(Credentials::new(
            text("accessKeyId")?,
            text("secretAccessKey")?,
            Some(text("sessionToken")?.to_owned()),
            Some(SystemTime::from(end)),
            "AWS IoT",
        ))
    }
}

impl ProvideCredentials for IotCertificate {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            self.fetch().await.map_err(|error| match error {
                IotError::Network { .. } | IotError::Answer { .. } => ProviderError::provider_error(error),
                _ => ProviderError::not_loaded(error),
            })
        })
    }
}
