//! From the URLs of STUN and TURN servers (RFC 7064, RFC 7065) to addresses, and to streams.

use super::IceServer;
use kvs_peer::{RelayProtocol, TurnStream};
use std::net::SocketAddr;
use std::time::Duration;
use url::Url;

/// Longest look-up of a name.
const LOOKUP: Duration = Duration::from_secs(3);

/// RFC 7065, section 3.2.
const DEFAULT_PORT: u16 = 3478;
const DEFAULT_TLS_PORT: u16 = 5349;

/// TURN servers that are asked over TCP or TLS: each relay is one more candidate, and one more allocation on the server.
const MAX_STREAMS: usize = 4;

/// Servers, by how they are reached.
#[derive(Debug, Default)]
pub(super) struct Servers {
    pub(super) udp: Vec<kvs_peer::IceServer>,
    /// With the URL that they are connected to by: `https` for TLS. At most [`MAX_STREAMS`].
    pub(super) streams: Vec<(Url, TurnStream)>,
}

/// Looks up those that are reached over UDP; who connects to the others looks them up, or has a proxy do it. A name that is not
/// found is said and left out.
pub(super) async fn resolve(servers: &[IceServer]) -> Servers {
    let mut lookups = tokio::task::JoinSet::new();
    let mut streams: Vec<(Url, TurnStream)> = Vec::new();
    for (order, server) in servers.iter().enumerate() {
        for url in &server.urls {
            let Some(Target { turn, protocol, host, port }) = parse(url) else {
                tracing::debug!(url, "a STUN or TURN server that is not used");
                continue;
            };
            let credentials = (server.username.clone(), server.credential.clone());
            if protocol != RelayProtocol::Udp {
                let Some(to) = connect_url(protocol, &host, port) else {
                    tracing::warn!(url, "the TURN server has a name that nothing can connect to");
                    continue;
                };
                let stream = (to, TurnStream { name: url.clone(), protocol, credentials });
                if streams.len() < MAX_STREAMS && !streams.iter().any(|(known, _)| *known == stream.0) {
                    streams.push(stream);
                }
                continue;
            }
            let credentials = turn.then_some(credentials);
            lookups.spawn(async move {
                let found =
                    tokio::time::timeout(LOOKUP, tokio::net::lookup_host((host.as_str(), port))).await;
                let addresses: Vec<SocketAddr> = match found {
                    Ok(Ok(addresses)) => addresses.collect(),
                    Ok(Err(error)) => {
                        tracing::warn!(%error, host, "STUN or TURN server not found");
                        Vec::new()
                    }
                    Err(_) => {
                        tracing::warn!(host, "STUN or TURN server not found: the look-up took too long");
                        Vec::new()
                    }
                };
                (order, credentials, addresses)
            });
        }
    }
    let mut found = lookups.join_all().await;
    found.sort_by_key(|(order, ..)| *order);
    let mut udp: Vec<kvs_peer::IceServer> = Vec::new();
    for (_, credentials, addresses) in found {
        for family in [SocketAddr::is_ipv4, SocketAddr::is_ipv6] {
            // One of each family: a name with many addresses is one server.
            if let Some(address) = addresses.iter().find(|address| family(address)) {
                let server = kvs_peer::IceServer { address: *address, credentials: credentials.clone() };
                if !udp.contains(&server) {
                    udp.push(server);
                }
            }
        }
    }
    Servers { udp, streams }
}

/// What [`kvs_aws::AwsContext::connect`] takes: there, proxies and roots are chosen.
fn connect_url(protocol: RelayProtocol, host: &str, port: u16) -> Option<Url> {
    let scheme = if protocol == RelayProtocol::Tls { "https" } else { "http" };
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let url = Url::parse(&format!("{scheme}://{host}:{port}/")).ok()?;
    // Nothing else may have been in what is called its name.
    let rest = (url.username(), url.password(), url.path(), url.query(), url.fragment());
    (rest == ("", None, "/", None, None)).then_some(url)
}

#[derive(Debug, PartialEq, Eq)]
struct Target {
    turn: bool,
    protocol: RelayProtocol,
    host: String,
    port: u16,
}

