//! AWS in memory: channels and streams that take their time to come and to go, and are not seen at once.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kvs::{
    ChannelArn, ChannelId, ChannelInfo, ChannelName, Error, MediaStorage, NewStream, RecentFragment,
    StreamArn, StreamId, StreamInfo, StreamName, Tags,
};
use kvs_aws::ErrorClass;
use parking_lot::Mutex;
use tokio::time::Instant;
use url::Url;

use super::chaos::{Chaos, Fate, Side};
use crate::aws::Control;

/// Until what was created is seen.
const UNSEEN: Duration = Duration::from_secs(1);
const CREATING: Duration = Duration::from_secs(4);
const DELETING: Duration = Duration::from_secs(3);
/// The life of a storage session.
const SESSION: Duration = Duration::from_secs(3600);

#[derive(Clone, Debug)]
pub(super) struct Thing {
    pub(super) arn: String,
    pub(super) tags: Tags,
    pub(super) retention_hours: u32,
    created: Instant,
    deleted: Option<Instant>,
    version: u32,
    /// Of a channel: the stream that it is mapped to.
    pub(super) stored_in: Option<String>,
    /// Somebody else did that.
    pub(super) by_hand: bool,
    /// When its master joined the storage session last.
    joined: Option<Instant>,
    /// When that session was ended before its time.
    ended: Option<Instant>,
}

impl Thing {
    pub(super) fn is_active(&self) -> bool {
        self.created.elapsed() >= CREATING && self.deleted.is_none()
    }

    /// Does AWS record it now?
    pub(super) fn is_recorded(&self) -> bool {
        self.last_recorded().is_some_and(|at| at.elapsed().is_zero())
    }

    /// When the last fragment came.
    fn last_recorded(&self) -> Option<Instant> {
        let end = self.joined? + SESSION;
        Some(Instant::now().min(end).min(self.ended.unwrap_or(end)))
    }
}

#[derive(Default)]
struct Things {
    channels: BTreeMap<String, Thing>,
    streams: BTreeMap<String, Thing>,
    count: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Channel,
    Stream,
}

impl Things {
    fn of(&mut self, kind: Kind) -> &mut BTreeMap<String, Thing> {
        let all = match kind {
            Kind::Channel => &mut self.channels,
            Kind::Stream => &mut self.streams,
        };
        all.retain(|_, thing| thing.deleted.is_none_or(|at| at.elapsed() < DELETING));
        all
    }

    fn create(
        &mut self,
        kind: Kind,
        name: &str,
        tags: &Tags,
        retention_hours: u32,
        created: Instant,
    ) -> bool {
        if self.of(kind).contains_key(name) {
            return false;
        }
        self.count += 1;
        let word = if kind == Kind::Channel { "channel" } else { "stream" };
        let arn = format!("arn:aws:kinesisvideo:eu-central-1:123456789012:{word}/{name}/{}", self.count);
        let thing = Thing {
            arn,
            tags: tags.clone(),
            retention_hours,
            created,
            deleted: None,
            version: 1,
            stored_in: None,
            by_hand: false,
            joined: None,
            ended: None,
        };
        self.of(kind).insert(name.to_owned(), thing);
        true
    }
}

#[derive(Clone)]
pub(super) struct Cloud {
    things: Arc<Mutex<Things>>,
    chaos: Chaos,
    /// To whatever is asked.
    refusal: Arc<Mutex<Option<ErrorClass>>>,
    /// Every camera is off.
    dark: Arc<Mutex<bool>>,
    /// Calls to join, of which there is no end while cameras are off.
    joins: Arc<Mutex<Vec<Instant>>>,
}

fn error(operation: &'static str, resource: &str, class: ErrorClass) -> Error {
    Error {
        operation,
        resource: resource.to_owned(),
        class,
        message: format!("simulated {class}"),
        request_id: None,
        being_deleted: false,
    }
}

impl Cloud {
    pub(super) fn new(chaos: Chaos) -> Self {
        let (things, refusal, dark, joins) = (Arc::default(), Arc::default(), Arc::default(), Arc::default());
        Self { things, chaos, refusal, dark, joins }
    }

