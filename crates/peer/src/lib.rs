//! One WebRTC connection that only receives, sans-IO (RFC 8825 and what it names): it writes an offer, reads the
//! master's answer, and turns datagrams into RTP packets and sender reports.
//!
//! [`Receiver`] is the front. ICE, DTLS, SRTP and TURN are the `rtc` family's; the offer, the answer, which packet belongs
//! to which track, and the feedback are written here: what is not declared is still media.
//!
//! No sockets, no threads, no clock of its own; nothing that a master can send makes it panic or grow without bound.
#![forbid(unsafe_code)]

mod demux;
mod dtls;
mod gather;
mod nack;
mod path;
mod receiver;
mod rtcp;
mod rtp;
pub mod sdp;
mod statistics;
mod twcc;

use bytes::BytesMut;
use kvs_media::{RtpPacket, SenderReport};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

pub use receiver::{Receiver, ReceiverError};
pub use sdp::MediaKind;

/// What a connection is to be like.
#[derive(Clone, Debug)]
pub struct Config {
    /// Offer to receive H.264.
    pub video: bool,
    /// Offer to receive Opus.
    pub audio: bool,
    /// `x-google-start-bitrate` and `x-google-min-bitrate` in kbit/s: keeps Chromium from ramping through three
    /// resolutions in the first seconds.
    pub start_bitrate_kbps: Option<u32>,
    /// Use relayed candidates only.
    pub relay_only: bool,
    /// STUN and TURN servers, reached over UDP.
    pub ice_servers: Vec<IceServer>,
    /// The sockets there are: bound addresses, never wildcards.
    pub sockets: Vec<SocketAddr>,
    /// What the kernel holds for a socket, bytes as it counts them. What is asked for again comes in one burst: no more is
    /// asked for at once than has room.
    pub receive_buffer: usize,
}

/// A STUN or TURN server.
#[derive(Clone, PartialEq, Eq)]
pub struct IceServer {
    /// Where.
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

/// A datagram to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// From which socket.
    pub local: SocketAddr,
    /// To whom.
    pub remote: SocketAddr,
    /// The datagram.
    pub data: BytesMut,
}

/// How far a connection came that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// No path was found, or it was lost.
    Ice,
    /// There is a path; the handshake on it failed.
    Dtls,
}

/// What a connection tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A local candidate to trickle, as `candidate:` and its attributes.
    LocalCandidate(String),
    /// ICE has a path; DTLS follows.
    PathFound,
    /// Media can come.
    Connected,
    /// Nothing came over the path for four seconds; it may recover.
    Disconnected,
    /// It did.
    Recovered,
    /// The master closed, or ended all its sources.
    Goodbye,
    /// It will not come up, or will not come back.
    Failed {
        /// How far it was.
        stage: Stage,
        /// What was seen, in words.
        reason: String,
    },
    /// One RTP packet, retransmissions unwrapped, possibly a duplicate, in order of arrival.
    Rtp {
        /// Of which track.
        kind: MediaKind,
        /// The packet.
        packet: RtpPacket,
    },
    /// One RTCP sender report.
    SenderReport(SenderReport),
}

/// One side of a pair of candidates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// `host`, `srflx`, `prflx` or `relay`.
    pub kind: String,
    /// Where.
    pub address: SocketAddr,
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
}
