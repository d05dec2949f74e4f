//! When the thread of a connection may rest while datagrams come in, as network cards do that raise one interrupt for many: each
//! time a thread is woken costs more than what it does for a packet.
//!
//! The kernel keeps what arrives meanwhile, with the time of its arrival, so that a rest shows in no figure of the path. It
//! does delay what follows from a packet. So nobody rests before a connection has lasted for a while, nor while packets are
//! missing, which are to be asked for at once; nor where the kernel has too little room for what may come meanwhile.

use kvs_media::{MediaKind, PerTrack};
use kvs_peer::PACKET_COST;
use std::time::{Duration, Instant};

/// One rest. What is received waits so long at most.
pub(super) const REST: Duration = Duration::from_millis(40);

/// From the beginning of a connection, so that a few key frames have shown how much comes at once.
const BEGINNING: Duration = Duration::from_secs(5);

/// From a gap in the sequence numbers: what repairs it comes at once, and losses come together.
const REPAIR: Duration = Duration::from_secs(2);

/// From datagrams that the kernel had no room for.
const OVERFLOW: Duration = Duration::from_secs(60);

/// The most that came within a rest is remembered for so long, and at most twice as long.
const REMEMBERED: Duration = Duration::from_secs(10);

/// The sockets have room for so many times the most that came within a rest.
const ROOM: usize = 2;

/// Times that the thread waits for datagrams without a rest, after one in which none came: with less than one in a rest there is
/// nothing to be saved.
const VAIN: u32 = 16;

/// Bytes that a datagram of the usual size has at most.
const USUAL: usize = 1_500;

/// Decides when to rest.
#[derive(Debug)]
pub(super) struct Rest {
    /// Room in the smallest socket, bytes as the kernel counts them.
    receive_buffer: usize,
    /// Not before; `None` before the connection is up.
    from: Option<Instant>,
    /// SSRC and highest sequence number of each track.
    highest: PerTrack<Option<(u32, u16)>>,
    /// When it began, and what came since, as the kernel counts it.
    window: (Instant, usize),
    /// The most that came in a window: in this period, and in the one before.
    most: [usize; 2],
    /// When this period began.
    period: Instant,
    /// Datagrams came since the last rest began.
    received: bool,
    resting: bool,
    /// Times to go without a rest.
    without: u32,
}

impl Rest {
    /// `receive_buffer`: bytes of the smallest socket, as the kernel counts them.
    pub(super) fn new(receive_buffer: usize, now: Instant) -> Self {
        Self {
            receive_buffer,
            from: None,
            highest: PerTrack::default(),
            window: (now, 0),
            most: [0; 2],
            period: now,
            received: false,
            resting: false,
            without: 0,
        }
    }

    /// Media can come.
    pub(super) fn connected(&mut self, now: Instant) {
        self.from = Some(now + BEGINNING);
    }

    /// The kernel has dropped datagrams.
    pub(super) fn overflowed(&mut self, now: Instant) {
        self.not_for(OVERFLOW, now);
    }

    /// A datagram of so many bytes.
    pub(super) fn datagram(&mut self, bytes: usize, arrived: Instant) {
        self.received = true;
        let (since, sum) = &mut self.window;
        if arrived.saturating_duration_since(*since) >= REST {
            (*since, *sum) = (arrived, 0);
        }
        *sum += PACKET_COST * bytes.div_ceil(USUAL).max(1);
        self.most[0] = self.most[0].max(*sum);
        if arrived.saturating_duration_since(self.period) >= REMEMBERED {
            self.period = arrived;
            self.most = [*sum, self.most[0]];
        }
    }

    /// A packet of a track.
    pub(super) fn packet(&mut self, kind: MediaKind, ssrc: u32, sequence: u16, now: Instant) {
        let ahead = match self.highest[kind] {
            Some((known, highest)) if known == ssrc => sequence.wrapping_sub(highest),
            // The first of a source.
            _ => 1,
        };
        // What is behind was sent again, or came late: then there was a gap before.
        if (1..0x8000).contains(&ahead) {
            self.highest[kind] = Some((ssrc, sequence));
        }
        if (2..0x8000).contains(&ahead) {
            self.not_for(REPAIR, now);
        }
    }

    fn not_for(&mut self, duration: Duration, now: Instant) {
        self.from = self.from.map(|from| from.max(now + duration));
    }

