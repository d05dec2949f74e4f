//! [`Sessions`]: the storage sessions that run, by their channels.

use std::collections::HashMap;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::{
    error::ServiceError,
    signaling::{SocketId, ToStorage},
};

/// What waits for a session: more than its clients may say in a second. Full: the rest is refused.
const QUEUE: usize = 256;

/// What a session is told.
#[derive(Debug)]
pub(super) enum Input {
    /// Someone joins: a viewer by its client id, or the master.
    Join(Option<String>, oneshot::Sender<Result<(), ServiceError>>),
    /// A message of a client's.
    Message(SocketId, ToStorage),
}

/// What runs.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<HashMap<String, mpsc::Sender<Input>>>);

impl Sessions {
    /// The session of a channel; `start` starts one where none runs.
    pub(super) fn of<E>(
        &self,
        channel_arn: &str,
        start: impl FnOnce(mpsc::Receiver<Input>) -> Result<(), E>,
    ) -> Result<mpsc::Sender<Input>, E> {
        let mut running = self.0.lock();
        if let Some(session) = running.get(channel_arn).filter(|session| !session.is_closed()) {
            return Ok(session.clone());
        }
        let (session, inputs) = mpsc::channel(QUEUE);
        start(inputs)?;
        running.insert(channel_arn.to_owned(), session.clone());
        Ok(session)
    }

    /// Hands on what a client says.
    ///
    /// # Errors
    /// There is no session, or it is busy: in words for the client.
    pub(crate) fn deliver(&self, from: SocketId, message: ToStorage) -> Result<(), &'static str> {
        let running = self.0.lock();
        let none = "The channel has no storage session: join it for an offer.";
        let session = running.get(&message.channel).ok_or(none)?;
        session.try_send(Input::Message(from, message)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => "The storage session is busy.",
            mpsc::error::TrySendError::Closed(_) => none,
        })
    }

    /// Forgets those that have ended.
    pub(super) fn tidy(&self) {
        self.0.lock().retain(|_, session| !session.is_closed());
    }
}
