//! ICE servers: `GetIceServerConfig` and the TURN server that its answers name.
//!
//! Unlike the real one, this TURN server lets peers be on loopback and private addresses: everything here is.

mod address;
mod api;
mod credentials;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod peers;
mod relay;
mod shared;
mod stream;
mod streams;
mod turn;
mod turn_server;

pub use self::address::TurnAddress;
pub(crate) use self::api::get_ice_server_config;
pub use self::credentials::TurnCredentials;
pub(crate) use self::relay::bind;
pub(crate) use self::turn_server::{TurnFigures, TurnOptions, TurnServer};
