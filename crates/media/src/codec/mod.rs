//! The seam between what is the same for every codec (order, repair, key-frame requests, time) and what is not.
//!
//! A codec is a variant of [`VideoCodec`] or [`AudioCodec`] and a module here; everything that has to be decided for it is
//! then a `match` that does not compile. Nothing outside of this module looks into a payload.

mod audio;
mod error;
mod format;
mod h264;
mod h265;
pub(crate) mod nal;
mod name;
mod opus;
mod unit;
mod video;

pub(crate) use audio::AudioPayload;
pub use error::PayloadError;
pub use format::{VideoFormat, VideoParameters};
pub use h264::{H264, Sps};
pub use h265::{H265, H265Sps};
pub use nal::{Depacketizer, NalCodec, NalError, ParameterError, SpsError};
pub use name::{AudioCodec, VideoCodec};
pub use opus::opus_duration;
pub use unit::AccessUnitError;
#[cfg(test)]
pub(crate) use unit::Start;
pub(crate) use unit::{Completed, StartKind, UntimedAccessUnit};
pub(crate) use video::VideoStream;
