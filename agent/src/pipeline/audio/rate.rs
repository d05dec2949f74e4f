//! The rate of the grid.

/// Samples per second of all that is decoded, and of the AAC.
pub(in crate::pipeline) const RATE: u32 = 48_000;
