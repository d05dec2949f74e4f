//! The signaling service: a pure hub that routes and holds messages, and the WebSockets around it.

mod hub;
mod message;
mod rate;
mod socket;

pub use hub::{ChannelView, Hub, Output, Role, SocketId};
pub use message::{Action, Inbound, MessageError};
pub use socket::Signaling;
pub(crate) use socket::handshake;
