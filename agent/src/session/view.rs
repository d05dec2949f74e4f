//! The session as seen from outside.

use super::reason::Reason;
use kvs_ingest_api::Phase;

/// A phase with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    pub phase: Phase,
    pub reason: Reason,
    /// A sentence for a person.
    pub message: String,
    /// The signaling socket is up.
    pub signaling: bool,
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
            signaling: true,
            authenticated: true,
            client_id: "c".to_owned(),
        }
    }
}
