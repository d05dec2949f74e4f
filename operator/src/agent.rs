//! The HTTP client of an agent's `/status` and `/finish`: 2 s, 64 KiB, no redirects, no proxy.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use kvs_ingest_api::AgentStatus;
use tracing::Instrument;

use crate::names;

const WITHIN: Duration = Duration::from_secs(2);
const LONGEST_DOCUMENT: usize = 64 * 1024;

pub struct AgentClient {
    client: Client<HttpConnector, Empty<Bytes>>,
}

/// Why nobody knows what an agent does.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error("no answer within {} s", WITHIN.as_secs())]
    TimedOut,
    #[error("cannot be reached ({0}): is there a NetworkPolicy between operator and agent?")]
    Unreachable(String),
    #[error(
        "took the connection and ended it without an answer ({0}): does a service mesh ask for mTLS on port {port}? \
         Leave that port of the agents out of it",
        port = names::PORT
    )]
    HungUp(String),
    #[error("answered {0}")]
    Status(StatusCode),
    #[error("its answer is no status document: {0}")]
    Document(String),
}

impl Default for AgentClient {
    fn default() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(WITHIN));
        // Thousands of agents, each asked every few minutes: connections are not kept.
        Self { client: Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector) }
    }
}

impl AgentClient {
    /// # Errors
    /// [`AgentError`]: then its state is unknown.
    pub async fn status(&self, address: IpAddr) -> Result<AgentStatus, AgentError> {
        let span = tracing::debug_span!(
            "agent",
            otel.name = "GET /status",
            otel.kind = "client",
            server.address = %address,
        );
        let asked = async {
            let answer = self.request(Method::GET, address, "status", StatusCode::OK).await?;
            let body = Limited::new(answer.into_body(), LONGEST_DOCUMENT).collect().await;
            let body = body.map_err(|error| AgentError::Document(error.to_string()))?.to_bytes();
            serde_json::from_slice(&body).map_err(|error| AgentError::Document(error.to_string()))
        };
        tokio::time::timeout(WITHIN, asked).instrument(span).await.unwrap_or(Err(AgentError::TimedOut))
    }

    /// Tells an agent that was told to end that it need not wait for another one.
    ///
    /// # Errors
    /// [`AgentError`]; `409 Conflict` where nobody has told it to end, or it has not heard of it yet.
    pub async fn finish(&self, address: IpAddr) -> Result<(), AgentError> {
        let span = tracing::debug_span!(
            "agent",
            otel.name = "POST /finish",
            otel.kind = "client",
            server.address = %address,
        );
        let told = self.request(Method::POST, address, "finish", StatusCode::NO_CONTENT);
        let told = tokio::time::timeout(WITHIN, told).instrument(span).await;
        told.unwrap_or(Err(AgentError::TimedOut)).map(drop)
    }

    /// Any other status than `expected` is an error: a redirect is such a one, too.
    async fn request(
        &self,
        method: Method,
        address: IpAddr,
        path: &str,
        expected: StatusCode,
    ) -> Result<Response<Incoming>, AgentError> {
        let address = SocketAddr::new(address, names::PORT);
        let uri: Uri = format!("http://{address}/{path}")
            .parse()
            .map_err(|_| AgentError::Unreachable(address.to_string()))?;
        let mut request = Request::new(Empty::new());
        (*request.method_mut(), *request.uri_mut()) = (method, uri);
        let answer = self.client.request(request).await.map_err(unreachable)?;
        match answer.status() {
            status if status == expected => Ok(answer),
            status => Err(AgentError::Status(status)),
        }
    }
}

/// The innermost cause: the outer ones say only that there was one.
fn unreachable(error: hyper_util::client::legacy::Error) -> AgentError {
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    // Who cannot be connected to is behind a policy or gone; who hangs up afterwards is somebody else.
    if error.is_connect() {
        AgentError::Unreachable(cause.to_string())
    } else {
        AgentError::HungUp(cause.to_string())
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::response::Redirect;
    use axum::routing::get;

    use super::*;

    /// An agent's port is always the same, so each of these has an address of its own.
    async fn serve(address: &str, router: Router) -> IpAddr {
        let listener = tokio::net::TcpListener::bind((address, names::PORT)).await.unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        address.parse().unwrap()
    }

    /// The sidecar of a mesh with strict mTLS takes every connection, and resets what is no TLS.
    #[tokio::test]
    async fn a_connection_that_is_reset_tells_of_meshes() {
        for (address, graceful) in [("127.0.3.6", false), ("127.0.3.7", true)] {
            let listener = tokio::net::TcpListener::bind((address, names::PORT)).await.unwrap();
            tokio::spawn(async move {
                while let Ok((connection, _)) = listener.accept().await {
                    let connection = connection.into_std().unwrap();
                    let linger = (!graceful).then_some(Duration::ZERO);
                    socket2::SockRef::from(&connection).set_linger(linger).unwrap();
                }
            });
            let error = AgentClient::default().status(address.parse().unwrap()).await.unwrap_err();
            assert!(matches!(error, AgentError::HungUp(_)), "{error}");
            let words = error.to_string();
            assert!(words.contains("service mesh") && words.contains("port 8080"), "{words}");
        }
    }

    #[tokio::test]
    async fn only_a_status_document_counts() {
        let client = AgentClient::default();
        let good =
            Router::new().route("/status", get(|| async { r#"{"phase":"Streaming","reason":"Streaming"}"# }));
        let status = client.status(serve("127.0.3.1", good).await).await.unwrap();
        assert_eq!(status.reason, "Streaming");
        let elsewhere = Router::new()
            .route("/status", get(|| async { Redirect::temporary("http://127.0.3.1:8080/status") }));
        let error = client.status(serve("127.0.3.2", elsewhere).await).await.unwrap_err();
        assert!(matches!(error, AgentError::Status(status) if status == 307), "{error}");
        let long = Router::new().route(
            "/status",
            get(|| async { format!("{{\"message\":\"{}\"}}", "x".repeat(LONGEST_DOCUMENT)) }),
        );
        let error = client.status(serve("127.0.3.3", long).await).await.unwrap_err();
        assert!(matches!(error, AgentError::Document(_)), "{error}");
        let never = Router::new().route("/status", get(std::future::pending::<&str>));
        let error = client.status(serve("127.0.3.4", never).await).await.unwrap_err();
        assert!(matches!(error, AgentError::TimedOut), "{error}");
        let error = client.status("127.0.3.5".parse().unwrap()).await.unwrap_err();
        assert!(error.to_string().contains("refused"), "{error}");
    }
}
