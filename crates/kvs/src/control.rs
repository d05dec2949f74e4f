//! The control plane: channels, streams and their endpoints. Every call goes through AWS's own SDK.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_kinesisvideo::Client;
use aws_sdk_kinesisvideo::types::{
    ApiName, ChannelInfo as SdkChannelInfo, ChannelProtocol, ChannelRole, MediaStorageConfigurationStatus,
    SingleMasterChannelEndpointConfiguration, Status, StreamInfo as SdkStreamInfo, Tag,
    UpdateDataRetentionOperation,
};
use kvs_aws::{AwsContext, ErrorClass};
use tokio::time::{Instant, sleep};
use url::Url;

use crate::error::Error;
use crate::id::{ChannelArn, ChannelId, ChannelName, StreamArn, StreamId, StreamName};

/// How long a created channel or stream may take to become active.
const ACTIVE_WITHIN: Duration = Duration::from_secs(60);
const CREATE_CHANNEL: &str = "CreateSignalingChannel";
const CREATE_STREAM: &str = "CreateStream";
/// DescribeStream and DescribeSignalingChannel allow five calls a second for each resource.
const DESCRIBE_EVERY: Duration = Duration::from_millis(500);

/// As what someone joins a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Answers offers; one of them.
    Master,
    /// Sends offers; ten of them.
    Viewer,
}

/// A signaling channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelInfo {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: ChannelArn,
    /// How long an undelivered message is kept.
    pub message_ttl: Duration,
    /// ACTIVE, and not on its way in.
    pub active: bool,
    /// What a change has to name, so that it does not undo another.
    pub version: String,
}

/// A stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: StreamArn,
    /// 0: nothing is kept, fragments are acknowledged as received and never as persisted.
    pub retention_hours: u32,
    /// ACTIVE, and not on its way in or out.
    pub active: bool,
    /// What a change has to name, so that it does not undo another.
    pub version: String,
}

/// Keys and values on a channel or stream.
pub type Tags = BTreeMap<String, String>;

/// A stream to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewStream {
    /// Hours for which it keeps its fragments.
    pub retention_hours: u32,
    /// Its KMS key; `None`: that of Kinesis Video Streams.
    pub kms_key_id: Option<String>,
    /// Its tags.
    pub tags: Tags,
}

/// Where a channel is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelEndpoints {
    /// Signaling WebSocket.
    pub wss: Url,
    /// ICE server configuration.
    pub https: Url,
}

/// Is AWS's own WebRTC ingestion on for a channel?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaStorage {
    /// No: viewers connect peer to peer.
    Disabled,
    /// Yes: the storage session is everybody's peer, and a viewer's offer is never answered.
    Enabled {
        /// Where AWS stores the media.
        stream_arn: Option<String>,
    },
    /// The caller may not ask (`kinesisvideo:DescribeMediaStorageConfiguration`).
    NotPermitted,
}

/// What a data endpoint is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataApi {
    /// Producing.
    PutMedia,
    /// Consuming live.
    GetMedia,
    /// The archive.
    ListFragments,
}

/// The control plane of one region.
#[derive(Clone, Debug)]
pub struct ControlPlane {
    context: AwsContext,
    client: Client,
}

impl ControlPlane {
    /// A client of the context's region or endpoint.
    #[must_use]
    pub fn new(context: &AwsContext) -> Self {
        Self { context: context.clone(), client: Client::new(context.sdk_config()) }
    }

    /// DescribeSignalingChannel.
    ///
    /// # Errors
    /// [`ErrorClass::NotFound`] when there is none; the classes of any call.
    pub async fn describe_channel(&self, channel: &ChannelId) -> Result<ChannelInfo, Error> {
        const OPERATION: &str = "DescribeSignalingChannel";
        let call = self.client.describe_signaling_channel();
        let call = match channel {
            ChannelId::Name(name) => call.channel_name(name.as_str()),
            ChannelId::Arn(arn) => call.channel_arn(arn.as_str()),
        };
        let answer = Error::call(&self.context, OPERATION, channel, || call.clone().send()).await?;
        let info = answer.channel_info.ok_or_else(|| incomplete(OPERATION, channel, "ChannelInfo"))?;
        channel_info(OPERATION, channel, info)
    }

    /// CreateSignalingChannel, and the channel once it is there. One that exists already is as good.
    ///
    /// # Errors
    /// The classes of any call; [`ErrorClass::Timeout`] when it does not appear.
    pub async fn create_channel(&self, name: &ChannelName, tags: &Tags) -> Result<ChannelInfo, Error> {
        let id = ChannelId::Name(name.clone());
        self.begin_channel(name, tags).await?;
        let deadline = Instant::now() + ACTIVE_WITHIN;
        loop {
            match self.describe_channel(&id).await {
                Ok(info) if info.active => return Ok(info),
                other => not_yet(CREATE_CHANNEL, &id, other.map(|_| ()), deadline).await?,
            }
        }
    }

