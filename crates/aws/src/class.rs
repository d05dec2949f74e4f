//! Errors sorted into what a caller does about them.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::{ConnectorError, SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

/// What an error of AWS, or of the way to it, means for the one who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// Too many calls: wait longer, then repeat.
    Throttled,
    /// The caller may not do this: someone must change a policy or a key.
    AccessDenied,
    /// The credentials are too old: fetch new ones, then repeat.
    CredentialsExpired,
    /// The signature's time is off: correct the clock by the `Date` header, then repeat.
    ClockSkew,
    /// The channel or stream does not exist (yet), or not at this endpoint.
    NotFound,
    /// The request itself is wrong; repeating it is no use.
    InvalidRequest,
    /// It exists already, or someone else changed it.
    Conflict,
    /// A quota of the account is used up.
    LimitExceeded,
    /// The service was not reached.
    Network,
    /// The service did not answer in time.
    Timeout,
    /// The service failed (5xx).
    Service,
    /// None of these.
    Unknown,
}

impl ErrorClass {
    /// Is it worth repeating the same call after a while, with nobody changing anything?
    #[must_use]
    pub fn is_transient(self) -> bool {
        use ErrorClass::*;
        matches!(self, Throttled | CredentialsExpired | ClockSkew | Network | Timeout | Service | Unknown)
    }

    /// A short lower-case word for metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorClass::Throttled => "throttled",
            ErrorClass::AccessDenied => "access_denied",
            ErrorClass::CredentialsExpired => "credentials_expired",
            ErrorClass::ClockSkew => "clock_skew",
            ErrorClass::NotFound => "not_found",
            ErrorClass::InvalidRequest => "invalid_request",
            ErrorClass::Conflict => "conflict",
            ErrorClass::LimitExceeded => "limit_exceeded",
            ErrorClass::Network => "network",
            ErrorClass::Timeout => "timeout",
            ErrorClass::Service => "service",
            ErrorClass::Unknown => "unknown",
        }
    }
}

impl std::fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Sorts an HTTP answer. `error_type` is `x-amzn-ErrorType` (a URI behind a `:` is cut off), `message` the body's
/// `Message` or `message`. KVS answers throttling with 400, refusal with 401 or 403, and a bad signature with 403.
#[must_use]
pub(crate) fn classify_http(status: u16, error_type: Option<&str>, message: Option<&str>) -> ErrorClass {
    let message = message.unwrap_or_default();
    let kind = error_type.and_then(|kind| kind.split(':').next()).unwrap_or_default().trim();
    if message.contains("Signature expired")
        || message.contains("Signature not yet current")
        || matches!(kind, "RequestTimeTooSkewed" | "RequestExpired" | "RequestInTheFuture")
    {
        return ErrorClass::ClockSkew;
    }
    if message.contains("security token included in the request is expired")
        || matches!(kind, "ExpiredTokenException" | "ExpiredToken")
    {
        return ErrorClass::CredentialsExpired;
    }
    match kind {
        "ClientLimitExceededException"
        | "ThrottlingException"
        | "Throttling"
        | "TooManyRequestsException"
        | "RequestLimitExceeded"
        | "ConnectionLimitExceededException" => ErrorClass::Throttled,
        "AccountChannelLimitExceededException"
        | "AccountStreamLimitExceededException"
        | "DeviceStreamLimitExceededException"
        | "TagsPerResourceExceededLimitException" => ErrorClass::LimitExceeded,
        "AccessDeniedException"
        | "AccessDenied"
        | "NotAuthorizedException"
        | "UnrecognizedClientException"
        | "IncompleteSignatureException"
        | "MissingAuthenticationTokenException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch" => ErrorClass::AccessDenied,
        "ResourceNotFoundException" | "InvalidEndpointException" => ErrorClass::NotFound,
        "ResourceInUseException" | "VersionMismatchException" => ErrorClass::Conflict,
        "InvalidArgumentException"
        | "ValidationException"
        | "InvalidDeviceException"
        | "InvalidClientException" => ErrorClass::InvalidRequest,
        "SessionExpiredException" => ErrorClass::CredentialsExpired,
        _ => match status {
            401 | 403 => ErrorClass::AccessDenied,
            404 => ErrorClass::NotFound,
            408 | 504 => ErrorClass::Timeout,
            409 => ErrorClass::Conflict,
            429 | 503 => ErrorClass::Throttled,
            400..=499 => ErrorClass::InvalidRequest,
            500..=599 => ErrorClass::Service,
            _ => ErrorClass::Unknown,
        },
    }
}