    /// Somebody else makes one, which is there at once.
    pub(super) fn found(&self, kind: Kind, name: &str, tags: &Tags) {
        self.things.lock().create(kind, name, tags, 24, Instant::now() - CREATING);
    }

    /// Somebody else maps a channel to a stream, or to none.
    pub(super) fn map(&self, channel: &str, stream: Option<&str>) {
        let mut things = self.things.lock();
        if let Some(channel) = things.of(Kind::Channel).get_mut(channel) {
            (channel.stored_in, channel.by_hand) = (stream.map(str::to_owned), true);
            channel.ended = Some(Instant::now());
        }
    }

    /// All cameras are switched off, or on.
    pub(super) fn switch(&self, dark: bool) {
        *self.dark.lock() = dark;
        if dark {
            for channel in self.things.lock().of(Kind::Channel).values_mut() {
                channel.ended.get_or_insert(Instant::now());
            }
        }
    }

    /// When somebody joined, of all channels.
    pub(super) fn joins(&self) -> Vec<Instant> {
        self.joins.lock().clone()
    }

    /// Every look is refused like this from now on.
    pub(super) fn refuse(&self, class: Option<ErrorClass>) {
        *self.refusal.lock() = class;
    }

    /// Somebody else deletes it.
    pub(super) fn lose(&self, kind: Kind, name: &str) {
        self.things.lock().of(kind).remove(name);
    }

    pub(super) fn get(&self, kind: Kind, name: &str) -> Option<Thing> {
        self.things.lock().of(kind).get(name).cloned()
    }

    /// All there are.
    pub(super) fn all(&self) -> Vec<(Kind, String, Thing)> {
        let mut things = self.things.lock();
        let mut all = Vec::new();
        for kind in [Kind::Channel, Kind::Stream] {
            all.extend(things.of(kind).iter().map(|(name, thing)| (kind, name.clone(), thing.clone())));
        }
        all
    }

    fn class(&self) -> ErrorClass {
        self.chaos.pick(&[
            ErrorClass::Throttled,
            ErrorClass::Service,
            ErrorClass::Timeout,
            ErrorClass::Network,
            ErrorClass::AccessDenied,
        ])
    }

    fn read(&self, operation: &'static str, kind: Kind, name: &str) -> Result<Thing, Error> {
        if let Some(class) = *self.refusal.lock() {
            return Err(error(operation, name, class));
        }
        if self.chaos.read(Side::Aws) == Fate::Refused {
            return Err(error(operation, name, self.class()));
        }
        let found = self.get(kind, name).filter(|thing| thing.created.elapsed() >= UNSEEN);
        let found = found.ok_or_else(|| error(operation, name, ErrorClass::NotFound))?;
        if found.deleted.is_some() {
            return Err(Error { being_deleted: true, ..error(operation, name, ErrorClass::NotFound) });
        }
        Ok(found)
    }

    async fn write<T>(
        &self,
        operation: &'static str,
        name: &str,
        effect: impl FnOnce(&mut Things) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let fate = self.chaos.write(Side::Aws, format!("{operation} {name}"));
        match fate {
            Fate::Done => effect(&mut self.things.lock()),
            Fate::Refused => Err(error(operation, name, self.class())),
            Fate::AnswerLost => {
                let _ = effect(&mut self.things.lock());
                Err(error(operation, name, ErrorClass::Timeout))
            }
            Fate::KilledBefore => pending().await,
            Fate::KilledAfter => {
                let _ = effect(&mut self.things.lock());
                pending().await
            }
        }
    }

