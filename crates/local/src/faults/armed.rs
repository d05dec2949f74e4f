//! [`Faults`]: which faults are armed, and which session or call each happens to, and when.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::order::{Call, Fault, Order, Place};

/// Faults of one stream. A test that sets more than this has lost count.
const MAX_FAULTS: usize = 64;

/// How a session is bent at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Modes {
    /// No acknowledgement is sent, not even of an error.
    pub no_acks: bool,
    /// No `PERSISTED` is sent.
    pub no_persisted: bool,
    /// Complete fragments are dropped.
    pub no_store: bool,
    /// The body is not read on.
    pub stop_reading: bool,
    /// `PERSISTED` is sent so long after the fragment is complete.
    pub delay_persisted: Option<Duration>,
    /// The body is read no faster.
    pub bytes_per_second: Option<u32>,
}

/// What happens to the answer of a call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallFault {
    /// It comes so much later.
    pub delay: Option<Duration>,
    /// It is this error: status, exception, sentence.
    pub error: Option<(u16, String, String)>,
}

struct Armed {
    order: Order,
    /// Of `order.after`, still to come.
    after: u64,
    /// How often it has happened; a mode once for each session.
    happened: u64,
    sessions: HashSet<u64>,
}

impl Armed {
    fn spent(&self) -> bool {
        self.order.times.is_some_and(|times| self.happened >= times)
    }
}

/// The faults of all streams and channels. Streams are named by their key, channels by their ARN, sessions by the number
/// that the caller gave them.
pub struct Faults {
    streams: Mutex<HashMap<String, Vec<Armed>>>,
    changed: watch::Sender<u64>,
}

impl Default for Faults {
    fn default() -> Self {
        Self { streams: Mutex::default(), changed: watch::channel(0).0 }
    }
}

impl Faults {
    /// Changes with every order: open sessions find out whether it is theirs.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Sets a fault. False when the stream has too many.
    pub fn order(&self, stream: &str, order: Order) -> bool {
        {
            let mut streams = self.streams.lock();
            let armed = streams.entry(stream.to_owned()).or_default();
            armed.retain(|armed| !armed.spent() || !armed.sessions.is_empty());
            if armed.len() >= MAX_FAULTS {
                return false;
            }
            armed.push(Armed { after: order.after, order, happened: 0, sessions: HashSet::new() });
        }
        self.changed.send_modify(|count| *count += 1);
        true
    }

    /// Takes a stream's faults back; says how many there were. Those that are happening to a session end.
    pub fn clear(&self, stream: &str) -> usize {
        let cleared = self.streams.lock().remove(stream).map_or(0, |armed| armed.len());
        self.changed.send_modify(|count| *count += 1);
        cleared
    }

    /// Forgets the faults of streams and channels that no longer exist.
    pub fn retain(&self, exists: impl Fn(&str) -> bool) {
        self.streams.lock().retain(|stream, _| exists(stream));
    }

    /// The faults that may still happen or are happening, for the state.
    #[must_use]
    pub fn describe(&self, stream: &str) -> Vec<Value> {
        let streams = self.streams.lock();
        let armed = streams.get(stream).into_iter().flatten();
        armed
            .filter(|armed| !armed.spent() || !armed.sessions.is_empty())
            .map(|armed| json!({"action": armed.order.fault.action(), "after": armed.after, "happened": armed.happened}))
            .collect()
    }

    /// What happens to this call; it counts as one.
    pub fn call(&self, stream: &str, call: Call) -> CallFault {
        let mut fault = CallFault::default();
        let mut streams = self.streams.lock();
        for armed in streams.get_mut(stream).into_iter().flatten() {
            if armed.order.fault.place() != Place::Start || armed.order.call != call || armed.spent() {
                continue;
            }
            if armed.after > 0 {
                armed.after -= 1;
                continue;
            }
            match &armed.order.fault {
                Fault::DelayResponse(delay) if fault.delay.is_none() => fault.delay = Some(*delay),
                Fault::HttpError { status, error_type, message } if fault.error.is_none() => {
                    fault.error = Some((*status, error_type.clone(), message.clone()));
                }
                _ => continue,
            }
            armed.happened += 1;
        }
        fault
    }

    /// A fragment of the stream is complete.
    pub fn fragment_complete(&self, stream: &str) {
        for armed in self.streams.lock().get_mut(stream).into_iter().flatten() {
            if armed.order.fault.place() != Place::Start {
                armed.after = armed.after.saturating_sub(1);
            }
        }
    }

    /// The reset or error that happens to this session now. Errors need a fragment that has begun.
    pub fn event(&self, stream: &str, fragment_open: bool) -> Option<Fault> {
        let mut streams = self.streams.lock();
        for armed in streams.get_mut(stream).into_iter().flatten() {
            let ready = armed.order.fault.place() == Place::Event && armed.after == 0 && !armed.spent();
            if ready && (fragment_open || armed.order.fault == Fault::Reset) {
                armed.happened += 1;
                armed.after = armed.order.after;
                return Some(armed.order.fault.clone());
            }
        }
        None
    }

