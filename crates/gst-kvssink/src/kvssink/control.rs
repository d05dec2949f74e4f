//! The stream and its endpoint: found, or created, before the first session.

use aws_sdk_kinesisvideo::Client;
use aws_sdk_kinesisvideo::error::ProvideErrorMetadata;
use aws_sdk_kinesisvideo::types::{ApiName, Status};
use kvs_aws::{AwsContext, ErrorClass, classify_sdk};
use url::Url;

/// What a sink needs to know of its stream.
#[derive(Clone, Debug)]
pub(super) struct StreamTarget {
    pub(super) endpoint: Url,
    pub(super) retention_hours: u32,
    /// What did not work out, and keeps no media from being stored.
    pub(super) warning: Option<String>,
}

/// What to do when the stream is missing.
#[derive(Clone, Debug)]
pub(super) struct StreamSettings {
    pub(super) name: String,
    pub(super) kms_key_id: Option<String>,
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
    /// Other credentials may help.
    pub(super) refused: bool,
}

/// The DeviceName of streams that the C++ element creates.
const DEVICE_NAME: &str = "Kinesis_Video_Device";

const DESCRIBE_FAILED: u32 = 0x5200_0011;
const CREATE_FAILED: u32 = 0x5200_0019;
const ENDPOINT_FAILED: u32 = 0x5200_002b;

macro_rules! failed {
    ($settings:expr, $operation:literal, $code:expr, $error:expr) => {{
        let error = $error;
        let class = classify_sdk(&error);
        let service = error.meta().message().map(|said| {
            let kind = error.meta().code().unwrap_or("an error");
            format!("the service answered {kind}: {said}")
        });
        let said = service.unwrap_or_else(|| causes(&error));
        let refused = matches!(class, ErrorClass::AccessDenied | ErrorClass::CredentialsExpired);
        ControlError {
            code: $code,
            message: format!("{} of stream {}: {said}", $operation, $settings.name),
            fatal: class == ErrorClass::InvalidRequest,
            refused,
        }
    }};
}

/// An error with its causes, as one line; causes that repeat what was said are left out.
fn causes(error: &dyn std::error::Error) -> String {
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}

/// DescribeStream, CreateStream where it is allowed, GetDataEndpoint. `None` when the stream must be created and
/// `media_type` is not known yet.
pub(super) async fn resolve(
    context: &AwsContext,
    settings: &StreamSettings,
    media_type: Option<&str>,
) -> Result<Option<StreamTarget>, ControlError> {
    let client = Client::new(context.sdk_config());
    let (mut created, mut warning) = (false, None);
    let retention_hours = loop {
        match client.describe_stream().stream_name(&settings.name).send().await {
            Ok(answer) => {
                let Some(info) = answer.stream_info else { break 0 };
                if info.status == Some(Status::Creating) {
                    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
                    continue;
                }
                if !created && let Some(arn) = &info.stream_arn {
                    warning = tag(&client, settings, arn).await;
                }
                break u32::try_from(info.data_retention_in_hours.unwrap_or(0)).unwrap_or(0);
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
                    refused: false,
                });
            }
            Err(_) => {
                let Some(media_type) = media_type else { return Ok(None) };
                let mut call = client
                    .create_stream()
                    .stream_name(&settings.name)
                    .media_type(media_type)
                    .device_name(DEVICE_NAME)
                    .set_kms_key_id(settings.kms_key_id.clone())
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
        refused: false,
    })?;
    Ok(Some(StreamTarget { endpoint, retention_hours, warning }))
}

/// Tags a stream that was there before, as the C++ element does at each start. Who may store media may be forbidden to.
async fn tag(client: &Client, settings: &StreamSettings, arn: &str) -> Option<String> {
    if settings.tags.is_empty() {
        return None;
    }
    let mut call = client.tag_stream().stream_arn(arn);
    for (key, value) in &settings.tags {
        call = call.tags(key, value);
    }
    let error = call.send().await.err()?;
    Some(failed!(settings, "TagStream", DESCRIBE_FAILED, error).message)
}
