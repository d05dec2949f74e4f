//! Amazon Kinesis Video Streams as a client sees it: control plane, ICE servers, and the signaling channel.
#![forbid(unsafe_code)]

mod archive;
mod control;
mod error;
mod ice;
mod id;
mod retry;
pub mod signaling;

pub use self::archive::{Archive, RecentFragment, StoredFragment};
pub use self::control::{
    ChannelEndpoints, ChannelInfo, ControlPlane, Found, MediaStorage, NewStream, Role, StreamInfo, Tags,
};
pub use self::error::Error;
pub use self::ice::{IceServer, ice_servers, stun_server};
pub use self::id::{
    ChannelArn, ChannelId, ChannelName, ClientId, InvalidId, StreamArn, StreamId, StreamName,
};
