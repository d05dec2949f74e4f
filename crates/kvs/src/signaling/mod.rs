//! The signaling channel: typed messages over a presigned WebSocket.

mod reclaim;
mod socket;
mod throttle;
pub mod wire;

pub use self::socket::{
    SignalingConfig, SignalingError, SignalingReceiver, SignalingRole, SignalingSender, connect,
};
pub use self::wire::{IceCandidate, SignalingEvent, StatusResponse};
