//! What goes to the spool, what comes back, and what is dropped when neither memory nor spool can hold it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::event::{DropReason, Event, Output};
use super::link::Link;
use super::spool_state::{MAX_WRITING, State};
use super::{Producer, WhenFull};
use crate::fragment::{Fragment, Header, Sent, Spooled};
use crate::spool::{FileName, Found, SpoolKey, SpooledFragment};
use crate::store::Shed;

/// The last fragments of an input that has ended are written after this long.
const LAST_AFTER: Duration = Duration::from_secs(1);
/// A disk that failed is tried again after this long, and then after twice as long each time, up to `RETRY_MAX`.
const RETRY: Duration = Duration::from_secs(2);
const RETRY_MAX: Duration = Duration::from_secs(60);

impl Producer {
    /// The spool can be used. `found` is what it held, oldest first; it is sent before everything else. `run` is the
    /// number of this run, higher than those of the files that were found.
    pub fn spool_opened(&mut self, run: u64, found: Vec<Found>, now: Instant) {
        let Some(spool) = &mut self.spool else { return };
        if matches!(spool.state, State::Ready { .. }) {
            return;
        }
        spool.state = State::Ready { run, retry: None };
        let (mut fragments, mut frames) = (0, [0; 2]);
        // From the newest to the oldest, each before all others.
        let mut last: Option<([u8; 16], u64, Arc<Header>)> = None;
        let mut confirmed = None;
        for mut found in found.into_iter().rev() {
            let head = &mut found.head;
            // A clock that was confirmed later, and had not to be put right, was right before, too.
            if head.clock.is_none() {
                confirmed = Some((head.segment_uid, head.epoch));
            } else if confirmed == Some((head.segment_uid, head.epoch)) {
                head.clock = None;
            }
            // Times of different runs do not compare, nor do those before and after a jump.
            let epoch = match &last {
                Some((uid, epoch, header)) if *uid == head.segment_uid && *epoch == head.epoch => {
                    header.epoch
                }
                Some((_, _, header)) => header.epoch - 1,
                None => u64::MAX,
            };
            let header = match &last {
                Some((_, _, header)) if header.epoch == epoch && header.was(head.header_id, head.base_ms) => {
                    Arc::clone(header)
                }
                _ => Arc::new(Header::restored(
                    self.store.next_header_id(),
                    epoch,
                    head.header_id,
                    head.formats.clone(),
                    head.base_ms,
                )),
            };
            last = Some((head.segment_uid, head.epoch, Arc::clone(&header)));
            fragments += 1;
            for (sum, frames) in frames.iter_mut().zip(head.frames) {
                *sum += frames;
            }
            let id = self.store.oldest_id() - 1;
            self.store.push_oldest(Fragment::restored(id, epoch, header, found, now));
        }
        if fragments > 0 {
            self.statistics.fragments_restored += fragments;
            self.statistics.frames_restored = frames;
            if let Some(known) = &self.known_clock {
                self.store.shift_restored(known);
            }
            self.event(Event::Restored { fragments, frames });
            self.replace_session("older media waits", now);
        }
        // It may have been larger in the run before.
        self.fit_spool(0);
        self.settle(now);
    }

    /// The spool cannot be used for now: the producer goes on as if there were none, until it is opened.
    pub fn spool_unavailable(&mut self, message: String, now: Instant) {
        let Some(spool) = &mut self.spool else { return };
        if matches!(spool.state, State::Opening) {
            spool.state = State::Unavailable;
            self.statistics.spool_failures += 1;
            self.event(Event::SpoolFailed { message });
            self.settle(now);
        }
    }

    /// The spool will not answer any more. What only it has waits there for the next run, and is given up in this one.
    pub fn spool_lost(&mut self, message: String, now: Instant) {
        let Some(spool) = &mut self.spool else { return };
        (spool.state, spool.writing) = (State::Unavailable, 0);
        let all: Vec<_> = self.store.iter().map(|fragment| (fragment.id, fragment.resident)).collect();
        for (id, resident) in all {
            self.store.set_spooled(id, Spooled::No);
            if !resident && let Some(fragment) = self.store.remove(id) {
                self.dropped_fragment(&fragment, DropReason::SpoolDamaged);
            }
        }
        self.spool_failed(message);
        self.settle(now);
    }

