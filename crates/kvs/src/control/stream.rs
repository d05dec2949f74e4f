//! Streams: the single steps. [`super::find`] puts them together.

use aws_sdk_kinesisvideo::types::{
    ApiName, Status, StreamInfo as SdkStreamInfo, UpdateDataRetentionOperation,
};
use url::Url;

use super::plane::{ControlPlane, Tags, created_unless_there, deleted_or_missing, endpoint, incomplete};
use crate::error::Error;
use crate::id::{InvalidId, StreamArn, StreamId, StreamName};

/// What a stream is said to hold where nobody says otherwise.
const MEDIA_TYPE: &str = "video/h264,audio/aac";

/// A stream, as DescribeStream tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// Unique in account and region.
    pub name: String,
    /// With region, account, name and time of creation.
    pub arn: StreamArn,
    /// 0: nothing is kept, fragments are acknowledged as received and never as persisted.
    pub retention_hours: u32,
    /// The KMS key that it is encrypted with, as the service tells it: key ARN, key id or alias.
    pub kms_key_id: Option<String>,
    /// ACTIVE, and not on its way in or out.
    pub active: bool,
    /// What a change has to name, so that it does not undo another.
    pub version: String,
}

/// A stream to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewStream {
    /// Hours for which it keeps its fragments.
    pub retention_hours: u32,
    /// Media types by IANA's names, with commas between; `None`: H.264 and AAC.
    pub media_type: Option<String>,
    /// Name of the device that writes it, 1 to 128 characters. The service only keeps it.
    pub device_name: Option<String>,
    /// Its KMS key; `None`: that of Kinesis Video Streams.
    pub kms_key_id: Option<String>,
    /// Keys and values, 50 at most.
    pub tags: Tags,
}

impl ControlPlane {
    /// DescribeStream.
    ///
    /// # Errors
    /// [`ErrorClass::NotFound`] when there is none; the classes of any call.
    pub async fn describe_stream(&self, stream: &StreamId) -> Result<StreamInfo, Error> {
        const OPERATION: &str = "DescribeStream";
        let call = self.client.describe_stream();
        let call = match stream {
            StreamId::Name(name) => call.stream_name(name.as_str()),
            StreamId::Arn(arn) => call.stream_arn(arn.as_str()),
        };
        let answer = Error::call(&self.context, OPERATION, stream, || call.clone().send()).await?;
        let info = answer.stream_info.ok_or_else(|| incomplete(OPERATION, stream, "StreamInfo"))?;
        stream_info(OPERATION, stream, info)
    }

    /// CreateStream, without waiting until it is active. False when it exists already.
    ///
    /// # Errors
    /// The classes of any call.
    pub async fn begin_stream(&self, name: &StreamName, new: &NewStream) -> Result<bool, Error> {
        const OPERATION: &str = "CreateStream";
        // Without `..`: a new field must not be forgotten here.
        let NewStream { retention_hours, media_type, device_name, kms_key_id, tags } = new;
        let id = StreamId::Name(name.clone());
        let call = self
            .client
            .create_stream()
            .stream_name(name.as_str())
            .media_type(media_type.as_deref().unwrap_or(MEDIA_TYPE))
            .set_device_name(device_name.clone())
            .data_retention_in_hours(hours(*retention_hours))
            .set_kms_key_id(kms_key_id.clone())
            .set_tags((!tags.is_empty()).then(|| tags.clone().into_iter().collect()));
        created_unless_there(Error::call(&self.context, OPERATION, &id, || call.clone().send()).await)
    }

    /// UpdateDataRetention: raises it to so many hours. A stream that keeps its fragments longer is left alone.
    ///
    /// # Errors
    /// The classes of any call; [`ErrorClass::Conflict`] when it was changed meanwhile.
    pub async fn raise_retention(&self, stream: &StreamInfo, retention_hours: u32) -> Result<(), Error> {
        const OPERATION: &str = "UpdateDataRetention";
        let more = retention_hours.saturating_sub(stream.retention_hours);
        if more == 0 {
            return Ok(());
        }
        let call = self
            .client
            .update_data_retention()
            .stream_arn(stream.arn.as_str())
            .current_version(&stream.version)
            .operation(UpdateDataRetentionOperation::IncreaseDataRetention)
            .data_retention_change_in_hours(hours(more));
        Error::call(&self.context, OPERATION, &stream.arn, || call.clone().send()).await.map(|_| ())
    }