    async fn change(
        &self,
        operation: &'static str,
        kind: Kind,
        arn: &str,
        version: Option<&str>,
        change: impl FnOnce(&mut Thing) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let name = arn.split('/').nth(1).unwrap().to_owned();
        self.write(operation, &name, |things| {
            let thing =
                things.of(kind).get_mut(&name).filter(|thing| thing.arn == arn && thing.deleted.is_none());
            let thing = thing.ok_or_else(|| error(operation, &name, ErrorClass::NotFound))?;
            if version.is_some_and(|version| version != thing.version.to_string()) {
                return Err(error(operation, &name, ErrorClass::Conflict));
            }
            change(thing)?;
            thing.version += 1;
            Ok(())
        })
        .await
    }

    async fn delete(
        &self,
        operation: &'static str,
        kind: Kind,
        arn: &str,
        version: &str,
    ) -> Result<(), Error> {
        self.change(operation, kind, arn, Some(version), |thing| {
            if !thing.is_active() {
                return Err(error(operation, arn, ErrorClass::Conflict));
            }
            thing.deleted = Some(Instant::now());
            Ok(())
        })
        .await
    }
}

fn channel(name: &str, thing: Thing) -> ChannelInfo {
    ChannelInfo {
        name: name.to_owned(),
        message_ttl: Duration::from_secs(60),
        active: thing.is_active(),
        version: thing.version.to_string(),
        arn: thing.arn.parse().unwrap(),
    }
}

fn stream(name: &str, thing: Thing) -> StreamInfo {
    StreamInfo {
        name: name.to_owned(),
        retention_hours: thing.retention_hours,
        kms_key_id: None,
        active: thing.is_active(),
        version: thing.version.to_string(),
        arn: thing.arn.parse().unwrap(),
    }
}

#[async_trait]
impl Control for Cloud {
    async fn describe_channel(&self, id: &ChannelId) -> Result<ChannelInfo, Error> {
        let name = match id {
            ChannelId::Name(name) => name.as_str(),
            ChannelId::Arn(arn) => arn.name(),
        };
        Ok(channel(name, self.read("DescribeSignalingChannel", Kind::Channel, name)?))
    }

    async fn begin_channel(&self, name: &ChannelName, tags: &Tags) -> Result<bool, Error> {
        let name = name.as_str();
        self.write("CreateSignalingChannel", name, |things| {
            Ok(things.create(Kind::Channel, name, tags, 0, Instant::now()))
        })
        .await
    }

    async fn channel_tags(&self, arn: &ChannelArn) -> Result<Tags, Error> {
        Ok(self.read("ListTagsForResource", Kind::Channel, arn.name())?.tags)
    }

    async fn tag_channel(&self, arn: &ChannelArn, tags: &Tags) -> Result<(), Error> {
        let tag = |thing: &mut Thing| {
            thing.tags.extend(tags.clone());
            Ok(())
        };
        self.change("TagResource", Kind::Channel, arn.as_str(), None, tag).await
    }

    async fn delete_channel(&self, info: &ChannelInfo) -> Result<(), Error> {
        self.delete("DeleteSignalingChannel", Kind::Channel, info.arn.as_str(), &info.version).await
    }

    async fn media_storage(&self, arn: &ChannelArn) -> Result<MediaStorage, Error> {
        let channel = self.read("DescribeMediaStorageConfiguration", Kind::Channel, arn.name())?;
        Ok(match channel.stored_in {
            stream_arn @ Some(_) => MediaStorage::Enabled { stream_arn },
            None => MediaStorage::Disabled,
        })
    }

    async fn set_media_storage(&self, arn: &ChannelArn, stream: Option<&StreamArn>) -> Result<(), Error> {
        const OPERATION: &str = "UpdateMediaStorageConfiguration";
        let name = arn.name();
        let stream = stream.map(|stream| stream.as_str().to_owned());
        let other = |(channel, thing): (&String, &Thing)| *channel != name && thing.stored_in == stream;
        if stream.is_some() && self.things.lock().of(Kind::Channel).iter().any(other) {
            // Not a write: it is tried again and again.
            return Err(error(OPERATION, name, ErrorClass::Conflict));
        }
        self.write(OPERATION, name, |things| {
            let missing = |arn: &String| !things.of(Kind::Stream).values().any(|thing| thing.arn == *arn);
            if stream.as_ref().is_some_and(missing) {
                return Err(error(OPERATION, name, ErrorClass::NotFound));
            }
            let channel = things.of(Kind::Channel).get_mut(name).filter(|thing| thing.arn == arn.as_str());
            let channel = channel.ok_or_else(|| error(OPERATION, name, ErrorClass::NotFound))?;
            if stream.is_some() && channel.stored_in.as_ref().is_some_and(|of| Some(of) != stream.as_ref()) {
                return Err(error(OPERATION, name, ErrorClass::Conflict));
            }
            if channel.stored_in != stream {
                channel.ended.get_or_insert(Instant::now());
            }
            (channel.stored_in, channel.by_hand) = (stream, false);
            Ok(())
        })
        .await
    }

