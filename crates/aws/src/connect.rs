//! [`Dialer`]: the one way to a host, for the SDK's calls too: TCP or a tunnel through a proxy, and TLS over it.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_rustls::TlsConnector;
use url::Url;

use crate::class::ErrorClass;
use crate::proxy::{Proxies, Proxy, ProxyError, authority};
use crate::tls::{Roots, TlsError};

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
    /// The variable that goes for this host names no proxy.
    #[error("{host} cannot be reached: {source}")]
    Proxy {
        /// `HOST:PORT`
        host: String,
        /// Which variable, and why.
        source: Arc<ProxyError>,
    },
    /// Name resolution or TCP failed, or took too long.
    #[error("cannot reach {host}: {source}")]
    Unreachable {
        /// `HOST:PORT`
        host: String,
        /// What the system says.
        source: io::Error,
    },
    /// The host was reached, and TLS failed, or took too long.
    #[error("no TLS with {host}: {source}")]
    Tls {
        /// `HOST:PORT`
        host: String,
        /// What rustls says.
        source: io::Error,
    },
    /// The roots that were asked for cannot be used.
    #[error(transparent)]
    Roots(#[from] TlsError),
    /// Name resolution or TCP failed on the way to the proxy, or took too long.
    #[error("cannot reach the proxy {proxy} ({variable}), which is to be asked for {host}: {source}")]
    ProxyUnreachable {
        /// Its URL, without user and password.
        proxy: String,
        /// The variable that names it.
        variable: &'static str,
        /// `HOST:PORT` of the target.
        host: String,
        /// What the system says.
        source: io::Error,
    },
    /// An `https` proxy was reached, and TLS failed, or took too long.
    #[error("no TLS with the proxy {proxy} ({variable}): {source}")]
    ProxyTls {
        /// Its URL, without user and password.
        proxy: String,
        /// The variable that names it.
        variable: &'static str,
        /// What rustls says.
        source: io::Error,
    },
    /// The proxy opens no tunnel.
    #[error("the proxy {proxy} ({variable}) answered {status} to CONNECT {host}{remedy}")]
    ProxyRefused {
        /// Its URL, without user and password.
        proxy: String,
        /// The variable that names it.
        variable: &'static str,
        /// What it answered.
        status: StatusCode,
        /// `HOST:PORT` of the target.
        host: String,
        /// What to do about it, if that is known.
        remedy: &'static str,
    },
    /// The proxy speaks no HTTP, or hung up.
    #[error("the proxy {proxy} ({variable}) gave no answer to CONNECT {host}: {source}")]
    ProxyBroken {
        /// Its URL, without user and password.
        proxy: String,
        /// The variable that names it.
        variable: &'static str,
        /// `HOST:PORT` of the target.
        host: String,
        /// What was wrong with it.
        source: hyper::Error,
    },
    /// The proxy takes connections, and does not say whether it has reached the host.
    #[error(
        "the proxy {proxy} ({variable}) was silent for {} s after CONNECT {host}: it does not reach the host, or has nobody who \
         serves it; it must be allowed to, or NO_PROXY must name the host",
        limit.as_secs_f32()
    )]
    ProxySilent {
        /// Its URL, without user and password.
        proxy: String,
        /// The variable that names it.
        variable: &'static str,
        /// `HOST:PORT` of the target.
        host: String,
        /// So long it had for an answer.
        limit: Duration,
    },
}

impl ConnectError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            ConnectError::Endpoint { .. } | ConnectError::Proxy { .. } | ConnectError::Roots(_) => {
                ErrorClass::InvalidRequest
            }
            late if late.is_timeout() => ErrorClass::Timeout,
            ConnectError::Unreachable { .. }
            | ConnectError::Tls { .. }
            | ConnectError::ProxyUnreachable { .. }
            | ConnectError::ProxyTls { .. }
            | ConnectError::ProxyRefused { .. }
            | ConnectError::ProxyBroken { .. }
            | ConnectError::ProxySilent { .. } => ErrorClass::Network,
        }
    }

    /// Did somebody take too long?
    pub(crate) fn is_timeout(&self) -> bool {
        match self {
            ConnectError::ProxySilent { .. } => true,
            ConnectError::Unreachable { source, .. }
            | ConnectError::Tls { source, .. }
            | ConnectError::ProxyUnreachable { source, .. }
            | ConnectError::ProxyTls { source, .. } => source.kind() == io::ErrorKind::TimedOut,
            ConnectError::Endpoint { .. }
            | ConnectError::Proxy { .. }
            | ConnectError::Roots(_)
            | ConnectError::ProxyRefused { .. }
            | ConnectError::ProxyBroken { .. } => false,
        }
    }
}

