//! ICE servers: `GetIceServerConfig` and the TURN server that its answers name.
//!
//! Unlike the real one, this TURN server lets peers be on loopback and private addresses: everything here is.

mod api;
mod challenge;
mod credentials;
mod relay;
mod turn_server;

pub(crate) use self::api::get_ice_server_config;
pub use self::credentials::TurnCredentials;
pub use self::turn_server::TurnAddress;
pub(crate) use self::turn_server::TurnServer;
