//! The fragments that the service does not have yet, oldest first.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::fragment::{Fragment, Header, Sent};
use crate::{TrackFormat, TrackKind};

/// Fragments whose payload was let go but whose acknowledgement may still come. More are forgotten (and
/// counted as dropped), oldest first.
const MAX_RELEASED: usize = 256;

#[derive(Debug)]
pub(crate) struct Store {
    fragments: VecDeque<Fragment>,
    pub(crate) bytes: usize,
    next_fragment: u64,
    next_header: u64,
    last_header: Option<Arc<Header>>,
}

impl Store {
    pub(crate) fn new() -> Self {
        Self { fragments: VecDeque::new(), bytes: 0, next_fragment: 1, next_header: 1, last_header: None }
    }

    pub(crate) fn next_id(&mut self) -> u64 {
        let id = self.next_fragment;
        self.next_fragment += 1;
        id
    }

    pub(crate) fn push(&mut self, fragment: Fragment) {
        self.bytes += fragment.bytes;
        self.fragments.push_back(fragment);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.fragments.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Fragment> {
        self.fragments.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Fragment> {
        self.fragments.iter_mut()
    }

    fn position(&self, id: u64) -> Option<usize> {
        self.fragments.binary_search_by_key(&id, |fragment| fragment.id).ok()
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Fragment> {
        self.fragments.get(self.position(id)?)
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut Fragment> {
        let at = self.position(id)?;
        self.fragments.get_mut(at)
    }

    pub(crate) fn remove(&mut self, id: u64) -> Option<Fragment> {
        let at = self.position(id)?;
        let fragment = self.fragments.remove(at)?;
        self.bytes -= fragment.bytes;
        Some(fragment)
    }

    /// The fragment that is being filled.
    pub(crate) fn open_mut(&mut self) -> Option<&mut Fragment> {
        self.fragments.back_mut().filter(|fragment| !fragment.closed)
    }

    pub(crate) fn open(&self) -> Option<&Fragment> {
        self.fragments.back().filter(|fragment| !fragment.closed)
    }

    /// The first fragment after `after` that can be sent.
    pub(crate) fn next_to_send(&self, after: Option<u64>) -> Option<&Fragment> {
        self.fragments
            .iter()
            .find(|fragment| after.is_none_or(|id| fragment.id > id) && !fragment.payload_released)
    }

    /// Decides the header of the open fragment if its set of tracks is known: with a frame of every expected
    /// track, or when it ends.
    pub(crate) fn decide_header(&mut self, expected: [bool; 2], force: bool) {
        let Some(fragment) = self.fragments.back() else { return };
        if fragment.header.is_some() {
            return;
        }
        let complete = TrackKind::ALL.into_iter().all(|kind| !expected[kind.index()] || fragment.has(kind));
        if !complete && !force {
            return;
        }
        let header = match &self.last_header {
            Some(header) if header.matches(fragment.epoch, &fragment.formats) => Arc::clone(header),
            last => {
                // Relative timecodes keep one origin as long as time does not go backwards.
                let base = match last {
                    Some(header) if header.epoch == fragment.epoch => header.base_ms,
                    _ => fragment.start_ms,
                };
                let id = self.next_header;
                self.next_header += 1;
                Arc::new(Header::new(id, fragment.epoch, fragment.formats.clone(), base))
            }
        };
        self.last_header = Some(Arc::clone(&header));
        if let Some(fragment) = self.fragments.back_mut() {
            fragment.header = Some(header);
        }
    }

    /// Whether `kind` may join the open fragment: always before its header is decided, afterwards only a
    /// track that the header has.
    pub(crate) fn accepts(&self, kind: TrackKind) -> bool {
        self.open().is_none_or(|fragment| fragment.header.is_none() || fragment.has(kind))
    }

    /// Whether the open fragment was recorded under this format of the track, or has none of it yet.
    pub(crate) fn format_fits(&self, kind: TrackKind, format: &Arc<TrackFormat>) -> bool {
        self.open().is_none_or(|fragment| {
            fragment.formats[kind.index()]
                .as_ref()
                .is_none_or(|have| Arc::ptr_eq(have, format) || have == format)
        })
    }

    /// Time between the first and the last frame that are kept.
    pub(crate) fn span(&self) -> Duration {
        let kept = || self.fragments.iter().filter(|fragment| !fragment.payload_released);
        match (kept().next(), kept().next_back()) {
            (Some(first), Some(last)) if first.epoch == last.epoch => {
                Duration::from_millis(last.latest_ms.saturating_sub(first.start_ms))
            }
            // Times before and after a jump do not compare: add up the fragments.
            (Some(_), Some(_)) => {
                kept().map(|f| Duration::from_millis(f.latest_ms.saturating_sub(f.start_ms))).sum()
            }
            _ => Duration::ZERO,
        }
    }

    /// Makes room: lets go of the payload of the oldest fragment that was sent whole, or else removes the
    /// oldest that has not been started. `None` when only the fragment in transmission is left.
    pub(crate) fn shed(&mut self) -> Shed {
        if let Some(fragment) = self
            .fragments
            .iter_mut()
            .find(|fragment| fragment.sent == Sent::Whole && !fragment.payload_released)
        {
            self.bytes -= fragment.release_payload();
            let released = self.fragments.iter().filter(|fragment| fragment.payload_released).count();
            if released > MAX_RELEASED
                && let Some(id) = self.fragments.iter().find(|f| f.payload_released).map(|f| f.id)
                && let Some(fragment) = self.remove(id)
            {
                return Shed::Dropped(fragment);
            }
            return Shed::Released;
        }
        let unsent = self.fragments.iter().find(|fragment| fragment.sent == Sent::No).map(|f| f.id);
        match unsent.and_then(|id| self.remove(id)) {
            Some(fragment) => Shed::Dropped(fragment),
            None => Shed::Nothing,
        }
    }
}

/// What [`Store::shed`] did.
pub(crate) enum Shed {
    /// Memory was freed; the fragment may still be acknowledged.
    Released,
    /// A fragment is gone.
    Dropped(Fragment),
    /// Nothing could be freed.
    Nothing,
}
