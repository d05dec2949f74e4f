//! [`ServiceError`]: what a caller is told when a call fails, in the words and shapes of the service.

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};

/// Header that carries the exception name on control and signaling calls.
pub const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
/// Header that carries the exception name on media calls (the documented spelling of PutMedia).
pub const MEDIA_ERROR_TYPE: HeaderName = HeaderName::from_static("x-amz-errortype");

/// The exceptions of the `kinesisvideo`, `kinesis-video-signaling` and media services, and those of the signature
/// checking in front of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The caller's key may not do this.
    AccessDenied,
    /// More channels than the account may have.
    AccountChannelLimitExceeded,
    /// More streams than the account may have.
    AccountStreamLimitExceeded,
    /// Too many requests, viewers or messages.
    ClientLimitExceeded,
    /// Too many PutMedia connections.
    ConnectionLimitExceeded,
    /// A temporary key has ended.
    ExpiredToken,
    /// `Authorization` or the signing query is malformed.
    IncompleteSignature,
    /// Something broke in here; the log says what.
    InternalFailure,
    /// A member is missing or breaks its rule; the message names it.
    InvalidArgument,
    /// `CodecPrivate` of a track is not what its codec wants, or changed where it may not.
    InvalidCodecPrivateData,
    /// The call was sent to an endpoint that does not serve it.
    InvalidEndpoint,
    /// A frame is not what its codec says.
    InvalidMediaFrame,
    /// The signature does not match, has expired or is not valid yet.
    InvalidSignature,
    /// No credentials were sent.
    MissingAuthenticationToken,
    /// A track that is to be played has no `CodecPrivate`.
    MissingCodecPrivateData,
    /// A stream that keeps nothing was to be played, or a channel mapped to it.
    NoDataRetention,
    /// The media call is not authorized.
    NotAuthorized,
    /// The body took too long.
    RequestTimeout,
    /// A name is taken, or the resource is busy.
    ResourceInUse,
    /// No such channel, stream, fragment.
    ResourceNotFound,
    /// The body is not a JSON object.
    Serialization,
    /// The token of a streaming session is unknown, or its time is over.
    SessionExpired,
    /// The stream has no edge configuration.
    StreamEdgeConfigurationNotFound,
    /// More than 50 tags on one resource.
    TagsPerResourceExceededLimit,
    /// The access key is not known here.
    UnrecognizedClient,
    /// No operation at this path.
    UnknownOperation,
    /// The codecs of the stream are none that the operation plays.
    UnsupportedStreamMediaType,
    /// `CurrentVersion` is not the current version.
    VersionMismatch,
}

