//! What a pad knows of its track.

use std::time::{Duration, Instant};

use super::hevc::ByteStream;
use kvs_putmedia::{Codec, MediaTime, NalCodec, TrackDetails, TrackFormat, TrackKind, nal_length_size};

/// A key frame that does not come is asked for again after this long.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// A sink pad's track.
#[derive(Debug, Default)]
pub(super) struct Track {
    format: Option<TrackFormat>,
    nal: Option<(NalCodec, usize)>,
    /// The buffers are a byte stream of these caps.
    pub(super) byte_stream: Option<(gst::Caps, ByteStream)>,
    /// Of video, as caps or the property `framerate` have it.
    frame: Duration,
    last: Option<(MediaTime, Duration)>,
    /// How late a buffer comes at most, in nanoseconds; `None` when its source is not live, or nobody has asked.
    pub(super) live_latency: Option<i128>,
    /// Upstream says that data is missing before the next buffer.
    pub(super) missing: bool,
    /// A key frame was asked for, at this time, and has not come.
    asked: Option<Instant>,
    /// Nothing has come since its stream began.
    fresh: bool,
    /// Its end has come.
    pub(super) ended: bool,
    /// Between FLUSH_START and FLUSH_STOP.
    pub(super) flushing: bool,
}

impl Track {
    /// Takes a format; `frame` is how long a video frame lasts that does not say so.
    pub(super) fn set_format(&mut self, format: TrackFormat, frame: Duration) {
        let nal = match format.codec {
            Codec::H264 => Some(NalCodec::H264),
            Codec::H265 => Some(NalCodec::H265),
            Codec::Aac | Codec::Alaw | Codec::Mulaw => None,
        };
        self.nal = nal.and_then(|codec| Some((codec, nal_length_size(codec, &format.codec_private)?)));
        self.frame = frame;
        self.format = Some(format);
    }

    /// Codec and size of the lengths in front of NAL units, of video.
    pub(super) fn nal(&self) -> Option<(NalCodec, usize)> {
        self.nal
    }

    /// The time of a buffer that has none: when the last one ended. `None` for the first.
    pub(super) fn next_time(&self) -> Option<MediaTime> {
        self.last.map(|(time, duration)| time + duration)
    }

    /// Remembers a buffer: its time, and how long it lasts.
    pub(super) fn record(&mut self, time: MediaTime, duration: Duration) {
        self.last = Some((time, duration));
    }

    /// A stream begins: what comes next need not go on from what was.
    pub(super) fn begin(&mut self) {
        (self.ended, self.flushing, self.missing, self.asked) = (false, false, false, None);
        (self.fresh, self.live_latency) = (true, None);
    }

    /// Whether media was lost before this buffer, without which it cannot be decoded.
    pub(super) fn has_lost(&mut self, key: bool, discont: bool) -> bool {
        let missing = std::mem::take(&mut self.missing);
        let fresh = std::mem::take(&mut self.fresh);
        !key && (missing || (discont && !fresh && self.last.is_some()))
    }

    /// Whether to ask for a key frame now: not again and again.
    pub(super) fn should_ask(&mut self, now: Instant) -> bool {
        let due = self.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= ASK_AGAIN);
        if due {
            self.asked = Some(now);
        }
        due
    }

    /// A key frame was asked for, and has not come.
    pub(super) fn awaits_key(&self) -> bool {
        self.asked.is_some()
    }

    /// The key frame has come.
    pub(super) fn key_arrived(&mut self) {
        self.asked = None;
    }

    /// How long a buffer of so many bytes lasts, which says that itself or not.
    pub(super) fn duration(&self, bytes: usize, said: Option<Duration>) -> Duration {
        said.filter(|duration| !duration.is_zero()).unwrap_or_else(|| self.length_of(bytes))
    }

    /// How long this many bytes of the track last.
    fn length_of(&self, bytes: usize) -> Duration {
        let Some(format) = &self.format else { return Duration::from_millis(1) };
        let samples = match (format.codec, format.details) {
            // ISO/IEC 14496-3: a frame of AAC-LC is 1024 samples.
            (Codec::Aac, TrackDetails::Audio { sample_rate, .. }) => Some((1024, sample_rate)),
            (Codec::Alaw | Codec::Mulaw, TrackDetails::Audio { sample_rate, channels, .. }) => {
                Some((bytes as u64 / u64::from(channels.max(1)), sample_rate))
            }
            _ => None,
        };
        match samples {
            Some((samples, rate)) => Duration::from_nanos(samples * 1_000_000_000 / u64::from(rate.max(1))),
            None => self.frame,
        }
    }
}

/// The index of a kind in arrays with one entry for each.
pub(super) fn index(kind: TrackKind) -> usize {
    match kind {
        TrackKind::Video => 0,
        TrackKind::Audio => 1,
    }
}

/// The kind of track that a pad of this name takes.
pub(super) fn kind_of(pad_name: &str) -> TrackKind {
    if pad_name.starts_with("video") { TrackKind::Video } else { TrackKind::Audio }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn second(format: TrackFormat, bytes: usize) -> Duration {
        let mut track = Track::default();
        track.set_format(format, Duration::from_millis(40));
        assert_eq!(track.next_time(), None);
        track.record(MediaTime::from_millis(1000), track.duration(bytes, None));
        track.next_time().unwrap().since(MediaTime::from_millis(1000))
    }

    #[test]
    fn a_buffer_without_time_follows_the_one_before_it() {
        assert_eq!(second(TrackFormat::h264(Bytes::new(), 16, 16), 9), Duration::from_millis(40));
        assert_eq!(second(TrackFormat::aac(Bytes::new(), 16_000, 1), 9), Duration::from_millis(64));
        assert_eq!(second(TrackFormat::g711(Codec::Mulaw, 8000, 2), 320), Duration::from_millis(20));
        let mut track = Track::default();
        track.record(MediaTime::from_millis(5), track.duration(1, Some(Duration::from_millis(7))));
        assert_eq!(track.next_time(), Some(MediaTime::from_millis(12)));
    }

    #[test]
    fn what_is_flagged_in_the_middle_is_a_loss() {
        let mut track = Track::default();
        track.begin();
        assert!(!track.has_lost(false, true), "the first buffer");
        track.record(MediaTime::from_millis(5), Duration::from_millis(7));
        assert!(!track.has_lost(false, false) && !track.has_lost(true, true));
        assert!(track.has_lost(false, true));
        track.missing = true;
        assert!(!track.has_lost(true, false) && !track.has_lost(false, false));
        track.begin();
        assert!(!track.has_lost(false, true), "the first of another stream");
    }

    #[test]
    fn a_key_frame_is_asked_for_again_after_a_while() {
        let (mut track, now) = (Track::default(), Instant::now());
        assert!(track.should_ask(now) && !track.should_ask(now + Duration::from_secs(1)));
        assert!(track.should_ask(now + Duration::from_secs(2)));
        track.key_arrived();
        assert!(track.should_ask(now + Duration::from_secs(2)));
    }
}
