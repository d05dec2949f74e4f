//! Faults of PutMedia and of calls about a stream or a channel, made on purpose: [`Faults`] decides which session or
//! call suffers which, and when.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::ErrorId;
use crate::{error::ServiceError, members::Members};

/// Faults of one stream. A test that sets more than this has lost count.
const MAX_FAULTS: usize = 64;

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The request is answered with this status.
    HttpError {
        /// 400 to 599.
        status: u16,
        /// The exception's name.
        error_type: String,
        /// Its sentence.
        message: String,
    },
    /// The head of the answer comes late.
    DelayResponse(Duration),
    /// The TCP connection is reset.
    Reset,
    /// The fragment is refused with this `ErrorId`, and the session ends.
    Error(ErrorId),
    /// No acknowledgement is sent. What arrives is stored only if `store`.
    NoAcks {
        /// Whether fragments are kept all the same.
        store: bool,
    },
    /// `PERSISTED` is not sent. What arrives is stored only if `store`.
    NoPersisted {
        /// Whether fragments are kept all the same.
        store: bool,
    },
    /// `PERSISTED` comes late.
    DelayPersisted(Duration),
    /// The body is not read on.
    StopReading,
    /// The body is read at this many bytes a second.
    SlowReading(u32),
}

/// When a fault can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Instead of the answer to a request.
    Start,
    /// Once, to an open session.
    Event,
    /// To a session, for the rest of it.
    Mode,
}

impl Fault {
    fn place(&self) -> Place {
        match self {
            Fault::HttpError { .. } | Fault::DelayResponse(_) => Place::Start,
            Fault::Reset | Fault::Error(_) => Place::Event,
            Fault::NoAcks { .. }
            | Fault::NoPersisted { .. }
            | Fault::DelayPersisted(_)
            | Fault::StopReading
            | Fault::SlowReading(_) => Place::Mode,
        }
    }

    /// Its name in `POST /_kvs/faults`.
    #[must_use]
    pub fn action(&self) -> &'static str {
        match self {
            Fault::HttpError { .. } => "http_error",
            Fault::DelayResponse(_) => "delay_response",
            Fault::Reset => "reset",
            Fault::Error(_) => "error",
            Fault::NoAcks { .. } => "no_acks",
            Fault::NoPersisted { .. } => "no_persisted",
            Fault::DelayPersisted(_) => "delay_persisted",
            Fault::StopReading => "stop_reading",
            Fault::SlowReading(_) => "slow_reading",
        }
    }
}

/// A call that can be answered with an error, or late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "each is named by the service")]
pub enum Call {
    #[default]
    PutMedia,
    DescribeStream,
    GetDataEndpoint,
    DescribeSignalingChannel,
    GetSignalingChannelEndpoint,
    GetIceServerConfig,
}

/// The names that `call` may have for a stream.
const STREAM_CALLS: [(&str, Call); 3] = [
    ("PutMedia", Call::PutMedia),
    ("DescribeStream", Call::DescribeStream),
    ("GetDataEndpoint", Call::GetDataEndpoint),
];
/// And for a channel.
const CHANNEL_CALLS: [(&str, Call); 3] = [
    ("DescribeSignalingChannel", Call::DescribeSignalingChannel),
    ("GetSignalingChannelEndpoint", Call::GetSignalingChannelEndpoint),
    ("GetIceServerConfig", Call::GetIceServerConfig),
];

/// A fault and to whom it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// What.
    pub fault: Fault,
    /// Whose answer, for `http_error` and `delay_response`.
    pub call: Call,
    /// How many go unharmed first: requests for `http_error` and `delay_response`, else complete fragments of the stream.
    pub after: u64,
    /// How often it happens; `None` until it is cleared.
    pub times: Option<u64>,
}

/// The names that `action` may have for a stream; `clear` takes its faults back.
pub const ACTIONS: [&str; 10] = [
    "clear",
    "http_error",
    "delay_response",
    "reset",
    "error",
    "no_acks",
    "no_persisted",
    "delay_persisted",
    "stop_reading",
    "slow_reading",
];

