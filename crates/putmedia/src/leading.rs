//! Finds where a fragment of H.265 begins.
//!
//! An IRAP picture of H.265 may be followed, in decoding order, by leading pictures: pictures that are presented
//! before it (ITU-T H.265, 3.73). They belong to its fragment, because they refer to it. A fragment's timecode is
//! that of its earliest frame, so an IRAP picture waits here until its leading pictures are known. H.264 has
//! nothing of the kind: what follows an IDR is presented after it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::{Codec, Frame, MediaTime, TrackFormat, TrackKind};

/// No decoder holds more pictures back (ITU-T H.265, A.4.2).
const MAX_LEADING: usize = 16;

/// A frame with its format, and the earliest time of it and its leading pictures.
pub(crate) type Ready = (Frame, MediaTime, Arc<TrackFormat>);

#[derive(Debug)]
pub(crate) struct Leading {
    /// An IRAP picture and the leading pictures that have come.
    held: Vec<(Frame, Arc<TrackFormat>)>,
    since: Option<Instant>,
    /// The next frame is waited for no longer than this.
    wait: Duration,
}

impl Leading {
    pub(crate) fn new(wait: Duration) -> Self {
        Self { held: Vec::new(), since: None, wait }
    }

    /// Takes a frame, and hands on those that are not held.
    pub(crate) fn push(&mut self, frame: Frame, format: Arc<TrackFormat>, now: Instant) -> Vec<Ready> {
        if frame.track != TrackKind::Video {
            return vec![as_it_is(frame, format)];
        }
        let mut ready = Vec::new();
        if let Some((irap, _)) = self.held.first() {
            if !frame.random_access && frame.time < irap.time && self.held.len() <= MAX_LEADING {
                self.held.push((frame, format));
                return ready;
            }
            ready = self.release();
        }
        if frame.random_access && format.codec == Codec::H265 {
            self.since = Some(now);
            self.held.push((frame, format));
        } else {
            ready.push(as_it_is(frame, format));
        }
        ready
    }

    /// Hands on what is held.
    pub(crate) fn release(&mut self) -> Vec<Ready> {
        self.since = None;
        let earliest = self.held.iter().map(|(frame, _)| frame.time).min();
        let mut ready: Vec<Ready> =
            self.held.drain(..).map(|(frame, format)| as_it_is(frame, format)).collect();
        if let (Some((_, from, _)), Some(earliest)) = (ready.first_mut(), earliest) {
            *from = earliest;
        }
        ready
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

fn as_it_is(frame: Frame, format: Arc<TrackFormat>) -> Ready {
    let from = frame.time;
    (frame, from, format)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn push(leading: &mut Leading, ms: u64, random_access: bool, format: TrackFormat) -> Vec<(u64, u64)> {
        let frame = Frame {
            track: format.kind(),
            time: MediaTime::from_millis(ms),
            random_access,
            data: Bytes::from_static(b"x"),
        };
        times(leading.push(frame, Arc::new(format), Instant::now()))
    }

    fn times(ready: Vec<Ready>) -> Vec<(u64, u64)> {
        ready.into_iter().map(|(frame, from, _)| (frame.time.millis(), from.millis())).collect()
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
    fn h264_and_audio_are_not_held() {
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
