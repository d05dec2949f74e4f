//! The faults of calls: answers that come late, and errors in their place.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use super::{Call, Faults};
use crate::{
    answer::Subject,
    error::{ERROR_TYPE, MEDIA_ERROR_TYPE},
};

/// The calls whose answers can be replaced after the fact, because they change nothing. PutMedia asks for itself, before
/// it opens a session.
fn call_at(path: &str) -> Option<Call> {
    match path {
        "/describeStream" => Some(Call::DescribeStream),
        "/getDataEndpoint" => Some(Call::GetDataEndpoint),
        "/describeSignalingChannel" => Some(Call::DescribeSignalingChannel),
        "/getSignalingChannelEndpoint" => Some(Call::GetSignalingChannelEndpoint),
        "/v1/get-ice-server-config" => Some(Call::GetIceServerConfig),
        _ => None,
    }
}

/// The layer above the operations. Only a call that would succeed counts: what it is about is known from its answer.
pub(crate) async fn replace_answers(
    State(faults): State<Arc<Faults>>,
    request: Request,
    next: Next,
) -> Response {
    let call = call_at(request.uri().path());
    let response = next.run(request).await;
    let (Some(call), Some(Subject(subject))) = (call, response.extensions().get().cloned()) else {
        return response;
    };
    answer_instead(&faults, &subject, call).await.unwrap_or(response)
}

/// Waits as long as the answer to this call is to be late, and gives the error that takes its place, if one does.
/// `subject`: the key of a stream or the ARN of a channel.
pub(crate) async fn answer_instead(faults: &Faults, subject: &str, call: Call) -> Option<Response> {
    let fault = faults.call(subject, call);
    if let Some(delay) = fault.delay {
        tokio::time::sleep(delay).await;
    }
    fault.error.map(|(status, error_type, message)| error(status, &error_type, &message))
}

fn error(status: u16, error_type: &str, message: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, json!({"Message": message}).to_string()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Ok(value) = HeaderValue::from_str(error_type) {
        headers.insert(ERROR_TYPE, value.clone());
        headers.insert(MEDIA_ERROR_TYPE, value);
    }
    response
}
