//! What a channel and a stream have in common, and what each has of its own.

use kvs::{
    ChannelArn, ChannelId, ChannelInfo, ChannelName, InvalidId, MediaStorage, NewStream, StreamArn, StreamId,
    StreamInfo, StreamName, Tags,
};
use kvs_aws::ErrorClass;
use kvs_ingest_api::{KvsIngestSpec, KvsIngestStatus, Mode, ResolvedChannel, ResolvedStream, StreamSpec};

use super::control::Control;
use super::region::{Quota, Region};
use crate::conditions::ConditionUpdate;
use crate::names;
use crate::reason::Reason;

/// An object that AWS is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub uid: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
    pub spec: &'a KvsIngestSpec,
    /// What is known of it so far.
    pub status: Option<&'a KvsIngestStatus>,
}

/// What the spec says of either; nothing of a stream that there is not to be.
#[derive(Default)]
pub(super) struct Declared<'a> {
    pub(super) name: Option<&'a str>,
    pub(super) arn: Option<&'a str>,
    pub(super) create_if_missing: bool,
    pub(super) adopt: bool,
}

/// A channel or a stream, as it stands in the status.
pub(super) trait Resource: Default + Send + Sync {
    /// What messages call it.
    const KIND: &'static str;
    /// What messages call the other half of an object.
    const OTHER_KIND: &'static str;
    /// It is missing, and so is the other half.
    const WAITING_FOR_OTHER: Reason;
    /// One agent at most may have it.
    const ONE_WRITER: bool;
    /// Where it is declared.
    const FIELD: &'static str;
    const DESCRIBE: &'static str;
    const CREATE: &'static str;
    const LIST_TAGS: &'static str;
    const TAG: &'static str;
    const DELETE: &'static str;
    /// By name or ARN.
    type Id: Send + Sync;
    type Name: Clone + Send + Sync;
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
    /// As the status knows it.
    fn known(status: &KvsIngestStatus) -> Option<&Self>;
    /// AWS has told of it once.
    fn was_seen(&self) -> bool;
    fn arn(info: &Self::Info) -> String;
    /// As which it is described again.
    fn id(info: &Self::Info) -> Self::Id;
    /// The command that takes the operator's tags away.
    fn untag(info: &Self::Info) -> String;
    /// The operator's tags, and those of the spec.
    fn tags_to_create(spec: &KvsIngestSpec, own: Tags) -> Tags;

    fn describe(
        control: &dyn Control,
        id: &Self::Id,
    ) -> impl Future<Output = Result<Self::Info, kvs::Error>> + Send;
    /// False: it exists already.
    fn create(
        control: &dyn Control,
        name: &Self::Name,
        spec: &KvsIngestSpec,
        tags: &Tags,
    ) -> impl Future<Output = Result<bool, kvs::Error>> + Send;
    fn tags(
        control: &dyn Control,
        info: &Self::Info,
    ) -> impl Future<Output = Result<Tags, kvs::Error>> + Send;
    /// Adds tags, or changes them.
    fn tag(
        control: &dyn Control,
        info: &Self::Info,
        tags: &Tags,
    ) -> impl Future<Output = Result<(), kvs::Error>> + Send;
    fn delete(
        control: &dyn Control,
        info: &Self::Info,
    ) -> impl Future<Output = Result<(), kvs::Error>> + Send;

    /// Is it as an agent needs it? Then what a person should know all the same.
    fn check(
        &mut self,
        region: &Region,
        info: Self::Info,
        tags: Option<&Tags>,
        subject: Subject<'_>,
    ) -> impl Future<Output = Result<Vec<String>, ConditionUpdate>> + Send;

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
    const OTHER_KIND: &'static str = "stream";
    const WAITING_FOR_OTHER: Reason = Reason::WaitingForStream;
    const ONE_WRITER: bool = false;
    const FIELD: &'static str = "spec.channel";
    const DESCRIBE: &'static str = "DescribeSignalingChannel";
    const CREATE: &'static str = "CreateSignalingChannel";
    const LIST_TAGS: &'static str = "ListTagsForResource";
    const TAG: &'static str = "TagResource";
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
            adopt: channel.adopt,
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

    fn known(status: &KvsIngestStatus) -> Option<&Self> {
        status.channel.as_ref()
    }

    fn was_seen(&self) -> bool {
        self.arn.is_some()
    }

    fn id(info: &ChannelInfo) -> ChannelId {
        ChannelId::Arn(info.arn.clone())
    }

    fn arn(info: &ChannelInfo) -> String {
        info.arn.to_string()
    }

    fn untag(info: &ChannelInfo) -> String {
        format!(
            "`aws kinesisvideo untag-resource --resource-arn {} --tag-key-list {} {}`",
            info.arn,
            names::TAG_UID,
            names::TAG_CLUSTER
        )
    }