/// Sorts an error of an AWS SDK client.
#[must_use]
pub fn classify_sdk<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> ErrorClass {
    match error {
        SdkError::TimeoutError(_) => ErrorClass::Timeout,
        SdkError::DispatchFailure(failure) => match failure.as_connector_error() {
            Some(error) => classify_connector(error),
            None => ErrorClass::Network,
        },
        SdkError::ConstructionFailure(_) => ErrorClass::InvalidRequest,
        SdkError::ResponseError(response) => classify_http(response.raw().status().as_u16(), None, None),
        SdkError::ServiceError(service) => {
            classify_http(service.raw().status().as_u16(), service.err().code(), service.err().message())
        }
        _ => ErrorClass::Unknown,
    }
}

/// Why a request did not leave: no credentials, or nobody there.
fn classify_connector(error: &ConnectorError) -> ErrorClass {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<CredentialsError>() {
            return classify_credentials(error);
        }
        cause = error.source();
    }
    if error.is_timeout() {
        ErrorClass::Timeout
    } else if error.is_user() {
        // A variable that names no proxy, say: it is no use to ask again.
        ErrorClass::InvalidRequest
    } else {
        ErrorClass::Network
    }
}

/// Sorts what a chain of credential sources says: when one asked the network, the network's answer decides.
#[must_use]
pub(crate) fn classify_credentials(error: &CredentialsError) -> ErrorClass {
    type Assume = SdkError<AssumeRoleError, HttpResponse>;
    type WebIdentity = SdkError<AssumeRoleWithWebIdentityError, HttpResponse>;
    if matches!(error, CredentialsError::ProviderTimedOut(_)) {
        return ErrorClass::Timeout;
    }
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<Assume>() {
            return classify_sdk(error);
        }
        if let Some(error) = error.downcast_ref::<WebIdentity>() {
            return classify_sdk(error);
        }
        if let Some(error) = error.downcast_ref::<ConnectorError>() {
            return classify_connector(error);
        }
        cause = error.source();
    }
    // A policy, a profile or a variable: someone must set it right.
    ErrorClass::AccessDenied
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_seen_on_the_real_service() {
        let class = |status, kind: &str, message: &str| {
            classify_http(status, Some(kind).filter(|kind| !kind.is_empty()), Some(message))
        };
        use ErrorClass::*;
        for (status, kind, message, expected) in [
            (
                404,
                "ResourceNotFoundException:https://kinesisvideo.amazonaws.com/doc/2017-09-30/",
                "",
                NotFound,
            ),
            (
                403,
                "AccessDeniedException:http://internal.amazon.com/coral/",
                "User: x is not authorized",
                AccessDenied,
            ),
            (401, "NotAuthorizedException", "", AccessDenied),
            (400, "ClientLimitExceededException", "", Throttled),
            (400, "ResourceInUseException", "", Conflict),
            (400, "InvalidArgumentException", "", InvalidRequest),
            (400, "InvalidEndpointException", "", NotFound),
            (400, "AccountChannelLimitExceededException", "", LimitExceeded),
            (403, "", "Signature expired: 20230724T080702Z is now earlier than …", ClockSkew),
            (403, "", "Signature not yet current: …", ClockSkew),
            (403, "", "The security token included in the request is expired", CredentialsExpired),
            (
                403,
                "",
                "The request signature we calculated does not match the signature you provided.",
                AccessDenied,
            ),
            (429, "", "", Throttled),
            (503, "", "", Throttled),
            (500, "", "", Service),
            (418, "", "", InvalidRequest),
            (302, "", "", Unknown),
        ] {
            assert_eq!(class(status, kind, message), expected, "{status} {kind} {message}");
        }
    }
}
