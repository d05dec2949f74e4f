//! Which web pages may talk to this server: a browser sends whatever a page wants to any address that its user reaches, this
//! machine's own among them, and says in `Origin` from where the page is.

use std::{net::IpAddr, str::FromStr};

use http::{HeaderMap, header};
use url::{Host, Url};

use crate::Connection;

/// The origin of a web page (RFC 6454): scheme, host and port, as browsers write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

impl FromStr for Origin {
    type Err = &'static str;

    /// From `https://HOST[:PORT]`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const RULE: &str = "must be the origin of a page, like http://192.168.1.5:5173";
        let url = Url::parse(text).map_err(|_| RULE)?;
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if !matches!(url.scheme(), "http" | "https") || !bare || !url.username().is_empty() {
            return Err(RULE);
        }
        Ok(Self(url.origin().ascii_serialization()))
    }
}

impl Origin {
    /// As a browser sends it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether somebody else can have pointed the name that we are called by at this server: a page of theirs is then of our own
/// origin to a browser (DNS rebinding). Nobody can with `localhost` and plain addresses, and over TLS the certificate has
/// settled the name.
pub(crate) fn is_trusted_host(host: &str, connection: &Connection) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
    connection.secure || address || name.eq_ignore_ascii_case("localhost")
}

/// The `Host` header, or nothing.
pub(crate) fn host(headers: &HeaderMap) -> &str {
    headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("")
}

/// Whether the page is one of this server's own, under the name that it is called by.
pub(crate) fn is_own(origin: &str, host: &str, connection: &Connection) -> bool {
    is_trusted_host(host, connection) && origin.split_once("://").is_some_and(|(_, from)| from == host)
}

/// Whether the page is of a server on the machine of its reader: somebody's page in the making.
pub(crate) fn is_of_this_machine(origin: &str) -> bool {
    let Ok(url) = Url::parse(origin) else { return false };
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        assert_eq!("https://a.test:443/".parse::<Origin>().unwrap().as_str(), "https://a.test");
        for wrong in
            ["a.test", "*", "null", "ftp://a.test", "http://a.test/page", "http://u@a.test", "http://"]
        {
            assert!(wrong.parse::<Origin>().is_err(), "{wrong}");
        }
    }
}
