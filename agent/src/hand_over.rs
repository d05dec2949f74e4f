//! From one connection to the next without a hole and without a frame twice: the old one is recorded up to the first frame of
//! the new one, an IDR.
//!
//! The same frame does not come over both at the same time, so that the old one is held back while it is left: what came
//! after that IDR has not been stored yet when it is found. It is known by its bytes where the master encodes once for all
//! viewers, else by its capture time.
//!
//! A connection that has just come up may die at once. So the new one is held back as well, until it has brought media for a
//! while: only then is it final where it begins. When it dies before, nothing of it was stored, and the old one goes on.

use crate::metadata::Tag;
use bytes::Bytes;
use kvs_media::{AccessUnit, AudioPacket};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// From the first frame of the new connection until it counts.
pub(crate) const PROOF: Duration = Duration::from_millis(1_500);

/// How much later the new connection may bring a frame than the old one.
pub(crate) const LATER: Duration = Duration::from_secs(2);

/// For so long the old one is held back.
const DELAY: Duration = PROOF.saturating_add(LATER);

/// Bytes held back. When there are more, the oldest go on: what they hold may be stored twice then.
const MAX_HELD: usize = 16 << 20;

/// What an item costs beside its bytes.
const ITEM: usize = 64;

/// Where the new connection's recording begins.
#[derive(Clone, Debug)]
pub(crate) struct Cut {
    pub(crate) capture_time: SystemTime,
    /// The IDR; empty where there is no video.
    pub(crate) first: Bytes,
}

#[derive(Debug, Default)]
struct Inner {
    begun: bool,
    cut: Option<Cut>,
    /// The cut is final.
    decided: bool,
    ended: bool,
}

/// Between the task of a connection that is left and that of the one which takes its place.
#[derive(Debug, Default)]
pub struct HandOver(Mutex<Inner>);

impl HandOver {
    /// The connection is being left: it is held back from now on.
    pub(crate) fn begin(&self) {
        self.0.lock().begun = true;
    }

    /// The recording of the new connection would begin here.
    fn propose(&self, cut: Cut) {
        let mut inner = self.0.lock();
        if !inner.decided {
            inner.cut = Some(cut);
        }
    }

    /// It does. `at_once`: the new connection has proven itself; otherwise only if the old one does not go on anyway.
    fn decide(&self, at_once: bool) -> bool {
        let mut inner = self.0.lock();
        inner.decided |= at_once || inner.ended;
        inner.decided
    }

    /// The new connection is gone. True when nothing of it is wanted, because the old one goes on.
    fn withdraw(&self) -> bool {
        let mut inner = self.0.lock();
        if !inner.decided && !inner.ended {
            inner.cut = None;
        }
        inner.cut.is_none()
    }

    /// The new connection is gone, and what it brought is stored: the old one goes on, if it still can.
    fn resume(&self) {
        let mut inner = self.0.lock();
        if !inner.ended {
            (inner.cut, inner.decided) = (None, false);
        }
    }

    /// Where the old one ends, if that is known. At its `last` word the new connection need prove nothing any more: there is no
    /// other.
    fn cut(&self, last: bool) -> (bool, Option<Cut>) {
        let mut inner = self.0.lock();
        inner.decided |= last && inner.cut.is_some();
        (inner.begun, inner.cut.clone().filter(|_| inner.decided))
    }

    /// Nothing more is recorded of the old connection.
    pub(crate) fn end(&self) {
        self.0.lock().ended = true;
    }
}

/// What goes into a pipeline.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Item {
    Video(AccessUnit),
    FormatChanged,
    Audio(AudioPacket),
    Gap {
        at: SystemTime,
        duration: Duration,
    },
    /// Of a message that arrived then: a master may send the same over both connections.
    Metadata {
        at: SystemTime,
        tag: Tag,
    },
}

impl Item {
    fn bytes(&self) -> usize {
        ITEM + match self {
            Self::Video(unit) => unit.data.len(),
            Self::Audio(packet) => packet.data.len(),
            Self::Metadata { tag, .. } => tag.name.len() + tag.value.len(),
            Self::FormatChanged | Self::Gap { .. } => 0,
        }
    }
}

