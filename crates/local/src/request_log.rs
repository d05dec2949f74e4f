//! One log line per request, and the request id of its answer. Queries stay out of it: they hold signatures.

use std::time::Instant;

use axum::{extract::Request, middleware::Next, response::Response};
use http::{HeaderName, HeaderValue};

use crate::{Connection, error::ServiceError};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const MEDIA_REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-requestid");

pub(crate) async fn log(request: Request, next: Next) -> Response {
    let start = Instant::now();
    let id = uuid::Uuid::new_v4().to_string();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let peer = request.extensions().get::<Connection>().copied().unwrap_or_default().peer;
    let mut response = next.run(request).await;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value.clone());
        response.headers_mut().insert(MEDIA_REQUEST_ID, value);
    }
    let status = response.status().as_u16();
    let elapsed_ms = start.elapsed().as_millis();
    match response.extensions().get::<ServiceError>() {
        Some(error) => tracing::warn!(%method, path, status, %error, elapsed_ms, %peer, "request refused"),
        None if path.starts_with("/_kvs/") => {
            tracing::debug!(%method, path, status, elapsed_ms, %peer, "request")
        }
        None => tracing::info!(%method, path, status, elapsed_ms, %peer, "request"),
    }
    response
}
