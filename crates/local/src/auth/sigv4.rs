//! Verification of a signature, pure: request and time in, caller or refusal out.

use std::time::{Duration, SystemTime};

use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use sha2::{Digest, Sha256};
use time::{
    OffsetDateTime, PrimitiveDateTime, format_description::BorrowedFormatItem, macros::format_description,
};

use super::{KeyRing, canonical};
use crate::error::{ErrorKind, ServiceError};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
/// How far the caller's clock may be off.
const TOLERANCE: Duration = Duration::from_secs(300);
/// The longest life of a signed URL: a week.
const MAX_EXPIRES: u64 = 604_800;
const DATE: &[BorrowedFormatItem<'_>] = format_description!("[year][month][day]T[hour][minute][second]Z");

/// What of the body the caller must have signed.
#[derive(Debug, Clone, Copy)]
pub enum PayloadHash<'a> {
    /// This body; also `UNSIGNED-PAYLOAD` when `x-amz-content-sha256` says so.
    Body(&'a [u8]),
    /// A body that is not known yet (PutMedia): the hash of the empty string, or whatever `x-amz-content-sha256` says.
    Streamed,
}

/// The parts of a request that a signature covers.
#[derive(Debug)]
pub struct Request<'a> {
    /// `GET`, `POST`
    pub method: &'a str,
    /// The path as sent.
    pub path: &'a str,
    /// The query as sent, without `?`.
    pub query: &'a str,
    /// All headers as sent.
    pub headers: &'a HeaderMap,
    /// What of the body is signed.
    pub payload: PayloadHash<'a>,
}

/// A caller whose signature was right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The access key id.
    pub access_key: String,
    /// The account of the key.
    pub account: String,
    /// The region of the credential scope.
    pub region: String,
    /// Until when the key may call, if that has an end.
    pub until: Option<SystemTime>,
}

/// Checks the signature of a request, in its header form or its query form (as WebSocket handshakes use it).
///
/// # Errors
/// 403 in the words of the real service: no signature, an unknown key, a wrong, expired or early signature.
pub fn verify(request: &Request<'_>, keys: &KeyRing, now: SystemTime) -> Result<Verified, ServiceError> {
    verify_service(request, keys, now, "kinesisvideo")
}