/// Until when a stretch of the way must be done, and how long it had for that.
#[derive(Clone, Copy)]
struct Deadline {
    at: Instant,
    limit: Duration,
}

impl Deadline {
    fn after(limit: Duration) -> Self {
        // Longer than that is no limit, and past the end of an `Instant`.
        let limit = limit.min(Duration::from_secs(24 * 3600));
        Self { at: Instant::now() + limit, limit }
    }

    /// `work`, or [`io::ErrorKind::TimedOut`].
    async fn io<T>(self, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        let late = |_| {
            let words = format!("not done within {} s", self.limit.as_secs_f32());
            io::Error::new(io::ErrorKind::TimedOut, words)
        };
        timeout_at(self.at, work).await.map_err(late)?
    }
}

/// Whom a URL names.
struct Target<'a> {
    /// TLS comes first.
    secure: bool,
    /// Name or address, without brackets.
    name: &'a str,
    port: u16,
}

impl<'a> Target<'a> {
    fn of(url: &'a Url) -> Result<Self, ConnectError> {
        let secure = match url.scheme() {
            "https" | "wss" => true,
            "http" | "ws" => false,
            _ => return Err(refused(url, "is none of https, wss, http and ws")),
        };
        let name = url.host_str().ok_or_else(|| refused(url, "has no host"))?;
        // The url crate keeps the brackets of an IPv6 address.
        let name = name.trim_start_matches('[').trim_end_matches(']');
        let port = url.port_or_known_default().unwrap_or(if secure { 443 } else { 80 });
        Ok(Self { secure, name, port })
    }
}

fn refused(url: &Url, reason: &'static str) -> ConnectError {
    let host = url.host_str().unwrap_or_default();
    ConnectError::Endpoint { endpoint: format!("{}://{host}", url.scheme()), reason }
}

/// Whether there is TLS, and whom it trusts.
#[derive(Clone, Copy, Debug)]
pub enum Security<'a> {
    /// No TLS.
    Plain,
    /// The roots of the context.
    Tls,
    /// The system's roots and those of this file, which is read now.
    TlsWith(&'a Path),
}

/// A host that is none of AWS's.
#[derive(Clone, Copy, Debug)]
pub struct Peer<'a> {
    /// Name or address, without brackets.
    pub host: &'a str,
    /// Of TCP.
    pub port: u16,
    /// With TLS or without.
    pub security: Security<'a>,
    /// Bytes that the kernel takes beyond what it can send at once: what is live is better left out than late.
    /// `None`: as many as it likes.
    pub unsent: Option<u32>,
}

/// Proxies, and the TLS of targets. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Dialer {
    pub(crate) proxies: Arc<Proxies>,
    pub(crate) tls: Arc<ClientConfig>,
}

impl Dialer {
    /// Connects to the host of `url`: with TLS for `https` and `wss`, without for `http` and `ws`. Within `limit`; through a
    /// proxy both the way to it, and that from it to the host, have as long. It has to reach the host as we would, and where
    /// all had to be done within one limit, nobody could tell which of the two takes so long.
    pub(crate) async fn connect(&self, url: &Url, limit: Duration) -> Result<Connection, ConnectError> {
        let Target { secure, name, port } = Target::of(url)?;
        let tls = secure.then(|| Arc::clone(&self.tls));
        self.dial(name, port, tls, None, limit).await
    }

    /// Connects to a host that is none of AWS's, with the limits of [`Self::connect`].
    pub(crate) async fn connect_to(
        &self,
        peer: Peer<'_>,
        limit: Duration,
    ) -> Result<Connection, ConnectError> {
        let Peer { host, port, security, unsent } = peer;
        let tls = match security {
            Security::Plain => None,
            Security::Tls => Some(Arc::clone(&self.tls)),
            Security::TlsWith(bundle) => Some(Roots::with_bundle(bundle)?.client_config()?),
        };
        self.dial(host, port, tls, unsent, limit).await
    }

