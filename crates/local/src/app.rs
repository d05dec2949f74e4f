//! [`App`]: what every request handler can reach.

use std::sync::Arc;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Config,
    agents::Agents,
    archive::Archive,
    auth::KeyRing,
    control::ControlPlane,
    delivery::Delivery,
    faults::Faults,
    ice::{TurnAddress, TurnCredentials, TurnFigures},
    page_token::PageTokens,
    playback::Playback,
    putmedia::Sessions,
    quotas::Quotas,
    requests::Requests,
    signaling::Signaling,
    snapshot::Snapshot,
    storage::Sessions as StorageSessions,
};

/// The shared state of the server.
pub struct App {
    /// What the server was started with; it never changes.
    pub config: Config,
    /// The keys that may call.
    pub keys: KeyRing,
    /// Channels, streams and tags.
    pub control: ControlPlane,
    /// Fragments on disk and their index.
    pub archive: Arc<Archive>,
    /// Open PutMedia sessions, and counts of all.
    pub put_media: Arc<Sessions>,
    /// Agents whose outputs are shown.
    pub(crate) agents: Arc<Agents>,
    /// What goes wrong on purpose.
    pub faults: Arc<Faults>,
    /// The signaling hub and its sockets.
    pub signaling: Signaling,
    /// Storage sessions of channels.
    pub(crate) storage: Arc<StorageSessions>,
    /// What all who watch are shown.
    pub(crate) snapshot: Snapshot,
    /// What follows from stored fragments: images, notifications.
    pub(crate) delivery: Delivery,
    /// Streaming sessions of players.
    pub(crate) playback: Playback,
    /// Makes and checks `NextToken`s.
    pub tokens: PageTokens,
    /// Makes and checks TURN credentials.
    pub turn: TurnCredentials,
    /// Where the TURN server is reached.
    pub turn_address: TurnAddress,
    /// What the TURN server counts.
    pub(crate) turn_figures: TurnFigures,
    /// How often the control plane was called in the last second.
    pub(crate) quotas: Quotas,
    /// Requests that were answered.
    pub(crate) requests: Requests,
    /// Cancelled when the server ends: what streams without end stops then.
    pub stop: CancellationToken,
    /// What the end of the server waits for.
    pub tasks: TaskTracker,
}
