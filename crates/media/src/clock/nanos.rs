//! The unit in which the clock computes.

/// Nanoseconds, since the connection began unless said otherwise.
pub(super) type Nanos = i64;

pub(super) const MS: Nanos = 1_000_000;
pub(super) const SECOND: Nanos = 1_000 * MS;