    fn tags_to_create(_: &KvsIngestSpec, own: Tags) -> Tags {
        own
    }

    async fn describe(control: &dyn Control, id: &ChannelId) -> Result<ChannelInfo, kvs::Error> {
        control.describe_channel(id).await
    }

    async fn create(
        control: &dyn Control,
        name: &ChannelName,
        _: &KvsIngestSpec,
        tags: &Tags,
    ) -> Result<bool, kvs::Error> {
        control.begin_channel(name, tags).await
    }

    async fn tags(control: &dyn Control, info: &ChannelInfo) -> Result<Tags, kvs::Error> {
        control.channel_tags(&info.arn).await
    }

    async fn tag(control: &dyn Control, info: &ChannelInfo, tags: &Tags) -> Result<(), kvs::Error> {
        control.tag_channel(&info.arn, tags).await
    }

    async fn delete(control: &dyn Control, info: &ChannelInfo) -> Result<(), kvs::Error> {
        control.delete_channel(info).await
    }

    async fn check(
        &mut self,
        region: &Region,
        info: ChannelInfo,
        _: Option<&Tags>,
        subject: Subject<'_>,
    ) -> Result<Vec<String>, ConditionUpdate> {
        let ours = |stream: Option<String>| {
            let known = subject.status.and_then(|status| status.media_storage.as_ref());
            known.is_some_and(|known| {
                known.enabled_by_operator && stream.as_deref() == Some(known.stream_arn.as_str())
            })
        };
        if subject.spec.mode == Mode::ManagedStorage {
            // Whether and where to it is mapped is looked at when its stream is known.
            return Ok(Vec::new());
        }
        let storage = region.control.media_storage(&info.arn);
        let operation = "DescribeMediaStorageConfiguration";
        match region.call(Quota::MediaStorage, operation, storage).await {
            // From before its mode was changed: it is disabled before an agent is started.
            Ok(MediaStorage::Enabled { stream_arn }) if ours(stream_arn.clone()) => Ok(Vec::new()),
            // Into which stream is not told: it may be somebody else's.
            Ok(MediaStorage::Enabled { stream_arn: _ }) => {
                let message = format!(
                    "media storage is enabled on channel {}: its viewers get no media peer to \
                     peer. Disable it with `aws kinesisvideo update-media-storage-configuration --channel-arn {} \
                     --media-storage-configuration Status=DISABLED`",
                    info.name, info.arn
                );
                Err(ConditionUpdate::stalled(Reason::MediaStorageEnabled, message))
            }
            Ok(MediaStorage::Disabled | MediaStorage::NotPermitted) => Ok(Vec::new()),
            Err(error) => Err(Self::failed(&error, subject, true)),
        }
    }
}

impl Resource for ResolvedStream {
    const KIND: &'static str = "stream";
    const OTHER_KIND: &'static str = "channel";
    const WAITING_FOR_OTHER: Reason = Reason::WaitingForChannel;
    const ONE_WRITER: bool = true;
    const FIELD: &'static str = "spec.stream";
    const DESCRIBE: &'static str = "DescribeStream";
    const CREATE: &'static str = "CreateStream";
    const LIST_TAGS: &'static str = "ListTagsForStream";
    const TAG: &'static str = "TagStream";
    const DELETE: &'static str = "DeleteStream";
    type Id = StreamId;
    type Name = StreamName;
    type Info = StreamInfo;

