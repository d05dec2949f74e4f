//! What is counted.

use std::hint::black_box;

/// callgrind begins to count when this is entered and ends when it is left. It knows it by its name.
#[inline(never)]
pub fn counted_region<T>(run: impl FnOnce() -> T) -> T {
    black_box(run())
}