    /// How this session is bent for now.
    pub fn modes(&self, stream: &str, session: u64) -> Modes {
        let mut modes = Modes::default();
        let mut streams = self.streams.lock();
        for armed in streams.get_mut(stream).into_iter().flatten() {
            if armed.order.fault.place() != Place::Mode {
                continue;
            }
            if !armed.sessions.contains(&session) {
                if armed.after > 0 || armed.spent() {
                    continue;
                }
                armed.sessions.insert(session);
                armed.happened += 1;
            }
            match armed.order.fault {
                Fault::NoAcks { store } => {
                    modes.no_acks = true;
                    modes.no_persisted = true;
                    modes.no_store |= !store;
                }
                Fault::NoPersisted { store } => {
                    modes.no_persisted = true;
                    modes.no_store |= !store;
                }
                Fault::DelayPersisted(delay) => modes.delay_persisted = Some(delay),
                Fault::StopReading => modes.stop_reading = true,
                Fault::SlowReading(speed) => modes.bytes_per_second = Some(speed),
                Fault::HttpError { .. } | Fault::DelayResponse(_) | Fault::Reset | Fault::Error(_) => {}
            }
        }
        modes
    }

    /// A session has ended.
    pub fn session_ended(&self, stream: &str, session: u64) {
        for armed in self.streams.lock().get_mut(stream).into_iter().flatten() {
            armed.sessions.remove(&session);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ErrorId;

    fn order(fault: Fault, after: u64, times: Option<u64>) -> Order {
        Order { fault, call: Call::PutMedia, after, times }
    }

    #[test]
    fn an_event_waits_for_its_fragments_and_happens_so_often() {
        let faults = Faults::default();
        assert!(faults.order("s", order(Fault::Error(ErrorId::InvalidMkvData), 2, Some(2))));
        let mut hits = Vec::new();
        for fragment in 0..8 {
            if faults.event("s", true).is_some() {
                hits.push(fragment);
            } else {
                faults.fragment_complete("s");
            }
        }
        assert_eq!(hits, [2, 5]);
        assert_eq!(faults.event("other", true), None);
    }

    #[test]
    fn an_error_needs_a_fragment_and_a_reset_does_not() {
        let faults = Faults::default();
        faults.order("s", order(Fault::Error(ErrorId::InternalError), 0, Some(1)));
        assert_eq!(faults.event("s", false), None);
        faults.order("s", order(Fault::Reset, 0, Some(1)));
        assert_eq!(faults.event("s", false), Some(Fault::Reset));
        assert_eq!(faults.event("s", true), Some(Fault::Error(ErrorId::InternalError)));
        assert_eq!(faults.event("s", true), None);
    }

    #[test]
    fn a_mode_stays_with_its_session_until_cleared() {
        let faults = Faults::default();
        faults.order("s", order(Fault::NoPersisted { store: false }, 1, Some(1)));
        assert_eq!(faults.modes("s", 1), Modes::default());
        faults.fragment_complete("s");
        assert!(faults.modes("s", 1).no_persisted && faults.modes("s", 1).no_store);
        assert_eq!(faults.modes("s", 2), Modes::default(), "once means one session");
        assert_eq!(faults.clear("s"), 1);
        assert_eq!(faults.modes("s", 1), Modes::default());
    }

    #[test]
    fn requests_are_refused_in_turn() {
        let faults = Faults::default();
        let refusal = Fault::HttpError { status: 403, error_type: "A".to_owned(), message: "b".to_owned() };
        faults.order("s", order(refusal, 1, Some(2)));
        let refused: Vec<_> = (0..4).map(|_| faults.call("s", Call::PutMedia).error.is_some()).collect();
        assert_eq!(refused, [false, true, true, false]);
    }

    #[test]
    fn a_call_is_refused_and_no_other() {
        let faults = Faults::default();
        let refusal = Fault::HttpError { status: 503, error_type: "A".to_owned(), message: "b".to_owned() };
        faults.order("s", Order { call: Call::GetDataEndpoint, ..order(refusal, 0, Some(1)) });
        assert_eq!(faults.call("s", Call::PutMedia), CallFault::default());
        assert_eq!(faults.call("s", Call::DescribeStream), CallFault::default());
        assert!(faults.call("s", Call::GetDataEndpoint).error.is_some());
        assert_eq!(faults.call("s", Call::GetDataEndpoint), CallFault::default());
    }

    #[test]
    fn a_stream_has_only_so_many() {
        let faults = Faults::default();
        for _ in 0..MAX_FAULTS {
            assert!(faults.order("s", order(Fault::Reset, 0, Some(1))));
        }
        assert!(!faults.order("s", order(Fault::Reset, 0, Some(1))));
        while faults.event("s", true).is_some() {}
        assert!(faults.order("s", order(Fault::Reset, 0, Some(1))), "spent faults make room");
    }
}