    /// DeleteStream of exactly this version, with everything in it. One that is gone is as good.
    ///
    /// # Errors
    /// The classes of any call; [`ErrorClass::Conflict`] when it was changed meanwhile.
    pub async fn delete_stream(&self, stream: &StreamInfo) -> Result<(), Error> {
        const OPERATION: &str = "DeleteStream";
        let call =
            self.client.delete_stream().stream_arn(stream.arn.as_str()).current_version(&stream.version);
        deleted_or_missing(Error::call(&self.context, OPERATION, &stream.arn, || call.clone().send()).await)
    }

    /// ListTagsForStream.
    ///
    /// # Errors
    /// The classes of any call.
    pub async fn stream_tags(&self, stream: &StreamArn) -> Result<Tags, Error> {
        const OPERATION: &str = "ListTagsForStream";
        let (mut tags, mut next) = (Tags::new(), None);
        loop {
            let call = self.client.list_tags_for_stream().stream_arn(stream.as_str()).set_next_token(next);
            let answer = Error::call(&self.context, OPERATION, stream, || call.clone().send()).await?;
            tags.extend(answer.tags.unwrap_or_default());
            next = answer.next_token;
            if next.is_none() {
                return Ok(tags);
            }
        }
    }

    /// TagStream: adds tags to those that the stream has, or changes them. Who may store media may be forbidden to tag: a
    /// denial says nothing against the credentials, which stay.
    ///
    /// # Errors
    /// The classes of any call.
    pub async fn tag_stream(&self, stream: &StreamArn, tags: &Tags) -> Result<(), Error> {
        let tags = tags.clone().into_iter().collect();
        let call = self.client.tag_stream().stream_arn(stream.as_str()).set_tags(Some(tags));
        call.send().await.map(|_| ()).map_err(|error| Error::sdk("TagStream", stream, &error))
    }

    /// GetDataEndpoint for PutMedia.
    ///
    /// # Errors
    /// The classes of any call.
    pub async fn put_media_endpoint(&self, stream: &StreamId) -> Result<Url, Error> {
        self.data_endpoint(stream, ApiName::PutMedia).await
    }

    /// GetDataEndpoint.
    pub(crate) async fn data_endpoint(&self, stream: &StreamId, api: ApiName) -> Result<Url, Error> {
        const OPERATION: &str = "GetDataEndpoint";
        let call = self.client.get_data_endpoint().api_name(api);
        let call = match stream {
            StreamId::Name(name) => call.stream_name(name.as_str()),
            StreamId::Arn(arn) => call.stream_arn(arn.as_str()),
        };
        let answer = Error::call(&self.context, OPERATION, stream, || call.clone().send()).await?;
        let text = answer.data_endpoint.ok_or_else(|| incomplete(OPERATION, stream, "DataEndpoint"))?;
        endpoint(OPERATION, stream, &text)
    }
}

fn hours(hours: u32) -> i32 {
    i32::try_from(hours).unwrap_or(i32::MAX)
}

fn stream_info(operation: &'static str, stream: &StreamId, info: SdkStreamInfo) -> Result<StreamInfo, Error> {
    if info.status == Some(Status::Deleting) {
        return Err(Error::being_deleted(operation, stream));
    }
    let arn = info.stream_arn.ok_or_else(|| incomplete(operation, stream, "StreamARN"))?;
    let arn: StreamArn =
        arn.parse().map_err(|error: InvalidId| incomplete(operation, stream, &error.to_string()))?;
    Ok(StreamInfo {
        name: info.stream_name.unwrap_or_else(|| arn.name().to_owned()),
        arn,
        retention_hours: info
            .data_retention_in_hours
            .and_then(|hours| u32::try_from(hours).ok())
            .unwrap_or(0),
        kms_key_id: info.kms_key_id,
        active: matches!(info.status, None | Some(Status::Active | Status::Updating)),
        version: info.version.unwrap_or_default(),
    })
}
