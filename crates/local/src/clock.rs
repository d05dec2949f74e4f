//! The wall clock, in the units of the service.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

/// Milliseconds as rest-json writes a time: seconds since 1970 with a fraction.
pub(crate) fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}
