//! The SDK's HTTP client: hyper over our own [`Dialer`], with an eye on the clock. The SDK's own would keep a second set of
//! roots, and says neither which proxy refused nor why.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};
use std::time::Duration;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::connection::{CaptureSmithyConnection, ConnectionMetadata};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::ErrorKind;
use http::Uri;
use hyper_util::client::legacy::connect::{CaptureConnection, Connected, capture_connection};
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::timeout;
use url::Url;

use crate::clock::Clock;
use crate::connect::{ByteStream, ConnectError, Connection, Dialer};

/// An HTTP client that connects by `dialer` and teaches `clock` what AWS's time is.
pub(crate) fn client(dialer: Dialer, clock: Clock) -> SharedHttpClient {
    SharedHttpClient::new(Clients { dialer, clock, by_limit: Mutex::default() })
}

/// For connecting where the SDK sets no limit, as none of its clients here does.
const UNLIMITED: Duration = Duration::from_secs(60);

/// A pool of connections for each time limit of connecting, of which the SDK has two or three.
struct Clients {
    dialer: Dialer,
    clock: Clock,
    by_limit: Mutex<HashMap<Duration, Client<Connector, SdkBody>>>,
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clients")
    }
}

impl HttpClient for Clients {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let limit = settings.connect_timeout().unwrap_or(UNLIMITED);
        let mut clients = self.by_limit.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let client = clients.entry(limit).or_insert_with(|| {
            Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .build(Connector { dialer: self.dialer.clone(), limit })
        });
        SharedHttpConnector::new(Requests {
            client: client.clone(),
            limit: settings.read_timeout(),
            clock: self.clock.clone(),
        })
    }
}

/// Opens connections for a pool.
#[derive(Clone)]
struct Connector {
    dialer: Dialer,
    limit: Duration,
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<Connection>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { dialer, limit } = self.clone();
        Box::pin(async move {
            let url = Url::parse(&uri.to_string())?;
            Ok(TokioIo::new(dialer.connect(&url, limit).await?))
        })
    }
}

impl legacy::connect::Connection for Box<dyn ByteStream> {
    fn connected(&self) -> Connected {
        // through a tunnel too: the request is written as to the host itself
        Connected::new()
    }
}

/// Sends requests over a pool.
struct Requests {
    client: Client<Connector, SdkBody>,
    /// Of an answer's head.
    limit: Option<Duration>,
    clock: Clock,
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Requests")
    }
}

impl HttpConnector for Requests {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        // Only what is signed goes to AWS itself; the clock of a metadata endpoint is that of this machine, and its
        // Authorization header holds some other token.
        let signed = request.headers().get("authorization").is_some_and(|value| value.starts_with("AWS4-"));
        let mut request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into()))),
        };
        // The SDK takes a connection out of the pool when what came over it was a failure of the service.
        let captured = capture_connection(&mut request);
        if let Some(wanted) = request.extensions().get::<CaptureSmithyConnection>() {
            wanted.set_connection_retriever(move || metadata(&captured));
        }
        let (answer, limit, clock) = (self.client.request(request), self.limit, self.clock.clone());
        HttpConnectorFuture::new(async move {
            let answer = match limit {
                None => answer.await,
                Some(limit) => {
                    timeout(limit, answer).await.map_err(|error| ConnectorError::timeout(error.into()))?
                }
            };
            let answer = answer.map_err(connector_error)?;
            let answer = HttpResponse::try_from(answer.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))?;
            if signed {
                observe(&clock, &answer);
            }
            Ok(answer)
        })
    }
}

fn metadata(captured: &CaptureConnection) -> Option<ConnectionMetadata> {
    captured.connection_metadata().as_ref()?;
    let captured = captured.clone();
    let poison = move || {
        if let Some(connection) = captured.connection_metadata().as_ref() {
            connection.poison();
        }
    };
    Some(ConnectionMetadata::builder().proxied(false).poison_fn(poison).build())
}

