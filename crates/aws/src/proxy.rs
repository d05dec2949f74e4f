//! [`Proxies`]: which connections go through an HTTP proxy, by `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`.
//!
//! There is no standard. Where [curl] and Go's [httpproxy] differ: variables in capitals go before small letters, `HTTP_PROXY`
//! counts (Go); a name of `NO_PROXY` stands for itself and all below it, with or without a leading dot (curl); an entry may
//! have a port, and loopback is never proxied (Go). `ALL_PROXY` is not read.
//!
//! [curl]: https://curl.se/docs/manpage.html#ENVIRONMENT
//! [httpproxy]: https://pkg.go.dev/golang.org/x/net/http/httpproxy

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use percent_encoding::percent_decode_str;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use url::Url;

use crate::tls::TlsError;

/// The variables of each kind of target: of two, the first that is not empty.
const HTTPS: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
const HTTP: [&str; 2] = ["HTTP_PROXY", "http_proxy"];
const NO: [&str; 2] = ["NO_PROXY", "no_proxy"];
/// Where the SDK looks for the instance metadata service, if it is told to.
const METADATA: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
/// The IPv6 addresses of the instance metadata service and of EKS Pod Identity, which are not link-local.
const METADATA_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)];

/// Why a variable names no proxy. Its value is not shown: it may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// It is no URL of a proxy.
    #[error(
        "{variable} names no proxy: {reason}; it must be like http://HOST:PORT, http://USER:PASSWORD@HOST:PORT or \
         https://HOST:PORT, with what is special in USER and PASSWORD percent-encoded"
    )]
    Url {
        /// `HTTPS_PROXY`, say.
        variable: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// There is no TLS to talk to it with.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A proxy that is asked to CONNECT.
pub(crate) struct Proxy {
    /// The variable that names it.
    pub(crate) variable: &'static str,
    /// Name or address, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// `Proxy-Authorization`, marked as sensitive.
    pub(crate) authorization: Option<HeaderValue>,
    /// Of an `https` proxy.
    pub(crate) tls: Option<(ServerName<'static>, Arc<ClientConfig>)>,
}

/// As it may be shown: without user and password.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        write!(f, "{scheme}://{}", authority(&self.host, self.port))
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `HOST:PORT`, with brackets around an IPv6 address.
pub(crate) fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// What the environment says of proxies.
#[derive(Debug, Default)]
pub(crate) struct Proxies {
    https: Named,
    http: Named,
    direct: Direct,
}

/// What a variable names, if it says anything. One that names no proxy is an error of what would go through it, and of nothing
/// else: an `HTTP_PROXY` that the whole cluster has says nothing to a program that calls no `http` host.
type Named = Option<Result<Arc<Proxy>, Arc<ProxyError>>>;

/// An entry of `NO_PROXY`.
#[derive(Debug, PartialEq, Eq)]
struct Rule {
    what: Hosts,
    /// All ports unless it says one.
    port: Option<u16>,
}

#[derive(Debug, PartialEq, Eq)]
enum Hosts {
    /// `*`
    All,
    /// A name, in small letters and without a dot around it, and all names below it.
    Name(String),
    /// The addresses that share so many leading bits. Only of hosts that are written as addresses: no name is resolved.
    Network(IpAddr, u8),
}

impl Proxies {
    /// Reads the environment. `tls` makes what an `https` proxy is talked to with; without one it is not asked.
    pub(crate) fn from_env(tls: impl Fn() -> Result<Arc<ClientConfig>, TlsError>) -> Self {
        Self::read(of_environment, tls)
    }

    /// As [`Self::from_env`], of other variables.
    pub(crate) fn read(
        variable: impl Fn(&str) -> Option<String>,
        tls: impl Fn() -> Result<Arc<ClientConfig>, TlsError>,
    ) -> Self {
        let named = |names| {
            let (name, value) = first(names, &variable)?;
            Some(Proxy::parse(name, &value, &tls).map(Arc::new).map_err(Arc::new))
        };
        Self { https: named(HTTPS), http: named(HTTP), direct: Direct::read(&variable) }
    }

    /// The proxy for a connection to `host` (a name, or an address without brackets); `secure` if TLS follows.
    ///
    /// # Errors
    /// The variable that goes for this connection names no proxy.
    pub(crate) fn of(&self, secure: bool, host: &str, port: u16) -> Result<Option<&Proxy>, Arc<ProxyError>> {
        let named = if secure { &self.https } else { &self.http };
        match named {
            Some(named) if !self.direct.holds(host, port) => {
                named.as_ref().map(|proxy| Some(&**proxy)).map_err(Arc::clone)
            }
            _ => Ok(None),
        }
    }
}

/// The first of these variables that says something, and what.
fn first(
    names: [&'static str; 2],
    variable: impl Fn(&str) -> Option<String>,
) -> Option<(&'static str, String)> {
    names.into_iter().find_map(|name| {
        let value = variable(name)?.trim().to_owned();
        (!value.is_empty()).then_some((name, value))
    })
}

fn of_environment(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// Whether no proxy is asked for this host (a name, or an address without brackets), whatever proxies there are: it is this
/// machine, a metadata service, or `NO_PROXY` has it.
#[must_use]
pub fn is_direct(host: &str, port: u16) -> bool {
    Direct::read(of_environment).holds(host, port)
}

/// Where no proxy is asked.
#[derive(Debug, Default)]
struct Direct(Vec<Rule>);

impl Direct {
    fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let mut direct = Vec::new();
        if let Some((name, value)) = first(NO, &variable) {
            for entry in value.split([',', ' ', '\t']).filter(|entry| !entry.is_empty()) {
                match Rule::parse(entry) {
                    Some(rule) => direct.push(rule),
                    None => tracing::warn!(entry, "{name} has an entry that is no host, address or network"),
                }
            }
        }
        // a metadata service that is elsewhere is still none of a proxy's business
        let metadata = variable(METADATA).and_then(|url| Url::parse(url.trim()).ok());
        direct.extend(metadata.and_then(|url| Rule::parse(url.host_str()?)));
        Self(direct)
    }

    fn holds(&self, host: &str, port: u16) -> bool {
        let host = normalized(host);
        let address = host.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        let local = match address {
            Some(IpAddr::V4(address)) => address.is_loopback() || address.is_link_local(),
            Some(IpAddr::V6(address)) => {
                address.is_loopback() || address.is_unicast_link_local() || METADATA_V6.contains(&address)
            }
            None => host == "localhost" || host.ends_with(".localhost"),
        };
        local || self.0.iter().any(|rule| rule.matches(&host, address, port))
    }
}

/// A host in small letters, without the dot of a name that is written in full.
fn normalized(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

impl Rule {
    fn parse(entry: &str) -> Option<Self> {
        if entry == "*" {
            return Some(Self { what: Hosts::All, port: None });
        }
        if let Some((address, bits)) = entry.split_once('/') {
            let address = bare(address).parse::<IpAddr>().ok()?;
            let bits = bits.parse().ok().filter(|bits| *bits <= width(address))?;
            return Some(Self { what: Hosts::Network(address, bits), port: None });
        }
        let address = |text: &str| {
            let address = bare(text).parse::<IpAddr>().ok()?.to_canonical();
            Some(Hosts::Network(address, width(address)))
        };
        // before a port is looked for, which an IPv6 address without brackets cannot have
        if let Some(what) = address(entry) {
            return Some(Self { what, port: None });
        }
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse::<u16>().ok()?)),
            None => (entry, None),
        };
        let what = address(host).or_else(|| {
            let name = normalized(host.strip_prefix('*').unwrap_or(host));
            let name = name.strip_prefix('.').unwrap_or(&name);
            let allowed = |c: char| !matches!(c, '*' | '/' | ':' | '[' | ']' | '@');
            (!name.is_empty() && name.chars().all(allowed)).then(|| Hosts::Name(name.to_owned()))
        })?;
        Some(Self { what, port })
    }

    fn matches(&self, host: &str, address: Option<IpAddr>, port: u16) -> bool {
        if self.port.is_some_and(|only| only != port) {
            return false;
        }
        match (&self.what, address) {
            (Hosts::All, _) => true,
            (Hosts::Network(network, bits), Some(address)) => within(address, *network, *bits),
            (Hosts::Name(name), None) => {
                host.strip_suffix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
            _ => false,
        }
    }
}

/// An IPv6 address without its brackets.
fn bare(text: &str) -> &str {
    text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text)
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    // what the mask leaves of the difference, with the address at the upper end
    let differ = match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => u128::from(address.to_bits() ^ network.to_bits()) << 96,
        (IpAddr::V6(address), IpAddr::V6(network)) => address.to_bits() ^ network.to_bits(),
        _ => return false,
    };
    differ.leading_zeros() >= u32::from(bits)
}

