//! When lost packets are asked for again: never more at once than the sockets have room for, because a sender repeats what
//! it is asked for in one burst.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Between requests for what has no room at once.
const PACE: Duration = Duration::from_millis(5);

/// What the kernel counts for a packet of the usual size, bytes.
pub const PACKET_COST: usize = 2304;

/// Packets that wait to be asked for; what does not fit is asked for by the next request for it.
const MAX_WAITING: usize = 4096;

/// Fewer than this are asked for at once whatever the room.
const MIN_BURST: usize = 16;

/// The lost packets of one connection that wait to be asked for.
#[derive(Debug)]
pub(crate) struct NackPacer {
    /// Source and sequence number.
    waiting: VecDeque<(u32, u16)>,
    /// Not before.
    next: Option<Instant>,
    burst: usize,
}

impl NackPacer {
    /// For sockets with a receive buffer of so many bytes as the kernel counts them (twice `SO_RCVBUF`).
    pub(crate) fn new(receive_buffer: usize) -> Self {
        // Half of the room: other media come, too.
        let burst = (receive_buffer / PACKET_COST / 2).clamp(MIN_BURST, MAX_WAITING);
        Self { waiting: VecDeque::new(), next: None, burst }
    }

    /// Packets of a source are missing.
    pub(crate) fn want(&mut self, ssrc: u32, sequences: &[u16]) {
        for wanted in sequences.iter().map(|sequence| (ssrc, *sequence)) {
            if self.waiting.len() < MAX_WAITING && !self.waiting.contains(&wanted) {
                self.waiting.push_back(wanted);
            }
        }
    }

    /// What to ask for now, by source; the longest wait comes first.
    pub(crate) fn poll(&mut self, now: Instant) -> BTreeMap<u32, Vec<u16>> {
        let mut due: BTreeMap<u32, Vec<u16>> = BTreeMap::new();
        if self.next.is_some_and(|at| at > now) {
            return due;
        }
        let count = self.waiting.len().min(self.burst);
        for (ssrc, sequence) in self.waiting.drain(..count) {
            due.entry(ssrc).or_default().push(sequence);
        }
        self.next = (count > 0).then(|| now + PACE);
        due
    }

    /// When [`Self::poll`] wants to be called again; `None`: when something is missing.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIDEO: u32 = 7;
    const AUDIO: u32 = 8;

    /// Asks until nothing waits: how many were asked for at each time, in ms.
    fn drain(pacer: &mut NackPacer, start: Instant) -> Vec<(u128, usize)> {
        let mut asked = Vec::new();
        let mut now = start;
        loop {
            let count: usize = pacer.poll(now).values().map(Vec::len).sum();
            if count > 0 {
                asked.push(((now - start).as_millis(), count));
            }
            match pacer.poll_timeout() {
                Some(at) => now = at,
                None => return asked,
            }
        }
    }

    #[test]
    fn what_has_room_is_asked_for_at_once_and_the_rest_at_a_pace() {
        let start = Instant::now();
        // 208 KiB, which the kernel counts twice, have room for 184 packets.
        let mut pacer = NackPacer::new(2 * 212_992);
        let missing: Vec<u16> = (0..500).collect();
        pacer.want(VIDEO, &missing);
        assert_eq!(drain(&mut pacer, start), [(0, 92), (5, 92), (10, 92), (15, 92), (20, 92), (25, 40)]);
        // With the room of eight MiB all of them go at once.
        let mut pacer = NackPacer::new(16 << 20);
        pacer.want(VIDEO, &missing);
        assert_eq!(drain(&mut pacer, start), [(0, 500)]);
    }

    #[test]
    fn a_second_request_waits_for_the_pace_and_nothing_is_asked_for_twice() {
        let start = Instant::now();
        let mut pacer = NackPacer::new(0);
        pacer.want(VIDEO, &(0..20).collect::<Vec<_>>());
        assert_eq!(pacer.poll(start)[&VIDEO], (0..16).collect::<Vec<_>>(), "the smallest burst");
        pacer.want(VIDEO, &[16, 17]);
        pacer.want(AUDIO, &[16]);
        assert!(pacer.poll(start + Duration::from_millis(4)).is_empty());
        let due = pacer.poll(start + PACE);
        assert_eq!(due, [(VIDEO, vec![16, 17, 18, 19]), (AUDIO, vec![16])].into());
        // Still missing a while later: asked for again.
        assert!(pacer.poll(start + 2 * PACE).is_empty());
        assert_eq!(pacer.poll_timeout(), None);
        pacer.want(VIDEO, &[3]);
        assert_eq!(pacer.poll(start + 2 * PACE)[&VIDEO], [3]);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut pacer = NackPacer::new(0);
        for source in 0..4 {
            pacer.want(source, &(0..4096).collect::<Vec<_>>());
        }
        let asked: usize = drain(&mut pacer, Instant::now()).iter().map(|(_, count)| count).sum();
        assert_eq!(asked, MAX_WAITING);
    }
}
