//! From one connection to the next without a hole and without a frame twice: the old one is recorded up to the first frame of
//! the new one, an IDR.
//!
//! The same frame does not come over both at the same time, so that the old one is held back while it is left: what came
//! after that IDR has not been stored yet when it is found. It is known by its bytes where the master encodes once for all
//! viewers, else by its capture time.

use crate::metadata::Tag;
use bytes::Bytes;
use kvs_media::{AccessUnit, AudioPacket};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// What is held back, at least: how much later the new connection may bring a frame than the old one.
const DELAY: Duration = Duration::from_secs(2);

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

    /// The recording of the new connection begins here; the first word counts.
    pub(crate) fn cut(&self, cut: Cut) {
        self.0.lock().cut.get_or_insert(cut);
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
    /// Of the connection in whose place this one is; `None` once this one's recording has begun.
    follows: Option<Arc<HandOver>>,
    /// Sound from before the first frame was the other connection's.
    begins_at: Option<SystemTime>,
    has_video: bool,
}

impl Line {
    pub(crate) fn new(own: Arc<HandOver>, follows: Option<Arc<HandOver>>, has_video: bool) -> Self {
        Self { own, held: VecDeque::new(), bytes: 0, video_over: false, follows, begins_at: None, has_video }
    }

    /// An item, in order.
    pub(crate) fn push(&mut self, item: Item, now: Instant) {
        if !self.begins(&item) {
            return;
        }
        self.bytes += item.bytes();
        self.held.push_back((now, item));
    }

    /// Whether it belongs to this connection rather than to the one before.
    fn begins(&mut self, item: &Item) -> bool {
        let at = match item {
            Item::FormatChanged => return true,
            Item::Video(unit) => unit.capture_time,
            Item::Audio(packet) => packet.capture_time,
            Item::Gap { at, .. } | Item::Metadata { at, .. } => *at,
        };
        if let Some(before) = &self.follows {
            let first = match item {
                Item::Video(unit) if unit.is_idr() => unit.data.clone(),
                Item::Audio(_) if !self.has_video => Bytes::new(),
                // It ended before: its sound is not stored any more.
                Item::Audio(_) | Item::Gap { .. } | Item::Metadata { .. } => return before.0.lock().ended,
                _ => return false,
            };
            before.cut(Cut { capture_time: at, first });
            self.follows = None;
            self.begins_at = Some(at);
        }
        matches!(item, Item::Video(_)) || self.begins_at.is_none_or(|begins| at >= begins)
    }

    /// The next item that may be stored. `last`: nothing follows, nothing is waited for.
    pub(crate) fn poll(&mut self, now: Instant, last: bool) -> Option<Item> {
        let (begun, cut) = {
            let own = self.own.0.lock();
            (own.begun, own.cut.clone())
        };
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
            if goes {
                return Some(item);
            }
            self.video_over |= matches!(item, Item::Video(_));
        }
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
        self.held.front().map(|(at, _)| *at + DELAY)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.own.end();
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
