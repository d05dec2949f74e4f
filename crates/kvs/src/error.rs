//! What a call to KVS can come to.

use aws_sdk_kinesisvideo::operation::RequestId;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::display::DisplayErrorContext;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use kvs_aws::{AwsContext, ErrorClass, classify_sdk};

/// A call that did not succeed: which, on what, and what that means.
#[derive(Debug, thiserror::Error)]
#[error("{operation} of {resource}: {message}{}", request_id.as_ref().map_or(String::new(), |id| format!(" (request {id})")))]
pub struct Error {
    /// The API operation, `DescribeSignalingChannel`.
    pub operation: &'static str,
    /// The channel or stream, as name or ARN.
    pub resource: String,
    /// What to do about it.
    pub class: ErrorClass,
    /// The service's own words, or what went wrong on the way to it.
    pub message: String,
    /// What AWS support asks for.
    pub request_id: Option<String>,
}

impl Error {
    pub(crate) fn new(
        operation: &'static str,
        resource: &dyn std::fmt::Display,
        class: ErrorClass,
        message: impl Into<String>,
    ) -> Self {
        Self { operation, resource: resource.to_string(), class, message: message.into(), request_id: None }
    }

    /// From the SDK; its `Date` header corrects the clock for the next attempt.
    pub(crate) fn sdk<E>(
        context: &AwsContext,
        operation: &'static str,
        resource: &dyn std::fmt::Display,
        error: SdkError<E, HttpResponse>,
    ) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + RequestId + 'static,
    {
        if let Some(date) = error.raw_response().and_then(|response| response.headers().get("date")) {
            context.observe_date(date);
        }
        let class = classify_sdk(&error);
        let request_id = error
            .as_service_error()
            .and_then(|error| error.meta().extra("aws_request_id"))
            .map(str::to_owned);
        let message = match error.as_service_error() {
            Some(service) => match (service.code(), service.message()) {
                (Some(code), Some(message)) => format!("{code}: {message}"),
                (Some(text), None) | (None, Some(text)) => text.to_owned(),
                (None, None) => {
                    let status = error.raw_response().map_or(0, |response| response.status().as_u16());
                    format!("HTTP status {status}")
                }
            },
            None => DisplayErrorContext(&error).to_string(),
        };
        Self { operation, resource: resource.to_string(), class, message, request_id }
    }
}
