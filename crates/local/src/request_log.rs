//! One log line per request, and the request id of its answer. Queries stay out of it: they hold signatures.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderName, HeaderValue};

use crate::{App, Connection, error::ServiceError, operations};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const MEDIA_REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-requestid");

pub(crate) async fn log(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
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
    // of a path that anybody can make up there is no label
    let operation = operations::name_of(&path).unwrap_or(match path.as_str() {
        "/" => "Connect",
        path if path.starts_with("/_kvs/") => "console",
        _ => "other",
    });
    app.requests.count(operation, status);
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