    async fn dial(
        &self,
        name: &str,
        port: u16,
        tls: Option<Arc<ClientConfig>>,
        unsent: Option<u32>,
        limit: Duration,
    ) -> Result<Connection, ConnectError> {
        let host = authority(name, port);
        let proxy = match self.proxies.of(tls.is_some(), name, port) {
            Ok(proxy) => proxy,
            Err(source) => return Err(ConnectError::Proxy { host, source }),
        };
        let tls = match tls {
            Some(tls) => {
                let server = ServerName::try_from(name.to_owned()).map_err(|_| ConnectError::Endpoint {
                    endpoint: host.clone(),
                    reason: "has a host that no certificate can name",
                })?;
                Some((tls, server))
            }
            None => None,
        };
        let first = Deadline::after(limit);
        match proxy {
            None => match first.io(tcp(name, port, unsent)).await {
                Ok(stream) => handshake(stream, tls, host, first).await,
                Err(source) => Err(ConnectError::Unreachable { host, source }),
            },
            Some(proxy) => {
                let stream = to_proxy(proxy, &host, unsent, first).await?;
                let second = Deadline::after(limit);
                let stream = tunnel(stream, proxy, &host, second).await?;
                handshake(stream, tls, host, second).await
            }
        }
    }

    /// The proxy that is asked for the host of `url`.
    pub(crate) fn proxy_of(&self, url: &Url) -> Result<Option<&Proxy>, Arc<ProxyError>> {
        match Target::of(url) {
            Ok(Target { secure, name, port }) => self.proxies.of(secure, name, port),
            // Nobody connects there.
            Err(_) => Ok(None),
        }
    }
}

/// TLS over `stream`, if there is to be any.
async fn handshake(
    stream: impl ByteStream + 'static,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    host: String,
    deadline: Deadline,
) -> Result<Connection, ConnectError> {
    let Some((tls, server)) = tls else { return Ok(Box::new(stream)) };
    match deadline.io(TlsConnector::from(tls).connect(server, stream)).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(source) => Err(ConnectError::Tls { host, source }),
    }
}

/// So long an address may be silent before the next one is tried beside it (RFC 8305 section 8).
const STAGGER: Duration = Duration::from_millis(250);

async fn tcp(host: &str, port: u16, unsent: Option<u32>) -> io::Result<TcpStream> {
    let addresses = alternating(lookup_host((host, port)).await?.collect());
    let stream = race(addresses, TcpStream::connect).await?;
    // Candidates and the frames of live media are small, and each counts.
    let _ = stream.set_nodelay(true);
    if let Some(unsent) = unsent {
        // Without, there is more in the kernel; it works all the same.
        let _ = SockRef::from(&stream).set_tcp_notsent_lowat(unsent);
    }
    Ok(stream)
}

/// Addresses of both families in turn, each family in its order (RFC 8305 section 4).
fn alternating(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_ipv6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_ipv6);
    let (mut second, mut turns) = (second.into_iter(), Vec::new());
    for address in first {
        turns.push(address);
        turns.extend(second.next());
    }
    turns.extend(second);
    turns
}

/// The first connection that stands. A network may advertise a family that leads nowhere: an address that does not answer must
/// not keep the others from it.
async fn race<T: Send + 'static, F: Future<Output = io::Result<T>> + Send + 'static>(
    addresses: Vec<SocketAddr>,
    connect: impl Fn(SocketAddr) -> F,
) -> io::Result<T> {
    let mut waiting = addresses.into_iter().peekable();
    // what is still under way at the end is dropped with it
    let mut attempts = JoinSet::new();
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        match waiting.next() {
            Some(address) => drop(attempts.spawn(connect(address))),
            None if attempts.is_empty() => return Err(failed),
            None => {}
        }
        tokio::select! {
            Some(attempt) = attempts.join_next() => match attempt {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => failed = error,
                Err(error) => failed = io::Error::other(error),
            },
            () = sleep(STAGGER), if waiting.peek().is_some() => {}
        }
    }
}

/// A connection with a proxy, which is to be asked for `host`.
async fn to_proxy(
    proxy: &Proxy,
    host: &str,
    unsent: Option<u32>,
    deadline: Deadline,
) -> Result<Connection, ConnectError> {
    let (name, variable) = (|| proxy.to_string(), proxy.variable);
    let stream = deadline.io(tcp(&proxy.host, proxy.port, unsent)).await.map_err(|source| {
        ConnectError::ProxyUnreachable { proxy: name(), variable, host: host.to_owned(), source }
    })?;
    let Some((server, tls)) = &proxy.tls else { return Ok(Box::new(stream)) };
    match deadline.io(TlsConnector::from(Arc::clone(tls)).connect(server.clone(), stream)).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(source) => Err(ConnectError::ProxyTls { proxy: name(), variable, source }),
    }
}

