//! What the session learns.

use super::failure::Failure;
use super::view::Missing;
use std::time::Duration;

/// A generation names a peer; what belongs to an older one is ignored.
#[derive(Clone, Debug)]
pub enum Input {
    /// Nothing happened but time.
    Tick,
    /// The channel was looked up, in reply to [`Action::Resolve`](super::Action::Resolve) of the same attempt.
    Resolved {
        attempt: u64,
        /// For how long the channel holds undelivered messages, or why the look-up failed.
        result: Result<Duration, Failure>,
    },
    /// The signaling socket is up, or could not be opened.
    SignalingOpened {
        attempt: u64,
        result: Result<(), Failure>,
    },
    /// The signaling socket of this attempt ended.
    SignalingClosed {
        attempt: u64,
        reason: String,
    },
    /// The service will close the socket within a minute.
    GoAway,
    /// The TURN servers in use will go away.
    ReconnectIceServer,
    Answer {
        sdp: String,
    },
    RemoteCandidate {
        candidate: String,
        /// `sdpMLineIndex`: media section of the offer, from 0.
        section: usize,
    },
    /// The service refused a message of ours.
    Refused {
        /// `errorType` of the STATUS_RESPONSE.
        error_type: String,
        /// Its description, or the status code.
        description: String,
    },
    /// The peer was built, in reply to [`Action::CreatePeer`](super::Action::CreatePeer), or not.
    PeerCreated {
        generation: u64,
        /// For how long the credentials of its TURN servers are good, if it has some; or why it was not built.
        result: Result<Option<Duration>, Failure>,
    },
    LocalCandidate {
        generation: u64,
        candidate: String,
    },
    /// The answer was applied, or cannot lead to media.
    AnswerApplied {
        generation: u64,
        /// What the master does not send although it was offered, in words; or why it failed.
        result: Result<Option<String>, Failure>,
    },
    /// ICE and DTLS are up; or the master answers ICE checks again after
    /// [`Input::PeerDisconnected`].
    PeerConnected {
        generation: u64,
    },
    /// The master has not answered ICE checks for some seconds.
    PeerDisconnected {
        generation: u64,
    },
    /// The master has ended the connection and said so.
    PeerEnded {
        generation: u64,
    },
    /// The relay that media comes over will not last; it still does for some minutes.
    RelayEnds {
        generation: u64,
        /// What the TURN server said.
        reason: String,
    },
    /// ICE or DTLS is gone.
    PeerFailed {
        generation: u64,
        /// Which, and what was seen.
        reason: String,
    },
    /// Media arrived since the last such input.
    Media {
        generation: u64,
        /// Frames come out of it (from the first key frame on), rather than packets only.
        flowing: bool,
    },
    /// Which of the tracks are stored has changed.
    Tracks {
        generation: u64,
        /// What there is to say beside that media flows ([`crate::tracks::missing`]).
        missing: Option<Missing>,
    },
    /// The pair in use is known.
    PairSelected {
        generation: u64,
        /// Media goes through TURN.
        relayed: bool,
    },
    Stop,
}
