//! Where to publish.

use std::fmt;

/// Why a URL is none to publish to. None of them quotes it: it may hold a stream key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DestinationError {
    /// Neither `rtmp` nor `rtmps`.
    #[error("the URL does not begin with rtmp:// or rtmps://")]
    Scheme,
    /// User and password, as some servers of Adobe's time want them.
    #[error("the URL has a user or password before its host: authentication of that kind is not supported")]
    User,
    /// No host, or one that none can be called.
    #[error("the URL has no usable host")]
    Host,
    /// No number from 1 to 65535.
    #[error("the port of the URL is not a number from 1 to 65535")]
    Port,
    /// Nothing behind the host.
    #[error("the URL names no application: it must be like rtmps://HOST/APP")]
    NoApp,
    /// No stream key given, and none in the URL.
    #[error("there is no stream key: give one apart, or as the last part of the URL, rtmps://HOST/APP/KEY")]
    NoKey,
    /// A space, a control character or something outside of ASCII.
    #[error("the {0} has a character that no URL may have: a space, a line break or one outside of ASCII")]
    Character(&'static str),
    /// Longer than a string of AMF0 can be asked for without harm.
    #[error("the {0} is longer than 4096 characters")]
    TooLong(&'static str),
}

/// No service has keys or URLs of such a length.
const MAX_LENGTH: usize = 4096;

/// A server, an application on it, and the name to publish under, which is a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Destination {
    secure: bool,
    /// Name or address, without brackets.
    host: String,
    port: u16,
    app: String,
    name: String,
}

impl Destination {
    /// Reads `url`, and `key` if that is given apart.
    ///
    /// With a key apart, the whole path is the application, as OBS has it. Without, what follows the last `/` of the path is
    /// the key, with the query behind it: `rtmp://host/app/key?auth=x`. Nothing is percent-decoded, in neither: servers
    /// compare with what was typed, and OBS and ffmpeg hand it on as it is. White space around either is dropped: a Secret is
    /// often made of a file that ends with a line break.
    ///
    /// # Errors
    ///
    /// [`DestinationError`], which does not quote the URL.
    pub fn parse(url: &str, key: Option<&str>) -> Result<Self, DestinationError> {
        let (url, key) = (url.trim(), key.map(str::trim));
        check("URL", url)?;
        key.map_or(Ok(()), |key| check("stream key", key))?;
        let (scheme, rest) = url.split_once("://").ok_or(DestinationError::Scheme)?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "rtmps" => true,
            "rtmp" => false,
            _ => return Err(DestinationError::Scheme),
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (host, port) = host_and_port(authority)?;
        let port = port.unwrap_or(if secure { 443 } else { 1935 });
        let path = path.trim_start_matches('/');
        let (app, name) = match key {
            // Its Secret is empty: what is last in the URL is not meant to be one.
            Some("") => return Err(DestinationError::NoKey),
            Some(key) => (without_slash(path), key.trim_start_matches('/').to_owned()),
            None => {
                // A slash in the query is none of the path.
                let parts = path.split('?').next().unwrap_or(path);
                let slash = parts.trim_end_matches('/').rfind('/');
                let Some(slash) = slash else {
                    return Err(if parts.is_empty() {
                        DestinationError::NoApp
                    } else {
                        DestinationError::NoKey
                    });
                };
                (without_slash(&path[..slash]), path[slash + 1..].to_owned())
            }
        };
        if app.is_empty() {
            return Err(DestinationError::NoApp);
        }
        if name.trim_matches('/').is_empty() {
            return Err(DestinationError::NoKey);
        }
        Ok(Self { secure, host, port, app, name })
    }

    /// TLS under it.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Name or address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Of TCP.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn app(&self) -> &str {
        &self.app
    }

    /// The stream key.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What a server says, without what may be a key: servers repeat the name, or a part of it, that they refuse. The first part
    /// of the application is no secret.
    pub(crate) fn without_secrets(&self, text: String) -> String {
        let (path, query) = self.name.split_once('?').unwrap_or((&self.name, ""));
        let values = query.split('&').map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value));
        let parts = self.app.split(['/', '?']).skip(1);
        let mut secrets: Vec<&str> =
            [self.name.as_str(), path].into_iter().chain(values).chain(parts).collect();
        // Words of three letters are in every sentence.
        secrets.retain(|secret| secret.len() >= 4);
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.into_iter().fold(text, |text, secret| text.replace(secret, "…"))
    }

    /// `tcUrl` of `connect`.
    pub(crate) fn tc_url(&self) -> String {
        format!("{}/{}", self.server(), self.app)
    }

    fn server(&self) -> String {
        let scheme = if self.secure { "rtmps" } else { "rtmp" };
        let Self { host, port, .. } = self;
        if host.contains(':') {
            format!("{scheme}://[{host}]:{port}")
        } else {
            format!("{scheme}://{host}:{port}")
        }
    }
}

/// `rtmps://HOST:PORT/APP/…`: neither key nor query, and of an application in parts the first alone, as a key that was put
/// into the URL in some other way may be in the others.
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let app = self.app.split(['/', '?']).next().unwrap_or_default();
        write!(f, "{}/{app}/…", self.server())
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn check(what: &'static str, text: &str) -> Result<(), DestinationError> {
    if text.len() > MAX_LENGTH {
        return Err(DestinationError::TooLong(what));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(DestinationError::Character(what));
    }
    Ok(())
}