/// A tunnel to `host` (RFC 9110 section 9.3.6), over a connection with its proxy.
async fn tunnel(
    stream: Connection,
    proxy: &Proxy,
    host: &str,
    deadline: Deadline,
) -> Result<TokioIo<Upgraded>, ConnectError> {
    let (name, variable) = (|| proxy.to_string(), proxy.variable);
    let broken =
        |source| ConnectError::ProxyBroken { proxy: name(), variable, host: host.to_owned(), source };
    let mut request = Request::connect(host).header(header::HOST, host);
    if let Some(authorization) = &proxy.authorization {
        request = request.header(header::PROXY_AUTHORIZATION, authorization);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|_| ConnectError::Endpoint {
        endpoint: host.to_owned(),
        reason: "has a host that no proxy can be asked for",
    })?;
    let asked = async {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the tunnel, or when nobody waits for the answer any more.
        tokio::spawn(connection.with_upgrades());
        sender.send_request(request).await
    };
    let answer = match timeout_at(deadline.at, asked).await {
        Ok(answer) => answer.map_err(broken)?,
        Err(_) => {
            let limit = deadline.limit;
            return Err(ConnectError::ProxySilent { proxy: name(), variable, host: host.to_owned(), limit });
        }
    };
    let status = answer.status();
    if !status.is_success() {
        return Err(ConnectError::ProxyRefused {
            proxy: name(),
            variable,
            status,
            host: host.to_owned(),
            remedy: remedy(status, proxy.authorization.as_ref()),
        });
    }
    Ok(TokioIo::new(hyper::upgrade::on(answer).await.map_err(broken)?))
}

/// What to do about a refusal, as the end of a sentence.
fn remedy(status: StatusCode, authorization: Option<&HeaderValue>) -> &'static str {
    match (status.as_u16(), authorization) {
        // 401 is what tinyproxy says to a password that is wrong, and what only a host behind the tunnel could mean
        (401 | 407, None) => ": it wants a user and a password, as in http://USER:PASSWORD@HOST:PORT",
        (401 | 407, Some(_)) => ": it does not take the user and password that the variable gives",
        (403 | 405, _) => ": it must allow CONNECT to this host and port, or NO_PROXY must name the host",
        (502..=504, _) => ": it does not reach the host",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn addresses(all: &[&str]) -> Vec<SocketAddr> {
        all.iter().map(|address| address.parse().unwrap()).collect()
    }

    #[test]
    fn families_take_turns() {
        let given = addresses(&["[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8::3]:1", "192.0.2.1:1"]);
        let turns = addresses(&["[2001:db8::1]:1", "192.0.2.1:1", "[2001:db8::2]:1", "[2001:db8::3]:1"]);
        assert_eq!(alternating(given), turns);
        let given = addresses(&["192.0.2.1:1", "[2001:db8::1]:1", "[2001:db8::2]:1"]);
        assert_eq!(alternating(given.clone()), given);
        assert_eq!(alternating(Vec::new()), Vec::new());
    }

    /// IPv6 is silent, another address refuses, and what is left is reached.
    #[tokio::test]
    async fn an_address_that_leads_nowhere_keeps_nobody_from_the_others() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let all = addresses(&["[2001:db8::1]:1", "192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1"]);
        let reached = race(all.clone(), |address| {
            asked.lock().unwrap().push(address);
            async move {
                match address.to_string().as_str() {
                    "[2001:db8::1]:1" => std::future::pending().await,
                    "192.0.2.1:1" => Err(io::Error::from(io::ErrorKind::ConnectionRefused)),
                    _ => Ok(address),
                }
            }
        });
        assert_eq!(reached.await.unwrap(), all[2]);
        assert_eq!(*asked.lock().unwrap(), all[..3]);
    }

    #[tokio::test]
    async fn the_last_refusal_is_told_when_all_refuse() {
        let refused = |_| std::future::ready(Err::<(), _>(io::Error::from(io::ErrorKind::ConnectionRefused)));
        let error = race(addresses(&["192.0.2.1:1", "192.0.2.2:1"]), refused).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let error = race(Vec::new(), refused).await.unwrap_err();
        assert_eq!(error.to_string(), "the name has no address");
    }
}
