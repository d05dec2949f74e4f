//! Which fragments a reader wants: FragmentSelector and pages of ListFragments.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::index::FragmentInfo;

/// Whose time is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimestampKind {
    /// When the producer captured its first frame.
    Producer,
    /// When the service began to receive the fragment.
    Server,
}

/// `FragmentSelector`: fragments whose start lies within the range, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selector {
    /// Whose time the range is of.
    pub kind: TimestampKind,
    /// First millisecond of the range, since 1970.
    pub from_ms: u64,
    /// Last millisecond of the range, since 1970.
    pub to_ms: u64,
}

impl TimestampKind {
    /// When a fragment begins, in milliseconds since 1970.
    #[must_use]
    pub fn of(self, info: &FragmentInfo) -> u64 {
        match self {
            Self::Producer => info.producer_ms,
            Self::Server => info.server_ms,
        }
    }
}

/// A fragment's place in an order: a time, milliseconds since 1970, and its number. Where a page ends it is the producer's.
pub type Position = (u64, String);

/// Where GetMedia begins, beside the numbers and tokens of fragments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With what comes next.
    Now,
    /// With the first fragment of this server time, milliseconds since 1970, or later.
    Server(u64),
    /// With the fragment that holds this producer time, milliseconds since 1970, or the next.
    Producer(u64),
}

/// Some fragments, and where the next page starts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Page {
    /// In the order of their producer times and numbers.
    pub fragments: Vec<Arc<FragmentInfo>>,
    /// What the next page comes after, unless this is the last.
    pub next: Option<Position>,
}

impl Page {
    /// At most `most` of what is there.
    pub(super) fn cut<'a>(rest: impl Iterator<Item = &'a Arc<FragmentInfo>>, most: usize) -> Self {
        let mut rest = rest;
        let fragments: Vec<_> = rest.by_ref().take(most).cloned().collect();
        let next = rest.next().and(fragments.last()).map(|last| (last.producer_ms, last.number.clone()));
        Self { fragments, next }
    }
}
