//! The audio branch: `opusdec ! retime ! voaacenc`. Sound is put on one unbroken grid of samples that follows the
//! capture times of its packets.

mod codec;
mod element;
mod resample;
mod retime;

pub(super) use codec::{Decoder, ENCODER, RATE};
pub(super) use element::Retime;
pub(super) use retime::RetimeFigures;
