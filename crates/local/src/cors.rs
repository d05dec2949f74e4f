//! Cross-origin access to the AWS operations, so that a page can use the AWS SDK for JavaScript against this server.
//! `/_kvs/` has none: it hands out the page's keys.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use crate::{
    App, Config, Connection,
    error::{ErrorKind, ServiceError},
    origin::{host, is_of_this_machine, is_own},
};

/// Secrets that our documentation and examples print: everybody knows them.
const PRINTED: [&str; 1] = ["local-secret"];

const EXPOSED: &str = "x-amzn-errortype,x-amz-errortype,x-amzn-requestid,date";

pub(crate) async fn allow_browsers(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let connection = request.extensions().get::<Connection>().copied().unwrap_or_default();
    // also the handshake of signaling, to which browsers do not apply this protocol
    let granted = grant(&app.config, request.headers(), &connection);
    let origin = match &granted {
        Ok(origin) => Some(origin.clone()),
        Err(_) => request.headers().get(header::ORIGIN).cloned(),
    };
    let mut response = if request.method() == Method::OPTIONS {
        // A page that is refused may ask, too: a browser shows it no answer to what it may not ask, and with that nobody the remedy.
        answer_preflight(request.headers())
    } else {
        match granted {
            Ok(_) => next.run(request).await,
            Err(refused) => refused.into_response(),
        }
    };
    let headers = response.headers_mut();
    if let Some(origin) = origin {
        if origin != "*" {
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
    response
}

fn answer_preflight(wanted: &HeaderMap) -> Response {
    let mut response = StatusCode::OK.into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET,POST,OPTIONS"));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    let wanted = wanted.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
    if let Some(allowed) = wanted.and_then(|wanted| HeaderValue::from_str(&allowed_of(wanted)).ok()) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    }
    response
}

/// Access of players to streaming sessions, from a page of any origin: whoever has the token may watch, and nobody else can.
pub(crate) async fn allow_players(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    response
}

/// The answer to what a browser asks before a player may send headers of its own, such as `Range`. None of them changes
/// anything.
pub(crate) async fn preflight() -> Response {
    let mut response = StatusCode::OK.into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET,HEAD,OPTIONS"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

/// Those of the wanted headers that AWS clients send. A wildcard would not cover `authorization`.
fn allowed_of(wanted: &HeaderValue) -> String {
    let wanted = wanted.to_str().unwrap_or("").to_ascii_lowercase();
    let known = |name: &&str| {
        matches!(*name, "authorization" | "content-type")
            || ["x-amz-", "amz-sdk-", "x-amzn-"].iter().any(|prefix| name.starts_with(prefix))
    };
    wanted.split(',').map(str::trim).filter(known).collect::<Vec<_>>().join(",")
}

/// What `Access-Control-Allow-Origin` says to an AWS call of a page, or of a caller that is none.
///
/// As the service does, every page is answered whose script knows a secret. Where none is needed, or everybody knows it, only
/// pages of this machine and those of `--allow-origin` are: any page that its user opens could otherwise read and delete.
///
/// # Errors
/// `AccessDeniedException` that names the remedy.
fn grant(config: &Config, headers: &HeaderMap, connection: &Connection) -> Result<HeaderValue, ServiceError> {
    let any = HeaderValue::from_static("*");
    let why = if !config.auth {
        "no signatures are asked for (--no-auth)"
    } else if config.access_keys.iter().any(|key| PRINTED.contains(&key.secret())) {
        "the secret of its access key is that of the documentation"
    } else {
        return Ok(any);
    };
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(any) };
    let text = origin.to_str().unwrap_or("");
    let named = || config.allow_origins.iter().any(|allowed| allowed.as_str() == text);
    if is_own(text, host(headers), connection) || is_of_this_machine(text) || named() {
        return Ok(origin.clone());
    }
    Err(ServiceError::new(
        ErrorKind::AccessDenied,
        format!(
            "A page of {text:.200} called this kvs-local, of which {why}. Start it with a secret of your own \
             (--access-key AKID:SECRET), or with --allow-origin and that origin if the page is yours."
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AccessKey;

    fn config(secret: Option<&str>, allowed: &[&str]) -> Config {
        let mut config = Config::new("x");
        config.auth = secret.is_some();
        config.access_keys = secret.map(|secret| AccessKey::new("AKID", secret)).into_iter().collect();
        config.allow_origins = allowed.iter().map(|origin| origin.parse().unwrap()).collect();
        config
    }

    fn granted(config: &Config, host: &str, origin: Option<&str>, secure: bool) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
        origin.map(|origin| headers.insert(header::ORIGIN, HeaderValue::from_str(origin).unwrap()));
        let connection = Connection { secure, ..Connection::default() };
        grant(config, &headers, &connection).ok().map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_secret_opens_and_without_one_pages_must_be_from_here() {
        let host = "127.0.0.1:8440";
        for (config, known) in [
            (config(Some("0c4f"), &[]), false),
            (config(Some("local-secret"), &[]), true),
            (config(None, &[]), true),
        ] {
            for (origin, own) in [
                (None, true),
                (Some("http://127.0.0.1:8440"), true),
                (Some("http://localhost:5173"), true),
                (Some("https://app.localhost"), true),
                (Some("http://[::1]:3000"), true),
                (Some("http://127.9.9.9"), true),
                (Some("https://evil.example"), false),
                (Some("http://localhost.evil.example"), false),
                (Some("http://127.0.0.1.evil.example"), false),
                (Some("http://203.0.113.9"), false),
                (Some("null"), false),
                (Some("file://"), false),
                (Some(""), false),
            ] {
                let granted = granted(&config, host, origin, false);
                assert_eq!(granted.is_some(), own || !known, "{origin:?}");
                assert_eq!(granted.as_deref() == Some("*"), !known || origin.is_none(), "{origin:?}");
            }
        }
    }

    #[test]
    fn a_name_that_somebody_pointed_here_is_no_origin_of_ours() {
        let open = config(None, &[]);
        assert_eq!(granted(&open, "evil.example:8440", Some("http://evil.example:8440"), false), None);
        // the certificate is for this name
        assert!(granted(&open, "kvs.test:8443", Some("https://kvs.test:8443"), true).is_some());
        let named = config(None, &["HTTP://Evil.example:8440"]);
        let origin = Some("http://evil.example:8440");
        assert_eq!(granted(&named, "evil.example:8440", origin, false).as_deref(), origin);
    }

    #[test]
    fn a_page_without_an_origin_of_its_own_is_let_in_by_name_alone() {
        let [open, named] = [config(None, &[]), config(None, &["null", "app://player"])];
        for origin in ["null", "app://player"] {
            assert_eq!(granted(&open, "127.0.0.1:8440", Some(origin), false), None);
            assert_eq!(granted(&named, "127.0.0.1:8440", Some(origin), false).as_deref(), Some(origin));
        }
        assert_eq!(granted(&named, "127.0.0.1:8440", Some("app://another"), false), None);
    }
}