/// The media of a connection on its way to the pipelines.
#[derive(Debug)]
pub(crate) struct Line {
    own: Arc<HandOver>,
    held: VecDeque<(Instant, Item)>,
    bytes: usize,
    /// The frame was found at which the other connection begins.
    video_over: bool,
    /// The other connection has died, and pictures go on with an IDR.
    awaits_idr: bool,
    /// Pictures left out meanwhile.
    left_out: u64,
    /// Of the connection in whose place this one is.
    before: Option<Arc<HandOver>>,
    stage: Stage,
    /// Sound from before the first frame was the other connection's.
    begins_at: Option<SystemTime>,
    has_video: bool,
}

/// How far a connection has come that takes the place of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It has brought nothing to begin with.
    Follows,
    /// It has, and is final then.
    Unproven(Instant),
    /// It is recorded.
    Records,
}

impl Line {
    pub(crate) fn new(own: Arc<HandOver>, follows: Option<Arc<HandOver>>, has_video: bool) -> Self {
        let stage = if follows.is_some() { Stage::Follows } else { Stage::Records };
        Self {
            own,
            held: VecDeque::new(),
            bytes: 0,
            video_over: false,
            awaits_idr: false,
            left_out: 0,
            before: follows,
            stage,
            begins_at: None,
            has_video,
        }
    }

    /// Pictures that were left out because another connection, which has died, was to bring them.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// An item, in order.
    pub(crate) fn push(&mut self, item: Item, now: Instant) {
        if !self.begins(&item, now) {
            return;
        }
        self.bytes += item.bytes();
        self.held.push_back((now, item));
    }

    /// Whether it belongs to this connection rather than to the one before.
    fn begins(&mut self, item: &Item, now: Instant) -> bool {
        let at = match item {
            Item::FormatChanged => return true,
            Item::Video(unit) => unit.capture_time,
            Item::Audio(packet) => packet.capture_time,
            Item::Gap { at, .. } | Item::Metadata { at, .. } => *at,
        };
        if self.stage == Stage::Follows
            && let Some(before) = &self.before
        {
            let first = match item {
                Item::Video(unit) if unit.is_idr() => unit.data.clone(),
                Item::Audio(_) if !self.has_video => Bytes::new(),
                // It ended before: its sound is not stored any more.
                Item::Audio(_) | Item::Gap { .. } | Item::Metadata { .. } => return before.0.lock().ended,
                _ => return false,
            };
            before.propose(Cut { capture_time: at, first });
            self.stage = Stage::Unproven(now + PROOF);
            self.begins_at = Some(at);
        }
        matches!(item, Item::Video(_)) || self.begins_at.is_none_or(|begins| at >= begins)
    }

    /// The next item that may be stored. `last`: nothing follows, nothing is waited for.
    pub(crate) fn poll(&mut self, now: Instant, last: bool) -> Option<Item> {
        if !self.is_recorded(now, last) {
            return None;
        }
        let (begun, cut) = self.own.cut(last);
        if cut.is_none() {
            // What the other connection was to bring begins anew here.
            self.awaits_idr |= std::mem::take(&mut self.video_over);
        }
        loop {
            let (at, item) = self.held.front()?;
            let is_due = last || !begun || *at + DELAY <= now;
            let goes = match &cut {
                _ if self.bytes > MAX_HELD => true,
                None if is_due => true,
                None => return None,
                Some(cut) => self.is_before(item, cut, is_due)?,
            };
            let (_, item) = self.held.pop_front()?;
            self.bytes -= item.bytes();
            if !goes {
                self.video_over |= matches!(item, Item::Video(_));
                continue;
            }
            if let Item::Video(unit) = &item {
                self.awaits_idr &= !unit.is_idr();
                if self.awaits_idr {
                    self.left_out += 1;
                    continue;
                }
            }
            return Some(item);
        }
    }

    /// Whether it is final that this connection has taken the place of the one before.
    fn is_recorded(&mut self, now: Instant, last: bool) -> bool {
        let (Some(before), Stage::Unproven(proven_at)) = (&self.before, self.stage) else { return true };
        if before.decide(now >= proven_at || self.bytes > MAX_HELD) {
            self.stage = Stage::Records;
        } else if last {
            if before.withdraw() {
                self.held.clear();
                self.bytes = 0;
            }
            self.stage = Stage::Records;
        }
        self.stage == Stage::Records
    }