pub(super) fn verify_service(
    request: &Request<'_>,
    keys: &KeyRing,
    now: SystemTime,
    service: &str,
) -> Result<Verified, ServiceError> {
    let pairs = canonical::query_pairs(request.query);
    let claim = match request.headers.get(http::header::AUTHORIZATION) {
        Some(value) => {
            let value = value.to_str().map_err(|_| incomplete("Authorization header is not ASCII."))?;
            Claim::from_header(value, request.headers)?
        }
        None => Claim::from_query(&pairs)?.ok_or_else(|| {
            ServiceError::new(ErrorKind::MissingAuthenticationToken, "Missing Authentication Token")
        })?,
    };
    let scope = Scope::parse(claim.credential)?;
    let unknown = || {
        ServiceError::new(
            ErrorKind::UnrecognizedClient,
            "The security token included in the request is invalid.",
        )
    };
    let temporary = keys.temporary(scope.access_key);
    if let Some(temporary) = &temporary {
        let sent = request.headers.get("x-amz-security-token").and_then(|token| token.to_str().ok());
        let in_query = || pairs.iter().find(|(name, _)| name == "X-Amz-Security-Token");
        if sent.or_else(|| in_query().map(|(_, token)| token.as_str())) != Some(temporary.token.as_str()) {
            return Err(unknown());
        }
        if temporary.ends <= now {
            return Err(ServiceError::new(
                ErrorKind::ExpiredToken,
                "The security token included in the request is expired",
            ));
        }
    }
    let key = temporary.as_ref().map(|temporary| &temporary.key).or_else(|| keys.get(scope.access_key));
    let key = key.ok_or_else(unknown)?;
    if scope.service != service || scope.end != "aws4_request" {
        return Err(invalid(format!("Credential should be scoped to correct service: '{service}'.")));
    }
    let date = parse_date(claim.date)?;
    if !claim.date.starts_with(scope.date) {
        return Err(invalid(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date.",
        ));
    }
    check_time(date, claim.expires, now)?;

    let signed: Vec<&str> = claim.signed_headers.split(';').collect();
    if !signed.contains(&"host") {
        return Err(invalid("'Host' must be a 'SignedHeader' in the AWS Authorization."));
    }
    let sent = request.headers.get(http::header::HOST).map_or("", |host| host.to_str().unwrap_or("")).trim();
    let payload = payload_hash(request, claim.expires.is_some())?;
    let scope_text = format!("{}/{}/{}/{}", scope.date, scope.region, scope.service, scope.end);
    let signing_key = signing_key(key.secret(), &scope);
    let claimed = hex::decode(claim.signature).unwrap_or_default();
    // some clients sign the host without the port they connect to, so both spellings count
    for host in [sent, without_port(sent)] {
        let Some(headers) = canonical::headers(&signed, request.headers, host) else {
            return Err(invalid("A header that is listed in SignedHeaders was not sent."));
        };
        let canonical_request = format!(
            "{}\n{}\n{}\n{headers}\n{}\n{payload}",
            request.method,
            canonical::path(request.path),
            canonical::query(&pairs),
            claim.signed_headers
        );
        let to_sign = format!(
            "{ALGORITHM}\n{}\n{scope_text}\n{}",
            claim.date,
            hex::encode(Sha256::digest(canonical_request.as_bytes()))
        );
        let mut mac = keyed(&signing_key);
        mac.update(to_sign.as_bytes());
        if mac.verify_slice(&claimed).is_ok() {
            return Ok(Verified {
                access_key: scope.access_key.to_owned(),
                account: key.account().to_owned(),
                region: scope.region.to_owned(),
                until: temporary.map(|temporary| temporary.ends),
            });
        }
    }
    Err(invalid(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
         Access Key and signing method. Consult the service documentation for details.",
    ))
}

/// What the caller says about its signature.
struct Claim<'a> {
    credential: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
    date: &'a str,
    /// Life in seconds; present in the query form only.
    expires: Option<u64>,
}

impl<'a> Claim<'a> {
    fn from_header(value: &'a str, headers: &'a HeaderMap) -> Result<Self, ServiceError> {
        let rest = value
            .trim()
            .strip_prefix(ALGORITHM)
            .ok_or_else(|| incomplete("Authorization header requires the algorithm AWS4-HMAC-SHA256."))?;
        let part = |name: &str| {
            rest.split([',', ' '])
                .find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='))
                .ok_or_else(|| incomplete(format!("Authorization header requires '{name}' parameter.")))
        };
        let date = headers.get("x-amz-date").and_then(|date| date.to_str().ok()).ok_or_else(|| {
            incomplete("Authorization header requires existence of an 'X-Amz-Date' header.")
        })?;
        Ok(Self {
            credential: part("Credential")?,
            signed_headers: part("SignedHeaders")?,
            signature: part("Signature")?,
            date: date.trim(),
            expires: None,
        })
    }

    /// `None` when the query is not signed at all.
    fn from_query(pairs: &'a [(String, String)]) -> Result<Option<Self>, ServiceError> {
        let find = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        if find("X-Amz-Algorithm").is_none() && find("X-Amz-Signature").is_none() {
            return Ok(None);
        }
        let part = |name: &str| {
            find(name)
                .ok_or_else(|| incomplete(format!("AWS query-string parameters must include '{name}'.")))
        };
        if part("X-Amz-Algorithm")? != ALGORITHM {
            return Err(incomplete("'X-Amz-Algorithm' must be AWS4-HMAC-SHA256."));
        }
        let expires = part("X-Amz-Expires")?;
        let expires = expires
            .parse::<u64>()
            .ok()
            .filter(|seconds| (1..=MAX_EXPIRES).contains(seconds))
            .ok_or_else(|| incomplete("'X-Amz-Expires' must be from 1 to 604800 seconds."))?;
        Ok(Some(Self {
            credential: part("X-Amz-Credential")?,
            signed_headers: part("X-Amz-SignedHeaders")?,
            signature: part("X-Amz-Signature")?,
            date: part("X-Amz-Date")?,
            expires: Some(expires),
        }))
    }
}

