//! The fragments that the service does not have yet, oldest first.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::block::Block;
use crate::fragment::{Fragment, Header, Sent, Spooled};
use crate::host_clock::{HostClock, Known};
use crate::{TrackFormat, TrackKind};

/// Fragments whose payload was let go but whose acknowledgement may still come. More are forgotten (and
/// counted as dropped), oldest first.
const MAX_RELEASED: usize = 256;

/// Id of the first fragment. What a process before this one left in the spool is older and gets lower ids.
const FIRST: u64 = 1 << 32;

#[derive(Debug)]
pub(crate) struct Store {
    fragments: VecDeque<Fragment>,
    /// Ids of those whose payload is in memory: few, also when the spool holds thousands.
    resident: BTreeSet<u64>,
    /// Bytes in memory.
    pub(crate) bytes: usize,
    /// Those of them that are being written to the spool, and will not be needed after.
    writing: usize,
    /// Bytes that the spool holds, or will hold when what is being written is there.
    pub(crate) spooled_bytes: u64,
    next_fragment: u64,
    next_header: u64,
    last_header: Option<Arc<Header>>,
    /// Unit of timecodes: what they are relative to is a multiple of it, so that they are rounded as absolute ones are.
    scale_ms: u64,
}

impl Store {
    pub(crate) fn new(scale_ms: u64) -> Self {
        Self {
            fragments: VecDeque::new(),
            resident: BTreeSet::new(),
            bytes: 0,
            writing: 0,
            spooled_bytes: 0,
            next_fragment: FIRST,
            next_header: 1,
            last_header: None,
            scale_ms,
        }
    }

    pub(crate) fn next_id(&mut self) -> u64 {
        let id = self.next_fragment;
        self.next_fragment += 1;
        id
    }

    pub(crate) fn next_header_id(&mut self) -> u64 {
        let id = self.next_header;
        self.next_header += 1;
        id
    }

    pub(crate) fn push(&mut self, fragment: Fragment) {
        self.bytes += fragment.bytes;
        self.resident.insert(fragment.id);
        if let Some(last) = self.fragments.back_mut() {
            last.followed_by(&fragment);
        }
        self.fragments.push_back(fragment);
    }

    /// The lowest id that is in use: older fragments get lower ones.
    pub(crate) fn oldest_id(&self) -> u64 {
        self.fragments.front().map_or(self.next_fragment, |fragment| fragment.id)
    }

    /// Puts a fragment that the spool has before all others.
    pub(crate) fn push_oldest(&mut self, mut fragment: Fragment) {
        if let Some(next) = self.fragments.front() {
            fragment.followed_by(next);
        }
        self.spooled_bytes += fragment.spooled.bytes();
        self.fragments.push_front(fragment);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.fragments.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.fragments.len()
    }

