//! [`AwsContext`]: everything that a call to AWS needs, made once and shared.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use http::{HeaderMap, Method};
use url::Url;

use crate::clock::Clock;
use crate::sign::{self, SERVICE, Scope, SignError};
use crate::tls::{self, TlsError};

/// Names a CA bundle that is trusted beside the system's roots. The SDK for Rust does not read it; this crate does.
pub const CA_BUNDLE: &str = "AWS_CA_BUNDLE";

/// A role to assume with the credentials of the default chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssumeRole {
    /// `arn:aws:iam::ACCOUNT:role/NAME`
    pub role_arn: String,
    /// What the role's trust policy asks for, if it does.
    pub external_id: Option<String>,
    /// Shown in CloudTrail.
    pub session_name: String,
}

/// Why there is no context.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// Nothing names a region.
    #[error("no AWS region: set spec.region, AWS_REGION, or `region` in the AWS profile")]
    NoRegion,
    /// The CA bundle cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The HTTP client could not be made.
    #[error("cannot set up TLS: {0}")]
    Http(String),
    /// An endpoint is no URL.
    #[error("the endpoint {0:?} is no http or https URL")]
    Endpoint(String),
}

/// Why credentials or a signature could not be had.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// None of the chain's sources has any.
    #[error("no AWS credentials in region {region}: {message}")]
    NotLoaded {
        /// The context's region.
        region: String,
        /// What the chain said, its causes included.
        message: String,
    },
    /// The request cannot be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// Credentials, region, endpoints, TLS roots and clock. Cheap to clone.
#[derive(Clone)]
pub struct AwsContext {
    inner: Arc<Inner>,
}

struct Inner {
    region: String,
    config: SdkConfig,
    credentials: SharedCredentialsProvider,
    // The SDK's own cache is per client; this one serves what we sign ourselves.
    cached: tokio::sync::Mutex<Option<Credentials>>,
    tls: Arc<rustls::ClientConfig>,
    clock: Clock,
    custom_endpoint: bool,
}

/// How long before their end cached credentials are replaced.
const RENEW_BEFORE: Duration = Duration::from_secs(120);

impl fmt::Debug for AwsContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsContext").field("region", &self.inner.region).finish_non_exhaustive()
    }
}

/// Settings of an [`AwsContext`]; what is not set comes from the environment and the AWS profile.
#[derive(Default)]
pub struct AwsContextBuilder {
    region: Option<String>,
    profile: Option<String>,
    assume_role: Option<AssumeRole>,
    credentials: Option<Credentials>,
    endpoint_url: Option<String>,
    ca_bundle: Option<PathBuf>,
}

impl AwsContextBuilder {
    /// The region, `eu-central-1`.
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// The AWS profile to read.
    #[must_use]
    pub fn profile(mut self, profile: impl Into<String>) -> Self {
        self.profile = Some(profile.into());
        self
    }

    /// A role to assume.
    #[must_use]
    pub fn assume_role(mut self, role: AssumeRole) -> Self {
        self.assume_role = Some(role);
        self
    }

    /// These credentials instead of the default chain.
    #[must_use]
    pub fn static_credentials(mut self, access_key: &str, secret_key: &str, token: Option<String>) -> Self {
        self.credentials = Some(Credentials::new(access_key, secret_key, token, None, "static"));
        self
    }

    /// The control plane's address instead of the one of the region.
    #[must_use]
    pub fn endpoint_url(mut self, url: impl Into<String>) -> Self {
        self.endpoint_url = Some(url.into());
        self
    }

    /// A PEM file of roots beside the system's; default: `AWS_CA_BUNDLE`.
    #[must_use]
    pub fn ca_bundle(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca_bundle = Some(path.into());
        self
    }

    /// Makes the context. Asks no network, except the instance metadata service when nothing else names a region.
    ///
    /// # Errors
    /// [`ContextError`]: no region, an unusable CA bundle or endpoint.
    pub async fn build(self) -> Result<AwsContext, ContextError> {
        let bundle = self
            .ca_bundle
            .or_else(|| std::env::var_os(CA_BUNDLE).filter(|path| !path.is_empty()).map(PathBuf::from));
        let extra = bundle.map(|path| tls::read_bundle(&path)).transpose()?;
        let mut roots = TrustStore::empty().with_native_roots(true);
        if let Some(pem) = &extra {
            roots = roots.with_pem_certificate(pem.clone());
        }
        let context = TlsContext::builder()
            .with_trust_store(roots)
            .build()
            .map_err(|error| ContextError::Http(error.to_string()))?;
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .tls_context(context)
            .build_https();

        if let Some(url) = &self.endpoint_url {
            let parsed = Url::parse(url).map_err(|_| ContextError::Endpoint(url.clone()))?;
            if !matches!(parsed.scheme(), "http" | "https") {
                return Err(ContextError::Endpoint(url.clone()));
            }
        }
        let clock = Clock::default();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            .time_source(clock.clone())
            .retry_config(RetryConfig::standard().with_max_attempts(3))
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(Duration::from_secs(3))
                    .operation_attempt_timeout(Duration::from_secs(8))
                    .build(),
            );
        if let Some(region) = self.region {
            loader = loader.region(Region::new(region));
        }
        if let Some(profile) = self.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(credentials) = self.credentials {
            loader = loader.credentials_provider(credentials);
        }
        if let Some(url) = &self.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        let mut config = loader.load().await;
        let region = config.region().ok_or(ContextError::NoRegion)?.to_string();
        if let Some(role) = self.assume_role {
            let mut builder = aws_config::sts::AssumeRoleProvider::builder(role.role_arn)
                .session_name(role.session_name)
                .configure(&config);
            if let Some(id) = role.external_id {
                builder = builder.external_id(id);
            }
            let provider = SharedCredentialsProvider::new(builder.build().await);
            config = config.into_builder().credentials_provider(provider).build();
        }
        let credentials = config
            .credentials_provider()
            .ok_or_else(|| ContextError::Http("no credential provider was set up".to_owned()))?;
        let custom_endpoint = self.endpoint_url.is_some()
            || ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_KINESIS_VIDEO"]
                .iter()
                .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
        Ok(AwsContext {
            inner: Arc::new(Inner {
                region,
                config,
                credentials,
                cached: tokio::sync::Mutex::new(None),
                tls: tls::client_config(extra.as_deref())?,
                clock,
                custom_endpoint,
            }),
        })
    }
}

