//! What a channel and a stream have in common, and what each has of its own.

use kvs::{
    ChannelArn, ChannelId, ChannelInfo, ChannelName, ControlPlane, InvalidId, MediaStorage, NewStream,
    StreamArn, StreamId, StreamInfo, StreamName, Tags,
};
use kvs_aws::ErrorClass;
use kvs_ingest_api::{KvsIngestSpec, ResolvedChannel, ResolvedStream};

use super::region::{Quota, Region};
use crate::conditions::ConditionUpdate;
use crate::reason::Reason;

/// An object that AWS is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub uid: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
    pub spec: &'a KvsIngestSpec,
}

/// What the spec says of either.
pub(super) struct Declared<'a> {
    pub(super) name: Option<&'a str>,
    pub(super) arn: Option<&'a str>,
    pub(super) create_if_missing: bool,
}

/// A channel or a stream, as it stands in the status.
pub(super) trait Resource: Default + Send + Sync {
    /// What messages call it.
    const KIND: &'static str;
    /// Where it is declared.
    const FIELD: &'static str;
    const DESCRIBE: &'static str;
    const CREATE: &'static str;
    const LIST_TAGS: &'static str;
    const DELETE: &'static str;
    /// By name or ARN.
    type Id: Send + Sync;
    type Name: Send + Sync;
    /// As AWS describes it.
    type Info: Send + Sync;

    fn declared(spec: &KvsIngestSpec) -> Declared<'_>;
    /// Takes what the spec says: its id, as which AWS is asked for it.
    fn declare(&mut self, spec: &KvsIngestSpec) -> Result<Self::Id, InvalidId>;
    /// The name it can be created under: nothing is created by ARN.
    fn name(id: &Self::Id) -> Option<&Self::Name>;
    fn describe_as(&mut self, info: &Self::Info);
    fn is_active(info: &Self::Info) -> bool;
    fn set_created(&mut self, created: bool);
    fn is_created(&self) -> bool;
    /// Its id, if the operator created it.
    fn created_id(&self) -> Option<Self::Id>;

    fn describe(
        control: &ControlPlane,
        id: &Self::Id,
    ) -> impl Future<Output = Result<Self::Info, kvs::Error>> + Send;
    /// False: it exists already.
    fn create(
        control: &ControlPlane,
        name: &Self::Name,
        spec: &KvsIngestSpec,
        tags: Tags,
    ) -> impl Future<Output = Result<bool, kvs::Error>> + Send;
    fn tags(
        control: &ControlPlane,
        info: &Self::Info,
    ) -> impl Future<Output = Result<Tags, kvs::Error>> + Send;
    fn delete(
        control: &ControlPlane,
        info: &Self::Info,
    ) -> impl Future<Output = Result<(), kvs::Error>> + Send;

    /// Is it as an agent needs it? Then its ARN.
    fn check(
        &mut self,
        region: &Region,
        info: Self::Info,
        subject: Subject<'_>,
    ) -> impl Future<Output = Result<String, ConditionUpdate>> + Send;

    /// What a failed call means for the object, with the remedy. `exists`: what the call was about is there.
    fn failed(error: &kvs::Error, subject: Subject<'_>, exists: bool) -> ConditionUpdate {
        let spec = subject.spec;
        let arn = Self::declared(spec).arn;
        let field = Self::FIELD;
        match error.class {
            ErrorClass::NotFound if arn.is_some() => ConditionUpdate::stalled(
                Reason::NotFound,
                format!("{} does not exist: correct {field}.arn", error.resource),
            ),
            ErrorClass::NotFound => ConditionUpdate::stalled(
                Reason::NotFound,
                format!(
                    "{} does not exist in {}: create it, or set {field}.createIfMissing",
                    error.resource, spec.region
                ),
            ),
            // Another account's: the agent has the rights, the operator may have none there.
            ErrorClass::AccessDenied
                if arn.is_some() && (spec.role_arn.is_some() || spec.credentials_secret_ref.is_some()) =>
            {
                ConditionUpdate::met(
                    Reason::NotVerified,
                    format!("the operator may not look at it, the agent will: {}", error.message),
                )
            }
            ErrorClass::AccessDenied => ConditionUpdate::stalled(
                Reason::AccessDenied,
                format!(
                    "the operator may not call {} on {}: {}",
                    error.operation, error.resource, error.message
                ),
            ),
            ErrorClass::InvalidRequest => {
                ConditionUpdate::stalled(Reason::InvalidRequest, error.message.clone())
            }
            ErrorClass::LimitExceeded => ConditionUpdate::stalled(
                Reason::QuotaExceeded,
                format!("{}: {}; ask AWS for a higher quota", error.operation, error.message),
            ),
            ErrorClass::Throttled => {
                ConditionUpdate::unknown(Reason::Throttled, format!("AWS throttles {}", error.operation))
            }
            ErrorClass::Conflict if exists => {
                ConditionUpdate::unknown(Reason::Conflict, error.message.clone())
            }
            _ => ConditionUpdate::unknown(
                Reason::AwsUnavailable,
                format!("{}: {}", error.operation, error.message),
            ),
        }
    }
}

