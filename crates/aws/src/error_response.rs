//! How KVS refuses a request that is not the SDK's: a WebSocket handshake, PutMedia.

use http::HeaderMap;

use crate::class::{ErrorClass, classify_http};

/// Of a body that is no JSON so many characters are kept: a proxy answers with a page.
const MESSAGE: usize = 300;

/// An answer of HTTP that is no success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorResponse {
    /// HTTP status.
    pub status: u16,
    /// `x-amzn-ErrorType` or `x-amz-ErrorType`, without the URI that may follow.
    pub error_type: Option<String>,
    /// `message` or `Message` of the body; else the body's first 300 characters.
    pub message: String,
    /// What to do about it.
    pub class: ErrorClass,
}

impl ErrorResponse {
    /// Reads the head of an answer and as much of its body as there is.
    #[must_use]
    pub fn new(status: u16, headers: &HeaderMap, body: &[u8]) -> Self {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let error_type = header("x-amzn-errortype")
            .or_else(|| header("x-amz-errortype"))
            .map(|kind| kind.split(':').next().unwrap_or_default().to_owned());
        let body = String::from_utf8_lossy(body);
        let message = serde_json::from_str::<serde_json::Value>(&body)
            .ok()
            .and_then(|body| body.get("message").or(body.get("Message"))?.as_str().map(str::to_owned))
            .unwrap_or_else(|| body.chars().take(MESSAGE).collect());
        let class = classify_http(status, error_type.as_deref(), Some(&message));
        Self { status, error_type, message, class }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn type_and_message_are_read_in_every_form() {
        for (header, kind, body, message) in [
            ("x-amzn-ErrorType", "NotAuthorizedException:http://x/", r#"{"message":"no"}"#, "no"),
            ("x-amz-ErrorType", "NotAuthorizedException", r#"{"Message":"no"}"#, "no"),
            ("x-amz-ErrorType", "NotAuthorizedException", "<html>", "<html>"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(
                http::HeaderName::from_bytes(header.as_bytes()).unwrap(),
                HeaderValue::from_static(kind),
            );
            let expected = ErrorResponse {
                status: 400,
                error_type: Some("NotAuthorizedException".to_owned()),
                message: message.to_owned(),
                class: ErrorClass::AccessDenied,
            };
            assert_eq!(ErrorResponse::new(400, &headers, body.as_bytes()), expected);
        }
        let page = "x".repeat(1000);
        let answer = ErrorResponse::new(503, &HeaderMap::new(), page.as_bytes());
        assert_eq!((answer.error_type, answer.message.len()), (None, MESSAGE));
        assert_eq!(answer.class, ErrorClass::Throttled);
    }
}
