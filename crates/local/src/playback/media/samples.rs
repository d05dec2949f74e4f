//! Stored Matroska to timed samples: what every container is written from.

use bytes::Bytes;

use super::{
    codec::config_of,
    config::{AudioCodec, Config},
    error::MediaError,
    nal,
};
use crate::mkv::{Item, Parser, Track};

/// A frame, timed in units of its track's timescale.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    /// When it is decoded. Strictly rising within a track, and never behind the time at which it, or one that follows, is shown:
    /// as late as that allows. So fragments join, whatever their B frames are like, and no picture has to be moved.
    pub(crate) decode: i64,
    /// Until the next one. The last one's reaches to the end of the last picture, so that all of them together are the fragment's
    /// length.
    pub(crate) duration: u32,
    /// When it is shown, less `decode`: not 0 where pictures are out of order.
    pub(crate) offset: i32,
    /// Whether decoding can begin with it.
    pub(crate) sync: bool,
    pub(crate) data: Bytes,
}

/// The samples of a track in one fragment, in the order of decoding.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TrackSamples {
    pub(crate) config: Config,
    pub(crate) samples: Vec<Sample>,
}

/// What a header declares, by track number: places of tracks are counted from 1 in that order.
pub(crate) fn configs(header: &[u8]) -> Result<Vec<Config>, MediaError> {
    // A header is complete when a cluster begins.
    let mut items = Vec::new();
    let mut parser = Parser::new(u64::MAX);
    let read = parser.push(header, &mut items).and_then(|()| parser.push(&EMPTY_CLUSTER, &mut items));
    match items.into_iter().next() {
        Some(Item::Header { tracks, .. }) => sorted(tracks).iter().map(config_of).collect(),
        _ => Err(MediaError::Unreadable(format!("its header cannot be read: {read:?}"))),
    }
}

/// The head of a cluster of unknown size, with a `Timecode`.
const EMPTY_CLUSTER: [u8; 8] = [0x1F, 0x43, 0xB6, 0x75, 0xFF, 0xE7, 0x81, 0x00];

fn sorted(mut tracks: Vec<Track>) -> Vec<Track> {
    tracks.sort_by_key(|track| track.number);
    tracks
}

/// Reads a stored fragment whose cluster's `Timecode` is the time `at_ms`, milliseconds since 1970.
///
/// # Errors
/// A track cannot be played, or a frame is broken.
pub(crate) fn read(header: &[u8], raw: &[u8], at_ms: u64) -> Result<Vec<TrackSamples>, MediaError> {
    let mut items = Vec::new();
    let mut parser = Parser::new(u64::MAX);
    parser
        .push(header, &mut items)
        .and_then(|()| parser.push(raw, &mut items))
        .and_then(|()| parser.finish(&mut items))
        .map_err(|error| MediaError::Unreadable(format!("it cannot be read: {error}")))?;
    let (mut tracks, mut scale, mut cluster) = (Vec::new(), 1_000_000, 0);
    let mut frames: Vec<(u64, i64, bool, Bytes)> = Vec::new();
    for item in items {
        match item {
            Item::Header { tracks: declared, timecode_scale, .. } => {
                (tracks, scale) = (sorted(declared), timecode_scale);
            }
            Item::Cluster { timecode, .. } => cluster = timecode,
            Item::Frame { track, time, key, data, .. } => frames.push((track, time, key, data)),
            Item::ClusterEnd { .. } | Item::Tags { .. } => {}
        }
    }
    let clock = Clock {
        at_ns: i128::from(at_ms) * 1_000_000,
        cluster: i128::from(cluster),
        scale: i128::from(scale),
    };
    let of_track = |track: &Track| {
        let config = config_of(track)?;
        let frames = frames.iter().filter(|(number, ..)| *number == track.number);
        let frames: Vec<_> = frames
            .map(|(_, time, key, data)| (clock.ticks(*time, config.timescale()), *key, data.clone()))
            .collect();
        let samples = match &config {
            Config::Video(_) => video(&config, track, frames)?,
            Config::Audio(_) => audio(&config, &clock, frames)?,
        };
        Ok(TrackSamples { config, samples })
    };
    tracks.iter().map(of_track).collect()
}

/// From units of Matroska's times to those of a track.
struct Clock {
    at_ns: i128,
    cluster: i128,
    scale: i128,
}

impl Clock {
    fn ticks(&self, time: i64, timescale: u32) -> i64 {
        let ns = (i128::from(time) - self.cluster).saturating_mul(self.scale).saturating_add(self.at_ns);
        let ticks =
            ns.saturating_mul(i128::from(timescale)).saturating_add(500_000_000).div_euclid(1_000_000_000);
        // Times before 1970 are 1970; those behind the year 9999 are refused by PutMedia.
        i64::try_from(ticks.max(0)).unwrap_or(i64::MAX / 2).min(i64::MAX / 2)
    }