    /// CreateSignalingChannel, without waiting until it is active. False when it exists already.
    ///
    /// # Errors
    /// The classes of any call.
    pub async fn begin_channel(&self, name: &ChannelName, tags: &Tags) -> Result<bool, Error> {
        let id = ChannelId::Name(name.clone());
        let mut list = Vec::new();
        for (key, value) in tags {
            list.push(Tag::builder().key(key).value(value).build().map_err(|error| {
                Error::new(CREATE_CHANNEL, &id, ErrorClass::InvalidRequest, error.to_string())
            })?);
        }
        let call = self
            .client
            .create_signaling_channel()
            .channel_name(name.as_str())
            .set_tags((!list.is_empty()).then_some(list));
        made(Error::call(&self.context, CREATE_CHANNEL, &id, || call.clone().send()).await)
    }

    /// DeleteSignalingChannel of exactly this version. One that is gone is as good.
    ///
    /// # Errors
    /// The classes of any call; [`ErrorClass::Conflict`] when it was changed meanwhile.
    pub async fn delete_channel(&self, channel: &ChannelInfo) -> Result<(), Error> {
        const OPERATION: &str = "DeleteSignalingChannel";
        let call = self
            .client
            .delete_signaling_channel()
            .channel_arn(channel.arn.as_str())
            .current_version(&channel.version);
        gone(Error::call(&self.context, OPERATION, &channel.arn, || call.clone().send()).await)
    }

    /// ListTagsForResource.
    ///
    /// # Errors
    /// The classes of any call.
    pub async fn channel_tags(&self, channel: &ChannelArn) -> Result<Tags, Error> {
        const OPERATION: &str = "ListTagsForResource";
        let (mut tags, mut next) = (Tags::new(), None);
        loop {
            let call =
                self.client.list_tags_for_resource().resource_arn(channel.as_str()).set_next_token(next);
            let answer = Error::call(&self.context, OPERATION, channel, || call.clone().send()).await?;
            tags.extend(answer.tags.unwrap_or_default());
            next = answer.next_token;
            if next.is_none() {
                return Ok(tags);
            }
        }
    }

    /// DescribeMediaStorageConfiguration.
    ///
    /// # Errors
    /// The classes of any call, except that a refusal is [`MediaStorage::NotPermitted`].
    pub async fn media_storage(&self, channel: &ChannelArn) -> Result<MediaStorage, Error> {
        const OPERATION: &str = "DescribeMediaStorageConfiguration";
        let call = self.client.describe_media_storage_configuration().channel_arn(channel.as_str());
        match Error::call(&self.context, OPERATION, channel, || call.clone().send()).await {
            Ok(answer) => Ok(match answer.media_storage_configuration {
                Some(found) if found.status == MediaStorageConfigurationStatus::Enabled => {
                    MediaStorage::Enabled { stream_arn: found.stream_arn }
                }
                _ => MediaStorage::Disabled,
            }),
            Err(error) if error.class == ErrorClass::AccessDenied => Ok(MediaStorage::NotPermitted),
            Err(error) => Err(error),
        }
    }

    /// GetSignalingChannelEndpoint for WSS and HTTPS.
    ///
    /// # Errors
    /// The classes of any call.
    pub async fn channel_endpoints(
        &self,
        channel: &ChannelArn,
        role: Role,
    ) -> Result<ChannelEndpoints, Error> {
        const OPERATION: &str = "GetSignalingChannelEndpoint";
        let role = match role {
            Role::Master => ChannelRole::Master,
            Role::Viewer => ChannelRole::Viewer,
        };
        let call = self
            .client
            .get_signaling_channel_endpoint()
            .channel_arn(channel.as_str())
            .single_master_channel_endpoint_configuration(
                SingleMasterChannelEndpointConfiguration::builder()
                    .protocols(ChannelProtocol::Wss)
                    .protocols(ChannelProtocol::Https)
                    .role(role)
                    .build(),
            );
        let answer = Error::call(&self.context, OPERATION, channel, || call.clone().send()).await?;
        let find = |protocol: ChannelProtocol| {
            let found =
                answer.resource_endpoint_list().iter().find(|found| found.protocol == Some(protocol.clone()));
            let text = found
                .and_then(|found| found.resource_endpoint.as_deref())
                .ok_or_else(|| incomplete(OPERATION, channel, protocol.as_str()))?;
            endpoint(OPERATION, channel, text)
        };
        Ok(ChannelEndpoints { wss: find(ChannelProtocol::Wss)?, https: find(ChannelProtocol::Https)? })
    }

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

    /// CreateStream for H.264 and AAC, and the stream once it is ACTIVE. One that exists already is as good, whatever
    /// its retention.
    ///
    /// # Errors
    /// The classes of any call; [`ErrorClass::Timeout`] when it does not become active.
    pub async fn create_stream(&self, name: &StreamName, new: &NewStream) -> Result<StreamInfo, Error> {
        let id = StreamId::Name(name.clone());
        self.begin_stream(name, new).await?;
        let deadline = Instant::now() + ACTIVE_WITHIN;
        loop {
            match self.describe_stream(&id).await {
                Ok(info) if info.active => return Ok(info),
                other => not_yet(CREATE_STREAM, &id, other.map(|_| ()), deadline).await?,
            }
        }
    }

