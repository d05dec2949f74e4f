//! Finds where a fragment begins whose first picture is not the first to be presented.
//!
//! An IRAP picture of H.265 may be followed, in decoding order, by leading pictures: pictures that are presented
//! before it (ITU-T H.265, 3.73). They belong to its fragment, because they refer to it. A fragment's timecode is
//! that of its earliest frame, so an IRAP picture waits here until its leading pictures are known. With H.264 it is the
//! same at a recovery point, which an open group of pictures begins with; what follows an IDR is presented after it.

use std::time::{Duration, Instant};

use crate::interleave::Pushed;
use crate::nal::{NalCodec, may_be_led};
use crate::{Codec, MediaTime, TrackKind};

/// What is presented so long before an IRAP picture does not lead it: one of the two has a stray time.
const FARTHEST: Duration = Duration::from_secs(5);
/// No decoder holds more pictures back (ITU-T H.265, A.4.2).
const MAX_LEADING: usize = 16;

/// A frame, and the earliest time of it and its leading pictures.
pub(crate) type Ready = (Pushed, MediaTime);

#[derive(Debug)]
pub(crate) struct Leading {
    /// A random-access point and the leading pictures that have come.
    held: Vec<Pushed>,
    since: Option<Instant>,
    /// The next frame is waited for no longer than this.
    wait: Duration,
}

impl Leading {
    pub(crate) fn new(wait: Duration) -> Self {
        Self { held: Vec::new(), since: None, wait }
    }

    /// Takes a frame, and hands on those that are not held.
    pub(crate) fn push(&mut self, pushed: Pushed, now: Instant) -> Vec<Ready> {
        let frame = &pushed.frame;
        if frame.track != TrackKind::Video {
            return vec![as_it_is(pushed)];
        }
        let mut ready = Vec::new();
        if let Some(first) = self.held.first() {
            let ahead = first.frame.time.since(frame.time);
            let leads = !frame.random_access && !ahead.is_zero() && ahead < FARTHEST;
            if leads && self.held.len() <= MAX_LEADING {
                self.held.push(pushed);
                return ready;
            }
            ready = self.release();
        }
        if pushed.frame.random_access && is_waited_for(&pushed) {
            self.since = Some(now);
            self.held.push(pushed);
        } else {
            ready.push(as_it_is(pushed));
        }
        ready
    }

    /// Hands on what is held.
    pub(crate) fn release(&mut self) -> Vec<Ready> {
        self.since = None;
        let earliest = self.held.iter().map(|pushed| pushed.frame.time).min();
        let mut ready: Vec<Ready> = self.held.drain(..).map(as_it_is).collect();
        if let (Some((_, from)), Some(earliest)) = (ready.first_mut(), earliest) {
            *from = earliest;
        }
        ready
    }

    /// Number of the random-access point that is held.
    pub(crate) fn first_key(&self) -> Option<u64> {
        self.held.first().map(|pushed| pushed.number)
    }

    /// Moves the times of all that is held.
    pub(crate) fn shift_time(&mut self, delta_ms: i64) {
        for pushed in &mut self.held {
            pushed.frame.time = pushed.frame.time.shifted(delta_ms);
        }
    }

    /// Forgets what is held, and says how many frames that were.
    pub(crate) fn clear(&mut self) -> u64 {
        self.since = None;
        let frames = self.held.len() as u64;
        self.held.clear();
        frames
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.since.map(|since| since + self.wait)
    }
}

fn is_waited_for(pushed: &Pushed) -> bool {
    let codec = match pushed.format.codec {
        Codec::H264 => NalCodec::H264,
        Codec::H265 => NalCodec::H265,
        Codec::Aac | Codec::Alaw | Codec::Mulaw => return false,
    };
    may_be_led(codec, &pushed.format.codec_private, &pushed.frame.data)
}

fn as_it_is(pushed: Pushed) -> Ready {
    let from = pushed.frame.time;
    (pushed, from)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::{Frame, TrackFormat};

    fn push(leading: &mut Leading, ms: u64, random_access: bool, format: TrackFormat) -> Vec<(u64, u64)> {
        push_data(leading, ms, random_access, format, Bytes::from_static(b"x"))
    }

    fn push_data(
        leading: &mut Leading,
        ms: u64,
        random_access: bool,
        format: TrackFormat,
        data: Bytes,
    ) -> Vec<(u64, u64)> {
        let time = MediaTime::from_millis(ms);
        let frame = Frame { track: format.kind(), time, random_access, data };
        times(leading.push(Pushed { frame, format: Arc::new(format), number: 0 }, Instant::now()))
    }

    fn times(ready: Vec<Ready>) -> Vec<(u64, u64)> {
        ready.into_iter().map(|(pushed, from)| (pushed.frame.time.millis(), from.millis())).collect()
    }

    fn h265() -> TrackFormat {
        TrackFormat::h265(Bytes::new(), 16, 16)
    }

    #[test]
    fn an_irap_picture_begins_where_its_leading_pictures_do() {
        let mut it = Leading::new(Duration::from_secs(1));
        assert_eq!(push(&mut it, 120, true, h265()), []);
        assert_eq!(push(&mut it, 40, false, h265()), []);
        assert_eq!(push(&mut it, 80, false, h265()), []);
        assert!(it.poll_timeout().is_some());
        let released = push(&mut it, 160, false, h265());
        assert_eq!(released, [(120, 40), (40, 40), (80, 80), (160, 160)]);
        assert_eq!(it.poll_timeout(), None);
    }

    #[test]
    fn a_recovery_point_of_h264_begins_where_its_leading_pictures_do_and_an_idr_where_it_is() {
        let format = || TrackFormat::h264(Bytes::from_static(&[1, 100, 0, 31, 0xff]), 16, 16);
        let mut it = Leading::new(Duration::from_secs(1));
        let recovery = Bytes::from_static(&[0, 0, 0, 5, 6, 6, 1, 0xc4, 0x80, 0, 0, 0, 2, 0x41, 0x88]);
        assert_eq!(push_data(&mut it, 120, true, format(), recovery), []);
        assert_eq!(push(&mut it, 80, false, format()), []);
        assert_eq!(push(&mut it, 160, false, format()), [(120, 80), (80, 80), (160, 160)]);
        let idr = Bytes::from_static(&[0, 0, 0, 2, 0x65, 0x88]);
        assert_eq!(push_data(&mut it, 200, true, format(), idr), [(200, 200)]);
    }

    #[test]
    fn an_idr_of_h264_and_audio_are_not_held() {
        let mut it = Leading::new(Duration::from_secs(1));
        assert_eq!(push(&mut it, 40, true, TrackFormat::h264(Bytes::new(), 16, 16)), [(40, 40)]);
        assert_eq!(push(&mut it, 41, true, h265()), []);
        assert_eq!(push(&mut it, 30, false, TrackFormat::aac(Bytes::new(), 48_000, 2)), [(30, 30)]);
        assert_eq!(times(it.release()), [(41, 41)]);
    }

    #[test]
    fn two_irap_pictures_in_a_row_and_endless_leading_pictures_get_on() {
        let mut it = Leading::new(Duration::from_secs(1));
        assert_eq!(push(&mut it, 1000, true, h265()), []);
        assert_eq!(push(&mut it, 1040, true, h265()), [(1000, 1000)]);
        let released: usize = (0..40).map(|n| push(&mut it, n, false, h265()).len()).sum();
        assert_eq!(released as u64 + it.clear(), 41);
        assert!(released > 20);
    }
}
