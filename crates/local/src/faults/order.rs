//! [`Order`]: a fault that is wanted, and when. It is what `POST /_kvs/faults` says.

use std::time::Duration;

use crate::{error::ServiceError, members::Members, model::ErrorId};

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The request is answered with this status.
    HttpError {
        /// HTTP status, 400 to 599.
        status: u16,
        /// The exception's name, which goes into the header `x-amzn-ErrorType`.
        error_type: String,
        /// The exception's sentence.
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
pub(super) enum Place {
    /// Instead of the answer to a request.
    Start,
    /// Once, to an open session.
    Event,
    /// To a session, for the rest of it.
    Mode,
}

impl Fault {
    pub(super) fn place(&self) -> Place {
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
    /// What goes wrong.
    pub fault: Fault,
    /// The call whose answer is meant, for `http_error` and `delay_response`.
    pub call: Call,
    /// How many go unharmed first: requests for `http_error` and `delay_response`, else complete fragments of the stream.
    pub after: u64,
    /// How often it happens; `None` until it is cleared.
    pub times: Option<u64>,
}

/// The names that `action` may have for a stream; `clear` takes its faults back.
const ACTIONS: [&str; 10] = [
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

/// Those of them that calls about a channel can be given.
pub(crate) const CALL_ACTIONS: [&str; 3] = ["clear", "http_error", "delay_response"];

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

#[cfg(test)]
mod tests {
    use super::*;

    fn order(fault: Fault, after: u64, times: Option<u64>) -> Order {
        Order { fault, call: Call::PutMedia, after, times }
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
}