    /// CreateStream, without waiting until it is active. False when it exists already.
    ///
    /// # Errors
    /// The classes of any call.
    pub async fn begin_stream(&self, name: &StreamName, new: &NewStream) -> Result<bool, Error> {
        // Without `..`: a new field must not be forgotten here.
        let NewStream { retention_hours, kms_key_id, tags } = new;
        let id = StreamId::Name(name.clone());
        let call = self
            .client
            .create_stream()
            .stream_name(name.as_str())
            .media_type("video/h264,audio/aac")
            .data_retention_in_hours(hours(*retention_hours))
            .set_kms_key_id(kms_key_id.clone())
            .set_tags((!tags.is_empty()).then(|| tags.clone().into_iter().collect()));
        made(Error::call(&self.context, CREATE_STREAM, &id, || call.clone().send()).await)
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
        gone(Error::call(&self.context, OPERATION, &stream.arn, || call.clone().send()).await)
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

    /// GetDataEndpoint.
    ///
    /// # Errors
    /// The classes of any call.
    pub async fn data_endpoint(&self, stream: &StreamId, api: DataApi) -> Result<Url, Error> {
        const OPERATION: &str = "GetDataEndpoint";
        let call = self.client.get_data_endpoint().api_name(match api {
            DataApi::PutMedia => ApiName::PutMedia,
            DataApi::GetMedia => ApiName::GetMedia,
            DataApi::ListFragments => ApiName::ListFragments,
        });
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

/// Created, or there already: two agents may start at the same time.
fn made<T>(created: Result<T, Error>) -> Result<bool, Error> {
    match created {
        Ok(_) => Ok(true),
        Err(error) if error.class == ErrorClass::Conflict => Ok(false),
        Err(error) => Err(error),
    }
}

/// Deleted, or not there.
fn gone<T>(deleted: Result<T, Error>) -> Result<(), Error> {
    match deleted {
        Err(error) if error.class != ErrorClass::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Waits before what was just created is looked at again. It may be unknown for a moment; another error is final.
async fn not_yet(
    operation: &'static str,
    resource: &(dyn std::fmt::Display + Sync),
    described: Result<(), Error>,
    deadline: Instant,
) -> Result<(), Error> {
    match described {
        Err(error) if error.class != ErrorClass::NotFound => Err(error),
        _ if Instant::now() >= deadline => {
            let message = format!("it is not active after {} s", ACTIVE_WITHIN.as_secs());
            Err(Error::new(operation, resource, ErrorClass::Timeout, message))
        }
        _ => {
            sleep(DESCRIBE_EVERY).await;
            Ok(())
        }
    }
}

fn incomplete(operation: &'static str, resource: &dyn std::fmt::Display, what: &str) -> Error {
    Error::new(operation, resource, ErrorClass::Service, format!("the answer holds no {what}"))
}

fn endpoint(operation: &'static str, resource: &dyn std::fmt::Display, text: &str) -> Result<Url, Error> {
    Url::parse(text).ok().filter(Url::has_host).ok_or_else(|| {
        Error::new(operation, resource, ErrorClass::Service, format!("the endpoint {text:?} is no URL"))
    })
}

fn channel_info(
    operation: &'static str,
    channel: &ChannelId,
    info: SdkChannelInfo,
) -> Result<ChannelInfo, Error> {
    if info.channel_status == Some(Status::Deleting) {
        return Err(Error::new(operation, channel, ErrorClass::NotFound, "it is being deleted"));
    }
    let arn = info.channel_arn.ok_or_else(|| incomplete(operation, channel, "ChannelARN"))?;
    let arn: ChannelArn =
        arn.parse().map_err(|error: crate::InvalidId| incomplete(operation, channel, &error.to_string()))?;
    let active = matches!(info.channel_status, None | Some(Status::Active | Status::Updating));
    let ttl = info.single_master_configuration.and_then(|found| found.message_ttl_seconds).unwrap_or(60);
    Ok(ChannelInfo {
        name: info.channel_name.unwrap_or_else(|| arn.name().to_owned()),
        arn,
        message_ttl: Duration::from_secs(u64::try_from(ttl).unwrap_or(60)),
        active,
        version: info.version.unwrap_or_default(),
    })
}

fn stream_info(operation: &'static str, stream: &StreamId, info: SdkStreamInfo) -> Result<StreamInfo, Error> {
    if info.status == Some(Status::Deleting) {
        return Err(Error::new(operation, stream, ErrorClass::NotFound, "it is being deleted"));
    }
    let arn = info.stream_arn.ok_or_else(|| incomplete(operation, stream, "StreamARN"))?;
    let arn: StreamArn =
        arn.parse().map_err(|error: crate::InvalidId| incomplete(operation, stream, &error.to_string()))?;
    Ok(StreamInfo {
        name: info.stream_name.unwrap_or_else(|| arn.name().to_owned()),
        arn,
        retention_hours: info
            .data_retention_in_hours
            .and_then(|hours| u32::try_from(hours).ok())
            .unwrap_or(0),
        active: matches!(info.status, Some(Status::Active | Status::Updating)),
        version: info.version.unwrap_or_default(),
    })
}