    /// Two units of Matroska's times, by which rounded ones may be wrong.
    fn slack(&self, timescale: u32) -> i64 {
        let ticks = self.scale.saturating_mul(2 * i128::from(timescale)) / 1_000_000_000;
        i64::try_from(ticks).unwrap_or(i64::MAX / 4).min(i64::from(timescale)) + 1
    }
}

type Timed = (i64, bool, Bytes);

fn video(config: &Config, track: &Track, frames: Vec<Timed>) -> Result<Vec<Sample>, MediaError> {
    let Config::Video(video) = config else { return Ok(Vec::new()) };
    let shown: Vec<i64> = frames.iter().map(|(time, ..)| *time).collect();
    let mut samples = Vec::with_capacity(frames.len());
    for ((time, key, data), decode) in frames.into_iter().zip(decoding_times(&shown)) {
        let units = nal::units(&data, video.length_size)?;
        let sync = key || nal::is_random_access(video, &units);
        samples.push(Sample { decode, duration: 0, offset: clamp(time - decode), sync, data });
    }
    let (first, last) = (shown.iter().min().copied().unwrap_or(0), shown.iter().max().copied().unwrap_or(0));
    let stated = track.default_duration_ns.map(|ns| i64::try_from(u128::from(ns) * 9 / 100_000).unwrap_or(0));
    let frame = stated.filter(|ticks| *ticks > 0).unwrap_or(match shown.len() {
        // A picture alone: a thirtieth of a second.
        0 | 1 => 3_000,
        count => (last - first) / (count as i64 - 1),
    });
    Ok(with_durations(samples, last.saturating_add(frame)))
}

/// The latest times, strictly rising, that are not behind those at which the frames are shown.
fn decoding_times(shown: &[i64]) -> Vec<i64> {
    let mut times = shown.to_vec();
    for index in (1..times.len()).rev() {
        times[index - 1] = times[index - 1].min(times[index] - 1);
    }
    // Frames that are shown at once in the first moment of 1970 have no room before them.
    let mut earliest = 0;
    for time in &mut times {
        *time = (*time).max(earliest);
        earliest = *time + 1;
    }
    times
}

fn audio(config: &Config, clock: &Clock, frames: Vec<Timed>) -> Result<Vec<Sample>, MediaError> {
    let Config::Audio(audio) = config else { return Ok(Vec::new()) };
    let length = |data: &Bytes| match &audio.codec {
        AudioCodec::Aac { frame, .. } => i64::from(*frame),
        AudioCodec::Alaw | AudioCodec::Ulaw => (data.len() / usize::from(audio.channels)) as i64,
    };
    let slack = clock.slack(audio.rate);
    let mut samples: Vec<Sample> = Vec::with_capacity(frames.len());
    let mut expected: Option<i64> = None;
    for (time, _, data) in frames {
        if data.is_empty() {
            return Err(MediaError::InvalidFrame("an empty frame of audio.".to_owned()));
        }
        // Whole milliseconds are too coarse for frames of 21.33 ms: a frame that is where the one before it ends is exactly there.
        let decode = match (expected, samples.last()) {
            (Some(expected), _) if (time - expected).abs() <= slack => expected,
            (_, Some(last)) => time.max(last.decode + 1),
            (_, None) => time,
        };
        expected = Some(decode + length(&data).max(1));
        samples.push(Sample { decode, duration: 0, offset: 0, sync: true, data });
    }
    Ok(with_durations(samples, expected.unwrap_or(0)))
}

/// Each sample lasts until the next one, the last until `end`.
fn with_durations(mut samples: Vec<Sample>, end: i64) -> Vec<Sample> {
    let next: Vec<i64> = samples.iter().skip(1).map(|sample| sample.decode).chain([end]).collect();
    for (sample, next) in samples.iter_mut().zip(next) {
        sample.duration = u32::try_from((next - sample.decode).max(1)).unwrap_or(u32::MAX);
    }
    samples
}

fn clamp(offset: i64) -> i32 {
    i32::try_from(offset).unwrap_or(if offset < 0 { i32::MIN } else { i32::MAX })
}

#[cfg(test)]
mod tests {
    use super::super::stored::{AAC, SPS, avcc, cluster, g711, header, hvcc, slice};
    use super::*;

    const AT: u64 = 1_795_215_762_009;

    fn both() -> Bytes {
        header(&[("V_MPEG4/ISO/AVC", &avcc(SPS)), ("A_AAC", &AAC)])
    }

