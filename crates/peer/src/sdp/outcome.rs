//! What comes of reading an answer.

use super::section::AcceptedSection;
use super::transport::RemoteTransport;
use kvs_media::MediaKind;
use thiserror::Error;

/// Longest answer that is read, in bytes. One that fits a signaling message of KVS has at most 7500.
pub const MAX_ANSWER: usize = 65_536;

/// What the master agreed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// One for the sections of a BUNDLE group (RFC 9143), for sections with the same ICE credentials, and for a single
    /// section; else one for each section that is not rejected, those that send nothing last.
    pub transports: Vec<RemoteTransport>,
    /// For each section of the offer the index of its transport, if it has one.
    pub by_section: Vec<Option<usize>>,
    /// At least one.
    pub sections: Vec<AcceptedSection>,
    /// Data channels, where they were offered and are accepted.
    pub data: Option<AcceptedData>,
    /// What was offered and not taken, in words for a person.
    pub refused: Vec<String>,
    /// Lines that were passed over, each with why: for one log line.
    pub left_out: Vec<String>,
}

impl Answer {
    /// The accepted section of this kind.
    pub fn section(&self, kind: MediaKind) -> Option<&AcceptedSection> {
        self.sections.iter().find(|section| section.kind == kind)
    }
}

/// Data channels as the master accepted them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptedData {
    /// Which of [`Answer::transports`] they travel on.
    pub transport: usize,
    /// The port of its SCTP (RFC 8841, section 5.1).
    pub sctp_port: u16,
}

/// Why an answer cannot lead to media.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// There is no SDP in it.
    #[error("the answer is not SDP: it has no media section")]
    NotSdp,
    /// It has so many bytes, more than [`MAX_ANSWER`].
    #[error("the answer has {0} bytes, more than the {MAX_ANSWER} that are read")]
    TooLong(usize),
    /// Nothing that was offered was accepted.
    #[error(
        "no codec in common with the master: {refused}. The agent receives {offered}; make the master send one of them"
    )]
    CodecMismatch {
        /// Why, section by section.
        refused: String,
        /// The codecs.
        offered: String,
    },
    /// A line without which no connection can come up is missing or unusable.
    #[error("the answer has no usable {0}")]
    Missing(String),
}
