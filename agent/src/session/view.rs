//! The session as seen from outside.

use kvs_ingest_api::Phase;

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
