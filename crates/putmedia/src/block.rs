//! A frame in its fragment.

use bytes::Bytes;

use crate::TrackKind;

/// Bookkeeping of a block, counted against the storage bound beside its payload.
pub(crate) const BLOCK_OVERHEAD: usize = 64;

/// A frame in its fragment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Block {
    pub(crate) kind: TrackKind,
    /// Milliseconds after the fragment's start. Negative never: for an earlier frame the start is lowered, or it goes
    /// into a fragment of its own.
    pub(crate) offset_ms: u32,
    pub(crate) key: bool,
    pub(crate) data: Bytes,
}
