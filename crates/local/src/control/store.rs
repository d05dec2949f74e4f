//! [`ControlPlane`]: channels and streams in memory, written through to the index.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use rand::Rng;
use redb::{ReadableTable, TableDefinition};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    StateTimes,
    clock::now_ms,
    error::{ErrorKind, ServiceError},
    index::Index,
    model::{ACCOUNT, Arn, ArnKind, Channel, Scope, Status, Stream, Transition},
};

/// `region/name` to JSON; `account/region/name` of accounts but the first.
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
    fn version(&mut self) -> &mut String;
    fn transition(&mut self) -> &mut Option<Transition>;
    fn status(&self) -> Status;

    /// As it is at this time; `None`: its deletion is over.
    fn at(mut self, now_ms: u64, times: &StateTimes) -> Option<Self> {
        let over = self.transition().take_if(|transition| transition.is_over(now_ms, times));
        over.is_none_or(|over| over.status != Status::Deleting).then_some(self)
    }

    /// Complains unless it is active: what is on its way from one state to another takes no order.
    fn check_active(&self) -> Result<(), ServiceError> {
        match self.status() {
            Status::Active => Ok(()),
            other => Err(ServiceError::new(
                ErrorKind::ResourceInUse,
                format!(
                    "{} is {}; it can be changed and deleted when it is ACTIVE.",
                    self.arn(),
                    other.name()
                ),
            )),
        }
    }
}

/// Whose it is and where, and its name.
type Key = (Scope, String);

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
        (self.scope(), self.name.clone())
    }
    fn version(&mut self) -> &mut String {
        &mut self.version
    }
    fn transition(&mut self) -> &mut Option<Transition> {
        &mut self.transition
    }
    fn status(&self) -> Status {
        self.status()
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
        (self.scope(), self.name.clone())
    }
    fn version(&mut self) -> &mut String {
        &mut self.version
    }
    fn transition(&mut self) -> &mut Option<Transition> {
        &mut self.transition
    }
    fn status(&self) -> Status {
        self.status()
    }
}

#[derive(Default)]
pub(super) struct State {
    /// Also those whose deletion is over, until somebody looks or it is swept.
    channels: BTreeMap<Key, Channel>,
    streams: BTreeMap<Key, Stream>,
    times: StateTimes,
}

/// The control plane's state. Calls write to disk before they answer; they are rare and short enough to be made from
/// async handlers.
pub struct ControlPlane {
    index: Arc<Index>,
    state: Mutex<State>,
}

impl ControlPlane {
    /// Reads everything; `found` are streams that a lost index has to be told of again.
    pub(crate) fn open(
        index: Arc<Index>,
        times: StateTimes,
        found: Vec<Stream>,
    ) -> Result<Self, ServiceError> {
        index.write(|write| {
            write.open_table(CHANNELS)?;
            write.open_table(STREAMS)?;
            Ok(())
        })?;
        let plane = Self { index, state: Mutex::new(State { times, ..State::default() }) };
        let mut state = plane.state.lock();
        found.into_iter().try_for_each(|stream| plane.put(&mut state, stream))?;
        plane.load::<Channel>(&mut state)?;
        plane.load::<Stream>(&mut state)?;
        drop(state);
        Ok(plane)
    }

    fn load<R: Resource>(&self, state: &mut State) -> Result<(), ServiceError> {
        let rows = self.index.read(|read| {
            let table = read.open_table(R::TABLE)?;
            table.iter()?.map(|row| Ok(row?.1.value().to_vec())).collect::<Result<Vec<_>, redb::Error>>()
        })?;
        for row in rows {
            let resource: R = serde_json::from_slice(&row).map_err(ServiceError::internal)?;
            R::map(state).insert(resource.key(), resource);
        }
        Ok(())
    }

    /// How long resources are between two states.
    #[must_use]
    pub fn times(&self) -> StateTimes {
        self.state.lock().times
    }

    /// Sets how long resources are between two states, also those that are.
    pub fn set_times(&self, times: StateTimes) {
        self.state.lock().times = times;
    }

    /// The channel with this name.
    ///
    /// # Errors
    /// `ResourceNotFoundException`
    pub fn channel(&self, scope: &Scope, name: &str) -> Result<Channel, ServiceError> {
        self.get(scope, name)
    }

    /// The channel with this ARN.
    ///
    /// # Errors
    /// `ResourceNotFoundException`, also for the ARN of a deleted namesake.
    pub fn channel_by_arn(&self, arn: &Arn) -> Result<Channel, ServiceError> {
        self.get_by_arn(arn)
    }