    /// Frames of video and of audio.
    pub(crate) fn frames(&self) -> [u64; 2] {
        self.fragments
            .iter()
            .fold([0; 2], |[video, audio], fragment| [video + fragment.frames[0], audio + fragment.frames[1]])
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Fragment> {
        self.fragments.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Fragment> {
        self.fragments.iter_mut()
    }

    /// Those whose payload is in memory, oldest first.
    pub(crate) fn residents(&self) -> impl DoubleEndedIterator<Item = &Fragment> + Clone {
        self.resident.iter().filter_map(|id| self.get(*id))
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
        self.set_spooled_bytes(id, Spooled::No);
        let at = self.position(id)?;
        let fragment = self.fragments.remove(at)?;
        self.bytes -= fragment.bytes;
        self.resident.remove(&id);
        Some(fragment)
    }

    /// Notes where a fragment stands with the spool.
    pub(crate) fn set_spooled(&mut self, id: u64, spooled: Spooled) {
        self.set_spooled_bytes(id, spooled);
        if let Some(fragment) = self.get_mut(id) {
            fragment.spooled = spooled;
        }
    }

    /// Accounts for a change, without making it.
    fn set_spooled_bytes(&mut self, id: u64, to: Spooled) {
        let Some(fragment) = self.get(id) else { return };
        let (from, bytes) = (fragment.spooled, fragment.bytes);
        self.spooled_bytes = self.spooled_bytes - from.bytes() + to.bytes();
        if matches!(from, Spooled::Writing(_)) {
            self.writing -= bytes;
        }
        if matches!(to, Spooled::Writing(_)) {
            self.writing += bytes;
        }
    }

    /// The payload of a fragment has come from the spool.
    pub(crate) fn put_back(&mut self, id: u64, blocks: Vec<Block>) {
        let Some(fragment) = self.get_mut(id).filter(|fragment| !fragment.resident) else { return };
        let bytes = fragment.put_back(blocks);
        self.bytes += bytes;
        self.resident.insert(id);
    }

    fn release(&mut self, id: u64) {
        if let Some(fragment) = self.get_mut(id) {
            let bytes = fragment.release_payload();
            self.bytes -= bytes;
            self.resident.remove(&id);
        }
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
        let from = after.map_or(0, |id| self.fragments.partition_point(|fragment| fragment.id <= id));
        self.fragments.range(from..).find(|fragment| !fragment.is_released())
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
                    _ => fragment.start_ms - fragment.start_ms % self.scale_ms,
                };
                let (epoch, formats) = (fragment.epoch, fragment.formats.clone());
                Arc::new(Header::new(self.next_header_id(), epoch, formats, base))
            }
        };
        self.last_header = Some(Arc::clone(&header));
        if let Some(fragment) = self.fragments.back_mut() {
            fragment.header = Some(header);
        }
    }

    /// Takes a fragment that is whole and belongs to no session of the others: `last` is the header of the one before
    /// it, which it shares if it can.
    pub(crate) fn push_aside(&mut self, mut fragment: Fragment, last: &mut Option<Arc<Header>>) {
        let header = match last.take() {
            Some(header) if header.matches(fragment.epoch, &fragment.formats) => header,
            _ => {
                let base = fragment.start_ms - fragment.start_ms % self.scale_ms;
                let (epoch, formats) = (fragment.epoch, fragment.formats.clone());
                Arc::new(Header::new(self.next_header_id(), epoch, formats, base))
            }
        };
        *last = Some(Arc::clone(&header));
        fragment.header = Some(header);
        fragment.closed = true;
        self.push(fragment);
    }

    /// Moves everything that no connection has had, and that this process has recorded, to another time: into epochs
    /// of its own, which `next_epoch` numbers. Says whether the open fragment is among it, and its new epoch.
    pub(crate) fn shift_time(&mut self, delta_ms: i64, next_epoch: &mut u64) -> Option<u64> {
        // What the last epoch and the last header were, and what they are now.
        let mut epoch: Option<(u64, u64)> = None;
        let mut header: Option<(u64, Arc<Header>)> = None;
        let mut open = None;
        for fragment in &mut self.fragments {
            if fragment.was_started() || fragment.restored {
                continue;
            }
            let moved = match epoch {
                Some((was, is)) if was == fragment.epoch => is,
                _ => {
                    *next_epoch += 1;
                    *next_epoch
                }
            };
            epoch = Some((fragment.epoch, moved));
            fragment.epoch = moved;
            fragment.shift_time(delta_ms);
            if let Some(old) = fragment.header.clone() {
                let new = match &header {
                    Some((was, is)) if *was == old.id && is.epoch == moved => Arc::clone(is),
                    _ => {
                        let id = self.next_header;
                        self.next_header += 1;
                        Arc::new(old.moved(id, moved, delta_ms, self.scale_ms))
                    }
                };
                header = Some((old.id, Arc::clone(&new)));
                if self.last_header.as_ref().is_some_and(|last| last.id == old.id) {
                    self.last_header = Some(Arc::clone(&new));
                }
                fragment.header = Some(new);
            }
            open = (!fragment.closed).then_some(moved);
        }
        open
    }

    /// Moves what processes before this one have recorded by a clock that nobody had confirmed, unless a connection has
    /// had it.
    pub(crate) fn shift_restored(&mut self, known: &Known) {
        let waits = |fragment: &&mut Fragment| !fragment.was_started() && fragment.clock.is_some();
        let mut latest: Vec<(HostClock, u64)> = Vec::new();
        for fragment in self.fragments.iter_mut().filter(waits) {
            let Some(clock) = fragment.clock else { continue };
            match latest.iter_mut().find(|(known, _)| *known == clock) {
                Some((_, latest)) => *latest = fragment.latest_ms.max(*latest),
                None => latest.push((clock, fragment.latest_ms)),
            }
        }
        let mut header: Option<(u64, Arc<Header>)> = None;
        for fragment in self.fragments.iter_mut().filter(waits) {
            let Some(clock) = fragment.clock.take() else { continue };
            let latest = latest.iter().find(|(known, _)| *known == clock).map_or(0, |(_, latest)| *latest);
            let delta_ms = known.delta_ms(clock, latest);
            let Some(old) = fragment.header.clone().filter(|_| delta_ms != 0) else { continue };
            fragment.shift_time(delta_ms);
            let new = match &header {
                Some((was, is)) if *was == old.id => Arc::clone(is),
                _ => {
                    let id = self.next_header;
                    self.next_header += 1;
                    Arc::new(old.moved(id, old.epoch, delta_ms, self.scale_ms))
                }
            };
            header = Some((old.id, Arc::clone(&new)));
            fragment.header = Some(new);
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

    /// Media time that is kept: that of the fragments together, whatever lies between them.
    pub(crate) fn span(&self) -> Duration {
        self.fragments.iter().filter(|fragment| !fragment.is_released()).map(Fragment::duration).sum()
    }

    /// Whether memory holds more than this, without what is on its way to the spool.
    pub(crate) fn exceeds(&self, bytes: usize, duration: Duration) -> bool {
        let staying = || self.residents().filter(|fragment| fragment.spooled == Spooled::No);
        // Memory holds few fragments: a minute or two.
        self.bytes - self.writing > bytes
            || (duration < Duration::MAX && staying().map(Fragment::duration).sum::<Duration>() > duration)
    }

    /// Whether memory holds nothing but one fragment.
    pub(crate) fn holds_one(&self) -> bool {
        self.resident.len() <= 1
    }

    /// Fragments that only memory has and that the spool could take, oldest first.
    pub(crate) fn unspooled(&self) -> impl Iterator<Item = &Fragment> {
        self.residents().filter(|fragment| {
            fragment.closed && fragment.header.is_some() && fragment.spooled == Spooled::No
        })
    }

    /// Lets go of a payload that the spool has too: of what was sent first, and then of what will be sent last. Not of
    /// `keep`, which is sent next.
    pub(crate) fn evict(&mut self, keep: Option<u64>) -> bool {
        let spooled = || {
            let spooled = self.residents().filter(|fragment| matches!(fragment.spooled, Spooled::Yes(_)));
            spooled.filter(|fragment| Some(fragment.id) != keep)
        };
        let found = spooled()
            .find(|fragment| fragment.sent == Sent::Whole)
            .or_else(|| spooled().rfind(|fragment| fragment.sent == Sent::No))
            .map(|fragment| fragment.id);
        if let Some(id) = found {
            self.release(id);
        }
        found.is_some()
    }

    /// The oldest fragment that only the spool, or the spool too, has and that no session has begun.
    pub(crate) fn oldest_spooled(&self) -> Option<&Fragment> {
        self.fragments
            .iter()
            .find(|fragment| matches!(fragment.spooled, Spooled::Yes(_)) && fragment.sent == Sent::No)
    }

    /// Makes room in memory: lets go of the payload of the oldest fragment that was sent whole, or else removes
    /// the oldest that has not been started.
    pub(crate) fn shed(&mut self) -> Shed {
        let only_here = || self.residents().filter(|fragment| fragment.spooled == Spooled::No);
        let whole = only_here().find(|fragment| fragment.sent == Sent::Whole).map(|fragment| fragment.id);
        let unsent = only_here().find(|fragment| fragment.sent == Sent::No).map(|fragment| fragment.id);
        if let Some(id) = whole {
            self.release(id);
            let released = || self.fragments.iter().filter(|fragment| fragment.is_released());
            let oldest = (released().count() > MAX_RELEASED).then(|| released().next().map(|f| f.id));
            if let Some(fragment) = oldest.flatten().and_then(|id| self.remove(id)) {
                return Shed::Dropped(Box::new(fragment));
            }
            return Shed::Released;
        }
        match unsent.and_then(|id| self.remove(id)) {
            Some(fragment) => Shed::Dropped(Box::new(fragment)),
            None => Shed::Nothing,
        }
    }
}

/// What [`Store::shed`] did.
pub(crate) enum Shed {
    /// Memory was freed; the fragment may still be acknowledged.
    Released,
    /// A fragment is gone.
    Dropped(Box<Fragment>),
    /// Nothing could be freed.
    Nothing,
}