fn without_slash(app: &str) -> String {
    app.trim_end_matches('/').to_owned()
}

fn host_and_port(authority: &str) -> Result<(String, Option<u16>), DestinationError> {
    if authority.contains('@') {
        return Err(DestinationError::User);
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, behind) = rest.split_once(']').ok_or(DestinationError::Host)?;
            address.parse::<std::net::Ipv6Addr>().map_err(|_| DestinationError::Host)?;
            let port = match behind {
                "" => None,
                behind => Some(behind.strip_prefix(':').ok_or(DestinationError::Host)?),
            };
            (address, port)
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if host.is_empty() || host.contains(['\\', '"', '<', '>', '%']) {
        return Err(DestinationError::Host);
    }
    let port = match port {
        None => None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse().ok().filter(|port| *port > 0).ok_or(DestinationError::Port)?)
        }
        Some(_) => return Err(DestinationError::Port),
    };
    Ok((host.to_owned(), port))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(url: &str, key: Option<&str>) -> (bool, String, u16, String, String) {
        let Destination { secure, host, port, app, name } = Destination::parse(url, key).unwrap();
        (secure, host, port, app, name)
    }

    fn expect(
        secure: bool,
        host: &str,
        port: u16,
        app: &str,
        name: &str,
    ) -> (bool, String, u16, String, String) {
        (secure, host.to_owned(), port, app.to_owned(), name.to_owned())
    }

    #[test]
    fn what_a_server_repeats_of_a_key_is_not_told() {
        let destination = Destination::parse("rtmp://h/live/customer1", Some("key1?auth=hunter2")).unwrap();
        let said = "customer1/key1 of live is busy: hunter2 is wrong, key1?auth=hunter2";
        assert_eq!(destination.without_secrets(said.to_owned()), "…/… of live is busy: … is wrong, …");
        let short = Destination::parse("rtmp://h/live", Some("abc")).unwrap();
        assert_eq!(short.without_secrets("abcdef".to_owned()), "abcdef");
    }

    #[test]
    fn urls_are_read_as_obs_and_ffmpeg_read_them() {
        assert_eq!(parts("rtmp://h/live/k", None), expect(false, "h", 1935, "live", "k"));
        assert_eq!(
            parts("rtmps://x.global-contribute.live-video.net:443/app/", Some("sk_eu_1")),
            expect(true, "x.global-contribute.live-video.net", 443, "app", "sk_eu_1")
        );
        assert_eq!(parts("RTMPS://h/a/", Some("k\n")), expect(true, "h", 443, "a", "k"));
        assert_eq!(parts("rtmp://h:19/a/b/k?auth=x/y", None), expect(false, "h", 19, "a/b", "k?auth=x/y"));
        assert_eq!(parts("rtmp://h/a/b", Some("c/d?e=%20")), expect(false, "h", 1935, "a/b", "c/d?e=%20"));
        assert_eq!(parts("rtmp://h/a?v=1", Some("k")), expect(false, "h", 1935, "a?v=1", "k"));
        assert_eq!(parts("rtmp://[::1]:77/a/k", None), expect(false, "::1", 77, "a", "k"));
        assert_eq!(Destination::parse("rtmp://[::1]/a/k", None).unwrap().tc_url(), "rtmp://[::1]:1935/a");
    }

    #[test]
    fn what_is_wrong_is_named() {
        use DestinationError::*;
        for (url, key, error) in [
            ("http://h/a/k", None, Scheme),
            ("h/a/k", None, Scheme),
            ("rtmp://u:p@h/a/k", None, User),
            ("rtmp:///a/k", None, Host),
            ("rtmp://[x]/a/k", None, Host),
            ("rtmp://h:0/a/k", None, Port),
            ("rtmp://h:70000/a/k", None, Port),
            ("rtmp://h:-1/a/k", None, Port),
            ("rtmp://h", Some("k"), NoApp),
            ("rtmp://h/", None, NoApp),
            ("rtmp://h/a", None, NoKey),
            ("rtmp://h/a/b", Some(" "), NoKey),
            ("rtmp://h/a/", None, NoKey),
            ("rtmp://h/a", Some(" \n"), NoKey),
            ("rtmp://h/a b", Some("k"), Character("URL")),
            ("rtmp://h/a", Some("k k"), Character("stream key")),
        ] {
            assert_eq!(Destination::parse(url, key), Err(error), "{url}");
        }
    }

    proptest! {
        #[test]
        fn neither_key_nor_query_is_ever_shown(url in "rtmps?://[a-z]{1,8}(:[1-9][0-9]{0,3})?/app(/[a-z]{0,5})?/TOPSECRET[?&=/a-z]{0,9}", apart in any::<bool>()) {
            let key = apart.then_some("TOPSECRET?auth=TOPSECRET");
            let base = url.replace("TOPSECRET", "");
            let mut shown = Vec::new();
            for (url, key) in [(url.as_str(), None), (base.as_str(), key)] {
                match Destination::parse(url, key) {
                    Ok(it) => shown.push(format!("{it} {it:?}")),
                    Err(error) => shown.push(format!("{error} {error:?}")),
                }
            }
            prop_assert!(!shown.concat().contains("TOPSECRET"), "{:?}", shown);
        }

        #[test]
        fn never_panics(url in ".{0,60}", key in proptest::option::of(".{0,20}")) {
            let _ = Destination::parse(&url, key.as_deref());
        }
    }
}
