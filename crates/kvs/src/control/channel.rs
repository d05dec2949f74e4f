//! Channels: the single steps. [`super::find`] puts them together.

use std::fmt::Display;
use std::time::Duration;

use aws_sdk_kinesisvideo::types::{
    ChannelInfo as SdkChannelInfo, ChannelProtocol, ChannelRole, MediaStorageConfiguration,
    MediaStorageConfigurationStatus, ResourceEndpointListItem, SingleMasterChannelEndpointConfiguration,
    Status, Tag,
};
use aws_sdk_kinesisvideowebrtcstorage::Client as StorageClient;
use aws_sdk_kinesisvideowebrtcstorage::config::Builder as StorageConfig;
use aws_smithy_types::error::operation::BuildError;
use kvs_aws::ErrorClass;
use url::Url;

use super::plane::{ControlPlane, Tags, created_unless_there, deleted_or_missing, endpoint, incomplete};
use crate::error::Error;
use crate::id::{ChannelArn, ChannelId, ChannelName, InvalidId, StreamArn};

const GET_ENDPOINT: &str = "GetSignalingChannelEndpoint";

/// As what someone joins a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Answers offers; one of them.
    Master,
    /// Sends offers; ten of them.
    Viewer,
}

/// A signaling channel, as DescribeSignalingChannel tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelInfo {
    /// Unique in account and region.
    pub name: String,
    /// With region, account, name and time of creation.
    pub arn: ChannelArn,
    /// How long an undelivered message is kept.
    pub message_ttl: Duration,
    /// ACTIVE, and not on its way in.
    pub active: bool,
    /// What a change has to name, so that it does not undo another.
    pub version: String,
}

/// Where a channel is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelEndpoints {
    /// Of the signaling WebSocket, for the role that was asked for.
    pub wss: Url,
    /// Of GetIceServerConfig.
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

impl ControlPlane {
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

