//! A video stream of any codec: a depacketizer and an assembler of access units for each.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::error::PayloadError;
use super::format::VideoFormat;
use super::h264::{self, H264};
use super::h265::{self, H265};
use super::nal::{NalStream, announces_key_frame, is_of_key_frame};
use super::name::VideoCodec;
use super::unit::Completed;
use crate::rtp::RtpPacket;

/// Packets in the order of their sequence numbers in, access units out. What it holds between packets is bounded by the
/// largest access unit that is believed.
pub(crate) enum VideoStream {
    H264(NalStream<H264>),
    H265(NalStream<H265>),
}

impl VideoStream {
    /// `told`: parameter sets that were told before the stream has sent any, without start codes, by payload type.
    pub(crate) fn new(codec: VideoCodec, told: BTreeMap<u8, Vec<Bytes>>) -> Self {
        match codec {
            VideoCodec::H264 => Self::H264(NalStream::new(told)),
            VideoCodec::H265 => Self::H265(NalStream::new(told)),
        }
    }

    /// A packet with this payload says that a key frame is on its way.
    pub(crate) fn announces_key_frame(&self, payload: &[u8]) -> bool {
        match self {
            Self::H264(_) => announces_key_frame::<H264>(payload),
            Self::H265(_) => announces_key_frame::<H265>(payload),
        }
    }

    /// A packet with this payload holds a part of a key frame's picture.
    pub(crate) fn is_of_key_frame(&self, payload: &[u8]) -> bool {
        match self {
            Self::H264(_) => is_of_key_frame::<H264>(payload),
            Self::H265(_) => is_of_key_frame::<H265>(payload),
        }
    }

    /// So many packets are missing here.
    pub(crate) fn lost(&mut self, count: u64) {
        match self {
            Self::H264(stream) => stream.lost(count),
            Self::H265(stream) => stream.lost(count),
        }
    }

    /// The stream starts afresh here: what was begun is thrown away.
    pub(crate) fn restart(&mut self) {
        match self {
            Self::H264(stream) => stream.restart(),
            Self::H265(stream) => stream.restart(),
        }
    }

    /// A packet with this extended timestamp comes next. Gives the access unit before it, if no marker bit ended that.
    pub(crate) fn begin(&mut self, timestamp: u64) -> Option<Completed> {
        match self {
            Self::H264(stream) => stream.begin(timestamp),
            Self::H265(stream) => stream.begin(timestamp),
        }
    }

    /// The packet that [`Self::begin`] announced. What is wrong with its payload goes to `malformed`, piece by piece. Gives
    /// the access unit that it ends.
    pub(crate) fn push(
        &mut self,
        packet: &RtpPacket,
        mut malformed: impl FnMut(PayloadError),
    ) -> Option<Completed> {
        match self {
            Self::H264(stream) => stream.push(packet, |error| {
                malformed(PayloadError::Nal { codec: VideoCodec::H264, error });
            }),
            Self::H265(stream) => stream.push(packet, |error| {
                malformed(PayloadError::Nal { codec: VideoCodec::H265, error });
            }),
        }
    }

    /// Nothing follows. Gives the access unit that no marker bit ended, of a sender that has shown to set none.
    pub(crate) fn end(&mut self) -> Option<Completed> {
        match self {
            Self::H264(stream) => stream.end(),
            Self::H265(stream) => stream.end(),
        }
    }
}

impl VideoFormat {
    /// The profile's name, in lower case.
    pub fn profile_name(&self) -> String {
        match self.codec {
            VideoCodec::H264 => h264::profile_name(self.profile_idc, self.constraint_flags),
            VideoCodec::H265 => h265::profile_name(self.profile_idc),
        }
    }
}
