//! Opus and AAC, as they are decoded and encoded here: their rate and their delays.

/// Samples per second, of all of it.
pub(in crate::pipeline) const RATE: u32 = 48_000;
/// What comes out of `opusdec` sounded so many samples earlier: the encoder's look-ahead (RFC 7845 section 4.2 puts 312
/// samples of it into every `OpusHead`; libopus has had it for all of its life).
const OPUS_DELAY: u64 = 312;
/// `voaacenc`: a frame of 1024 samples begins with what went in so many samples before it (measured with a pulse,
/// `pipeline/tests.rs`).
pub(super) const AAC_DELAY: u64 = 1600;
/// By so much a buffer is stamped earlier than its samples would be without the two.
pub(super) const DELAY_NANOS: u64 = (OPUS_DELAY + AAC_DELAY) * 1_000_000_000 / RATE as u64;