    async fn join_storage_session(&self, arn: &ChannelArn) -> Result<(), Error> {
        const OPERATION: &str = "JoinStorageSession";
        let channel = self.read(OPERATION, Kind::Channel, arn.name())?;
        if channel.stored_in.is_none() {
            return Err(error(OPERATION, arn.name(), ErrorClass::InvalidRequest));
        }
        self.joins.lock().push(Instant::now());
        if !*self.dark.lock()
            && let Some(channel) = self.things.lock().of(Kind::Channel).get_mut(arn.name())
        {
            (channel.joined, channel.ended) = (Some(Instant::now()), None);
        }
        Ok(())
    }

    async fn fragments_endpoint(&self, arn: &StreamArn) -> Result<Url, Error> {
        self.read("GetDataEndpoint", Kind::Stream, arn.name())?;
        Ok("https://archive.test".parse().unwrap())
    }

    async fn recent_fragments(
        &self,
        _: &Url,
        arn: &StreamArn,
        span: Duration,
    ) -> Result<Vec<RecentFragment>, Error> {
        let stream = self.read("ListFragments", Kind::Stream, arn.name())?;
        let mut things = self.things.lock();
        let channels = things.of(Kind::Channel).values();
        let last = channels.filter(|channel| channel.stored_in.as_ref() == Some(&stream.arn));
        let ages = last.filter_map(Thing::last_recorded).map(|at| at.elapsed());
        let length = Duration::from_secs(2);
        Ok(ages.filter(|age| *age <= span).map(|age| RecentFragment { age, length }).collect())
    }

    async fn describe_stream(&self, id: &StreamId) -> Result<StreamInfo, Error> {
        let name = match id {
            StreamId::Name(name) => name.as_str(),
            StreamId::Arn(arn) => arn.name(),
        };
        Ok(stream(name, self.read("DescribeStream", Kind::Stream, name)?))
    }

    async fn begin_stream(&self, name: &StreamName, new: &NewStream) -> Result<bool, Error> {
        let name = name.as_str();
        self.write("CreateStream", name, |things| {
            Ok(things.create(Kind::Stream, name, &new.tags, new.retention_hours, Instant::now()))
        })
        .await
    }

    async fn stream_tags(&self, arn: &StreamArn) -> Result<Tags, Error> {
        Ok(self.read("ListTagsForStream", Kind::Stream, arn.name())?.tags)
    }

    async fn tag_stream(&self, arn: &StreamArn, tags: &Tags) -> Result<(), Error> {
        let tag = |thing: &mut Thing| {
            thing.tags.extend(tags.clone());
            Ok(())
        };
        self.change("TagStream", Kind::Stream, arn.as_str(), None, tag).await
    }

    async fn raise_retention(&self, info: &StreamInfo, retention_hours: u32) -> Result<(), Error> {
        let raise = |thing: &mut Thing| {
            thing.retention_hours = thing.retention_hours.max(retention_hours);
            Ok(())
        };
        self.change("UpdateDataRetention", Kind::Stream, info.arn.as_str(), Some(&info.version), raise).await
    }

    async fn delete_stream(&self, info: &StreamInfo) -> Result<(), Error> {
        self.delete("DeleteStream", Kind::Stream, info.arn.as_str(), &info.version).await
    }
}