impl Resource for ResolvedChannel {
    const KIND: &'static str = "channel";
    const FIELD: &'static str = "spec.channel";
    const DESCRIBE: &'static str = "DescribeSignalingChannel";
    const CREATE: &'static str = "CreateSignalingChannel";
    const LIST_TAGS: &'static str = "ListTagsForResource";
    const DELETE: &'static str = "DeleteSignalingChannel";
    type Id = ChannelId;
    type Name = ChannelName;
    type Info = ChannelInfo;

    fn declared(spec: &KvsIngestSpec) -> Declared<'_> {
        let channel = &spec.channel;
        Declared {
            name: channel.name.as_deref(),
            arn: channel.arn.as_deref(),
            create_if_missing: channel.create_if_missing,
        }
    }

    fn declare(&mut self, spec: &KvsIngestSpec) -> Result<ChannelId, InvalidId> {
        let Declared { name, arn, .. } = Self::declared(spec);
        if let Some(text) = arn {
            let arn: ChannelArn = text.parse()?;
            (self.name, self.arn) = (arn.name().to_owned(), Some(text.to_owned()));
            return Ok(ChannelId::Arn(arn));
        }
        self.name = name.unwrap_or_default().to_owned();
        Ok(ChannelId::Name(self.name.parse()?))
    }

    fn name(id: &ChannelId) -> Option<&ChannelName> {
        match id {
            ChannelId::Name(name) => Some(name),
            ChannelId::Arn(_) => None,
        }
    }

    fn describe_as(&mut self, info: &ChannelInfo) {
        self.name.clone_from(&info.name);
        self.arn = Some(info.arn.to_string());
    }

    fn is_active(info: &ChannelInfo) -> bool {
        info.active
    }

    fn set_created(&mut self, created: bool) {
        self.created = created;
    }

    fn is_created(&self) -> bool {
        self.created
    }

    fn created_id(&self) -> Option<ChannelId> {
        self.arn.as_deref().filter(|_| self.created)?.parse().ok().map(ChannelId::Arn)
    }

    async fn describe(control: &ControlPlane, id: &ChannelId) -> Result<ChannelInfo, kvs::Error> {
        control.describe_channel(id).await
    }

    async fn create(
        control: &ControlPlane,
        name: &ChannelName,
        _: &KvsIngestSpec,
        tags: Tags,
    ) -> Result<bool, kvs::Error> {
        control.begin_channel(name, &tags).await
    }

    async fn tags(control: &ControlPlane, info: &ChannelInfo) -> Result<Tags, kvs::Error> {
        control.channel_tags(&info.arn).await
    }

    async fn delete(control: &ControlPlane, info: &ChannelInfo) -> Result<(), kvs::Error> {
        control.delete_channel(info).await
    }

    async fn check(
        &mut self,
        region: &Region,
        info: ChannelInfo,
        subject: Subject<'_>,
    ) -> Result<String, ConditionUpdate> {
        let storage = region.control.media_storage(&info.arn);
        let operation = "DescribeMediaStorageConfiguration";
        match region.call(Quota::MediaStorage, operation, storage).await {
            Ok(MediaStorage::Enabled { stream_arn }) => {
                let message = format!(
                    "media storage is enabled on channel {} (stored by AWS in {}): its viewers get no media peer to \
                     peer. Disable it with `aws kinesisvideo update-media-storage-configuration --channel-arn {} \
                     --media-storage-configuration Status=DISABLED`",
                    info.name,
                    stream_arn.as_deref().unwrap_or("a stream"),
                    info.arn
                );
                Err(ConditionUpdate::stalled(Reason::MediaStorageEnabled, message))
            }
            Ok(MediaStorage::Disabled | MediaStorage::NotPermitted) => Ok(info.arn.to_string()),
            Err(error) => Err(Self::failed(&error, subject, true)),
        }
    }
}