/// Those of them that calls about a channel can suffer.
pub const CALL_ACTIONS: [&str; 3] = ["clear", "http_error", "delay_response"];

impl Order {
    /// The order of a request about a stream; `None` for `clear`.
    ///
    /// # Errors
    /// `InvalidArgumentException` that names the member.
    pub fn parse(members: &Members) -> Result<Option<Self>, ServiceError> {
        Self::read(members, &ACTIONS, &STREAM_CALLS, Some(Call::PutMedia))
    }

    /// The order of a request about a channel, which says which call; `None` for `clear`.
    ///
    /// # Errors
    /// `InvalidArgumentException` that names the member.
    pub fn parse_channel(members: &Members) -> Result<Option<Self>, ServiceError> {
        Self::read(members, &CALL_ACTIONS, &CHANNEL_CALLS, None)
    }

    fn read(
        members: &Members,
        actions: &[&'static str],
        calls: &[(&'static str, Call); 3],
        default: Option<Call>,
    ) -> Result<Option<Self>, ServiceError> {
        let action = members.required("action", members.one_of("action", actions)?)?;
        let number = |member: &str, from: u32, to: u32, default: u32| {
            let found = members.integer(member, i64::from(from)..=i64::from(to))?;
            Ok::<_, ServiceError>(found.map_or(default, |value| u32::try_from(value).unwrap_or(default)))
        };
        let hour_ms = 3_600_000;
        let delay = || {
            number("ms", 1, hour_ms, 0)
                .and_then(|ms| members.required("ms", (ms > 0).then_some(ms)))
                .map(|ms| Duration::from_millis(u64::from(ms)))
        };
        let store = members.flag("store")?.unwrap_or(false);
        let fault = match action {
            "clear" => return Ok(None),
            "http_error" => {
                let status = u16::try_from(number("status", 400, 599, 500)?).unwrap_or(500);
                let name = match status {
                    401 => "NotAuthorizedException",
                    403 => "AccessDeniedException",
                    404 => "ResourceNotFoundException",
                    400 | 429 => "ClientLimitExceededException",
                    _ => "InternalFailure",
                };
                let error_type =
                    members.text("type", 1..=128, |c| c.is_ascii_alphanumeric(), "[A-Za-z0-9]+")?;
                Fault::HttpError {
                    status,
                    error_type: error_type.unwrap_or(name).to_owned(),
                    message: members.string("message")?.unwrap_or("A fault made on purpose.").to_owned(),
                }
            }
            "delay_response" => Fault::DelayResponse(delay()?),
            "reset" => Fault::Reset,
            "error" => {
                let id = members.required("id", members.integer("id", 4000..=5999)?)?;
                let id = u16::try_from(id).ok().and_then(ErrorId::from_number);
                Fault::Error(id.ok_or_else(|| members.invalid("id", "is no ErrorId of PutMedia"))?)
            }
            "no_acks" => Fault::NoAcks { store },
            "no_persisted" => Fault::NoPersisted { store },
            "delay_persisted" => Fault::DelayPersisted(delay()?),
            "stop_reading" => Fault::StopReading,
            _ => {
                let speed = number("bytesPerSecond", 1, u32::MAX, 0)?;
                Fault::SlowReading(members.required("bytesPerSecond", (speed > 0).then_some(speed))?)
            }
        };
        let call = match members.one_of("call", &calls.map(|(name, _)| name))? {
            None => members.required("call", default)?,
            Some(_) if fault.place() != Place::Start => {
                return Err(members.invalid("call", "goes with http_error and delay_response only"));
            }
            Some(wanted) => {
                calls.iter().find(|(name, _)| *name == wanted).map(|(_, call)| *call).unwrap_or_default()
            }
        };
        let after = u64::from(number("after", 0, 1_000_000, 0)?);
        let times = match number("times", 0, 1_000_000, 1)? {
            0 => None,
            times => Some(u64::from(times)),
        };
        Ok(Some(Self { fault, call, after, times }))
    }
}

/// What bends a session at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Modes {
    /// No acknowledgements.
    pub no_acks: bool,
    /// No `PERSISTED`.
    pub no_persisted: bool,
    /// Nothing is stored.
    pub no_store: bool,
    /// No reading.
    pub stop_reading: bool,
    /// `PERSISTED` is this late.
    pub delay_persisted: Option<Duration>,
    /// Reading is this slow.
    pub bytes_per_second: Option<u32>,
}

/// What a request meets before it is a session.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AtStart {
    /// The answer comes late.
    pub delay: Option<Duration>,
    /// The answer is this error: status, exception, sentence.
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
    /// Changes with every order: open sessions look whether it is theirs.
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

    /// Takes a stream's faults back; says how many there were. What a session suffers ends.
    pub fn clear(&self, stream: &str) -> usize {
        let cleared = self.streams.lock().remove(stream).map_or(0, |armed| armed.len());
        self.changed.send_modify(|count| *count += 1);
        cleared
    }

    /// Forgets the faults of streams and channels that are gone.
    pub fn retain(&self, there: impl Fn(&str) -> bool) {
        self.streams.lock().retain(|stream, _| there(stream));
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

    /// A request has come.
    pub fn at_start(&self, stream: &str, call: Call) -> AtStart {
        let mut found = AtStart::default();
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
                Fault::DelayResponse(delay) if found.delay.is_none() => found.delay = Some(*delay),
                Fault::HttpError { status, error_type, message } if found.error.is_none() => {
                    found.error = Some((*status, error_type.clone(), message.clone()));
                }
                _ => continue,
            }
            armed.happened += 1;
        }
        found
    }

