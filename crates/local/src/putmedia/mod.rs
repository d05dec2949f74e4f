//! PutMedia: what the service makes of a producer's body.

mod ack;
mod expiry;
mod http;
mod ingest;

pub use self::ack::{Ack, ErrorId};
pub(crate) use self::expiry::expire;
pub(crate) use self::http::routes;
pub use self::ingest::{Fragment, Ingest, Limits, Output};
