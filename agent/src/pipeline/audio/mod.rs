//! The audio branch: `opusdec ! retime ! voaacenc`, without `opusdec` for G.711, which is decoded in Rust. Sound is put on one unbroken grid of samples that follows the
//! capture times of its packets.

mod codec;
mod element;
mod g711;
mod rate;
mod resample;
mod retime;

pub(super) use codec::{Decoder, ENCODER};
pub(super) use element::Retime;
pub(super) use g711::{G711Decoder, Sound};
pub(super) use rate::RATE;
pub(super) use retime::RetimeFigures;
