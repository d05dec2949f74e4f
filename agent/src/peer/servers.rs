//! From the URLs of STUN and TURN servers (RFC 7064, RFC 7065) to addresses.

use super::IceServer;
use std::net::SocketAddr;
use std::time::Duration;

/// Longest look-up of a name.
const LOOKUP: Duration = Duration::from_secs(3);

const DEFAULT_PORT: u16 = 3478;

/// Addresses of the servers that can be reached over UDP. A name that is not found is said and left out.
pub(super) async fn resolve(servers: &[IceServer]) -> Vec<kvs_peer::IceServer> {
    let mut lookups = tokio::task::JoinSet::new();
    for (order, server) in servers.iter().enumerate() {
        for url in &server.urls {
            let Some(Target { turn, host, port }) = parse(url) else {
                continue;
            };
            let credentials = turn.then(|| (server.username.clone(), server.credential.clone()));
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
    let mut resolved: Vec<kvs_peer::IceServer> = Vec::new();
    for (_, credentials, addresses) in found {
        for family in [SocketAddr::is_ipv4, SocketAddr::is_ipv6] {
            // One of each family: a name with many addresses is one server.
            if let Some(address) = addresses.iter().find(|address| family(address)) {
                let server = kvs_peer::IceServer { address: *address, credentials: credentials.clone() };
                if !resolved.contains(&server) {
                    resolved.push(server);
                }
            }
        }
    }
    resolved
}

#[derive(Debug, PartialEq, Eq)]
struct Target {
    turn: bool,
    host: String,
    port: u16,
}

/// `None`: not over UDP without TLS, or no URL of a server.
fn parse(url: &str) -> Option<Target> {
    let (scheme, rest) = url.split_once(':')?;
    let turn = match scheme {
        "stun" => false,
        "turn" => true,
        _ => return None,
    };
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    if query.split('&').any(|part| part.starts_with("transport=") && part != "transport=udp") {
        return None;
    }
    let (host, port) = if let Some(bracketed) = place.strip_prefix('[') {
        let (host, tail) = bracketed.split_once(']')?;
        (host, tail.strip_prefix(':'))
    } else {
        match place.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        }
    };
    let port = port.map_or(Some(DEFAULT_PORT), |port| port.parse().ok())?;
    (!host.is_empty()).then(|| Target { turn, host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let target = |turn, host: &str, port| Some(Target { turn, host: host.to_owned(), port });
        assert_eq!(parse("stun:stun.example.com"), target(false, "stun.example.com", 3478));
        assert_eq!(parse("stun:192.0.2.1:443"), target(false, "192.0.2.1", 443));
        assert_eq!(parse("turn:a.example:443?transport=udp"), target(true, "a.example", 443));
        assert_eq!(parse("turn:[2001:db8::1]:443"), target(true, "2001:db8::1", 443));
        assert_eq!(parse("turn:[2001:db8::1]"), target(true, "2001:db8::1", 3478));
        for url in
            ["turns:a:443?transport=udp", "turn:a:443?transport=tcp", "turn:", "stun:a:b", "x", "turn:[::1"]
        {
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
            server("stun:127.0.0.1:6", ""),
            server("stun:no.invalid", ""),
        ])
        .await;
        let found: Vec<_> =
            found.iter().map(|server| (server.address.port(), server.credentials.is_some())).collect();
        assert_eq!(found, [(5, true), (6, false)]);
    }
}
