//! Audio that came too late for the fragment of its time, or whose track that fragment's session does not have. It is
//! stored all the same: in fragments of its own, in a session of its own, behind the fragment that is open.

use std::sync::Arc;
use std::time::Instant;

use crate::block::BLOCK_OVERHEAD;
use crate::fragment::{Fragment, MAX_AUDIO, MAX_FRAGMENT_BYTES};
use crate::interleave::Pushed;
use crate::store::Store;

/// What may wait. Beyond it frames are dropped and counted: the open fragment, whose end they wait for, is half a
/// minute long at most, so that only a flood of late audio gets there.
const MAX_BYTES: usize = 8 << 20;

/// The late frames, as they came.
#[derive(Debug, Default)]
pub(crate) struct Late {
    frames: Vec<Pushed>,
    bytes: usize,
}

impl Late {
    /// Takes a frame; gives it back when there is no room.
    pub(crate) fn push(&mut self, pushed: Pushed) -> bool {
        let bytes = pushed.frame.data.len() + BLOCK_OVERHEAD;
        if self.bytes + bytes > MAX_BYTES {
            return false;
        }
        self.bytes += bytes;
        self.frames.push(pushed);
        true
    }

    /// Moves the times of all that waits.
    pub(crate) fn shift_time(&mut self, delta_ms: i64) {
        for pushed in &mut self.frames {
            pushed.frame.time = pushed.frame.time.shifted(delta_ms);
        }
    }

    /// Writes what waits into fragments, in epochs that `epoch` numbers. The store must have no open fragment. Returns
    /// the frames of each track.
    pub(crate) fn write(
        &mut self,
        store: &mut Store,
        epoch: &mut u64,
        scale_ms: u64,
        now: Instant,
    ) -> [u64; 2] {
        self.bytes = 0;
        let mut written = [0; 2];
        let (mut header, mut before): (_, Option<u64>) = (None, None);
        let mut waiting = std::mem::take(&mut self.frames).into_iter().peekable();
        while let Some(first) = waiting.next() {
            let at = first.frame.time.millis();
            let (mut from, mut until, mut bytes) = (at, at, first.frame.data.len());
            let mut group = vec![first];
            // As many as one fragment holds.
            while let Some(next) = waiting.next_if(|next| {
                let at = next.frame.time.millis();
                (from, until) = (from.min(at), until.max(at));
                bytes += next.frame.data.len() + BLOCK_OVERHEAD;
                let fits = until - from <= MAX_AUDIO.as_millis() as u64 && bytes <= MAX_FRAGMENT_BYTES;
                fits && Arc::ptr_eq(&next.format, &group[0].format)
            }) {
                group.push(next);
            }
            let times = || group.iter().map(|pushed| pushed.frame.time.millis());
            let start = times().min().unwrap_or(at);
            if before.is_none_or(|before| start / scale_ms <= before / scale_ms) {
                *epoch += 1;
            }
            before = times().max();
            let mut fragment = Fragment::new(store.next_id(), *epoch, start, Vec::new(), now);
            for Pushed { frame, format, .. } in group {
                written[frame.track.index()] += 1;
                let at = frame.time.millis();
                fragment.append(frame.track, format, at, frame.random_access, frame.data, now);
            }
            store.push_aside(fragment, &mut header);
        }
        written
    }
}
