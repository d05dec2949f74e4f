//! What the session decides.

use super::failure::Failure;

/// What the shell is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Describe the channel, its media storage and its endpoints.
    Resolve {
        attempt: u64,
    },
    /// Open the signaling socket as this viewer; an older one is to be dropped first.
    OpenSignaling {
        attempt: u64,
        client_id: String,
    },
    CloseSignaling,
    /// Fetch ICE servers and build a peer.
    CreatePeer {
        generation: u64,
        client_id: String,
    },
    /// Another peer is made beside this one; it is recorded from until [`Action::ClosePeer`], or until the other one brings
    /// frames.
    LeavePeer {
        generation: u64,
    },
    /// Close this peer, if it is there.
    ClosePeer {
        generation: u64,
    },
    SendOffer {
        generation: u64,
        /// Candidates to write into it: those found since the peer was made. They spare messages,
        /// and a master that comes late has no other way to learn them.
        candidates: Vec<String>,
    },
    /// Trickles a local candidate.
    SendCandidate {
        candidate: String,
    },
    /// Applies the master's answer.
    ApplyAnswer {
        generation: u64,
        sdp: String,
    },
    /// Hands the peer a remote candidate.
    AddCandidate {
        generation: u64,
        candidate: String,
        /// Media section of the offer, from 0.
        section: usize,
    },
    /// Media stalls: ask for a key frame.
    RequestKeyFrame {
        generation: u64,
    },
    /// Something failed; it is being dealt with, and worth a log line.
    Report(Failure),
}