    /// How long to rest now, before datagrams are waited for.
    pub(super) fn begin(&mut self, now: Instant) -> Option<Duration> {
        let received = std::mem::take(&mut self.received);
        if std::mem::take(&mut self.resting) && !received {
            self.without = VAIN;
        }
        let fits = self.most[0].max(self.most[1]).saturating_mul(ROOM) <= self.receive_buffer;
        if !received || !fits || self.from.is_none_or(|from| now < from) {
            return None;
        }
        if self.without > 0 {
            self.without -= 1;
            return None;
        }
        self.resting = true;
        Some(REST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUFFER: usize = 425_984;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// One that has been connected for long enough, and when that is.
    fn established() -> (Rest, Instant) {
        let start = Instant::now();
        let mut rest = Rest::new(BUFFER, start);
        rest.connected(start);
        (rest, start + BEGINNING)
    }

    /// A picture of `packets` packets each 33 ms for `pictures`, numbered on from `sequence`: how often it rested.
    fn play(rest: &mut Rest, at: &mut Instant, sequence: &mut u16, pictures: u32, packets: u32) -> u32 {
        let mut rests = 0;
        for _ in 0..pictures {
            *at += ms(33);
            for _ in 0..packets {
                *sequence = sequence.wrapping_add(1);
                rest.datagram(1_200, *at);
                rest.packet(MediaKind::Video, 1, *sequence, *at);
            }
            rests += u32::from(rest.begin(*at).is_some());
        }
        rests
    }

    #[test]
    fn nobody_rests_at_the_beginning_nor_before_it() {
        let start = Instant::now();
        let (mut rest, mut at, mut sequence) = (Rest::new(BUFFER, start), start, 65_500);
        assert_eq!(play(&mut rest, &mut at, &mut sequence, 300, 8), 0, "not connected");
        rest.connected(at);
        assert_eq!(play(&mut rest, &mut at, &mut sequence, 151, 8), 0, "the first five seconds");
        assert_eq!(play(&mut rest, &mut at, &mut sequence, 1, 8), 1);
    }

    #[test]
    fn a_gap_ends_it_for_a_while_and_what_comes_again_does_not() {
        let (mut rest, mut at) = established();
        let mut sequence = 65_500;
        assert_eq!(play(&mut rest, &mut at, &mut sequence, 30, 8), 30);
        // Behind the newest: a probe, or the network's copy.
        rest.packet(MediaKind::Video, 1, sequence.wrapping_sub(20), at);
        // Another source, and the other track, have numbers of their own.
        rest.packet(MediaKind::Audio, 2, 7, at);
        rest.packet(MediaKind::Audio, 3, 900, at);
        assert_eq!(play(&mut rest, &mut at, &mut sequence, 30, 8), 30);
        sequence = sequence.wrapping_add(1);
        assert_eq!(play(&mut rest, &mut at, &mut sequence, 61, 8), 0, "two seconds");
        assert_eq!(play(&mut rest, &mut at, &mut sequence, 10, 8), 10);
    }

    #[test]
    fn what_may_come_at_once_must_have_room() {
        let (mut rest, mut at) = established();
        let mut sequence = 0;
        // Half of the room. Two pictures come within a rest.
        let most = u32::try_from(BUFFER / ROOM / PACKET_COST).unwrap();
        assert_eq!(play(&mut rest, &mut at, &mut sequence, 10, most / 2), 10);
        assert_eq!(play(&mut rest, &mut at, &mut sequence, 1, most + 1), 0);
        // Remembered for ten seconds, and not for longer than twenty.
        assert_eq!(play(&mut rest, &mut at, &mut sequence, 300, 8), 0);
        assert!(play(&mut rest, &mut at, &mut sequence, 330, 8) > 0);
        rest.overflowed(at);
        assert_eq!(play(&mut rest, &mut at, &mut sequence, 1_800, 8), 0, "a minute");
        assert_eq!(play(&mut rest, &mut at, &mut sequence, 30, 8), 12);
    }

    #[test]
    fn where_little_comes_there_is_nothing_to_be_saved() {
        let (mut rest, start) = established();
        let mut rests = 0;
        // A picture each 66 ms: the rest behind it is over before the next comes.
        for number in 0..170 {
            let at = start + ms(66) * number;
            rest.datagram(1_200, at);
            if rest.begin(at).is_some() {
                rests += 1;
                assert_eq!(rest.begin(at + REST), None, "nothing came");
            }
        }
        assert_eq!(rests, 10);
        // And nobody rests where nothing comes.
        assert_eq!(rest.begin(start + ms(60_000)), None);
    }
}
