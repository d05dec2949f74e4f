//! [`Signaling`]: the [`Hub`] of a running server, and the queue of each of its connections.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::hub::{ChannelView, Hub, Output, Role, SocketId, control};
use super::message::Action;
use crate::{
    SignalingLimits,
    error::{ErrorKind, ServiceError},
    model::Channel,
    storage::Sessions,
};

/// Frames waiting for a slow client. When full, the connection is given up: the client has long stopped reading.
const QUEUE: usize = 1024;

/// What is in the queue of a connection.
pub(super) enum Outgoing {
    Text(String),
    Close(u16, &'static str),
}

#[derive(Debug)]
struct Inner {
    hub: Hub,
    queues: HashMap<SocketId, mpsc::Sender<Outgoing>>,
    storage: Arc<Sessions>,
}

/// The signaling service of a running server.
#[derive(Debug)]
pub struct Signaling {
    inner: Mutex<Inner>,
    changed: watch::Sender<u64>,
    /// Cancelled when the server ends.
    pub(super) stop: CancellationToken,
    /// What the end of the server waits for.
    pub(super) tasks: TaskTracker,
}

impl Signaling {
    pub(crate) fn new(
        limits: SignalingLimits,
        storage: Arc<Sessions>,
        stop: CancellationToken,
        tasks: TaskTracker,
    ) -> Self {
        let inner = Inner { hub: Hub::new(limits), queues: HashMap::new(), storage };
        Self { inner: Mutex::new(inner), changed: watch::channel(0).0, stop, tasks }
    }

    /// Who is on a channel.
    pub fn view(&self, channel_arn: &str) -> ChannelView {
        self.inner.lock().hub.view(channel_arn)
    }

    /// Changes whenever someone comes or goes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Closes the connections of a deleted channel.
    pub fn forget(&self, channel_arn: &str) {
        self.with(|hub| hub.forget(channel_arn));
        self.note_change();
    }

    /// Sends a text frame, well-formed or not, to everyone on a channel or to one of them; says to how many.
    pub fn inject(&self, channel_arn: &str, role: Option<&Role>, text: &str) -> usize {
        self.each(channel_arn, role, || Outgoing::Text(text.to_owned()))
    }

    /// Sends a message without content: `GO_AWAY`, `RECONNECT_ICE_SERVER`.
    pub fn inject_control(&self, channel_arn: &str, role: Option<&Role>, kind: &str) -> usize {
        self.inject(channel_arn, role, &control(kind))
    }

    /// Closes connections with a code; says how many.
    pub fn close(&self, channel_arn: &str, role: Option<&Role>, code: u16) -> usize {
        self.each(channel_arn, role, || Outgoing::Close(code, "Going away"))
    }

    fn each(&self, channel_arn: &str, role: Option<&Role>, make: impl Fn() -> Outgoing) -> usize {
        let inner = self.inner.lock();
        let ids = inner.hub.sockets(channel_arn, role);
        ids.iter()
            .filter_map(|id| inner.queues.get(id))
            .filter(|queue| queue.try_send(make()).is_ok())
            .count()
    }

    /// When the hub has something to do for this connection.
    pub(super) fn poll_timeout(&self, id: SocketId) -> Option<Instant> {
        self.inner.lock().hub.poll_timeout(id)
    }

    fn note_change(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Runs an input of the hub and hands out what it causes, in order.
    pub(super) fn with<T>(&self, input: impl FnOnce(&mut Hub) -> T) -> T {
        let mut inner = self.inner.lock();
        let result = input(&mut inner.hub);
        inner.dispatch();
        result
    }

    /// Switches media storage of a channel on or off.
    pub(crate) fn set_storage(&self, channel_arn: &str, on: bool) {
        self.with(|hub| hub.set_storage(channel_arn, on));
    }

    /// Sends what the storage session of a channel says.
    pub(crate) fn storage_says(&self, channel: &Channel, to: Role, action: Action, payload: String) {
        let ttl = Duration::from_secs(channel.message_ttl_seconds.into());
        self.with(|hub| hub.storage_says(&channel.arn, ttl, to, action, payload, Instant::now()));
    }

    /// Tells a client why the storage session refuses what it said.
    pub(crate) fn refuse(&self, id: SocketId, correlation_id: Option<String>, why: &str) {
        self.with(|hub| hub.refuse(id, correlation_id, ErrorKind::InvalidArgument, why));
    }

    /// Takes a connection in; what it is to send comes out of the queue.
    ///
    /// # Errors
    /// As [`Hub::connect`].
    pub(super) fn connect(
        &self,
        channel: &Channel,
        role: Role,
    ) -> Result<(SocketId, mpsc::Receiver<Outgoing>), ServiceError> {
        let mut inner = self.inner.lock();
        let ttl = Duration::from_secs(channel.message_ttl_seconds.into());
        let id = inner.hub.connect(&channel.arn, ttl, role, Instant::now())?;
        inner.hub.set_storage(&channel.arn, channel.storage_enabled);
        let (sender, receiver) = mpsc::channel(QUEUE);
        inner.queues.insert(id, sender);
        inner.dispatch();
        drop(inner);
        self.note_change();
        Ok((id, receiver))
    }

    /// Sends an offer to the master; its answer, or that there will be none, comes out of the queue.
    ///
    /// # Errors
    /// As [`Hub::call`].
    pub(super) fn call(
        &self,
        channel_arn: &str,
        ttl: Duration,
        client: &str,
        offer: &str,
    ) -> Result<(SocketId, mpsc::Receiver<Outgoing>), ServiceError> {
        let mut inner = self.inner.lock();
        let id = inner.hub.call(channel_arn, ttl, client, offer, Instant::now())?;
        let (sender, receiver) = mpsc::channel(1);
        inner.queues.insert(id, sender);
        inner.dispatch();
        Ok((id, receiver))
    }

    /// The call has ended.
    pub(super) fn hang_up(&self, channel_arn: &str, id: SocketId) {
        let mut inner = self.inner.lock();
        inner.hub.hang_up(channel_arn, id, Instant::now());
        inner.queues.remove(&id);
    }

    /// The connection has ended.
    pub(super) fn disconnect(&self, id: SocketId) {
        let mut inner = self.inner.lock();
        inner.hub.disconnect(id);
        inner.queues.remove(&id);
        drop(inner);
        self.note_change();
    }
}

impl Inner {
    fn dispatch(&mut self) {
        while let Some(output) = self.hub.poll_output() {
            let (id, outgoing, last) = match output {
                Output::Send(id, text) => (id, Outgoing::Text(text), false),
                Output::Answer(id, answer) => (id, Outgoing::Text(answer), true),
                Output::Close(id, code, reason) => (id, Outgoing::Close(code, reason), true),
                Output::Storage(id, message) => {
                    let correlation_id = message.correlation_id.clone();
                    if let Err(why) = self.storage.deliver(id, *message) {
                        self.hub.refuse(id, correlation_id, ErrorKind::InvalidArgument, why);
                    }
                    continue;
                }
            };
            let full = self.queues.get(&id).is_some_and(|queue| queue.try_send(outgoing).is_err());
            if last || full {
                // the socket's task ends when it has sent what is in its queue
                self.queues.remove(&id);
            }
        }
    }
}
