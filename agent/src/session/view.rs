//! The session as seen from outside.

/// Where the session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Nothing has worked yet; no reason to worry.
    Starting,
    /// Signaling is joined; no master answers, or the one that did has left, or sends nothing.
    WaitingForMaster,
    /// A master answered, or is about to.
    Connecting,
    /// Media flows.
    Streaming,
    /// It worked before and is being brought back.
    Reconnecting,
    /// Being ended.
    Stopping,
    /// It cannot work until a person changes something; it is tried again all the same.
    Failed,
}

/// A phase with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Where it stands.
    pub phase: Phase,
    /// Why, in one CamelCase word.
    pub reason: &'static str,
    /// Why, in words.
    pub message: String,
    /// The signaling socket is up.
    pub signaling: bool,
    /// The channel could be looked up: credentials and permissions are good.
    pub authenticated: bool,
    /// The viewer's client id.
    pub client_id: String,
}
