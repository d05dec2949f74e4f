//! The stream and its endpoint: found, or created, before the first session.

use aws_sdk_kinesisvideo::Client;
use aws_sdk_kinesisvideo::types::{ApiName, Status};
use kvs_aws::{AwsContext, ErrorClass, classify_sdk};
use url::Url;

/// What a sink needs to know of its stream.
#[derive(Clone, Debug)]
pub(super) struct StreamTarget {
    pub(super) endpoint: Url,
    pub(super) retention_hours: u32,
}

/// What to do when the stream is missing.
#[derive(Clone, Debug)]
pub(super) struct StreamSettings {
    pub(super) name: String,
    pub(super) create: bool,
    pub(super) retention_hours: u32,
    pub(super) media_type: String,
    pub(super) tags: Vec<(String, String)>,
}

/// Why the stream cannot be used; `fatal` when trying again is no use.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct ControlError {
    pub(super) message: String,
    pub(super) fatal: bool,
}

macro_rules! failed {
    ($settings:expr, $operation:literal, $error:expr) => {{
        let error = $error;
        let class = classify_sdk(&error);
        let message = format!(
            "{} of stream {}: {class}: {}",
            $operation,
            $settings.name,
            aws_sdk_kinesisvideo::error::DisplayErrorContext(&error)
        );
        ControlError { message, fatal: class == ErrorClass::InvalidRequest }
    }};
}

/// DescribeStream, CreateStream where it is allowed, GetDataEndpoint.
pub(super) async fn resolve(
    context: &AwsContext,
    settings: &StreamSettings,
) -> Result<StreamTarget, ControlError> {
    let client = Client::new(context.sdk_config());
    let mut created = false;
    let retention_hours = loop {
        match client.describe_stream().stream_name(&settings.name).send().await {
            Ok(answer) => {
                let info = answer.stream_info;
                let hours = info.as_ref().and_then(|info| info.data_retention_in_hours).unwrap_or(0);
                match info.and_then(|info| info.status) {
                    Some(Status::Creating) => tokio::time::sleep(std::time::Duration::from_millis(500)).await,
                    _ => break u32::try_from(hours).unwrap_or(0),
                }
            }
            Err(error) if classify_sdk(&error) != ErrorClass::NotFound || created => {
                return Err(failed!(settings, "DescribeStream", error));
            }
            Err(_) if !settings.create => {
                return Err(ControlError {
                    message: format!(
                        "stream {} does not exist in {}: create it, or set allow-create-stream=true",
                        settings.name,
                        context.region()
                    ),
                    fatal: true,
                });
            }
            Err(_) => {
                let mut call = client
                    .create_stream()
                    .stream_name(&settings.name)
                    .media_type(&settings.media_type)
                    .data_retention_in_hours(i32::try_from(settings.retention_hours).unwrap_or(i32::MAX));
                for (key, value) in &settings.tags {
                    call = call.tags(key, value);
                }
                match call.send().await {
                    Ok(_) => created = true,
                    // Someone else was faster.
                    Err(error) if classify_sdk(&error) == ErrorClass::Conflict => created = true,
                    Err(error) => return Err(failed!(settings, "CreateStream", error)),
                }
            }
        }
    };
    let answer = client
        .get_data_endpoint()
        .stream_name(&settings.name)
        .api_name(ApiName::PutMedia)
        .send()
        .await
        .map_err(|error| failed!(settings, "GetDataEndpoint", error))?;
    let text = answer.data_endpoint.unwrap_or_default();
    let endpoint = Url::parse(&text).ok().filter(Url::has_host).ok_or_else(|| ControlError {
        message: format!("GetDataEndpoint of stream {} answered {text:?}, which is no URL", settings.name),
        fatal: false,
    })?;
    Ok(StreamTarget { endpoint, retention_hours })
}
