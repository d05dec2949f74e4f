//! MPEG transport stream (ISO/IEC 13818-1) of a fragment: tables, then the frames of both tracks in the order of decoding. The
//! crates that write it leave PES, ADTS and Annex B to their caller, and those are most of the work.

mod packets;

use bytes::Bytes;

use self::packets::{Adaptation, Pid, section};
use super::media::{
    AudioCodec, AudioConfig, Config, MediaError, RATES, Sample, TrackSamples, VideoCodec, VideoConfig, nal,
};

const PMT_PID: u16 = 0x1000;
const FIRST_PID: u16 = 0x100;
/// How far the clock is behind the frame that it comes with, in units of 90 kHz: half a second for a decoder to fill up.
const LEAD: i64 = 45_000;
/// Times have 33 bits.
const WRAP: i64 = 1 << 33;

/// One segment. A player can begin with it.
///
/// # Errors
/// A frame is not what its codec says, or the codec cannot be told in a transport stream.
pub(super) fn segment(tracks: &[TrackSamples]) -> Result<Bytes, MediaError> {
    let mut out = Vec::new();
    let mut program = vec![0xE0 | (FIRST_PID >> 8) as u8, FIRST_PID as u8, 0xF0, 0];
    for (pid, track) in (FIRST_PID..).zip(tracks) {
        program.extend([stream_type(&track.config)?, 0xE0 | (pid >> 8) as u8, pid as u8, 0xF0, 0]);
    }
    let association = [0, 1, 0xE0 | (PMT_PID >> 8) as u8, PMT_PID as u8];
    Pid::new(0).write(&mut out, &section(0, 1, &association), Adaptation::default());
    Pid::new(PMT_PID).write(&mut out, &section(2, 1, &program), Adaptation::default());

    let mut pids: Vec<Pid> = (FIRST_PID..).take(tracks.len()).map(Pid::new).collect();
    for frame in in_order(tracks) {
        let Frame { place, decode, shown, sample } = frame;
        let config = &tracks[place].config;
        let (stream, content) = match config {
            Config::Video(video) => (0xE0, byte_stream(video, sample)?),
            Config::Audio(audio) => (0xC0, adts(audio, sample)?),
        };
        let pes = pes(stream, decode, shown, &content);
        let clock = (place == 0).then(|| (decode - LEAD).rem_euclid(WRAP) as u64);
        let random_access = sample.sync && place == 0;
        pids[place].write(&mut out, &pes, Adaptation { clock, random_access });
    }
    Ok(out.into())
}

/// Section 2.4.4.9, table 2-34.
fn stream_type(config: &Config) -> Result<u8, MediaError> {
    match config {
        Config::Video(video) if video.codec == VideoCodec::H264 => Ok(0x1B),
        Config::Video(_) => Ok(0x24),
        Config::Audio(AudioConfig { codec: AudioCodec::Aac { .. }, .. }) => Ok(0x0F),
        Config::Audio(audio) => {
            Err(MediaError::Unsupported(format!("{} cannot be told in MPEG-TS.", audio.name)))
        }
    }
}

struct Frame<'a> {
    place: usize,
    /// In units of 90 kHz, as both times.
    decode: i64,
    shown: i64,
    sample: &'a Sample,
}

/// The frames of all tracks by the time of their decoding.
fn in_order(tracks: &[TrackSamples]) -> Vec<Frame<'_>> {
    let mut frames = Vec::new();
    for (place, track) in tracks.iter().enumerate() {
        let timescale = i128::from(track.config.timescale());
        let ticks = |time: i64| i64::try_from(i128::from(time) * 90_000 / timescale).unwrap_or(0);
        frames.extend(track.samples.iter().map(|sample| {
            let shown = ticks(sample.decode.saturating_add(i64::from(sample.offset)));
            Frame { place, decode: ticks(sample.decode).min(shown), shown, sample }
        }));
    }
    frames.sort_by_key(|frame| frame.decode);
    frames
}

/// A packetized elementary stream packet (section 2.4.3.6).
fn pes(stream: u8, decode: i64, shown: i64, content: &[u8]) -> Vec<u8> {
    let both = decode != shown;
    let header = if both { 10 } else { 5 };
    // of video the length may be left open
    let length = if stream == 0xC0 { u16::try_from(content.len() + header + 3).unwrap_or(0) } else { 0 };
    let mut out = vec![0, 0, 1, stream];
    out.extend(length.to_be_bytes());
    out.extend([0x84, if both { 0xC0 } else { 0x80 }, header as u8]);
    stamp(&mut out, if both { 3 } else { 2 }, shown);
    if both {
        stamp(&mut out, 1, decode);
    }
    out.extend(content);
    out
}