impl Resource for ResolvedStream {
    const KIND: &'static str = "stream";
    const FIELD: &'static str = "spec.stream";
    const DESCRIBE: &'static str = "DescribeStream";
    const CREATE: &'static str = "CreateStream";
    const LIST_TAGS: &'static str = "ListTagsForStream";
    const DELETE: &'static str = "DeleteStream";
    type Id = StreamId;
    type Name = StreamName;
    type Info = StreamInfo;

    fn declared(spec: &KvsIngestSpec) -> Declared<'_> {
        let stream = &spec.stream;
        Declared {
            name: stream.name.as_deref(),
            arn: stream.arn.as_deref(),
            create_if_missing: stream.create_if_missing,
        }
    }

    fn declare(&mut self, spec: &KvsIngestSpec) -> Result<StreamId, InvalidId> {
        let Declared { name, arn, .. } = Self::declared(spec);
        if let Some(text) = arn {
            let arn: StreamArn = text.parse()?;
            (self.name, self.arn) = (arn.name().to_owned(), Some(text.to_owned()));
            return Ok(StreamId::Arn(arn));
        }
        self.name = name.unwrap_or_default().to_owned();
        Ok(StreamId::Name(self.name.parse()?))
    }

    fn name(id: &StreamId) -> Option<&StreamName> {
        match id {
            StreamId::Name(name) => Some(name),
            StreamId::Arn(_) => None,
        }
    }

    fn describe_as(&mut self, info: &StreamInfo) {
        self.name.clone_from(&info.name);
        self.arn = Some(info.arn.to_string());
        self.retention_hours = Some(info.retention_hours);
    }

    fn is_active(info: &StreamInfo) -> bool {
        info.active
    }

    fn set_created(&mut self, created: bool) {
        self.created = created;
    }

    fn is_created(&self) -> bool {
        self.created
    }

    fn created_id(&self) -> Option<StreamId> {
        self.arn.as_deref().filter(|_| self.created)?.parse().ok().map(StreamId::Arn)
    }

    async fn describe(control: &ControlPlane, id: &StreamId) -> Result<StreamInfo, kvs::Error> {
        control.describe_stream(id).await
    }

    async fn create(
        control: &ControlPlane,
        name: &StreamName,
        spec: &KvsIngestSpec,
        tags: Tags,
    ) -> Result<bool, kvs::Error> {
        let stream = &spec.stream;
        // Nobody's tag takes the place of ours.
        let mut all = stream.tags.clone();
        all.extend(tags);
        let new = NewStream {
            retention_hours: stream.retention_hours_or_default(),
            // H.264 and AAC: what agents store.
            media_type: None,
            device_name: None,
            kms_key_id: stream.kms_key_id.clone(),
            tags: all,
        };
        control.begin_stream(name, &new).await
    }

    async fn tags(control: &ControlPlane, info: &StreamInfo) -> Result<Tags, kvs::Error> {
        control.stream_tags(&info.arn).await
    }

    async fn delete(control: &ControlPlane, info: &StreamInfo) -> Result<(), kvs::Error> {
        control.delete_stream(info).await
    }

    async fn check(
        &mut self,
        region: &Region,
        info: StreamInfo,
        subject: Subject<'_>,
    ) -> Result<String, ConditionUpdate> {
        let declared = subject.spec.stream.retention_hours;
        if let Some(wanted) = declared.filter(|wanted| *wanted > info.retention_hours) {
            let raise = region.control.raise_retention(&info, wanted);
            let raised = region.call(Quota::Change, "UpdateDataRetention", raise).await;
            raised.map_err(|error| Self::failed(&error, subject, true))?;
            self.retention_hours = Some(wanted);
        }
        if self.retention_hours == Some(0) {
            let message = format!(
                "stream {} has a retention of 0 hours: it keeps nothing. Set spec.stream.retentionHours",
                info.name
            );
            return Err(ConditionUpdate::stalled(Reason::NoRetention, message));
        }
        Ok(info.arn.to_string())
    }
}
