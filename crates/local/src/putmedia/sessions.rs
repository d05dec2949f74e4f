//! [`Sessions`]: who is sending to which stream, and what came of it since the start.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use parking_lot::Mutex;
use serde_json::{Value, json};

/// Counts of one stream since the server started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Sessions that were opened.
    pub sessions: u64,
    /// Requests that were refused before they were one.
    pub refused: u64,
    /// Body bytes that were read.
    pub bytes: u64,
    /// Fragments of which `BUFFERING` was sent, or would have been.
    pub buffering: u64,
    /// Fragments that were complete.
    pub received: u64,
    /// Fragments that were stored.
    pub persisted: u64,
    /// Fragments that had begun when their session ended.
    pub cut: u64,
    /// Sessions that ended with an error, by `ErrorId`.
    pub errors: BTreeMap<u16, u64>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    streams: HashMap<String, (HashSet<u64>, Counters)>,
    /// Of all streams, also those that are gone.
    totals: Counters,
}

/// The open sessions of all streams.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<Inner>);

/// An open session. It counts until it is dropped.
#[derive(Debug)]
pub struct Open {
    sessions: Arc<Sessions>,
    stream: String,
    /// Unique in this process.
    pub id: u64,
}

impl Sessions {
    /// Opens a session, unless the stream has `limit` of them.
    pub fn open(self: &Arc<Self>, stream: &str, limit: usize) -> Option<Open> {
        let mut inner = self.0.lock();
        let id = inner.next;
        let (open, counters) = inner.streams.entry(stream.to_owned()).or_default();
        if open.len() >= limit {
            counters.refused += 1;
            inner.totals.refused += 1;
            return None;
        }
        open.insert(id);
        counters.sessions += 1;
        inner.totals.sessions += 1;
        inner.next += 1;
        Some(Open { sessions: self.clone(), stream: stream.to_owned(), id })
    }

    /// Counts something of a stream.
    pub fn count(&self, stream: &str, what: impl Fn(&mut Counters)) {
        let mut inner = self.0.lock();
        what(&mut inner.streams.entry(stream.to_owned()).or_default().1);
        what(&mut inner.totals);
    }

    /// Sessions that are open now, and the counts of all streams since the start.
    #[must_use]
    pub fn totals(&self) -> (usize, Counters) {
        let inner = self.0.lock();
        (inner.streams.values().map(|(open, _)| open.len()).sum(), inner.totals.clone())
    }

    /// Forgets the streams that no longer exist and have no open session.
    pub fn retain(&self, exists: impl Fn(&str) -> bool) {
        self.0.lock().streams.retain(|stream, (open, _)| !open.is_empty() || exists(stream));
    }

    /// Sessions that are open now, and the counts.
    #[must_use]
    pub fn view(&self, stream: &str) -> (usize, Counters) {
        let inner = self.0.lock();
        inner.streams.get(stream).map(|(open, counters)| (open.len(), counters.clone())).unwrap_or_default()
    }

    /// The same as JSON.
    #[must_use]
    pub fn describe(&self, stream: &str) -> Value {
        let (open, counters) = self.view(stream);
        let Counters { sessions, refused, bytes, buffering, received, persisted, cut, errors } = counters;
        json!({
            "open": open,
            "sessions": sessions,
            "refused": refused,
            "bytes": bytes,
            "buffering": buffering,
            "received": received,
            "persisted": persisted,
            "cut": cut,
            "errors": errors,
        })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some((open, _)) = self.sessions.0.lock().streams.get_mut(&self.stream) {
            open.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_has_only_so_many_sessions_at_a_time() {
        let sessions = Arc::new(Sessions::default());
        let first = sessions.open("s", 2).unwrap();
        let second = sessions.open("s", 2).unwrap();
        assert_ne!(first.id, second.id);
        assert!(sessions.open("s", 2).is_none());
        assert!(sessions.open("t", 2).is_some());
        drop(first);
        let third = sessions.open("s", 2);
        assert!(third.is_some());
        let (open, counters) = sessions.view("s");
        assert_eq!((open, counters.sessions, counters.refused), (2, 3, 1));
    }

    #[test]
    fn a_deleted_stream_is_forgotten_with_its_last_session() {
        let sessions = Arc::new(Sessions::default());
        let last = sessions.open("s", 2);
        sessions.retain(|_| false);
        assert_eq!(sessions.view("s").1.sessions, 1);
        drop(last);
        sessions.retain(|stream| stream == "s");
        assert_eq!(sessions.view("s").1.sessions, 1);
        sessions.retain(|_| false);
        assert_eq!(sessions.view("s"), (0, Counters::default()));
        assert_eq!(sessions.totals().1.sessions, 1, "what has been stays counted");
    }
}
