//! One WebRTC connection to a master: offers, connects, hands up RTP and sender reports, sends
//! feedback. It decides nothing: when to connect, to re-offer and to give up is the session's.

mod answer;
mod engine;
mod queue;
mod rest;
mod servers;
mod sockets;
mod streams;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use kvs_media::{AudioCodec, PerTrack, VideoCodec};
pub use kvs_media::{MediaKind, RtpPacket, SenderReport};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use thiserror::Error;

pub use answer::Negotiated;
pub use engine::UdpPeer;
pub use kvs_peer::sdp::AnswerError;
pub use kvs_peer::{
    DataConfig, DataFigures, Destinations, Message, Pair, RelayProtocol, ServerFigures, Side, Traffic,
};
pub use queue::{Arrival, MediaQueue};

/// What a peer connection is to be like.
#[derive(Clone, Debug)]
pub struct PeerConfig {
    /// Video codecs to offer, the most wanted first. Empty: no video.
    pub video: Vec<VideoCodec>,
    /// Audio codecs to offer, the most wanted first. Empty: no audio.
    pub audio: Vec<AudioCodec>,
    /// Data channels to ask for; `None`: they are not offered.
    pub data: Option<DataConfig>,
    /// `x-google-start-bitrate` and `x-google-min-bitrate` in kbit/s: keeps Chromium from ramping
    /// through three resolutions in the first seconds.
    pub start_bitrate_kbps: Option<u32>,
    /// Gather and use relayed candidates only.
    pub relay_only: bool,
    /// STUN and TURN servers.
    pub ice_servers: Vec<IceServer>,
    /// Local addresses to bind, `ip` or `ip:port`. A wildcard stands for every interface except
    /// loopback.
    pub bind: Vec<String>,
    /// Ports to take where `bind` names none; `None`: any.
    pub ports: Option<RangeInclusive<u16>>,
    /// Bytes of `SO_RCVBUF` that are asked for, for each socket.
    pub receive_buffer: usize,
    /// Where the master may have datagrams sent.
    pub destinations: Destinations,
}

/// `SO_RCVBUF` that is asked for unless a flag says otherwise.
pub const RECEIVE_BUFFER: usize = sockets::RECEIVE_BUFFER;

/// One STUN or TURN server entry.
#[derive(Clone)]
pub struct IceServer {
    /// `stun:`, `turn:` and `turns:` URLs.
    pub urls: Vec<String>,
    /// TURN user name, empty for STUN.
    pub username: String,
    /// TURN password, empty for STUN.
    pub credential: String,
}

impl std::fmt::Debug for IceServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IceServer").field("urls", &self.urls).finish_non_exhaustive()
    }
}

/// What a peer reports. Control events and media travel in separate channels, so that a flood of
/// RTP never hides a lost connection.
#[derive(Debug)]
pub enum PeerEvent {
    /// A local candidate to trickle, text beginning with `candidate:`.
    LocalCandidate(String),
    /// ICE has a path; DTLS follows.
    PathFound,
    /// ICE and DTLS are up.
    Connected,
    /// Nothing came over the connection for four seconds, ICE checks included; it may recover by itself.
    Disconnected,
    Recovered,
    /// The TURN relay that media comes over will not last some minutes more: its server does not take the credential any
    /// longer, say.
    RelayEnds {
        /// What the server said.
        reason: String,
    },
    /// The master closed the connection (DTLS close_notify), or ended all its sources (RTCP BYE). All media that it
    /// sent before is in the media queue.
    Goodbye,
    /// ICE or DTLS gave up.
    Failed {
        reason: String,
    },
}

/// What arrives on an established connection.
#[derive(Debug)]
pub enum MediaEvent {
    /// One RTP packet, RTX already unwrapped, possibly a duplicate, in order of arrival.
    Rtp { kind: MediaKind, packet: RtpPacket },
    /// One RTCP sender report.
    SenderReport(SenderReport),
    /// One message of a data channel.
    Message(Message),
}

/// Media goes through a TURN server of either side.
pub fn is_relayed(pair: &Pair) -> bool {
    [&pair.local, &pair.remote].into_iter().any(|side| side.kind == "relay")
}