impl ErrorKind {
    /// The exception name as it goes into `x-amzn-ErrorType`.
    pub fn name(self) -> &'static str {
        match self {
            Self::AccessDenied => "AccessDeniedException",
            Self::AccountChannelLimitExceeded => "AccountChannelLimitExceededException",
            Self::AccountStreamLimitExceeded => "AccountStreamLimitExceededException",
            Self::ClientLimitExceeded => "ClientLimitExceededException",
            Self::ConnectionLimitExceeded => "ConnectionLimitExceededException",
            Self::ExpiredToken => "ExpiredTokenException",
            Self::IncompleteSignature => "IncompleteSignatureException",
            Self::InternalFailure => "InternalFailure",
            Self::InvalidArgument => "InvalidArgumentException",
            Self::InvalidCodecPrivateData => "InvalidCodecPrivateDataException",
            Self::InvalidEndpoint => "InvalidEndpointException",
            Self::InvalidMediaFrame => "InvalidMediaFrameException",
            Self::InvalidSignature => "InvalidSignatureException",
            Self::MissingAuthenticationToken => "MissingAuthenticationTokenException",
            Self::MissingCodecPrivateData => "MissingCodecPrivateDataException",
            Self::NoDataRetention => "NoDataRetentionException",
            // "… or the token has expired", the service model says
            Self::NotAuthorized | Self::SessionExpired => "NotAuthorizedException",
            Self::RequestTimeout => "RequestTimeoutException",
            Self::ResourceInUse => "ResourceInUseException",
            Self::ResourceNotFound => "ResourceNotFoundException",
            Self::Serialization => "SerializationException",
            Self::StreamEdgeConfigurationNotFound => "StreamEdgeConfigurationNotFoundException",
            Self::TagsPerResourceExceededLimit => "TagsPerResourceExceededLimitException",
            Self::UnrecognizedClient => "UnrecognizedClientException",
            Self::UnknownOperation => "UnknownOperationException",
            Self::UnsupportedStreamMediaType => "UnsupportedStreamMediaTypeException",
            Self::VersionMismatch => "VersionMismatchException",
        }
    }

    /// The HTTP status seen on the wire. `AccessDeniedException` is 401 in the service model and 403 in every
    /// answer of the real service.
    pub fn status(self) -> StatusCode {
        match self {
            Self::AccessDenied
            | Self::ExpiredToken
            | Self::IncompleteSignature
            | Self::InvalidSignature
            | Self::MissingAuthenticationToken
            | Self::SessionExpired
            | Self::UnrecognizedClient => StatusCode::FORBIDDEN,
            Self::NotAuthorized => StatusCode::UNAUTHORIZED,
            Self::ResourceNotFound | Self::StreamEdgeConfigurationNotFound | Self::UnknownOperation => {
                StatusCode::NOT_FOUND
            }
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::InternalFailure => StatusCode::INTERNAL_SERVER_ERROR,
            Self::AccountChannelLimitExceeded
            | Self::AccountStreamLimitExceeded
            | Self::ClientLimitExceeded
            | Self::ConnectionLimitExceeded
            | Self::InvalidArgument
            | Self::InvalidCodecPrivateData
            | Self::InvalidEndpoint
            | Self::InvalidMediaFrame
            | Self::MissingCodecPrivateData
            | Self::NoDataRetention
            | Self::ResourceInUse
            | Self::Serialization
            | Self::TagsPerResourceExceededLimit
            | Self::UnsupportedStreamMediaType
            | Self::VersionMismatch => StatusCode::BAD_REQUEST,
        }
    }

    /// The signature check in front of the service writes `message`, the service itself `Message`.
    fn message_member(self) -> &'static str {
        match self {
            Self::ExpiredToken
            | Self::IncompleteSignature
            | Self::InvalidSignature
            | Self::MissingAuthenticationToken
            | Self::UnrecognizedClient => "message",
            _ => "Message",
        }
    }
}

/// A failed call. Renders as rest-json: status, `x-amzn-ErrorType` and `x-amz-ErrorType` headers, and a JSON object
/// with `Message` (or `message`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", kind.name())]
pub struct ServiceError {
    /// Decides status, exception name and the spelling of `Message`.
    pub kind: ErrorKind,
    /// The sentence for the caller. Must not hold secrets.
    pub message: String,
}

impl ServiceError {
    /// Any exception with its sentence.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// `InvalidArgumentException` that names the member: `StreamName: must be …`.
    pub fn invalid(member: &str, why: impl std::fmt::Display) -> Self {
        Self::new(ErrorKind::InvalidArgument, format!("{member}: {why}"))
    }

    /// The channel does not exist, in the real service's words.
    pub fn channel_not_found() -> Self {
        Self::new(ErrorKind::ResourceNotFound, "The requested channel is not found or not active.")
    }

    /// The stream does not exist, in the real service's words.
    pub fn stream_not_found() -> Self {
        Self::new(ErrorKind::ResourceNotFound, "The requested stream is not found or not active.")
    }

    /// Something of ours broke (disk, database). The cause is logged and not told to the caller.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "internal failure");
        Self::new(
            ErrorKind::InternalFailure,
            "The request failed because of an internal error of kvs-local; see its log.",
        )
    }
}

impl From<redb::Error> for ServiceError {
    fn from(error: redb::Error) -> Self {
        Self::internal(error)
    }
}

impl IntoResponse for ServiceError {
    fn into_response(self) -> Response {
        let body = serde_json::json!({ self.kind.message_member(): self.message }).to_string();
        let mut response = (self.kind.status(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ERROR_TYPE, HeaderValue::from_static(self.kind.name()));
        headers.insert(MEDIA_ERROR_TYPE, HeaderValue::from_static(self.kind.name()));
        // for the request log
        response.extensions_mut().insert(self);
        response
    }
}
