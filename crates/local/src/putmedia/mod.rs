//! PutMedia: what the service makes of a producer's body.

mod ack;
mod acks;
mod drain;
mod head;
mod http;
mod ingest;
mod persist;
mod session;
mod sessions;

pub use self::ack::Ack;
pub(crate) use self::http::routes;
pub use self::ingest::{Ingest, Output};
pub(crate) use self::persist::{Times, keep};
pub(crate) use self::sessions::Open;
pub use self::sessions::{Counters, Sessions};
