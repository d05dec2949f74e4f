//! The stream and its endpoint: found, or created, before the first session.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use kvs::{ControlPlane, Error, NewStream, StreamId, StreamName, Tags};
use kvs_aws::{AwsContext, ErrorClass};
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
    /// Set at each start, as the C++ element does it.
    pub(super) tags: Tags,
}

/// Why the stream cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct ControlError {
    /// The status of the C SDK for the call that failed.
    pub(super) code: u32,
    pub(super) message: String,
    /// Trying again is no use.
    pub(super) fatal: bool,
    /// Other credentials may help.
    pub(super) denied: bool,
}

/// The DeviceName of streams that the C++ element creates.
const DEVICE_NAME: &str = "Kinesis_Video_Device";

/// `STATUS_SERVICE_CALL_RESOURCE_NOT_FOUND_ERROR` of the C++ element.
const NOT_FOUND: u32 = 0x5200_0017;
const DESCRIBE_FAILED: u32 = 0x5200_0011;
const CREATE_FAILED: u32 = 0x5200_0019;
const ENDPOINT_FAILED: u32 = 0x5200_002b;

impl ControlError {
    /// The stream is not there, or is none, and that is not going to change by itself.
    fn no_stream(message: String) -> Self {
        Self { code: DESCRIBE_FAILED, message, fatal: true, denied: false }
    }
}

impl From<Error> for ControlError {
    fn from(error: Error) -> Self {
        Self {
            code: match error.operation {
                "CreateStream" => CREATE_FAILED,
                "GetDataEndpoint" => ENDPOINT_FAILED,
                _ => DESCRIBE_FAILED,
            },
            message: error.to_string(),
            fatal: error.class == ErrorClass::InvalidRequest,
            denied: matches!(error.class, ErrorClass::AccessDenied | ErrorClass::CredentialsExpired),
        }
    }
}

/// Finds the stream, or creates it where that is allowed, and asks for its endpoint. `None` when it must be created and
/// `media_type` is not known yet. `waits` is set when it is there, and not active.
pub(super) async fn resolve(
    context: &AwsContext,
    settings: &StreamSettings,
    media_type: Option<String>,
    waits: Arc<AtomicBool>,
) -> Result<Option<StreamTarget>, ControlError> {
    let StreamSettings { name, kms_key_id, create, retention_hours, tags } = settings;
    let name: StreamName =
        name.parse().map_err(|error: kvs::InvalidId| ControlError::no_stream(error.to_string()))?;
    let stream = StreamId::Name(name);
    let new = media_type.filter(|_| *create).map(|media_type| NewStream {
        retention_hours: *retention_hours,
        media_type: Some(media_type),
        device_name: Some(DEVICE_NAME.to_owned()),
        kms_key_id: kms_key_id.clone(),
        tags: tags.clone(),
    });
    let control = ControlPlane::new(context).waiting(waits);
    let found = match control.find_or_create_stream(&stream, new.as_ref()).await {
        Ok(found) => found,
        // Whoever deletes it may make it again.
        Err(error) if error.being_deleted => return Err(error.into()),
        Err(error) if error.class == ErrorClass::NotFound && *create && new.is_none() => return Ok(None),
        Err(error) if error.class == ErrorClass::NotFound && !create => {
            let region = context.region();
            let message =
                format!("{stream} does not exist in {region}: create it, or set allow-create-stream=true");
            return Err(ControlError { code: NOT_FOUND, ..ControlError::no_stream(message) });
        }
        Err(error) => return Err(error.into()),
    };
    // Who may store media may be forbidden to tag.
    let warning = match found.created || tags.is_empty() {
        true => None,
        // Without the id of the request: the same warning is said once.
        false => control
            .tag_stream(&found.info.arn, tags)
            .await
            .err()
            .map(|error| format!("{} of {}: {}", error.operation, error.resource, error.message)),
    };
    let endpoint = control.put_media_endpoint(&stream).await?;
    Ok(Some(StreamTarget { endpoint, retention_hours: found.info.retention_hours, warning }))
}
