//! Figures of a connection.

use crate::data::DataFigures;
use kvs_media::PerTrack;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::AddAssign;
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
    /// RFC 8445, section 5.1.2.
    pub priority: u32,
    /// How our own relay is reached; `None`: it is no relay of ours.
    pub relay_protocol: Option<RelayProtocol>,
}

/// What went over a transport, beside ICE itself: DTLS, SRTP and SRTCP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Datagrams.
    pub packets: u64,
    /// Their payload: without IP and UDP headers, and without what a relay puts around it.
    pub bytes: u64,
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
    }
}

impl Traffic {
    pub(crate) fn count(&mut self, bytes: usize) {
        self.packets += 1;
        self.bytes += bytes as u64;
    }
}

/// The pair that ICE has selected (`RTCIceCandidatePairStats`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Ours.
    pub local: Side,
    /// The master's.
    pub remote: Side,
    /// As the controlling side it is this one that nominates.
    pub nominated: bool,
    /// To the master, over the transport of this pair.
    pub sent: Traffic,
    /// From the master.
    pub received: Traffic,
    /// Checks that were sent on it.
    pub requests_sent: u64,
    /// Answers to them.
    pub responses_received: u64,
    /// Sum of the round trips of these.
    pub total_round_trip_time: Duration,
    /// Of the newest check; `None` before the first answer.
    pub round_trip_time: Option<Duration>,
}

/// A STUN or TURN server by one way, over all sockets that it is asked from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFigures {
    /// Without a secret: the URL of a stream, or one with the address of a server over UDP.
    pub url: String,
    /// How it is reached.
    pub protocol: RelayProtocol,
    /// It is asked for a relay.
    pub turn: bool,
    /// Requests, repeated ones included.
    pub requests_sent: u64,
    /// Answers to them, refusals included.
    pub responses_received: u64,
    /// Sum over the answers of the time since their request was last sent.
    pub total_round_trip_time: Duration,
    /// It gave what it was asked for: a reflexive address, or a relay.
    pub useful: bool,
}

/// Figures of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// The pair in use.
    pub pair: Option<Pair>,
    /// STUN and TURN servers, in the order in which they were given.
    pub servers: Vec<ServerFigures>,
    /// Bytes of RTP headers and padding of each track, retransmissions included.
    pub header_bytes: PerTrack<u64>,
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
