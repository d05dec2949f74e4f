//! [`Json`]: the answer of an operation, and [`Subject`], what it was about.

use axum::{
    Extension,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, header};

use crate::error::ServiceError;

/// What an operation's handler gives.
pub(crate) type Answer = Result<Json, ServiceError>;
/// The same of an operation that faults can be made of.
pub(crate) type AnswerAbout = Result<(Extension<Subject>, Json), ServiceError>;

/// A JSON answer, written at once with its length.
pub(crate) struct Json(pub serde_json::Value);

/// What a call was about: the key of a stream or the ARN of a channel. An extension of the answer, by which the layers
/// above the operations know it.
#[derive(Debug, Clone)]
pub(crate) struct Subject(pub String);

impl Json {
    /// With what the call was about.
    pub(crate) fn about(self, subject: String) -> (Extension<Subject>, Self) {
        (Extension(Subject(subject)), self)
    }
}

impl IntoResponse for Json {
    fn into_response(self) -> Response {
        let mut response = self.0.to_string().into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}
