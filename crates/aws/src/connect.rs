//! The one way to a host for what is not the SDK's: TCP, and TLS over it. A proxy would be asked for here.

use std::io;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Url;

use crate::class::ErrorClass;

/// Bytes to and from a host.
pub trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> ByteStream for T {}

/// An open connection, with or without TLS.
pub type Connection = Box<dyn ByteStream>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody can connect to this URL.
    #[error("the endpoint {endpoint} {reason}")]
    Endpoint {
        /// The URL, without what may be secret in it.
        endpoint: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Name resolution or TCP failed.
    #[error("cannot reach {host}: {source}")]
    Unreachable {
        /// `HOST:PORT`
        host: String,
        /// What the system says.
        source: io::Error,
    },
    /// The host was reached, and TLS failed.
    #[error("no TLS with {host}: {source}")]
    Tls {
        /// `HOST:PORT`
        host: String,
        /// What rustls says.
        source: io::Error,
    },
}

impl ConnectError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            ConnectError::Endpoint { .. } => ErrorClass::InvalidRequest,
            ConnectError::Unreachable { .. } | ConnectError::Tls { .. } => ErrorClass::Network,
        }
    }
}

/// Connects to the host of `url`: with `tls` for `https` and `wss`, without for `http` and `ws`.
pub(crate) async fn connect(url: &Url, tls: &Arc<ClientConfig>) -> Result<Connection, ConnectError> {
    let refuse = |reason| {
        let host = url.host_str().unwrap_or_default();
        ConnectError::Endpoint { endpoint: format!("{}://{host}", url.scheme()), reason }
    };
    let secure = match url.scheme() {
        "https" | "wss" => true,
        "http" | "ws" => false,
        _ => return Err(refuse("is none of https, wss, http and ws")),
    };
    let name = url.host_str().ok_or_else(|| refuse("has no host"))?;
    // The url crate keeps the brackets of an IPv6 address.
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let port = url.port_or_known_default().unwrap_or(if secure { 443 } else { 80 });
    let server = match secure {
        true => Some(
            ServerName::try_from(name.to_owned())
                .map_err(|_| refuse("has a host that no certificate can name"))?,
        ),
        false => None,
    };
    let host = || format!("{name}:{port}");
    let stream = TcpStream::connect((name, port))
        .await
        .map_err(|source| ConnectError::Unreachable { host: host(), source })?;
    // Candidates and the frames of live media are small, and each counts.
    let _ = stream.set_nodelay(true);
    let Some(server) = server else { return Ok(Box::new(stream)) };
    let connector = TlsConnector::from(Arc::clone(tls));
    let stream = connector
        .connect(server, stream)
        .await
        .map_err(|source| ConnectError::Tls { host: host(), source })?;
    Ok(Box::new(stream))
}
