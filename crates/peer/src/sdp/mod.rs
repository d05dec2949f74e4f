//! What is offered to a master, and what it answered (RFC 8866, RFC 3264, RFC 8829).

mod answer;
mod candidate;
pub(crate) mod offer;
mod words;

pub use answer::{MAX_ANSWER, read_answer};
pub use candidate::{sendable_candidate, usable_candidate};
pub use offer::{MID_URI, TRANSPORT_CC_URI};

pub use kvs_media::Kind as MediaKind;
use std::fmt;
use thiserror::Error;

/// One format of a media section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Codec {
    /// H.264 (RFC 6184), 90 kHz.
    H264 {
        /// `profile-level-id` in lower case, six hexadecimal digits; `420010` when it is left out (RFC 6184, 8.1).
        profile_level_id: String,
        /// 0 when it is left out.
        packetization_mode: u8,
        /// `sprop-parameter-sets`: NAL units (SPS, PPS), decoded from base64.
        parameter_sets: Vec<Vec<u8>>,
    },
    /// Opus (RFC 7587), 48 kHz.
    Opus {
        /// `sprop-stereo=1`: the sender will likely send stereo.
        stereo: bool,
    },
    /// Retransmissions of another payload type (RFC 4588).
    Rtx {
        /// The payload type whose packets are sent again.
        apt: u8,
    },
}

/// A payload type and what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadFormat {
    /// 0 to 127.
    pub payload_type: u8,
    /// What is in it.
    pub codec: Codec,
}

/// An RTP header extension (RFC 8285).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderExtension {
    /// 1 to 255.
    pub id: u8,
    /// What is in it.
    pub uri: String,
}

/// One media section of our offer, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedSection {
    /// Audio or video.
    pub kind: MediaKind,
    /// `a=mid`.
    pub mid: String,
    /// The formats offered, in order of preference.
    pub formats: Vec<PayloadFormat>,
    /// The header extensions offered.
    pub extensions: Vec<HeaderExtension>,
}

/// One certificate fingerprint (RFC 8122).
#[derive(Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// The hash function.
    pub algorithm: HashAlgorithm,
    /// The digest, as long as the hash function says.
    pub digest: Vec<u8>,
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ", self.algorithm)?;
        self.digest.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

/// The hash functions of fingerprints that are compared (RFC 8122, section 5; MD5 and SHA-1 are not trusted).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HashAlgorithm {
    /// `sha-256`, 32 bytes.
    Sha256,
    /// `sha-384`, 48 bytes.
    Sha384,
    /// `sha-512`, 64 bytes.
    Sha512,
}

/// Who begins the DTLS handshake, as the master sees it (RFC 5763, section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// The master is the DTLS client; also what a missing attribute and `actpass` or `holdconn`, which no answer may have,
    /// are taken for: RFC 5763 recommends `active` to answerers.
    Active,
    /// The master waits for our ClientHello.
    Passive,
}

/// What reaching the master takes.
#[derive(Clone, PartialEq, Eq)]
pub struct RemoteTransport {
    /// `a=ice-ufrag`.
    pub ice_ufrag: String,
    /// `a=ice-pwd`. A secret.
    pub ice_pwd: String,
    /// `a=ice-lite`: the master only answers checks.
    pub ice_lite: bool,
    /// Every usable fingerprint; the certificate must match one.
    pub fingerprints: Vec<Fingerprint>,
    /// Who begins the DTLS handshake.
    pub setup: Setup,
    /// Usable candidates, each beginning with `candidate:`, without repetition, in the order of the answer.
    pub candidates: Vec<String>,
}

impl fmt::Debug for RemoteTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteTransport")
            .field("ice_ufrag", &self.ice_ufrag)
            .field("ice_lite", &self.ice_lite)
            .field("fingerprints", &self.fingerprints)
            .field("setup", &self.setup)
            .field("candidates", &self.candidates)
            .finish_non_exhaustive()
    }
}

/// One media section that the master will send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedSection {
    /// Audio or video.
    pub kind: MediaKind,
    /// The mid of the offered section.
    pub mid: String,
    /// The mid that the answer has for it, where that is another: packets may carry it.
    pub answered_mid: Option<String>,
    /// Which of [`Answer::transports`] it travels on.
    pub transport: usize,
    /// What may arrive, in the answer's order; behind them, under the numbers of the offer, what the answer has other
    /// numbers for. Never empty; holds at least one that is not [`Codec::Rtx`]; each payload type once.
    pub formats: Vec<PayloadFormat>,
    /// Header extensions of the offer: under the ids of the answer, behind them under those of the offer where the answer
    /// has none or another. An extension may be there twice, an id once.
    pub extensions: Vec<HeaderExtension>,
    /// SSRCs declared by `a=ssrc`, without those of retransmissions.
    pub ssrcs: Vec<u32>,
    /// `a=ssrc-group:FID`: (media, retransmissions).
    pub rtx_ssrcs: Vec<(u32, u32)>,
    /// The master takes `a=rtcp-fb … nack`.
    pub nack: bool,
    /// The master takes `a=rtcp-fb … transport-cc`.
    pub transport_cc: bool,
    /// The master takes `a=rtcp-fb … goog-remb`.
    pub remb: bool,
}

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
        "no codec in common with the master: {0}. The agent receives H.264 and Opus; make the master send one of them"
    )]
    CodecMismatch(String),
    /// A line without which no connection can come up is missing or unusable.
    #[error("the answer has no usable {0}")]
    Missing(String),
}