    /// Whether the front is from before the first frame of the other connection; `None`: that cannot be told yet.
    fn is_before(&self, item: &Item, cut: &Cut, is_due: bool) -> Option<bool> {
        let unit = match item {
            Item::FormatChanged => return Some(!self.video_over),
            Item::Audio(packet) => return Some(packet.capture_time < cut.capture_time),
            Item::Gap { at, .. } | Item::Metadata { at, .. } => return Some(*at < cut.capture_time),
            Item::Video(_) if self.video_over => return Some(false),
            Item::Video(unit) => unit,
        };
        let is_it = |(_, item): &(Instant, Item)| matches!(item, Item::Video(unit) if unit.is_idr() && unit.data == cut.first);
        match self.held.iter().position(is_it) {
            Some(position) => Some(position > 0),
            None if unit.capture_time < cut.capture_time => Some(true),
            // It may come yet, and this be from before it: of one picture two connections say two times.
            None => is_due.then_some(false),
        }
    }

    /// When [`Line::poll`] may have something though nothing was pushed.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let due = self.held.front().map(|(at, _)| *at + DELAY)?;
        match self.stage {
            Stage::Unproven(at) => Some(at),
            Stage::Follows | Stage::Records => Some(due),
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.own.end();
        if let Some(before) = &self.before {
            before.resume();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use kvs_media::{VideoCodec, VideoFormat, VideoParameters};
    use proptest::prelude::*;
    use std::time::UNIX_EPOCH;

    const FRAME: Duration = Duration::from_millis(40);

    fn capture(number: u32) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000) + FRAME * number
    }

    fn parameters() -> VideoParameters {
        VideoParameters {
            format: VideoFormat {
                codec: VideoCodec::H264,
                profile_idc: 66,
                constraint_flags: 0xe0,
                level_idc: 31,
                width: 640,
                height: 360,
            },
            configuration_record: Bytes::new(),
        }
    }

    /// Picture `number` of a master, as one of its connections has it. Every tenth is an IDR.
    fn picture(number: u32, encoder: u8, off: Duration) -> Item {
        Item::Video(AccessUnit {
            data: Bytes::from(vec![number as u8, (number >> 8) as u8, encoder]),
            capture_time: capture(number) + off,
            rtp_timestamp: u64::from(number),
            parameters: number.is_multiple_of(10).then(parameters),
        })
    }

    fn sound(number: u32) -> Item {
        Item::Audio(AudioPacket {
            data: Bytes::from_static(b"opus"),
            capture_time: capture(number),
            rtp_timestamp: u64::from(number),
            duration: FRAME,
            stereo: true,
        })
    }

    fn numbers(items: &[Item]) -> (Vec<u64>, Vec<u64>) {
        let (mut pictures, mut sounds) = (Vec::new(), Vec::new());
        for item in items {
            match item {
                Item::Video(unit) => pictures.push(unit.rtp_timestamp),
                Item::Audio(packet) => sounds.push(packet.rtp_timestamp),
                _ => {}
            }
        }
        (pictures, sounds)
    }

    struct Path {
        line: Line,
        delay: Duration,
        encoder: u8,
        off: Duration,
    }

    impl Path {
        fn arrive(&mut self, number: u32, now: Instant) {
            self.line.push(picture(number, self.encoder, self.off), now);
            self.line.push(sound(number), now);
        }
    }

    /// 400 pictures over two connections; the second begins to receive at `joins`. What is stored, in order.
    fn replaced(
        delays: [Duration; 2],
        encoders: [u8; 2],
        off: Duration,
        begins: u32,
        joins: u32,
    ) -> Vec<Item> {
        let start = Instant::now();
        let first = Arc::new(HandOver::default());
        let mut paths = [
            Path {
                line: Line::new(Arc::clone(&first), None, true),
                delay: delays[0],
                encoder: encoders[0],
                off: Duration::ZERO,
            },
            Path {
                line: Line::new(Arc::default(), Some(Arc::clone(&first)), true),
                delay: delays[1],
                encoder: encoders[1],
                off,
            },
        ];
        let mut arrivals: Vec<(Duration, usize, u32)> = Vec::new();
        for number in 0..400 {
            arrivals.push((FRAME * number + paths[0].delay, 0, number));
            if number >= joins {
                arrivals.push((FRAME * number + paths[1].delay, 1, number));
            }
        }
        arrivals.sort();
        let mut stored = [Vec::new(), Vec::new()];
        for (at, which, number) in arrivals {
            let now = start + at;
            if at >= FRAME * begins {
                first.begin();
            }
            paths[which].arrive(number, now);
            for (path, stored) in paths.iter_mut().zip(&mut stored) {
                while let Some(item) = path.line.poll(now, false) {
                    stored.push(item);
                }
            }
        }
        let end = start + Duration::from_secs(60);
        for (path, stored) in paths.iter_mut().zip(&mut stored) {
            while let Some(item) = path.line.poll(end, true) {
                stored.push(item);
            }
        }
        stored.concat()
    }

