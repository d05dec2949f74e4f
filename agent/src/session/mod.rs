//! When to connect, to offer, to offer again, to give up and to begin anew: one pure state machine.
//!
//! It has no clock, no socket and no task. The shell feeds it [`Input`]s and carries out the
//! [`Action`]s; between inputs it calls [`Session::handle`] with [`Input::Tick`] at
//! [`Session::poll_timeout`].

mod answer;
mod failure;
mod ids;
mod machine;
mod patience;
#[cfg(test)]
mod tests;
mod timing;
mod view;

use std::time::Duration;

pub use failure::{Failure, FailureKind};
pub use kvs_ingest_api::Phase;
pub use machine::Session;
pub use timing::Timing;
pub use view::View;

/// What the session learns.
#[derive(Clone, Debug)]
pub enum Input {
    /// Nothing happened but time.
    Tick,
    /// The channel was looked up, in reply to [`Action::Resolve`] with the same number.
    Resolved {
        /// The number of the action.
        attempt: u64,
        /// For how long the channel holds undelivered messages, or why the look-up failed.
        result: Result<Duration, Failure>,
    },
    /// The signaling socket is up, or could not be opened.
    SignalingOpened {
        /// The number of the action.
        attempt: u64,
        /// Why not.
        result: Result<(), Failure>,
    },
    /// The signaling socket of this attempt ended.
    SignalingClosed {
        /// The number of the action that opened it.
        attempt: u64,
        /// In words.
        reason: String,
    },
    /// The service will close the socket within a minute.
    GoAway,
    /// The TURN servers in use will go away.
    ReconnectIceServer,
    /// The master's answer.
    Answer {
        /// SDP text.
        sdp: String,
    },
    /// A candidate from the master.
    RemoteCandidate {
        /// Candidate text.
        candidate: String,
        /// Of which media section of the offer (`sdpMLineIndex`).
        section: usize,
    },
    /// The service refused a message of ours.
    Refused {
        /// `errorType` of the STATUS_RESPONSE.
        error_type: String,
        /// Its description, or the status code.
        description: String,
    },
    /// The peer was built, in reply to [`Action::CreatePeer`], or not.
    PeerCreated {
        /// Which peer.
        generation: u64,
        /// Why not.
        result: Result<(), Failure>,
    },
    /// A local candidate of the peer.
    LocalCandidate {
        /// Which peer.
        generation: u64,
        /// Candidate text.
        candidate: String,
    },
    /// The answer was applied, or cannot lead to media.
    AnswerApplied {
        /// Which peer.
        generation: u64,
        /// What the master does not send although it was offered, in words; or why it failed.
        result: Result<Option<String>, Failure>,
    },
    /// ICE and DTLS are up; or the master answers ICE checks again after
    /// [`Input::PeerDisconnected`].
    PeerConnected {
        /// Which peer.
        generation: u64,
    },
    /// The master has not answered ICE checks for some seconds.
    PeerDisconnected {
        /// Which peer.
        generation: u64,
    },
    /// The master has ended the connection and said so.
    PeerEnded {
        /// Which peer.
        generation: u64,
    },
    /// ICE or DTLS is gone.
    PeerFailed {
        /// Which peer.
        generation: u64,
        /// Which, and what was seen.
        reason: String,
    },
    /// Media arrived since the last such input.
    Media {
        /// Which peer.
        generation: u64,
        /// Frames come out of it (from the first key frame on), rather than packets only.
        flowing: bool,
    },
    /// Which of the tracks are stored has changed.
    Tracks {
        /// Which peer.
        generation: u64,
        /// What is not, by a reason and in words ([`crate::tracks::missing`]).
        missing: Option<(&'static str, String)>,
    },
    /// The pair in use is known.
    PairSelected {
        /// Which peer.
        generation: u64,
        /// Media goes through TURN.
        relayed: bool,
    },
    /// End it all.
    Stop,
}

/// What the shell is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Describe the channel, its media storage and its endpoints.
    Resolve {
        /// To be given back.
        attempt: u64,
    },
    /// Open the signaling socket as this viewer; an older one is to be dropped first.
    OpenSignaling {
        /// To be given back.
        attempt: u64,
        /// The viewer's client id.
        client_id: String,
    },
    /// Close the signaling socket.
    CloseSignaling,
    /// Fetch ICE servers and build a peer.
    CreatePeer {
        /// To be given back.
        generation: u64,
        /// The viewer's client id.
        client_id: String,
    },
    /// Close this peer, if it is there.
    ClosePeer {
        /// Which peer.
        generation: u64,
    },
    /// Send the peer's offer.
    SendOffer {
        /// Which peer.
        generation: u64,
        /// Candidates to write into it: those found since the peer was made. They spare messages,
        /// and a master that comes late has no other way to learn them.
        candidates: Vec<String>,
    },
    /// Trickle a local candidate.
    SendCandidate {
        /// Candidate text.
        candidate: String,
    },
    /// Apply the master's answer.
    ApplyAnswer {
        /// Which peer.
        generation: u64,
        /// SDP text.
        sdp: String,
    },
    /// Hand the peer a remote candidate.
    AddCandidate {
        /// Which peer.
        generation: u64,
        /// Candidate text.
        candidate: String,
        /// Of which media section of the offer.
        section: usize,
    },
    /// Media stalls: ask for a key frame.
    RequestKeyFrame {
        /// Which peer.
        generation: u64,
    },
    /// Something failed; it is being dealt with, and worth a log line.
    Report(Failure),
}