    /// The stream with this name.
    ///
    /// # Errors
    /// `ResourceNotFoundException`
    pub fn stream(&self, scope: &Scope, name: &str) -> Result<Stream, ServiceError> {
        self.get(scope, name)
    }

    /// The stream with this ARN.
    ///
    /// # Errors
    /// `ResourceNotFoundException`, also for the ARN of a deleted namesake.
    pub fn stream_by_arn(&self, arn: &Arn) -> Result<Stream, ServiceError> {
        self.get_by_arn(arn)
    }

    /// The stream that a call names: by ARN (any region) or by name where the caller looks.
    ///
    /// # Errors
    /// `InvalidArgumentException` when neither is given, `ResourceNotFoundException`.
    pub fn find_stream(
        &self,
        scope: &Scope,
        name: Option<&str>,
        arn: Option<Arn>,
    ) -> Result<Stream, ServiceError> {
        match (name, arn) {
            (_, Some(arn)) => self.stream_by_arn(&arn),
            (Some(name), None) => self.stream(scope, name),
            (None, None) => Err(ServiceError::new(
                ErrorKind::InvalidArgument,
                "Either StreamName or StreamARN is required.",
            )),
        }
    }

    /// This stream as it is now, if media can go in and out.
    ///
    /// # Errors
    /// `ResourceNotFoundException` when it was deleted, also when a namesake is there.
    pub fn current(&self, stream: &Stream) -> Result<Stream, ServiceError> {
        let found = self.stream(&stream.scope(), &stream.name)?.serving()?;
        if found.arn == stream.arn { Ok(found) } else { Err(ServiceError::stream_not_found()) }
    }

    /// All channels, by account, region and name.
    pub fn channels(&self) -> Vec<Channel> {
        self.all()
    }

    /// All streams, by account, region and name.
    pub fn streams(&self) -> Vec<Stream> {
        self.all()
    }

    pub(super) fn all<R: Resource>(&self) -> Vec<R> {
        let mut state = self.state.lock();
        let (times, now) = (state.times, now_ms());
        R::map(&mut state).values().filter_map(|resource| resource.clone().at(now, &times)).collect()
    }

    pub(super) fn get<R: Resource>(&self, scope: &Scope, name: &str) -> Result<R, ServiceError> {
        let key = (scope.clone(), name.to_owned());
        self.look(&mut self.state.lock(), &key)?.ok_or_else(R::missing)
    }

    /// What has this name now. One whose deletion is over is taken out.
    fn look<R: Resource>(&self, state: &mut State, key: &Key) -> Result<Option<R>, ServiceError> {
        let times = state.times;
        let Some(kept) = R::map(state).get(key) else { return Ok(None) };
        let now = kept.clone().at(now_ms(), &times);
        if now.is_none() {
            self.write::<R>(key, None)?;
            R::map(state).remove(key);
        }
        Ok(now)
    }

    /// Takes out everything whose deletion is over.
    pub(crate) fn sweep(&self) -> Result<(), ServiceError> {
        let mut state = self.state.lock();
        self.sweep_kind::<Channel>(&mut state)?;
        self.sweep_kind::<Stream>(&mut state)
    }

    fn sweep_kind<R: Resource>(&self, state: &mut State) -> Result<(), ServiceError> {
        let deleting = |resource: &&R| resource.status() == Status::Deleting;
        let keys: Vec<Key> = R::map(state).values().filter(deleting).map(R::key).collect();
        keys.iter().try_for_each(|key| self.look::<R>(state, key).map(drop))
    }

    pub(super) fn get_by_arn<R: Resource>(&self, arn: &Arn) -> Result<R, ServiceError> {
        let scope = Scope { account: arn.account.clone(), region: arn.region.clone() };
        let found: R = self.get(&scope, &arn.name)?;
        if found.arn() == arn.to_string() { Ok(found) } else { Err(R::missing()) }
    }