    proptest! {
        /// Whichever connection is slower, and whatever is thought of the second one's times: where one encoder feeds both,
        /// each picture is stored once.
        #[test]
        fn nothing_is_lost_and_nothing_stored_twice(
            first in 0..900u64, second in 0..900u64, off in 0..300u64, begins in 60..100u32, joins in 101..160u32,
        ) {
            let delays = [Duration::from_millis(first), Duration::from_millis(second)];
            let stored = replaced(delays, [0, 0], Duration::from_millis(off), begins, joins);
            let (pictures, _) = numbers(&stored);
            prop_assert_eq!(pictures, (0..400).collect::<Vec<_>>());
        }

        /// Where each connection has an encoder of its own, times tell: exact ones are exact.
        #[test]
        fn times_tell_where_bytes_do_not(
            first in 0..900u64, second in 0..900u64, begins in 60..100u32, joins in 101..160u32,
        ) {
            let delays = [Duration::from_millis(first), Duration::from_millis(second)];
            let (pictures, sounds) = numbers(&replaced(delays, [0, 1], Duration::ZERO, begins, joins));
            prop_assert_eq!(pictures, (0..400).collect::<Vec<_>>());
            prop_assert_eq!(sounds, (0..400).collect::<Vec<_>>());
        }

        /// Times that are too late, as those of arrival are, repeat as much as they are late, and lose nothing.
        #[test]
        fn a_late_clock_repeats_and_loses_nothing(late in 0..300u64, begins in 60..100u32, joins in 101..160u32) {
            let late = Duration::from_millis(late);
            let (mut pictures, _) = numbers(&replaced([FRAME, FRAME], [0, 1], late, begins, joins));
            let stored = pictures.len();
            pictures.sort_unstable();
            pictures.dedup();
            prop_assert_eq!(pictures, (0..400).collect::<Vec<_>>());
            prop_assert!((stored - 400) as u128 <= late.as_millis().div_ceil(FRAME.as_millis()), "{}", stored);
        }
    }

    /// Lets a connection take what it may, `last` or not.
    fn take(line: &mut Line, now: Instant, last: bool, stored: &mut Vec<Item>) {
        stored.extend(std::iter::from_fn(|| line.poll(now, last)));
    }

    proptest! {
        /// A connection that dies before it has proven itself was never there, another one takes the place that it had; and
        /// when the old one ends meanwhile, it counts after all.
        #[test]
        fn one_that_dies_at_once_costs_nothing(
            joins in 20..60u32, lives in 0..37u32, old_ends in 1..37u32, encoders in any::<bool>(), late in 0..900u64,
        ) {
            let start = Instant::now();
            let at = |number: u32| start + FRAME * number;
            let first = Arc::new(HandOver::default());
            let mut old = Some(Line::new(Arc::clone(&first), None, true));
            let mut new = Some(Line::new(Arc::default(), Some(Arc::clone(&first)), true));
            let mut third = None;
            first.begin();
            let encoder = u8::from(encoders);
            let begins = joins.div_ceil(10) * 10;
            // Whichever is shorter happens.
            let old_ends = (old_ends < lives).then_some(begins + old_ends);
            let mut stored = [Vec::new(), Vec::new(), Vec::new()];
            for number in 0..300 {
                let now = at(number);
                if let Some(line) = &mut old {
                    line.push(picture(number, 0, Duration::ZERO), now);
                    take(line, now, false, &mut stored[0]);
                    if Some(number) == old_ends {
                        take(line, now, true, &mut stored[0]);
                        old = None;
                    }
                }
                if let Some(line) = &mut new && number >= joins {
                    let behind = now + Duration::from_millis(late);
                    line.push(picture(number, encoder, Duration::ZERO), behind);
                    take(line, behind, false, &mut stored[1]);
                    if old_ends.is_none() && number == begins + lives {
                        take(line, behind, true, &mut stored[1]);
                        new = None;
                        prop_assert!(stored[1].is_empty());
                        third = Some(Line::new(Arc::default(), Some(Arc::clone(&first)), true));
                    }
                }
                if let Some(line) = &mut third {
                    line.push(picture(number, encoder, Duration::ZERO), now);
                    take(line, now, false, &mut stored[2]);
                }
            }
            let end = at(400);
            for (line, stored) in [old, new, third].into_iter().zip(&mut stored) {
                if let Some(mut line) = line {
                    take(&mut line, end, true, stored);
                }
            }
            let (pictures, _) = numbers(&stored.concat());
            prop_assert_eq!(pictures, (0..300).collect::<Vec<_>>());
        }
    }

