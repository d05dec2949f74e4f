//! The signaling service: who is on which channel, and what goes to whom.

mod hub;
mod message;
mod socket;

pub use self::hub::{Action, ChannelView, ConnectionId, Hub, Peer, Refusal};
pub use self::socket::Signaling;
pub(crate) use self::socket::handshake;
