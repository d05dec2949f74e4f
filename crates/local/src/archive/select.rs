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

impl Selector {
    /// Whether a fragment begins within the range.
    #[must_use]
    pub fn takes(&self, info: &FragmentInfo) -> bool {
        (self.from_ms..=self.to_ms).contains(&self.kind.of(info))
    }
}

/// Where a page ends: producer's time and number of its last fragment.
pub type Position = (u64, String);

/// Some fragments, and where the next page starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// In the order of their producer times.
    pub fragments: Vec<Arc<FragmentInfo>>,
    /// What the next page comes after, unless this is the last.
    pub next: Option<Position>,
}

/// A page of at most `most` of `all`, which are in the order of their producer times and numbers.
#[must_use]
pub fn select(
    all: &[Arc<FragmentInfo>],
    selector: Option<Selector>,
    most: usize,
    after: Option<&Position>,
) -> Page {
    let position = |info: &FragmentInfo| (info.producer_ms, info.number.clone());
    let mut wanted = all
        .iter()
        .filter(|info| selector.is_none_or(|selector| selector.takes(info)))
        .filter(|info| after.is_none_or(|after| position(info) > *after));
    let fragments: Vec<_> = wanted.by_ref().take(most).cloned().collect();
    let next = wanted.next().and(fragments.last()).map(|last| position(last));
    Page { fragments, next }
}

#[cfg(test)]
mod tests {
    use super::super::index::SessionInfo;
    use super::*;

    fn all() -> Vec<Arc<FragmentInfo>> {
        (1..=6_u64)
            .map(|n| {
                Arc::new(FragmentInfo {
                    number: n.to_string(),
                    // two of them were sent again
                    producer_ms: n.min(4) * 1_000,
                    server_ms: n * 1_000 + 500,
                    persisted_ms: 0,
                    duration_ms: 1_000,
                    size: 1,
                    video_frames: 1,
                    audio_frames: 0,
                    header: String::new(),
                    session: SessionInfo::default(),
                })
            })
            .collect()
    }

    #[test]
    fn pages_cover_everything_once() {
        let all = all();
        let mut seen = Vec::new();
        let mut after: Option<Position> = None;
        loop {
            let page = select(&all, None, 2, after.as_ref());
            assert!(page.fragments.len() <= 2);
            seen.extend(page.fragments);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, all);
    }

    #[test]
    fn a_range_is_of_the_time_that_it_names() {
        let all = all();
        let starts = |kind, from_ms, to_ms| {
            let page = select(&all, Some(Selector { kind, from_ms, to_ms }), 10, None);
            page.fragments.iter().map(|info| info.producer_ms).collect::<Vec<_>>()
        };
        assert_eq!(starts(TimestampKind::Producer, 2_000, 3_000), [2_000, 3_000]);
        assert_eq!(starts(TimestampKind::Server, 2_000, 3_000), [2_000]);
    }
}
