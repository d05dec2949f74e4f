//! Logs on standard error, and traces over OTLP where a collector is named.
//!
//! Traces follow the OpenTelemetry environment: `OTEL_EXPORTER_OTLP_ENDPOINT` (or `..._TRACES_ENDPOINT`), `..._HEADERS`,
//! `..._TIMEOUT`, `..._COMPRESSION`, `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER`,
//! `OTEL_BSP_*`, `OTEL_TRACES_EXPORTER=none`, `OTEL_SDK_DISABLED`. The protocol is OTLP over HTTP with protobuf.
//! <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>

use std::env;
use std::time::Duration;

use anyhow::{Context as _, Result};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{EnvResourceDetector, ResourceDetector};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;
use tracing_subscriber::filter::{EnvFilter, LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, registry};

const SERVICE: &str = "kvs-ingest-operator";
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
/// A collector says little.
const LONGEST_ANSWER: usize = 256 * 1024;
/// As the specification has it.
const WITHIN: Duration = Duration::from_secs(10);
/// For what is still to be sent at the end.
const LAST: Duration = Duration::from_secs(3);

/// What is logged and how, and where spans go.
#[derive(Debug)]
pub struct Telemetry<'a> {
    /// `RUST_LOG`'s syntax.
    pub filter: &'a str,
    /// JSON, or lines for people.
    pub json: bool,
    /// Base address of an OTLP collector, `http://collector:4318` for one; none: no traces, unless the environment
    /// names an address for traces alone.
    pub endpoint: Option<&'a str>,
    /// Who this one is: `service.instance.id`.
    pub identity: &'a str,
}

/// Holds what has not been sent yet; [`Traces::end`] sends it.
#[derive(Debug)]
#[must_use]
pub struct Traces(Option<SdkTracerProvider>);

impl Telemetry<'_> {
    /// Becomes the process's subscriber. Call it within the runtime that is to send the spans.
    ///
    /// # Errors
    /// A filter or an address that cannot be read; both are named.
    pub fn init(&self) -> Result<Traces> {
        let filter = EnvFilter::try_new(self.filter)
            .with_context(|| format!("--log-level {:?} is no filter", self.filter))?;
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let lines = if self.json { lines.json().flatten_event(true).boxed() } else { lines.boxed() };
        let provider = self.provider()?;
        let spans = provider.as_ref().map(|provider| {
            tracing_opentelemetry::layer()
                .with_tracer(provider.tracer(SERVICE))
                .with_location(false)
                .with_threads(false)
                // Ours alone: not the client's own, never those of sending spans, and not the controller's, in which a
                // standby waits for hours.
                .with_filter(Targets::new().with_target("kvs_ingest_operator", LevelFilter::DEBUG))
        });
        registry().with(lines.with_filter(filter)).with(spans).init();
        if provider.is_some() {
            tracing::info!("traces are sent over OTLP");
        }
        Ok(Traces(provider))
    }

    fn provider(&self) -> Result<Option<SdkTracerProvider>> {
        let var =
            |name: &str| env::var(name).ok().map(|value| value.trim().to_owned()).filter(|v| !v.is_empty());
        let is = |name: &str, value: &str| var(name).is_some_and(|found| found.eq_ignore_ascii_case(value));
        let endpoint = self.endpoint.map(str::trim).filter(|endpoint| !endpoint.is_empty());
        let own = var(TRACES_ENDPOINT);
        if is("OTEL_SDK_DISABLED", "true")
            || is("OTEL_TRACES_EXPORTER", "none")
            || (endpoint.is_none() && own.is_none())
        {
            return Ok(None);
        }
        let address = match (own, endpoint) {
            (Some(own), _) => checked(&own, TRACES_ENDPOINT)?,
            (None, base) => {
                let base = checked(base.unwrap_or_default(), ENDPOINT)?;
                format!("{}/v1/traces", base.trim_end_matches('/'))
            }
        };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Sender::new()?)
            .with_endpoint(address)
            .build()
            .context("the OTEL_ variables of the environment")?;
        let mut resource = Resource::builder_empty()
            .with_service_name(SERVICE)
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .with_attribute(KeyValue::new("service.instance.id", self.identity.to_owned()))
            .with_detector(Box::new(EnvResourceDetector::new()) as Box<dyn ResourceDetector>);
        if let Some(name) = var("OTEL_SERVICE_NAME") {
            resource = resource.with_service_name(name);
        }
        Ok(Some(
            SdkTracerProvider::builder()
                .with_batch_exporter(exporter)
                .with_resource(resource.build())
                .build(),
        ))
    }
}

fn checked(address: &str, name: &str) -> Result<String> {
    // What it is is not said: somebody may have put a password into it.
    let uri: hyper::Uri = address.parse().with_context(|| format!("{name} is no address"))?;
    anyhow::ensure!(
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty()),
        "{name} is not http://HOST:PORT or https://HOST:PORT"
    );
    anyhow::ensure!(
        uri.authority().is_some_and(|authority| !authority.as_str().contains('@')),
        "{name} holds credentials: they belong into OTEL_EXPORTER_OTLP_HEADERS"
    );
    Ok(address.to_owned())
}

impl Traces {
    /// Sends what is left, for three seconds at most.
    pub async fn end(self) {
        let Some(provider) = self.0 else { return };
        let ended = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(LAST)).await;
        if let Ok(Err(error)) = ended {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

/// The batch processor has a thread of its own, without a runtime: requests are made on ours.
#[derive(Debug)]
struct Sender {
    runtime: Handle,
    /// For a request with its answer: a collector that says nothing must not stop what comes after.
    within: Duration,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Sender {
    fn new() -> Result<Self> {
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(rustls::crypto::ring::default_provider())
            .context("the machine's certificates (SSL_CERT_FILE names others)")?
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(1).build(connector);
        let var = |name: &str| env::var(name).ok()?.trim().parse().ok();
        let within = var("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT").or_else(|| var("OTEL_EXPORTER_OTLP_TIMEOUT"));
        Ok(Self { runtime: Handle::current(), within: within.map_or(WITHIN, Duration::from_millis), client })
    }
}

#[async_trait::async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let within = self.within;
        // The timer, too, is made where there is a runtime.
        let sent = self.runtime.spawn(async move {
            let exchange = async move {
                let answer = client.request(request.map(Full::new)).await?;
                let (head, body) = answer.into_parts();
                let body = Limited::new(body, LONGEST_ANSWER).collect().await?.to_bytes();
                Ok::<_, HttpError>(Response::from_parts(head, body))
            };
            tokio::time::timeout(within, exchange).await
        });
        sent.await?.map_err(|_| format!("the collector did not answer within {within:?}"))?
    }
}
