//! PutMedia: what the service makes of a producer's body.

mod ack;
mod expiry;
pub mod faults;
mod head;
mod http;
mod ingest;
mod persist;
mod session;
mod sessions;

use std::sync::Arc;

pub use self::ack::{Ack, ErrorId};
pub(crate) use self::expiry::expire;
pub use self::faults::{Call, Fault, Faults, Order};
pub(crate) use self::http::{misbehave, routes};
pub use self::ingest::{Fragment, Ingest, Limits, Output};
pub use self::sessions::{Counters, Sessions};

/// What is known of PutMedia across its sessions.
#[derive(Default)]
pub struct PutMedia {
    /// Who is sending.
    pub sessions: Arc<Sessions>,
    /// What goes wrong on purpose.
    pub faults: faults::Faults,
}
