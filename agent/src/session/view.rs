//! The session as seen from outside.

use super::reason::Reason;
use kvs_ingest_api::Phase;
use std::time::Instant;

/// A phase with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    pub phase: Phase,
    pub reason: Reason,
    /// A sentence for a person.
    pub message: String,
    /// Since when the signaling socket is up, if it is.
    pub signaling_since: Option<Instant>,
    /// The channel could be looked up: credentials and permissions are good.
    pub authenticated: bool,
    pub client_id: String,
}

/// Not everything that a master sends is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    pub reason: Reason,
    /// How each track stands, for a person.
    pub message: String,
}

#[cfg(test)]
impl View {
    /// Of a session whose media flows.
    pub(crate) fn streaming() -> Self {
        Self {
            phase: Phase::Streaming,
            reason: Reason::Streaming,
            message: "media flows".to_owned(),
            signaling_since: None,
            authenticated: true,
            client_id: "c".to_owned(),
        }
    }
}
