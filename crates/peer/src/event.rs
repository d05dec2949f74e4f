//! What a connection tells.

use crate::data::Message;
use kvs_media::{MediaKind, RtpPacket, SenderReport};

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
    /// Something came over the path again.
    Recovered,
    /// The relay that media comes over will not last: its server does not take the credential any more, say. Media still
    /// comes, for some minutes; another connection can be made meanwhile.
    RelayEnds {
        /// What the server said, in words.
        reason: String,
    },
    /// The master closed, or ended all its sources.
    Goodbye,
    /// It will not come up, or will not come back.
    Failed {
        /// How far it came.
        stage: Stage,
        /// What was seen, in words.
        reason: String,
    },
    /// One RTP packet, retransmissions unwrapped, possibly a duplicate, in order of arrival.
    Rtp {
        /// The track that it belongs to.
        kind: MediaKind,
        /// Of the track's own source, also when it came as a retransmission.
        packet: RtpPacket,
    },
    /// One message of a data channel, in order within its channel if that is ordered.
    Message(Message),
    /// One RTCP sender report.
    SenderReport(SenderReport),
}