struct Scope<'a> {
    access_key: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    end: &'a str,
}

impl<'a> Scope<'a> {
    fn parse(credential: &'a str) -> Result<Self, ServiceError> {
        let parts: Vec<&str> = credential.split('/').collect();
        match parts[..] {
            [access_key, date, region, service, end]
                if !region.is_empty()
                    && region.len() <= 64
                    && region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') =>
            {
                Ok(Self { access_key, date, region, service, end })
            }
            _ => Err(incomplete(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term.",
            )),
        }
    }
}

fn payload_hash(request: &Request<'_>, query_form: bool) -> Result<String, ServiceError> {
    let empty = || hex::encode(Sha256::digest(b""));
    let said = request.headers.get("x-amz-content-sha256").map(|value| value.to_str().unwrap_or(""));
    match (request.payload, said) {
        (PayloadHash::Body(_), Some(UNSIGNED)) => Ok(UNSIGNED.to_owned()),
        (PayloadHash::Body(body), said) => {
            let hash =
                if query_form && body.is_empty() { empty() } else { hex::encode(Sha256::digest(body)) };
            match said {
                Some(said) if !said.eq_ignore_ascii_case(&hash) => {
                    Err(invalid("The value of x-amz-content-sha256 is not the SHA-256 of the body."))
                }
                _ => Ok(said.map_or(hash, str::to_owned)),
            }
        }
        (PayloadHash::Streamed, Some(said)) => Ok(said.to_owned()),
        (PayloadHash::Streamed, None) => Ok(empty()),
    }
}

fn check_time(date: OffsetDateTime, expires: Option<u64>, now: SystemTime) -> Result<(), ServiceError> {
    let now = OffsetDateTime::from(now);
    let show = |at: OffsetDateTime| at.format(DATE).unwrap_or_default();
    if date > now + TOLERANCE {
        return Err(invalid(format!(
            "Signature not yet current: {} is still later than {} ({} + 5 min.)",
            show(date),
            show(now + TOLERANCE),
            show(now)
        )));
    }
    let (end, limit, note) = match expires {
        // the wording of a signed URL is that of a header with the end of its life in place of its date
        Some(seconds) => (date + Duration::from_secs(seconds), now, String::new()),
        None => (date, now - TOLERANCE, format!(" ({} - 5 min.)", show(now))),
    };
    if end < limit {
        return Err(invalid(format!(
            "Signature expired: {} is now earlier than {}{note}",
            show(end),
            show(limit)
        )));
    }
    Ok(())
}

fn parse_date(text: &str) -> Result<OffsetDateTime, ServiceError> {
    let date = PrimitiveDateTime::parse(text, DATE)
        .map_err(|_| incomplete("Date must be in ISO-8601 'basic format', e.g. 20260131T235959Z."))?;
    // keeps the sums of check_time far from the ends of the calendar
    if (1970..=9000).contains(&date.year()) {
        Ok(date.assume_utc())
    } else {
        Err(incomplete("Date is out of range."))
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // the colons of a bare IPv6 address are not followed by a port
        Some((name, port))
            if port.bytes().all(|b| b.is_ascii_digit()) && (name.ends_with(']') || !name.contains(':')) =>
        {
            name
        }
        _ => host,
    }
}

fn signing_key(secret: &str, scope: &Scope<'_>) -> Vec<u8> {
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in [scope.date, scope.region, scope.service, scope.end] {
        let mut mac = keyed(&key);
        mac.update(part.as_bytes());
        key = mac.finalize().into_bytes().to_vec();
    }
    key
}

#[allow(clippy::expect_used)]
fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn invalid(message: impl Into<String>) -> ServiceError {
    ServiceError::new(ErrorKind::InvalidSignature, message)
}

fn incomplete(message: impl Into<String>) -> ServiceError {
    ServiceError::new(ErrorKind::IncompleteSignature, message)
}
