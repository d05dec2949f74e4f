//! [`StreamState`]: the fragments of a stream in each order in which they are asked for.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use super::{index::FragmentInfo, select::Position};

#[derive(Default)]
pub(super) struct StreamState {
    /// By number, which is the order of arrival.
    pub(super) fragments: BTreeMap<String, Arc<FragmentInfo>>,
    /// By producer time and number. Of those with the same time the last is the one that a player is given.
    pub(super) by_producer: BTreeMap<Position, Arc<FragmentInfo>>,
    /// By server time and number: the order of arrival, unless the clock was set back.
    pub(super) by_server: BTreeMap<Position, Arc<FragmentInfo>>,
    /// Sums over what a player is given.
    pub(super) totals: Totals,
    pub(super) last_number: u128,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Totals {
    pub(super) fragments: u64,
    pub(super) video_frames: u64,
    pub(super) audio_frames: u64,
    pub(super) bytes: u64,
    pub(super) duration_ms: u64,
}

impl Totals {
    fn change(&mut self, info: &FragmentInfo, change: fn(u64, u64) -> u64) {
        self.fragments = change(self.fragments, 1);
        self.video_frames = change(self.video_frames, info.video_frames);
        self.audio_frames = change(self.audio_frames, info.audio_frames);
        self.bytes = change(self.bytes, info.size);
        self.duration_ms = change(self.duration_ms, info.duration_ms);
    }
}

/// What a range of times is among positions; `None`: it is empty.
pub(super) fn range(from_ms: u64, to_ms: u64) -> Option<(Bound<Position>, Bound<Position>)> {
    let end = to_ms.checked_add(1).map_or(Bound::Unbounded, |end| Bound::Excluded((end, String::new())));
    (from_ms <= to_ms).then_some((Bound::Included((from_ms, String::new())), end))
}

/// Of those with the same producer time the one with the largest number. They come in that order.
pub(super) fn given<'a>(
    all: impl Iterator<Item = &'a Arc<FragmentInfo>>,
) -> impl Iterator<Item = &'a Arc<FragmentInfo>> {
    let mut all = all.peekable();
    std::iter::from_fn(move || {
        loop {
            let info = all.next()?;
            if all.peek().is_none_or(|next| next.producer_ms != info.producer_ms) {
                return Some(info);
            }
        }
    })
}

impl StreamState {
    /// What a player is given of this producer time.
    fn given_at(&self, producer_ms: u64) -> Option<Arc<FragmentInfo>> {
        let range = range(producer_ms, producer_ms)?;
        self.by_producer.range(range).next_back().map(|(_, info)| info.clone())
    }

    /// Changes what is there of a producer time, and the sums with it.
    fn change<T>(&mut self, producer_ms: u64, change: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.given_at(producer_ms);
        let result = change(self);
        let after = self.given_at(producer_ms);
        before.iter().for_each(|info| self.totals.change(info, u64::saturating_sub));
        after.iter().for_each(|info| self.totals.change(info, u64::saturating_add));
        result
    }

    pub(super) fn insert(&mut self, info: FragmentInfo) {
        let info = Arc::new(info);
        let at = |ms: u64| (ms, info.number.clone());
        self.change(info.producer_ms, |state| {
            state.by_producer.insert(at(info.producer_ms), info.clone());
            state.by_server.insert(at(info.server_ms), info.clone());
            state.fragments.insert(info.number.clone(), info.clone());
        });
    }

    pub(super) fn remove(&mut self, number: &str) -> Option<Arc<FragmentInfo>> {
        let info = self.fragments.get(number).cloned()?;
        let at = |ms: u64| (ms, number.to_owned());
        self.change(info.producer_ms, |state| {
            state.by_producer.remove(&at(info.producer_ms));
            state.by_server.remove(&at(info.server_ms));
            state.fragments.remove(number)
        })
    }
}
