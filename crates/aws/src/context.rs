//! [`AwsContext`]: everything that a call to AWS needs, made once and shared.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_config::identity::IdentityCache;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_types::origin::Origin;
use aws_types::service_config::ServiceConfigKey;
use http::{HeaderMap, Method};
use url::Url;

use crate::causes::causes;
use crate::class::{ErrorClass, classify_credentials};
use crate::clock::Clock;
use crate::connect::{ConnectError, Connection, Dialer, Peer};
use crate::credentials::{AssumeRole, Cached, Chain};
use crate::proxy::{Proxies, ProxyError};
use crate::sign::{self, SERVICE, Scope, SignError};
use crate::tls::{Roots, TlsError};

/// Why there is no context.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// Nothing names a region.
    #[error("no AWS region: set spec.region, AWS_REGION, or `region` in the AWS profile")]
    NoRegion,
    /// The CA bundle cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The variable that goes for the control plane names no proxy.
    #[error(transparent)]
    Proxy(#[from] Arc<ProxyError>),
    /// An endpoint is no URL.
    #[error("the endpoint {url:?} of {origin} is no http or https URL")]
    Endpoint {
        /// What was given.
        url: String,
        /// Where: the name of a setting or variable.
        origin: &'static str,
    },
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
        /// What to do about it.
        class: ErrorClass,
    },
    /// The request cannot be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
}

impl CredentialsError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            CredentialsError::NotLoaded { class, .. } => *class,
            CredentialsError::Sign(_) => ErrorClass::InvalidRequest,
        }
    }
}

/// Credentials, region, endpoints, TLS roots and clock. Cheap to clone.
#[derive(Clone)]
pub struct AwsContext {
    inner: Arc<Inner>,
}

struct Inner {
    region: String,
    http: SharedHttpClient,
    config: SdkConfig,
    credentials: Cached,
    dialer: Dialer,
    clock: Clock,
    custom_endpoint: bool,
    control_endpoint: Option<Url>,
    signaling_endpoint: Option<Url>,
}

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
    credentials: Option<SharedCredentialsProvider>,
    endpoint_url: Option<String>,
    ca_bundle: Option<PathBuf>,
    sharing: Option<AwsContext>,
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
    pub fn static_credentials(self, access_key: &str, secret_key: &str, token: Option<String>) -> Self {
        self.credentials_provider(Credentials::new(access_key, secret_key, token, None, "static"))
    }

    /// Credentials of this source instead of the default chain. They are renewed as those of the chain are.
    #[must_use]
    pub fn credentials_provider(mut self, source: impl ProvideCredentials + 'static) -> Self {
        self.credentials = Some(SharedCredentialsProvider::new(source));
        self
    }

    /// The address of KVS's control plane instead of that of the region; goes before every environment variable. STS
    /// stays where it is.
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

    /// Takes roots, connections and clock of another context, which are most of one: for many regions in one process.
    /// [`Self::ca_bundle`] is not looked at then.
    #[must_use]
    pub fn sharing(mut self, other: &AwsContext) -> Self {
        self.sharing = Some(other.clone());
        self
    }

    /// Makes the context. Asks no network, except the instance metadata service when nothing else names a region.
    ///
    /// # Errors
    /// [`ContextError`]: no region, an unusable CA bundle or endpoint.
    pub async fn build(self) -> Result<AwsContext, ContextError> {
        let (http, dialer, clock) = match &self.sharing {
            Some(AwsContext { inner }) => (inner.http.clone(), inner.dialer.clone(), inner.clock.clone()),
            None => {
                let tls = Roots::of_environment(self.ca_bundle)?.client_config()?;
                let proxies = Arc::new(Proxies::from_env(|| Ok(tls.clone())));
                let dialer = Dialer { proxies, tls };
                let clock = Clock::default();
                (crate::http::client(dialer.clone(), clock.clone()), dialer, clock)
            }
        };
        if let Some(url) = &self.endpoint_url {
            endpoint("endpoint_url", url)?;
        }
        let chain = Chain {
            http: http.clone(),
            clock: clock.clone(),
            region: self.region,
            profile: self.profile,
            role: self.assume_role,
            fixed: self.credentials.map(SharedCredentialsProvider::new),
        };
        let config = chain.load().await;
        let region = config.region().ok_or(ContextError::NoRegion)?.to_string();
        let source = SharedCredentialsProvider::new(chain);
        let credentials = Cached::new(source, clock.clone());
        // `AWS_ENDPOINT_URL`, or `endpoint_url` of the profile.
        let general = config.endpoint_url().map(str::to_owned);
        let mut builder = config
            .into_builder()
            .credentials_provider(SharedCredentialsProvider::new(credentials.clone()))
            .identity_cache(IdentityCache::no_cache());
        if let Some(url) = &self.endpoint_url {
            // Only now: STS, which was set up above, is not where KVS is.
            builder.set_endpoint_url(Some(url.clone()));
            builder.insert_origin("endpoint_url", Origin::shared_config());
        }
        let config = builder.build();

        let of_service = |service: &str| {
            let key = ServiceConfigKey::builder()
                .service_id(service)
                .env("AWS_ENDPOINT_URL")
                .profile("endpoint_url")
                .build()
                .ok()?;
            config.service_config()?.load_config(key)
        };
        let (control, signaling) = (of_service("Kinesis Video"), of_service("Kinesis Video Signaling"));
        for (origin, url) in
            [("AWS_ENDPOINT_URL", general.as_deref()), ("AWS_ENDPOINT_URL_KINESIS_VIDEO", control.as_deref())]
        {
            url.map(|url| endpoint(origin, url)).transpose()?;
        }
        // Without one of its own, the SDK's answer for a service is the general one.
        let signaling = signaling.filter(|url| Some(url) != general.as_ref());
        let signaling_endpoint =
            signaling.map(|url| endpoint("AWS_ENDPOINT_URL_KINESIS_VIDEO_SIGNALING", &url)).transpose()?;
        let custom_endpoint = config.endpoint_url().is_some() || control.is_some();
        // Now, and not at the first call: nothing would ever come of this context. What else there is may go another way.
        let control_plane = self.endpoint_url.or(control).or(general).or_else(|| control_plane(&config));
        let control_endpoint = control_plane.and_then(|url| Url::parse(&url).ok());
        if let Some(url) = &control_endpoint {
            dialer.proxy_of(url)?;
        }
        Ok(AwsContext {
            inner: Arc::new(Inner {
                region,
                http,
                config,
                credentials,
                dialer,
                clock,
                custom_endpoint,
                control_endpoint,
                signaling_endpoint,
            }),
        })
    }
}

