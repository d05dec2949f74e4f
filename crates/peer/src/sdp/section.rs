//! One media section: as we offered it, and as the master accepted it.

use super::codec::{Codec, PayloadFormat};
use kvs_media::MediaKind;

/// An RTP header extension (RFC 8285).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderExtension {
    /// 1 to 255.
    pub id: u8,
    /// Names its meaning.
    pub uri: String,
}

/// One media section of our offer, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedSection {
    /// Audio or video.
    pub kind: MediaKind,
    /// `a=mid`, its number in the offer.
    pub mid: String,
    /// The formats offered, in order of preference.
    pub formats: Vec<PayloadFormat>,
    /// The header extensions offered.
    pub extensions: Vec<HeaderExtension>,
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
    /// Which of [`crate::sdp::Answer::transports`] it travels on.
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

impl AcceptedSection {
    /// What is received of it: of several codecs that of the answer's first format.
    pub fn codec(&self) -> Option<&Codec> {
        self.formats.iter().map(|format| &format.codec).find(|codec| !codec.is_rtx())
    }
}