    /// A fragment was written, or not.
    pub fn handle_spilled(&mut self, key: SpoolKey, result: Result<(), String>, now: Instant) {
        let Some(spool) = &mut self.spool else { return };
        spool.writing = spool.writing.saturating_sub(1);
        let State::Ready { retry, .. } = &mut spool.state else { return };
        let writing = self.store.get(key.id).map(|fragment| fragment.spooled);
        match result {
            Ok(()) => {
                *retry = None;
                self.statistics.fragments_spooled += 1;
                // Otherwise it is acknowledged, and its deletion is on the way.
                if let Some(Spooled::Writing(bytes)) = writing {
                    self.store.set_spooled(key.id, Spooled::Yes(bytes));
                }
            }
            Err(message) => {
                let times = retry.map_or(0, |(_, times)| times + 1);
                let wait = RETRY.saturating_mul(1 << times.min(16)).min(RETRY_MAX);
                *retry = Some((now + wait, times));
                if let Some(Spooled::Writing(_)) = writing {
                    self.store.set_spooled(key.id, Spooled::No);
                }
                self.spool_failed(message);
            }
        }
        self.settle(now);
    }

    /// A fragment was read, or not; then the spool has set its file aside.
    pub fn handle_loaded(&mut self, key: SpoolKey, result: Result<SpooledFragment, String>, now: Instant) {
        // It may be acknowledged in the meantime.
        let Some(fragment) = self.store.get_mut(key.id) else { return };
        fragment.loading = false;
        let message = match result {
            Ok(SpooledFragment { head, blocks }) if head.frames == fragment.frames => {
                self.store.put_back(key.id, blocks);
                self.settle(now);
                return;
            }
            Ok(_) => format!("the spooled fragment {} is another one", key.file),
            Err(message) => message,
        };
        if !fragment.resident
            && let Some(fragment) = self.store.remove(key.id)
        {
            self.dropped_fragment(&fragment, DropReason::SpoolDamaged);
        }
        self.spool_failed(message);
        self.settle(now);
    }

    /// Writes everything that is not written yet, because the process is about to end.
    pub fn spill_rest(&mut self, now: Instant) {
        self.close_fragment(now);
        let Some(spool) = &mut self.spool else { return };
        // All of it is in memory already: to wait for a place in the queue would save nothing.
        spool.rest = true;
        let rest: Vec<u64> = self.store.unspooled().map(|fragment| fragment.id).collect();
        for id in rest {
            if !self.spill(id, true, now) {
                break;
            }
        }
    }

    /// What comes now is a new recording, which is written when it is due.
    pub(super) fn end_spill(&mut self) {
        if let Some(spool) = &mut self.spool {
            spool.rest = false;
        }
    }

    /// Whether something is being written to the spool.
    pub fn is_spilling(&self) -> bool {
        self.spool.as_ref().is_some_and(|spool| spool.writing > 0)
    }

    /// Whether what is in the spool must be known first.
    pub(super) fn spool_is_opening(&self) -> bool {
        self.spool.as_ref().is_some_and(|spool| matches!(spool.state, State::Opening))
    }

    /// Whether there is a spool that keeps what this process cannot send any more.
    pub(super) fn has_spool(&self) -> bool {
        self.spool.as_ref().is_some_and(|spool| matches!(spool.state, State::Ready { .. }))
    }

    fn spool_failed(&mut self, message: String) {
        self.statistics.spool_failures += 1;
        self.event(Event::SpoolFailed { message });
    }

    /// How long after its last frame a fragment is written.
    fn spool_after(&self) -> Duration {
        let after = self.spool.as_ref().map_or(Duration::MAX, |spool| spool.config.after);
        match &self.link {
            Link::Up(session) if session.is_open() && self.finishing => after.min(LAST_AFTER),
            Link::Up(session) if session.is_open() => after,
            _ => Duration::ZERO,
        }
    }

    /// When something is to be written, if nothing else happens.
    pub(super) fn spool_deadline(&self) -> Option<Instant> {
        let spool = self.spool.as_ref()?;
        let State::Ready { retry, .. } = spool.state else { return None };
        let oldest = self.store.unspooled().next()?;
        // Without room only a deletion helps, and then this is asked again.
        if spool.writing >= MAX_WRITING || self.store.spooled_bytes + oldest.spool_len()? > spool.config.bytes
        {
            return None;
        }
        let due = oldest.last_frame_at + self.spool_after();
        Some(retry.map_or(due, |(at, _)| due.max(at)))
    }

    /// Writes what has waited for long, or what waits while there is no session.
    pub(super) fn spool_due(&mut self, now: Instant) {
        if !self.has_spool() {
            return;
        }
        let after = self.spool_after();
        loop {
            let oldest =
                self.store.unspooled().next().map(|oldest| (oldest.id, oldest.last_frame_at + after));
            match oldest {
                Some((id, due)) if now >= due && self.spill(id, false, now) => {}
                _ => return,
            }
        }
    }

