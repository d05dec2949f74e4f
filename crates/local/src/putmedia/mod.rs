//! PutMedia: what the service makes of a producer's body.

mod ack;
mod ingest;

pub use self::ack::{Ack, ErrorId};
pub use self::ingest::{Fragment, Ingest, Limits, Output};