    /// CreateSignalingChannel, without waiting until it is active. False when it exists already.
    ///
    /// # Errors
    /// The classes of any call.
    pub async fn begin_channel(&self, name: &ChannelName, tags: &Tags) -> Result<bool, Error> {
        const OPERATION: &str = "CreateSignalingChannel";
        let id = ChannelId::Name(name.clone());
        let list = tag_list(OPERATION, &id, tags)?;
        let call = self
            .client
            .create_signaling_channel()
            .channel_name(name.as_str())
            .set_tags((!list.is_empty()).then_some(list));
        created_unless_there(Error::call(&self.context, OPERATION, &id, || call.clone().send()).await)
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
        deleted_or_missing(Error::call(&self.context, OPERATION, &channel.arn, || call.clone().send()).await)
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

    /// TagResource: adds tags to those that the channel has, or changes them.
    ///
    /// # Errors
    /// The classes of any call.
    pub async fn tag_channel(&self, channel: &ChannelArn, tags: &Tags) -> Result<(), Error> {
        const OPERATION: &str = "TagResource";
        let list = tag_list(OPERATION, channel, tags)?;
        let call = self.client.tag_resource().resource_arn(channel.as_str()).set_tags(Some(list));
        Error::call(&self.context, OPERATION, channel, || call.clone().send()).await.map(|_| ())
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

    /// UpdateMediaStorageConfiguration: maps the channel to this stream, or switches its media storage off.
    ///
    /// # Errors
    /// The classes of any call; [`ErrorClass::Conflict`] where channel or stream are mapped otherwise.
    pub async fn set_media_storage(
        &self,
        channel: &ChannelArn,
        stream: Option<&StreamArn>,
    ) -> Result<(), Error> {
        const OPERATION: &str = "UpdateMediaStorageConfiguration";
        let status = match stream {
            Some(_) => MediaStorageConfigurationStatus::Enabled,
            None => MediaStorageConfigurationStatus::Disabled,
        };
        let wanted = MediaStorageConfiguration::builder()
            .status(status)
            .set_stream_arn(stream.map(|arn| arn.as_str().to_owned()))
            .build()
            .map_err(|error| Error::new(OPERATION, channel, ErrorClass::InvalidRequest, error.to_string()))?;
        let call = self
            .client
            .update_media_storage_configuration()
            .channel_arn(channel.as_str())
            .media_storage_configuration(wanted);
        Error::call(&self.context, OPERATION, channel, || call.clone().send()).await.map(|_| ())
    }

    /// JoinStorageSession, at the endpoint that GetSignalingChannelEndpoint names: AWS sends its offer to the channel's
    /// master, once for each call. Whoever may call it may do so for a master that does not, and of the calls for one channel
    /// the newest counts.
    ///
    /// <https://docs.aws.amazon.com/kinesisvideostreams/latest/dg/API_webrtc_JoinStorageSession.html>
    ///
    /// # Errors
    /// The classes of any call; [`ErrorClass::InvalidRequest`] where the channel is mapped to no stream.
    pub async fn join_storage_session(&self, channel: &ChannelArn) -> Result<(), Error> {
        const OPERATION: &str = "JoinStorageSession";
        let webrtc = ChannelProtocol::Webrtc;
        let found = self.endpoints(channel, Role::Master, std::slice::from_ref(&webrtc)).await?;
        let url = named(&found, channel, &webrtc)?;
        let config = StorageConfig::from(self.context.sdk_config());
        let client =
            StorageClient::from_conf(config.endpoint_url(url.as_str().trim_end_matches('/')).build());
        let call = client.join_storage_session().channel_arn(channel.as_str());
        Error::call(&self.context, OPERATION, channel, || call.clone().send()).await.map(|_| ())
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
        let (wss, https) = (ChannelProtocol::Wss, ChannelProtocol::Https);
        let found = self.endpoints(channel, role, &[wss.clone(), https.clone()]).await?;
        Ok(ChannelEndpoints { wss: named(&found, channel, &wss)?, https: named(&found, channel, &https)? })
    }

    async fn endpoints(
        &self,
        channel: &ChannelArn,
        role: Role,
        protocols: &[ChannelProtocol],
    ) -> Result<Vec<ResourceEndpointListItem>, Error> {
        let role = match role {
            Role::Master => ChannelRole::Master,
            Role::Viewer => ChannelRole::Viewer,
        };
        let wanted = SingleMasterChannelEndpointConfiguration::builder()
            .set_protocols(Some(protocols.to_vec()))
            .role(role)
            .build();
        let call = self
            .client
            .get_signaling_channel_endpoint()
            .channel_arn(channel.as_str())
            .single_master_channel_endpoint_configuration(wanted);
        let answer = Error::call(&self.context, GET_ENDPOINT, channel, || call.clone().send()).await?;
        Ok(answer.resource_endpoint_list.unwrap_or_default())
    }
}

/// The endpoint for a protocol.
fn named(
    found: &[ResourceEndpointListItem],
    channel: &ChannelArn,
    protocol: &ChannelProtocol,
) -> Result<Url, Error> {
    let found = found.iter().find(|found| found.protocol.as_ref() == Some(protocol));
    let text = found
        .and_then(|found| found.resource_endpoint.as_deref())
        .ok_or_else(|| incomplete(GET_ENDPOINT, channel, protocol.as_str()))?;
    endpoint(GET_ENDPOINT, channel, text)
}

fn tag_list(operation: &'static str, channel: &dyn Display, tags: &Tags) -> Result<Vec<Tag>, Error> {
    let tag = |(key, value): (&String, &String)| Tag::builder().key(key).value(value).build();
    let invalid =
        |error: BuildError| Error::new(operation, channel, ErrorClass::InvalidRequest, error.to_string());
    tags.iter().map(|pair| tag(pair).map_err(invalid)).collect()
}

fn channel_info(
    operation: &'static str,
    channel: &ChannelId,
    info: SdkChannelInfo,
) -> Result<ChannelInfo, Error> {
    if info.channel_status == Some(Status::Deleting) {
        return Err(Error::being_deleted(operation, channel));
    }
    let arn = info.channel_arn.ok_or_else(|| incomplete(operation, channel, "ChannelARN"))?;
    let arn: ChannelArn =
        arn.parse().map_err(|error: InvalidId| incomplete(operation, channel, &error.to_string()))?;
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