/// 33 bits of time in five bytes with marker bits.
fn stamp(out: &mut Vec<u8>, prefix: u8, time: i64) {
    let time = time.rem_euclid(WRAP) as u64;
    out.push(prefix << 4 | ((time >> 30) as u8 & 7) << 1 | 1);
    out.extend((((time >> 15) as u16 & 0x7FFF) << 1 | 1).to_be_bytes());
    out.extend(((time as u16 & 0x7FFF) << 1 | 1).to_be_bytes());
}

/// A frame as a byte stream (ISO/IEC 14496-10 annex B) with an access unit delimiter, and with the parameter sets where
/// decoding can begin and they are not in it.
fn byte_stream(video: &VideoConfig, sample: &Sample) -> Result<Vec<u8>, MediaError> {
    const START: [u8; 4] = [0, 0, 0, 1];
    let units = nal::units(&sample.data, video.length_size)?;
    let (delimiter, sps, aud): (u8, u8, &[u8]) = match video.codec {
        VideoCodec::H264 => (9, 7, &[0x09, 0xF0]),
        VideoCodec::H265 => (35, 33, &[0x46, 0x01, 0x50]),
    };
    let is = |wanted: u8| move |unit: &Bytes| nal::kind(video.codec, unit) == wanted;
    let mut out = Vec::with_capacity(sample.data.len() + 256);
    out.extend(START);
    out.extend(aud);
    if sample.sync && !units.iter().any(is(sps)) {
        for set in &video.parameter_sets {
            out.extend(START);
            out.extend(&set[..]);
        }
    }
    for unit in units.iter().filter(|unit| !is(delimiter)(unit)) {
        out.extend(START);
        out.extend(&unit[..]);
    }
    Ok(out)
}

/// A frame of AAC with an ADTS header (ISO/IEC 14496-3 annex 1.A.2).
fn adts(audio: &AudioConfig, sample: &Sample) -> Result<Vec<u8>, MediaError> {
    let AudioCodec::Aac { object_type, .. } = audio.codec else { return Ok(sample.data.to_vec()) };
    let length = sample.data.len() + 7;
    if length > 0x1FFF {
        return Err(MediaError::InvalidFrame(format!("an AAC frame of {} bytes.", sample.data.len())));
    }
    let rate = RATES.iter().position(|rate| *rate == audio.rate);
    let (Some(rate), 1..=6 | 8) = (rate, audio.channels) else {
        return Err(MediaError::Unsupported(format!(
            "AAC of {} channels at {} Hz cannot be told in MPEG-TS.",
            audio.channels, audio.rate
        )));
    };
    let channels = if audio.channels == 8 { 7 } else { audio.channels };
    // sync word, MPEG-4, no CRC; then 2 bits of profile, 4 of rate, 1 private, 3 of channels, 4, 13 of length, 11 of fullness
    let fields = u64::from(object_type - 1) << 38
        | (rate as u64) << 34
        | u64::from(channels) << 30
        | (length as u64) << 13
        | 0x7FF << 2;
    let mut out = vec![0xFF, 0xF1];
    out.extend(&fields.to_be_bytes()[3..]);
    out.extend(&sample.data[..]);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playback::media::{
        read,
        stored::{AAC, SPS, avcc, cluster, g711, header, slice},
    };

    #[test]
    fn a_segment_begins_with_its_tables_and_has_parameter_sets_in_front_of_a_key_frame() {
        let header = header(&[("V_MPEG4/ISO/AVC", &avcc(SPS)), ("A_AAC", &AAC)]);
        let blocks = [
            (1, 0, true, slice(true, 900)),
            (2, 3, true, vec![7; 20]),
            (1, 80, false, slice(false, 200)),
            (1, 40, false, slice(false, 200)),
        ];
        let segment = segment(&read(&header, &cluster(0, &blocks), 1_795_215_762_009).unwrap()).unwrap();
        let pids: Vec<u16> =
            segment.chunks(188).map(|packet| u16::from_be_bytes([packet[1] & 0x1F, packet[2]])).collect();
        assert_eq!(pids[..3], [0, PMT_PID, FIRST_PID]);
        assert!(pids.contains(&(FIRST_PID + 1)));
        let sps = hex::decode(SPS).unwrap();
        let places: Vec<_> =
            segment.windows(sps.len()).enumerate().filter(|(_, window)| **window == sps[..]).collect();
        assert_eq!(places.len(), 1);
        // ADTS: MPEG-4, LC, 48 kHz, 2 channels, 27 bytes
        assert!(segment.windows(7).any(|window| window == [0xFF, 0xF1, 0x4C, 0x80, 0x03, 0x7F, 0xFC]));
    }

    #[test]
    fn g711_has_no_place_in_it() {
        let header = header(&[("V_MPEG4/ISO/AVC", &avcc(SPS)), ("A_MS/ACM", &g711(7))]);
        let blocks = [(1, 0, true, slice(true, 9)), (2, 0, true, vec![7; 160])];
        let error = segment(&read(&header, &cluster(0, &blocks), 0).unwrap()).unwrap_err();
        assert!(matches!(error, MediaError::Unsupported(_)), "{error:?}");
    }
}