    /// A fragment of the stream is complete.
    pub fn fragment(&self, stream: &str) {
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

    /// What this session suffers for now.
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
    pub fn leave(&self, stream: &str, session: u64) {
        for armed in self.streams.lock().get_mut(stream).into_iter().flatten() {
            armed.sessions.remove(&session);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
                faults.fragment("s");
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
        faults.fragment("s");
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
        let seen: Vec<_> = (0..4).map(|_| faults.at_start("s", Call::PutMedia).error.is_some()).collect();
        assert_eq!(seen, [false, true, true, false]);
    }

    #[test]
    fn a_call_is_refused_and_no_other() {
        let faults = Faults::default();
        let refusal = Fault::HttpError { status: 503, error_type: "A".to_owned(), message: "b".to_owned() };
        faults.order("s", Order { call: Call::GetDataEndpoint, ..order(refusal, 0, Some(1)) });
        assert_eq!(faults.at_start("s", Call::PutMedia), AtStart::default());
        assert_eq!(faults.at_start("s", Call::DescribeStream), AtStart::default());
        assert!(faults.at_start("s", Call::GetDataEndpoint).error.is_some());
        assert_eq!(faults.at_start("s", Call::GetDataEndpoint), AtStart::default());
    }

    #[test]
    fn orders_are_read_with_their_defaults_and_complaints_name_the_member() {
        let parse = |text: &str| Order::parse(&Members::parse(text.as_bytes()).unwrap());
        assert_eq!(parse(r#"{"action":"reset"}"#).unwrap(), Some(order(Fault::Reset, 0, Some(1))));
        assert_eq!(
            parse(r#"{"action":"no_acks","times":0,"after":3,"store":true}"#).unwrap(),
            Some(order(Fault::NoAcks { store: true }, 3, None))
        );
        assert_eq!(parse(r#"{"action":"clear"}"#).unwrap(), None);
        for (text, member) in [
            (r#"{"action":"explode"}"#, "action"),
            (r#"{"action":"error"}"#, "id"),
            (r#"{"action":"error","id":4999}"#, "id"),
            (r#"{"action":"slow_reading"}"#, "bytesPerSecond"),
            (r#"{"action":"delay_response"}"#, "ms"),
            (r#"{"action":"reset","store":1}"#, "store"),
        ] {
            let message = parse(text).unwrap_err().message;
            assert!(message.contains(member), "{text}: {message}");
        }
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
