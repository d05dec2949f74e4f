//! Media of a WebRTC sender, sans-IO: RTP packets in; H.264 access units and Opus packets out, in order, complete, and
//! with the wall-clock time of their capture.
//!
//! [`MediaReceiver`] is the front: it holds a [`VideoReceiver`], an [`AudioReceiver`], and the [`SenderClock`] that they
//! share. Packet loss is repaired here ([`ReorderConfig`]): the caller only sends the NACKs and PLIs that come out.
//!
//! No sockets, no threads, no clock of its own; nothing that a sender can send makes it panic or grow without bound.
#![forbid(unsafe_code)]

mod audio;
mod clock;
mod flow;
mod h264;
mod inbound;
mod keyframe;
mod opus;
mod output;
mod receiver;
mod reorder;
mod rtp;
mod stats;
#[cfg(test)]
mod testing;
mod unwrap;
mod video;

pub use audio::{AudioConfig, AudioReceiver};
pub use clock::{ClockStats, Kind, SenderClock, Stamp, TimeSource};
pub use flow::{Flow, Withheld, WithheldCounts};
pub use h264::{Broken, H264Depacketizer, H264Error, ParameterError, Sps, SpsError, VideoFormat};
pub use keyframe::{KeyFrameConfig, KeyFrameReason};
pub use opus::opus_duration;
pub use output::{
    AccessUnit, AudioOutput, AudioPacket, LossEvent, MalformedPacket, PayloadError, VideoOutput,
};
pub use receiver::{MediaConfig, MediaOutput, MediaReceiver};
pub use reorder::ReorderConfig;
pub use rtp::{RtpError, RtpPacket, SenderReport};
pub use stats::InboundStats;
pub use video::{VideoConfig, VideoReceiver};