/// Sorts an error for the SDK, which repeats what may be better the next time.
fn connector_error(error: legacy::Error) -> ConnectorError {
    let connecting = cause::<ConnectError>(&error);
    let sort: fn(BoxError) -> ConnectorError = if connecting.is_some_and(ConnectError::is_timeout) {
        ConnectorError::timeout
    } else if connecting.is_some_and(|error| !error.class().is_transient()) {
        ConnectorError::user
    } else if error.is_connect() {
        ConnectorError::io
    } else {
        match cause::<hyper::Error>(&error) {
            Some(cause) if cause.is_timeout() => ConnectorError::timeout,
            Some(cause) if cause.is_user() => ConnectorError::user,
            Some(cause) if cause.is_closed() || cause.is_canceled() => ConnectorError::io,
            Some(cause) if cause.is_incomplete_message() => {
                |error| ConnectorError::other(error, Some(ErrorKind::TransientError))
            }
            _ if cause::<std::io::Error>(&error).is_some() => ConnectorError::io,
            _ => |error| ConnectorError::other(error, None),
        }
    };
    sort(error.into())
}

/// The error of this type among an error and what caused it.
fn cause<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

fn observe(clock: &Clock, answer: &HttpResponse) {
    // RFC 9111 section 5.1: from a cache, and so is its date.
    if answer.headers().get("age").is_none()
        && let Some(date) = answer.headers().get("date")
    {
        clock.observe(date);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use aws_smithy_runtime_api::client::http::HttpConnectorSettings;
    use aws_smithy_runtime_api::client::runtime_components::RuntimeComponentsBuilder;
    use rustls::ClientConfig;
    use tokio::net::TcpListener;
    use tokio::task::JoinSet;

    use super::*;
    use crate::causes;
    use crate::proxy::Proxies;

    const LIMIT: Duration = Duration::from_secs(1);

    fn dialer(https_proxy: &str) -> Dialer {
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(ring)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let tls = Arc::new(tls);
        let variable = |name: &str| (name == "HTTPS_PROXY").then(|| https_proxy.to_owned());
        Dialer { proxies: Arc::new(Proxies::read(variable, || Ok(tls.clone()))), tls }
    }

    /// What becomes of a request of the SDK.
    async fn request(dialer: Dialer, url: &str) -> ConnectorError {
        let settings = HttpConnectorSettings::builder().connect_timeout(LIMIT).build();
        let components = RuntimeComponentsBuilder::for_tests().build().unwrap();
        let connector = client(dialer, Clock::default()).http_connector(&settings, &components);
        let mut request = HttpRequest::new(SdkBody::empty());
        request.set_uri(url).unwrap();
        connector.call(request).await.unwrap_err()
    }

    /// Somebody took the connection, and said nothing: to the SDK's clients too it is said who.
    #[tokio::test]
    async fn who_is_silent_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let mut cases = JoinSet::new();
        for (proxy, url, said) in [
            (
                format!("http://user:hunter2@{host}"),
                "https://kvs.test".to_owned(),
                format!(
                    "the proxy http://{host} (HTTPS_PROXY) was silent for 1 s after CONNECT kvs.test:443: "
                ),
            ),
            (
                format!("https://user:hunter2@{host}"),
                "https://kvs.test".to_owned(),
                format!("no TLS with the proxy https://{host} (HTTPS_PROXY): not done within 1 s"),
            ),
            (String::new(), format!("https://{host}"), format!("no TLS with {host}: not done within 1 s")),
        ] {
            cases.spawn(async move {
                let (dialer, target) = (dialer(&proxy), Url::parse(&url).unwrap());
                let (direct, by_sdk) =
                    tokio::join!(dialer.connect(&target, LIMIT), request(dialer.clone(), &url));
                let direct = direct.err().unwrap();
                assert!(direct.is_timeout() && by_sdk.is_timeout(), "{direct:?} {by_sdk:?}");
                let (direct, by_sdk) = (causes(&direct), causes(&by_sdk));
                assert!(direct.starts_with(&said), "{direct}");
                assert!(by_sdk.contains(&said) && !by_sdk.contains("hunter2"), "{by_sdk}");
            });
        }
        while let Some(case) = cases.join_next().await {
            case.unwrap();
        }
    }
}
