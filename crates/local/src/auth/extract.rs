//! Extractors that put the signature check in front of a handler.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Instant, SystemTime},
};

use axum::extract::{FromRequest, Request as HttpRequest};
use http::request::Parts;

use super::{AccessKey, PayloadHash, Request, Verified, verify};
use crate::{
    App, Connection, body,
    error::ServiceError,
    members::Members,
    model::{ACCOUNT, Scope},
    operations,
};

/// The authenticated caller of a request and where it reached us.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Access key id; `None` when signatures are not verified and the request has none.
    pub access_key: Option<String>,
    /// The account of the key, and the region that the request was signed for, else the configured one. Resources belong to
    /// both.
    pub scope: Scope,
    /// `host:port` as the caller spells us; endpoints in answers say the same.
    pub authority: String,
    /// Whether the request came over TLS.
    pub secure: bool,
    /// The caller's address.
    pub peer: SocketAddr,
    /// When the key that the request is signed with ends, if it does.
    pub until: Option<SystemTime>,
}

impl Caller {
    /// `http://host:port` or `https://host:port`, without a path and without a trailing slash.
    pub fn http_url(&self) -> String {
        format!("{}://{}", if self.secure { "https" } else { "http" }, self.authority)
    }

    /// `ws://host:port` or `wss://host:port`, without a path and without a trailing slash.
    pub fn ws_url(&self) -> String {
        format!("{}://{}", if self.secure { "wss" } else { "ws" }, self.authority)
    }
}

/// Checks the signature over the head of a request and its payload.
///
/// # Errors
/// As [`verify`]; nothing is refused when signatures are switched off.
pub fn authorize(app: &App, parts: &Parts, payload: PayloadHash<'_>) -> Result<Caller, ServiceError> {
    let connection = parts.extensions.get::<Connection>().copied().unwrap_or_default();
    let authority = parts.headers.get(http::header::HOST).and_then(|host| host.to_str().ok()).map(str::trim);
    let authority = match authority {
        // a client that leaves the port out of Host did reach this port
        Some(host)
            if !host.is_empty()
                && !has_port(host)
                && connection.local.port() != connection.default_port() =>
        {
            format!("{host}:{}", connection.local.port())
        }
        Some(host) if !host.is_empty() => host.to_owned(),
        _ => connection.local.to_string(),
    };
    let request = Request {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or(""),
        headers: &parts.headers,
        payload,
    };
    let verified = match verify(&request, &app.keys, SystemTime::now()) {
        Ok(verified) => Some(verified),
        Err(error) if app.config.auth => return Err(error),
        Err(_) => None,
    };
    let (access_key, scope, until) = match verified {
        Some(Verified { access_key, account, region, until }) => {
            (Some(access_key), Scope { account, region }, until)
        }
        None => {
            let (key, region) = claimed(parts).unwrap_or_default();
            let account = app.keys.get(&key).map_or(ACCOUNT, AccessKey::account).to_owned();
            let region = if region.is_empty() { app.config.region.clone() } else { region };
            (None, Scope { account, region }, None)
        }
    };
    Ok(Caller { access_key, scope, authority, secure: connection.secure, peer: connection.peer, until })
}

fn has_port(host: &str) -> bool {
    host.rsplit_once(':')
        .is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
}

/// With `--no-auth` the scope of an unverified signature still says which key and region are meant.
fn claimed(parts: &Parts) -> Option<(String, String)> {
    let header = parts.headers.get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let credential = match header {
        Some(value) => value.split_once("Credential=")?.1.split([',', ' ']).next()?.to_owned(),
        None => url::form_urlencoded::parse(parts.uri.query()?.as_bytes())
            .find(|(name, _)| name == "X-Amz-Credential")?
            .1
            .into_owned(),
    };
    let mut parts = credential.split('/');
    let (key, region) = (parts.next()?, parts.nth(1)?);
    let valid = !region.is_empty() && region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    valid.then(|| (key.to_owned(), region.to_owned()))
}

/// A verified JSON request: who calls, and the members of the body.
#[derive(Debug)]
pub struct Signed {
    /// Who calls, and by which address.
    pub caller: Caller,
    /// The members of the body.
    pub members: Members,
}

impl FromRequest<Arc<App>> for Signed {
    type Rejection = ServiceError;

    async fn from_request(request: HttpRequest, app: &Arc<App>) -> Result<Self, ServiceError> {
        let (parts, body) = request.into_parts();
        let body = body::read(body).await?;
        let caller = authorize(app, &parts, PayloadHash::Body(&body))?;
        let members = Members::parse(&body)?;
        members.arns().try_for_each(|arn| caller.scope.check(&arn))?;
        if app.config.quotas
            && let Some(operation) = operations::name_of(parts.uri.path())
        {
            app.quotas.take(operation, &caller.scope, &members, Instant::now())?;
        }
        Ok(Self { caller, members })
    }
}
