//! What a call to KVS can come to.

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use kvs_aws::{AwsContext, ErrorClass, causes, classify_sdk};

use crate::retry::should_retry;

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

    /// Makes a call; where the service says that the signature was made at the wrong time, or with credentials that
    /// have ended, once more with the right time or new ones.
    pub(crate) async fn call<T, E, F>(
        context: &AwsContext,
        operation: &'static str,
        resource: &(dyn std::fmt::Display + Sync),
        send: impl Fn() -> F,
    ) -> Result<T, Self>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let skew = context.skew_ms();
        let error = match send().await {
            Ok(answer) => return Ok(answer),
            Err(error) => Self::sdk(operation, resource, &error),
        };
        if !should_retry(context, skew, error.class).await {
            return Err(error);
        }
        send().await.map_err(|error| Self::sdk(operation, resource, &error))
    }

    fn sdk<E>(
        operation: &'static str,
        resource: &dyn std::fmt::Display,
        error: &SdkError<E, HttpResponse>,
    ) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let class = classify_sdk(error);
        let request_id = error
            .raw_response()
            .and_then(|response| {
                ["x-amzn-requestid", "x-amz-requestid"].iter().find_map(|name| response.headers().get(name))
            })
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
            None => causes(error),
        };
        Self { operation, resource: resource.to_string(), class, message, request_id }
    }
}
