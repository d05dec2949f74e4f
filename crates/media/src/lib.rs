//! Media of a WebRTC sender, sans-IO: RTP packets in; access units and audio packets out, in order, complete, and with the
//! wall-clock time of their capture. Which codecs, [`VideoCodec`] and [`AudioCodec`] say.
//!
//! [`MediaReceiver`] is the front: it holds a [`VideoReceiver`], an [`AudioReceiver`], and the [`SenderClock`] that they
//! share. Packet loss is repaired here ([`ReorderConfig`]): the caller only sends the NACKs and PLIs that come out.
//!
//! No sockets, no threads, no clock of its own; nothing that a sender can send makes it panic or grow without bound.
#![forbid(unsafe_code)]

mod audio;
mod clock;
mod codec;
mod flow;
mod inbound;
mod keyframe;
mod media_kind;
mod output;
mod receiver;
mod reorder;
mod round_trip;
mod rtp;
mod stats;
#[cfg(test)]
mod testing;
mod unwrap;
mod video;

pub use audio::{AudioConfig, AudioReceiver};
pub use clock::{ClockStats, SenderClock, Stamp, TimeSource};
pub use codec::{
    AccessUnitError, AudioCodec, Depacketizer, H264, H265, H265Sps, NalCodec, NalError, ParameterError,
    PayloadError, Sps, SpsError, VideoCodec, VideoFormat, VideoParameters, opus_duration,
};
pub use flow::{Flow, Withheld, WithheldCounts};
pub use keyframe::{KeyFrameConfig, KeyFrameReason};
pub use media_kind::{MediaKind, PerTrack};
pub use output::{AccessUnit, AudioOutput, AudioPacket, LossEvent, MalformedPacket, VideoOutput};
pub use receiver::{MediaConfig, MediaOutput, MediaReceiver};
pub use reorder::ReorderConfig;
pub use rtp::{RtpError, RtpPacket, SenderReport};
pub use stats::InboundStats;
pub use video::{VideoConfig, VideoReceiver};