    #[test]
    fn pictures_out_of_order_get_a_time_of_decoding_and_an_offset() {
        // I P B B, shown as I B B P, 40 ms apart, and the last frame lasts as long as the others
        let times = [(0, true), (120, false), (40, false), (80, false)];
        let blocks: Vec<_> = times.iter().map(|(time, key)| (1, *time, *key, slice(*key, 9))).collect();
        let header = header(&[("V_MPEG4/ISO/AVC", &avcc(SPS))]);
        let track = read(&header, &cluster(7_000, &blocks), AT).unwrap().remove(0);
        let start = i64::try_from(AT).unwrap() * 90;
        let seen: Vec<_> = track
            .samples
            .iter()
            .map(|sample| (sample.decode - start, sample.duration, sample.offset, sample.sync))
            .collect();
        assert_eq!(
            seen,
            [
                (0, 3_599, 0, true),
                (3_599, 1, 7_201, false),
                (3_600, 3_600, 0, false),
                (7_200, 7_200, 0, false)
            ]
        );
    }

    #[test]
    fn sound_is_timed_by_its_samples_where_milliseconds_are_too_coarse() {
        let times = [0, 21, 43, 64, 85, 500];
        let blocks: Vec<_> = times.iter().map(|time| (2, *time, false, vec![1, 2])).collect();
        let blocks = [vec![(1, 5, true, slice(true, 9))], blocks].concat();
        let track = read(&both(), &cluster(0, &blocks), 0).unwrap().remove(1);
        let seen: Vec<_> = track.samples.iter().map(|sample| (sample.decode, sample.duration)).collect();
        let gap = 24_000 - 4 * 1_024;
        assert_eq!(seen, [(0, 1024), (1024, 1024), (2048, 1024), (3072, 1024), (4096, gap), (24_000, 1024)]);
    }

    /// Each refusal, and that it names what is wrong.
    #[test]
    fn what_cannot_be_played_is_named() {
        type Wrong = fn(&MediaError) -> bool;
        let unsupported: Wrong = |error| matches!(error, MediaError::Unsupported(_));
        let missing: Wrong = |error| matches!(error, MediaError::MissingCodecPrivate(_));
        let invalid: Wrong = |error| matches!(error, MediaError::InvalidCodecPrivate(_));
        let annex_b = [&[0, 0, 0, 1][..], &hex::decode(SPS).unwrap()].concat();
        let no_pps = [&avcc(SPS)[..avcc(SPS).len() - 7], &[0]].concat();
        for (codec, private, kind, words) in [
            ("V_VP8", vec![1], unsupported, "V_VP8"),
            ("A_OPUS", vec![1], unsupported, "A_OPUS"),
            ("V_MPEG4/ISO/AVC", vec![], missing, "CodecPrivate"),
            ("A_AAC", vec![], missing, "CodecPrivate"),
            ("V_MPEG4/ISO/AVC", annex_b.clone(), invalid, "Annex B"),
            ("V_MPEGH/ISO/HEVC", annex_b, invalid, "Annex B"),
            ("V_MPEG4/ISO/AVC", vec![1, 2, 3], invalid, "no AVC"),
            ("V_MPEG4/ISO/AVC", avcc(SPS)[..20].to_vec(), invalid, "ends within"),
            ("V_MPEG4/ISO/AVC", no_pps, invalid, "no PPS"),
            ("A_AAC", vec![0xFF], invalid, "AudioSpecificConfig"),
            ("A_MS/ACM", vec![1, 0, 1, 0, 64, 31, 0, 0, 0, 0, 0, 0, 0, 0], unsupported, "0x0001"),
            ("A_MS/ACM", vec![6], invalid, "no wave format"),
        ] {
            let error = configs(&header(&[(codec, &private)])).unwrap_err();
            assert!(kind(&error) && error.to_string().contains(words), "{codec}: {error:?}");
        }
    }

    #[test]
    fn codecs_are_named_as_rfc_6381_has_them() {
        let tracks: [(&str, &[u8]); 4] = [
            ("V_MPEG4/ISO/AVC", &avcc(SPS)),
            ("V_MPEGH/ISO/HEVC", &hvcc()),
            ("A_AAC", &AAC),
            ("A_MS/ACM", &g711(6)),
        ];
        let configs = configs(&header(&tracks)).unwrap();
        let names: Vec<_> = configs.iter().map(Config::name).collect();
        assert_eq!(names, ["avc1.42c00b", "hvc1.1.6.L60.90", "mp4a.40.2", "alaw"]);
        // with SBR in front, and with it announced behind
        for (private, name) in [("2b8a0800", "mp4a.40.5"), ("119056e500", "mp4a.40.2")] {
            let private = hex::decode(private).unwrap();
            assert_eq!(super::configs(&header(&[("A_AAC", &private)])).unwrap()[0].name(), name);
        }
    }
}
