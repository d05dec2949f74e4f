//! What is offered to a master, and what it answered (RFC 8866, RFC 3264, RFC 8829).

mod answer;
mod candidate;
mod codec;
pub(crate) mod offer;
mod outcome;
mod section;
mod transport;
mod words;

pub use answer::read_answer;
pub use candidate::{sendable_candidate, usable_candidate};
pub use codec::{Codec, H264Parameters, H265Parameters, PayloadFormat};
pub(crate) use offer::{ABS_SEND_TIME_URI, MID_URI, TRANSPORT_CC_URI};
pub use outcome::{AcceptedData, Answer, AnswerError, MAX_ANSWER};
pub use section::{AcceptedSection, HeaderExtension, OfferedSection};
pub use transport::{Fingerprint, HashAlgorithm, RemoteTransport, Setup};