    fn declared(spec: &KvsIngestSpec) -> Declared<'_> {
        let Some(stream) = &spec.stream else { return Declared::default() };
        Declared {
            name: stream.name.as_deref(),
            arn: stream.arn.as_deref(),
            create_if_missing: stream.create_if_missing,
            adopt: stream.adopt,
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

    fn known(status: &KvsIngestStatus) -> Option<&Self> {
        status.stream.as_ref()
    }

    fn was_seen(&self) -> bool {
        self.arn.is_some()
    }

    fn id(info: &StreamInfo) -> StreamId {
        StreamId::Arn(info.arn.clone())
    }

    fn arn(info: &StreamInfo) -> String {
        info.arn.to_string()
    }

    fn untag(info: &StreamInfo) -> String {
        format!(
            "`aws kinesisvideo untag-stream --stream-arn {} --tag-key-list {} {}`",
            info.arn,
            names::TAG_UID,
            names::TAG_CLUSTER
        )
    }

    fn tags_to_create(spec: &KvsIngestSpec, own: Tags) -> Tags {
        // Nobody's tag takes the place of ours.
        let mut all = spec.stream.as_ref().map(|stream| stream.tags.clone()).unwrap_or_default();
        all.extend(own);
        all
    }

    async fn describe(control: &dyn Control, id: &StreamId) -> Result<StreamInfo, kvs::Error> {
        control.describe_stream(id).await
    }

    async fn create(
        control: &dyn Control,
        name: &StreamName,
        spec: &KvsIngestSpec,
        tags: &Tags,
    ) -> Result<bool, kvs::Error> {
        let stream = spec.stream.clone().unwrap_or_default();
        let new = NewStream {
            retention_hours: stream.retention_hours_or_default(),
            // H.264 and AAC: what agents store.
            media_type: None,
            device_name: None,
            kms_key_id: stream.kms_key_id,
            tags: tags.clone(),
        };
        control.begin_stream(name, &new).await
    }

    async fn tags(control: &dyn Control, info: &StreamInfo) -> Result<Tags, kvs::Error> {
        control.stream_tags(&info.arn).await
    }

    async fn tag(control: &dyn Control, info: &StreamInfo, tags: &Tags) -> Result<(), kvs::Error> {
        control.tag_stream(&info.arn, tags).await
    }

    async fn delete(control: &dyn Control, info: &StreamInfo) -> Result<(), kvs::Error> {
        control.delete_stream(info).await
    }

    async fn check(
        &mut self,
        region: &Region,
        info: StreamInfo,
        tags: Option<&Tags>,
        subject: Subject<'_>,
    ) -> Result<Vec<String>, ConditionUpdate> {
        let Some(spec) = &subject.spec.stream else { return Ok(Vec::new()) };
        let raise = spec.retention_hours.filter(|wanted| self.created && *wanted > info.retention_hours);
        if let Some(wanted) = raise {
            let raised = region.control.raise_retention(&info, wanted);
            let raised = region.change("UpdateDataRetention", raised).await;
            raised.map_err(|error| Self::failed(&error, subject, true))?;
            self.retention_hours = Some(wanted);
        }
        if self.retention_hours == Some(0) {
            let remedy = if self.created {
                "spec.stream.retentionHours changes that".to_owned()
            } else {
                format!(
                    "{} changes that, or spec.stream.adopt: true with spec.stream.retentionHours",
                    change_retention(&info, 24)
                )
            };
            let message =
                format!("stream {} has a retention of 0 hours: it keeps nothing; {remedy}", info.name);
            return Err(ConditionUpdate::stalled(Reason::NoRetention, message));
        }
        Ok(without_effect(self, &info, tags, spec))
    }
}

/// The command that gives a stream this retention.
fn change_retention(info: &StreamInfo, hours: u32) -> String {
    let (operation, change) = if hours > info.retention_hours {
        ("INCREASE", hours - info.retention_hours)
    } else {
        ("DECREASE", info.retention_hours - hours)
    };
    format!(
        "`aws kinesisvideo update-data-retention --stream-name {} --operation {operation}_DATA_RETENTION \
         --data-retention-change-in-hours {change}` with its current version",
        info.name
    )
}

/// What the spec says of a stream that exists, and is not done.
pub(super) fn without_effect(
    stream: &ResolvedStream,
    info: &StreamInfo,
    tags: Option<&Tags>,
    spec: &StreamSpec,
) -> Vec<String> {
    let mut notes = Vec::new();
    let keeps = stream.retention_hours.unwrap_or(info.retention_hours);
    match spec.retention_hours {
        Some(wanted) if wanted > keeps => notes.push(format!(
            "it keeps its fragments for {keeps} hours, less than spec.stream.retentionHours, and is not this object's own: \
             {} raises it, or spec.stream.adopt: true",
            change_retention(info, wanted)
        )),
        Some(wanted) if wanted < keeps => notes.push(format!(
            "it keeps its fragments for {keeps} hours, more than spec.stream.retentionHours, and is never lowered by the operator: {} lowers it",
            change_retention(info, wanted)
        )),
        _ => {}
    }
    if let (Some(wanted), Some(key)) = (&spec.kms_key_id, &info.kms_key_id)
        && !is_same_key(wanted, key)
        // Which key an alias stands for, only KMS knows.
        && !(stream.created && wanted.contains("alias/") && !key.contains("alias/"))
    {
        notes.push(format!(
            "its KMS key is {key}: spec.stream.kmsKeyId is for a stream that is created, and has no effect on it"
        ));
    }
    if let Some(tags) = tags {
        let differ: Vec<_> = spec
            .tags
            .iter()
            .filter(|(key, value)| tags.get(*key) != Some(*value))
            .map(|(key, _)| key.as_str())
            .collect();
        if !differ.is_empty() {
            notes.push(format!(
                "spec.stream.tags are for a stream that is created, and have no effect on it: {}",
                differ.join(", ")
            ));
        }
    }
    notes
}

/// Is it one key, named by its ARN or by its id, or one alias?
fn is_same_key(one: &str, other: &str) -> bool {
    /// `alias/NAME`, or the id.
    fn id(key: &str) -> &str {
        match (key.find("alias/"), key.rsplit_once("key/")) {
            (Some(at), _) => &key[at..],
            (None, Some((_, id))) => id,
            (None, None) => key,
        }
    }
    id(one) == id(other)
}
