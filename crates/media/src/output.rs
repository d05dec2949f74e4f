//! What comes out of the receivers.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::h264::{Broken, H264Error, ParameterError, VideoFormat};
use crate::keyframe::KeyFrameReason;

/// What a [`crate::VideoReceiver`] has to say.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum VideoOutput {
    /// A complete access unit that a decoder can decode after those before it.
    AccessUnit(AccessUnit),
    /// The access units that follow, from the next on, which is an IDR, have this format. Comes in front of the first,
    /// too.
    FormatChanged(VideoFormat),
    /// To be sent to the sender as a generic NACK (RFC 4585 section 6.2.1), numbers in order.
    Nack {
        /// Media source.
        ssrc: u32,
        /// What is missing.
        sequences: Vec<u16>,
    },
    /// To be sent to the sender as a PLI (RFC 4585 section 6.3.1).
    RequestKeyFrame(KeyFrameReason),
    /// Packets were given up. They may have been padding: whether pictures are missing is said by `Incomplete`.
    Lost(LossEvent),
    /// The payload of a packet, or a part of it, was skipped.
    Malformed(MalformedPacket),
    /// An access unit was dropped, and what follows until the next IDR will be.
    Incomplete {
        /// Of the stream.
        ssrc: u32,
        /// Extended.
        rtp_timestamp: u64,
        /// Why.
        reason: Broken,
    },
}

/// One picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessUnit {
    /// NAL units, each behind its length of four bytes (ISO/IEC 14496-15, `avc1`). Delimiters and filler are left out,
    /// and of an IDR its parameter sets.
    pub data: Bytes,
    /// When it was captured, on the local wall clock: a time of presentation, so that it goes back with B pictures.
    pub capture_time: SystemTime,
    /// 90 kHz, continued past 2^32. Starts anew when the sender starts anew.
    pub rtp_timestamp: u64,
    /// It has IDR slices: decoding can start here.
    pub idr: bool,
    /// What its SPS says; of an IDR only.
    pub format: Option<VideoFormat>,
    /// Its parameter sets, as an AVCDecoderConfigurationRecord (ISO/IEC 14496-15, section 5.3.3.1); of an IDR only.
    pub configuration_record: Option<Bytes>,
}

/// What an [`crate::AudioReceiver`] has to say.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum AudioOutput {
    /// A packet.
    Packet(AudioPacket),
    /// Nothing sounds here: packets were lost, or the sender sent none (DTX).
    Gap {
        /// The end of the packet before.
        at: SystemTime,
        /// Up to the packet that follows, or up to now.
        duration: Duration,
    },
    /// To be sent to the sender, if [`crate::ReorderConfig::nack`] is set for audio.
    Nack {
        /// Media source.
        ssrc: u32,
        /// What is missing.
        sequences: Vec<u16>,
    },
    /// Packets were given up.
    Lost(LossEvent),
    /// The payload is not an Opus packet, and was skipped.
    Malformed(MalformedPacket),
}

/// One Opus packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioPacket {
    /// As it came.
    pub data: Bytes,
    /// When its first sample was captured, on the local wall clock.
    pub capture_time: SystemTime,
    /// 48 kHz, continued past 2^32. Starts anew when the sender starts anew.
    pub rtp_timestamp: u64,
    /// How long it sounds.
    pub duration: Duration,
}

/// Sequence numbers that were given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossEvent {
    /// Of the stream.
    pub ssrc: u32,
    /// The first of them,
    pub first: u16,
    /// and how many, one after the other.
    pub count: u64,
}

impl fmt::Display for LossEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SSRC {:#010x}: lost {} packets from sequence {}", self.ssrc, self.count, self.first)
    }
}

/// A payload that broke its format, with all that is needed to find the packet in a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("SSRC {ssrc:#010x} sequence {sequence}: {error}")]
pub struct MalformedPacket {
    /// Of the packet.
    pub ssrc: u32,
    /// Of the packet.
    pub sequence: u16,
    /// What is wrong.
    pub error: PayloadError,
}

/// What can be wrong with a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// RFC 6184.
    #[error(transparent)]
    H264(#[from] H264Error),
    /// An SPS or PPS.
    #[error(transparent)]
    Parameters(#[from] ParameterError),
    /// RFC 6716.
    #[error("{0} bytes are not an Opus packet")]
    Opus(usize),
}

/// Outputs that wait to be polled. One packet can complete all that a full reorder buffer held, so the bound is above
/// that; a caller who does not poll after each call loses the newest, which are counted.
#[derive(Debug)]
pub(crate) struct Outputs<T> {
    queue: VecDeque<T>,
}

const MAX_OUTPUTS: usize = 16_384;

impl<T> Outputs<T> {
    pub(crate) fn new() -> Self {
        Self { queue: VecDeque::new() }
    }

    /// False when it was full.
    pub(crate) fn push(&mut self, output: T) -> bool {
        let fits = self.queue.len() < MAX_OUTPUTS;
        if fits {
            self.queue.push_back(output);
        }
        fits
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        self.queue.pop_front()
    }
}
