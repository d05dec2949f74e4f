//! What the operator asks of AWS in one region.

use std::time::Duration;

use async_trait::async_trait;
use kvs::{
    ChannelArn, ChannelId, ChannelInfo, ChannelName, ControlPlane, Error, MediaStorage, NewStream,
    RecentFragment, StreamArn, StreamId, StreamInfo, StreamName, Tags,
};
use url::Url;

/// The operations of KVS that the operator calls: [`ControlPlane`], and what stands in for it where whole lives of objects
/// are played in virtual time.
#[async_trait]
pub(crate) trait Control: Send + Sync {
    async fn describe_channel(&self, channel: &ChannelId) -> Result<ChannelInfo, Error>;
    /// False: it exists already.
    async fn begin_channel(&self, name: &ChannelName, tags: &Tags) -> Result<bool, Error>;
    async fn channel_tags(&self, channel: &ChannelArn) -> Result<Tags, Error>;
    async fn tag_channel(&self, channel: &ChannelArn, tags: &Tags) -> Result<(), Error>;
    async fn delete_channel(&self, channel: &ChannelInfo) -> Result<(), Error>;
    async fn media_storage(&self, channel: &ChannelArn) -> Result<MediaStorage, Error>;
    /// `None`: it is switched off.
    async fn set_media_storage(&self, channel: &ChannelArn, stream: Option<&StreamArn>) -> Result<(), Error>;
    async fn join_storage_session(&self, channel: &ChannelArn) -> Result<(), Error>;
    async fn fragments_endpoint(&self, stream: &StreamArn) -> Result<Url, Error>;
    async fn recent_fragments(
        &self,
        endpoint: &Url,
        stream: &StreamArn,
        span: Duration,
    ) -> Result<Vec<RecentFragment>, Error>;
    async fn describe_stream(&self, stream: &StreamId) -> Result<StreamInfo, Error>;
    /// False: it exists already.
    async fn begin_stream(&self, name: &StreamName, new: &NewStream) -> Result<bool, Error>;
    async fn stream_tags(&self, stream: &StreamArn) -> Result<Tags, Error>;
    async fn tag_stream(&self, stream: &StreamArn, tags: &Tags) -> Result<(), Error>;
    async fn raise_retention(&self, stream: &StreamInfo, retention_hours: u32) -> Result<(), Error>;
    async fn delete_stream(&self, stream: &StreamInfo) -> Result<(), Error>;
}

#[async_trait]
impl Control for ControlPlane {
    async fn describe_channel(&self, channel: &ChannelId) -> Result<ChannelInfo, Error> {
        self.describe_channel(channel).await
    }

    async fn begin_channel(&self, name: &ChannelName, tags: &Tags) -> Result<bool, Error> {
        self.begin_channel(name, tags).await
    }

    async fn channel_tags(&self, channel: &ChannelArn) -> Result<Tags, Error> {
        self.channel_tags(channel).await
    }

    async fn tag_channel(&self, channel: &ChannelArn, tags: &Tags) -> Result<(), Error> {
        self.tag_channel(channel, tags).await
    }

    async fn delete_channel(&self, channel: &ChannelInfo) -> Result<(), Error> {
        self.delete_channel(channel).await
    }

    async fn media_storage(&self, channel: &ChannelArn) -> Result<MediaStorage, Error> {
        self.media_storage(channel).await
    }

    async fn set_media_storage(&self, channel: &ChannelArn, stream: Option<&StreamArn>) -> Result<(), Error> {
        self.set_media_storage(channel, stream).await
    }

    async fn join_storage_session(&self, channel: &ChannelArn) -> Result<(), Error> {
        self.join_storage_session(channel).await
    }

    async fn fragments_endpoint(&self, stream: &StreamArn) -> Result<Url, Error> {
        self.fragments_endpoint(stream).await
    }

    async fn recent_fragments(
        &self,
        endpoint: &Url,
        stream: &StreamArn,
        span: Duration,
    ) -> Result<Vec<RecentFragment>, Error> {
        self.recent_fragments(endpoint, stream, span).await
    }

    async fn describe_stream(&self, stream: &StreamId) -> Result<StreamInfo, Error> {
        self.describe_stream(stream).await
    }

    async fn begin_stream(&self, name: &StreamName, new: &NewStream) -> Result<bool, Error> {
        self.begin_stream(name, new).await
    }

    async fn stream_tags(&self, stream: &StreamArn) -> Result<Tags, Error> {
        self.stream_tags(stream).await
    }

    async fn tag_stream(&self, stream: &StreamArn, tags: &Tags) -> Result<(), Error> {
        self.tag_stream(stream, tags).await
    }

    async fn raise_retention(&self, stream: &StreamInfo, retention_hours: u32) -> Result<(), Error> {
        self.raise_retention(stream, retention_hours).await
    }

    async fn delete_stream(&self, stream: &StreamInfo) -> Result<(), Error> {
        self.delete_stream(stream).await
    }
}
