//! What is in stored fragments, as players need it: codecs, NAL units, timed samples. Sans-IO.

mod audio;
mod bits;
mod codec;
mod config;
mod error;
pub(super) mod nal;
mod samples;
mod sps;
#[cfg(test)]
pub(super) mod stored;
mod video;

pub(super) use self::audio::RATES;
pub(super) use self::config::{AudioCodec, AudioConfig, Config, VideoCodec, VideoConfig};
pub(super) use self::error::MediaError;
pub(super) use self::samples::{Sample, TrackSamples, configs, read};
pub(crate) use self::sps::h264_size;
