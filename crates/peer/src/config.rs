//! What a connection is to be like.

use crate::data::DataConfig;
use crate::destinations::Destinations;
use crate::figures::RelayProtocol;
use kvs_media::{AudioCodec, VideoCodec};
use std::fmt;
use std::net::SocketAddr;

/// What a connection is to be like.
#[derive(Clone, Debug)]
pub struct Config {
    /// Video codecs to offer, the most wanted first. Empty: no video.
    pub video: Vec<VideoCodec>,
    /// Audio codecs to offer, the most wanted first. Empty: no audio.
    pub audio: Vec<AudioCodec>,
    /// Data channels to ask for; `None`: they are not offered.
    pub data: Option<DataConfig>,
    /// `x-google-start-bitrate` and `x-google-min-bitrate` in kbit/s: keeps Chromium from ramping through three
    /// resolutions in the first seconds.
    pub start_bitrate_kbps: Option<u32>,
    /// Use relayed candidates only.
    pub relay_only: bool,
    /// STUN and TURN servers, reached over UDP.
    pub ice_servers: Vec<IceServer>,
    /// TURN servers reached over TCP or TLS, the most wanted first: they are tried beside UDP, one after the other.
    pub turn_streams: Vec<TurnStream>,
    /// The sockets there are: bound addresses, never wildcards.
    pub sockets: Vec<SocketAddr>,
    /// What the kernel holds for a socket, bytes as it counts them. What is asked for again comes in one burst: no more is
    /// asked for at once than has room.
    pub receive_buffer: usize,
    /// Where a master may have datagrams sent.
    pub destinations: Destinations,
}

/// A STUN or TURN server.
#[derive(Clone, PartialEq, Eq)]
pub struct IceServer {
    /// Reached over UDP.
    pub address: SocketAddr,
    /// User name and password of TURN; `None`: STUN.
    pub credentials: Option<(String, String)>,
}

impl fmt::Debug for IceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.credentials.is_some() { "turn" } else { "stun" };
        write!(f, "{scheme}:{}", self.address)
    }
}

/// A TURN server over a stream (RFC 8656, section 3.1).
#[derive(Clone, PartialEq, Eq)]
pub struct TurnStream {
    /// For messages: its URL, in which there is no secret.
    pub name: String,
    /// [`RelayProtocol::Tcp`] or [`RelayProtocol::Tls`]: what it is worth as a way. Who opens it knows what to do.
    pub protocol: RelayProtocol,
    /// User name and password.
    pub credentials: (String, String),
}

impl fmt::Debug for TurnStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