    /// It was final where the new connection begins, and it dies: the old one goes on with its next IDR.
    #[test]
    fn the_old_connection_goes_on_when_the_new_one_dies_later() {
        let start = Instant::now();
        let first = Arc::new(HandOver::default());
        let mut old = Line::new(Arc::clone(&first), None, true);
        let mut new = Line::new(Arc::default(), Some(Arc::clone(&first)), true);
        first.begin();
        let (mut of_old, mut of_new) = (Vec::new(), Vec::new());
        for number in 0..200 {
            let now = start + FRAME * number;
            old.push(picture(number, 0, Duration::ZERO), now);
            take(&mut old, now, false, &mut of_old);
            if (20..120).contains(&number) {
                new.push(picture(number, 0, Duration::ZERO), now);
                take(&mut new, now, number == 119, &mut of_new);
            }
            if number == 119 {
                // 120 to 124 arrive while nothing is known of it.
                new = Line::new(Arc::default(), None, true);
            }
        }
        take(&mut old, start + FRAME * 400, true, &mut of_old);
        assert_eq!(numbers(&of_new).0, (20..120).collect::<Vec<_>>());
        let goes_on =
            of_old.iter().filter(|item| matches!(item, Item::Video(_))).skip(20).collect::<Vec<_>>();
        let Item::Video(unit) = goes_on[0] else { unreachable!() };
        assert!(unit.is_idr() && unit.rtp_timestamp <= 130, "{}", unit.rtp_timestamp);
        assert_eq!(goes_on.len() as u64, 200 - unit.rtp_timestamp);
        assert_eq!(old.left_out(), unit.rtp_timestamp - 120);
    }

    #[test]
    fn a_connection_that_is_not_left_is_not_held_back() {
        let now = Instant::now();
        let mut line = Line::new(Arc::default(), None, true);
        line.push(picture(1, 0, Duration::ZERO), now);
        assert!(line.poll(now, false).is_some());
    }

    #[test]
    fn what_is_held_back_is_bounded() {
        let now = Instant::now();
        let own = Arc::new(HandOver::default());
        own.begin();
        let mut line = Line::new(own, None, true);
        let large = |number| {
            let Item::Video(unit) = picture(number, 0, Duration::ZERO) else { unreachable!() };
            Item::Video(AccessUnit { data: Bytes::from(vec![0; 4 << 20]), ..unit })
        };
        let mut passed = 0;
        for number in 0..8 {
            line.push(large(number), now);
            while line.poll(now, false).is_some() {
                passed += 1;
            }
        }
        assert_eq!(passed, 5);
    }

    /// The connection before ended, and no IDR comes: sound is stored all the same.
    #[test]
    fn sound_does_not_wait_for_a_picture_that_nobody_sends() {
        let now = Instant::now();
        let before = Line::new(Arc::default(), None, true);
        let mut line = Line::new(Arc::default(), Some(Arc::clone(&before.own)), true);
        line.push(sound(1), now);
        assert_eq!(line.poll(now, false), None);
        drop(before);
        line.push(sound(2), now);
        assert_eq!(line.poll(now, false), Some(sound(2)));
    }
}
