//! [`ControlPlane`]: channels and streams in memory, written through to the index.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use rand::Rng;
use redb::{ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    clock::now_ms,
    error::{ErrorKind, ServiceError},
    model::{ACCOUNT, Arn, ArnKind, Channel, Stream},
};

/// `region/name` to JSON.
const CHANNELS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("control.channels");
const STREAMS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("control.streams");
/// Channels, and streams, per region. The service has 10,000 for both by default.
const LIMIT: usize = 10_000;

pub(super) trait Resource: Clone + Serialize + DeserializeOwned {
    const TABLE: TableDefinition<'static, &'static str, &'static [u8]>;
    fn map(state: &mut State) -> &mut BTreeMap<Key, Self>;
    fn missing() -> ServiceError;
    fn arn(&self) -> &str;
    fn key(&self) -> Key;
    fn touch(&mut self);
}

type Key = (String, String);

impl Resource for Channel {
    const TABLE: TableDefinition<'static, &'static str, &'static [u8]> = CHANNELS;
    fn map(state: &mut State) -> &mut BTreeMap<Key, Self> {
        &mut state.channels
    }
    fn missing() -> ServiceError {
        ServiceError::channel_not_found()
    }
    fn arn(&self) -> &str {
        &self.arn
    }
    fn key(&self) -> Key {
        (self.region.clone(), self.name.clone())
    }
    fn touch(&mut self) {
        self.version = new_version();
    }
}

impl Resource for Stream {
    const TABLE: TableDefinition<'static, &'static str, &'static [u8]> = STREAMS;
    fn map(state: &mut State) -> &mut BTreeMap<Key, Self> {
        &mut state.streams
    }
    fn missing() -> ServiceError {
        ServiceError::stream_not_found()
    }
    fn arn(&self) -> &str {
        &self.arn
    }
    fn key(&self) -> Key {
        (self.region.clone(), self.name.clone())
    }
    fn touch(&mut self) {
        self.version = new_version();
    }
}

#[derive(Default)]
pub(super) struct State {
    channels: BTreeMap<Key, Channel>,
    streams: BTreeMap<Key, Stream>,
}

/// The control plane's state. Calls write to disk before they answer; they are rare and short enough to be made from
/// async handlers.
pub struct ControlPlane {
    db: Arc<redb::Database>,
    state: Mutex<State>,
}

impl ControlPlane {
    pub(crate) fn open(db: Arc<redb::Database>) -> Result<Self, ServiceError> {
        let mut state = State::default();
        let write = db.begin_write()?;
        write.open_table(CHANNELS)?;
        write.open_table(STREAMS)?;
        write.commit()?;
        let read = db.begin_read()?;
        for row in read.open_table(CHANNELS)?.iter()? {
            let channel: Channel = serde_json::from_slice(row?.1.value()).map_err(ServiceError::internal)?;
            state.channels.insert(channel.key(), channel);
        }
        for row in read.open_table(STREAMS)?.iter()? {
            let stream: Stream = serde_json::from_slice(row?.1.value()).map_err(ServiceError::internal)?;
            state.streams.insert(stream.key(), stream);
        }
        drop(read);
        Ok(Self { db, state: Mutex::new(state) })
    }

    /// The channel with this name in this region.
    ///
    /// # Errors
    /// `ResourceNotFoundException`
    pub fn channel(&self, region: &str, name: &str) -> Result<Channel, ServiceError> {
        self.get(region, name)
    }

    /// The channel with this ARN.
    ///
    /// # Errors
    /// `ResourceNotFoundException`, also for the ARN of a deleted namesake.
    pub fn channel_by_arn(&self, arn: &Arn) -> Result<Channel, ServiceError> {
        self.get_by_arn(arn)
    }

    /// The stream with this name in this region.
    ///
    /// # Errors
    /// `ResourceNotFoundException`
    pub fn stream(&self, region: &str, name: &str) -> Result<Stream, ServiceError> {
        self.get(region, name)
    }

    /// The stream with this ARN.
    ///
    /// # Errors
    /// `ResourceNotFoundException`, also for the ARN of a deleted namesake.
    pub fn stream_by_arn(&self, arn: &Arn) -> Result<Stream, ServiceError> {
        self.get_by_arn(arn)
    }

