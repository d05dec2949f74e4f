//! The audio branch: `opusdec ! retime ! voaacenc`. Sound is put on one unbroken grid of samples that follows the
//! capture times of its packets.

mod element;
mod resample;
mod retime;

pub use element::Retime;
pub use retime::RetimeFigures;

/// Samples per second, of all of it.
pub(super) const RATE: u32 = 48_000;
/// What comes out of `opusdec` sounded so many samples earlier: the encoder's look-ahead (RFC 7845 section 4.2 puts 312
/// samples of it into every `OpusHead`; libopus has had it for all of its life).
const OPUS_DELAY: u64 = 312;
/// `voaacenc`: a frame of 1024 samples begins with what went in so many samples before it (measured with a pulse,
/// [`super::tests`]).
const AAC_DELAY: u64 = 1600;
/// By so much a buffer is stamped earlier than its samples would be without the two.
const DELAY_NANOS: u64 = (OPUS_DELAY + AAC_DELAY) * 1_000_000_000 / RATE as u64;
