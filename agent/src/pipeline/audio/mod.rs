//! From packets to what the AAC encoder takes: decoded, and put on one unbroken grid of samples that follows their capture times. In
//! Rust, and without GStreamer.

mod codec;
mod front;
mod g711;
mod opus;
mod rate;
mod resample;
mod retime;

pub(super) use codec::ENCODER;
pub(super) use front::Front;
pub(super) use rate::RATE;
pub(super) use retime::Pcm;
#[cfg(test)]
pub(super) use retime::RetimeFigures;
