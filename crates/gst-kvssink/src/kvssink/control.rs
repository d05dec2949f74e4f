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
    pub(super) tags: Vec<(String, String)>,
}

/// Why the stream cannot be used; `fatal` when trying again is no use.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct ControlError {
    /// The status of the C SDK for the call that failed.
    pub(super) code: u32,
    pub(super) message: String,
    pub(super) fatal: bool,
}

const DESCRIBE_FAILED: u32 = 0x5200_0011;
const CREATE_FAILED: u32 = 0x5200_0019;
const ENDPOINT_FAILED: u32 = 0x5200_002b;

macro_rules! failed {
    ($settings:expr, $operation:literal, $code:expr, $error:expr) => {{
        let error = $error;
        let class = classify_sdk(&error);
        let message = format!(
            "{} of stream {}: {class}: {}",
            $operation,
            $settings.name,
            aws_sdk_kinesisvideo::error::DisplayErrorContext(&error)
        );
        ControlError { code: $code, message, fatal: class == ErrorClass::InvalidRequest }
    }};
}

/// DescribeStream, CreateStream where it is allowed, GetDataEndpoint. `None` when the stream must be created and
/// `media_type` is not known yet.
pub(super) async fn resolve(
    context: &AwsContext,
    settings: &StreamSettings,
    media_type: Option<&str>,
) -> Result<Option<StreamTarget>, ControlError> {
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
                return Err(failed!(settings, "DescribeStream", DESCRIBE_FAILED, error));
            }
            Err(_) if !settings.create => {
                return Err(ControlError {
                    code: DESCRIBE_FAILED,
                    message: format!(
                        "stream {} does not exist in {}: create it, or set allow-create-stream=true",
                        settings.name,
                        context.region()
                    ),
                    fatal: true,
                });
            }
            Err(_) => {
                let Some(media_type) = media_type else { return Ok(None) };
                let mut call = client
                    .create_stream()
                    .stream_name(&settings.name)
                    .media_type(media_type)
                    .data_retention_in_hours(i32::try_from(settings.retention_hours).unwrap_or(i32::MAX));
                for (key, value) in &settings.tags {
                    call = call.tags(key, value);
                }
                match call.send().await {
                    Ok(_) => created = true,
                    // Someone else was faster.
                    Err(error) if classify_sdk(&error) == ErrorClass::Conflict => created = true,
                    Err(error) => return Err(failed!(settings, "CreateStream", CREATE_FAILED, error)),
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
        .map_err(|error| failed!(settings, "GetDataEndpoint", ENDPOINT_FAILED, error))?;
    let text = answer.data_endpoint.unwrap_or_default();
    let endpoint = Url::parse(&text).ok().filter(Url::has_host).ok_or_else(|| ControlError {
        code: ENDPOINT_FAILED,
        message: format!("GetDataEndpoint of stream {} answered {text:?}, which is no URL", settings.name),
        fatal: false,
    })?;
    Ok(Some(StreamTarget { endpoint, retention_hours }))
}