impl AwsContext {
    /// Starts from the environment.
    #[must_use]
    pub fn builder() -> AwsContextBuilder {
        AwsContextBuilder::default()
    }

    /// The region.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.inner.region
    }

    /// For clients of the AWS SDK. Endpoints, `AWS_ENDPOINT_URL*`, FIPS and dual-stack are the SDK's resolver's.
    #[must_use]
    pub fn sdk_config(&self) -> &SdkConfig {
        &self.inner.config
    }

    /// Is the control plane somewhere else than at AWS (an emulator, a proxy)?
    #[must_use]
    pub fn has_custom_endpoint(&self) -> bool {
        self.inner.custom_endpoint
    }

    /// TLS for connections that are not the SDK's: WebSocket and PutMedia.
    #[must_use]
    pub fn tls_config(&self) -> Arc<rustls::ClientConfig> {
        self.inner.tls.clone()
    }

    /// AWS's time.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.inner.clock.now()
    }

    /// Learns AWS's time from the `Date` header of an answer that has just arrived.
    pub fn observe_date(&self, date_header: &str) {
        self.inner.clock.observe(date_header);
    }

    /// Current credentials, renewed two minutes before they end.
    ///
    /// # Errors
    /// [`CredentialsError::NotLoaded`] with what every source of the chain said.
    pub async fn credentials(&self) -> Result<Credentials, CredentialsError> {
        let mut cached = self.inner.cached.lock().await;
        if let Some(credentials) = cached.as_ref()
            && credentials.expiry().is_some_and(|end| end > self.now() + RENEW_BEFORE)
        {
            return Ok(credentials.clone());
        }
        match self.inner.credentials.provide_credentials().await {
            Ok(credentials) => {
                *cached = Some(credentials.clone());
                Ok(credentials)
            }
            // What is still valid is better than nothing.
            Err(error) => match cached.as_ref() {
                Some(old) if old.expiry().is_some_and(|end| end > self.now()) => Ok(old.clone()),
                _ => Err(CredentialsError::NotLoaded {
                    region: self.inner.region.clone(),
                    message: causes(&error),
                }),
            },
        }
    }

    /// Forgets cached credentials: the service has refused them.
    pub async fn forget_credentials(&self) {
        *self.inner.cached.lock().await = None;
    }

    /// [`sign::sign_headers`] with this context's credentials, region and clock.
    ///
    /// # Errors
    /// No credentials, or a request that cannot be signed.
    pub async fn sign_headers(
        &self,
        method: &Method,
        url: &Url,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<HeaderMap, CredentialsError> {
        let credentials = self.credentials().await?;
        Ok(sign::sign_headers(&self.scope(&credentials), method, url, headers, body)?)
    }

    /// [`sign::presign_websocket`] with this context's credentials, region and clock.
    ///
    /// # Errors
    /// No credentials, or a URL that cannot be signed.
    pub async fn presign_websocket(
        &self,
        endpoint: &Url,
        parameters: &[(&str, &str)],
        expires: Duration,
    ) -> Result<Url, CredentialsError> {
        let credentials = self.credentials().await?;
        Ok(sign::presign_websocket(&self.scope(&credentials), endpoint, parameters, expires)?)
    }

    fn scope<'a>(&'a self, credentials: &'a Credentials) -> Scope<'a> {
        Scope { credentials, region: &self.inner.region, service: SERVICE, time: self.now() }
    }
}

/// An error with its causes, as one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn static_credentials_sign_and_are_never_shown() {
        let context = AwsContext::builder()
            .region("eu-central-1")
            .static_credentials("AKIDEXAMPLE", "topsecret", None)
            .build()
            .await
            .unwrap();
        assert_eq!(context.region(), "eu-central-1");
        let url = Url::parse("https://kinesisvideo.eu-central-1.amazonaws.com/describeStream").unwrap();
        let headers = context.sign_headers(&Method::POST, &url, &HeaderMap::new(), b"{}").await.unwrap();
        let authorization = headers["authorization"].to_str().unwrap();
        assert!(authorization.contains("AKIDEXAMPLE/"), "{authorization}");
        assert!(authorization.contains("/eu-central-1/kinesisvideo/aws4_request"), "{authorization}");
        let shown = format!("{context:?} {:?} {headers:?}", context.credentials().await.unwrap());
        assert!(!shown.contains("topsecret") && !shown.contains("Signature="), "{shown}");
    }

    #[tokio::test]
    async fn bad_settings_are_named() {
        let error = AwsContext::builder().region("x").endpoint_url("ftp://x").build().await.unwrap_err();
        assert!(error.to_string().contains("ftp://x"), "{error}");
        let error = AwsContext::builder().region("x").ca_bundle("no/such.pem").build().await.unwrap_err();
        assert!(error.to_string().contains("no/such.pem"), "{error}");
    }
}