impl Proxy {
    fn parse(
        variable: &'static str,
        value: &str,
        tls: &impl Fn() -> Result<Arc<ClientConfig>, TlsError>,
    ) -> Result<Self, ProxyError> {
        let wrong = |reason| ProxyError::Url { variable, reason };
        // `proxy:3128`, as curl and Go take it
        let value = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
        let url = Url::parse(&value).map_err(|_| wrong("it is no URL"))?;
        let secure = match url.scheme() {
            "http" => false,
            "https" => true,
            _ => return Err(wrong("only http and https proxies are supported")),
        };
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("something follows its port"));
        }
        let host = bare(url.host_str().ok_or_else(|| wrong("it has no host"))?).to_owned();
        let port = url.port_or_known_default().ok_or_else(|| wrong("it has no port"))?;
        let tls = match secure {
            true => {
                let name = ServerName::try_from(host.clone())
                    .map_err(|_| wrong("no certificate can name its host"))?;
                Some((name, tls()?))
            }
            false => None,
        };
        let authorization = match (url.username(), url.password()) {
            ("", None) => None,
            (user, password) => Some(basic(user, password.unwrap_or_default(), variable)?),
        };
        Ok(Self { variable, host, port, authorization, tls })
    }
}

/// RFC 7617, of percent-encoded user and password.
fn basic(user: &str, password: &str, variable: &'static str) -> Result<HeaderValue, ProxyError> {
    let wrong = |reason| ProxyError::Url { variable, reason };
    let mut pair: Vec<u8> = percent_decode_str(user).collect();
    if pair.contains(&b':') {
        return Err(wrong("its user has a colon, which cannot be sent"));
    }
    pair.push(b':');
    pair.extend(percent_decode_str(password));
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)))
        .map_err(|_| wrong("its user and password cannot be sent"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn no_tls() -> Result<Arc<ClientConfig>, TlsError> {
        Ok(Arc::new(
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth(),
        ))
    }

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        let find = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Proxies::read(find, no_tls)
    }

    fn shown(proxies: &Proxies, secure: bool, host: &str, port: u16) -> Option<String> {
        proxies.of(secure, host, port).unwrap().map(ToString::to_string)
    }

    #[test]
    fn the_kind_of_target_chooses_the_variable_and_capitals_go_first() {
        let none = proxies(&[("HTTPS_PROXY", ""), ("https_proxy", " ")]);
        assert_eq!(shown(&none, true, "a.test", 443), None);
        let both = proxies(&[("HTTPS_PROXY", "http://s:1"), ("https_proxy", "http://x:1")]);
        assert_eq!(shown(&both, true, "a.test", 443).as_deref(), Some("http://s:1"));
        assert_eq!(shown(&both, false, "a.test", 80), None);
        let small = proxies(&[("HTTPS_PROXY", ""), ("https_proxy", "s"), ("http_proxy", "p:3128")]);
        assert_eq!(shown(&small, true, "a.test", 443).as_deref(), Some("http://s:80"));
        assert_eq!(shown(&small, false, "a.test", 80).as_deref(), Some("http://p:3128"));
        let secure = proxies(&[("HTTPS_PROXY", "https://[2001:db8::1]/")]);
        assert_eq!(shown(&secure, true, "a.test", 443).as_deref(), Some("https://[2001:db8::1]:443"));
    }

    #[test]
    fn user_and_password_are_sent_and_never_shown() {
        let with = |value: &str| proxies(&[("HTTPS_PROXY", value)]);
        for (value, sent) in [
            ("http://u:p@h:1", "u:p"),
            ("u:p@h:1", "u:p"),
            ("http://u@h:1", "u:"),
            ("http://:p@h:1", ":p"),
            ("http://u:p%40%3A%2F%25@h:1", "u:p@:/%"),
            ("http://u:a:b@h:1", "u:a:b"),
        ] {
            let proxies = with(value);
            let proxy = proxies.of(true, "a.test", 443).unwrap().unwrap();
            let header = proxy.authorization.as_ref().unwrap();
            assert!(header.is_sensitive());
            assert_eq!(header, &format!("Basic {}", STANDARD.encode(sent)), "{value}");
            assert_eq!((proxy.to_string(), format!("{proxy:?}")), ("http://h:1".into(), "http://h:1".into()));
            let all = format!("{proxies:?}");
            assert!(!all.contains(&STANDARD.encode(sent)) && !all.contains("u:"), "{all}");
        }
    }

    #[test]
    fn what_is_no_proxy_is_refused_by_the_name_of_its_variable_alone() {
        for value in [
            "socks5://u:hunter2@h:1",
            "http://u:hunter2@",
            "http://u:hunter2@h:99999",
            "http://u:hunter2@h:1/x",
            "http://a%3Ab:hunter2@h",
        ] {
            let proxies = proxies(&[("http_proxy", value), ("HTTPS_PROXY", "p:1")]);
            let error = proxies.of(false, "a.test", 80).unwrap_err().to_string();
            assert!(error.starts_with("http_proxy ") && error.contains("http://HOST:PORT"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
            // What does not go through it does not need it.
            assert_eq!(shown(&proxies, true, "a.test", 443).as_deref(), Some("http://p:1"));
            assert_eq!(shown(&proxies, false, "127.0.0.1", 80), None);
        }
    }

    #[test]
    fn no_proxy_is_read_as_curl_and_go_do() {
        for (rules, host, port, direct) in [
            ("*", "a.test", 443, true),
            ("a.test,*", "b", 1, true),
            ("example.com", "example.com", 443, true),
            ("example.com", "www.Example.COM.", 443, true),
            ("EXAMPLE.com.", "example.com", 443, true),
            ("example.com", "notexample.com", 443, false),
            (".example.com", "example.com", 443, true),
            (".example.com", "a.b.example.com", 443, true),
            ("*.example.com", "a.example.com", 443, true),
            ("example.com", "com", 443, false),
            ("a.test, b.test\tc.test", "c.test", 443, true),
            ("a.test:8443", "a.test", 8443, true),
            ("a.test:8443", "a.test", 443, false),
            ("a.test:x", "a.test", 443, false),
            ("10.0.0.0/8", "10.255.0.1", 443, true),
            ("10.0.0.0/8", "11.0.0.1", 443, false),
            ("10.1.2.3/8", "10.9.9.9", 443, true),
            ("10.0.0.0/33", "10.0.0.1", 443, false),
            ("0.0.0.0/0", "8.8.8.8", 443, true),
            ("0.0.0.0/0", "2001:db8::1", 443, false),
            ("192.0.2.7", "192.0.2.7", 443, true),
            ("192.0.2.7:80", "192.0.2.7", 443, false),
            ("192.0.2.7", "::ffff:192.0.2.7", 443, true),
            ("2001:db8::/32", "2001:db8:1::1", 443, true),
            ("2001:db8::1", "2001:db8:0::1", 443, true),
            ("[2001:db8::1]:8443", "2001:db8::1", 8443, true),
            ("[2001:db8::1]:8443", "2001:db8::1", 443, false),
            ("2.0.192.in-addr.arpa", "192.0.2.7", 443, false),
            ("7", "192.0.2.7", 443, false),
            ("", "a.test", 443, false),
            (",,", "a.test", 443, false),
        ] {
            let proxies = proxies(&[("HTTPS_PROXY", "p:1"), ("no_proxy", rules)]);
            assert_eq!(shown(&proxies, true, host, port).is_none(), direct, "{rules:?} {host} {port}");
        }
    }

    #[test]
    fn this_machine_and_where_it_gets_its_credentials_are_never_proxied() {
        let metadata = (METADATA, "http://imds.test:1338/x");
        let proxies = proxies(&[("HTTP_PROXY", "p:1"), ("HTTPS_PROXY", "p:1"), metadata]);
        for host in [
            "localhost",
            "a.localhost",
            "LOCALHOST.",
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "::ffff:127.0.0.1",
            "169.254.169.254",
            "169.254.170.2",
            "169.254.170.23",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fe80::1",
            "imds.test",
        ] {
            assert_eq!(
                (shown(&proxies, false, host, 80), shown(&proxies, true, host, 443)),
                (None, None),
                "{host}"
            );
        }
        for host in ["localhost.test", "notlocalhost", "fd00:ec2::1", "10.0.0.1", "128.0.0.1"] {
            assert!(shown(&proxies, true, host, 443).is_some(), "{host}");
        }
    }

    proptest! {
        /// A network holds the addresses that share its leading bits, said in another way.
        #[test]
        fn a_network_is_a_range(network: u32, address: u32, bits in 0u8..=32) {
            let size = 1u64 << (32 - bits);
            let first = u64::from(network) / size * size;
            let inside = (first..first + size).contains(&u64::from(address));
            let ip = |bits: u32| IpAddr::from(std::net::Ipv4Addr::from_bits(bits));
            prop_assert_eq!(within(ip(address), ip(network), bits), inside);
        }

        /// Whatever is in the variables, there is an answer or an error, and no password in either.
        #[test]
        fn no_value_panics_or_is_told(value in "(https?://)?[a-z:@%\\[\\]/.0-9]{0,12}hunter2@[a-z:@%\\[\\]/.0-9 ]{0,16}", rules in "\\PC{0,40}") {
            let read = proxies(&[("HTTPS_PROXY", &value), ("NO_PROXY", &rules)]);
            let shown = match read.of(true, "a.test", 443) {
                Ok(proxy) => format!("{:?} {proxy:?}", read.https),
                Err(error) => format!("{error} {error:?}"),
            };
            prop_assert!(!shown.contains("hunter2"), "{}", shown);
        }
    }
}