    /// The stream that a call names: by ARN (any region) or by name in the caller's region.
    ///
    /// # Errors
    /// `InvalidArgumentException` when neither is given, `ResourceNotFoundException`.
    pub fn find_stream(
        &self,
        region: &str,
        name: Option<&str>,
        arn: Option<Arn>,
    ) -> Result<Stream, ServiceError> {
        match (name, arn) {
            (_, Some(arn)) => self.stream_by_arn(&arn),
            (Some(name), None) => self.stream(region, name),
            (None, None) => Err(ServiceError::new(
                ErrorKind::InvalidArgument,
                "Either StreamName or StreamARN is required.",
            )),
        }
    }

    /// This stream as it is now.
    ///
    /// # Errors
    /// `ResourceNotFoundException` when it was deleted, also when a namesake is there.
    pub fn current(&self, stream: &Stream) -> Result<Stream, ServiceError> {
        let found = self.stream(&stream.region, &stream.name)?;
        if found.arn == stream.arn { Ok(found) } else { Err(ServiceError::stream_not_found()) }
    }

    /// All channels, by region and name.
    pub fn channels(&self) -> Vec<Channel> {
        self.all()
    }

    /// All streams, by region and name.
    pub fn streams(&self) -> Vec<Stream> {
        self.all()
    }

    pub(super) fn all<R: Resource>(&self) -> Vec<R> {
        R::map(&mut self.state.lock()).values().cloned().collect()
    }

    pub(super) fn get<R: Resource>(&self, region: &str, name: &str) -> Result<R, ServiceError> {
        let mut state = self.state.lock();
        R::map(&mut state).get(&(region.to_owned(), name.to_owned())).cloned().ok_or_else(R::missing)
    }

    pub(super) fn get_by_arn<R: Resource>(&self, arn: &Arn) -> Result<R, ServiceError> {
        let found: R = self.get(&arn.region, &arn.name)?;
        if found.arn() == arn.to_string() { Ok(found) } else { Err(R::missing()) }
    }

    /// Puts a new resource in, unless its name is taken.
    pub(super) fn insert<R: Resource>(
        &self,
        resource: R,
        taken: &str,
        full: ErrorKind,
    ) -> Result<(), ServiceError> {
        let mut state = self.state.lock();
        let map = R::map(&mut state);
        if map.contains_key(&resource.key()) {
            return Err(ServiceError::new(ErrorKind::ResourceInUse, taken));
        }
        if map.len() >= LIMIT {
            return Err(ServiceError::new(full, format!("The limit of {LIMIT} is reached.")));
        }
        self.write(&resource.key(), Some(&resource))?;
        map.insert(resource.key(), resource);
        Ok(())
    }

    /// Changes a resource and gives it a new version; nothing changes when `change` refuses.
    pub(super) fn change<R: Resource>(
        &self,
        arn: &str,
        change: impl FnOnce(&mut R) -> Result<(), ServiceError>,
    ) -> Result<R, ServiceError> {
        let mut state = self.state.lock();
        let map = R::map(&mut state);
        let current = map.values_mut().find(|resource| resource.arn() == arn).ok_or_else(R::missing)?;
        let mut changed = current.clone();
        change(&mut changed)?;
        changed.touch();
        self.write(&changed.key(), Some(&changed))?;
        *current = changed.clone();
        Ok(changed)
    }

    pub(super) fn remove<R: Resource>(&self, resource: &R) -> Result<(), ServiceError> {
        let mut state = self.state.lock();
        self.write::<R>(&resource.key(), None)?;
        R::map(&mut state).remove(&resource.key());
        Ok(())
    }

    fn write<R: Resource>(&self, (region, name): &Key, value: Option<&R>) -> Result<(), ServiceError> {
        let key = format!("{region}/{name}");
        let write = self.db.begin_write()?;
        {
            let mut table = write.open_table(R::TABLE)?;
            match value {
                Some(value) => {
                    let json = serde_json::to_vec(value).map_err(ServiceError::internal)?;
                    table.insert(key.as_str(), json.as_slice())?;
                }
                None => {
                    table.remove(key.as_str())?;
                }
            }
        }
        write.commit()?;
        Ok(())
    }
}

/// The ARN and creation time of something made now.
pub(super) fn new_arn(kind: ArnKind, region: &str, name: &str) -> (String, u64) {
    let created_ms = now_ms();
    let arn = Arn {
        kind,
        region: region.to_owned(),
        account: ACCOUNT.to_owned(),
        name: name.to_owned(),
        created_ms,
    };
    (arn.to_string(), created_ms)
}

/// 20 random letters and digits.
pub(super) fn new_version() -> String {
    rand::rng().sample_iter(rand::distr::Alphanumeric).take(20).map(char::from).collect()
}