/// `None`: over DTLS, or STUN over a stream, which says nothing of UDP; or no URL of a server.
fn parse(url: &str) -> Option<Target> {
    let (scheme, rest) = url.split_once(':')?;
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let transport = query.split('&').find_map(|part| part.strip_prefix("transport="));
    let (turn, protocol) = match (scheme, transport) {
        ("stun", None | Some("udp")) => (false, RelayProtocol::Udp),
        ("turn", None | Some("udp")) => (true, RelayProtocol::Udp),
        ("turn", Some("tcp")) => (true, RelayProtocol::Tcp),
        ("turns", None | Some("tcp")) => (true, RelayProtocol::Tls),
        _ => return None,
    };
    let (host, port) = if let Some(bracketed) = place.strip_prefix('[') {
        let (host, tail) = bracketed.split_once(']')?;
        (host, tail.strip_prefix(':'))
    } else {
        match place.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        }
    };
    let default = if protocol == RelayProtocol::Tls { DEFAULT_TLS_PORT } else { DEFAULT_PORT };
    let port = port.map_or(Some(default), |port| port.parse().ok())?;
    (!host.is_empty()).then(|| Target { turn, protocol, host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;
    use RelayProtocol::{Tcp, Tls, Udp};

    #[test]
    fn urls() {
        let target =
            |turn, protocol, host: &str, port| Some(Target { turn, protocol, host: host.to_owned(), port });
        for (url, expected) in [
            ("stun:stun.example.com", target(false, Udp, "stun.example.com", 3478)),
            ("stun:192.0.2.1:443", target(false, Udp, "192.0.2.1", 443)),
            ("turn:a.example:443?transport=udp", target(true, Udp, "a.example", 443)),
            ("turn:[2001:db8::1]:443", target(true, Udp, "2001:db8::1", 443)),
            ("turn:[2001:db8::1]", target(true, Udp, "2001:db8::1", 3478)),
            ("turn:a:443?transport=tcp", target(true, Tcp, "a", 443)),
            ("turn:a?transport=tcp", target(true, Tcp, "a", 3478)),
            ("turns:a:443?transport=tcp", target(true, Tls, "a", 443)),
            ("turns:[2001:db8::1]", target(true, Tls, "2001:db8::1", 5349)),
        ] {
            assert_eq!(parse(url), expected, "{url}");
        }
        for url in [
            "turns:a:443?transport=udp",
            "stuns:a",
            "stun:a?transport=tcp",
            "turn:",
            "stun:a:b",
            "x",
            "turn:[::1",
        ] {
            assert_eq!(parse(url), None, "{url}");
        }
    }

    #[tokio::test]
    async fn servers_are_found_in_order_and_once() {
        let server = |url: &str, username: &str| IceServer {
            urls: vec![url.to_owned(), url.to_owned()],
            username: username.to_owned(),
            credential: "c".to_owned(),
        };
        let found = resolve(&[
            server("turn:127.0.0.1:5", "u"),
            server("turns:relay.example:443?transport=tcp", "u"),
            server("stun:127.0.0.1:6", ""),
            server("stun:no.invalid", ""),
            server("turn:[::1]:7?transport=tcp", "v"),
        ])
        .await;
        let udp: Vec<_> =
            found.udp.iter().map(|server| (server.address.port(), server.credentials.is_some())).collect();
        assert_eq!(udp, [(5, true), (6, false)]);
        let streams: Vec<_> = found
            .streams
            .iter()
            .map(|(url, stream)| (url.as_str(), stream.protocol, stream.credentials.0.as_str()))
            .collect();
        assert_eq!(streams, [("https://relay.example/", Tls, "u"), ("http://[::1]:7/", Tcp, "v")]);
        assert!(!format!("{found:?}").contains("\"c\""), "{found:?}");
    }

    #[test]
    fn a_name_is_nothing_but_a_name() {
        for host in ["user@a", "a/b", "a?b", "a#b", "a b"] {
            assert_eq!(connect_url(Tls, host, 443), None, "{host}");
        }
    }
}