/// A pair as `/status` shows it, `relay 198.51.100.2:443 (tls) <-> host 10.0.0.7:4242`.
pub fn describe(pair: &Pair) -> String {
    let Pair { local, remote, .. } = pair;
    let by = local.relay_protocol.map(|protocol| format!(" ({})", protocol.as_str())).unwrap_or_default();
    format!("{} {}{by} <-> {} {}", local.kind, local.address, remote.kind, remote.address)
}

/// Figures of a peer connection.
#[derive(Clone, Debug, Default)]
pub struct PeerStats {
    /// The pair in use, once there is one.
    pub pair: Option<Pair>,
    /// STUN and TURN servers, in the order in which they were given.
    pub servers: Vec<ServerFigures>,
    /// Bytes of RTP headers and padding of each track, retransmissions included.
    pub header_bytes: PerTrack<u64>,
    /// RTP packets that were dropped because the media task did not keep up.
    pub packets_discarded: u64,
    /// Datagrams that the kernel dropped for want of room in our sockets.
    pub socket_drops: u64,
    /// The smallest receive buffer of our sockets, bytes as the kernel counts them (twice `SO_RCVBUF`).
    pub receive_buffer: usize,
    /// Packets that belong to no track.
    pub unbound: Unbound,
    /// Datagrams of others than the master, of which nothing was kept.
    pub strangers: u64,
    /// Remote candidates that are not used: too many, or of an address that gets nothing.
    pub candidates_refused: u64,
    /// Datagrams to a TURN server over TCP or TLS that were dropped because it did not take them.
    pub relay_dropped: u64,
    /// STUN and TURN servers were asked over UDP, and none has answered.
    pub udp_is_silent: bool,
    /// Of the data channels, where they were agreed on.
    pub data: Option<DataFigures>,
}

/// Packets that arrived and belong to no track.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unbound {
    /// Of payload types that no section agreed to, by payload type.
    pub by_payload_type: BTreeMap<u8, u64>,
    /// That the negotiated keys do not open.
    pub undecryptable: u64,
}

/// Why a peer could not do what it was asked.
#[derive(Debug, Error)]
pub enum PeerError {
    /// The connection could not be built (sockets, certificates, SDP).
    #[error("cannot build the peer connection: {0}")]
    Build(String),
    /// The master's answer is unusable.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// The answer cannot be applied.
    #[error("cannot apply the master's answer: {0}")]
    Apply(String),
    /// The connection was closed meanwhile.
    #[error("the peer connection is closed")]
    Gone,
    /// A remote candidate was refused.
    #[error("remote candidate `{candidate}` refused: {reason}")]
    Candidate { candidate: String, reason: String },
    /// Feedback could not be sent.
    #[error("cannot send RTCP feedback: {0}")]
    Feedback(String),
}

impl From<kvs_peer::ReceiverError> for PeerError {
    fn from(error: kvs_peer::ReceiverError) -> Self {
        match error {
            kvs_peer::ReceiverError::Build(reason) => Self::Build(reason),
            kvs_peer::ReceiverError::Answer(error) => Self::Answer(error),
            error @ kvs_peer::ReceiverError::AnsweredBefore => Self::Apply(error.to_string()),
            kvs_peer::ReceiverError::Candidate { candidate, reason } => Self::Candidate { candidate, reason },
            kvs_peer::ReceiverError::Feedback(reason) => Self::Feedback(reason),
        }
    }
}

/// A peer connection that offers to receive.
#[async_trait]
pub trait Peer: Send + Sync {
    /// The offer to send, CRLF after every line.
    fn offer(&self) -> &str;

    /// Applies the master's answer, then the candidates that came before it.
    async fn accept_answer(&self, sdp: &str) -> Result<Negotiated, PeerError>;

    /// Adds a remote candidate of a media section of the offer; before the answer it is kept. There may be 64 of them, then
    /// and later.
    /// `Ok(false)` means it was ignored on purpose: empty, TCP, or an mDNS name.
    async fn add_remote_candidate(&self, candidate: &str, section: usize) -> Result<bool, PeerError>;

    /// Asks for lost packets again.
    async fn send_nack(&self, media_ssrc: u32, sequences: &[u16]) -> Result<(), PeerError>;

    /// Asks for a key frame.
    async fn send_pli(&self, media_ssrc: u32) -> Result<(), PeerError>;

    async fn stats(&self) -> PeerStats;

    /// Ends the connection and frees its sockets and TURN allocations.
    async fn close(&self);
}
