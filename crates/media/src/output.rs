//! What comes out of the receivers.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::codec::{AccessUnitError, PayloadError, VideoFormat, VideoParameters};
use crate::keyframe::KeyFrameReason;

/// What a [`crate::VideoReceiver`] has to say.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum VideoOutput {
    /// A complete access unit that a decoder can decode after those before it.
    AccessUnit(AccessUnit),
    /// The access units that follow, from the next on, at which decoding can start, have this format. Comes in front of the first,
    /// too.
    FormatChanged(VideoFormat),
    /// No key frame has come for long, and no recovery point: from here on I pictures count as
    /// points at which decoding can start. Told once.
    KeyFramesAssumed,
    /// To be sent to the sender as a generic NACK (RFC 4585 section 6.2.1), numbers in order.
    Nack {
        /// SSRC of the media source.
        ssrc: u32,
        /// The missing packets, numbered as on the wire, in order.
        sequences: Vec<u16>,
    },
    /// To be sent to the sender as a PLI (RFC 4585 section 6.3.1).
    RequestKeyFrame(KeyFrameReason),
    /// Packets were given up. They may have been padding: whether pictures are missing is said by `Incomplete`.
    Lost(LossEvent),
    /// The payload of a packet, or a part of it, was skipped.
    Malformed(MalformedPacket),
    /// An access unit was dropped, and what follows will be until decoding can start again.
    Incomplete {
        /// SSRC of the media source.
        ssrc: u32,
        /// Of its packets or just behind them; continued past 2^32.
        rtp_timestamp: u64,
        /// What is wrong with it.
        reason: AccessUnitError,
    },
}

/// One encoded picture (ITU-T H.264 section 3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessUnit {
    /// NAL units, each behind its length of four bytes (ISO/IEC 14496-15, `avc1`). Delimiters and filler are left out,
    /// and where decoding can start the parameter sets. What was sent stands in it as it came; where decoding starts for want
    /// of anything better, a recovery point SEI is put in front that says so.
    pub data: Bytes,
    /// When it was captured, on the local wall clock: a time of presentation, so that it goes back with B pictures.
    pub capture_time: SystemTime,
    /// 90 kHz, continued past 2^32. Starts anew when the sender starts anew.
    pub rtp_timestamp: u64,
    /// Of one at which decoding can start, and only of one.
    pub parameters: Option<VideoParameters>,
}

impl AccessUnit {
    /// Decoding can start here: an IDR, of H.265 any random access point; a picture with a recovery point SEI, whose pictures
    /// are right a while later where it says so; a picture that refers to no other, when nothing better comes. What is presented
    /// before one that is no IDR may need what lies in front of it, unless recording begins with it.
    pub fn is_idr(&self) -> bool {
        self.parameters.is_some()
    }
}

/// What an [`crate::AudioReceiver`] has to say.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum AudioOutput {
    /// What sounds next, in order.
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
        /// SSRC of the media source.
        ssrc: u32,
        /// The missing packets, numbered as on the wire, in order.
        sequences: Vec<u16>,
    },
    /// Packets were given up.
    Lost(LossEvent),
    /// The payload is not of the track's codec, and was skipped.
    Malformed(MalformedPacket),
}

/// One packet of encoded audio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioPacket {
    /// The RTP payload as it came.
    pub data: Bytes,
    /// When its first sample was captured, on the local wall clock.
    pub capture_time: SystemTime,
    /// In units of the codec's clock, continued past 2^32. Starts anew when the sender starts anew.
    pub rtp_timestamp: u64,
    /// How long it sounds.
    pub duration: Duration,
    /// It has two channels.
    pub stereo: bool,
}

/// Sequence numbers that were given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossEvent {
    /// SSRC of the media source.
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
    /// SSRC of the media source.
    pub ssrc: u32,
    /// As on the wire.
    pub sequence: u16,
    /// What is wrong with its payload.
    pub error: PayloadError,
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
