//! The session as seen from outside.

use super::reason::Reason;

/// Where the session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Nothing has worked yet; no reason to worry.
    Starting,
    /// Signaling is joined; no master answers, or the one that did has left, or sends nothing.
    WaitingForMaster,
    /// A master answered, or is about to.
    Connecting,
    Streaming,
    /// It worked before and is being brought back.
    Reconnecting,
    Stopping,
    /// It cannot work until a person changes something; it is tried again all the same.
    Failed,
}

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
