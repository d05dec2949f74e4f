//! [`App`]: what every request handler can reach.

use std::sync::Arc;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Config,
    archive::Archive,
    auth::KeyRing,
    control::ControlPlane,
    ice::{TurnAddress, TurnCredentials},
    page_token::PageTokens,
    putmedia::PutMedia,
    signaling::Signaling,
};

/// The shared state of the server.
pub struct App {
    /// As started.
    pub config: Config,
    /// The keys that may call.
    pub keys: KeyRing,
    /// The index in the data folder; each module has its own tables.
    pub db: Arc<redb::Database>,
    /// Channels, streams and tags.
    pub control: ControlPlane,
    /// Fragments.
    pub archive: Arc<Archive>,
    /// Open PutMedia sessions and their faults.
    pub put_media: PutMedia,
    /// The signaling hub and its sockets.
    pub signaling: Signaling,
    /// Makes and checks `NextToken`s.
    pub tokens: PageTokens,
    /// Makes and checks TURN credentials.
    pub turn: TurnCredentials,
    /// Where the TURN server is reached.
    pub turn_address: TurnAddress,
    /// Cancelled when the server ends: what streams without end stops then.
    pub stop: CancellationToken,
    /// What the end of the server waits for.
    pub tasks: TaskTracker,
}
