//! Cross-origin access to the AWS operations, so that a page from anywhere can use the AWS SDK for JavaScript against
//! this server. `/_kvs/` has none: it hands out the page's keys.

use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, Method, StatusCode, header};

const EXPOSED: &str = "x-amzn-errortype,x-amz-errortype,x-amzn-requestid,date";

pub(crate) async fn allow_browsers(request: Request, next: Next) -> Response {
    let mut response = if request.method() == Method::OPTIONS {
        let mut response = StatusCode::OK.into_response();
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET,POST,OPTIONS"));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        let wanted = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS);
        if let Some(allowed) = wanted.and_then(|wanted| HeaderValue::from_str(&allowed_of(wanted)).ok()) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
        }
        response
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
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
