//! Figures of a connection.

use crate::data::DataFigures;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// By what a TURN server is reached (`relayProtocol` of W3C's statistics). Between it and the master there is UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RelayProtocol {
    /// Datagrams.
    Udp,
    /// A stream in the clear; the media in it is encrypted like all of WebRTC's.
    Tcp,
    /// A stream in TLS.
    Tls,
}

impl RelayProtocol {
    /// `udp`, `tcp` or `tls`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }
}

/// One side of a pair of candidates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// `host`, `srflx`, `prflx` or `relay`.
    pub kind: String,
    /// Of a relayed candidate: at the relay.
    pub address: SocketAddr,
    /// How our own relay is reached; `None`: it is no relay of ours.
    pub relay_protocol: Option<RelayProtocol>,
}

/// Figures of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// The pair in use: ours, the master's.
    pub pair: Option<(Side, Side)>,
    /// Of the newest ICE check.
    pub round_trip_time: Option<Duration>,
    /// Packets that belong to no track, by payload type.
    pub unbound: BTreeMap<u8, u64>,
    /// Packets that the negotiated keys do not open, forged and repeated ones among them.
    pub undecryptable: u64,
    /// Packets that came before there were keys and could not be kept.
    pub early_dropped: u64,
    /// Datagrams of strangers: STUN that does not prove to be the master's, anything else from an address that has not, and
    /// whatever comes from where nothing is sent. Nothing is kept of them.
    pub strangers: u64,
    /// Remote candidates that are not used: too many, unreadable, or of an address that gets nothing.
    pub candidates_refused: u64,
    /// Of the data channels, where they were agreed on.
    pub data: Option<DataFigures>,
    /// STUN and TURN servers were asked over UDP, and none has answered yet: UDP does not get out, it seems.
    pub udp_is_silent: bool,
}