    /// Puts a new resource in, unless its name is taken; it is creating from now on.
    pub(super) fn insert<R: Resource>(
        &self,
        mut resource: R,
        taken: &str,
        full: ErrorKind,
    ) -> Result<(), ServiceError> {
        let mut state = self.state.lock();
        let key = resource.key();
        if let Some(namesake) = self.look::<R>(&mut state, &key)? {
            let taken = format!("{taken} It is {}.", namesake.status().name());
            return Err(ServiceError::new(ErrorKind::ResourceInUse, taken));
        }
        if R::map(&mut state).len() >= LIMIT {
            self.sweep_kind::<R>(&mut state)?;
        }
        if R::map(&mut state).len() >= LIMIT {
            return Err(ServiceError::new(full, format!("The limit of {LIMIT} is reached.")));
        }
        *resource.transition() = Transition::begin(Status::Creating, now_ms(), &state.times);
        self.put(&mut state, resource)
    }

    /// Changes the settings of an active resource, which is updating from now on and has a new version. Nothing changes
    /// when `change` refuses.
    pub(super) fn update<R: Resource>(
        &self,
        arn: &str,
        change: impl FnOnce(&mut R) -> Result<(), ServiceError>,
    ) -> Result<(), ServiceError> {
        let mut state = self.state.lock();
        let mut resource = self.look_by_arn::<R>(&mut state, arn)?;
        resource.check_active()?;
        change(&mut resource)?;
        *resource.version() = new_version();
        *resource.transition() = Transition::begin(Status::Updating, now_ms(), &state.times);
        self.put(&mut state, resource)
    }

    /// Changes the tags of a resource, which has a new version then. Only one that is deleting has none to change: the
    /// service's TagResource and TagStream know no `ResourceInUseException`.
    pub(super) fn retag<R: Resource>(
        &self,
        arn: &str,
        change: impl FnOnce(&mut R) -> Result<(), ServiceError>,
    ) -> Result<(), ServiceError> {
        let mut state = self.state.lock();
        let mut resource = self.look_by_arn::<R>(&mut state, arn)?;
        if resource.status() == Status::Deleting {
            return Err(R::missing());
        }
        change(&mut resource)?;
        *resource.version() = new_version();
        self.put(&mut state, resource)
    }

    /// Deletes an active resource if `check` agrees: it is deleting from now on, and goes by itself.
    pub(super) fn delete<R: Resource>(
        &self,
        arn: &str,
        check: impl FnOnce(&R) -> Result<(), ServiceError>,
    ) -> Result<(), ServiceError> {
        let mut state = self.state.lock();
        let mut resource = self.look_by_arn::<R>(&mut state, arn)?;
        resource.check_active()?;
        check(&resource)?;
        let deleting = Transition::begin(Status::Deleting, now_ms(), &state.times);
        if deleting.is_some() {
            *resource.transition() = deleting;
            return self.put(&mut state, resource);
        }
        let key = resource.key();
        self.write::<R>(&key, None)?;
        R::map(&mut state).remove(&key);
        Ok(())
    }

    fn look_by_arn<R: Resource>(&self, state: &mut State, arn: &str) -> Result<R, ServiceError> {
        let key = R::map(state).values().find(|resource| resource.arn() == arn).map(R::key);
        let found = key.map(|key| self.look(state, &key)).transpose()?.flatten();
        found.ok_or_else(R::missing)
    }

    fn put<R: Resource>(&self, state: &mut State, resource: R) -> Result<(), ServiceError> {
        let key = resource.key();
        self.write(&key, Some(&resource))?;
        R::map(state).insert(key, resource);
        Ok(())
    }

    fn write<R: Resource>(&self, (scope, name): &Key, value: Option<&R>) -> Result<(), ServiceError> {
        let Scope { account, region } = scope;
        let key = match account.as_str() {
            ACCOUNT => format!("{region}/{name}"),
            account => format!("{account}/{region}/{name}"),
        };
        let json = value.map(serde_json::to_vec).transpose().map_err(ServiceError::internal)?;
        self.index.write(|write| {
            let mut table = write.open_table(R::TABLE)?;
            match &json {
                Some(json) => table.insert(key.as_str(), json.as_slice())?,
                None => table.remove(key.as_str())?,
            };
            Ok(())
        })?;
        Ok(())
    }
}

/// The ARN and creation time of something made now.
pub(super) fn new_arn(kind: ArnKind, scope: &Scope, name: &str) -> (String, u64) {
    let created_ms = now_ms();
    let arn = Arn {
        kind,
        region: scope.region.clone(),
        account: scope.account.clone(),
        name: name.to_owned(),
        created_ms,
    };
    (arn.to_string(), created_ms)
}

/// 20 random letters and digits.
pub(super) fn new_version() -> String {
    rand::rng().sample_iter(rand::distr::Alphanumeric).take(20).map(char::from).collect()
}