    /// Hands a fragment to the spool, if that can take it now. With `make_room` the oldest fragments go for it.
    fn spill(&mut self, id: u64, make_room: bool, now: Instant) -> bool {
        let Some(spool) = &self.spool else { return false };
        let (Some(run), limit) = (spool.writable(now), spool.config.bytes) else { return false };
        let Some(bytes) = self.store.get(id).and_then(Fragment::spool_len) else { return false };
        if bytes > limit {
            return false;
        }
        if make_room {
            // The oldest goes first, and that may be the one that was to be written.
            if self.store.spooled_bytes + bytes > limit
                && self.store.oldest_spooled().is_none_or(|oldest| oldest.id > id)
            {
                return false;
            }
            self.fit_spool(bytes);
        }
        if self.store.spooled_bytes + bytes > limit {
            return false;
        }
        let (segment_uid, clock) = (self.config.segment_uid, self.host_clock);
        let record = self.store.get(id).and_then(|fragment| fragment.to_spool(segment_uid, clock));
        let Some(record) = record else { return false };
        let file = FileName { run, number: id };
        self.store.set_spooled(id, Spooled::Writing(bytes));
        if let Some(fragment) = self.store.get_mut(id) {
            fragment.file = Some(file);
        }
        if let Some(spool) = &mut self.spool {
            spool.writing += 1;
        }
        self.outputs.push_back(Output::Spill(SpoolKey { id, file }, record));
        true
    }

    /// Drops spooled fragments, oldest first, until so many more bytes fit.
    fn fit_spool(&mut self, bytes: u64) {
        let Some(limit) = self.spool.as_ref().map(|spool| spool.config.bytes) else { return };
        while self.store.spooled_bytes + bytes > limit {
            let Some(id) = self.store.oldest_spooled().map(|fragment| fragment.id) else { return };
            let Some(fragment) = self.take(id) else { return };
            self.dropped_fragment(&fragment, DropReason::SpoolFull);
        }
    }

    /// Asks for a fragment that only the spool has.
    pub(super) fn load(&mut self, id: u64) {
        let Some(fragment) = self.store.get_mut(id) else { return };
        let (Spooled::Yes(_), Some(file)) = (fragment.spooled, fragment.file) else { return };
        if !fragment.resident && !fragment.loading {
            fragment.loading = true;
            self.outputs.push_back(Output::Load(SpoolKey { id, file }));
        }
    }

    /// Asks for what comes after `id`, if memory has room for it: the connection should not wait for the disk.
    pub(super) fn load_ahead(&mut self, id: u64) {
        let room = self.config.storage_bytes.saturating_sub(self.store.bytes) as u64;
        let next = self.store.next_to_send(Some(id)).filter(|next| !next.resident && next.payload <= room);
        if let Some(id) = next.map(|next| next.id) {
            self.load(id);
        }
    }

    /// Removes a fragment from everywhere.
    pub(super) fn take(&mut self, id: u64) -> Option<Fragment> {
        let fragment = self.store.get(id)?;
        if let (Spooled::Writing(_) | Spooled::Yes(_), Some(file)) = (fragment.spooled, fragment.file) {
            self.outputs.push_back(Output::Delete(SpoolKey { id, file }));
        }
        self.store.remove(id)
    }

    pub(super) fn memory_is_over(&self) -> bool {
        self.store.exceeds(self.config.storage_bytes, self.config.buffer_duration)
    }

    /// Makes memory hold no more than it may: by what the spool has too, by what it can take, by what must go.
    pub(super) fn enforce_bounds(&mut self, now: Instant) {
        let may_drop = self.config.when_full == WhenFull::DropOldest;
        let current = match &self.link {
            Link::Up(session) => session.current(),
            _ => None,
        };
        while self.memory_is_over() {
            if self.store.exceeds(self.config.storage_bytes, Duration::MAX) && self.store.evict(current) {
                continue;
            }
            let idle = self.store.unspooled().find(|fragment| fragment.sent != Sent::Partly);
            if let Some(id) = idle.map(|fragment| fragment.id)
                && self.spill(id, may_drop, now)
            {
                continue;
            }
            if !may_drop {
                break;
            }
            match self.store.shed() {
                Shed::Released => {}
                Shed::Dropped(fragment) => {
                    if !fragment.closed {
                        self.fragmenter.await_key();
                    }
                    self.dropped_fragment(&fragment, DropReason::StorageFull);
                }
                Shed::Nothing => {
                    // Only the fragment in transmission is left. It ends here; what belongs to it and is
                    // still to come is dropped.
                    if self.store.open().is_some_and(|open| open.sent == Sent::Partly) {
                        self.close_fragment(now);
                        self.fragmenter.await_key();
                    }
                    break;
                }
            }
        }
    }
}
