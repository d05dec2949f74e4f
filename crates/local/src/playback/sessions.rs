//! [`Playback`]: all streaming sessions, and how much is made for players at a time.

use std::{collections::HashMap, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use rand::Rng;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::session::{Protocol, Session};
use crate::{
    clock::now_ms,
    error::{ErrorKind, ServiceError},
};

/// Sessions of a stream and protocol; the oldest ends when there is one more ("Media and archived-media API service quotas" of
/// the developer guide).
const SESSIONS: usize = 10;
/// Fragments that are read and written anew at the same time. Each takes up to three times the 50 MB of the longest; who comes
/// when all are taken waits.
const AT_ONCE: usize = 4;

/// Decoders that run at the same time: each may take half of the memory. Who comes when one runs waits.
const DECODERS: usize = 1;

/// The streaming sessions. They end with the process: a player asks for another then, as it does when one has expired.
pub(crate) struct Playback {
    sessions: Mutex<HashMap<String, Arc<Session>>>,
    work: Semaphore,
    decoders: Semaphore,
}

impl Default for Playback {
    fn default() -> Self {
        Self { sessions: Mutex::default(), work: Semaphore::new(AT_ONCE), decoders: Semaphore::new(DECODERS) }
    }
}

impl Playback {
    /// Keeps a session; its token.
    pub(super) fn add(&self, session: Session) -> String {
        let secret: [u8; 32] = rand::rng().random();
        let token = URL_SAFE_NO_PAD.encode(secret);
        let mut sessions = self.sessions.lock();
        let now = now_ms();
        sessions.retain(|_, session| session.until_ms() > now);
        let hls = |session: &Session| matches!(session.options.protocol, Protocol::Hls { .. });
        let mut same: Vec<(u64, String)> = sessions
            .iter()
            .filter(|(_, other)| other.stream.arn == session.stream.arn && hls(other) == hls(&session))
            .map(|(token, other)| (other.created_ms, token.clone()))
            .collect();
        if same.len() >= SESSIONS {
            same.sort();
            for (_, oldest) in &same[..=same.len() - SESSIONS] {
                sessions.remove(oldest);
            }
        }
        sessions.insert(token.clone(), Arc::new(session));
        token
    }

    /// The session of this token.
    ///
    /// # Errors
    /// `NotAuthorizedException` with 403: it has expired or never was. Which of the two is not told.
    pub(super) fn get(&self, token: &str) -> Result<Arc<Session>, ServiceError> {
        let session = self.sessions.lock().get(token).cloned();
        session.filter(|session| session.until_ms() > now_ms()).ok_or_else(|| {
            ServiceError::new(
                ErrorKind::SessionExpired,
                "Streaming session token is expired, or was not given by this server since it started.",
            )
        })
    }

    /// Waits for its turn to read a fragment.
    pub(super) async fn turn(&self) -> Result<SemaphorePermit<'_>, ServiceError> {
        self.work.acquire().await.map_err(ServiceError::internal)
    }

    /// Waits for its turn to decode one.
    pub(super) async fn decoder(&self) -> Result<SemaphorePermit<'_>, ServiceError> {
        self.decoders.acquire().await.map_err(ServiceError::internal)
    }
}
