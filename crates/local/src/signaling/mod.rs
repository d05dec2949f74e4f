//! The signaling service: a pure hub that routes and holds messages, and the WebSockets around it.

mod alexa;
mod handshake;
mod hub;
mod message;
mod service;

pub(crate) use self::alexa::send_alexa_offer_to_master;
pub(crate) use self::handshake::handshake;
pub use self::hub::{ChannelView, Hub, Output, Role, SocketId, ToStorage};
pub(crate) use self::message::decode;
pub use self::message::{Action, Inbound, MessageError};
pub use self::service::Signaling;