/// Where the SDK's resolver finds the control plane; `None` where its name is another, which `NO_PROXY` may know.
fn control_plane(config: &SdkConfig) -> Option<String> {
    let region = config.region()?.as_ref();
    let suffix = match region.split('-').next()? {
        "cn" => "amazonaws.com.cn",
        _ if region.contains("-iso") => return None,
        _ => "amazonaws.com",
    };
    let plain = config.use_fips() != Some(true) && config.use_dual_stack() != Some(true);
    plain.then(|| format!("https://kinesisvideo.{region}.{suffix}"))
}

fn endpoint(origin: &'static str, url: &str) -> Result<Url, ContextError> {
    Url::parse(url)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| ContextError::Endpoint { url: url.to_owned(), origin })
}

impl AwsContext {
    /// Starts from the environment.
    #[must_use]
    pub fn builder() -> AwsContextBuilder {
        AwsContextBuilder::default()
    }

    /// Of the endpoints and of what is signed, `eu-central-1`.
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

    /// Where the control plane is; `None` where only the SDK's resolver knows (FIPS, dual-stack).
    #[must_use]
    pub fn control_endpoint(&self) -> Option<&Url> {
        self.inner.control_endpoint.as_ref()
    }

    /// The proxy that is asked for the host of `url`, without user and password.
    #[must_use]
    pub fn proxy_for(&self, url: &Url) -> Option<String> {
        // A variable that names no proxy is said by whoever connects.
        self.inner.dialer.proxy_of(url).ok().flatten().map(ToString::to_string)
    }

    /// `AWS_ENDPOINT_URL_KINESIS_VIDEO_SIGNALING`, or the same in the profile: goes before the endpoint that
    /// GetSignalingChannelEndpoint gives for HTTPS.
    #[must_use]
    pub fn signaling_endpoint(&self) -> Option<&Url> {
        self.inner.signaling_endpoint.as_ref()
    }

