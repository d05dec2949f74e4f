//! Which web pages may talk to this server: a browser sends whatever a page wants to any address that its user reaches, this
//! machine's own among them, and says in `Origin` from where the page is.

use std::{net::IpAddr, str::FromStr};

use http::{HeaderMap, header};
use url::{Host, Url};

use crate::Connection;

/// The origin of a web page (RFC 6454), as browsers write it: scheme, host and port, or `null`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

/// What browsers say of a page that has no origin of its own: one from a file, of a sandboxed frame, or of a `data:` URL.
const NO_ORIGIN: &str = "null";

impl FromStr for Origin {
    type Err = &'static str;

    /// From `https://HOST[:PORT]`, `app://HOST` of a web view, or `null`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const RULE: &str = "must be the origin of a page, like http://192.168.1.5:5173, or null for pages that have none, such as \
                            those of file:";
        if text == NO_ORIGIN {
            return Ok(Self(text.to_owned()));
        }
        let url = Url::parse(text).map_err(|_| RULE)?;
        let bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
        if !bare || !url.username().is_empty() || url.password().is_some() {
            return Err(RULE);
        }
        match (url.scheme(), url.host_str().filter(|host| !host.is_empty())) {
            ("http" | "https", _) => Ok(Self(url.origin().ascii_serialization())),
            // No page is of one of these. Of the others, which web views and extensions have, the standard knows no origin.
            ("ftp" | "ws" | "wss" | "file", _) | (_, None) => Err(RULE),
            (scheme, Some(host)) => {
                let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
                Ok(Self(format!("{scheme}://{host}{port}")))
            }
        }
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
        for (given, sent) in [
            ("https://a.test:443/", "https://a.test"),
            ("HTTP://A.test:8080", "http://a.test:8080"),
            ("null", "null"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("chrome-extension://abcdef/", "chrome-extension://abcdef"),
            ("app://player:81", "app://player:81"),
        ] {
            assert_eq!(given.parse::<Origin>().unwrap().as_str(), sent);
        }
        for wrong in [
            "a.test",
            "*",
            "Null",
            "ftp://a.test",
            "file:///x.html",
            "file://",
            "data:text/html,x",
            "http://a.test/page",
            "app://a/page",
            "http://u@a.test",
            "http://:p@a.test",
            "http://",
        ] {
            assert!(wrong.parse::<Origin>().is_err(), "{wrong}");
        }
    }
}