    /// A connection that is not the SDK's, for WebSocket or PutMedia: TCP to the host of `url`, through a proxy where
    /// `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` say so, and TLS with this context's roots for `https` and `wss`. All within
    /// `limit`; where a proxy is asked, the way to it and that from it to the host have as long each.
    ///
    /// # Errors
    /// [`ConnectError`] names the host, and the proxy if it is the proxy that fails.
    pub async fn connect(&self, url: &Url, limit: Duration) -> Result<Connection, ConnectError> {
        self.inner.dialer.connect(url, limit).await
    }

    /// A connection to a host that is none of AWS's, on the same ways: through a proxy where the environment says so (the
    /// variables of `https` for TLS, those of `http` without), within `limit` as [`Self::connect`].
    ///
    /// # Errors
    /// [`ConnectError`] names the host, and the proxy if it is the proxy that fails.
    pub async fn connect_to(&self, peer: Peer<'_>, limit: Duration) -> Result<Connection, ConnectError> {
        self.inner.dialer.connect_to(peer, limit).await
    }

    /// AWS's time: this machine's, corrected by what answers of AWS said.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.inner.clock.now()
    }

    /// Milliseconds by which AWS's clock is ahead of this machine's.
    #[must_use]
    pub fn skew_ms(&self) -> i64 {
        self.inner.clock.skew_ms()
    }

    /// Learns AWS's time from the `Date` header of an answer that has just arrived. The SDK's clients do so by
    /// themselves; this is for WebSocket handshakes and PutMedia.
    pub fn observe_date(&self, date_header: &str) {
        self.inner.clock.observe(date_header);
    }

    /// Current credentials, renewed five minutes before they end (or in the last quarter of a life that is short);
    /// shared with the SDK's clients.
    ///
    /// # Errors
    /// [`CredentialsError::NotLoaded`] with what every source of the chain said.
    pub async fn credentials(&self) -> Result<Credentials, CredentialsError> {
        self.inner.credentials.get().await.map_err(|error| CredentialsError::NotLoaded {
            region: self.inner.region.clone(),
            message: causes(&error),
            class: classify_credentials(&error),
        })
    }

    /// The service says that the credentials have ended ([`ErrorClass::CredentialsExpired`]): they are fetched anew for
    /// the next call.
    pub async fn invalidate_credentials(&self) {
        self.inner.credentials.invalidate().await;
    }

    /// The service denies access ([`ErrorClass::AccessDenied`]) or calls the credentials expired: they are fetched anew for
    /// the next call, at most every ten seconds. A Secret that was wrong may have been put right. False while what was
    /// refused is not older.
    pub async fn invalidate_denied_credentials(&self) -> bool {
        self.inner.credentials.invalidate_denied().await
    }

    /// The headers that sign a request by Signature Version 4, with this context's credentials, region and clock.
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

    /// `endpoint` with `parameters` and a signature that lasts for `expires`, as signaling wants it.
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
    async fn what_is_large_may_be_shared_by_many_regions() {
        let first = AwsContext::builder().region("eu-central-1").build().await.unwrap();
        let second = AwsContext::builder().region("us-east-1").sharing(&first).build().await.unwrap();
        assert_eq!((first.region(), second.region()), ("eu-central-1", "us-east-1"));
        assert!(Arc::ptr_eq(&first.inner.dialer.tls, &second.inner.dialer.tls));
        // What one learns of AWS's time, the other knows.
        first.observe_date("Fri, 01 Jan 2049 00:00:00 GMT");
        assert_eq!(second.skew_ms(), first.skew_ms());
        assert_ne!(second.skew_ms(), 0);
    }

    #[tokio::test]
    async fn bad_settings_are_named() {
        let error = AwsContext::builder().region("x").endpoint_url("ftp://x").build().await.unwrap_err();
        assert!(error.to_string().contains("ftp://x"), "{error}");
        let error = AwsContext::builder().region("x").ca_bundle("no/such.pem").build().await.unwrap_err();
        assert!(error.to_string().contains("no/such.pem"), "{error}");
    }
}
